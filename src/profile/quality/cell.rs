//! One measured answer, and when it counts as right.

use serde::{Deserialize, Serialize};

use super::sheet::Measure;
use crate::units::Level;

/// Among how many options, the most likely ones, the right one has to be for the study to count an
/// API call as found.
pub const TOP: usize = 5;

/// When the answer to an API call counts as right. Other answers do if the right option is first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// If the right function is first.
    #[default]
    First,
    /// If it is among the first [`TOP`]: as the study counts.
    FirstFive,
}

/// One measured answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Right under the headline score, log-likelihood per token.
    pub correct: bool,
    /// Right under the sum of log-likelihoods.
    pub sum_correct: bool,
    /// Probability of the right option among the options, under the headline score.
    pub gold_probability: f32,
    /// Whether the right option is among the first [`TOP`] under the headline score, where the
    /// study counts that.
    pub top_correct: Option<bool>,
}

impl Cell {
    /// What files say of the cell at `level`, probabilities to four decimals.
    pub(in crate::profile) fn values(self, level: Level) -> Vec<(Measure, Level, f32)> {
        let flag = |right: bool| f32::from(u8::from(right));
        let probability = (self.gold_probability * 1e4).round() / 1e4;
        let mut values = vec![
            (Measure::Grade, level, flag(self.correct)),
            (Measure::GoldProbability, level, probability),
            (Measure::SumGrade, level, flag(self.sum_correct)),
        ];
        values.extend(self.top_correct.map(|top| (Measure::Top5Grade, level, flag(top))));
        values
    }
}
