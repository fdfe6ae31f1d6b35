//! Which of the questions that are never scored the score-head learns from, and which it is chosen
//! by.

use crate::prompt::{Dataset, Item};

/// Every so many-th question is for validation.
const VALIDATION_EVERY: usize = 4;

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Learned from.
    Train,
    /// Chosen by, never learned from.
    Validation,
}

/// The first `count` questions of `part` among the questions of `dataset` that are never scored;
/// where the dataset has passages, only those with one.
#[must_use]
pub fn items(dataset: &Dataset, part: Part, count: usize) -> Vec<&Item> {
    let with_passage = dataset.training.iter().any(|item| item.passage.is_some());
    let eligible = dataset.training.iter().filter(|item| item.passage.is_some() == with_passage);
    let of_part = eligible.enumerate().filter(|(index, _)| {
        let validation = (index + 1).is_multiple_of(VALIDATION_EVERY);
        validation == (part == Part::Validation)
    });
    of_part.map(|(_, item)| item).take(count).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::prompt::testing::wheel;

    #[test]
    fn train_validation_shots_and_scored_items_share_no_question() {
        let (_folder, path) = wheel(400);
        for name in Dataset::names() {
            let dataset = Dataset::load(&path, name).unwrap();
            let mut seen: BTreeSet<&str> = dataset.items.iter().map(|i| &*i.question).collect();
            let scored: BTreeSet<u32> = dataset.items.iter().map(|item| item.id).collect();
            for part in [Part::Train, Part::Validation] {
                let items = items(&dataset, part, usize::MAX);
                assert!(!items.is_empty());
                for item in items {
                    assert!(seen.insert(&item.question), "{name}: {}", item.question);
                    // Where there is one split, its numbers identify questions.
                    assert!(name != "sciq" || !scored.contains(&item.id));
                    assert!(dataset.shots.iter().all(|shot| !shot.contains(&item.question)));
                }
            }
        }
    }

    #[test]
    fn a_quarter_is_for_validation() {
        let item =
            |id| Item { id, question: id.to_string(), options: vec![], gold: 0, passage: None };
        let dataset = Dataset { training: (0..8).map(item).collect(), ..Dataset::default() };
        let ids = |part| items(&dataset, part, 10).iter().map(|item| item.id).collect::<Vec<_>>();
        assert_eq!(ids(Part::Validation), [3, 7]);
        assert_eq!(ids(Part::Train), [0, 1, 2, 4, 5, 6]);
    }
}
