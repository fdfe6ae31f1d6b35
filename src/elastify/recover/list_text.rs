//! Text of requests that choose from lists: short lists, as cut prompts have them, and longer ones.
//!
//! A prompt is the list, maybe shots before it, the request and the right answer. The list keeps
//! the entries most like the request, by [`overlap`], and always the right one: an answer that is
//! not on its list would teach to make names up.

use crate::prompt::compress::lists::{best_first, entries, is_list, overlap};
use crate::prompt::{Dataset, Item, Tokenize};

/// Entries that lists keep, in turns.
const KEPT: [usize; 4] = [1, 2, 4, 20];

/// Shots before the lists of every other round.
const SHOTS: usize = 2;

/// Prompts with their answers, of the training items of `dataset` that have a list: every item once
/// a round, with another number of entries in each. None is longer than `tokens_max`; what would be
/// has no shots, then fewer entries, and is left out if one is too long.
pub(super) fn texts(dataset: &Dataset, tokenizer: &dyn Tokenize, tokens_max: usize) -> Vec<String> {
    let items: Vec<&Item> = dataset.training.iter().filter(|item| list(item).is_some()).collect();
    let mut texts = Vec::new();
    for round in 0..KEPT.len() {
        for (nth, item) in items.iter().enumerate() {
            let turn = (nth + round) % KEPT.len();
            let shots = if round % 2 == 1 { shots(dataset, nth) } else { String::new() };
            let longest_first = KEPT[..=turn].iter().rev().map(|&kept| answered(item, kept));
            let longest_first: Vec<String> = longest_first.collect();
            let with_shots = std::iter::once(shots + &longest_first[0]);
            let mut tried = with_shots.chain(longest_first.iter().cloned());
            texts.extend(tried.find(|text| tokenizer.encode(text).len() <= tokens_max));
        }
    }
    texts
}

fn list(item: &Item) -> Option<&str> {
    item.passage.as_deref().filter(|passage| is_list(passage))
}

/// The shots before the `nth` list.
fn shots(dataset: &Dataset, nth: usize) -> String {
    dataset
        .shots
        .iter()
        .cycle()
        .skip(nth % dataset.shots.len().max(1))
        .take(SHOTS)
        .cloned()
        .collect()
}

/// `item` with `kept` entries of its list, and its answer.
fn answered(item: &Item, kept: usize) -> String {
    let entries = entries(list(item).unwrap_or_default());
    let mut order = best_first(&overlap(&item.question, &entries));
    let right = order.iter().position(|&entry| entry == item.gold).expect("an entry per option");
    let kept = kept.min(entries.len());
    order.swap(right.min(kept - 1), right);
    order.truncate(kept);
    order.sort_unstable();
    let lines: Vec<&str> = order.into_iter().map(|entry| entries[entry]).collect();
    format!("{}\n{}{}", lines.join("\n"), item.question, item.options[item.gold])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::testing::Words;

    /// The request shares a stem with the third entry; the right one is the second.
    fn item() -> Item {
        Item {
            id: 7,
            passage: Some("get_time: Tells.\nplay: Plays.\narea: Finds areas.".into()),
            question: "Question: Which area?\nAnswer:".into(),
            options: vec![" get_time".into(), " play".into(), " area".into()],
            gold: 1,
        }
    }

    fn dataset() -> Dataset {
        let shots = (0..3).map(|n| format!("Question: s{n}?\nAnswer: f\n\n")).collect();
        let mut plain = item();
        plain.passage = None;
        Dataset { shots, training: vec![item(), plain], ..Dataset::default() }
    }

    #[test]
    fn the_entries_most_like_the_request_stay_and_the_right_one_always() {
        let question = "Question: Which area?\nAnswer: play";
        assert_eq!(answered(&item(), 1), format!("play: Plays.\n{question}"));
        let two = answered(&item(), 2);
        assert_eq!(two, format!("play: Plays.\narea: Finds areas.\n{question}"));
        assert!(answered(&item(), 20).starts_with("get_time: Tells.\nplay: Plays.\narea:"));
    }

    #[test]
    fn each_list_comes_once_a_round_with_shots_in_every_other() {
        let texts = texts(&dataset(), &Words, 1000);
        let entries = texts.iter().map(|text| text.matches(": ").count());
        // One line of the request, one of the answer, and two of either in the shots of round 2, 4.
        assert_eq!(entries.collect::<Vec<_>>(), [3, 8, 5, 9]);
        assert!(texts[1].starts_with("Question: s0?\nAnswer: f\n\nQuestion: s1?"), "{}", texts[1]);
    }

    #[test]
    fn a_text_that_is_too_long_loses_shots_then_entries_and_is_left_out_at_last() {
        let lengths = |max| {
            let texts = texts(&dataset(), &Words, max);
            texts.iter().map(|text| Words.encode(text).len()).collect::<Vec<_>>()
        };
        let free = lengths(1000);
        let shortest = free[0];
        assert!(lengths(shortest).iter().all(|&length| length == shortest), "{free:?}");
        assert_eq!(lengths(shortest).len(), 4);
        assert!(lengths(shortest - 1).is_empty());
    }
}
