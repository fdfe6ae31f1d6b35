//! Trains the soft head ([`SoftHead`]): plans learn from their neighbours, so that noise of single
//! cells is not mistaken for skill, and datasets are drawn towards the mean one.
//!
//! Its `b` and `C` are kept small by penalties, and a dataset's surface is discouraged from falling
//! with a larger level or ratio. The penalties are chosen by cross-validation, no item part among
//! the choices.

use candle_core::{D, DType, Device, Tensor, Var};

use super::labels::Sample;
use crate::elastify::adam::{SQUARE_DECAY, Variables};
use crate::error::Result;
use crate::model::decision::soft::{DatasetPart, SoftHead, TERMS, basis};
use crate::model::decision::{Grid, LEVELS, RATIOS, places};
use crate::model::tlm::trunk::failed;

const PLANS: usize = LEVELS * RATIOS;
const STEPS: usize = 250;
const RATE: f64 = 0.05;

/// How strongly each part is kept small, in items' worth of loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// On a dataset's difference from the mean dataset.
    pub dataset: f64,
    /// On what the prompt's features say; `None`: nothing is read from them.
    pub item: Option<f64>,
    /// On a dataset's surface falling with a larger level or ratio.
    pub falling: f64,
}

/// What cross-validation chooses from.
#[must_use]
pub fn choices() -> Vec<Penalties> {
    let mut choices = Vec::new();
    for item in [None, Some(30.0), Some(3.0)] {
        let datasets: &[f64] = if item.is_none() { &[1.0, 10.0, 100.0] } else { &[3.0] };
        for &dataset in datasets {
            for falling in [0.0, 1000.0] {
                choices.push(Penalties { dataset, item, falling });
            }
        }
    }
    choices
}

impl SoftHead {
    /// Learns from `samples` whose features are `features` (one row each).
    ///
    /// # Errors
    /// If candle refuses.
    pub fn train(samples: &[&Sample], features: &[&[f32]], penalties: Penalties) -> Result<Self> {
        train(samples, features, penalties).map_err(failed)
    }
}

