//! Trains the adapter of one level.

use std::path::Path;

use rand::seq::index;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checkpoint::State;
use super::curve::{LossCurve, Point};
use super::recorded::LevelFiles;
use super::text::RecoveryText;
use crate::elastify::adam::{Moments, SHORT_SQUARE_DECAY, Update};
use crate::elastify::lora::{AdaptedNetwork, Gradient, Parameters, Slot};
use crate::elastify::offline_cost::Meter;
use crate::engine::model::{DenseModel, LayerOrder, SubModel};
use crate::error::{Error, Result};
use crate::model::family::lora::{LevelRecord, Recipe};
use crate::model::recorded::Spent;
use crate::{digest, rng};

/// What a run's result depends on: a checkpoint of another run is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// SHA-256 of the base model's file.
    pub model_sha256: String,
    /// SHA-256 of the order of units.
    pub order_sha256: String,
    /// The sub-model.
    pub sub_model: SubModel,
    /// SHA-256 of the corpus.
    pub corpus_sha256: String,
    /// Hyper-parameters.
    pub recipe: Recipe,
}

impl RunIdentity {
    /// Checks that `other`, found in the file `path`, is this run.
    ///
    /// # Errors
    /// If it is not; the error names what differs.
    #[expect(clippy::missing_panics_doc, reason = "a recipe is plain data")]
    pub fn check(&self, path: &Path, other: &Self) -> Result<()> {
        let sha = |hash: &str| format!("sha256 {hash}");
        let level = |run: &Self| format!("level {}", run.sub_model.level);
        let recipe = |run: &Self| serde_json::to_string(&run.recipe).expect("plain data");
        let differences = [
            ("base model", sha(&other.model_sha256), sha(&self.model_sha256)),
            ("order of units", sha(&other.order_sha256), sha(&self.order_sha256)),
            ("level", level(other), level(self)),
            ("rank", other.recipe.rank.to_string(), self.recipe.rank.to_string()),
            ("corpus", sha(&other.corpus_sha256), sha(&self.corpus_sha256)),
            ("recipe", recipe(other), recipe(self)),
        ];
        let difference = differences.into_iter().find(|(_, found, allowed)| found != allowed);
        let wrong = |what: &str| Error::file(path, format!("made with another {what}"));
        match difference {
            Some((what, found, allowed)) => Err(wrong(what)
                .found(found)
                .allowed(format!("{allowed}; or another folder, or remove the file"))),
            None if other.sub_model != self.sub_model => Err(wrong("allocation of units")
                .found(level(other))
                .allowed("the manifest's layers; or another folder, or remove the file")),
            None => Ok(()),
        }
    }
}

/// Everything that one level is trained from.
#[derive(Debug)]
pub struct LevelRun<'a> {
    /// The base model.
    pub model: &'a DenseModel,
    /// The order of its units.
    pub order: &'a [LayerOrder],
    /// What result belongs to.
    pub identity: RunIdentity,
    /// What to train on.
    pub text: &'a RecoveryText,
    /// Where sequences are computed, side by side; the result is the same with any number of
    /// threads.
    pub threads: &'a ThreadPool,
    /// Steps between checkpoints.
    pub checkpoint_steps: usize,
    /// Steps between measurements of the held-out loss.
    pub held_out_steps: usize,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the last step's predictions, nats per token.
    pub train_loss: Option<f64>,
    /// The last held-out loss, nats per token.
    pub held_out_loss: f64,
}

/// Trains the level of `run` into `files`, from its checkpoint if there is one, and returns what it
/// came to. A finished level is not trained again.
///
/// # Errors
/// If a file belongs to another run or cannot be read or written, candle fails, or the loss is not
/// a number: the last checkpoint is then kept.
pub fn train_level(
    run: &LevelRun<'_>,
    files: &LevelFiles,
    progress: &mut dyn FnMut(Progress),
) -> Result<LevelRecord> {
    if let Some(record) = files.finished(&run.identity)? {
        return Ok(record);
    }
    let mut trainer = Trainer::open(run, files)?;
    while trainer.state.step < run.identity.recipe.steps {
        trainer.advance(progress)?;
    }
    trainer.finish()
}

/// A run under way.
#[derive(Debug)]
pub(super) struct Trainer<'a> {
    run: &'a LevelRun<'a>,
    files: &'a LevelFiles,
    network: AdaptedNetwork,
    curve: LossCurve,
    state: State,
    /// The last held-out loss, and the steps done when it was measured; after a restart, the loss
    /// before the first step.
    held_out: (usize, f64),
    /// Since `earlier`.
    meter: Meter,
    earlier: Spent,
}

