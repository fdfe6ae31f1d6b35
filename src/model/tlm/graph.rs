//! Trunk and heads as one ONNX graph: the shared layers once, each head on top of them.
//!
//! Graph inputs: `embedded` f32 `[tokens, hidden]`, sums of embeddings before their norm
//! ([`super::trunk::Embeddings::sum`]); if masked, `mask` f32 `[1, 1, tokens, tokens]`, added to
//! the attention scores; if a head reads rows, `rows` i64. Outputs are the heads' read-outs by
//! name: `[tokens, values]`, or `[1, values]` for a head that reads rows.
//!
//! In [`Precision::Int8`] every matrix of a layer is 8-bit with a scale per output, and what it
//! multiplies is quantised as it comes, one scale per run; attention, norms and read-outs stay in
//! f32. Processors without 8-bit dot products (before VNNI) may saturate in the kernel.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::head::{Head, Reads};
use super::layer::EncoderLayer;
use super::quantise;
use super::trunk::{Trunk, failed};
use crate::engine::onnx::{Attribute, CONTRIB, Dim, ElementType, GraphBuilder, STANDARD};
use crate::error::{Error, Result};

/// Numbers that the layers' matrices are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

/// What a graph computes.
#[derive(Debug, Clone, Copy)]
pub struct GraphSpec<'a> {
    /// The encoder.
    pub trunk: &'a Trunk,
    /// Layers of it that all heads share.
    pub shared_layers: usize,
    /// What sits on them.
    pub heads: &'a [&'a Head],
    /// Numbers of the matrices.
    pub precision: Precision,
    /// Whether what tokens may look at is an input.
    pub masked: bool,
}

impl GraphSpec<'_> {
    /// Rows that the graph's `rows` input has; `None` if it has no such input.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        self.heads.iter().find_map(|head| match head.reads {
            Reads::EveryToken => None,
            Reads::Rows(count) => Some(count),
        })
    }

    /// The graph, serialised.
    ///
    /// # Errors
    /// If the trunk has fewer layers, or two heads read different numbers of rows.
    pub fn build(&self) -> Result<Vec<u8>> {
        let Some(shared) = self.trunk.layers().get(..self.shared_layers) else {
            return Err(Error::new("trunk", "too many layers asked for")
                .found(self.shared_layers)
                .allowed(format!("up to {}", self.trunk.layers().len())));
        };
        let mut writer = Writer {
            graph: GraphBuilder::default(),
            precision: self.precision,
            epsilon: self.trunk.config().epsilon as f32,
            masked: self.masked,
            signed_weights: quantise::signed_is_exact(),
        };
        writer.inputs(self.trunk.config().hidden, self.rows());
        let mut x = writer.embed(self.trunk)?;
        for layer in shared {
            x = writer.layer(layer, &x, None)?;
        }
        for head in self.heads {
            writer.head(head, &x)?;
        }
        Ok(writer.graph.finish("tlm"))
    }
}

struct Writer {
    graph: GraphBuilder,
    precision: Precision,
    epsilon: f32,
    masked: bool,
    /// Whether bytes of weights have a sign: the same numbers, for another kernel.
    signed_weights: bool,
}

/// What a matrix multiplies: numbers, or what became of them once quantised.
struct Operand {
    plain: String,
    /// Bytes, scale and zero point.
    quantised: Option<[String; 3]>,
}

impl Writer {
    fn inputs(&mut self, hidden: usize, rows: Option<usize>) {
        let tokens = Dim::Named("tokens");
        self.graph.input("embedded", ElementType::F32, &[tokens.clone(), Dim::Fixed(hidden)]);
        if self.masked {
            let one = Dim::Fixed(1);
            self.graph.input("mask", ElementType::F32, &[one.clone(), one, tokens.clone(), tokens]);
        }
        if let Some(rows) = rows {
            self.graph.input("rows", ElementType::I64, &[Dim::Fixed(rows)]);
        }
    }

