//! How well plans are chosen on items that nothing was learnt from: cross-validation, and the
//! choosers that the heads are compared with.

use std::collections::BTreeMap;

use super::labels::{Sample, Times, accuracy, best, fold};
use super::soft::{Form, Penalties, choices};
use crate::error::Result;
use crate::model::decision::soft::{Estimator, SoftRule};
use crate::model::decision::{Grid, Place, objectives, places};
use crate::profile::PlanProbabilities;

/// An item with everything a chooser may look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// Its answers.
    pub sample: &'a Sample,
    /// What the TLM says of its prompt.
    pub features: &'a [f32],
    /// For each objective, its feasible plans that were measured, lightest first.
    pub feasible: Vec<Vec<Place>>,
}

/// How a chooser did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Share of right answers, over items and the objectives that some plan meets.
    pub accuracy: f64,
    /// Mean binary cross-entropy of every plan's probability.
    pub loss: f64,
}

impl<'a> Case<'a> {
    /// The cases of `samples` and their `features`.
    #[must_use]
    pub fn all(samples: &'a [Sample], features: &'a [Vec<f32>], times: &Times<'_>) -> Vec<Self> {
        let case = |(sample, features): (&'a Sample, &'a Vec<f32>)| {
            let plans = times.of(&sample.kept);
            let measured = |objective| {
                let feasible = times.feasible(&plans, &sample.kept, objective);
                feasible.into_iter().filter(|&plan| sample.is_measured(plan)).collect()
            };
            Case { sample, features, feasible: objectives().map(measured).collect() }
        };
        samples.iter().zip(features).map(case).collect()
    }

    /// Share of objectives that `choose` answers rightly; `None` if nothing is ever feasible.
    pub fn accuracy(&self, choose: impl Fn(&[Place]) -> f64) -> Option<f64> {
        let met = || self.feasible.iter().filter(|plans| !plans.is_empty());
        let sum: f64 = met().map(|plans| choose(plans)).sum();
        (met().count() > 0).then(|| sum / met().count() as f64)
    }

    fn right(&self, place: Place) -> f64 {
        f64::from(u8::from(self.sample.is_right(place)))
    }

    /// Share of objectives answered rightly by the plan of the largest `value`.
    #[must_use]
    pub fn accuracy_by(&self, values: &Grid<f64>) -> Option<f64> {
        self.accuracy(|plans| best(plans, values).map_or(0.0, |plan| self.right(plan)))
    }

    /// What a random feasible plan is worth.
    #[must_use]
    pub fn accuracy_at_random(&self) -> Option<f64> {
        self.accuracy(|plans| {
            plans.iter().map(|&plan| self.right(plan)).sum::<f64>() / plans.len() as f64
        })
    }

    /// What perfect knowledge is worth.
    #[must_use]
    pub fn accuracy_of_oracle(&self) -> Option<f64> {
        self.accuracy(|plans| plans.iter().map(|&plan| self.right(plan)).fold(0.0, f64::max))
    }

    /// Over the plans that have an answer and a probability.
    fn loss(&self, grid: &PlanProbabilities) -> f64 {
        let of = |(level, ratio): Place| {
            let sure = f64::from(grid[level][ratio]?).clamp(1e-6, 1.0 - 1e-6);
            Some(if self.sample.right[level][ratio]? { -sure.ln() } else { -(1.0 - sure).ln() })
        };
        mean(&places().filter_map(of).collect::<Vec<_>>())
    }
}

