//! Importance by influence: how far a layer, or one half of it, turns the residual stream.
//!
//! Block influence = 1 − cos(h before, h after), mean over tokens: a layer that leaves the stream's
//! direction alone is taken to be the one that is missed least. Reference: ShortGPT (Men et al.,
//! 2024) for layers; the same measure per attention and per MLP sub-layer is that of attention
//! dropping (He et al., 2024). One forward pass measures all of them.

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::network::{Network, Options, tensor_error};
use crate::engine::model::ModelConfig;
use crate::error::{Error, Result};

/// One sequence's influences, each a sum over the sequence's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceInfluence {
    /// Sum of the next-token losses, in nats.
    pub loss_sum: f64,
    /// Of every layer.
    pub layers: Vec<f64>,
    /// Of every layer's attention.
    pub attention: Vec<f64>,
    /// Of every layer's MLP, on what attention leaves it.
    pub mlp: Vec<f64>,
}

/// Sums over the sequences done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluenceSums {
    /// Sequences done.
    pub sequences: usize,
    /// Tokens in them.
    pub tokens: usize,
    /// Next-token losses, in nats.
    pub loss: f64,
    /// Of every layer.
    pub layers: Vec<f64>,
    /// Of every layer's attention.
    pub attention: Vec<f64>,
    /// Of every layer's MLP.
    pub mlp: Vec<f64>,
}

/// Measures the influence of every layer and half-layer of `network` on a sequence of tokens.
///
/// # Errors
/// If candle fails.
pub fn influence(network: &Network, tokens: &[u32]) -> Result<SequenceInfluence> {
    let run = || {
        let layers = network.config().layers;
        let mut sums = SequenceInfluence {
            loss_sum: 0.0,
            layers: Vec::with_capacity(layers),
            attention: Vec::with_capacity(layers),
            mlp: Vec::with_capacity(layers),
        };
        let mut x = network.embed(tokens)?;
        for layer in 0..layers {
            let middle = network.attention_half(layer, &x, Options::default())?;
            let after = network.mlp_half(layer, &middle, Options::default())?;
            sums.layers.push(turn(&x, &after)?);
            sums.attention.push(turn(&x, &middle)?);
            sums.mlp.push(turn(&middle, &after)?);
            x = after;
        }
        sums.loss_sum = f64::from(network.loss_sum(&x, tokens)?.to_scalar::<f32>()?);
        Ok(sums)
    };
    run().map_err(tensor_error)
}

/// The sum over tokens of 1 − cos(`before`, `after`), `[tokens, hidden]` each.
fn turn(before: &Tensor, after: &Tensor) -> candle_core::Result<f64> {
    let product = (before * after)?.sum(D::Minus1)?;
    let lengths = (before.sqr()?.sum(D::Minus1)?.sqrt()? * after.sqr()?.sum(D::Minus1)?.sqrt()?)?;
    let turned = (1.0 - (product / lengths)?)?.sum_all()?.to_scalar::<f32>()?;
    Ok(f64::from(turned))
}

/// Mean influences per token.
#[derive(Debug, Clone, PartialEq)]
pub struct Influence {
    /// Of every layer.
    pub layers: Vec<f64>,
    /// Of every layer's attention.
    pub attention: Vec<f64>,
    /// Of every layer's MLP.
    pub mlp: Vec<f64>,
}

impl InfluenceSums {
    /// Adds the next sequence, of `tokens` tokens.
    pub fn add(&mut self, sequence: &SequenceInfluence, tokens: usize) {
        self.sequences += 1;
        self.tokens += tokens;
        self.loss += sequence.loss_sum;
        for (sums, terms) in [
            (&mut self.layers, &sequence.layers),
            (&mut self.attention, &sequence.attention),
            (&mut self.mlp, &sequence.mlp),
        ] {
            sums.resize(terms.len(), 0.0);
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    /// The means per token.
    ///
    /// # Errors
    /// If nothing has been measured or the sums are of a model with other layers.
    pub fn means(&self, config: &ModelConfig) -> Result<Influence> {
        for sums in [&self.layers, &self.attention, &self.mlp] {
            if self.sequences == 0 || sums.len() != config.layers {
                return Err(Error::new("scores", "influence not measured")
                    .at("key \"influence\"")
                    .found(format!("{} layers, {} sequences", sums.len(), self.sequences))
                    .allowed(format!(
                        "{} layers, 1 sequence or more; run `pliant elastify score --family \
                         layer-influence`",
                        config.layers
                    )));
            }
        }
        let mean = |sums: &[f64]| sums.iter().map(|sum| sum / self.tokens as f64).collect();
        Ok(Influence {
            layers: mean(&self.layers),
            attention: mean(&self.attention),
            mlp: mean(&self.mlp),
        })
    }

    /// The base model's mean next-token loss, nats per token.
    #[must_use]
    pub fn base_loss(&self) -> f64 {
        self.loss / (self.tokens - self.sequences) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::random_model;

    const TOKENS: [u32; 6] = [3, 17, 42, 5, 30, 11];

    /// A model whose layer 1 adds nothing, and whose layer 2 has an MLP that adds nothing.
    fn with_identities() -> Network {
        let mut model = random_model(1);
        model.layers[1].o.fill(0.0);
        model.layers[1].down.fill(0.0);
        model.layers[2].down.fill(0.0);
        Network::new(model).unwrap()
    }

    #[test]
    fn a_layer_that_adds_nothing_has_no_influence_and_others_have_some() {
        let found = influence(&with_identities(), &TOKENS).unwrap();
        for value in [found.layers[1], found.attention[1], found.mlp[1], found.mlp[2]] {
            assert!(value.abs() < 1e-5, "{value}");
        }
        for value in [found.layers[0], found.attention[0], found.mlp[0], found.attention[2]] {
            assert!(value > 1e-2, "{value}");
        }
        assert!((found.layers[2] - found.attention[2]).abs() < 1e-5);
    }

    #[test]
    fn the_turn_of_a_vector_is_one_minus_its_cosine() {
        // (1, 0) → (1, 1): 1 − 1/√2; (0, 2) → (0, −4): 2; (3, 4) → (6, 8): 0.
        let rows = |values: [f32; 6]| Tensor::new(&values, &candle_core::Device::Cpu).unwrap();
        let rows = |values| rows(values).reshape((3, 2)).unwrap();
        let found =
            turn(&rows([1.0, 0.0, 0.0, 2.0, 3.0, 4.0]), &rows([1.0, 1.0, 0.0, -4.0, 6.0, 8.0]))
                .unwrap();
        let expected = (1.0 - std::f64::consts::FRAC_1_SQRT_2) + 2.0;
        assert!((found - expected).abs() < 1e-6, "{found}");
    }

    #[test]
    fn means_are_over_all_tokens_and_need_a_measurement() {
        let config = random_model(1).config;
        let mut sums = InfluenceSums::default();
        let message = sums.means(&config).unwrap_err().to_string();
        assert!(message.starts_with("scores, key \"influence\": influence not measured"));
        let sequence = |value| SequenceInfluence {
            loss_sum: 4.0,
            layers: vec![value; 3],
            attention: vec![0.0; 3],
            mlp: vec![1.0; 3],
        };
        sums.add(&sequence(3.0), 2);
        sums.add(&sequence(2.0), 8);
        assert_eq!(sums.means(&config).unwrap().layers, [0.5; 3]);
        // 8 nats over 1 + 7 predictions.
        assert!((sums.base_loss() - 1.0).abs() < 1e-12);
    }
}
