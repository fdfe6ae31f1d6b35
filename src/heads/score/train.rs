//! Trains the score-head: one encoder layer of its own, started from the trunk's next layer, and a
//! read-out, on cross-entropy against soft targets.
//!
//! The layers below are frozen, so their output is computed once per item. The epoch with the least
//! loss on the validation items is the one that is kept.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::examples::Example;
pub use super::examples::Examples;
use super::items::Part;
use super::labels::ItemLabels;
use super::targets::Labeling;
use crate::elastify::adam::{SHORT_SQUARE_DECAY, Variables};
use crate::error::{Error, Result};
use crate::heads::trainer::{self, Problem, Round, Saved, Schedule};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::layer::EncoderLayer;
use crate::model::tlm::score_file::KEEP;
use crate::model::tlm::trunk::{Trunk, failed};
use crate::rng;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// What to learn.
    pub labeling: Labeling,
    /// Frozen layers of the trunk.
    pub shared_layers: usize,
    /// Passes over the items.
    pub epochs: usize,
    /// Items per step.
    pub batch: usize,
    /// Length of the first steps; falls to a tenth along a line.
    pub learning_rate: f64,
    /// Seed of the order of items.
    pub seed: u64,
    /// SHA-256 of the trunk's weights.
    pub trunk_sha256: String,
    /// SHA-256 of the file of labels.
    pub labels_sha256: String,
}

impl TrainSpec {
    /// What a checkpoint knows the training by.
    ///
    /// # Panics
    /// Never: a spec is plain data.
    #[must_use]
    pub fn identity(&self) -> String {
        serde_json::to_string(self).expect("a spec is plain data")
    }
}

/// What training came to.
#[derive(Debug)]
pub struct Trained {
    /// The head of the best epoch.
    pub head: Head,
    /// That epoch: losses in nats per piece.
    pub best: Round,
    /// All epochs.
    pub curve: Vec<Round>,
    /// Pieces of passages that went through the network, epochs counted.
    pub tokens: u64,
}

/// Trains a head on `examples`, from `checkpoint` on if it is there. `report` is told each epoch.
///
/// # Errors
/// If no layer of the trunk is left to start from, the loss is not finite, the checkpoint is of
/// another run, or a file cannot be written.
#[expect(clippy::missing_panics_doc, reason = "there is at least one epoch")]
pub fn train(
    trunk: &Trunk,
    spec: &TrainSpec,
    examples: &Examples,
    checkpoint: &Path,
    report: &mut dyn FnMut(&Round),
) -> Result<Trained> {
    let layers = trunk.layers();
    let layer = layers.get(spec.shared_layers).ok_or_else(|| {
        Error::new("argument --shared-layers", "leaves no layer to start from")
            .found(spec.shared_layers)
            .allowed(format!("less than {}", layers.len()))
    })?;
    let share = examples.mean_target()?;
    let (head, mut variables) = start(layer, trunk.config().hidden, share).map_err(failed)?;
    let per_epoch = examples.train.len().div_ceil(spec.batch);
    let schedule = Schedule {
        steps: per_epoch * spec.epochs,
        validate_every: per_epoch,
        patience: usize::MAX,
        rate: spec.learning_rate,
        last_rate: 0.1,
    };
    let run = spec.identity();
    let saved = Saved { path: checkpoint, run: &run };
    let mut lessons = Lessons { head, spec, examples, per_epoch, order: Vec::new(), batches: 0 };
    let curve = trainer::train(&mut variables, &mut lessons, &schedule, Some(saved), report)?;
    let pieces: usize = examples.train.iter().map(|e| e.targets.elem_count()).sum();
    Ok(Trained {
        head: lessons.head,
        best: trainer::best_of(&curve).expect("at least one epoch"),
        curve,
        tokens: (pieces * spec.epochs) as u64,
    })
}

/// A head over `layer` that says `share` of every piece, and what of it is trained.
fn start(
    layer: &EncoderLayer,
    hidden: usize,
    share: f32,
) -> candle_core::Result<(Head, Variables)> {
    let (layer, own) = layer.trainable()?;
    let mut variables: BTreeMap<String, Var> =
        own.into_iter().map(|(name, var)| (format!("layer.0.{name}"), var)).collect();
    let weight = Var::zeros((1, hidden), DType::F32, &Device::Cpu)?;
    let bias = Var::new(&[(share / (1.0 - share)).ln()], &Device::Cpu)?;
    let read_out =
        ReadOut { name: KEEP, weight: weight.as_tensor().clone(), bias: bias.as_tensor().clone() };
    variables.insert(format!("{KEEP}.weight"), weight);
    variables.insert(format!("{KEEP}.bias"), bias);
    let head = Head { reads: Reads::EveryToken, layers: vec![layer], read_outs: vec![read_out] };
    Ok((head, Variables::new(variables.into_iter().collect(), SHORT_SQUARE_DECAY)))
}

/// Batches of every epoch, in an order of its own.
struct Lessons<'a> {
    head: Head,
    spec: &'a TrainSpec,
    examples: &'a Examples,
    per_epoch: usize,
    /// Of the epoch under way.
    order: Vec<&'a Example>,
    batches: usize,
}

impl Problem for Lessons<'_> {
    fn next_loss(&mut self) -> Result<Tensor> {
        let (epoch, index) = (self.batches / self.per_epoch + 1, self.batches % self.per_epoch);
        if index == 0 || self.order.is_empty() {
            self.order = self.examples.train.iter().collect();
            let name = format!("score-head epoch {epoch}");
            self.order.shuffle(&mut rng::stream(self.spec.seed, &name));
        }
        self.batches += 1;
        let batch = self.order.chunks(self.spec.batch).nth(index).expect("within the epoch");
        mean_loss(&self.head, batch)
    }

    fn skip(&mut self) {
        self.batches += 1;
    }

    fn validate(&mut self) -> Result<f64> {
        let mut sum = 0.0;
        for example in &self.examples.validation {
            let loss = mean_loss(&self.head, &[example])?;
            sum += f64::from(loss.to_scalar::<f32>().map_err(failed)?);
        }
        Ok(sum / self.examples.validation.len() as f64)
    }
}