impl<'a> Trainer<'a> {
    /// Goes on from the checkpoint, or begins.
    pub fn open(run: &'a LevelRun<'a>, files: &'a LevelFiles) -> Result<Self> {
        let RunIdentity { sub_model, recipe, .. } = &run.identity;
        recipe.check()?;
        let meter = Meter::start();
        let config = &run.model.config;
        let checkpoint = if files.checkpoint.exists() {
            let shapes = Parameters::zero(config, sub_model, recipe.rank);
            Some(State::load(&files.checkpoint, &run.identity, shapes)?)
        } else {
            None
        };
        let network = AdaptedNetwork::new(
            run.model,
            run.order,
            sub_model,
            recipe.scale(),
            recipe.sequence_tokens,
        )?;
        let steps = checkpoint.as_ref().map(|state| state.step);
        let curve = LossCurve::open(&files.curve, sub_model.level, steps)?;
        let begin = || {
            let parameters = Parameters::initial(config, sub_model, recipe.rank, recipe.seed);
            let held_out_before = held_out_loss(run, &network, &parameters)?;
            let moments = Moments::zero(&parameters.values);
            let spent = Spent { wall_s: 0.0, cpu_s: Some(0.0) };
            Ok(State { parameters, moments, step: 0, held_out_before, spent })
        };
        let resumed = checkpoint.is_some();
        let state = checkpoint.map_or_else(begin, Ok)?;
        let held_out = (0, state.held_out_before);
        let earlier = state.spent;
        let mut trainer = Self { run, files, network, curve, state, held_out, meter, earlier };
        if !resumed {
            trainer.record(None, None)?;
        }
        Ok(trainer)
    }

    /// One step, with what is due after it: held-out loss, a row of the curve, a checkpoint.
    pub fn advance(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let recipe = &self.run.identity.recipe;
        let (learning_rate, last) = (recipe.learning_rate_at(self.state.step), recipe.steps);
        let train_loss = self.step(learning_rate)?;
        let step = self.state.step;
        let due = |every: usize| step == last || step.is_multiple_of(every.max(1));
        if due(self.run.held_out_steps) {
            self.measure_held_out()?;
        }
        self.record(Some(learning_rate), Some(train_loss))?;
        if due(self.run.checkpoint_steps) {
            self.state.spent = self.spent();
            self.state.save(&self.files.checkpoint, &self.run.identity)?;
        }
        progress(Progress { step, train_loss: Some(train_loss), held_out_loss: self.held_out.1 });
        Ok(())
    }

