//! A sub-model's frozen weights with an adapter at every projection, differentiable at the adapter.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::ops::{CausalSoftmax, Frozen, GatedSilu, RmsNorm, Rotary};
use super::parameters::{Parameters, Projection};
use crate::elastify::network::tensor_error;
use crate::engine::model::{DenseLayer, DenseModel, LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::error::Result;

/// Rows of logits in memory at a time: `[rows, vocab]` values, a few hundred megabytes otherwise.
const HEAD_ROWS: usize = 128;

/// The frozen network of one sub-model.
#[derive(Debug)]
pub struct AdaptedNetwork {
    config: ModelConfig,
    /// `alpha / rank`.
    scale: f64,
    embedding: Tensor,
    /// `[vocab, hidden]`.
    head: Tensor,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    angles: Arc<Vec<(f32, f32)>>,
}

/// What a sequence's loss is, and how it changes with the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// Sum of the losses, nats.
    pub loss_sum: f64,
    /// Of `loss_sum`, in the order of [`Parameters::values`].
    pub values: Vec<Vec<f32>>,
}

#[derive(Debug)]
struct Layer {
    attention: Option<Attention>,
    mlp: Option<Mlp>,
}

#[derive(Debug)]
struct Attention {
    norm: RmsNorm,
    groups: usize,
    q: Adapted,
    k: Adapted,
    v: Adapted,
    o: Adapted,
}

#[derive(Debug)]
struct Mlp {
    norm: RmsNorm,
    gate: Adapted,
    up: Adapted,
    down: Adapted,
}

/// A frozen projection and the place of its adapter among the parameters.
#[derive(Debug)]
struct Adapted {
    frozen: Frozen,
    bias: Option<Tensor>,
    reads_units: bool,
    /// Index of `A`; `B` follows.
    slot: usize,
}

impl Adapted {
    fn forward(&self, x: &Tensor, values: &[Tensor], scale: f64) -> candle_core::Result<Tensor> {
        let (a, b) = (&values[self.slot], &values[self.slot + 1]);
        let low = if self.reads_units { x.matmul(a)? } else { x.matmul(&a.t()?)? };
        let low = (low * scale)?;
        let change = if self.reads_units { low.matmul(b)? } else { low.matmul(&b.t()?)? };
        let product = (x.apply_op1(self.frozen.clone())? + change)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// Takes the kept units of a layer's weights, and numbers the adapters.
struct Gather<'a> {
    config: &'a ModelConfig,
    shape: LayerShape,
    /// Rows of q, of k and v, and of gate and up, that are kept.
    query_rows: Vec<usize>,
    key_rows: Vec<usize>,
    neurons: Vec<usize>,
    slot: usize,
}

impl Gather<'_> {
    fn rows(&self, projection: Projection) -> &[usize] {
        match projection {
            Projection::Q | Projection::O => &self.query_rows,
            Projection::K | Projection::V => &self.key_rows,
            Projection::Gate | Projection::Up | Projection::Down => &self.neurons,
        }
    }

    fn adapted(
        &mut self,
        projection: Projection,
        weight: &[f32],
        bias: Option<&Vec<f32>>,
    ) -> candle_core::Result<Adapted> {
        let (rows, hidden) = (self.rows(projection), self.config.hidden);
        let weight = if projection.reads_units() {
            let columns = weight.len() / hidden;
            let row = |row: &'_ [f32]| rows.iter().map(|&unit| row[unit]).collect::<Vec<_>>();
            let values: Vec<f32> = weight.chunks_exact(columns).flat_map(row).collect();
            Tensor::from_vec(values, (hidden, rows.len()), &Device::Cpu)?.t()?
        } else {
            let row = |&unit: &usize| &weight[unit * hidden..][..hidden];
            let values: Vec<f32> = rows.iter().flat_map(row).copied().collect();
            Tensor::from_vec(values, (rows.len(), hidden), &Device::Cpu)?.t()?
        };
        let bias = bias.map(|bias| {
            let values: Vec<f32> = rows.iter().map(|&unit| bias[unit]).collect();
            Tensor::from_vec(values, rows.len(), &Device::Cpu)
        });
        let slot = self.slot;
        self.slot += 2;
        let reads_units = projection.reads_units();
        Ok(Adapted { frozen: Frozen { weight }, bias: bias.transpose()?, reads_units, slot })
    }

