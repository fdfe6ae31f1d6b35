//! Unit importance by first-order Taylor expansion: removing a unit with activation `a` changes the
//! loss by about `a · ∂L/∂a`.
//!
//! Reference: paper §3.2, `imp = |L − L(W_i = 0)| ≈ |∂L/∂W_i · W_i|`. With one gate per unit and
//! token, the gradient at gate 1 is the unit's term at that token; the rules differ in what is
//! summed before the absolute value is taken. Gradients are taken layer by layer from the top, the
//! layer being run again each time, so that one layer's graph is in memory.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use super::network::{Gates, Network, tensor_error};
use crate::error::Result;

/// One sequence's scores; a score is a sum over the sequence's predictions, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceImportance {
    /// Sum of the next-token losses.
    pub loss_sum: f64,
    /// One entry per layer.
    pub layers: Vec<LayerImportance>,
}

/// One layer's scores under both rules.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerImportance {
    /// Attention groups.
    pub groups: UnitImportance,
    /// MLP neurons.
    pub neurons: UnitImportance,
}

/// Scores of one kind of unit under both rules.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitImportance {
    /// By [`ImportanceRule::TokenTaylor`](crate::model::recorded::ImportanceRule::TokenTaylor).
    pub token_taylor: Vec<f32>,
    /// By
    /// [`ImportanceRule::SequenceTaylor`](crate::model::recorded::ImportanceRule::SequenceTaylor).
    pub sequence_taylor: Vec<f32>,
}

/// Scores every unit of `network` on `tokens`, a sequence of 2 to `SEQUENCE_TOKENS_MAX` tokens.
///
/// # Errors
/// If candle fails.
pub fn score_sequence(network: &Network, tokens: &[u32]) -> Result<SequenceImportance> {
    taylor(network, tokens).map_err(tensor_error)
}

fn taylor(network: &Network, tokens: &[u32]) -> candle_core::Result<SequenceImportance> {
    let mut inputs = vec![network.embed(tokens)?];
    for layer in 0..network.config().layers {
        inputs.push(network.layer(layer, &inputs[layer], None)?);
    }
    let output = Var::from_tensor(&inputs.pop().expect("the embedding is there"))?;
    let loss = network.loss_sum(&output, tokens)?;
    let mut upstream = gradient(&loss.backward()?, &output);

    let mut layers = Vec::with_capacity(inputs.len());
    for (layer, input) in inputs.iter().enumerate().rev() {
        let (scores, below) = layer_taylor(network, layer, input, &upstream)?;
        layers.push(scores);
        upstream = below;
    }
    layers.reverse();
    Ok(SequenceImportance { loss_sum: f64::from(loss.to_scalar::<f32>()?), layers })
}

/// A layer's scores, and the loss's gradient at its input, from the gradient at its output.
fn layer_taylor(
    network: &Network,
    layer: usize,
    input: &Tensor,
    upstream: &Tensor,
) -> candle_core::Result<(LayerImportance, Tensor)> {
    let config = network.config();
    let tokens = input.dim(0)?;
    let input = Var::from_tensor(input)?;
    let groups = Var::ones((tokens, config.kv_heads, 1), DType::F32, &Device::Cpu)?;
    let neurons = Var::ones((tokens, config.intermediate), DType::F32, &Device::Cpu)?;
    let gates = Gates { groups: groups.as_tensor().clone(), neurons: neurons.as_tensor().clone() };
    let output = network.layer(layer, &input, Some(&gates))?;
    let gradients = (output * upstream)?.sum_all()?.backward()?;
    let scores = LayerImportance {
        groups: unit_scores(&gradient(&gradients, &groups).squeeze(2)?)?,
        neurons: unit_scores(&gradient(&gradients, &neurons))?,
    };
    Ok((scores, gradient(&gradients, &input)))
}

fn gradient(gradients: &GradStore, variable: &Var) -> Tensor {
    gradients.get(variable).expect("the loss depends on every variable").detach()
}

/// `terms`: `[tokens, units]`.
fn unit_scores(terms: &Tensor) -> candle_core::Result<UnitImportance> {
    Ok(UnitImportance {
        token_taylor: terms.abs()?.sum(0)?.to_vec1()?,
        sequence_taylor: terms.sum(0)?.abs()?.to_vec1()?,
    })
}
