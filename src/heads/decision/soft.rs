//! Trains the soft head ([`SoftHead`]): its prior, and what reading a prompt moves.
//!
//! A *surface* learns plans from their neighbours, so that noise of single cells is not mistaken
//! for skill, draws datasets towards the mean one, and is discouraged from falling with a larger
//! level or ratio. A *table* is not learnt: it is the pooled accuracies of the training items, and
//! only the correction by the prompt is, so that a head that learns nothing is the table. Penalties
//! are chosen by cross-validation, no item part among the choices.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor, Var};

use super::labels::Sample;
use crate::elastify::adam::{SQUARE_DECAY, Variables};
use crate::error::Result;
use crate::method::pooled;
use crate::model::decision::neighbours::{Neighbours, Remembered};
use crate::model::decision::reading::unit;
use crate::model::decision::soft::{
    DatasetPart, EstimateBy, Estimator, Prior, SoftHead, SoftRule, Standard, TERMS, Told, basis,
};
use crate::model::decision::{Grid, LEVELS, Place, RATIOS, places};
use crate::model::tlm::trunk::failed;

const PLANS: usize = LEVELS * RATIOS;
const STEPS: usize = 250;
const RATE: f64 = 0.05;
/// No plan is expected to be right more rarely than so, nor wrong.
const SURE: f64 = 0.01;

/// How strongly each part is kept small, in items' worth of loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// On a dataset's difference from the mean dataset.
    pub dataset: f64,
    /// On what the prompt's features say; `None`: nothing is read from them.
    pub item: Option<f64>,
    /// On a dataset's surface falling with a larger level or ratio.
    pub falling: f64,
    /// How many prompts are asked, where neighbours are; more smooth more.
    pub neighbours: usize,
}

/// What kind of head is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// Where its probabilities come from.
    pub rule: SoftRule,
    /// What it is told.
    pub told: Told,
}

/// What cross-validation chooses from.
#[must_use]
pub fn choices(rule: SoftRule) -> Vec<Penalties> {
    let none = Penalties { dataset: 0.0, item: None, falling: 0.0, neighbours: 0 };
    match rule {
        SoftRule::Surface => surfaces(),
        SoftRule::Table => {
            let items = [100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1].map(Some);
            let items = std::iter::once(None).chain(items);
            items.map(|item| Penalties { item, ..none }).collect()
        }
        SoftRule::Neighbours => {
            [80, 40, 20, 10, 5].map(|neighbours| Penalties { neighbours, ..none }).into()
        }
    }
}

fn surfaces() -> Vec<Penalties> {
    let mut choices = Vec::new();
    for item in [None, Some(30.0), Some(3.0)] {
        let datasets: &[f64] = if item.is_none() { &[1.0, 10.0, 100.0] } else { &[3.0] };
        for &dataset in datasets {
            for falling in [0.0, 1000.0] {
                choices.push(Penalties { dataset, item, falling, neighbours: 0 });
            }
        }
    }
    choices
}

impl Estimator {
    /// Learns from `samples` whose features are `features` (one row each).
    ///
    /// # Errors
    /// If candle refuses.
    pub fn train(
        samples: &[&Sample],
        features: &[&[f32]],
        form: Form,
        penalties: Penalties,
    ) -> Result<Self> {
        let standard = Standard::of(features);
        let features: Vec<Vec<f32>> = features.iter().map(|row| standard.apply(row)).collect();
        let reader = if form.rule == SoftRule::Neighbours {
            let remembered = samples.iter().zip(features).map(|(sample, features)| Remembered {
                dataset: sample.dataset.clone(),
                features: unit(features),
                right: sample.right,
            });
            let (k, told) = (penalties.neighbours, form.told);
            EstimateBy::Neighbours(Neighbours { k, told, remembered: remembered.collect() })
        } else {
            let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
            EstimateBy::Formula(SoftHead::train(samples, &rows, form, penalties)?)
        };
        Ok(Self { standard: Some(standard), reader })
    }
}

