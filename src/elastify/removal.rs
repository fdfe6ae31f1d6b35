//! Importance by removal: how much the loss grows when a layer or an attention group is left out.
//!
//! Exact where the Taylor score is a slope, hence affordable for few and large units only. The
//! residual stream below a removal does not change, so it is computed once per sequence and only
//! the layers above are run again.

use candle_core::Tensor;

use super::network::{Gates, Network, tensor_error};
use crate::engine::model::{LayerOrder, SubModel};
use crate::error::Result;

/// One sequence's losses, each a sum over the sequence's predictions, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceRemoval {
    /// With nothing removed.
    pub loss_sum: f64,
    /// With layer `l` removed.
    pub layers: Vec<f64>,
    /// With group `g` of layer `l` removed, `[l][g]`.
    pub groups: Vec<Vec<f64>>,
}

/// Removes every layer and every group of `network` in turn, on a sequence of tokens.
///
/// # Errors
/// If candle fails.
pub fn remove_each(network: &Network, tokens: &[u32]) -> Result<SequenceRemoval> {
    removal(network, tokens).map_err(tensor_error)
}

fn removal(network: &Network, tokens: &[u32]) -> candle_core::Result<SequenceRemoval> {
    let config = network.config();
    let mut input = network.embed(tokens)?;
    let mut layers = Vec::with_capacity(config.layers);
    let mut groups = Vec::with_capacity(config.layers);
    for layer in 0..config.layers {
        layers.push(finish(network, layer + 1, input.clone(), tokens)?);
        let without = |group| {
            let gates = Gates::without_group(config, group)?;
            finish(network, layer + 1, network.layer(layer, &input, Some(&gates))?, tokens)
        };
        groups.push((0..config.kv_heads).map(without).collect::<candle_core::Result<_>>()?);
        input = network.layer(layer, &input, None)?;
    }
    let loss_sum = finish(network, config.layers, input, tokens)?;
    Ok(SequenceRemoval { loss_sum, layers, groups })
}

/// The loss of the residual stream `x` before layer `first`, run to the end.
fn finish(network: &Network, first: usize, x: Tensor, tokens: &[u32]) -> candle_core::Result<f64> {
    let layers: Vec<usize> = (first..network.config().layers).collect();
    finish_layers(network, &layers, x, tokens)
}

/// The loss of the residual stream `x` after it has passed `layers`.
pub(super) fn finish_layers(
    network: &Network,
    layers: &[usize],
    mut x: Tensor,
    tokens: &[u32],
) -> candle_core::Result<f64> {
    for &layer in layers {
        x = network.layer(layer, &x, None)?;
    }
    Ok(f64::from(network.loss_sum(&x, tokens)?.to_scalar::<f32>()?))
}

/// The loss of the sub-model that keeps prefixes of `order`, summed over the predictions of
/// `tokens`.
///
/// # Errors
/// If candle fails.
pub fn sub_model_loss(
    network: &Network,
    order: &[LayerOrder],
    sub_model: &SubModel,
    tokens: &[u32],
) -> Result<f64> {
    let run = || {
        let mut x = network.embed(tokens)?;
        for (layer, (order, shape)) in order.iter().zip(&sub_model.layers).enumerate() {
            if shape.groups + shape.neurons > 0 {
                x = network.layer(layer, &x, Some(&Gates::of_prefix(order, shape)?))?;
            }
        }
        finish(network, network.config().layers, x, tokens)
    };
    run().map_err(tensor_error)
}
