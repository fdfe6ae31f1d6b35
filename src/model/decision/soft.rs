//! The soft head: the probability of a right answer under every plan,
//!
//! ```text
//! logit p = φ(level, ratio) · (a + b_d + C (h − μ_d))
//! ```
//!
//! φ is a small polynomial of level and ratio ([`basis`]); `a + b_d` is what all prompts of a
//! dataset share (their demonstrations tell datasets apart); `C` reads the TLM's features `h` of
//! the very prompt, centred by the dataset's mean `μ_d`.

use std::collections::BTreeMap;

use super::{Place, places};
use crate::profile::PlanProbabilities;
use crate::units::{Level, PROMPT_RATIOS};

/// Values of φ.
pub const TERMS: usize = 8;
/// A trained head.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftHead {
    /// By dataset: coefficients `a + b_d` and the mean feature `μ_d`.
    pub datasets: BTreeMap<String, DatasetPart>,
    /// `C`, `[TERMS][features]`; `None` if features are not read.
    pub item: Option<Vec<Vec<f32>>>,
}

/// What the head knows of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetPart {
    /// Coefficients of φ.
    pub coefficients: [f32; TERMS],
    /// Mean feature of its training prompts.
    pub mean: Vec<f32>,
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

impl SoftHead {
    /// Coefficients of φ for a prompt with `features`, of a dataset that was trained on.
    #[must_use]
    pub fn coefficients(&self, dataset: &str, features: &[f32]) -> Option<[f32; TERMS]> {
        let part = self.datasets.get(dataset)?;
        let mut coefficients = part.coefficients;
        for (sum, row) in coefficients.iter_mut().zip(self.item.iter().flatten()) {
            let centred = features.iter().zip(&part.mean).map(|(feature, mean)| feature - mean);
            *sum += row.iter().zip(centred).map(|(weight, value)| weight * value).sum::<f32>();
        }
        Some(coefficients)
    }

    /// The probability of a right answer under each plan.
    #[must_use]
    pub fn probabilities(&self, dataset: &str, features: &[f32]) -> Option<PlanProbabilities> {
        Some(probabilities(&self.coefficients(dataset, features)?))
    }
}

/// The surface of `coefficients`.
#[must_use]
pub fn probabilities(coefficients: &[f32; TERMS]) -> PlanProbabilities {
    let mut grid = PlanProbabilities::default();
    for (level, ratio) in places() {
        let terms = basis((level, ratio));
        let logit: f32 = terms.iter().zip(coefficients).map(|(term, value)| term * value).sum();
        grid[level][ratio] = 1.0 / (1.0 + (-logit).exp());
    }
    grid
}