    /// Moves the parameters against the gradient of the next sequences; their mean loss before.
    fn step(&mut self, learning_rate: f64) -> Result<f64> {
        let RunIdentity { recipe, .. } = &self.run.identity;
        let first = self.state.step * recipe.sequences;
        let gradients: Vec<(Gradient, usize)> = self.run.threads.install(|| {
            let sequences = (first..first + recipe.sequences).into_par_iter();
            sequences.map(|index| self.gradient(index)).collect::<Result<_>>()
        })?;
        let predictions: usize = gradients.iter().map(|(_, predictions)| predictions).sum();
        let (loss_sum, mut gradient) = sum(gradients.into_iter().map(|(gradient, _)| gradient));
        let scale = 1.0 / predictions as f64;
        let loss = loss_sum * scale;
        let square: f64 = gradient.iter().flatten().map(|&g| f64::from(g) * f64::from(g)).sum();
        let norm = square.sqrt() * scale;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(self.not_a_number(loss, norm));
        }
        let gradient_scale = scale * (recipe.gradient_norm_max / norm).min(1.0);
        let State { parameters, moments, step, .. } = &mut self.state;
        let second: Vec<bool> = parameters.slots().iter().map(Slot::is_second).collect();
        for (index, (values, gradient)) in
            parameters.values.iter_mut().zip(&mut gradient).enumerate()
        {
            let ratio = if second[index] { recipe.second_ratio } else { 1.0 };
            let rule = Update {
                gradient,
                gradient_scale,
                learning_rate: learning_rate * ratio,
                weight_decay: recipe.weight_decay,
                square_decay: SHORT_SQUARE_DECAY,
            };
            moments.update(index, *step, values, &rule);
        }
        *step += 1;
        Ok(loss)
    }

    /// The gradient at sequence `index`, and the number of predictions in it.
    fn gradient(&self, index: usize) -> Result<(Gradient, usize)> {
        let recipe = &self.run.identity.recipe;
        let tokens = self.run.text.sequence(index);
        let places = tokens.len() - 1;
        let count = ((recipe.loss_share * places as f64).round() as usize).clamp(1, places);
        let mut random = rng::stream(recipe.seed, &format!("recovery positions {index}"));
        let mut positions: Vec<u32> =
            index::sample(&mut random, places, count).iter().map(|place| place as u32).collect();
        positions.sort_unstable();
        Ok((self.network.gradient(&self.state.parameters, tokens, &positions)?, count))
    }

    fn measure_held_out(&mut self) -> Result<()> {
        let loss = held_out_loss(self.run, &self.network, &self.state.parameters)?;
        self.held_out = (self.state.step, loss);
        Ok(())
    }

    fn record(&mut self, learning_rate: Option<f64>, train_loss: Option<f64>) -> Result<()> {
        let step = self.state.step;
        let held_out_loss = (self.held_out.0 == step).then_some(self.held_out.1);
        let (tokens, wall_s) = (self.tokens(), self.spent().wall_s);
        self.curve.append(&Point { step, tokens, learning_rate, train_loss, held_out_loss, wall_s })
    }

    fn tokens(&self) -> u64 {
        let recipe = &self.run.identity.recipe;
        (self.state.step * recipe.sequences * recipe.sequence_tokens) as u64
    }

    fn spent(&self) -> Spent {
        self.earlier + self.meter.spent()
    }

    fn not_a_number(&self, loss: f64, norm: f64) -> Error {
        let level = self.run.identity.sub_model.level;
        let kept = if self.files.checkpoint.exists() {
            format!("; {} is the last good state", self.files.checkpoint.display())
        } else {
            String::new()
        };
        Error::new("recovery", "the loss is not a number")
            .at(format!("level {level}, step {}", self.state.step + 1))
            .found(format!("loss {loss}, gradient norm {norm}"))
            .allowed(format!("finite values: try a smaller --learning-rate{kept}"))
    }

    /// Writes adapter and record.
    pub fn finish(mut self) -> Result<LevelRecord> {
        if self.held_out.0 != self.state.step {
            self.measure_held_out()?;
        }
        let RunIdentity { model_sha256, order_sha256, sub_model, recipe, .. } = &self.run.identity;
        let adapter = self.state.parameters.to_adapter(
            model_sha256.clone(),
            order_sha256.clone(),
            sub_model,
            recipe.scale(),
        );
        adapter.save(&self.files.adapter)?;
        let rounded = |value: f64, places: f64| (value * places).round() / places;
        let spent = self.spent();
        let record = LevelRecord {
            level: sub_model.level,
            values: self.state.parameters.count(),
            tokens: self.tokens(),
            held_out_before: rounded(self.state.held_out_before, 1e4),
            held_out_after: rounded(self.held_out.1, 1e4),
            spent: Spent {
                wall_s: rounded(spent.wall_s, 100.0),
                cpu_s: spent.cpu_s.map(|cpu_s| rounded(cpu_s, 100.0)),
            },
            adapter_sha256: digest::sha256_file(&self.files.adapter)?,
        };
        self.files.finish(&self.run.identity, &record)?;
        Ok(record)
    }
}

/// Mean loss on the held-out sequences, nats per token.
fn held_out_loss(
    run: &LevelRun<'_>,
    network: &AdaptedNetwork,
    parameters: &Parameters,
) -> Result<f64> {
    let sequences: Vec<&[u32]> = run.text.held_out().collect();
    let losses: Vec<f64> = run.threads.install(|| {
        let loss = |tokens: &&[u32]| network.loss_sum(parameters, tokens);
        sequences.par_iter().map(loss).collect::<Result<_>>()
    })?;
    let predictions: usize = sequences.iter().map(|tokens| tokens.len() - 1).sum();
    Ok(losses.iter().sum::<f64>() / predictions as f64)
}

/// Adds gradients up in the order given: float sums depend on it.
fn sum(gradients: impl Iterator<Item = Gradient>) -> (f64, Vec<Vec<f32>>) {
    let mut total: Option<Gradient> = None;
    for gradient in gradients {
        match &mut total {
            None => total = Some(gradient),
            Some(total) => {
                total.loss_sum += gradient.loss_sum;
                for (sums, terms) in total.values.iter_mut().zip(gradient.values) {
                    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                }
            }
        }
    }
    total.map_or((0.0, Vec::new()), |total| (total.loss_sum, total.values))
}