    fn layer(&mut self, layer: &DenseLayer) -> candle_core::Result<Layer> {
        let epsilon = self.config.rms_epsilon;
        let norm = |scale: &Vec<f32>| RmsNorm { scale: Arc::new(scale.clone()), epsilon };
        let bias = |which: usize| layer.qkv_bias.as_ref().map(|bias| &bias[which]);
        let attention = match self.shape.groups {
            0 => None,
            groups => Some(Attention {
                norm: norm(&layer.attention_norm),
                groups,
                q: self.adapted(Projection::Q, &layer.q, bias(0))?,
                k: self.adapted(Projection::K, &layer.k, bias(1))?,
                v: self.adapted(Projection::V, &layer.v, bias(2))?,
                o: self.adapted(Projection::O, &layer.o, None)?,
            }),
        };
        let mlp = match self.shape.neurons {
            0 => None,
            _ => Some(Mlp {
                norm: norm(&layer.mlp_norm),
                gate: self.adapted(Projection::Gate, &layer.gate, None)?,
                up: self.adapted(Projection::Up, &layer.up, None)?,
                down: self.adapted(Projection::Down, &layer.down, None)?,
            }),
        };
        Ok(Layer { attention, mlp })
    }
}

/// Indices of the elements of units `kept`, each unit being `width` neighbours.
fn spread(kept: &[u32], width: usize) -> Vec<usize> {
    kept.iter().flat_map(|&unit| (0..width).map(move |i| unit as usize * width + i)).collect()
}

impl AdaptedNetwork {
    /// Copies out of `model` what `sub_model` keeps of it, in `order`, for sequences of up to
    /// `sequence_tokens` tokens and adapters scaled by `scale` (`alpha / rank`).
    ///
    /// # Errors
    /// If candle refuses a tensor.
    pub fn new(
        model: &DenseModel,
        order: &[LayerOrder],
        sub_model: &SubModel,
        scale: f32,
        sequence_tokens: usize,
    ) -> Result<Self> {
        Self::build(model, order, sub_model, scale, sequence_tokens).map_err(tensor_error)
    }

    fn build(
        model: &DenseModel,
        order: &[LayerOrder],
        sub_model: &SubModel,
        scale: f32,
        sequence_tokens: usize,
    ) -> candle_core::Result<Self> {
        let config = &model.config;
        let mut slot = 0;
        let mut layers = Vec::with_capacity(config.layers);
        for ((layer, order), &shape) in model.layers.iter().zip(order).zip(&sub_model.layers) {
            let groups = &order.groups[..shape.groups];
            let mut gather = Gather {
                config,
                shape,
                query_rows: spread(groups, config.heads_per_group() * config.head_dim),
                key_rows: spread(groups, config.head_dim),
                neurons: spread(&order.neurons[..shape.neurons], 1),
                slot,
            };
            layers.push(gather.layer(layer)?);
            slot = gather.slot;
        }
        let table = |values: &[f32]| {
            Tensor::from_slice(values, (config.vocab, config.hidden), &Device::Cpu)
        };
        let embedding = table(&model.embedding)?;
        let head = model.head.as_ref().map_or_else(|| Ok(embedding.clone()), |head| table(head))?;
        Ok(Self {
            scale: f64::from(scale),
            embedding,
            head,
            layers,
            final_norm: RmsNorm {
                scale: Arc::new(model.final_norm.clone()),
                epsilon: config.rms_epsilon,
            },
            angles: Arc::new(rotary_angles(config, sequence_tokens)),
            config: config.clone(),
        })
    }

    /// The loss over the predictions made at `positions` of `tokens`, and its gradient.
    ///
    /// Position `p` predicts token `p + 1`.
    ///
    /// # Errors
    /// If candle fails.
    pub fn gradient(
        &self,
        parameters: &Parameters,
        tokens: &[u32],
        positions: &[u32],
    ) -> Result<Gradient> {
        self.backward(parameters, tokens, positions).map_err(tensor_error)
    }

