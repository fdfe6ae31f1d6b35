//! How often the right entry of a list is among the few that a ranking keeps.

use serde::{Deserialize, Serialize};

use super::items::{self, Part};
use crate::error::Result;
use crate::model::tlm::score_head::ScoreHead;
use crate::prompt::compress::lists::{self, Ranking};
use crate::prompt::{Dataset, Item};

/// Entries kept that recall is stated for.
pub const KEPT: [usize; 5] = [1, 2, 3, 4, 6];

/// Which items' lists are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lists {
    /// Those of all scored items.
    Scored,
    /// Those of items that are never scored and that choices are made on.
    Train,
    /// Those of items that are never scored and that choices are checked on.
    Validation,
}

impl Lists {
    /// The items of `dataset` that have a list.
    #[must_use]
    pub fn of(self, dataset: &Dataset) -> Vec<&Item> {
        let items: Vec<&Item> = match self {
            Self::Scored => dataset.items.iter().collect(),
            Self::Train => items::items(dataset, Part::Train, usize::MAX),
            Self::Validation => items::items(dataset, Part::Validation, usize::MAX),
        };
        items.into_iter().filter(|item| list(item).is_some()).collect()
    }
}

/// The item's passage, if it is a list.
fn list(item: &Item) -> Option<&str> {
    item.passage.as_deref().filter(|passage| lists::is_list(passage))
}

/// The right entries of lists among their ranked ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranks {
    /// By item: entries of its list, and those ranked above the right one.
    above: Vec<(usize, usize)>,
}

impl Ranks {
    /// Ranks the lists of `items` with `head`.
    ///
    /// # Errors
    /// If inference fails.
    ///
    /// # Panics
    /// If a list has not an entry for each option of its item.
    pub fn measure(head: &mut ScoreHead, items: &[&Item], ranking: Ranking) -> Result<Self> {
        let mut ranks = Self::default();
        for item in items {
            let passage = list(item).expect("items with lists");
            let worth = head.worth(&item.question, passage, ranking)?;
            assert_eq!(worth.len(), item.options.len(), "an entry for each option");
            let order = lists::best_first(&worth);
            let above = order.iter().position(|&entry| entry == item.gold);
            ranks.above.push((worth.len(), above.expect("the right one is on the list")));
        }
        Ok(ranks)
    }

    /// Share of the lists whose right entry is among the first `kept`.
    #[must_use]
    pub fn recall(&self, kept: usize) -> f64 {
        let found = self.above.iter().filter(|&&(_, above)| above < kept).count();
        found as f64 / self.above.len() as f64
    }

    /// The same share if entries were drawn.
    #[must_use]
    pub fn chance(&self, kept: usize) -> f64 {
        let share = |&(entries, _): &(usize, usize)| kept.min(entries) as f64 / entries as f64;
        self.above.iter().map(share).sum::<f64>() / self.above.len() as f64
    }

    /// How many lists there are.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.above.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_lists_and_chance_their_lengths() {
        // Right entries are first of 2, third of 4 and last of 10.
        let ranks = Ranks { above: vec![(2, 0), (4, 2), (10, 9)] };
        let of = |share: f64| (share * 1e4).round() as u32;
        let recalls = [1, 2, 3, 10].map(|kept| of(ranks.recall(kept)));
        assert_eq!(recalls, [3333, 3333, 6667, 10000]);
        // (1/2 + 1/4 + 1/10)/3, (1 + 2/4 + 2/10)/3, (1 + 3/4 + 3/10)/3.
        let chances = [1, 2, 3].map(|kept| of(ranks.chance(kept)));
        assert_eq!(chances, [2833, 5667, 6833]);
    }
}
