//! A differentiable decoder on the CPU: frozen weights, a gate on every elastic unit where one is
//! asked for, an adapter beside every projection that has one.
//!
//! A gate multiplies what its unit adds to the residual stream before the projection back: 1 keeps
//! the unit, 0 removes it, and the loss's gradient at a gate of 1 is `a · ∂L/∂a` for the unit's
//! activation `a`. One sequence at a time, `[tokens, features]`.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::engine::model::{
    DenseLayer, DenseModel, LayerOrder, LayerShape, ModelConfig, Projection,
};
use crate::error::{Error, Result};

mod merged;
mod ops;

use ops::{CausalSoftmax, Frozen, GatedSilu, RmsNorm, Rotary};

/// The longest sequence that calibration uses.
pub const SEQUENCE_TOKENS_MAX: usize = 512;

/// Frozen weights, ready to run. A clone shares them.
#[derive(Debug, Clone)]
pub struct Network {
    config: ModelConfig,
    embedding: Tensor,
    head: Tensor,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    /// `[positions, head_dim / 2]`: cosine and sine of each angle.
    angles: Arc<Vec<(f32, f32)>>,
}

/// A layer, or what a sub-model keeps of it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    attention: Option<Attention>,
    mlp: Option<Mlp>,
}

#[derive(Debug, Clone)]
struct Attention {
    norm: RmsNorm,
    groups: usize,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
}

#[derive(Debug, Clone)]
struct Mlp {
    norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// The gates of one layer.
#[derive(Debug, Clone)]
pub(super) struct Gates {
    /// `[tokens or 1, groups, 1]`.
    pub groups: Tensor,
    /// `[tokens or 1, neurons]`.
    pub neurons: Tensor,
}

impl Gates {
    /// Keeps the first units of `order` that `shape` counts and removes the others.
    pub fn of_prefix(order: &LayerOrder, shape: &LayerShape) -> candle_core::Result<Self> {
        let groups = prefix_mask(&order.groups, shape.groups);
        let neurons = prefix_mask(&order.neurons, shape.neurons);
        Ok(Self {
            groups: Tensor::from_vec(groups, (1, order.groups.len(), 1), &Device::Cpu)?,
            neurons: Tensor::from_vec(neurons, (1, order.neurons.len()), &Device::Cpu)?,
        })
    }

    /// Keeps all groups but `removed`, and every neuron.
    pub fn without_group(config: &ModelConfig, removed: usize) -> candle_core::Result<Self> {
        let kept = |group| if group == removed { 0.0 } else { 1.0 };
        let groups: Vec<f32> = (0..config.kv_heads).map(kept).collect();
        Ok(Self {
            groups: Tensor::from_vec(groups, (1, config.kv_heads, 1), &Device::Cpu)?,
            neurons: Tensor::ones((1, config.intermediate), DType::F32, &Device::Cpu)?,
        })
    }
}

fn prefix_mask(order: &[u32], kept: usize) -> Vec<f32> {
    let mut mask = vec![0.0; order.len()];
    for &unit in &order[..kept] {
        mask[unit as usize] = 1.0;
    }
    mask
}

/// The adapters of a network: what they are now, and what they are multiplied with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapters<'a> {
    /// `A` and `B` of every projection that has an adapter.
    pub values: &'a [Tensor],
    /// `alpha / rank`.
    pub scale: f64,
}

/// What runs beside frozen weights; nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options<'a> {
    pub gates: Option<&'a Gates>,
    pub adapters: Option<Adapters<'a>>,
}

/// `x · weightᵀ + bias`, and the place of its adapter.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    /// `[outputs, inputs]`.
    weight: Tensor,
    bias: Option<Tensor>,
    adapter: Option<Slot>,
}

/// Where a projection's adapter is among the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Index of `A`; `B` follows.
    pub index: usize,
    /// Whether units are the inputs: `A` and `B` have them leading either way.
    pub reads_units: bool,
}

impl Linear {
    /// Weights `[outputs, inputs]`, row by row.
    pub fn new(
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        inputs: usize,
        adapter: Option<Slot>,
    ) -> candle_core::Result<Self> {
        let vector = |bias: Vec<f32>| {
            let length = bias.len();
            Tensor::from_vec(bias, length, &Device::Cpu)
        };
        Ok(Self { weight: matrix(weight, inputs)?, bias: bias.map(vector).transpose()?, adapter })
    }