impl SoftHead {
    /// Learns from `samples` whose features are `features` (one row each).
    ///
    /// # Errors
    /// If candle refuses.
    pub fn train(
        samples: &[&Sample],
        features: &[&[f32]],
        form: Form,
        penalties: Penalties,
    ) -> Result<Self> {
        let groups = Groups::of(samples, features, form.told);
        let head = match form.rule {
            SoftRule::Surface => surface(samples, features, &groups, penalties),
            _ => table(samples, features, &groups, penalties),
        };
        head.map_err(failed)
    }
}

/// The datasets of samples, as far as the head is told them.
struct Groups<'a> {
    names: Vec<&'a str>,
    /// By sample.
    of: Vec<usize>,
    /// Mean features.
    means: Vec<Vec<f32>>,
}

impl<'a> Groups<'a> {
    fn of(samples: &[&'a Sample], features: &[&[f32]], told: Told) -> Self {
        let name = |sample: &&'a Sample| told.group(&sample.dataset);
        let mut names: Vec<&str> = samples.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        let place = |sample| names.iter().position(|known| *known == name(sample));
        let of: Vec<usize> = samples.iter().filter_map(place).collect();
        Self { means: means(features, &of, names.len()), names, of }
    }

    fn parts(&self, priors: impl IntoIterator<Item = Prior>) -> BTreeMap<String, DatasetPart> {
        let parts = self.names.iter().zip(priors).zip(&self.means);
        let part = |((name, prior), mean): ((&&str, Prior), &Vec<f32>)| {
            ((*name).to_owned(), DatasetPart { prior, mean: mean.clone() })
        };
        parts.map(part).collect()
    }
}

fn surface(
    samples: &[&Sample],
    features: &[&[f32]],
    groups: &Groups<'_>,
    penalties: Penalties,
) -> candle_core::Result<SoftHead> {
    let problem = match penalties.item {
        Some(_) => Problem::of_items(samples, features, groups, None)?,
        None => Problem::of_datasets(samples, groups)?,
    };
    let shared = zeros(1, TERMS)?;
    let dataset = zeros(groups.names.len(), TERMS)?;
    let item = zeros(features[0].len(), TERMS)?;
    let mut moving = vec![("shared", &shared), ("dataset", &dataset)];
    moving.extend(penalties.item.map(|_| ("item", &item)));
    descend(moving, || problem.loss([&shared, &dataset, &item], penalties))?;
    let surfaces = dataset.broadcast_add(&shared)?.to_vec2::<f32>()?;
    let prior = |row: Vec<f32>| Prior::Surface(row.try_into().expect("a coefficient per term"));
    Ok(SoftHead {
        datasets: groups.parts(surfaces.into_iter().map(prior)),
        item: penalties.item.map(|_| item.t()?.to_vec2()).transpose()?,
    })
}

fn table(
    samples: &[&Sample],
    features: &[&[f32]],
    groups: &Groups<'_>,
    penalties: Penalties,
) -> candle_core::Result<SoftHead> {
    let priors: Vec<Grid<Option<f32>>> =
        (0..groups.names.len()).map(|group| expected_logits(samples, groups, group)).collect();
    let item = zeros(features[0].len(), TERMS)?;
    if penalties.item.is_some() {
        let problem = Problem::of_items(samples, features, groups, Some(&priors))?;
        let nothing = [zeros(1, TERMS)?, zeros(groups.names.len(), TERMS)?];
        let variables = [&nothing[0], &nothing[1], &item];
        descend(vec![("item", &item)], || problem.loss(variables, penalties))?;
    }
    let priors = priors.into_iter().map(|logits| Prior::Table(Box::new(logits)));
    Ok(SoftHead {
        datasets: groups.parts(priors),
        item: penalties.item.map(|_| item.t()?.to_vec2()).transpose()?,
    })
}

/// Logits of the pooled accuracies of each plan; of a group of several datasets, of their mean,
/// where all have answers to the plan.
fn expected_logits(samples: &[&Sample], groups: &Groups<'_>, group: usize) -> Grid<Option<f32>> {
    let mut by_dataset = BTreeMap::<&str, Vec<&Sample>>::new();
    for (sample, _) in samples.iter().zip(&groups.of).filter(|(_, of)| **of == group) {
        by_dataset.entry(&sample.dataset).or_default().push(sample);
    }
    let (mut sums, mut counts) = (Grid::<f64>::default(), Grid::<usize>::default());
    for samples in by_dataset.values() {
        for ((level, ratio), accuracy) in pooled_accuracies(samples) {
            sums[level][ratio] += accuracy;
            counts[level][ratio] += 1;
        }
    }
    let mut logits = Grid::default();
    for (level, ratio) in places() {
        if counts[level][ratio] == by_dataset.len() {
            let share = (sums[level][ratio] / by_dataset.len() as f64).clamp(SURE, 1.0 - SURE);
            logits[level][ratio] = Some((share / (1.0 - share)).ln() as f32);
        }
    }
    logits
}

/// Of the plans that were measured on all of a dataset's `samples`.
fn pooled_accuracies(samples: &[&Sample]) -> Vec<(Place, f64)> {
    let measured = |&place: &Place| samples.iter().all(|sample| sample.is_measured(place));
    let plans: Vec<Place> = places().filter(measured).collect();
    let column = |of: &dyn Fn(&Sample, Place) -> f64| -> Vec<Vec<f64>> {
        plans.iter().map(|&place| samples.iter().map(|s| of(s, place)).collect()).collect()
    };
    let grades = column(&|sample, place| f64::from(u8::from(sample.is_right(place))));
    let gold = column(&|sample, (level, ratio)| f64::from(sample.gold[level][ratio]));
    plans.iter().copied().zip(pooled(grades, gold)).collect()
}

fn zeros(rows: usize, columns: usize) -> candle_core::Result<Var> {
    Var::zeros((rows, columns), DType::F32, &Device::Cpu)
}

fn descend(
    moving: Vec<(&str, &Var)>,
    loss: impl Fn() -> candle_core::Result<Tensor>,
) -> candle_core::Result<()> {
    let moving = moving.into_iter().map(|(name, var)| (name.to_owned(), var.clone()));
    let mut variables = Variables::new(moving.collect(), SQUARE_DECAY);
    for _ in 0..STEPS {
        variables.descend(&loss()?, RATE)?;
    }
    Ok(())
}

fn tensor(values: Vec<f32>, shape: (usize, usize)) -> candle_core::Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn targets(sample: &Sample) -> impl Iterator<Item = f32> {
    places().map(|place| f32::from(u8::from(sample.is_right(place))))
}

/// What each plan counts for in the sample's loss: measured ones alike, others nothing.
fn counted(sample: &Sample) -> impl Iterator<Item = f32> {
    let measured = places().filter(|&place| sample.is_measured(place)).count() as f32;
    places().map(move |place| if sample.is_measured(place) { 1.0 / measured } else { 0.0 })
}

/// Mean feature of each dataset.
fn means(features: &[&[f32]], dataset_of: &[usize], datasets: usize) -> Vec<Vec<f32>> {
    let width = features[0].len();
    let mut sums = vec![(vec![0.0; width], 0.0_f32); datasets];
    for (row, &dataset) in features.iter().zip(dataset_of) {
        let (sum, count) = &mut sums[dataset];
        *count += 1.0;
        sum.iter_mut().zip(*row).for_each(|(sum, value)| *sum += value);
    }
    let mean = |(sum, count): (Vec<f32>, f32)| sum.into_iter().map(|sum| sum / count).collect();
    sums.into_iter().map(mean).collect()
}

/// Everything that training does not change: a row per item, or, where features are not read, one
/// per dataset, because then only its mean answers count.
struct Problem {
    samples: f64,
    /// `[plans, terms]`.
    basis: Tensor,
    /// `[rows, plans]`.
    targets: Tensor,
    /// `[rows, plans]`: what a plan counts for, adding up to 1 in each row.
    counted: Tensor,
    /// `[rows, plans]`: logits that what is learnt is added to.
    start: Option<Tensor>,
    /// `[rows]`.
    dataset_of: Tensor,
    /// `[rows]`: the share of the items that a row stands for.
    weights: Tensor,
    /// `[rows, features]`, centred.
    features: Option<Tensor>,
}

impl Problem {
    fn new(
        samples: usize,
        [targets, counted]: [Vec<f32>; 2],
        dataset_of: Vec<u32>,
        weights: Vec<f32>,
    ) -> candle_core::Result<Self> {
        let rows = dataset_of.len();
        Ok(Self {
            samples: samples as f64,
            basis: tensor(places().flat_map(basis).collect(), (PLANS, TERMS))?,
            targets: tensor(targets, (rows, PLANS))?,
            counted: tensor(counted, (rows, PLANS))?,
            start: None,
            dataset_of: Tensor::from_vec(dataset_of, rows, &Device::Cpu)?,
            weights: Tensor::from_vec(weights, rows, &Device::Cpu)?,
            features: None,
        })
    }

