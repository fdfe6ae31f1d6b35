//! What the decision-head learns from: measured answers, measured times, and the label of each
//! (prompt, objective) that follows from the two.
//!
//! Self-induced labels, as the study has them: of all plans that meet the objective, the lightest
//! that answers rightly; where none does, a default, which the study leaves open and here is the
//! feasible plan of the largest accuracy on the dataset's training items. Its published code labels
//! otherwise ([`LabelRule::Last`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::model::decision::{Grid, LEVELS, Objective, Place, RATIOS, places};
use crate::profile::{
    Compressing, DeviceProfile, FamilyLatency, LevelLatency, PromptLengths, QualityTable, Split,
};
use crate::units::{Grade, Level, PROMPT_RATIOS};

/// One measured item.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Dataset.
    pub dataset: String,
    /// Number in the dataset.
    pub item: ItemId,
    /// Whether each plan answers rightly; `None` where that was not measured.
    pub right: Grid<Option<bool>>,
    /// Probability of the right option under each plan that was measured.
    pub gold: Grid<f32>,
    /// Prompt tokens read at each ratio.
    pub kept: [u32; RATIOS],
}

impl Sample {
    /// Whether the plan was measured.
    #[must_use]
    pub fn is_measured(&self, (level, ratio): Place) -> bool {
        self.right[level][ratio].is_some()
    }

    /// Whether the plan is known to answer rightly.
    #[must_use]
    pub fn is_right(&self, (level, ratio): Place) -> bool {
        self.right[level][ratio] == Some(true)
    }
}

/// The items of `side` in `table` that have an answer to every plan that was measured on any item
/// of their dataset.
///
/// # Errors
/// If the table lacks a level of the ladder, or an item has no known lengths at the study's ratios.
///
/// # Panics
/// Never: a table has room for the study's ratios.
pub fn samples(table: &QualityTable, lengths: &PromptLengths, side: Split) -> Result<Vec<Sample>> {
    let mut levels = [0; LEVELS];
    for (place, level) in levels.iter_mut().zip(Level::LADDER) {
        *place = table.level_index(level).ok_or_else(|| {
            let known: Vec<_> = table.levels().iter().map(Level::to_string).collect();
            Error::new("quality table", "lacks a level that the decision-head may choose")
                .found(known.join(", "))
                .allowed(format!("a table with level {level}"))
        })?;
    }
    let ratios = PROMPT_RATIOS.map(|ratio| table.ratio_index(ratio).expect("tables have room"));
    let mut lengths_at = [0; RATIOS];
    for (place, ratio) in lengths_at.iter_mut().zip(PROMPT_RATIOS) {
        *place = lengths.place_of(ratio, "a decision-head's prompts")?;
    }
    let mut samples = Vec::new();
    for dataset in table.datasets() {
        let whole = |row| table.side(row) == side && table.is_whole(row);
        for (item, row) in table.items(dataset).filter(|&(_, row)| whole(row)) {
            let (mut right, mut gold) = (Grid::default(), Grid::default());
            for (level, ratio) in places() {
                let (column, of_table) = (levels[level], ratios[ratio]);
                let answer = table.grade(row, column, of_table).map(Grade::is_right);
                let sure = f32::from(u8::from(answer == Some(true)));
                right[level][ratio] = answer;
                gold[level][ratio] = table.gold_probability(row, column, of_table).unwrap_or(sure);
            }
            let kept = lengths.of(dataset, item).ok_or_else(|| {
                let place = format!("{dataset} item {item}");
                Error::new("prompt lengths", "lack an item of the quality table").found(place)
            })?;
            let kept = std::array::from_fn(|ratio| kept[lengths_at[ratio]]);
            samples.push(Sample { dataset: dataset.to_owned(), item, right, gold, kept });
        }
    }
    Ok(samples)
}

/// The ids of `samples` by dataset.
#[must_use]
pub fn ids<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
) -> BTreeMap<String, BTreeSet<ItemId>> {
    let mut ids = BTreeMap::<String, BTreeSet<ItemId>>::new();
    for sample in samples {
        ids.entry(sample.dataset.clone()).or_default().insert(sample.item);
    }
    ids
}

/// Which of five parts an item belongs to, by its name alone: part 0 validates, the others train.
///
/// # Panics
/// Never: a hash is hexadecimal digits.
#[must_use]
pub fn fold(sample: &Sample) -> usize {
    let name = format!("fold of {}:{}", sample.dataset, sample.item);
    let hash = digest::sha256(name.as_bytes());
    usize::from_str_radix(&hash[..6], 16).expect("hexadecimal digits") % FOLDS
}

/// Parts of the training items.
pub const FOLDS: usize = 5;

