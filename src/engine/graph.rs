//! The computation of one sub-model as an ONNX graph over prefixes of the shared weights.
//!
//! Both halves of a layer are *sums over units*, so a sub-model is a sum over its first units. They
//! are operators of ours that read the first rows of a matrix ([`Layout::InPlace`]), or operators
//! of ONNX Runtime: then each attention group adds its projected output to the residual stream, and
//! so does each chunk of MLP neurons, through the `C` input of `Gemm`. A chunk or group is one
//! weight, the same bytes and shape in every sub-model that has it, so that ONNX Runtime packs it
//! once for all.
//!
//! Graph inputs: `tokens` i64 `[S]`; `logit_rows` i64 `[K]`, which rows of the input get logits;
//! `last` i32 `[1]`, tokens in context − 1; `total` i32 `[1]`, tokens in context; and per attention
//! group the KV cache, bound as input `past_*` and output `present_*` over the same bytes.
//! A sub-model with adapters has their matrices as further inputs ([`AdapterInput`]); a session
//! serves any adapter of its rank.
//! With a predictor, MLPs of which a sub-model keeps a part run the neurons that it picks for each
//! token (`sparse`).
//! [`Attention::Forest`] adds `positions` i64 `[1, S]` and `mask` f32 `[1, 1, S, T]`, added to the
//! attention scores. Graph outputs: `logits` and `log_probs` f32 `[K, vocab]`.

mod in_place;
mod sparse;

pub use in_place::{AdapterInput, AdapterPart};

use super::bits::{Bits, Part};
use super::model::{ModelConfig, SubModel};
use super::onnx::{Attribute, CONTRIB, Dim, ElementType, GraphBuilder, STANDARD};
use super::weights::{WEIGHTS_FILE, WeightIndex};

/// What a token may attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// Everything before it: serving.
    Causal,
    /// What a mask allows, at stated positions: many continuations of one context side by side.
    Forest,
}

/// How a graph reads weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// The first rows of a matrix where it lies, by operators of ours. The only one with adapters
    /// or few bits.
    InPlace,
    /// By ONNX Runtime's operators, neurons in chunks that end at every row count that some
    /// sub-model of the ladder has: weights are shared when packed.
    Chunked {
        /// Per layer, ascending ends of the chunks; the last is all neurons.
        bounds: Vec<Vec<usize>>,
    },
    /// By ONNX Runtime's operators, one weight per matrix and sub-model.
    Whole,
}

impl Layout {
    /// The chunks that let every sub-model of `ladder` be whole chunks. No chunk is longer than
    /// all neurons, none is empty.
    #[must_use]
    pub fn chunked(config: &ModelConfig, ladder: &[SubModel]) -> Self {
        let layer_bounds = |layer: usize| {
            let mut ends: Vec<usize> =
                ladder.iter().map(|model| model.layers[layer].neurons).collect();
            ends.push(config.intermediate);
            ends.retain(|&end| end > 0);
            ends.sort_unstable();
            ends.dedup();
            ends
        };
        Self::Chunked { bounds: (0..config.layers).map(layer_bounds).collect() }
    }

    /// Consecutive ranges that make up the first `neurons` neurons of `layer`.
    fn ranges(&self, layer: usize, neurons: usize) -> Vec<(usize, usize)> {
        let ends = match self {
            Self::Whole | Self::InPlace => vec![neurons],
            Self::Chunked { bounds } => {
                bounds[layer].iter().copied().filter(|&end| end <= neurons).collect()
            }
        };
        assert!(neurons == 0 || ends.last() == Some(&neurons), "sub-models end at chunk bounds");
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends.iter().copied()).filter(|(from, to)| from < to).collect()
    }
}

/// A weight that the graph reads under `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightView {
    /// Name of the initializer; equal names are equal bytes and shapes, in every graph.
    pub name: String,
    /// Shape as the graph sees it.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values,
}

