//! Shortens the list that a request chooses from, entry by entry, the least like the question
//! first.
//!
//! A list is a passage of several lines ([`spans::sentences`]): the functions of an API call, the
//! elements of a screen. What an entry is worth is a matter of the whole entry, not of its pieces,
//! and most entries are worth nothing: so they go before the shots do, but for the few that
//! [`RankedList::kept`] says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::dataset::{Dataset, Item};
use super::score_head::{ShotPart, shorter_shots};
use super::spans;
use super::structured::FUNCTION_WORDS;

/// Letters of a word that tell it from others: endings differ.
const STEM_LETTERS: usize = 5;

/// What the overlap counts for beside the encoder's cosine in [`Ranking::Mixed`].
const OVERLAP_WEIGHT: f32 = 0.1;

/// How entries of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranking {
    /// Cosine of what the encoder makes of question and entry, and a tenth of their overlap.
    Mixed,
    /// The cosine alone.
    Encoder,
    /// [`overlap`] alone.
    Overlap,
    /// The score-head's mean probability over the entry's pieces.
    Mean,
    /// Its highest one.
    Maximum,
}

impl Ranking {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Mixed, Self::Encoder, Self::Overlap, Self::Mean, Self::Maximum];

    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Encoder => "encoder",
            Self::Overlap => "overlap",
            Self::Mean => "mean",
            Self::Maximum => "maximum",
        }
    }
}

/// The list of one prompt, its entries ranked.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedList {
    /// What each entry is worth, in the list's order.
    pub worth: Vec<f32>,
    /// Entries that stay while there are shots.
    pub kept: usize,
}

/// Whether `passage` is a list.
#[must_use]
pub fn is_list(passage: &str) -> bool {
    passage.contains('\n')
}

/// The entries of the list `passage`.
#[must_use]
pub fn entries(passage: &str) -> Vec<&str> {
    spans::sentences(passage).into_iter().map(|bytes| &passage[bytes]).collect()
}

/// What a question asks: without the words that every question has around it.
#[must_use]
pub fn asked(question: &str) -> &str {
    let question = question.strip_suffix("\nAnswer:").unwrap_or(question);
    question.split_once(": ").map_or(question, |(_, asked)| asked)
}

/// `entry` with the parts of names such as `math.circle_area` as words.
#[must_use]
pub fn in_words(entry: &str) -> String {
    entry.replace(['_', '.'], " ")
}

/// By entry: the weights of the word stems that it shares with `question`, summed, over the square
/// root of one more than its words.
///
/// A stem is a word's first five letters or digits. It weighs ln((1 + entries) / entries with it):
/// what all entries say tells none from the others.
#[must_use]
pub fn overlap(question: &str, entries: &[&str]) -> Vec<f32> {
    let question = stems(asked(question));
    let stems: Vec<BTreeSet<String>> = entries.iter().map(|entry| stems(entry)).collect();
    let weight = |stem: &String| {
        let with = stems.iter().filter(|others| others.contains(stem)).count();
        ((1 + entries.len()) as f32 / with as f32).ln()
    };
    let worth = |own: &BTreeSet<String>| {
        let shared: f32 = own.intersection(&question).map(weight).sum();
        shared / ((1 + own.len()) as f32).sqrt()
    };
    stems.iter().map(worth).collect()
}

/// The different stems of `text`, function words aside.
fn stems(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !FUNCTION_WORDS.contains(&word.as_str()))
        .map(|word| word.chars().take(STEM_LETTERS).collect())
        .collect()
}

/// The worth of entries by [`Ranking::Mixed`].
#[must_use]
pub fn mixed(cosines: &[f32], overlaps: &[f32]) -> Vec<f32> {
    let pairs = cosines.iter().zip(overlaps);
    pairs.map(|(cosine, overlap)| cosine + OVERLAP_WEIGHT * overlap).collect()
}

