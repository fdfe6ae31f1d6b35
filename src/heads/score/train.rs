//! Trains the score-head: one encoder layer of its own, started from the trunk's next layer, and a
//! read-out, on cross-entropy against soft targets.
//!
//! The layers below are frozen, so their output is computed once per item. After each epoch the
//! state goes to a checkpoint, from which a run that was broken off goes on to the very same head;
//! the epoch with the least loss on the validation items is the one that is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::examples::Example;
pub use super::examples::Examples;
use super::items::Part;
use super::labels::ItemLabels;
use super::targets::Labeling;
use crate::error::{Error, Result};
use crate::heads::adam::{Moments, SHORT_SQUARE_DECAY, Step};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::score_file::KEEP;
use crate::model::tlm::trunk::{Trunk, failed};
use crate::{files, rng};

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

/// One line of the loss curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochLoss {
    /// From 1.
    pub epoch: usize,
    /// Steps so far.
    pub steps: usize,
    /// Mean over the epoch's steps, nats per piece.
    pub loss: f64,
    /// On the validation items, nats per piece.
    pub validation_loss: f64,
}

/// What training came to.
#[derive(Debug)]
pub struct Trained {
    /// The head of the best epoch.
    pub head: Head,
    /// That epoch.
    pub best: EpochLoss,
    /// All epochs.
    pub curve: Vec<EpochLoss>,
    /// Pieces of passages that went through the network, epochs counted.
    pub tokens: u64,
}

/// Trains a head on `examples`, from `checkpoint` on if it is there. `report` is told each epoch.
///
/// # Errors
/// If the loss is not finite, the checkpoint is of another run, or a file cannot be written.
#[expect(clippy::missing_panics_doc, reason = "there is at least one epoch")]
pub fn train(
    trunk: &Trunk,
    spec: &TrainSpec,
    examples: &Examples,
    checkpoint: &Path,
    report: &mut dyn FnMut(&EpochLoss),
) -> Result<Trained> {
    let mut run = Run::start(trunk, spec, examples)?;
    run.resume(checkpoint)?;
    while run.curve.len() < spec.epochs {
        let epoch = run.epoch(spec, examples)?;
        run.save(spec, checkpoint)?;
        report(&epoch);
    }
    let best = best(&run.curve).expect("at least one epoch");
    let head = run.head_of(&run.best)?;
    let pieces: usize = examples.train.iter().map(|e| e.targets.elem_count()).sum();
    let tokens = (pieces * spec.epochs) as u64;
    Ok(Trained { head, best, curve: run.curve, tokens })
}

fn best(curve: &[EpochLoss]) -> Option<EpochLoss> {
    curve.iter().copied().min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss))
}

/// State of a training.
struct Run {
    head: Head,
    vars: BTreeMap<String, Var>,
    moments: BTreeMap<String, Moments>,
    best: BTreeMap<String, Tensor>,
    curve: Vec<EpochLoss>,
}

/// What a checkpoint says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    spec: TrainSpec,
    curve: Vec<EpochLoss>,
    tensors_sha256: String,
}

impl Run {
    fn start(trunk: &Trunk, spec: &TrainSpec, examples: &Examples) -> Result<Self> {
        let layers = trunk.layers();
        let layer = layers.get(spec.shared_layers).ok_or_else(|| {
            Error::new("argument --shared-layers", "leaves no layer to start from")
                .found(spec.shared_layers)
                .allowed(format!("less than {}", layers.len()))
        })?;
        let share = examples.mean_target()?;
        Self::with_layer(layer, trunk.config().hidden, share).map_err(failed)
    }

    fn with_layer(
        layer: &crate::model::tlm::layer::EncoderLayer,
        hidden: usize,
        share: f32,
    ) -> candle_core::Result<Self> {
        let (layer, own) = layer.trainable()?;
        let mut vars: BTreeMap<String, Var> =
            own.into_iter().map(|(name, var)| (format!("layer.0.{name}"), var)).collect();
        let weight = Var::zeros((1, hidden), candle_core::DType::F32, &Device::Cpu)?;
        let bias = Var::new(&[(share / (1.0 - share)).ln()], &Device::Cpu)?;
        let read_out = ReadOut {
            name: KEEP,
            weight: weight.as_tensor().clone(),
            bias: bias.as_tensor().clone(),
        };
        vars.insert(format!("{KEEP}.weight"), weight);
        vars.insert(format!("{KEEP}.bias"), bias);
        let zeros = |(name, var): (&String, &Var)| Ok((name.clone(), Moments::zero(var)?));
        let moments = vars.iter().map(zeros).collect::<candle_core::Result<_>>()?;
        let head =
            Head { reads: Reads::EveryToken, layers: vec![layer], read_outs: vec![read_out] };
        let mut run = Self { head, vars, moments, best: BTreeMap::new(), curve: Vec::new() };
        run.best = run.copies()?;
        Ok(run)
    }

