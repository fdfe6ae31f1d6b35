//! Which items a trace may draw.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::profile::{PromptLengths, Split};
use crate::results::AnsweredItems;
use crate::trace::{ItemPool, PooledItem};
use crate::units::Ratio;

/// The items of the [`Split::Replay`] half in the prompt-length file `path`, by dataset, with the
/// lengths of their full prompts.
///
/// # Errors
/// If `path` cannot be read as prompt lengths.
pub fn item_pools(path: &Path) -> Result<Vec<ItemPool>> {
    pools(path, Ratio::ONE, AnsweredItems::Whole, None)
}

/// The same, with the lengths of prompts that come shortened to `whole`; if `answers` says so,
/// followed by items of which only what was asked for is measured; of each dataset the first `most`
/// items.
///
/// # Errors
/// As [`item_pools`].
pub(super) fn pools(
    path: &Path,
    whole: Ratio,
    answers: AnsweredItems,
    most: Option<usize>,
) -> Result<Vec<ItemPool>> {
    let [measured, further] = PromptLengths::of_file(path)?;
    let whole = measured.place_of(whole, path.display())?;
    let further = Some(further).filter(|_| answers == AnsweredItems::Asked);
    let files = [Some(measured), further];
    let mut pools = BTreeMap::<&str, Vec<PooledItem>>::new();
    for (dataset, item, tokens) in files.iter().flatten().flat_map(PromptLengths::iter) {
        let pool = pools.entry(dataset).or_default();
        // An item may have been measured whole after it was asked for.
        let is_new = pool.iter().all(|pooled| pooled.item != item);
        let has_room = most.is_none_or(|most| pool.len() < most);
        if Split::of(dataset, item) == Split::Replay && is_new && has_room {
            pool.push(PooledItem { item, prompt_tokens: tokens[whole] });
        }
    }
    pools.retain(|_, items| !items.is_empty());
    let pool = |(dataset, items): (&str, _)| ItemPool { dataset: dataset.to_owned(), items };
    Ok(pools.into_iter().map(pool).collect())
}

/// `pools` but for those of the datasets `without`.
///
/// # Errors
/// If there is no pool of one of them, or none is left.
pub fn drawn_from(mut pools: Vec<ItemPool>, without: &[String]) -> Result<Vec<ItemPool>> {
    let wrong = |problem: &str, pools: &[ItemPool]| {
        let known: Vec<&str> = pools.iter().map(|pool| pool.dataset.as_str()).collect();
        let error = Error::new("trace", problem).at("key \"without\"").found(without.join(", "));
        Err(error.allowed(format!("some of {}, not all", known.join(", "))))
    };
    let is_there = |name: &String| pools.iter().any(|pool| pool.dataset == *name);
    if !without.iter().all(is_there) {
        return wrong("no such dataset", &pools);
    }
    let all = pools.clone();
    pools.retain(|pool| !without.contains(&pool.dataset));
    if pools.is_empty() && !all.is_empty() {
        return wrong("no dataset is left", &all);
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemId;

    #[test]
    fn a_dataset_that_is_not_drawn_from_is_left_out_and_one_that_is_not_there_is_named() {
        let pool = |name: &str| ItemPool { dataset: name.to_owned(), items: Vec::new() };
        let all = || vec![pool("piqa"), pool("screens")];
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(drawn_from(all(), &[]).unwrap(), all());
        assert_eq!(drawn_from(all(), &names(&["screens"])).unwrap(), [pool("piqa")]);
        let message =
            |without: &[&str]| drawn_from(all(), &names(without)).unwrap_err().to_string();
        assert_eq!(
            message(&["sciq"]),
            "trace, key \"without\": no such dataset; found sciq; allowed: some of piqa, screens, \
             not all"
        );
        assert!(message(&["piqa", "screens"]).contains("no dataset is left"));
    }

    #[test]
    fn pools_hold_the_replay_half_with_the_length_of_the_full_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let mut lengths = PromptLengths::default();
        for item in 0..16 {
            lengths.insert("sciq", item, [1, 2, 3, 4, 5, 6, 7, 8, 9, 100 + item]);
        }
        lengths.save(folder.path(), "structured").unwrap();
        let pools = item_pools(&folder.path().join("structured.tokens.csv")).unwrap();
        assert_eq!(pools.len(), 1);
        let replayed: Vec<_> = pools[0].items.iter().map(|pooled| pooled.item).collect();
        assert_eq!(replayed, [1, 2, 6, 8, 9, 10, 12], "the golden split of sciq");
        assert_eq!(pools[0].items[0].prompt_tokens, 101);
    }

    #[test]
    fn items_that_were_not_measured_whole_come_last_and_only_where_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let (mut lengths, mut further) = (PromptLengths::default(), PromptLengths::default());
        for item in [6, 9, 12] {
            lengths.insert("sciq", item, [10; 10]);
        }
        for item in [0, 1, 2, 6] {
            further.insert("sciq", item, [20; 10]);
        }
        lengths.save(folder.path(), "structured").unwrap();
        further.save_further(folder.path(), "structured").unwrap();
        let path = folder.path().join("structured.tokens.csv");
        let items = |answers, most| -> Vec<ItemId> {
            let pools = pools(&path, Ratio::ONE, answers, most).unwrap();
            pools[0].items.iter().map(|pooled| pooled.item).collect()
        };
        assert_eq!(items(AnsweredItems::Whole, None), [6, 9, 12]);
        assert_eq!(items(AnsweredItems::Asked, None), [6, 9, 12, 1, 2], "0 is an estimate item");
        assert_eq!(items(AnsweredItems::Asked, Some(4)), [6, 9, 12, 1]);
        PromptLengths::default().save(folder.path(), "structured").unwrap();
        further.save_further(folder.path(), "structured").unwrap();
        assert_eq!(items(AnsweredItems::Asked, None), [1, 2, 6]);
    }

    #[test]
    fn the_name_of_the_file_does_not_count_and_what_stands_in_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut lengths = PromptLengths::default();
        lengths.insert("sciq", 1, [10; 10]);
        lengths.save(folder.path(), "structured").unwrap();
        let copy = folder.path().join("mine");
        std::fs::copy(folder.path().join("structured.tokens.csv"), &copy).unwrap();
        assert_eq!(item_pools(&copy).unwrap()[0].items[0].item, 1);
        std::fs::write(&copy, "dataset,item\n").unwrap();
        let message = item_pools(&copy).unwrap_err().to_string();
        assert!(message.contains("line 1: unexpected columns; found dataset,item"), "{message}");
    }
}