/// Mean over `batch` of the mean cross-entropy of the pieces.
fn mean_loss(head: &Head, batch: &[&Example]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for example in batch {
        let odds = head.forward(&example.x, None, None)?.remove(0);
        let loss = cross_entropy(&odds, example).map_err(failed)?;
        sum = Some(match sum {
            Some(sum) => (sum + loss).map_err(failed)?,
            None => loss,
        });
    }
    (sum.expect("a batch has an item") / batch.len() as f64).map_err(failed)
}

/// −y ln σ(z) − (1 − y) ln(1 − σ(z)) = max(z, 0) − z·y + ln(1 + e^−|z|), averaged.
fn cross_entropy(odds: &Tensor, example: &Example) -> candle_core::Result<Tensor> {
    let pieces = example.targets.elem_count();
    let odds = odds.flatten_all()?.narrow(0, example.first, pieces)?;
    let soft = ((odds.abs()?.neg()?.exp()? + 1.0)?).log()?;
    ((odds.relu()? - (&odds * &example.targets)?)? + soft)?.mean_all()
}

/// The items of `part` in `rows`, by dataset.
#[must_use]
pub fn ids(rows: &[ItemLabels], part: Part) -> BTreeMap<String, Vec<u32>> {
    let mut ids: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.part == part) {
        ids.entry(row.dataset.clone()).or_default().push(row.item);
    }
    for ids in ids.values_mut() {
        ids.sort_unstable();
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tlm::testing::trunk;

    fn spec(epochs: usize) -> TrainSpec {
        TrainSpec {
            labeling: Labeling::LeaveOneOut,
            shared_layers: 1,
            epochs,
            batch: 2,
            learning_rate: 0.01,
            seed: 1,
            trunk_sha256: String::new(),
            labels_sha256: String::new(),
        }
    }

    /// Pieces with a large first feature are worth keeping.
    fn examples() -> Examples {
        let example = |seed: usize| {
            let value = |i: usize| ((i * 7 + seed * 13) % 11) as f32 / 5.0 - 1.0;
            let numbers: Vec<f32> = (0..6 * 8).map(value).collect();
            let targets: Vec<f32> =
                (1..6).map(|t| if numbers[t * 8] > 0.0 { 0.9 } else { 0.1 }).collect();
            Example {
                x: Tensor::from_vec(numbers, (1, 6, 8), &Device::Cpu).unwrap(),
                first: 1,
                targets: Tensor::new(targets, &Device::Cpu).unwrap(),
            }
        };
        Examples { train: (0..6).map(example).collect(), validation: (6..8).map(example).collect() }
    }

    fn weights(trained: &Trained) -> Vec<f32> {
        trained.head.read_outs[0].weight.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_loss_falls_and_a_run_broken_off_ends_in_the_same_head() {
        let (folder, trunk, examples) = (tempfile::tempdir().unwrap(), trunk(1), examples());
        let path = |name: &str| folder.path().join(name);
        let whole = train(&trunk, &spec(6), &examples, &path("a.ckpt"), &mut |_| {}).unwrap();
        assert!(whole.curve[5].loss < 0.9 * whole.curve[0].loss, "{:?}", whole.curve);
        // Broken off after two epochs.
        let mut epochs = 0;
        let broken = train(&trunk, &spec(6), &examples, &path("b.ckpt"), &mut |_| {
            epochs += 1;
            if epochs == 2 {
                std::fs::copy(path("b.ckpt"), path("c.ckpt")).unwrap();
            }
        });
        broken.unwrap();
        let mut left = 0;
        let resumed =
            train(&trunk, &spec(6), &examples, &path("c.ckpt"), &mut |_| left += 1).unwrap();
        assert_eq!(left, 4);
        assert_eq!(resumed.curve, whole.curve);
        assert_eq!(weights(&resumed), weights(&whole));
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused() {
        let (folder, trunk, examples) = (tempfile::tempdir().unwrap(), trunk(1), examples());
        let path = folder.path().join("a.ckpt");
        train(&trunk, &spec(1), &examples, &path, &mut |_| {}).unwrap();
        let other = TrainSpec { seed: 2, ..spec(1) };
        let refused = train(&trunk, &other, &examples, &path, &mut |_| {});
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("checkpoint of another training"), "{message}");
    }

    #[test]
    fn a_loss_that_is_no_number_stops_training() {
        let (folder, trunk, mut examples) = (tempfile::tempdir().unwrap(), trunk(1), examples());
        examples.train[0].targets = Tensor::new(&[f32::NAN; 5], &Device::Cpu).unwrap();
        let path = folder.path().join("a.ckpt");
        let error = train(&trunk, &spec(1), &examples, &path, &mut |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("training, step 1: loss is not finite; found NaN"));
        assert!(!path.exists());
    }

    #[test]
    fn cross_entropy_of_even_odds_is_ln_2() {
        let example = Example {
            x: Tensor::zeros((1, 2, 8), candle_core::DType::F32, &Device::Cpu).unwrap(),
            first: 1,
            targets: Tensor::new(&[0.3_f32], &Device::Cpu).unwrap(),
        };
        let odds = Tensor::new(&[[[9.0_f32], [0.0]]], &Device::Cpu).unwrap();
        let loss = cross_entropy(&odds, &example).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 2.0_f32.ln()).abs() < 1e-6);
    }
}