    fn backward(
        &self,
        parameters: &Parameters,
        tokens: &[u32],
        positions: &[u32],
    ) -> candle_core::Result<Gradient> {
        let variables = tensors(parameters)?
            .iter()
            .map(Var::from_tensor)
            .collect::<candle_core::Result<Vec<_>>>()?;
        let values: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let normed = self.normed(&values, tokens, positions)?;
        let (loss_sum, upstream) = self.head_loss(&normed.detach(), tokens, positions, true)?;
        let upstream = upstream.expect("asked for");
        let gradients = (normed * upstream)?.sum_all()?.backward()?;
        let value = |variable: &Var| match gradients.get(variable) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; variable.elem_count()]),
        };
        let values = variables.iter().map(value).collect::<candle_core::Result<_>>()?;
        Ok(Gradient { loss_sum, values })
    }

    /// The loss over all predictions of `tokens`, summed, in nats.
    ///
    /// # Errors
    /// If candle fails.
    pub fn loss_sum(&self, parameters: &Parameters, tokens: &[u32]) -> Result<f64> {
        let positions: Vec<u32> = (0..tokens.len() as u32 - 1).collect();
        let run = || {
            let normed = self.normed(&tensors(parameters)?, tokens, &positions)?;
            Ok(self.head_loss(&normed, tokens, &positions, false)?.0)
        };
        run().map_err(tensor_error)
    }

    /// What the head reads at `positions`: `[positions, hidden]`.
    fn normed(
        &self,
        values: &[Tensor],
        tokens: &[u32],
        positions: &[u32],
    ) -> candle_core::Result<Tensor> {
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        for layer in &self.layers {
            if let Some(attention) = &layer.attention {
                x = (&x + self.attention(attention, &x, values)?)?;
            }
            if let Some(mlp) = &layer.mlp {
                let normed = x.apply_op1(mlp.norm.clone())?;
                let gate = mlp.gate.forward(&normed, values, self.scale)?;
                let up = mlp.up.forward(&normed, values, self.scale)?;
                let inner = gate.apply_op2(&up, GatedSilu)?;
                x = (x + mlp.down.forward(&inner, values, self.scale)?)?;
            }
        }
        let read = x.index_select(&Tensor::new(positions, &Device::Cpu)?, 0)?;
        read.apply_op1(self.final_norm.clone())
    }

    fn attention(
        &self,
        layer: &Attention,
        x: &Tensor,
        values: &[Tensor],
    ) -> candle_core::Result<Tensor> {
        let (groups, per_group) = (layer.groups, self.config.heads_per_group());
        let (tokens, width) = (x.dim(0)?, self.config.head_dim);
        let rotary = Rotary { angles: self.angles.clone(), half: width / 2 };
        let normed = x.apply_op1(layer.norm.clone())?;
        let project = |projection: &Adapted| projection.forward(&normed, values, self.scale);
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
        let mixed = mixed.permute((2, 0, 1, 3))?.contiguous()?;
        let mixed = mixed.reshape((tokens, groups * per_group * width))?;
        layer.o.forward(&mixed, values, self.scale)
    }

    /// The summed loss of the head's predictions from `normed`, and its gradient there if wanted.
    fn head_loss(
        &self,
        normed: &Tensor,
        tokens: &[u32],
        positions: &[u32],
        with_gradient: bool,
    ) -> candle_core::Result<(f64, Option<Tensor>)> {
        let (mut loss_sum, mut gradients) = (0.0, Vec::new());
        for (part, positions) in positions.chunks(HEAD_ROWS).enumerate() {
            let x = normed.narrow(0, part * HEAD_ROWS, positions.len())?;
            let mut logits: Vec<f32> = x.matmul(&self.head.t()?)?.flatten_all()?.to_vec1()?;
            for (row, &position) in logits.chunks_exact_mut(self.config.vocab).zip(positions) {
                loss_sum += into_slope(row, tokens[position as usize + 1] as usize);
            }
            if with_gradient {
                let shape = (positions.len(), self.config.vocab);
                gradients.push(Tensor::from_vec(logits, shape, &Device::Cpu)?.matmul(&self.head)?);
            }
        }
        let gradient = if with_gradient { Some(Tensor::cat(&gradients, 0)?) } else { None };
        Ok((loss_sum, gradient))
    }

    /// Logits at every position of `tokens`, `[tokens, vocab]`.
    #[cfg(test)]
    pub(super) fn logits(&self, parameters: &Parameters, tokens: &[u32]) -> Vec<Vec<f32>> {
        let positions: Vec<u32> = (0..tokens.len() as u32).collect();
        let normed = self.normed(&tensors(parameters).unwrap(), tokens, &positions).unwrap();
        normed.matmul(&self.head.t().unwrap()).unwrap().to_vec2().unwrap()
    }
}

/// Turns `logits` into the loss's slope at them, and returns the loss of predicting `target`.
fn into_slope(logits: &mut [f32], target: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let gold = logits[target] - max;
    for logit in logits.iter_mut() {
        *logit = (*logit - max).exp();
    }
    let total: f32 = logits.iter().sum();
    for share in logits.iter_mut() {
        *share /= total;
    }
    logits[target] -= 1.0;
    f64::from(total.ln() - gold)
}

fn tensors(parameters: &Parameters) -> candle_core::Result<Vec<Tensor>> {
    let slots = parameters.slots().iter().zip(&parameters.values);
    slots
        .map(|(slot, values)| {
            Tensor::from_slice(values, (slot.shape[0], slot.shape[1]), &Device::Cpu)
        })
        .collect()
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