    fn forward(&self, x: &Tensor, options: Options<'_>) -> candle_core::Result<Tensor> {
        let mut product = x.apply_op1(Frozen { weight: self.weight.t()? })?;
        if let (Some(slot), Some(Adapters { values, scale })) = (self.adapter, options.adapters) {
            let (a, b) = (&values[slot.index], &values[slot.index + 1]);
            let low = if slot.reads_units { x.matmul(a)? } else { x.matmul(&a.t()?)? };
            let low = (low * scale)?;
            let change = if slot.reads_units { low.matmul(b)? } else { low.matmul(&b.t()?)? };
            product = (product + change)?;
        }
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

impl Layer {
    /// A layer of `shape` whose projections are what `linear` says; none where it has no units.
    pub fn new(
        shape: LayerShape,
        norms: [Vec<f32>; 2],
        epsilon: f32,
        mut linear: impl FnMut(Projection) -> candle_core::Result<Linear>,
    ) -> candle_core::Result<Self> {
        let [attention, mlp] = norms.map(|scale| RmsNorm { scale: Arc::new(scale), epsilon });
        let attention = match shape.groups {
            0 => None,
            groups => Some(Attention {
                norm: attention,
                groups,
                q: linear(Projection::Q)?,
                k: linear(Projection::K)?,
                v: linear(Projection::V)?,
                o: linear(Projection::O)?,
            }),
        };
        let mlp = match shape.neurons {
            0 => None,
            _ => Some(Mlp {
                norm: mlp,
                gate: linear(Projection::Gate)?,
                up: linear(Projection::Up)?,
                down: linear(Projection::Down)?,
            }),
        };
        Ok(Self { attention, mlp })
    }

    fn whole(layer: &DenseLayer, config: &ModelConfig) -> candle_core::Result<Self> {
        let shape = LayerShape { groups: config.kv_heads, neurons: config.intermediate };
        let norms = [layer.attention_norm.clone(), layer.mlp_norm.clone()];
        Self::new(shape, norms, config.rms_epsilon, |projection| {
            let (weight, bias) = layer.projection(projection);
            let units = projection.units(config, &shape);
            let inputs = if projection.reads_units() { units } else { config.hidden };
            Linear::new(weight.to_vec(), bias.map(<[f32]>::to_vec), inputs, None)
        })
    }
}

impl Network {
    /// Takes the weights of `model` over, for sequences of up to [`SEQUENCE_TOKENS_MAX`] tokens.
    ///
    /// # Errors
    /// If candle refuses a tensor.
    pub fn new(model: DenseModel) -> Result<Self> {
        let DenseModel { config, embedding, layers, final_norm, head } = model;
        let layers = layers.into_iter().map(|layer| Layer::whole(&layer, &config));
        layers
            .collect::<candle_core::Result<_>>()
            .and_then(|layers| {
                let ends = [Some(embedding), head];
                Self::of_layers(config, ends, final_norm, layers, SEQUENCE_TOKENS_MAX)
            })
            .map_err(tensor_error)
    }

    /// A network of `layers` between embedding and head; without a head of its own the embedding is
    /// one.
    pub(super) fn of_layers(
        config: ModelConfig,
        [embedding, head]: [Option<Vec<f32>>; 2],
        final_norm: Vec<f32>,
        layers: Vec<Layer>,
        positions: usize,
    ) -> candle_core::Result<Self> {
        let embedding = matrix(embedding.expect("every model has an embedding"), config.hidden)?;
        let head = match head {
            Some(head) => matrix(head, config.hidden)?,
            None => embedding.clone(),
        };
        Ok(Self {
            embedding,
            head,
            layers,
            final_norm: RmsNorm { scale: Arc::new(final_norm), epsilon: config.rms_epsilon },
            angles: Arc::new(rotary_angles(&config, positions)),
            config,
        })
    }

    /// Dimensions of the model.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The head's weights, `[vocab, hidden]`.
    pub(super) fn head(&self) -> &Tensor {
        &self.head
    }

    /// The residual stream before the first layer, `[tokens, hidden]`.
    pub(super) fn embed(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        self.embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)
    }

    /// The residual stream after layer `index`, all gates open unless given.
    pub(super) fn layer(
        &self,
        index: usize,
        x: &Tensor,
        gates: Option<&Gates>,
    ) -> candle_core::Result<Tensor> {
        self.run(index, x, Options { gates, adapters: None })
    }

    /// The residual stream after layer `index`.
    pub(super) fn run(
        &self,
        index: usize,
        x: &Tensor,
        options: Options<'_>,
    ) -> candle_core::Result<Tensor> {
        let x = self.attention_half(index, x, options)?;
        self.mlp_half(index, &x, options)
    }

    /// The residual stream after the attention of layer `index`.
    pub(super) fn attention_half(
        &self,
        index: usize,
        x: &Tensor,
        options: Options<'_>,
    ) -> candle_core::Result<Tensor> {
        match &self.layers[index].attention {
            Some(attention) => x + self.attention(attention, x, options)?,
            None => Ok(x.clone()),
        }
    }

    /// The residual stream after the MLP of layer `index`.
    pub(super) fn mlp_half(
        &self,
        index: usize,
        x: &Tensor,
        options: Options<'_>,
    ) -> candle_core::Result<Tensor> {
        let Some(mlp) = &self.layers[index].mlp else { return Ok(x.clone()) };
        let (_, mut inner) = mlp.neurons(x, options)?;
        if let Some(gates) = options.gates {
            inner = inner.broadcast_mul(&gates.neurons)?;
        }
        x + mlp.down.forward(&inner, options)?
    }

    /// What the MLP of layer `index` reads of the residual stream, `[tokens, hidden]`, the
    /// activations of its neurons, `[tokens, neurons]`, and the stream after it.
    pub(super) fn neurons(&self, index: usize, x: &Tensor) -> candle_core::Result<[Tensor; 3]> {
        let mlp = self.layers[index].mlp.as_ref().expect("asked of whole layers only");
        let (normed, inner) = mlp.neurons(x, Options::default())?;
        let after = (x + mlp.down.forward(&inner, Options::default())?)?;
        Ok([normed, inner, after])
    }

    /// The length of what each neuron of layer `index` adds to the stream, per unit of activation,
    /// `[1, neurons]`.
    pub(super) fn down_lengths(&self, index: usize) -> candle_core::Result<Tensor> {
        let mlp = self.layers[index].mlp.as_ref().expect("asked of whole layers only");
        mlp.down.weight.sqr()?.sum_keepdim(0)?.sqrt()
    }

    fn attention(
        &self,
        layer: &Attention,
        x: &Tensor,
        options: Options<'_>,
    ) -> candle_core::Result<Tensor> {
        let (groups, per_group) = (layer.groups, self.config.heads_per_group());
        let (tokens, width) = (x.dim(0)?, self.config.head_dim);
        let rotary = Rotary { angles: self.angles.clone(), half: width / 2 };
        let normed = x.apply_op1(layer.norm.clone())?;
        let project = |linear: &Linear| linear.forward(&normed, options);
        let split = |projected: Tensor, heads| {
            projected
                .reshape((tokens, groups, heads, width))?
                .permute((1, 2, 0, 3))?
                .contiguous()?
                .reshape((groups, heads * tokens, width))
        };
        let q = split(project(&layer.q)?.apply_op1(rotary.clone())?, per_group)?;
        let k = split(project(&layer.k)?.apply_op1(rotary)?, 1)?;
        let v = split(project(&layer.v)?, 1)?;
        let factor = 1.0 / (width as f32).sqrt();
        let shares = q.matmul(&k.t()?)?.apply_op1(CausalSoftmax { factor })?;
        let mixed = shares.matmul(&v)?.reshape((groups, per_group, tokens, width))?;
        let mut mixed = mixed.permute((2, 0, 1, 3))?.contiguous()?;
        if let Some(gates) = options.gates {
            mixed = mixed.reshape((tokens, groups, per_group * width))?;
            mixed = mixed.broadcast_mul(&gates.groups)?;
        }
        layer.o.forward(&mixed.reshape((tokens, groups * per_group * width))?, options)
    }

    /// What the head reads of the residual stream `x` after the last layer.
    pub(super) fn final_norm(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.apply_op1(self.final_norm.clone())
    }

    /// The sum over `tokens[1..]` of the next-token loss in nats, given the last layer's output.
    pub(super) fn loss_sum(&self, x: &Tensor, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let x = self.final_norm(&x.narrow(0, 0, tokens.len() - 1)?)?;
        let logits = x.apply_op1(Frozen { weight: self.head.t()? })?;
        let targets = Tensor::new(&tokens[1..], &Device::Cpu)?.unsqueeze(1)?;
        let target_logits = logits.gather(&targets, 1)?.squeeze(1)?;
        (logits.log_sum_exp(1)? - target_logits)?.sum_all()
    }
}

impl Mlp {
    /// What it reads of the residual stream, and the activations of its neurons.
    fn neurons(&self, x: &Tensor, options: Options<'_>) -> candle_core::Result<(Tensor, Tensor)> {
        let normed = x.apply_op1(self.norm.clone())?;
        let gate = self.gate.forward(&normed, options)?;
        let inner = gate.apply_op2(&self.up.forward(&normed, options)?, GatedSilu)?;
        Ok((normed, inner))
    }
}

fn rotary_angles(config: &ModelConfig, positions: usize) -> Vec<(f32, f32)> {
    let half = config.head_dim / 2;
    let angle = |position: usize, pair: usize| {
        let exponent = pair as f64 / half as f64;
        let (sine, cosine) =
            (position as f64 / f64::from(config.rope_theta).powf(exponent)).sin_cos();
        (cosine as f32, sine as f32)
    };
    (0..positions).flat_map(|position| (0..half).map(move |pair| angle(position, pair))).collect()
}

fn matrix(numbers: Vec<f32>, columns: usize) -> candle_core::Result<Tensor> {
    let rows = numbers.len() / columns;
    Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)
}

/// An error of candle's: on the CPU, with shapes that were checked, that is memory.
pub(super) fn tensor_error(error: candle_core::Error) -> Error {
    Error::new("tensor computation", "failed").caused_by(error)
}