    fn copies(&self) -> candle_core::Result<BTreeMap<String, Tensor>> {
        let copy = |(name, var): (&String, &Var)| Ok((name.clone(), var.as_tensor().copy()?));
        self.vars.iter().map(copy).collect()
    }

    /// The head with `weights` in place of its own.
    fn head_of(&self, weights: &BTreeMap<String, Tensor>) -> Result<Head> {
        for (name, var) in &self.vars {
            var.set(&weights[name]).map_err(failed)?;
        }
        Ok(self.head.clone())
    }

    fn epoch(&mut self, spec: &TrainSpec, examples: &Examples) -> Result<EpochLoss> {
        let epoch = self.curve.len() + 1;
        let mut order: Vec<&Example> = examples.train.iter().collect();
        order.shuffle(&mut rng::stream(spec.seed, &format!("score-head epoch {epoch}")));
        let per_epoch = order.len().div_ceil(spec.batch);
        let total = per_epoch * spec.epochs;
        let mut sum = 0.0;
        for (index, batch) in order.chunks(spec.batch).enumerate() {
            let step = (epoch - 1) * per_epoch + index;
            let rate = spec.learning_rate * (1.0 - 0.9 * step as f64 / total as f64);
            let loss = mean_loss(&self.head, batch)?;
            sum += finite(&loss, epoch)?;
            self.step(&loss, step, rate).map_err(failed)?;
        }
        let validation: Vec<&Example> = examples.validation.iter().collect();
        let mut validation_loss = 0.0;
        for example in &validation {
            validation_loss += finite(&mean_loss(&self.head, &[example])?, epoch)?;
        }
        let epoch = EpochLoss {
            epoch,
            steps: epoch * per_epoch,
            loss: sum / per_epoch as f64,
            validation_loss: validation_loss / validation.len() as f64,
        };
        if best(&self.curve).is_none_or(|best| epoch.validation_loss < best.validation_loss) {
            self.best = self.copies().map_err(failed)?;
        }
        self.curve.push(epoch);
        Ok(epoch)
    }

    /// One step of Adam against the gradient of `loss`; `index` counts from 0.
    fn step(&mut self, loss: &Tensor, index: usize, rate: f64) -> candle_core::Result<()> {
        let gradients = loss.backward()?;
        let step = Step { index, rate, square_decay: SHORT_SQUARE_DECAY };
        for (name, var) in &self.vars {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            let moments = self.moments.get_mut(name).expect("every variable has moments");
            moments.descend(var, gradient, step)?;
        }
        Ok(())
    }

    fn save(&self, spec: &TrainSpec, path: &Path) -> Result<()> {
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, var) in &self.vars {
            let Moments { mean, square } = &self.moments[name];
            tensors.insert(format!("now.{name}"), var.as_tensor().clone());
            tensors.insert(format!("mean.{name}"), mean.clone());
            tensors.insert(format!("square.{name}"), square.clone());
            tensors.insert(format!("best.{name}"), self.best[name].clone());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "cannot create", e))?;
        let scratch = tempfile::NamedTempFile::new_in(folder)
            .map_err(|e| Error::io(folder, "cannot write", e))?;
        candle_core::safetensors::save(&tensors.into_iter().collect(), scratch.path())
            .map_err(failed)?;
        let tensors_sha256 = crate::digest::sha256_file(scratch.path())?;
        scratch.persist(path).map_err(|e| Error::io(path, "cannot write", e.error))?;
        let progress = Progress { spec: spec.clone(), curve: self.curve.clone(), tensors_sha256 };
        let json = serde_json::to_vec_pretty(&progress).expect("progress is plain data");
        files::write_whole(&progress_path(path), &json)
    }

    /// Goes on from `path`, if it is there. A kill between its two files starts over.
    fn resume(&mut self, path: &Path) -> Result<()> {
        let progress = progress_path(path);
        if !path.exists() || !progress.exists() {
            return Ok(());
        }
        let json = std::fs::read(&progress).map_err(|e| Error::io(&progress, "cannot read", e))?;
        let saved: Progress = serde_json::from_slice(&json)
            .map_err(|error| Error::file(&progress, "not a checkpoint").caused_by(error))?;
        if saved.tensors_sha256 != crate::digest::sha256_file(path)? {
            return Ok(());
        }
        let mut tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(path, &Device::Cpu)
                .map_err(|error| Error::file(path, "cannot read tensors").caused_by(error))?
                .into_iter()
                .collect();
        let mut take = |kind: &str, name: &str| {
            let name = format!("{kind}.{name}");
            tensors.remove(&name).ok_or_else(|| {
                Error::file(path, "checkpoint of another model").at(format!("tensor {name}"))
            })
        };
        for (name, var) in &self.vars {
            var.set(&take("now", name)?).map_err(failed)?;
            let moments = Moments { mean: take("mean", name)?, square: take("square", name)? };
            self.moments.insert(name.clone(), moments);
            self.best.insert(name.clone(), take("best", name)?);
        }
        self.curve = saved.curve;
        Ok(())
    }
}

