//! A differentiable forward pass of a [`DenseModel`] on the CPU, with a gate on every elastic unit.
//!
//! A gate multiplies what its unit adds to the residual stream before the projection back: 1 keeps
//! the unit, 0 removes it, and the loss's gradient at a gate of 1 is `a · ∂L/∂a` for the unit's
//! activation `a`. Only composed operations are used, since candle's fused ones have no backward.
//! One sequence at a time, `[tokens, features]`.

use candle_core::{D, DType, Device, Tensor};

use crate::engine::model::{DenseLayer, DenseModel, LayerOrder, LayerShape, ModelConfig};
use crate::error::{Error, Result};

mod merged;

/// The longest sequence a network takes.
pub const SEQUENCE_TOKENS_MAX: usize = 512;

/// Frozen weights, ready to run. A clone shares them.
#[derive(Debug, Clone)]
pub struct Network {
    config: ModelConfig,
    embedding: Tensor,
    head: Tensor,
    layers: Vec<Layer>,
    final_norm: Tensor,
    /// `[SEQUENCE_TOKENS_MAX, head_dim / 2]` each.
    cosines: Tensor,
    sines: Tensor,
    /// `[SEQUENCE_TOKENS_MAX, SEQUENCE_TOKENS_MAX]`: 0 where a row may look, −∞ elsewhere.
    mask: Tensor,
}

#[derive(Debug, Clone)]
struct Layer {
    attention_norm: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    mlp_norm: Tensor,
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

/// `x · weightᵀ + bias`.
#[derive(Debug, Clone)]
struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, columns: usize) -> candle_core::Result<Self> {
        let bias = bias.map(vector).transpose()?;
        Ok(Self { weight: matrix(weight, columns)?, bias })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let product = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

impl Layer {
    fn new(layer: DenseLayer, config: &ModelConfig) -> candle_core::Result<Self> {
        let [q_bias, k_bias, v_bias] = match layer.qkv_bias {
            Some(biases) => biases.map(Some),
            None => [None, None, None],
        };
        let hidden = config.hidden;
        Ok(Self {
            attention_norm: vector(layer.attention_norm)?,
            q: Linear::new(layer.q, q_bias, hidden)?,
            k: Linear::new(layer.k, k_bias, hidden)?,
            v: Linear::new(layer.v, v_bias, hidden)?,
            o: Linear::new(layer.o, None, config.heads * config.head_dim)?,
            mlp_norm: vector(layer.mlp_norm)?,
            gate: Linear::new(layer.gate, None, hidden)?,
            up: Linear::new(layer.up, None, hidden)?,
            down: Linear::new(layer.down, None, config.intermediate)?,
        })
    }
}

impl Network {
    /// Takes the weights of `model` over.
    ///
    /// # Errors
    /// If candle refuses a tensor.
    pub fn new(model: DenseModel) -> Result<Self> {
        Self::build(model).map_err(tensor_error)
    }

    fn build(model: DenseModel) -> candle_core::Result<Self> {
        let DenseModel { config, embedding, layers, final_norm, head } = model;
        let embedding = matrix(embedding, config.hidden)?;
        let head = match head {
            Some(head) => matrix(head, config.hidden)?,
            None => embedding.clone(),
        };
        let layers = layers.into_iter().map(|layer| Layer::new(layer, &config));
        let (cosines, sines) = rotary_tables(&config)?;
        Ok(Self {
            embedding,
            head,
            layers: layers.collect::<candle_core::Result<_>>()?,
            final_norm: vector(final_norm)?,
            cosines,
            sines,
            mask: causal_mask()?,
            config,
        })
    }

    /// Dimensions of the model.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
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
        let x = self.attention_half(index, x, gates)?;
        self.mlp_half(index, &x, gates)
    }

    /// The residual stream after the attention of layer `index`.
    pub(super) fn attention_half(
        &self,
        index: usize,
        x: &Tensor,
        gates: Option<&Gates>,
    ) -> candle_core::Result<Tensor> {
        x + self.attention(&self.layers[index], x, gates)?
    }

    /// The residual stream after the MLP of layer `index`.
    pub(super) fn mlp_half(
        &self,
        index: usize,
        x: &Tensor,
        gates: Option<&Gates>,
    ) -> candle_core::Result<Tensor> {
        let (_, mut inner) = self.neurons(index, x)?;
        if let Some(gates) = gates {
            inner = inner.broadcast_mul(&gates.neurons)?;
        }
        self.after_mlp(index, x, &inner)
    }

    /// What the MLP of layer `index` reads of the residual stream, `[tokens, hidden]`, and the
    /// activations of its neurons, `[tokens, neurons]`.
    pub(super) fn neurons(
        &self,
        index: usize,
        x: &Tensor,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        let layer = &self.layers[index];
        let normed = self.norm(x, &layer.mlp_norm)?;
        let inner = (layer.gate.forward(&normed)?.silu()? * layer.up.forward(&normed)?)?;
        Ok((normed, inner))
    }

    /// The residual stream after the MLP of layer `index` whose neurons have activations `inner`.
    pub(super) fn after_mlp(
        &self,
        index: usize,
        x: &Tensor,
        inner: &Tensor,
    ) -> candle_core::Result<Tensor> {
        x + self.layers[index].down.forward(inner)?
    }

    /// The length of what each neuron of layer `index` adds to the stream, per unit of activation,
    /// `[1, neurons]`.
    pub(super) fn down_lengths(&self, index: usize) -> candle_core::Result<Tensor> {
        self.layers[index].down.weight.sqr()?.sum_keepdim(0)?.sqrt()
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        gates: Option<&Gates>,
    ) -> candle_core::Result<Tensor> {
        let config = &self.config;
        let (groups, per_group, width) =
            (config.kv_heads, config.heads_per_group(), config.head_dim);
        let tokens = x.dim(0)?;
        let normed = self.norm(x, &layer.attention_norm)?;
        let split = |projected: Tensor, heads| {
            projected.reshape((tokens, groups, heads, width))?.permute((1, 2, 0, 3))?.contiguous()
        };
        let q = self.rotate(&split(layer.q.forward(&normed)?, per_group)?)?;
        let k = self.rotate(&split(layer.k.forward(&normed)?, 1)?)?.squeeze(1)?;
        let v = split(layer.v.forward(&normed)?, 1)?.squeeze(1)?;

        let q = q.reshape((groups, per_group * tokens, width))?;
        let scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?;
        let scores = scores.reshape((groups, per_group, tokens, tokens))?;
        let mask = self.mask.narrow(0, 0, tokens)?.narrow(1, 0, tokens)?;
        let shares = softmax(&scores.broadcast_add(&mask)?)?;
        let mixed = shares.reshape((groups, per_group * tokens, tokens))?.matmul(&v)?;

        let mixed = mixed.reshape((groups, per_group, tokens, width))?.permute((2, 0, 1, 3))?;
        let mut mixed = mixed.reshape((tokens, groups, per_group * width))?;
        if let Some(gates) = gates {
            mixed = mixed.broadcast_mul(&gates.groups)?;
        }
        layer.o.forward(&mixed.reshape((tokens, groups * per_group * width))?)
    }

    /// Rotary positions on `[.., tokens, head_dim]`.
    fn rotate(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (tokens, half) = (x.dim(D::Minus2)?, self.config.head_dim / 2);
        let (cosines, sines) =
            (self.cosines.narrow(0, 0, tokens)?, self.sines.narrow(0, 0, tokens)?);
        let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let first = (a.broadcast_mul(&cosines)? - b.broadcast_mul(&sines)?)?;
        let second = (b.broadcast_mul(&cosines)? + a.broadcast_mul(&sines)?)?;
        Tensor::cat(&[first, second], D::Minus1)
    }

    fn norm(&self, x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let scale = (mean_square + f64::from(self.config.rms_epsilon))?.sqrt()?;
        x.broadcast_div(&scale)?.broadcast_mul(weight)
    }

    /// The sum over `tokens[1..]` of the next-token loss in nats, given the last layer's output.
    pub(super) fn loss_sum(&self, x: &Tensor, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let predictions = tokens.len() - 1;
        let x = self.norm(&x.narrow(0, 0, predictions)?, &self.final_norm)?;
        let logits = x.matmul(&self.head.t()?)?;
        let targets = Tensor::new(&tokens[1..], &Device::Cpu)?.unsqueeze(1)?;
        let target_logits = logits.gather(&targets, 1)?.squeeze(1)?;
        (logits.log_sum_exp(1)? - target_logits)?.sum_all()
    }
}