fn train(
    samples: &[&Sample],
    features: &[&[f32]],
    penalties: Penalties,
) -> candle_core::Result<SoftHead> {
    let names: Vec<&str> = {
        let mut names: Vec<_> = samples.iter().map(|sample| sample.dataset.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let of = |sample: &Sample| names.iter().position(|name| *name == sample.dataset);
    let places_of: Vec<usize> = samples.iter().filter_map(|sample| of(sample)).collect();
    let means = means(features, &places_of, names.len());
    let width = features[0].len();
    let problem = match penalties.item {
        Some(_) => Problem::of_items(samples, features, &places_of, &means)?,
        None => Problem::of_datasets(samples, &places_of, names.len())?,
    };
    let zeros = |rows, columns| Var::zeros((rows, columns), DType::F32, &Device::Cpu);
    let shared = zeros(1, TERMS)?;
    let dataset = zeros(names.len(), TERMS)?;
    let item = zeros(width, TERMS)?;
    let mut variables = vec![("shared", &shared), ("dataset", &dataset)];
    variables.extend(penalties.item.map(|_| ("item", &item)));
    let moving = variables.into_iter().map(|(name, var)| (name.to_owned(), var.clone()));
    let mut variables = Variables::new(moving.collect(), SQUARE_DECAY);
    for _ in 0..STEPS {
        variables.descend(&problem.loss([&shared, &dataset, &item], penalties)?, RATE)?;
    }
    let surfaces = dataset.broadcast_add(&shared)?.to_vec2::<f32>()?;
    let parts = names.iter().zip(surfaces).zip(means).map(|((name, row), mean)| {
        let coefficients = row.try_into().expect("a coefficient per term");
        ((*name).to_owned(), DatasetPart { coefficients, mean })
    });
    Ok(SoftHead {
        datasets: parts.collect(),
        item: penalties.item.map(|_| item.t()?.to_vec2()).transpose()?,
    })
}

fn tensor(values: Vec<f32>, shape: (usize, usize)) -> candle_core::Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn targets(sample: &Sample) -> Vec<f32> {
    let right: &Grid<bool> = &sample.right;
    right.as_flattened().iter().map(|&right| f32::from(u8::from(right))).collect()
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
        targets: Vec<f32>,
        dataset_of: Vec<u32>,
        weights: Vec<f32>,
    ) -> candle_core::Result<Self> {
        let rows = dataset_of.len();
        Ok(Self {
            samples: samples as f64,
            basis: tensor(places().flat_map(basis).collect(), (PLANS, TERMS))?,
            targets: tensor(targets, (rows, PLANS))?,
            dataset_of: Tensor::from_vec(dataset_of, rows, &Device::Cpu)?,
            weights: Tensor::from_vec(weights, rows, &Device::Cpu)?,
            features: None,
        })
    }

    fn of_items(
        samples: &[&Sample],
        features: &[&[f32]],
        dataset_of: &[usize],
        means: &[Vec<f32>],
    ) -> candle_core::Result<Self> {
        let count = samples.len();
        let targets_of = samples.iter().flat_map(|sample| targets(sample)).collect();
        let datasets = dataset_of.iter().map(|&dataset| dataset as u32).collect();
        let weights = vec![1.0 / count as f32; count];
        let centred = features.iter().zip(dataset_of).flat_map(|(row, &dataset)| {
            row.iter().zip(&means[dataset]).map(|(value, mean)| value - mean)
        });
        let features = Some(tensor(centred.collect(), (count, features[0].len()))?);
        Ok(Self { features, ..Self::new(count, targets_of, datasets, weights)? })
    }

    fn of_datasets(
        samples: &[&Sample],
        dataset_of: &[usize],
        datasets: usize,
    ) -> candle_core::Result<Self> {
        let mut sums = vec![vec![0.0; PLANS]; datasets];
        let mut counts = vec![0.0; datasets];
        for (sample, &dataset) in samples.iter().zip(dataset_of) {
            counts[dataset] += 1.0;
            sums[dataset].iter_mut().zip(targets(sample)).for_each(|(sum, right)| *sum += right);
        }
        let shares = sums.iter().zip(&counts);
        let shares = shares.flat_map(|(sum, count)| sum.iter().map(move |sum| sum / count));
        let weights = counts.iter().map(|count| count / samples.len() as f32).collect();
        let rows = (0..datasets as u32).collect();
        Self::new(samples.len(), shares.collect(), rows, weights)
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
        let logits = coefficients.matmul(&self.basis.t()?)?;
        (cross_entropy(&logits, &self.targets)? * &self.weights)?.sum_all()? + penalty
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

/// Each row's mean of `log(1 + e^x) − t·x`, the form that no logit overflows.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    let soft_plus = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    (soft_plus - (logits * targets)?)?.mean(D::Minus1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Place;

    fn sample(dataset: &str, item: u32, right: impl Fn(Place) -> bool) -> Sample {
        let mut grid = Grid::default();
        for (level, ratio) in places() {
            grid[level][ratio] = right((level, ratio));
        }
        Sample {
            dataset: dataset.into(),
            item: item.into(),
            right: grid,
            gold: Grid::default(),
            kept: [1; 10],
        }
    }

    const FREE: Penalties = Penalties { dataset: 0.01, item: None, falling: 0.0 };

    /// Half of the items are right wherever the level is at least 60 %, the others never.
    #[test]
    fn a_dataset_s_surface_is_learnt_and_an_unknown_dataset_has_none() {
        let samples: Vec<_> = (0..40)
            .map(|item| sample("sciq", item, |(level, _)| item & 1 == 0 && level >= 4))
            .collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let features = vec![[0.0_f32].as_slice(); 40];
        let head = SoftHead::train(&samples, &features, FREE).unwrap();
        let grid = head.probabilities("sciq", &[0.0]).unwrap();
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
        let head = SoftHead::train(&samples, &features, reads).unwrap();
        let [short, long] = [[1.0], [-1.0]].map(|row| head.probabilities("sciq", &row).unwrap());
        assert!(short[4][0] > 0.8 && short[4][9] < 0.2, "{short:?}");
        assert!(long[4][0] < 0.2 && long[4][9] > 0.8, "{long:?}");
        let blind = SoftHead::train(&samples, &features, FREE).unwrap();
        assert_eq!(blind.probabilities("sciq", &[1.0]), blind.probabilities("sciq", &[-1.0]));
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
            let head = SoftHead::train(&samples, &features, penalties).unwrap();
            let grid = head.probabilities("sciq", &[0.0]).unwrap();
            grid[8][5] - grid[0][5]
        };
        assert!(slope(0.0) < -0.8);
        assert!(slope(1e6) > -0.1);
    }

    #[test]
    fn the_loss_of_a_sure_logit_is_finite() {
        let logits = Tensor::new(&[[200f32, -200.0]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[1f32, 1.0]], &Device::Cpu).unwrap();
        // 0 for the first, 200 for the second; their mean.
        let loss = cross_entropy(&logits, &targets).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(loss, [100.0]);
    }
}
