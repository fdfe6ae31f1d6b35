//! The soft head: the probability of a right answer under every plan,
//!
//! ```text
//! logit p = prior_d(level, ratio) + φ(level, ratio) · C (z − μ_d)
//! ```
//!
//! φ is a small polynomial of level and ratio ([`basis`]). The prior is what is expected before the
//! prompt is read: accuracies of the dataset's answers, or `φ · (a + b_d)`, a surface fitted with
//! the rest. `C` reads `z`, the TLM's features of the very prompt as multiples of what they vary by
//! ([`Standard`]), centred by the dataset's mean `μ_d`; where `C` is 0 the prior is all. A head
//! that is not told the dataset has one prior for all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::neighbours::Neighbours;
use super::{Grid, Place, places};
use crate::profile::PlanProbabilities;
use crate::units::{Level, PROMPT_RATIOS};

/// Values of φ.
pub const TERMS: usize = 8;

/// What prompts of all datasets are called by a head that is not told theirs.
const ANY: &str = "any";

/// Where probabilities come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoftRule {
    /// The formula, with a polynomial of level and ratio as its prior.
    #[default]
    Surface,
    /// The formula, with the pooled accuracies of measured plans as its prior.
    Table,
    /// The answers to the training prompts most like the one at hand.
    Neighbours,
}

/// What a head is told of a request beside its prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Its dataset.
    #[default]
    Dataset,
    /// Nothing.
    Nothing,
}

impl Told {
    /// What prompts of `dataset` are called.
    #[must_use]
    pub fn group(self, dataset: &str) -> &str {
        match self {
            Self::Dataset => dataset,
            Self::Nothing => ANY,
        }
    }
}

/// How features vary over training prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Standard {
    /// Mean of each.
    pub mean: Vec<f32>,
    /// Standard deviation of each; 1 of one that does not vary.
    pub deviation: Vec<f32>,
}

impl Standard {
    /// Of the rows of `features`, of which there is one at least.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(features: &[&[f32]]) -> Self {
        let (rows, width) = (features.len() as f32, features[0].len());
        let column = |at: usize| features.iter().map(move |row| row[at]);
        let mean: Vec<f32> = (0..width).map(|at| column(at).sum::<f32>() / rows).collect();
        let deviation = mean.iter().enumerate().map(|(at, mean)| {
            let variance = column(at).map(|value| (value - mean).powi(2)).sum::<f32>() / rows;
            if variance > 0.0 { variance.sqrt() } else { 1.0 }
        });
        Self { deviation: deviation.collect(), mean }
    }

    /// `features` as multiples of their deviations from the mean, at length 1 on average.
    #[must_use]
    pub fn apply(&self, features: &[f32]) -> Vec<f32> {
        let scale = 1.0 / (self.mean.len() as f32).sqrt();
        let varied = features.iter().zip(&self.mean).zip(&self.deviation);
        varied.map(|((value, mean), deviation)| scale * (value - mean) / deviation).collect()
    }
}

/// What gives each plan a probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimator {
    /// What is done to features first; `None`: nothing.
    pub standard: Option<Standard>,
    /// What reads them.
    pub reader: EstimateBy,
}

/// What reads features.
#[derive(Debug, Clone, PartialEq)]
pub enum EstimateBy {
    /// The formula.
    Formula(SoftHead),
    /// The nearest training prompts.
    Neighbours(Neighbours),
}

impl Estimator {
    /// The probability of a right answer under each plan to a prompt with `features`; `None` of a
    /// dataset that nothing was learnt of.
    #[must_use]
    pub fn probabilities(&self, dataset: &str, features: &[f32]) -> Option<PlanProbabilities> {
        let standardised = self.standard.as_ref().map(|standard| standard.apply(features));
        let features = standardised.as_deref().unwrap_or(features);
        match &self.reader {
            EstimateBy::Formula(head) => head.probabilities(dataset, features),
            EstimateBy::Neighbours(head) => head.probabilities(dataset, features),
        }
    }
}

/// A trained head.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftHead {
    /// By dataset, or one for all.
    pub datasets: BTreeMap<String, DatasetPart>,
    /// `C`, `[TERMS][features]`; `None` if features are not read.
    pub item: Option<Vec<Vec<f32>>>,
}

/// What the head knows of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetPart {
    /// What is expected before the prompt is read.
    pub prior: Prior,
    /// Mean feature of its training prompts.
    pub mean: Vec<f32>,
}

/// Logits of what is expected of plans.
#[derive(Debug, Clone, PartialEq)]
pub enum Prior {
    /// Coefficients of φ.
    Surface([f32; TERMS]),
    /// By plan; `None` where none was measured.
    Table(Box<Grid<Option<f32>>>),
}