/// Places of the entries, the worthiest first; of equals the earlier.
#[must_use]
pub fn best_first(worth: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..worth.len()).collect();
    order.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]));
    order
}

/// Ever shorter prompts: the full one, one entry fewer down to those kept, one more step of the
/// shots, the entries left, one word fewer of the last from its end, down to the question.
///
/// # Panics
/// If `list` has not as many entries as the passage.
pub(super) fn candidates<'a>(
    dataset: &'a Dataset,
    item: &'a Item,
    steps: &'a [ShotPart],
    list: &'a RankedList,
) -> impl Iterator<Item = String> + 'a {
    let entries = entries(item.passage.as_deref().unwrap_or_default());
    assert_eq!(entries.len(), list.worth.len(), "a worth for each entry");
    let order = best_first(&list.worth);
    let shortened = move |count: usize| {
        let mut best = order[..count].to_vec();
        best.sort_unstable();
        best.into_iter().map(|index| entries[index]).collect::<Vec<_>>().join("\n")
    };
    let kept = list.kept.clamp(1, list.worth.len());
    let passage = item.passage.clone().expect("a list");
    let prompt = move |steps: &[ShotPart], passage: &str| {
        let line_end = if passage.is_empty() { "" } else { "\n" };
        format!("{}{passage}{line_end}{}", shorter_shots(dataset, steps), item.question)
    };
    let stages = (kept..=list.worth.len()).rev().map(|count| (0, count));
    let stages = stages.chain((1..=steps.len()).map(move |gone| (gone, kept)));
    let stages = stages.chain((1..kept).rev().map(|count| (steps.len(), count)));
    let best = shortened(1);
    let words = spans::words(&best);
    let starts = words.iter().skip(1).rev().map(|word| best[..word.start].trim_end().to_owned());
    let shorter: Vec<String> = starts.chain([String::new()]).collect();
    let all = list.worth.len();
    let longer = stages.map(move |(gone, count)| {
        let text = if count == all { passage.clone() } else { shortened(count) };
        prompt(&steps[..gone], &text)
    });
    longer.chain(shorter.into_iter().map(move |text| prompt(steps, &text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::score_head::{self, KeepScores, Part};
    use super::*;
    use crate::prompt::Tokenize;
    use crate::prompt::testing::Words;
    use crate::units::{PROMPT_RATIOS, Ratio};

    const QUESTION: &str = "Question: What is the area of a circle?\nAnswer:";
    const LIST: &str = "get_time: Tells the time.\nmath.circle_area: Finds areas.\nplay: Plays.";

    fn item(passage: &str) -> Item {
        Item {
            id: 0,
            passage: Some(passage.into()),
            question: QUESTION.into(),
            options: vec![" get_time".into(), " math.circle_area".into(), " play".into()],
            gold: 1,
        }
    }

    fn dataset() -> Dataset {
        let shot = |n| format!("Question: shot {n}?\nAnswer: f{n}\n\n");
        Dataset { shots: (0..2).map(shot).collect(), ..Dataset::default() }
    }

    fn whole(shot: usize) -> ShotPart {
        ShotPart { shot, part: Part::Whole }
    }

    #[test]
    fn overlap_weighs_rare_stems_and_counts_the_words_they_stand_among() {
        // Stems of the question: area, circl. The second entry has math, circl, area, finds, areas:
        // two of them, each in one of three entries, ln(4/1) each, over the root of 6.
        let found = overlap(QUESTION, &entries(LIST));
        assert_eq!((found[0], found[2]), (0.0, 0.0));
        assert!((found[1] - 2.0 * 4.0_f32.ln() / 6.0_f32.sqrt()).abs() < 1e-6, "{found:?}");
        // A word of all entries weighs ln(3/2) of two, not ln(3).
        let common = overlap("Question: play\nAnswer:", &["play a", "play b"]);
        assert!((common[0] - 1.5_f32.ln() / 2.0_f32.sqrt()).abs() < 1e-6, "{common:?}");
    }

    #[test]
    fn names_are_read_as_words_and_questions_without_what_all_have() {
        assert_eq!(in_words("math.circle_area: Finds"), "math circle area: Finds");
        assert_eq!(asked(QUESTION), "What is the area of a circle?");
        assert_eq!(asked("no form"), "no form");
    }

    #[test]
    fn the_worthiest_come_first_and_of_equals_the_earlier() {
        assert_eq!(best_first(&[0.1, 0.5, 0.1, 0.9]), [3, 1, 0, 2]);
        assert_eq!(mixed(&[0.5, 0.2], &[0.0, 4.0]), [0.5, 0.6]);
    }

    #[test]
    fn rankings_are_named_in_tables_as_on_the_command_line() {
        for ranking in Ranking::ALL {
            let json = serde_json::to_string(&ranking).unwrap();
            assert_eq!(json, format!("\"{}\"", ranking.name()));
        }
    }

    fn kept(list: &RankedList) -> Vec<String> {
        let (dataset, item) = (dataset(), item(LIST));
        let steps = [whole(1), whole(0)];
        let texts = candidates(&dataset, &item, &steps, list);
        texts.map(|text| text.strip_suffix(QUESTION).unwrap().to_owned()).collect()
    }

    #[test]
    fn entries_go_first_then_shots_then_what_is_left_word_by_word_from_its_end() {
        let Dataset { shots, .. } = dataset();
        let (time, area) = ("get_time: Tells the time.", "math.circle_area: Finds areas.");
        let two = RankedList { worth: vec![0.4, 0.9, 0.1], kept: 2 };
        let both = format!("{time}\n{area}\n");
        assert_eq!(
            kept(&two),
            [
                format!("{}{}{LIST}\n", shots[0], shots[1]),
                format!("{}{}{both}", shots[0], shots[1]),
                format!("{}{both}", shots[0]),
                both,
                format!("{area}\n"),
                "math.circle_area: Finds\n".to_owned(),
                "math.circle_area:\n".to_owned(),
                String::new(),
            ]
        );
    }

    #[test]
    fn more_entries_kept_than_there_are_means_that_shots_go_first() {
        let all = kept(&RankedList { worth: vec![0.4, 0.9, 0.1], kept: 40 });
        assert_eq!(
            (&*all[1], &*all[2]),
            (&*format!("{}{LIST}\n", dataset().shots[0]), &*format!("{LIST}\n"))
        );
        assert_eq!(all[3], "get_time: Tells the time.\nmath.circle_area: Finds areas.\n");
    }

    proptest! {
        #[test]
        fn the_contract_of_compressors_holds(
            lines in proptest::collection::vec("[a-z_]{1,8}: [a-z]{1,4}( [a-z]{1,4}){0,5}", 2..9),
            worth in proptest::collection::vec(0.0_f32..1.0, 9),
            kept in 1_usize..12,
        ) {
            let (dataset, item) = (dataset(), item(&lines.join("\n")));
            let list = Some(RankedList { worth: worth[..lines.len()].to_vec(), kept });
            let scores = KeepScores { list, ..KeepScores::default() };
            let (full, question) = (Words.encode(&dataset.render(&item)), Words.encode(QUESTION));
            let mut shorter = 0;
            for ratio in PROMPT_RATIOS {
                let prompt = score_head::compress(&dataset, &item, ratio, &Words, &scores);
                let length = prompt.tokens.len();
                let budget = full.len() * usize::from(ratio.thousandths()) / 1000;
                prop_assert!(length <= budget.max(question.len()));
                prop_assert!(length >= shorter);
                prop_assert!(prompt.tokens.ends_with(&question));
                shorter = length;
                if ratio == Ratio::ONE {
                    prop_assert_eq!(&prompt.tokens, &full);
                }
            }
        }
    }
}
