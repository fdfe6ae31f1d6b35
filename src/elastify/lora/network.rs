//! A sub-model's frozen weights with an adapter at every projection, differentiable at the adapter.

use candle_core::{Device, Tensor, Var};

use super::parameters::Parameters;
use crate::elastify::network::{Adapters, Layer, Linear, Network, Options, Slot, tensor_error};
use crate::engine::model::{
    DenseLayer, DenseModel, LayerOrder, LayerShape, ModelConfig, Projection, SubModel,
};
use crate::error::Result;

/// Rows of logits in memory at a time: `[rows, vocab]` values, a few hundred megabytes otherwise.
const HEAD_ROWS: usize = 128;

/// The frozen network of one sub-model.
#[derive(Debug)]
pub struct AdaptedNetwork {
    network: Network,
    /// `alpha / rank`.
    scale: f64,
    layers: usize,
}

/// What a sequence's loss is, and how it changes with the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// Sum of the losses, nats.
    pub loss_sum: f64,
    /// Of `loss_sum`, in the order of [`Parameters::values`].
    pub values: Vec<Vec<f32>>,
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
        layer: &DenseLayer,
    ) -> candle_core::Result<Linear> {
        let (rows, hidden) = (self.rows(projection), self.config.hidden);
        let (weight, bias) = layer.projection(projection);
        let reads_units = projection.reads_units();
        let (values, inputs): (Vec<f32>, _) = if reads_units {
            let row = |row: &'_ [f32]| rows.iter().map(|&unit| row[unit]).collect::<Vec<_>>();
            (weight.chunks_exact(weight.len() / hidden).flat_map(row).collect(), rows.len())
        } else {
            let row = |&unit: &usize| &weight[unit * hidden..][..hidden];
            (rows.iter().flat_map(row).copied().collect(), hidden)
        };
        let bias = bias.map(|bias| rows.iter().map(|&unit| bias[unit]).collect());
        let slot = Slot { index: self.slot, reads_units };
        self.slot += 2;
        Linear::new(values, bias, inputs, Some(slot))
    }

    fn layer(&mut self, layer: &DenseLayer) -> candle_core::Result<Layer> {
        let norms = [layer.attention_norm.clone(), layer.mlp_norm.clone()];
        let (shape, epsilon) = (self.shape, self.config.rms_epsilon);
        Layer::new(shape, norms, epsilon, |projection| self.adapted(projection, layer))
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
        let ends = [Some(model.embedding.clone()), model.head.clone()];
        let (layers, count) = (layers, config.layers);
        let norm = model.final_norm.clone();
        let network = Network::of_layers(config.clone(), ends, norm, layers, sequence_tokens)?;
        Ok(Self { network, scale: f64::from(scale), layers: count })
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
        let mut x = self.network.embed(tokens)?;
        let adapters = Some(Adapters { values, scale: self.scale });
        for layer in 0..self.layers {
            x = self.network.run(layer, &x, Options { gates: None, adapters })?;
        }
        self.network.final_norm(&x.index_select(&Tensor::new(positions, &Device::Cpu)?, 0)?)
    }

    /// The summed loss of the head's predictions from `normed`, and its gradient there if wanted.
    fn head_loss(
        &self,
        normed: &Tensor,
        tokens: &[u32],
        positions: &[u32],
        with_gradient: bool,
    ) -> candle_core::Result<(f64, Option<Tensor>)> {
        let (head, vocab) = (self.network.head(), self.network.config().vocab);
        let (mut loss_sum, mut gradients) = (0.0, Vec::new());
        for (part, positions) in positions.chunks(HEAD_ROWS).enumerate() {
            let x = normed.narrow(0, part * HEAD_ROWS, positions.len())?;
            let mut logits: Vec<f32> = x.matmul(&head.t()?)?.flatten_all()?.to_vec1()?;
            for (row, &position) in logits.chunks_exact_mut(vocab).zip(positions) {
                loss_sum += into_slope(row, tokens[position as usize + 1] as usize);
            }
            if with_gradient {
                let shape = (positions.len(), vocab);
                gradients.push(Tensor::from_vec(logits, shape, &Device::Cpu)?.matmul(head)?);
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
        normed.matmul(&self.network.head().t().unwrap()).unwrap().to_vec2().unwrap()
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
