//! The hard head, as the study has it: from the objective's tokens and the prompt to a plan, by two
//! softmaxes, one over the ratios and one over the levels.
//!
//! On the shared, frozen layers sits one layer of the head's own; the read-outs look at `[CLS]` and
//! the two SLO tokens side by side. Trained are that layer, the read-outs and the rows of the SLO
//! tokens, by cross-entropy to self-induced labels; training stops where the accuracy on held-out
//! items was best.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor, Var};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::labels::{
    Grid, LEVELS, LabelRule, Objective, Place, RATIOS, Sample, accuracy, hard_label, last_label,
    objectives,
};
use super::trial::{Case, mean};
use crate::error::{Error, Result};
use crate::heads::adam::Adam;
use crate::model::decision::reading::{Reader, SLO_ROWS, orthogonal_rows};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::layer::EncoderLayer;
use crate::model::tlm::trunk::{self, Trunk, failed, padding_mask};
use crate::rng;

/// `[CLS]` and the two SLO tokens.
pub const ROWS_READ: usize = 3;
/// Names of the read-outs.
pub const RATIO: &str = "ratio";
/// See [`RATIO`].
pub const LEVEL: &str = "level";

const BATCH: usize = 16;
/// Objectives an item is validated under.
const OBJECTIVES_VALIDATED: usize = 6;

/// How long and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HardPlan {
    /// Batches at most.
    pub steps: usize,
    /// Batches between two validations.
    pub validate_every: usize,
    /// Validations without a better one after which training stops.
    pub patience: usize,
    /// Step size.
    pub rate: f64,
    /// What is learnt.
    pub labels: LabelRule,
    /// Seed of batches and objectives.
    pub seed: u64,
}

impl Default for HardPlan {
    fn default() -> Self {
        Self {
            steps: 400,
            validate_every: 40,
            patience: 3,
            rate: 3e-4,
            labels: LabelRule::Lightest,
            seed: 1,
        }
    }
}

/// Weights of the head, as variables to train or as constants to use.
#[derive(Debug)]
pub struct HardHead {
    /// `[SLO_ROWS, hidden]`.
    pub slo_rows: Tensor,
    /// Own layer and read-outs.
    pub head: Head,
}

/// A training item.
#[derive(Debug)]
pub struct Lesson<'a> {
    /// What is read.
    pub prompt: &'a str,
    /// Answers and feasible plans.
    pub case: Case<'a>,
}

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Batches done.
    pub step: usize,
    /// Mean loss since the last one.
    pub loss: f64,
    /// Accuracy on held-out items, infeasible plans at the worth of a random feasible one.
    pub accuracy: f64,
}

impl HardHead {
    /// The label of each objective, in the order of [`objectives`]; `None` where nothing is
    /// feasible. `tables` are accuracies of training items by dataset.
    #[must_use]
    pub fn labels(
        case: &Case<'_>,
        rule: LabelRule,
        tables: &BTreeMap<&str, Grid<f64>>,
    ) -> Vec<Option<Place>> {
        let (right, table) = (&case.sample.right, &tables[&*case.sample.dataset]);
        let label = |plans: &Vec<Place>| match rule {
            LabelRule::Lightest => hard_label(right, plans, table),
            LabelRule::Last => last_label(right, plans),
        };
        case.feasible.iter().map(label).collect()
    }