    fn of_items(
        samples: &[&Sample],
        features: &[&[f32]],
        groups: &Groups<'_>,
        priors: Option<&[Grid<Option<f32>>]>,
    ) -> candle_core::Result<Self> {
        let count = samples.len();
        let targets_of = samples.iter().flat_map(|sample| targets(sample)).collect();
        let counted_of = samples.iter().flat_map(|sample| counted(sample)).collect();
        let datasets = groups.of.iter().map(|&dataset| dataset as u32).collect();
        let weights = vec![1.0 / count as f32; count];
        let centred = features.iter().zip(&groups.of).flat_map(|(row, &dataset)| {
            row.iter().zip(&groups.means[dataset]).map(|(value, mean)| value - mean)
        });
        let features = Some(tensor(centred.collect(), (count, features[0].len()))?);
        let start = priors.map(|priors| {
            let of = |&group: &usize| priors[group].into_iter().flatten();
            let logits = groups.of.iter().flat_map(of).map(Option::unwrap_or_default);
            tensor(logits.collect(), (count, PLANS))
        });
        let problem = Self::new(count, [targets_of, counted_of], datasets, weights)?;
        Ok(Self { features, start: start.transpose()?, ..problem })
    }

    fn of_datasets(samples: &[&Sample], groups: &Groups<'_>) -> candle_core::Result<Self> {
        let datasets = groups.names.len();
        let mut rights = vec![vec![0.0; PLANS]; datasets];
        let mut counts = vec![vec![0.0; PLANS]; datasets];
        let mut items = vec![0.0; datasets];
        for (sample, &dataset) in samples.iter().zip(&groups.of) {
            items[dataset] += 1.0;
            rights[dataset].iter_mut().zip(targets(sample)).for_each(|(sum, right)| *sum += right);
            counts[dataset].iter_mut().zip(counted(sample)).for_each(|(sum, share)| *sum += share);
        }
        let per_item = |sums: Vec<Vec<f32>>| {
            let rows = sums.into_iter().zip(&items);
            rows.flat_map(|(row, count)| row.into_iter().map(move |sum| sum / count)).collect()
        };
        let weights = items.iter().map(|count| count / samples.len() as f32).collect();
        let rows = (0..datasets as u32).collect();
        Self::new(samples.len(), [per_item(rights), per_item(counts)], rows, weights)
    }