/// What a weight's values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Rows of a tensor as they lie in the weights file.
    Rows {
        /// The tensor.
        tensor: String,
        /// First row.
        from: usize,
        /// One past the last row.
        to: usize,
    },
    /// A part of a tensor's first rows in few bits.
    Quantised {
        /// The tensor.
        tensor: String,
        /// Its first units, and how many rows of the stream's width they are.
        rows: [usize; 2],
        /// Bits of a weight.
        bits: Bits,
        /// Which part.
        part: Part,
    },
}

impl Values {
    /// The type of an element.
    fn element(&self) -> ElementType {
        match self {
            Self::Rows { .. } | Self::Quantised { part: Part::Grids, .. } => ElementType::F32,
            Self::Quantised { part: Part::Codes, .. } => ElementType::U8,
        }
    }
}

/// The graph of a sub-model, serialised, and what must be given to a session with it.
#[derive(Debug, Clone)]
pub struct Graph {
    /// An ONNX model.
    pub model: Vec<u8>,
    /// Weights to bind by name.
    pub weights: Vec<WeightView>,
    /// (layer, group) of each KV cache the graph reads and writes, in input order.
    pub caches: Vec<(usize, usize)>,
    /// Matrices of the adapter, in input order, after the caches.
    pub adapter: Vec<AdapterInput>,
}

/// What a graph has that not every one has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GraphOptions {
    /// The rank of the adapters that it adds.
    pub rank: Option<usize>,
    /// The rank of a predictor that picks what an MLP that is not whole keeps; an
    /// [`Attention::Causal`] graph then takes one token.
    pub predictor: Option<usize>,
    /// Bits of its matrices; `None`: f32. The head has 8 in either case.
    pub bits: Option<Bits>,
}

/// Builds the graph of `sub_model` over weights laid out as `index` says. The KV cache holds
/// `context` tokens. `options` say what else there is.
#[must_use]
pub fn build(
    index: &WeightIndex,
    sub_model: &SubModel,
    layout: &Layout,
    attention: Attention,
    context: usize,
    options: GraphOptions,
) -> Graph {
    let plain = options.rank.is_none() && options.bits.is_none();
    debug_assert!(plain || *layout == Layout::InPlace, "only operators of ours take these");
    let mut writer = Writer {
        index,
        config: &index.config,
        layout,
        attention,
        context,
        options,
        graph: GraphBuilder::default(),
        weights: Vec::new(),
        caches: Vec::new(),
        adapter: Vec::new(),
    };
    writer.inputs();
    let mut x = writer.embed();
    for (layer, shape) in sub_model.layers.iter().enumerate() {
        if shape.groups > 0 {
            x = writer.attention(layer, shape.groups, x);
        }
        if shape.neurons > 0 {
            x = writer.mlp(layer, shape.neurons, x);
        }
    }
    writer.head(&x);
    writer.adapter_inputs();
    Graph {
        model: writer.graph.finish("elastic"),
        weights: writer.weights,
        caches: writer.caches,
        adapter: writer.adapter,
    }
}

/// Name of the KV cache of a layer's group; `which` is `past_key`, `present_value` and so on.
#[must_use]
pub fn cache_name(which: &str, (layer, group): (usize, usize)) -> String {
    format!("{which}.{layer}.{group}")
}

struct Writer<'a> {
    index: &'a WeightIndex,
    config: &'a ModelConfig,
    layout: &'a Layout,
    attention: Attention,
    context: usize,
    options: GraphOptions,
    graph: GraphBuilder,
    weights: Vec<WeightView>,
    caches: Vec<(usize, usize)>,
    adapter: Vec<AdapterInput>,
}

const TRANSPOSED: &[(&str, Attribute)] = &[("transB", Attribute::Int(1))];

