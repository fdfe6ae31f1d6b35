//! Which items estimate accuracies and which are replayed.

use crate::item::ItemId;
use sha2::{Digest, Sha256};

/// The half of a dataset that an item belongs to.
///
/// A policy's expected accuracies come from `Estimate` items, traces draw `Replay` items, so no
/// method is judged on an item it was tuned on. The side depends on nothing but the item's name:
/// it is the lowest bit of the first byte of SHA-256 of `dataset:item` (0 = estimate), and adding
/// items later moves none of the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Answers may be averaged into expected accuracies.
    Estimate,
    /// The item may be asked in a trace.
    Replay,
}

impl Split {
    /// The rule as written into manifests.
    pub const RULE: &str =
        "lowest bit of the first byte of sha256(\"dataset:item\"): 0 estimate, 1 replay";

    /// The side of item `item` of `dataset`.
    #[must_use]
    pub fn of(dataset: &str, item: impl Into<ItemId>) -> Self {
        let item = item.into();
        let hash = Sha256::digest(format!("{dataset}:{item}"));
        if hash[0] & 1 == 0 { Self::Estimate } else { Self::Replay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_golden_because_committed_traces_depend_on_them() {
        let sides: String = (0..16)
            .map(|item| if Split::of("sciq", item) == Split::Estimate { 'e' } else { 'r' })
            .collect();
        insta::assert_snapshot!(sides, @"erreeererrrereee");
    }

    #[test]
    fn about_half_of_a_dataset_is_on_each_side() {
        let estimate =
            (0..10_000).filter(|&item| Split::of("piqa", item) == Split::Estimate).count();
        assert!((4_800..5_200).contains(&estimate), "{estimate} of 10000");
    }
}