    /// Learns from `train`; `report` is told of every validation on `held_out`.
    ///
    /// # Errors
    /// If the loss is not a number, or candle refuses.
    pub fn train(
        reader: &Reader<'_>,
        train: &[Lesson<'_>],
        held_out: &[Lesson<'_>],
        plan: HardPlan,
        report: &mut dyn FnMut(Progress),
    ) -> Result<(Self, f64)> {
        let (weights, variables) = Self::start(reader).map_err(failed)?;
        let mut adam = Adam::new(variables.clone(), plan.rate).map_err(failed)?;
        let tables = tables(train);
        let labels: Vec<_> =
            train.iter().map(|lesson| Self::labels(&lesson.case, plan.labels, &tables)).collect();
        if labels.iter().flatten().all(Option::is_none) {
            return Err(Error::new("decision-head", "no plan meets any objective: no labels"));
        }
        let draws = &mut rng::stream(plan.seed, "decision-head batches");
        let all: Vec<Objective> = objectives().collect();
        let (mut losses, mut best, mut stale) = (Vec::new(), (f64::MIN, Vec::new()), 0);
        for step in 1..=plan.steps {
            let batch = draw_batch(&labels, draws);
            let sequences: Vec<_> = batch
                .iter()
                .map(|&(item, objective, _)| (train[item].prompt, all[objective]))
                .collect();
            let targets: Vec<Place> = batch.iter().map(|&(_, _, label)| label).collect();
            let loss = weights.loss(reader, &sequences, &targets)?;
            let value = loss.to_scalar::<f32>().map_err(failed)?;
            if !value.is_finite() {
                return Err(Error::new("decision-head", "the loss is not a number")
                    .at(format!("step {step}"))
                    .found(value)
                    .allowed("a smaller rate"));
            }
            losses.push(f64::from(value));
            adam.step(&loss).map_err(failed)?;
            if step % plan.validate_every == 0 || step == plan.steps {
                let accuracy = weights.validate(reader, held_out, plan.seed)?;
                report(Progress { step, loss: mean(&losses), accuracy });
                losses.clear();
                stale += 1;
                if accuracy > best.0 {
                    best = (accuracy, values_of(&variables).map_err(failed)?);
                    stale = 0;
                }
                if stale >= plan.patience {
                    break;
                }
            }
        }
        for (variable, value) in variables.iter().zip(&best.1) {
            variable.set(value).map_err(failed)?;
        }
        Ok((weights, best.0))
    }

    fn start(reader: &Reader<'_>) -> candle_core::Result<(Self, Vec<Var>)> {
        let trunk = reader.trunk;
        let width = trunk.config().hidden;
        let rows = orthogonal_rows(width, 1.4);
        let slo = Var::from_tensor(&Tensor::from_vec(rows, (SLO_ROWS, width), &Device::Cpu)?)?;
        let (layer, own) = trunk.layers()[reader.shared_layers].trainable()?;
        let mut variables = vec![slo.clone()];
        variables.extend(own.into_values());
        let mut read_outs = Vec::new();
        for (name, values) in [(RATIO, RATIOS), (LEVEL, LEVELS)] {
            let weight = Var::zeros((values, ROWS_READ * width), DType::F32, &Device::Cpu)?;
            let bias = Var::zeros(values, DType::F32, &Device::Cpu)?;
            read_outs.push(ReadOut {
                name,
                weight: weight.as_tensor().clone(),
                bias: bias.as_tensor().clone(),
            });
            variables.extend([weight, bias]);
        }
        let head = Head { reads: Reads::Rows(ROWS_READ), layers: vec![layer], read_outs };
        Ok((Self { slo_rows: slo.as_tensor().clone(), head }, variables))
    }

    /// Logits over ratios and levels, `[sequences, values]` each.
    fn logits(&self, reader: &Reader<'_>, inputs: &[(&str, Objective)]) -> Result<[Tensor; 2]> {
        let sequences: Vec<Vec<trunk::Place>> =
            inputs.iter().map(|&(prompt, slo)| reader.sequence(prompt, Some(slo))).collect();
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let padding = |(position, id)| trunk::Place { id, position: position as u32, segment: 0 };
        let padded: Vec<Vec<trunk::Place>> = sequences
            .into_iter()
            .map(|mut sequence| {
                let missing = sequence.len()..longest;
                sequence.extend(missing.map(|at| padding((at, reader.pieces.padding()))));
                sequence
            })
            .collect();
        let mask = padding_mask(&lengths, longest)?;
        let x = reader.trunk.embed(&padded, Some(&self.slo_rows))?;
        let x = reader.trunk.forward(&x, Some(&mask), reader.shared_layers)?;
        let rows = Tensor::new(&[0u32, 1, 2], &Device::Cpu).map_err(failed)?;
        let mut outputs = self.head.forward(&x, Some(&mask), Some(&rows))?;
        let level = outputs.pop().expect("two read-outs");
        Ok([outputs.pop().expect("two read-outs"), level])
    }

    fn loss(
        &self,
        reader: &Reader<'_>,
        inputs: &[(&str, Objective)],
        labels: &[Place],
    ) -> Result<Tensor> {
        let [ratio, level] = self.logits(reader, inputs)?;
        let ratios: Vec<u32> = labels.iter().map(|&(_, ratio)| ratio as u32).collect();
        let levels: Vec<u32> = labels.iter().map(|&(level, _)| level as u32).collect();
        let sum = cross_entropy(&ratio, &ratios)
            .and_then(|ratio| ratio + cross_entropy(&level, &levels)?);
        sum.map_err(failed)
    }

    /// The plan for each input: the largest of each softmax.
    ///
    /// # Errors
    /// If candle refuses.
    pub fn plans(&self, reader: &Reader<'_>, inputs: &[(&str, Objective)]) -> Result<Vec<Place>> {
        let [ratio, level] = self.logits(reader, inputs)?;
        let largest = |logits: &Tensor| logits.argmax(D::Minus1)?.to_vec1::<u32>();
        let (ratios, levels) = (largest(&ratio).map_err(failed)?, largest(&level).map_err(failed)?);
        let place = |(level, ratio): (u32, u32)| (level as usize, ratio as usize);
        Ok(levels.into_iter().zip(ratios).map(place).collect())
    }

    fn validate(&self, reader: &Reader<'_>, lessons: &[Lesson<'_>], seed: u64) -> Result<f64> {
        let draws = &mut rng::stream(seed, "decision-head validation");
        let all: Vec<Objective> = objectives().collect();
        let places: Vec<usize> = (0..all.len()).collect();
        let mut worth = Vec::new();
        for lesson in lessons {
            let chosen: Vec<usize> = places.sample(draws, OBJECTIVES_VALIDATED).copied().collect();
            let inputs: Vec<_> = chosen.iter().map(|&at| (lesson.prompt, all[at])).collect();
            for (plan, &at) in self.plans(reader, &inputs)?.into_iter().zip(&chosen) {
                worth.extend(followed(&lesson.case, at, plan));
            }
        }
        Ok(mean(&worth))
    }

    /// The frozen weights of `tensors` (see [`Self::tensors`]) beside `trunk`.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn from_tensors(
        trunk: &Trunk,
        mut tensor: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let width = trunk.config().hidden;
        let mut get = |name: &str, shape: &[usize]| {
            Tensor::from_vec(tensor(name, shape)?, shape, &Device::Cpu).map_err(failed)
        };
        let slo_rows = get("slo", &[SLO_ROWS, width])?;
        let config = trunk.config();
        let layer = EncoderLayer::new(config.heads, config.epsilon, |name| {
            get(&format!("layer.{name}"), &trunk::layer_shape(config, name))
        })?;
        let mut read_outs = Vec::new();
        for (name, values) in [(RATIO, RATIOS), (LEVEL, LEVELS)] {
            let weight = get(&format!("{name}.weight"), &[values, ROWS_READ * width])?;
            let bias = get(&format!("{name}.bias"), &[values])?;
            read_outs.push(ReadOut { name, weight, bias });
        }
        let head = Head { reads: Reads::Rows(ROWS_READ), layers: vec![layer], read_outs };
        Ok(Self { slo_rows, head })
    }