impl Writer<'_> {
    fn inputs(&mut self) {
        let sequence = Dim::Named("sequence");
        self.graph.input("tokens", ElementType::I64, std::slice::from_ref(&sequence));
        self.graph.input("logit_rows", ElementType::I64, &[Dim::Named("logit_rows")]);
        self.graph.input("last", ElementType::I32, &[Dim::Fixed(1)]);
        self.graph.input("total", ElementType::I32, &[Dim::Fixed(1)]);
        if self.attention == Attention::Forest {
            let one = Dim::Fixed(1);
            self.graph.input("positions", ElementType::I64, &[one.clone(), sequence.clone()]);
            let mask = [one.clone(), one, sequence, Dim::Named("total_sequence")];
            self.graph.input("mask", ElementType::F32, &mask);
        }
    }

    fn embed(&mut self) -> String {
        let embedding = self.matrix("embedding");
        self.graph.node(STANDARD, "Gather", &[&embedding, "tokens"], &[])
    }

    /// `x` plus the sum over the first `groups` attention groups.
    fn attention(&mut self, layer: usize, groups: usize, mut x: String) -> String {
        let normed = self.norm(&format!("{layer}.attention_norm"), &x);
        if *self.layout == Layout::InPlace {
            let packed = self.read_groups(layer, groups, &normed);
            let attend =
                |(group, packed): (usize, &String)| self.cached_attention(layer, group, packed);
            let heads = packed.iter().enumerate().map(attend).collect();
            return self.write_groups(layer, heads, &x);
        }
        for group in 0..groups {
            let heads = self.group_attention(layer, group, &normed);
            let rows = self.config.heads_per_group() * self.config.head_dim;
            x = self.add_units(&format!("{layer}.o"), (group, group + 1), rows, &heads, &x);
        }
        x
    }

    /// The heads of one group side by side, `[S, heads per group · head_dim]`.
    fn group_attention(&mut self, layer: usize, group: usize, normed: &str) -> String {
        let config = self.config;
        let rows = (config.heads_per_group() + 2) * config.head_dim;
        let bias = self
            .index
            .qkv_bias
            .then(|| self.weight(&format!("{layer}.qkv_bias"), group, group + 1, &[rows]));
        let units = (group, group + 1);
        let packed = self.read(&format!("{layer}.qkv"), units, rows, normed, bias.as_deref());
        let front = self.graph.constant(&[0]);
        let packed = self.graph.node(STANDARD, "Unsqueeze", &[&packed, &front], &[]);
        let heads = self.cached_attention(layer, group, &packed);
        self.graph.node(STANDARD, "Squeeze", &[&heads, &front], &[])
    }

    fn cached_attention(&mut self, layer: usize, group: usize, packed: &str) -> String {
        let cache = (layer, group);
        self.caches.push(cache);
        let names = ["past_key", "past_value", "present_key", "present_value"]
            .map(|which| cache_name(which, cache));
        let dims = [1, 1, self.context, self.config.head_dim].map(Dim::Fixed);
        self.graph.input(&names[0], ElementType::F32, &dims);
        self.graph.input(&names[1], ElementType::F32, &dims);
        self.graph.output(&names[2], ElementType::F32, &dims);
        self.graph.output(&names[3], ElementType::F32, &dims);
        let (cos, sin) = (self.matrix("cos"), self.matrix("sin"));
        let mut inputs = vec![packed, "", "", &names[0], &names[1], "last", "total", &cos, &sin];
        if self.attention == Attention::Forest {
            inputs.extend(["positions", "mask"]);
        }
        let heads = format!("heads.{layer}.{group}");
        let attributes = [
            ("num_heads", Attribute::Int(self.config.heads_per_group() as i64)),
            ("kv_num_heads", Attribute::Int(1)),
            ("do_rotary", Attribute::Int(1)),
        ];
        let outputs = [heads.as_str(), &names[2], &names[3]];
        self.graph.node_into(CONTRIB, "GroupQueryAttention", &inputs, &outputs, &attributes);
        heads
    }

    /// `x` plus the sum over the first `neurons` neurons.
    fn mlp(&mut self, layer: usize, neurons: usize, mut x: String) -> String {
        if let Some(rank) = self.options.predictor
            && neurons < self.config.intermediate
        {
            return self.sparse_mlp(layer, neurons, rank, &x);
        }
        let normed = self.norm(&format!("{layer}.mlp_norm"), &x);
        if *self.layout == Layout::InPlace {
            return self.mlp_in_place(layer, neurons, &normed, &x);
        }
        for (from, to) in self.layout.ranges(layer, neurons) {
            let (units, rows) = ((from, to), to - from);
            let [gate, up] = ["gate", "up"]
                .map(|part| self.read(&format!("{layer}.{part}"), units, rows, &normed, None));
            let product = self.activated(&gate, &up);
            x = self.add_units(&format!("{layer}.down"), units, rows, &product, &x);
        }
        x
    }

    /// `x · weightᵀ`, plus `bias`: `rows` outputs that `units` of `tensor` make of the stream.
    fn read(
        &mut self,
        tensor: &str,
        units: (usize, usize),
        rows: usize,
        x: &str,
        bias: Option<&str>,
    ) -> String {
        let weight = self.weight(tensor, units.0, units.1, &[rows, self.config.hidden]);
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias).collect();
        self.graph.node(STANDARD, "Gemm", &inputs, TRANSPOSED)
    }

    /// `x` plus what `units` of `tensor` make of their `rows` activations.
    fn add_units(
        &mut self,
        tensor: &str,
        units: (usize, usize),
        rows: usize,
        activations: &str,
        x: &str,
    ) -> String {
        let weight = self.weight(tensor, units.0, units.1, &[rows, self.config.hidden]);
        self.graph.node(STANDARD, "Gemm", &[activations, &weight, x], &[])
    }

    fn head(&mut self, x: &str) {
        let rows = self.graph.node(STANDARD, "Gather", &[x, "logit_rows"], &[]);
        let normed = self.norm("final_norm", &rows);
        self.logits(&normed);
        self.graph.node_into(STANDARD, "LogSoftmax", &["logits"], &["log_probs"], &[]);
        let dims = [Dim::Named("logit_rows"), Dim::Fixed(self.config.vocab)];
        self.graph.output("logits", ElementType::F32, &dims);
        self.graph.output("log_probs", ElementType::F32, &dims);
    }

    fn logits(&mut self, normed: &str) {
        let head = if self.index.untied_head { "head" } else { "embedding" };
        if *self.layout == Layout::InPlace {
            return self.logits_in_place(head, normed);
        }
        let head = self.matrix(head);
        self.graph.node_into(STANDARD, "Gemm", &[normed, &head], &["logits"], TRANSPOSED);
    }

    fn norm(&mut self, tensor: &str, x: &str) -> String {
        let scale = self.weight(tensor, 0, 1, &[self.config.hidden]);
        let attributes =
            [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(self.config.rms_epsilon))];
        self.graph.node(STANDARD, "SimplifiedLayerNormalization", &[x, &scale], &attributes)
    }

    /// A whole tensor as a matrix of its rows.
    fn matrix(&mut self, tensor: &str) -> String {
        let entry = &self.index.tensors[tensor];
        self.weight(tensor, 0, entry.rows, &[entry.rows, entry.columns])
    }

    fn weight(&mut self, tensor: &str, from: usize, to: usize, shape: &[usize]) -> String {
        let values = Values::Rows { tensor: tensor.to_owned(), from, to };
        self.view(format!("{tensor}[{from}:{to}]"), values, shape)
    }

    /// `values` under `name`.
    fn view(&mut self, name: String, values: Values, shape: &[usize]) -> String {
        if self.weights.iter().all(|view| view.name != name) {
            self.graph.weight(&name, values.element(), shape, WEIGHTS_FILE);
            self.weights.push(WeightView { name: name.clone(), shape: shape.to_vec(), values });
        }
        name
    }
}