    fn embed(&mut self, trunk: &Trunk) -> Result<String> {
        let [scale, shift] = trunk.embeddings().norm().map(|tensor| self.tensor(tensor));
        let attributes =
            [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(self.epsilon))];
        let inputs = ["embedded", &scale?, &shift?];
        Ok(self.graph.node(STANDARD, "LayerNormalization", &inputs, &attributes))
    }

    /// The layer's output for all rows, or those that the value `rows` names.
    fn layer(&mut self, layer: &EncoderLayer, x: &str, rows: Option<&str>) -> Result<String> {
        let queries = match rows {
            Some(rows) => self.graph.node(STANDARD, "Gather", &[x, rows], &[]),
            None => x.to_owned(),
        };
        let mixed = self.attention(layer, &queries, x, rows)?;
        let mixed = self.operand(mixed);
        let mixed = self.linear(layer, "attention.output.dense", &mixed)?;
        let x = self.add_norm(layer, "attention.output.LayerNorm", &queries, &mixed)?;
        let operand = self.operand(x.clone());
        let inner = self.linear(layer, "intermediate.dense", &operand)?;
        let inner = self.graph.node(CONTRIB, "Gelu", &[&inner], &[]);
        let inner = self.operand(inner);
        let outer = self.linear(layer, "output.dense", &inner)?;
        self.add_norm(layer, "output.LayerNorm", &x, &outer)
    }

    fn attention(
        &mut self,
        layer: &EncoderLayer,
        queries: &str,
        x: &str,
        rows: Option<&str>,
    ) -> Result<String> {
        let all = self.operand(x.to_owned());
        let asking = if rows.is_some() { &self.operand(queries.to_owned()) } else { &all };
        let front = self.graph.constant(&[0]);
        let parts = [("query", asking), ("key", &all), ("value", &all)].map(|(part, operand)| {
            let projected = self.linear(layer, &format!("attention.self.{part}"), operand)?;
            Ok::<_, Error>(self.graph.node(STANDARD, "Unsqueeze", &[&projected, &front], &[]))
        });
        let [q, k, v] = parts;
        let mask = match (self.masked, rows) {
            (false, _) => String::new(),
            (true, None) => "mask".to_owned(),
            (true, Some(rows)) => {
                let axis = [("axis", Attribute::Int(2))];
                self.graph.node(STANDARD, "Gather", &["mask", rows], &axis)
            }
        };
        let (q, k, v) = (q?, k?, v?);
        let mut inputs = vec![q.as_str(), &k, &v];
        if self.masked {
            inputs.extend(["", "", mask.as_str()]);
        }
        let heads = [("num_heads", Attribute::Int(layer.heads() as i64))];
        let mixed = self.graph.node(CONTRIB, "MultiHeadAttention", &inputs, &heads);
        Ok(self.graph.node(STANDARD, "Squeeze", &[&mixed, &front], &[]))
    }

    /// Readies `plain` for the matrices that multiply it.
    fn operand(&mut self, plain: String) -> Operand {
        let quantised = (self.precision == Precision::Int8).then(|| {
            let names = ["bytes", "scale", "zero"].map(|stem| self.graph.name(stem));
            let outputs = names.each_ref().map(String::as_str);
            self.graph.node_into(STANDARD, "DynamicQuantizeLinear", &[&plain], &outputs, &[]);
            names
        });
        Operand { plain, quantised }
    }

    fn linear(&mut self, layer: &EncoderLayer, name: &str, x: &Operand) -> Result<String> {
        let weight = layer.tensor(&format!("{name}.weight"));
        let bias = self.tensor(layer.tensor(&format!("{name}.bias")))?;
        let Some([bytes, scale, zero]) = &x.quantised else {
            let weight = self.tensor(weight)?;
            return Ok(self.gemm(&x.plain, &weight, &bias));
        };
        let (outputs, inputs) = weight.dims2().map_err(failed)?;
        let quantised = quantise::per_output(&numbers(weight)?, inputs);
        let shape = [inputs, outputs];
        let (weight, zero_weight) = if self.signed_weights {
            (self.graph.small_values(&shape, &quantised.values), String::new())
        } else {
            let (values, zero_weight) = quantised.unsigned();
            let zeros = self.graph.unsigned_values(&[outputs], vec![zero_weight; outputs]);
            (self.graph.unsigned_values(&shape, values), zeros)
        };
        let scales = self.graph.values(&[outputs], &quantised.scales);
        let inputs: [&str; 7] = [bytes, &weight, scale, &scales, zero, &zero_weight, &bias];
        Ok(self.graph.node(CONTRIB, "MatMulIntegerToFloat", &inputs, &[]))
    }

    fn gemm(&mut self, x: &str, weight: &str, bias: &str) -> String {
        self.graph.node(STANDARD, "Gemm", &[x, weight, bias], &[("transB", Attribute::Int(1))])
    }

    fn add_norm(
        &mut self,
        layer: &EncoderLayer,
        name: &str,
        x: &str,
        more: &str,
    ) -> Result<String> {
        let scale = self.tensor(layer.tensor(&format!("{name}.weight")))?;
        let shift = self.tensor(layer.tensor(&format!("{name}.bias")))?;
        let epsilon = [("epsilon", Attribute::Float(self.epsilon))];
        let inputs = [x, more, &scale, &shift];
        Ok(self.graph.node(CONTRIB, "SkipLayerNormalization", &inputs, &epsilon))
    }

    fn head(&mut self, head: &Head, x: &str) -> Result<()> {
        let mut x = x.to_owned();
        for (index, layer) in head.layers.iter().enumerate() {
            let last = index + 1 == head.layers.len();
            let rows = (last && head.reads != Reads::EveryToken).then_some("rows");
            x = self.layer(layer, &x, rows)?;
        }
        let mut tokens = Dim::Named("tokens");
        if head.reads != Reads::EveryToken {
            let side_by_side = self.graph.constant(&[1, -1]);
            x = self.graph.node(STANDARD, "Reshape", &[&x, &side_by_side], &[]);
            tokens = Dim::Fixed(1);
        }
        for read_out in &head.read_outs {
            let (weight, bias) = (self.tensor(&read_out.weight)?, self.tensor(&read_out.bias)?);
            let inputs = [x.as_str(), &weight, &bias];
            let transposed = [("transB", Attribute::Int(1))];
            self.graph.node_into(STANDARD, "Gemm", &inputs, &[read_out.name], &transposed);
            let values = read_out.bias.elem_count();
            let dims = [tokens.clone(), Dim::Fixed(values)];
            self.graph.output(read_out.name, ElementType::F32, &dims);
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<String> {
        Ok(self.graph.values(tensor.dims(), &numbers(tensor)?))
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(failed)
}
