//! Greedy layer removal: after each removal every remaining layer is measured again, and the one
//! whose removal then costs least goes next.
//!
//! The stronger form of removal by loss: one measurement ranks layers by what each costs *alone*,
//! although two layers that do the same work each look dispensable while the other is there. For
//! `L` layers it runs O(L²) suffixes of the network instead of O(L).

use serde::{Deserialize, Serialize};

use super::network::{Network, tensor_error};
use super::removal::finish_layers;
use crate::engine::model::ModelConfig;
use crate::error::{Error, Result};

/// The removals so far, from which a measurement resumes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GreedyRemoval {
    /// Sequences that losses are measured on.
    pub sequences: usize,
    /// Tokens of each.
    pub sequence_tokens: usize,
    /// The base model's losses, summed over the predictions, in nats.
    pub loss: f64,
    /// Layers in the order in which they went.
    pub removed: Vec<usize>,
    /// The loss after each removal, summed likewise.
    pub losses: Vec<f64>,
}

impl GreedyRemoval {
    /// Measures `network` with nothing removed, on `sequences` of equal length.
    ///
    /// # Errors
    /// If candle fails.
    pub fn start(network: &Network, sequences: &[&[u32]]) -> Result<Self> {
        let all: Vec<usize> = (0..network.config().layers).collect();
        Ok(Self {
            sequences: sequences.len(),
            sequence_tokens: sequences.first().map_or(0, |sequence| sequence.len()),
            loss: sum_losses(network, &all, sequences)?,
            removed: Vec::new(),
            losses: Vec::new(),
        })
    }

    /// Removes the next layer: of all that remain the one without which the loss is smallest; of
    /// equals the lowest.
    ///
    /// # Errors
    /// If candle fails.
    ///
    /// # Panics
    /// If every layer has gone.
    pub fn remove_next(&mut self, network: &Network, sequences: &[&[u32]]) -> Result<()> {
        let kept = self.kept(network.config().layers);
        let mut sums = vec![0.0; kept.len()];
        for tokens in sequences {
            let losses = losses_without_each(network, &kept, tokens).map_err(tensor_error)?;
            sums.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss);
        }
        let place = (0..kept.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b]));
        let place = place.expect("a layer remains");
        self.removed.push(kept[place]);
        self.losses.push(sums[place]);
        Ok(())
    }

    /// Layers that remain, ascending.
    fn kept(&self, layers: usize) -> Vec<usize> {
        (0..layers).filter(|layer| !self.removed.contains(layer)).collect()
    }

    /// How long each layer lasted: 0 for the first to go. Larger is more important.
    ///
    /// # Errors
    /// If not every layer has gone.
    pub fn ranks(&self, config: &ModelConfig) -> Result<Vec<f64>> {
        let mut ranks = vec![None; config.layers];
        for (rank, &layer) in self.removed.iter().enumerate() {
            if let Some(place) = ranks.get_mut(layer) {
                *place = Some(rank as f64);
            }
        }
        ranks.into_iter().collect::<Option<_>>().ok_or_else(|| {
            Error::new("scores", "greedy removal not measured to its end")
                .at("key \"greedy\"")
                .found(format!("{} layers removed", self.removed.len()))
                .allowed(format!(
                    "{}; run `pliant elastify score --family layer-removal-greedy`",
                    config.layers
                ))
        })
    }

    /// For each layer, how far the loss was above the base model's when it had gone, nats per
    /// token.
    #[must_use]
    pub fn loss_growth(&self) -> Vec<f64> {
        let mut growth = vec![0.0; self.removed.len()];
        for (&layer, loss) in self.removed.iter().zip(&self.losses) {
            growth[layer] = (loss - self.loss) / self.predictions() as f64;
        }
        growth
    }

    /// The base model's mean loss, nats per token.
    #[must_use]
    pub fn base_loss(&self) -> f64 {
        self.loss / self.predictions() as f64
    }

    fn predictions(&self) -> usize {
        self.sequences * (self.sequence_tokens - 1)
    }
}

fn sum_losses(network: &Network, layers: &[usize], sequences: &[&[u32]]) -> Result<f64> {
    let mut sum = 0.0;
    for tokens in sequences {
        let loss = network.embed(tokens).and_then(|x| finish_layers(network, layers, x, tokens));
        sum += loss.map_err(tensor_error)?;
    }
    Ok(sum)
}

/// The loss of the network of layers `kept` without each of them. What comes before a removed layer
/// is computed once.
fn losses_without_each(
    network: &Network,
    kept: &[usize],
    tokens: &[u32],
) -> candle_core::Result<Vec<f64>> {
    let mut x = network.embed(tokens)?;
    let mut losses = Vec::with_capacity(kept.len());
    for (place, &layer) in kept.iter().enumerate() {
        losses.push(finish_layers(network, &kept[place + 1..], x.clone(), tokens)?);
        x = network.layer(layer, &x, None)?;
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elastify::removal::sub_model_loss;
    use crate::engine::model::{LayerShape, SubModel};
    use crate::engine::reference::{identity_order, random_model};

    const A: [u32; 7] = [3, 17, 42, 5, 5, 30, 11];
    const B: [u32; 7] = [9, 1, 1, 8, 40, 2, 33];

    /// The loss of a three-layer model that keeps `kept`, layer by layer from the definition.
    fn loss_of(network: &Network, kept: &[usize]) -> f64 {
        let config = network.config();
        let mut sub_model = SubModel::full(config);
        for layer in (0..config.layers).filter(|layer| !kept.contains(layer)) {
            sub_model.layers[layer] = LayerShape { groups: 0, neurons: 0 };
        }
        let order = identity_order(config);
        let loss = |tokens| sub_model_loss(network, &order, &sub_model, tokens).unwrap();
        loss(&A) + loss(&B)
    }

    #[test]
    fn every_step_equals_trying_each_remaining_layer() {
        for seed in 1..5 {
            let network = Network::new(random_model(seed)).unwrap();
            let sequences = [&A[..], &B[..]];
            let mut greedy = GreedyRemoval::start(&network, &sequences).unwrap();
            assert!((greedy.loss - loss_of(&network, &[0, 1, 2])).abs() < 1e-4);
            let mut kept = vec![0, 1, 2];
            while !kept.is_empty() {
                let without = |layer: usize| {
                    let rest: Vec<_> = kept.iter().copied().filter(|&l| l != layer).collect();
                    (loss_of(&network, &rest), layer, rest)
                };
                let tried = kept.iter().map(|&layer| without(layer));
                let (loss, layer, rest) = tried.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
                greedy.remove_next(&network, &sequences).unwrap();
                assert_eq!(greedy.removed.last(), Some(&layer), "seed {seed}");
                assert!((greedy.losses.last().unwrap() - loss).abs() < 1e-4);
                kept = rest;
            }
        }
    }

    #[test]
    fn ranks_and_growth_follow_the_order_of_removal() {
        let config = random_model(1).config;
        let mut greedy = GreedyRemoval {
            sequences: 2,
            sequence_tokens: 6,
            loss: 10.0,
            removed: vec![1, 2],
            losses: vec![12.0, 15.0],
        };
        let message = greedy.ranks(&config).unwrap_err().to_string();
        assert!(message.contains("not measured to its end; found 2 layers removed; allowed: 3"));
        greedy.removed.push(0);
        greedy.losses.push(30.0);
        assert_eq!(greedy.ranks(&config).unwrap(), [2.0, 0.0, 1.0]);
        // Ten predictions: 10 → 12, 15 and 30 nats.
        assert_eq!(greedy.loss_growth(), [2.0, 0.2, 0.5]);
    }
}