    /// Mean binary cross-entropy with its penalties.
    fn loss(
        &self,
        [shared, dataset, item]: [&Var; 3],
        penalties: Penalties,
    ) -> candle_core::Result<Tensor> {
        let samples = self.samples;
        let surfaces = dataset.broadcast_add(shared)?;
        let mut coefficients = surfaces.index_select(&self.dataset_of, 0)?;
        let mut penalty = (dataset.sqr()?.sum_all()? * (penalties.dataset / samples))?;
        if let (Some(weight), Some(features)) = (penalties.item, &self.features) {
            coefficients = (coefficients + features.matmul(item)?)?;
            penalty = (penalty + (item.sqr()?.sum_all()? * (weight / samples))?)?;
        }
        if penalties.falling > 0.0 {
            let falls = falls(&surfaces.matmul(&self.basis.t()?)?)?;
            penalty = (penalty + (falls * (penalties.falling / samples))?)?;
        }
        let mut logits = coefficients.matmul(&self.basis.t()?)?;
        if let Some(start) = &self.start {
            logits = (logits + start)?;
        }
        let of_plans = (cross_entropy(&logits, &self.targets)? * &self.counted)?;
        (of_plans.sum(D::Minus1)? * &self.weights)?.sum_all()? + penalty
    }
}

/// The sum of squares of every step down along level or ratio of `[datasets, plans]`.
fn falls(logits: &Tensor) -> candle_core::Result<Tensor> {
    let grid = logits.reshape(((), LEVELS, RATIOS))?;
    let along = |dimension: usize, length: usize| {
        let upper = grid.narrow(dimension, 1, length - 1)?;
        let lower = grid.narrow(dimension, 0, length - 1)?;
        (lower - upper)?.relu()?.sqr()?.sum_all()
    };
    along(1, LEVELS)? + along(2, RATIOS)?
}

/// `log(1 + e^x) − t·x`, the form that no logit overflows.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    let soft_plus = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    soft_plus - (logits * targets)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::PlanProbabilities;

