//! How far a dataset's lists are best shortened before its shots are: tried on questions that are
//! never scored.

use crate::engine::scorer::{self, Task};
use crate::error::Result;
use crate::model::ElasticModel;
use crate::model::tlm::list_file::Tried;
use crate::model::tlm::score_head::ScoreHead;
use crate::prompt::compress::score_head;
use crate::prompt::{Dataset, Item, Tokenize};
use crate::units::{Level, Ratio};

/// Numbers of entries that are tried to stay while there are shots. Lists are no longer than the
/// last: with it, shots go first.
pub const KEPT_TRIED: [usize; 4] = [1, 2, 4, 40];

/// Ratios that prompts are cut to: where the number makes a difference.
const RATIOS_PERCENT: [u16; 4] = [10, 20, 30, 50];

/// What the full model makes of prompts of `items`, all with lists that `head` ranks, for each of
/// [`KEPT_TRIED`]; `report` is called after each item.
///
/// # Errors
/// If inference fails.
///
/// # Panics
/// If an item has no list, or the head ranks none.
pub fn try_all(
    model: &mut ElasticModel,
    head: &mut ScoreHead,
    dataset: &Dataset,
    items: &[&Item],
    report: &mut dyn FnMut(),
) -> Result<Vec<Tried>> {
    let mut sums = KEPT_TRIED.map(|kept| Tried { kept, gold: 0.0, right: 0.0 });
    let prompts = (items.len() * RATIOS_PERCENT.len()) as f64;
    for item in items {
        let mut scores = head.scores(dataset, item)?;
        let options: Vec<Vec<u32>> =
            item.options.iter().map(|option| model.tokenizer.encode(option)).collect();
        let mut contexts: Vec<Vec<u32>> = Vec::new();
        let mut read_by: Vec<(usize, usize)> = Vec::new();
        for (tried, kept) in KEPT_TRIED.into_iter().enumerate() {
            scores.list.as_mut().expect("a ranked list").kept = kept;
            for percent in RATIOS_PERCENT {
                let ratio = Ratio::percent(percent);
                let tokenizer = &model.tokenizer;
                let tokens = score_head::compress(dataset, item, ratio, tokenizer, &scores).tokens;
                let known = contexts.iter().position(|context| *context == tokens);
                read_by.push((tried, known.unwrap_or(contexts.len())));
                if known.is_none() {
                    contexts.push(tokens);
                }
            }
        }
        let task = |context| Task { context, options: options.clone() };
        let tasks: Vec<Task> = contexts.into_iter().map(task).collect();
        let read =
            scorer::score(&mut model.engine, Level::FULL, &tasks.iter().collect::<Vec<_>>())?;
        for (tried, context) in read_by {
            let scores = read[context].by(dataset.scoring);
            sums[tried].gold += scorer::softmax(&scores, item.gold).ln() / prompts;
            if scorer::best(&scores) == item.gold {
                sums[tried].right += 1.0 / prompts;
            }
        }
        report();
    }
    Ok(sums.into())
}

/// The best of `tried`: the most right answers, of equals the fewest entries. The mean ln p would
/// be decided by the few lists whose right entry is gone.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn best(tried: &[Tried]) -> usize {
    let best = tried.iter().rev().max_by(|a, b| a.right.total_cmp(&b.right));
    best.expect("something was tried").kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_decide_and_of_equals_the_fewest_entries() {
        let tried = |kept, right| Tried { kept, gold: -(kept as f64), right };
        assert_eq!(best(&[tried(1, 0.25), tried(2, 0.75), tried(4, 0.5)]), 2);
        assert_eq!(best(&[tried(1, 0.75), tried(2, 0.75), tried(4, 0.5)]), 1);
    }
}
