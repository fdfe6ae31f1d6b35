//! Trains the hard head: its own layer, its read-outs and the rows of the SLO tokens, by
//! cross-entropy to self-induced labels; training stops where the accuracy on held-out items was
//! best.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor, Var};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::labels::{LabelRule, Sample, accuracy, hard_label, last_label};
use super::trial::{Case, mean};
use crate::elastify::adam::{SQUARE_DECAY, Variables};
use crate::error::{Error, Result};
use crate::heads::trainer::{self, Problem, Round, Saved, Schedule};
use crate::model::decision::hard::{HardHead, LEVEL, RATIO, ROWS_READ};
use crate::model::decision::reading::{Reader, SLO_ROWS, orthogonal_rows};
use crate::model::decision::{Grid, LEVELS, Objective, Place, RATIOS, objectives};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::trunk::{self, failed, padding_mask};
use crate::rng;

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

/// A training item.
#[derive(Debug)]
pub struct Lesson<'a> {
    /// What is read.
    pub prompt: &'a str,
    /// Answers and feasible plans.
    pub case: Case<'a>,
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

    /// Learns from `train`, from the checkpoint of `saved` on if it is there; `report` is told of
    /// every validation on `held_out`, whose mark is minus the accuracy: right answers, infeasible
    /// plans at the worth of a random feasible one.
    ///
    /// # Errors
    /// If no plan meets any objective, the loss is not a number, or candle refuses.
    #[expect(clippy::missing_panics_doc, reason = "there is at least one validation")]
    pub fn train(
        reader: &Reader<'_>,
        train: &[Lesson<'_>],
        held_out: &[Lesson<'_>],
        plan: HardPlan,
        saved: Option<Saved<'_>>,
        report: &mut dyn FnMut(&Round),
    ) -> Result<(Self, Round)> {
        let (head, mut variables) = Self::start(reader).map_err(failed)?;
        let tables = tables(train);
        let labels: Vec<_> =
            train.iter().map(|lesson| Self::labels(&lesson.case, plan.labels, &tables)).collect();
        if labels.iter().flatten().all(Option::is_none) {
            return Err(Error::new("decision-head", "no plan meets any objective: no labels"));
        }
        let draws = rng::stream(plan.seed, "decision-head batches");
        let objectives = objectives().collect();
        let seed = plan.seed;
        let mut lessons =
            Lessons { head, reader, train, held_out, labels, objectives, draws, seed };
        let schedule = Schedule {
            steps: plan.steps,
            validate_every: plan.validate_every,
            patience: plan.patience,
            rate: plan.rate,
            last_rate: 1.0,
        };
        let curve = trainer::train(&mut variables, &mut lessons, &schedule, saved, report)?;
        Ok((lessons.head, trainer::best_of(&curve).expect("at least one validation")))
    }

    fn start(reader: &Reader<'_>) -> candle_core::Result<(Self, Variables)> {
        let trunk = reader.trunk;
        let width = trunk.config().hidden;
        let rows = orthogonal_rows(width, 1.4);
        let slo = Var::from_tensor(&Tensor::from_vec(rows, (SLO_ROWS, width), &Device::Cpu)?)?;
        let (layer, own) = trunk.layers()[reader.shared_layers].trainable()?;
        let mut variables = vec![("slo".to_owned(), slo.clone())];
        variables.extend(own.into_iter().map(|(name, var)| (format!("layer.{name}"), var)));
        let mut read_outs = Vec::new();
        for (name, values) in [(RATIO, RATIOS), (LEVEL, LEVELS)] {
            let weight = Var::zeros((values, ROWS_READ * width), DType::F32, &Device::Cpu)?;
            let bias = Var::zeros(values, DType::F32, &Device::Cpu)?;
            read_outs.push(ReadOut {
                name,
                weight: weight.as_tensor().clone(),
                bias: bias.as_tensor().clone(),
            });
            variables.push((format!("{name}.weight"), weight));
            variables.push((format!("{name}.bias"), bias));
        }
        let head = Head { reads: Reads::Rows(ROWS_READ), layers: vec![layer], read_outs };
        let head = Self { slo_rows: slo.as_tensor().clone(), head };
        Ok((head, Variables::new(variables, SQUARE_DECAY)))
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
}

/// Batches of items under objectives that some plan meets.
struct Lessons<'a> {
    head: HardHead,
    reader: &'a Reader<'a>,
    train: &'a [Lesson<'a>],
    held_out: &'a [Lesson<'a>],
    /// By item of `train` and objective.
    labels: Vec<Vec<Option<Place>>>,
    objectives: Vec<Objective>,
    draws: ChaCha8Rng,
    seed: u64,
}

impl Problem for Lessons<'_> {
    fn next_loss(&mut self) -> Result<Tensor> {
        let batch = draw_batch(&self.labels, &mut self.draws);
        let sequence = |&(item, objective, _): &(usize, usize, Place)| {
            (self.train[item].prompt, self.objectives[objective])
        };
        let sequences: Vec<_> = batch.iter().map(sequence).collect();
        let targets: Vec<Place> = batch.iter().map(|&(_, _, label)| label).collect();
        self.head.loss(self.reader, &sequences, &targets)
    }

    fn skip(&mut self) {
        draw_batch(&self.labels, &mut self.draws);
    }

    fn validate(&mut self) -> Result<f64> {
        Ok(-self.head.validate(self.reader, self.held_out, self.seed)?)
    }
}

/// What following `plan` under the objective at `at` is worth: 1 or 0, or a random feasible plan's
/// share of right answers where the plan is not feasible; `None` where nothing is.
#[must_use]
pub fn followed(case: &Case<'_>, at: usize, plan: Place) -> Option<f64> {
    let feasible = &case.feasible[at];
    let right = |&place: &Place| f64::from(u8::from(case.sample.is_right(place)));
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