    /// All weights by name.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut tensors = vec![("slo".to_owned(), &self.slo_rows)];
        for (name, tensor) in self.head.layers[0].tensors() {
            tensors.push((format!("layer.{name}"), tensor));
        }
        for read_out in &self.head.read_outs {
            tensors.push((format!("{}.weight", read_out.name), &read_out.weight));
            tensors.push((format!("{}.bias", read_out.name), &read_out.bias));
        }
        tensors
    }
}

/// What following `plan` under the objective at `at` is worth: 1 or 0, or a random feasible plan's
/// share of right answers where the plan is not feasible; `None` where nothing is.
#[must_use]
pub fn followed(case: &Case<'_>, at: usize, plan: Place) -> Option<f64> {
    let feasible = &case.feasible[at];
    let right = |&(level, ratio): &Place| f64::from(u8::from(case.sample.right[level][ratio]));
    if feasible.contains(&plan) {
        return Some(right(&plan));
    }
    (!feasible.is_empty()).then(|| feasible.iter().map(right).sum::<f64>() / feasible.len() as f64)
}

fn tables<'a>(lessons: &'a [Lesson<'a>]) -> BTreeMap<&'a str, Grid<f64>> {
    let mut by_dataset = BTreeMap::<&str, Vec<&Sample>>::new();
    for lesson in lessons {
        by_dataset.entry(&lesson.case.sample.dataset).or_default().push(lesson.case.sample);
    }
    by_dataset.into_iter().map(|(name, samples)| (name, accuracy(samples))).collect()
}

/// (item, objective, label) of a batch, each item under an objective that some plan meets.
fn draw_batch(labels: &[Vec<Option<Place>>], draws: &mut ChaCha8Rng) -> Vec<(usize, usize, Place)> {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        let item = draws.random_range(0..labels.len());
        let objective = draws.random_range(0..labels[item].len());
        batch.extend(labels[item][objective].map(|label| (item, objective, label)));
    }
    batch.shuffle(draws);
    batch
}

fn cross_entropy(logits: &Tensor, labels: &[u32]) -> candle_core::Result<Tensor> {
    let labels = Tensor::new(labels, &Device::Cpu)?.unsqueeze(1)?;
    let chosen = logits.gather(&labels, 1)?.squeeze(1)?;
    (logits.log_sum_exp(1)? - chosen)?.mean_all()
}

fn values_of(variables: &[Var]) -> candle_core::Result<Vec<Tensor>> {
    variables.iter().map(|variable| variable.as_tensor().copy()).collect()
}
