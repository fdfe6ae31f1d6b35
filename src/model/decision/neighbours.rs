//! Probabilities from the nearest training prompts: of each plan, how often it answered rightly the
//! `k` prompts whose features are most like those at hand. What routers between models do, and an
//! opponent of the [heads](super::soft) that learn.

use super::soft::Told;
use super::{Grid, places};
use crate::profile::PlanProbabilities;

/// Remembered prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// How many count.
    pub k: usize,
    /// Whether only prompts of the same dataset do.
    pub told: Told,
    /// The prompts.
    pub remembered: Vec<Remembered>,
}

/// A training prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// Its dataset.
    pub dataset: String,
    /// What the TLM says of it.
    pub features: Vec<f32>,
    /// Whether each plan answers rightly; `None` where that was not measured.
    pub right: Grid<Option<bool>>,
}

impl Neighbours {
    /// The probability of a right answer under each plan to a prompt with `features`; `None` if no
    /// prompt that counts is remembered.
    #[must_use]
    pub fn probabilities(&self, dataset: &str, features: &[f32]) -> Option<PlanProbabilities> {
        let group = self.told.group(dataset);
        let own = self.remembered.iter().filter(|one| self.told.group(&one.dataset) == group);
        let mut near: Vec<(f32, &Remembered)> =
            own.map(|one| (likeness(&one.features, features), one)).collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.truncate(self.k);
        let mut grid = PlanProbabilities::default();
        for (level, ratio) in places() {
            let known = near.iter().filter_map(|(_, one)| one.right[level][ratio]);
            let known: Vec<f32> = known.map(|right| f32::from(u8::from(right))).collect();
            grid[level][ratio] =
                (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32);
        }
        (!near.is_empty()).then_some(grid)
    }
}

/// The product of two directions.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(dataset: &str, features: [f32; 2], right: Option<bool>) -> Remembered {
        let mut grid = Grid::default();
        grid[0][0] = right;
        Remembered { dataset: dataset.into(), features: features.into(), right: grid }
    }

    /// The two nearest of the dataset: one right, one wrong; the third was not measured.
    #[test]
    fn the_nearest_prompts_vote_and_only_those_that_were_measured() {
        let prompts = vec![
            remembered("sciq", [1.0, 0.0], Some(true)),
            remembered("sciq", [0.9, 0.1], Some(false)),
            remembered("sciq", [0.8, 0.2], None),
            remembered("sciq", [-1.0, 0.0], Some(true)),
            remembered("piqa", [1.0, 0.0], Some(true)),
        ];
        let of = |k, told| Neighbours { k, told, remembered: prompts.clone() };
        let first = |head: Neighbours, dataset: &str| {
            head.probabilities(dataset, &[1.0, 0.0]).map(|grid| grid[0][0])
        };
        assert_eq!(first(of(1, Told::Dataset), "sciq"), Some(Some(1.0)));
        assert_eq!(first(of(3, Told::Dataset), "sciq"), Some(Some(0.5)));
        assert_eq!(first(of(9, Told::Dataset), "sciq"), Some(Some(2.0 / 3.0)));
        assert_eq!(first(of(3, Told::Dataset), "arc"), None);
        // The other dataset's counts as well: two right, one wrong.
        assert_eq!(first(of(3, Told::Nothing), "arc"), Some(Some(2.0 / 3.0)));
    }
}