/// φ of a plan.
#[must_use]
pub fn basis((level, ratio): Place) -> [f32; TERMS] {
    let level = (f32::from(Level::LADDER[level].as_percent()) - 60.0) / 40.0;
    let ratio = (f32::from(PROMPT_RATIOS[ratio].as_percent()) - 55.0) / 45.0;
    let (level_bent, ratio_bent) = (level * level - 0.4, ratio * ratio - 0.4);
    let mixed = [level * ratio, level_bent * ratio];
    [1.0, level, level_bent, ratio, ratio_bent, mixed[0], mixed[1], level.powi(3)]
}

impl Prior {
    fn logit(&self, (level, ratio): Place) -> Option<f32> {
        match self {
            Self::Surface(coefficients) => Some(polynomial((level, ratio), coefficients)),
            Self::Table(logits) => logits[level][ratio],
        }
    }
}

/// φ of a plan times `coefficients`.
fn polynomial(place: Place, coefficients: &[f32; TERMS]) -> f32 {
    basis(place).iter().zip(coefficients).map(|(term, value)| term * value).sum()
}

impl SoftHead {
    /// The probability of a right answer under each plan to a prompt with `features`; `None` of a
    /// dataset that it was not trained on.
    #[must_use]
    pub fn probabilities(&self, dataset: &str, features: &[f32]) -> Option<PlanProbabilities> {
        let part = self.datasets.get(dataset).or_else(|| self.datasets.get(ANY))?;
        let correction = self.correction(&part.mean, features);
        let mut grid = PlanProbabilities::default();
        for (level, ratio) in places() {
            let place = (level, ratio);
            let logit = part.prior.logit(place).map(|own| own + polynomial(place, &correction));
            grid[level][ratio] = logit.map(|logit| 1.0 / (1.0 + (-logit).exp()));
        }
        Some(grid)
    }

    /// `C (h − μ)`.
    fn correction(&self, mean: &[f32], features: &[f32]) -> [f32; TERMS] {
        let mut correction = [0.0; TERMS];
        for (sum, row) in correction.iter_mut().zip(self.item.iter().flatten()) {
            let centred = features.iter().zip(mean).map(|(feature, mean)| feature - mean);
            *sum = row.iter().zip(centred).map(|(weight, value)| weight * value).sum();
        }
        correction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(prior: Prior, name: &str) -> SoftHead {
        let mut constant = vec![vec![0.0]; TERMS];
        constant[0][0] = 2.0;
        let part = DatasetPart { prior, mean: vec![0.5] };
        SoftHead { datasets: [(name.to_owned(), part)].into(), item: Some(constant) }
    }

    /// Expected 1/2, so logit 0; the prompt says 2 · (1 − 0.5) = 1 more: 1 / (1 + e⁻¹) = 0.731.
    #[test]
    fn reading_moves_what_is_expected_and_plans_without_answers_have_no_probability() {
        let mut table = Grid::default();
        table[0][1] = Some(0.0);
        let head = head(Prior::Table(Box::new(table)), "sciq");
        let grid = head.probabilities("sciq", &[1.0]).unwrap();
        assert!((grid[0][1].unwrap() - 0.731).abs() < 1e-3, "{grid:?}");
        assert_eq!(grid.as_flattened().iter().flatten().count(), 1);
        assert_eq!(head.probabilities("sciq", &[0.5]).unwrap()[0][1], Some(0.5));
        assert!(head.probabilities("piqa", &[0.5]).is_none());
    }

    /// Columns 1, 3 and 5, 5: means 2 and 5, deviations 1 and none; scaled by 1/√2.
    #[test]
    fn features_are_measured_by_how_they_vary() {
        let standard = Standard::of(&[&[1.0, 5.0], &[3.0, 5.0]]);
        assert_eq!((&*standard.mean, &*standard.deviation), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
        let found = standard.apply(&[4.0, 6.0]);
        assert!(
            found
                .iter()
                .zip([2.0_f32, 1.0])
                .all(|(z, own)| (z - own / 2.0_f32.sqrt()).abs() < 1e-6)
        );
    }

    #[test]
    fn a_head_that_is_told_nothing_answers_for_every_dataset() {
        let mut constant = [0.0; TERMS];
        constant[0] = -1.0;
        let head = head(Prior::Surface(constant), Told::Nothing.group("sciq"));
        let grid = head.probabilities("piqa", &[1.0]).unwrap();
        assert!(grid.as_flattened().iter().all(|cell| *cell == Some(0.5)), "{grid:?}");
        assert_eq!(Told::Dataset.group("piqa"), "piqa");
    }
}