/// Trains on the cases of other folds than each, and judges on it.
///
/// # Errors
/// If training fails.
///
/// # Panics
/// If a fold holds all items of a dataset.
pub fn cross_validate(
    cases: &[Case<'_>],
    folds: usize,
    form: Form,
    penalties: Penalties,
) -> Result<Score> {
    let (mut accuracies, mut losses) = (Vec::new(), Vec::new());
    for held_out in 0..folds {
        let (test, train): (Vec<_>, Vec<_>) =
            cases.iter().partition(|case| fold(case.sample) == held_out);
        let samples: Vec<&Sample> = train.iter().map(|case| case.sample).collect();
        let features: Vec<&[f32]> = train.iter().map(|case| case.features).collect();
        let head = Estimator::train(&samples, &features, form, penalties)?;
        for case in test {
            let grid = head.probabilities(&case.sample.dataset, case.features);
            let grid = grid.expect("every dataset has items in every fold");
            let values = grid.map(|row| row.map(|cell| cell.map_or(-1.0, f64::from)));
            accuracies.extend(case.accuracy_by(&values));
            losses.push(case.loss(&grid));
        }
    }
    Ok(Score { accuracy: mean(&accuracies), loss: mean(&losses) })
}

/// The penalties of the largest cross-validated accuracy, or, but for
/// surfaces, of the least loss, which fewer items tell; of equals the first, which is the simplest.
/// `report` is told of each.
///
/// # Errors
/// As [`cross_validate`].
///
/// # Panics
/// As [`cross_validate`].
pub fn select(
    cases: &[Case<'_>],
    folds: usize,
    form: Form,
    report: &mut dyn FnMut(Penalties, Score),
) -> Result<(Penalties, Score)> {
    let better = |score: Score, known: Score| match form.rule {
        SoftRule::Surface => score.accuracy > known.accuracy + 1e-9,
        SoftRule::Table | SoftRule::Neighbours => score.loss < known.loss - 1e-9,
    };
    let mut best: Option<(Penalties, Score)> = None;
    for penalties in choices(form.rule) {
        let score = cross_validate(cases, folds, form, penalties)?;
        report(penalties, score);
        if best.is_none_or(|(_, known)| better(score, known)) {
            best = Some((penalties, score));
        }
    }
    Ok(best.expect("there are choices"))
}

/// The accuracies of choosers that need no training, by name, each on folds that it did not see:
/// `table` (the plan of the largest accuracy on the dataset's other items), `random`, `oracle`.
#[must_use]
pub fn baselines(cases: &[Case<'_>], folds: usize) -> BTreeMap<String, f64> {
    let mut table = Vec::new();
    for held_out in 0..folds {
        let mut tables = BTreeMap::<&str, Grid<f64>>::new();
        for case in cases {
            let name = case.sample.dataset.as_str();
            tables.entry(name).or_insert_with(|| {
                let others = cases.iter().map(|case| case.sample);
                accuracy(others.filter(|other| other.dataset == name && fold(other) != held_out))
            });
        }
        let test = cases.iter().filter(|case| fold(case.sample) == held_out);
        table.extend(test.filter_map(|case| case.accuracy_by(&tables[&*case.sample.dataset])));
    }
    let random: Vec<f64> = cases.iter().filter_map(Case::accuracy_at_random).collect();
    let oracle: Vec<f64> = cases.iter().filter_map(Case::accuracy_of_oracle).collect();
    [("table", mean(&table)), ("random", mean(&random)), ("oracle", mean(&oracle))]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len().max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(right: &[Place]) -> Sample {
        let mut grid = [[Some(false); 10]; 9];
        for &(level, ratio) in right {
            grid[level][ratio] = Some(true);
        }
        Sample {
            dataset: "sciq".into(),
            item: 1.into(),
            right: grid,
            gold: Grid::default(),
            kept: [1; 10],
        }
    }

    /// Three objectives: plans A and B feasible, B alone, none. B is right.
    #[test]
    fn accuracies_are_means_over_the_objectives_that_can_be_met() {
        let (a, b) = ((0, 0), (1, 1));
        let sample = sample(&[b]);
        let case =
            Case { sample: &sample, features: &[], feasible: vec![vec![a, b], vec![b], vec![]] };
        assert_eq!(case.accuracy_at_random(), Some(0.75));
        assert_eq!(case.accuracy_of_oracle(), Some(1.0));
        let mut values = Grid::<f64>::default();
        values[0][0] = 1.0;
        // A is preferred where it is feasible, and wrong.
        assert_eq!(case.accuracy_by(&values), Some(0.5));
        let hopeless = Case { sample: &sample, features: &[], feasible: vec![vec![]] };
        assert_eq!(hopeless.accuracy_at_random(), None);
    }
}