/// Measured times of plans, without switches and without deciding.
#[derive(Debug)]
pub struct Times<'a> {
    base: &'a LevelLatency,
    levels: Vec<&'a LevelLatency>,
    compressing: Compressing,
    output_tokens: u32,
}

/// A plan's times for one item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanTime {
    /// To the first token.
    pub ttft: Duration,
    /// Per token after it.
    pub tpot: Duration,
    /// To the last token: what makes a plan lighter than another.
    pub total: Duration,
}

impl<'a> Times<'a> {
    /// The times of `family` of `base_model` on `device` for prompts that `compressor` cuts and
    /// answers of `output_tokens`.
    ///
    /// # Errors
    /// If the device lacks the family, the reference family, a level of the ladder or, where it
    /// compresses, the score-head's times.
    pub fn new(
        device: &'a DeviceProfile,
        base_model: &str,
        family: &str,
        compressor: &str,
        output_tokens: u32,
    ) -> Result<Self> {
        let base = device.base(base_model)?;
        let family: &FamilyLatency = device.family(base_model, family)?;
        let level = |level| if level == Level::FULL { Ok(base) } else { family.level(level) };
        Ok(Self {
            base,
            levels: Level::LADDER.into_iter().map(level).collect::<Result<_>>()?,
            compressing: Compressing::of(device, family, Some(compressor))?,
            output_tokens,
        })
    }

    /// The time of each plan where a prompt has `kept` tokens.
    #[must_use]
    pub fn of(&self, kept: &[u32; RATIOS]) -> Grid<PlanTime> {
        let mut times = Grid::default();
        let compress = self.compressing.time(kept[RATIOS - 1]);
        for (row, level) in times.iter_mut().zip(&self.levels) {
            for (ratio, time) in row.iter_mut().enumerate() {
                let cut = if ratio + 1 == RATIOS { Duration::ZERO } else { compress };
                let ttft = cut + level.ttft(kept[ratio]);
                let tpot = level.tpot(kept[ratio] + self.output_tokens / 2);
                let total = ttft + tpot * self.output_tokens.saturating_sub(1);
                *time = PlanTime { ttft, tpot, total };
            }
        }
        times
    }

    /// The plans of `times` that meet `objective` for a prompt of `kept` tokens, lightest first.
    #[must_use]
    pub fn feasible(
        &self,
        times: &Grid<PlanTime>,
        kept: &[u32; RATIOS],
        objective: Objective,
    ) -> Vec<Place> {
        let full = kept[RATIOS - 1];
        let ttft = objective.0.of(self.base.ttft(full));
        let tpot = objective.1.of(self.base.tpot(full + self.output_tokens / 2));
        let meets = |&(level, ratio): &Place| {
            let time = &times[level][ratio];
            time.ttft <= ttft && time.tpot <= tpot
        };
        let mut plans: Vec<Place> = places().filter(meets).collect();
        plans.sort_by_key(|&(level, ratio)| (times[level][ratio].total, level, ratio));
        plans
    }
}

/// Which plan is an item's label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelRule {
    /// [`hard_label`].
    #[default]
    Lightest,
    /// [`last_label`].
    Last,
}

/// The label of the study's published code, which goes through levels and, within each, through
/// ratios from the whole prompt down, and keeps the last right plan: of the feasible ones the
/// largest level, and there the shortest prompt. If none is right: the full model on a tenth of the
/// prompt, feasible or not. `None` if nothing is feasible.
#[must_use]
pub fn last_label(right: &Grid<Option<bool>>, feasible: &[Place]) -> Option<Place> {
    let right = |&(level, ratio): &Place| right[level][ratio] == Some(true);
    let last = feasible.iter().copied().filter(right);
    let last = last.max_by_key(|&(level, ratio)| (level, std::cmp::Reverse(ratio)));
    (!feasible.is_empty()).then(|| last.unwrap_or((LEVELS - 1, 0)))
}

/// The hard label of an item whose feasible plans are `feasible`, lightest first: the lightest
/// right one; if there is none, the feasible one of the largest `accuracy`, of equals the
/// lightest. `None` if nothing is feasible.
#[must_use]
pub fn hard_label(
    right: &Grid<Option<bool>>,
    feasible: &[Place],
    accuracy: &Grid<f64>,
) -> Option<Place> {
    let right = |&(level, ratio): &Place| right[level][ratio] == Some(true);
    let lightest = feasible.iter().copied().find(right);
    lightest.or_else(|| best(feasible, accuracy))
}

/// The first of `plans` with the largest value.
#[must_use]
pub fn best(plans: &[Place], values: &Grid<f64>) -> Option<Place> {
    let value = |&(level, ratio): &Place| values[level][ratio];
    plans.iter().copied().rev().max_by(|a, b| value(a).total_cmp(&value(b)))
}