    fn sample(dataset: &str, item: u32, right: impl Fn(Place) -> bool) -> Sample {
        let mut grid = Grid::default();
        for (level, ratio) in places() {
            grid[level][ratio] = Some(right((level, ratio)));
        }
        Sample {
            dataset: dataset.into(),
            item: item.into(),
            right: grid,
            gold: Grid::default(),
            kept: [1; 10],
        }
    }

    /// The probabilities of a head that has one for every plan.
    fn sure(grid: Option<&PlanProbabilities>) -> Grid<f32> {
        grid.expect("known").map(|row| row.map(Option::unwrap))
    }

    const FREE: Penalties = Penalties { dataset: 0.01, item: None, falling: 0.0, neighbours: 0 };

    /// Half of the items are right wherever the level is at least 60 %, the others never.
    #[test]
    fn a_dataset_s_surface_is_learnt_and_an_unknown_dataset_has_none() {
        let samples: Vec<_> = (0..40)
            .map(|item| sample("sciq", item, |(level, _)| item & 1 == 0 && level >= 4))
            .collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let features = vec![[0.0_f32].as_slice(); 40];
        let head = SoftHead::train(&samples, &features, Form::default(), FREE).unwrap();
        let grid = sure(head.probabilities("sciq", &[0.0]).as_ref());
        assert!(grid[0][5] < 0.1 && (0.4..0.6).contains(&grid[7][5]), "{grid:?}");
        assert!(head.probabilities("piqa", &[0.0]).is_none());
    }

    /// Items whose feature is 1 are right at small ratios, those with −1 at large ones.
    #[test]
    fn what_the_features_say_is_read_if_it_is_asked_for() {
        let right = |item: u32| move |(_, ratio): Place| (item & 1 == 0) == (ratio < 5);
        let samples: Vec<_> = (0..40).map(|item| sample("sciq", item, right(item))).collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let rows = [[1.0_f32], [-1.0]];
        let features: Vec<&[f32]> = (0..40).map(|item| rows[item % 2].as_slice()).collect();
        let reads = Penalties { item: Some(0.01), ..FREE };
        let head = SoftHead::train(&samples, &features, Form::default(), reads).unwrap();
        let [short, long] =
            [[1.0], [-1.0]].map(|row| sure(head.probabilities("sciq", &row).as_ref()));
        assert!(short[4][0] > 0.8 && short[4][9] < 0.2, "{short:?}");
        assert!(long[4][0] < 0.2 && long[4][9] > 0.8, "{long:?}");
        let blind = SoftHead::train(&samples, &features, Form::default(), FREE).unwrap();
        assert_eq!(blind.probabilities("sciq", &[1.0]), blind.probabilities("sciq", &[-1.0]));
    }