/// Refuses a checkpoint at `path` that is not of `spec`; none is fine.
///
/// # Errors
/// If there is one and it belongs to another training.
#[expect(clippy::missing_panics_doc, reason = "a spec is plain data")]
pub fn check_checkpoint(path: &Path, spec: &TrainSpec) -> Result<()> {
    let progress = progress_path(path);
    let Ok(json) = std::fs::read(&progress) else { return Ok(()) };
    let saved: Progress = serde_json::from_slice(&json)
        .map_err(|error| Error::file(&progress, "not a checkpoint").caused_by(error))?;
    if saved.spec == *spec {
        return Ok(());
    }
    let short = |spec: &TrainSpec| serde_json::to_string(spec).expect("a spec is plain data");
    Err(Error::file(&progress, "checkpoint of another training")
        .found(short(&saved.spec))
        .allowed(format!("{}, or no checkpoint: remove it to start over", short(spec))))
}

/// Removes the checkpoint of a training that has ended; one that stays does no harm.
pub fn remove_checkpoint(path: &Path) {
    for path in [&progress_path(path), path] {
        let _ = std::fs::remove_file(path);
    }
}

fn progress_path(checkpoint: &Path) -> PathBuf {
    checkpoint.with_extension("json")
}

fn finite(loss: &Tensor, epoch: usize) -> Result<f64> {
    let value = f64::from(loss.to_scalar::<f32>().map_err(failed)?);
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::new("training", "loss is not finite")
        .at(format!("epoch {epoch}"))
        .found(value)
        .allowed("a number; try a smaller learning rate. Nothing was overwritten"))
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
        let mut run = Run::start(&trunk, &spec(6), &examples).unwrap();
        for _ in 0..2 {
            run.epoch(&spec(6), &examples).unwrap();
        }
        run.save(&spec(6), &path("b.ckpt")).unwrap();
        let resumed = train(&trunk, &spec(6), &examples, &path("b.ckpt"), &mut |_| {}).unwrap();
        assert_eq!(resumed.curve, whole.curve);
        assert_eq!(weights(&resumed), weights(&whole));
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused() {
        let (folder, trunk, examples) = (tempfile::tempdir().unwrap(), trunk(1), examples());
        let path = folder.path().join("a.ckpt");
        train(&trunk, &spec(1), &examples, &path, &mut |_| {}).unwrap();
        check_checkpoint(&path, &spec(1)).unwrap();
        let other = TrainSpec { seed: 2, ..spec(1) };
        let message = check_checkpoint(&path, &other).unwrap_err().to_string();
        assert!(message.contains("checkpoint of another training"), "{message}");
    }

    #[test]
    fn a_loss_that_is_no_number_stops_training() {
        let (folder, trunk, mut examples) = (tempfile::tempdir().unwrap(), trunk(1), examples());
        examples.train[0].targets = Tensor::new(&[f32::NAN; 5], &Device::Cpu).unwrap();
        let path = folder.path().join("a.ckpt");
        let error = train(&trunk, &spec(1), &examples, &path, &mut |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("training, epoch 1: loss is not finite; found NaN"));
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