/// Softmax over the last dimension. The maximum cancels, so it is kept out of the gradient.
fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let max = x.max_keepdim(D::Minus1)?.detach();
    let powers = x.broadcast_sub(&max)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

fn rotary_tables(config: &ModelConfig) -> candle_core::Result<(Tensor, Tensor)> {
    let half = config.head_dim / 2;
    let angle = |position: usize, pair: usize| {
        let exponent = pair as f64 / half as f64;
        position as f64 / f64::from(config.rope_theta).powf(exponent)
    };
    let table = |function: fn(f64) -> f64| {
        let numbers: Vec<f32> = (0..SEQUENCE_TOKENS_MAX)
            .flat_map(|position| (0..half).map(move |pair| function(angle(position, pair)) as f32))
            .collect();
        matrix(numbers, half)
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}

fn causal_mask() -> candle_core::Result<Tensor> {
    let places = 0..SEQUENCE_TOKENS_MAX;
    let row = |from| places.clone().map(move |to| if to <= from { 0.0 } else { f32::NEG_INFINITY });
    matrix(places.clone().flat_map(row).collect(), SEQUENCE_TOKENS_MAX)
}

fn matrix(numbers: Vec<f32>, columns: usize) -> candle_core::Result<Tensor> {
    let rows = numbers.len() / columns;
    Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)
}

fn vector(numbers: Vec<f32>) -> candle_core::Result<Tensor> {
    let length = numbers.len();
    Tensor::from_vec(numbers, length, &Device::Cpu)
}

/// An error of candle's: on the CPU, with shapes that were checked, that is memory.
pub(super) fn tensor_error(error: candle_core::Error) -> Error {
    Error::new("tensor computation", "failed").caused_by(error)
}