    const TABLE: Form = Form { rule: SoftRule::Table, told: Told::Dataset };

    /// Plan (4, 0) answers 3 of 4 items rightly, (4, 1) none, (4, 2) all, no other was measured;
    /// probabilities are all alike, so there is no line to draw the shares to.
    #[test]
    fn without_reading_a_table_s_head_is_the_table() {
        let samples: Vec<Sample> = (0..4)
            .map(|item| {
                let mut one = sample("sciq", item, |_| false);
                one.right = Grid::default();
                one.right[4][..3].copy_from_slice(&[Some(item > 0), Some(false), Some(true)]);
                one
            })
            .collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let features = vec![[0.0_f32].as_slice(); 4];
        let head = SoftHead::train(&samples, &features, TABLE, FREE).unwrap();
        let grid = head.probabilities("sciq", &[9.0]).unwrap();
        let known = grid[4][..3].iter().map(|cell| (cell.unwrap() * 100.0).round());
        assert_eq!(known.collect::<Vec<_>>(), [75.0, 1.0, 99.0]);
        assert_eq!(grid.as_flattened().iter().flatten().count(), 3);
    }

    /// Items of one dataset are right at small ratios, of the other at large ones; features tell
    /// them apart, and nothing else does.
    #[test]
    fn a_head_that_is_told_nothing_tells_datasets_apart_by_reading() {
        let datasets = ["piqa", "sciq"];
        let of = |item: usize| datasets[item % 2];
        let right = |item: usize| move |(_, ratio): Place| item.is_multiple_of(2) == (ratio < 5);
        let samples: Vec<Sample> =
            (0..40).map(|item| sample(of(item), item as u32, right(item))).collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let rows = [[1.0_f32], [-1.0]];
        let features: Vec<&[f32]> = (0..40).map(|item| rows[item % 2].as_slice()).collect();
        let form = Form { told: Told::Nothing, ..TABLE };
        let reads = Penalties { item: Some(0.01), ..FREE };
        let head = SoftHead::train(&samples, &features, form, reads).unwrap();
        let [piqa, sciq] =
            [[1.0], [-1.0]].map(|row| sure(head.probabilities("unseen", &row).as_ref()));
        assert!(piqa[4][0] > 0.8 && piqa[4][9] < 0.2, "{piqa:?}");
        assert!(sciq[4][0] < 0.2 && sciq[4][9] > 0.8, "{sciq:?}");
        let blind = SoftHead::train(&samples, &features, form, FREE).unwrap();
        let even = sure(blind.probabilities("piqa", &[1.0]).as_ref());
        assert!(even.as_flattened().iter().all(|p| (p - 0.5).abs() < 1e-3), "{even:?}");
    }

    /// Without the penalty a surface that falls with the level is learnt as it is.
    #[test]
    fn falling_surfaces_are_discouraged() {
        let samples: Vec<_> =
            (0..20).map(|item| sample("sciq", item, |(level, _)| level < 4)).collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let features = vec![[0.0_f32].as_slice(); 20];
        let slope = |falling| {
            let penalties = Penalties { falling, ..FREE };
            let head = SoftHead::train(&samples, &features, Form::default(), penalties).unwrap();
            let grid = sure(head.probabilities("sciq", &[0.0]).as_ref());
            grid[8][5] - grid[0][5]
        };
        assert!(slope(0.0) < -0.8);
        assert!(slope(1e6) > -0.1);
    }

    #[test]
    fn the_loss_of_a_sure_logit_is_finite() {
        let logits = Tensor::new(&[[200f32, -200.0]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[1f32, 1.0]], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &targets).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(loss, [[0.0, 200.0]]);
    }
}
