//! What the estimate items let expect of every plan, by dataset.
//!
//! Sixty items tell accuracies apart that lie ten points from each other, no nearer: the best of
//! ninety mean grades is often the luckiest. The probability that the model gives the right option
//! varies less, so [`Expect::Pooled`] lets each plan borrow from the others of its dataset. It is
//! the estimator of Fay and Herriot (1979): a plan's accuracy is `w · y + (1 − w) · (a + b · x)`
//! with `y` its mean grade, `x` its mean probability, `a + b · x` the line through all plans, and
//! `w = τ² / (τ² + σ²)`, where `σ²` is how far a mean grade is off by chance (from what is left of
//! grades once items and plans are taken out) and `τ²` what plans differ from the line beyond that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::executor::Truth;
use crate::policy::Expected;
use crate::profile::{QualityTable, RowId};
use crate::trace::Trace;

/// How expected accuracies come from the answers to estimate items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// A plan's mean grade.
    #[default]
    Grades,
    /// The same, drawn towards what the probabilities of the right options say.
    Pooled,
}

/// By dataset: `[pair][ratio]` of the method's plans.
///
/// # Errors
/// If accuracies are to be pooled and no probabilities are known.
pub(super) fn expected(
    truth: &Truth,
    method: &str,
    expect: Expect,
) -> Result<BTreeMap<String, Expected>> {
    let Truth { table, pairs, ratios, .. } = truth;
    let cells = || {
        let cells = pairs.iter().flat_map(|&level| ratios.iter().map(move |ratio| (level, ratio)));
        cells.map(|(level, ratio)| ratio.map(|ratio| (level, ratio)))
    };
    let mut all = BTreeMap::new();
    for dataset in table.datasets() {
        let mut accuracies: Vec<Option<f64>> = cells()
            .map(|at| at.and_then(|(level, ratio)| table.expected_accuracy(dataset, level, ratio)))
            .collect();
        if expect == Expect::Pooled {
            let rows: Vec<RowId> = table.estimate_rows(dataset).collect();
            let measured = cells().zip(&mut accuracies).filter(|(_, known)| known.is_some());
            let (plans, known): (Vec<_>, Vec<_>) =
                measured.filter_map(|(at, known)| Some((at?, known))).unzip();
            let sample = sample(table, &rows, &plans).ok_or_else(|| no_scores(truth, method))?;
            known.into_iter().zip(sample.pooled()).for_each(|(place, value)| *place = Some(value));
        }
        all.insert(dataset.to_owned(), Arc::from(accuracies));
    }
    Ok(all)
}

/// By app of `trace`: means over the datasets that its requests come from, each as much, of
/// `expected` accuracies by dataset; of plans that all of them have answers to.
pub(super) fn by_app(trace: &Trace, expected: &[Expected]) -> Vec<Expected> {
    let mut datasets = vec![BTreeSet::new(); trace.apps.len()];
    for request in &trace.requests {
        datasets[usize::from(request.app.0)].insert(usize::from(request.dataset.0));
    }
    let of_app = |datasets: BTreeSet<usize>| {
        let plans = datasets.iter().map(|&dataset| expected[dataset].len()).min().unwrap_or(0);
        let of_plan = |plan: usize| {
            let known = datasets.iter().map(|&dataset| expected[dataset][plan]);
            Some(mean(&known.collect::<Option<Vec<f64>>>()?))
        };
        (0..plans).map(of_plan).collect()
    };
    datasets.into_iter().map(of_app).collect()
}

fn no_scores(truth: &Truth, method: &str) -> Error {
    Error::new(format!("method {method}"), "no probabilities of the right options to pool")
        .at("key \"expect\"")
        .found(format!("the quality table {} without scores", truth.name))
        .allowed("expect = \"grades\", or a table with gold_probability in its .scores.csv.gz")
}

/// The [pooled](Expect::Pooled) accuracy of each plan of a dataset, from grades and probabilities
/// of the right option, `[plan][item]`.
///
/// # Panics
/// If plans have not the same items.
#[must_use]
pub fn pooled(grades: Vec<Vec<f64>>, probabilities: Vec<Vec<f64>>) -> Vec<f64> {
    Sample { grades, probabilities }.pooled()
}

/// Grades and probabilities of the right option, `[plan][item]`.
struct Sample {
    grades: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f64>>,
}