/// Share of `samples` that each plan is known to answer rightly; zeros without samples.
#[must_use]
pub fn accuracy<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Grid<f64> {
    let (mut sums, mut count) = (Grid::<f64>::default(), 0.0);
    for sample in samples {
        count += 1.0;
        for place in places() {
            sums[place.0][place.1] += f64::from(u8::from(sample.is_right(place)));
        }
    }
    sums.map(|row| row.map(|sum| if count > 0.0 { sum / count } else { 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::objectives;
    use crate::units::Ratio;

    fn grid<T: Copy + Default>(values: &[(Place, T)]) -> Grid<T> {
        let mut grid = Grid::default();
        for &((level, ratio), value) in values {
            grid[level][ratio] = value;
        }
        grid
    }

    /// Feasible, lightest first: (0, 0), (0, 3), (1, 2). Right: (0, 3), (1, 2) and the infeasible
    /// (8, 9).
    #[test]
    fn the_label_is_the_lightest_right_plan_that_is_feasible() {
        let right = grid(&[((0, 3), Some(true)), ((1, 2), Some(true)), ((8, 9), Some(true))]);
        let feasible = [(0, 0), (0, 3), (1, 2)];
        assert_eq!(hard_label(&right, &feasible, &Grid::default()), Some((0, 3)));
    }

    #[test]
    fn without_a_right_plan_the_label_is_the_most_accurate_of_the_feasible_ones() {
        let right = grid(&[((8, 9), Some(true))]);
        let feasible = [(0, 0), (0, 3), (1, 2), (2, 2)];
        let accuracy = grid(&[((1, 2), 0.5), ((2, 2), 0.5), ((8, 9), 0.9)]);
        // Of the two with 0.5 the lighter, which comes first.
        assert_eq!(hard_label(&right, &feasible, &accuracy), Some((1, 2)));
        assert_eq!(hard_label(&right, &[], &accuracy), None);
    }

    #[test]
    fn published_labels_are_the_largest_level_and_there_the_shortest_prompt() {
        let right = [(0, 3), (1, 2), (1, 5), (8, 9)].map(|place| (place, Some(true)));
        let right = grid(&right);
        let feasible = [(0, 0), (0, 3), (1, 2), (1, 5)];
        assert_eq!(last_label(&right, &feasible), Some((1, 2)));
        assert_eq!(
            last_label(&right, &feasible[..1]),
            Some((8, 0)),
            "the default is not asked for time"
        );
        assert_eq!(last_label(&right, &[]), None);
    }

    /// Level ℓ of the ladder (share s) takes s · kept ms and s · 10 ms a token; 5 output tokens.
    /// A prompt of 100 tokens: the full model 100 ms and 10 ms.
    #[test]
    fn feasible_plans_follow_from_measured_times() {
        let device = crate::method::testing::ladder_device();
        let times = Times::new(&device, "tiny", "width", "structured", 5).unwrap();
        let kept = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
        let plans = times.of(&kept);
        assert_eq!(plans[8][9].ttft, Duration::from_millis(100));
        assert_eq!(plans[8][9].total, Duration::from_millis(140));
        // ⟨20 %, 50 %⟩: TTFT ≤ 20 ms, TPOT ≤ 5 ms. Levels 20 to 50 %, level · kept ≤ 20 ms: 10 + 6
        // + 5 + 4 ratios.
        let objective = (Ratio::percent(20), Ratio::percent(50));
        let feasible = times.feasible(&plans, &kept, objective);
        let of_level = |level| feasible.iter().filter(|place| place.0 == level).count();
        assert_eq!([0, 1, 2, 3, 4].map(of_level), [10, 6, 5, 4, 0]);
        // The lightest: level 20 % on 10 tokens.
        assert_eq!(feasible[0], (0, 0));
        assert!(feasible.is_sorted_by_key(|&(level, ratio)| plans[level][ratio].total));
    }

    #[test]
    fn folds_share_the_items_out_and_depend_on_names_alone() {
        let sample = |item: u32| Sample {
            dataset: "sciq".into(),
            item: item.into(),
            right: Grid::default(),
            gold: Grid::default(),
            kept: [1; 10],
        };
        let mut counts = [0; FOLDS];
        for item in 0..1000 {
            counts[fold(&sample(item))] += 1;
        }
        assert!(counts.iter().all(|&count| (150..250).contains(&count)), "{counts:?}");
    }

    #[test]
    fn every_objective_of_the_study_has_its_tokens() {
        let all: Vec<_> = objectives().collect();
        assert_eq!(all.len(), 54);
        for app in crate::trace::Apps::default().all() {
            let crate::request::Slo::Relative { ttft, tpot } = app.slo else { unreachable!() };
            assert!(all.contains(&(ttft, tpot)));
        }
    }
}