/// The answers to `rows` under `plans`; `None` if a probability is not known.
fn sample(table: &QualityTable, rows: &[RowId], plans: &[(usize, usize)]) -> Option<Sample> {
    let mut sample = Sample { grades: Vec::new(), probabilities: Vec::new() };
    for &(level, ratio) in plans {
        let of_plan = |row: &RowId| {
            let probability = table.gold_probability(*row, level, ratio)?;
            Some((f64::from(table.grade(*row, level, ratio)?), f64::from(probability)))
        };
        let (grades, probabilities) =
            rows.iter().map(of_plan).collect::<Option<Vec<_>>>()?.into_iter().unzip();
        sample.grades.push(grades);
        sample.probabilities.push(probabilities);
    }
    Some(sample)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Sample {
    /// The estimates, by plan; mean grades where there are too few plans or items for a line.
    fn pooled(&self) -> Vec<f64> {
        let (y, x): (Vec<f64>, Vec<f64>) =
            self.grades.iter().zip(&self.probabilities).map(|(y, x)| (mean(y), mean(x))).unzip();
        let items = self.grades.first().map_or(0, Vec::len);
        let (mean_x, mean_y) = (mean(&x), mean(&y));
        let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
        if y.len() < 3 || items < 2 || spread <= 0.0 {
            return y;
        }
        let common: f64 = x.iter().zip(&y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let line: Vec<f64> = x.iter().map(|x| mean_y + common / spread * (x - mean_x)).collect();
        let off: f64 = y.iter().zip(&line).map(|(y, line)| (y - line).powi(2)).sum();
        let chance = self.chance(&y);
        let beyond = (off / (y.len() as f64 - 2.0) - chance).max(0.0);
        let weight = if chance > 0.0 { beyond / (beyond + chance) } else { 1.0 };
        let estimate = |(y, line): (&f64, &f64)| weight * y + (1.0 - weight) * line;
        y.iter().zip(&line).map(estimate).map(|share| share.clamp(0.0, 1.0)).collect()
    }

    /// Variance of a plan's mean grade over other items, what items have in common aside; `y` has
    /// the mean grades.
    fn chance(&self, y: &[f64]) -> f64 {
        let (plans, items) = (y.len(), self.grades[0].len());
        let all = mean(y);
        let of_item = |item: usize| {
            let grades: Vec<f64> = self.grades.iter().map(|grades| grades[item]).collect();
            let mean = mean(&grades);
            let left = grades.iter().zip(y).map(|(grade, y)| (grade - y - mean + all).powi(2));
            left.sum::<f64>()
        };
        let left: f64 = (0..items).map(of_item).sum();
        left / ((plans - 1) * (items - 1) * items) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::contract::stage;
    use crate::request::{AppId, DatasetId, Request};

    fn near(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    /// Mean grades 1/2, 1/2, 1 over probabilities 0.2, 0.4, 0.6: the slope is 0.1 / 0.08, and items
    /// disagree so much (σ² = 1 / (2 · 1 · 2)) that what plans are off the line (1/24) is chance.
    #[test]
    fn plans_that_differ_by_chance_are_put_on_the_line() {
        let grades = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 1.0]];
        let sample =
            Sample { probabilities: vec![vec![0.2, 0.2], vec![0.3, 0.5], vec![0.6, 0.6]], grades };
        assert!((sample.chance(&[0.5, 0.5, 1.0]) - 0.25).abs() < 1e-12);
        near(&sample.pooled(), &[5.0 / 12.0, 2.0 / 3.0, 11.0 / 12.0]);
    }

    /// Both items agree on every plan: nothing is chance, grades stand.
    #[test]
    fn plans_that_items_agree_on_keep_their_grades() {
        let grades = vec![vec![0.5, 0.5], vec![0.0, 0.0], vec![1.0, 1.0]];
        let probabilities = vec![vec![0.2; 2], vec![0.4; 2], vec![0.6; 2]];
        near(&Sample { grades, probabilities }.pooled(), &[0.5, 0.0, 1.0]);
    }

    /// Four items, three plans: y = 3/4, 1/4, 3/4 over x = 0.2, 0.4, 0.6, so the line is flat at
    /// 7/12. What is left of grades adds up to 2, so σ² = 2 / (2 · 3 · 4) = 1/12; the plans are 1/6
    /// off the line, 1/12 beyond chance: half of each.
    #[test]
    fn between_both_the_weight_is_the_share_beyond_chance() {
        let grades =
            vec![vec![1.0, 1.0, 1.0, 0.0], vec![0.0, 0.0, 1.0, 0.0], vec![1.0, 1.0, 0.0, 1.0]];
        let probabilities = vec![vec![0.2; 4], vec![0.4; 4], vec![0.6; 4]];
        let sample = Sample { grades, probabilities };
        near(&sample.pooled(), &[2.0 / 3.0, 5.0 / 12.0, 2.0 / 3.0]);
    }

    /// App 0 draws from both datasets, 1 from the second, 2 from none of this trace. The first plan
    /// was measured on both: (0.2 + 0.6) / 2.
    #[test]
    fn an_app_expects_the_mean_of_its_datasets_where_all_have_answers() {
        let request = |app, dataset| {
            let ms = std::time::Duration::from_millis(1);
            let request = stage::request(7, ms, ms);
            Request { app: AppId(app), dataset: DatasetId(dataset), ..request }
        };
        let trace = Trace {
            apps: vec!["mixed".into(), "plain".into(), "idle".into()],
            datasets: vec!["a".into(), "b".into()],
            requests: vec![request(0, 1), request(0, 0), request(0, 1), request(1, 1)],
            ..Trace::default()
        };
        let expected: [Expected; 2] =
            [[Some(0.2), None, Some(0.5)].into(), [Some(0.6), Some(0.3), None].into()];
        let found = by_app(&trace, &expected);
        near(&[found[0][0].unwrap()], &[0.4]);
        assert_eq!(&found[0][1..], [None, None]);
        assert_eq!(found[1], expected[1]);
        assert!(found[2].is_empty());
    }

    #[test]
    fn two_plans_make_no_line() {
        let grades = vec![vec![1.0, 0.0], vec![1.0, 1.0]];
        near(&Sample { probabilities: grades.clone(), grades }.pooled(), &[0.5, 1.0]);
    }
}
