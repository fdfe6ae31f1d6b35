//! Drops whole shots from the front, then the passage's sentences that share least with the
//! question.
//!
//! Shots go first because they are the cheapest to lose: measured on SmolLM2-135M, the first
//! three of five cost no accuracy, whereas each cut of the passage costs some. What is left is
//! always well-formed text in the prompt's format.

use std::collections::BTreeSet;

use super::super::Tokenize;
use super::super::dataset::{Dataset, Item};
use super::spans;

/// Words that say nothing about a question's subject.
pub(super) const FUNCTION_WORDS: [&str; 40] = [
    "a", "an", "and", "answer", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from",
    "has", "have", "how", "in", "is", "it", "its", "of", "on", "or", "question", "that", "the",
    "their", "these", "they", "this", "to", "was", "what", "when", "where", "which", "who", "why",
    "with",
];

/// The first text of [`candidates`] that fits `budget` tokens, or the shortest if none does.
pub(super) fn compress(
    dataset: &Dataset,
    item: &Item,
    budget: usize,
    tokenizer: &dyn Tokenize,
) -> Vec<u32> {
    super::first_fit(candidates(dataset, item), budget, tokenizer)
}

/// Ever shorter prompts: one shot fewer each time, then one sentence fewer, down to the question.
fn candidates<'a>(dataset: &'a Dataset, item: &'a Item) -> impl Iterator<Item = String> + 'a {
    let fewer_shots =
        (0..=dataset.shots.len()).map(|dropped| dataset.shots[dropped..].concat() + &item.text());
    let fewer_sentences = shorter_passages(item).into_iter().map(|passage| {
        if passage.is_empty() {
            item.question.clone()
        } else {
            format!("{passage}\n{}", item.question)
        }
    });
    fewer_shots.chain(fewer_sentences)
}

/// The passage without its least relevant sentence, without its two least relevant ones, …, empty.
///
/// Relevance is the number of different words shared with the question, function words aside; of
/// equally relevant sentences the later goes first, for a passage tends to open with its subject.
fn shorter_passages(item: &Item) -> Vec<String> {
    let passage = item.passage.as_deref().unwrap_or_default();
    let sentences: Vec<&str> =
        spans::sentences(passage).into_iter().map(|bytes| &passage[bytes]).collect();
    let question = words(&item.question);
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|&index| {
        let shared = words(sentences[index]).intersection(&question).count();
        (shared, std::cmp::Reverse(index))
    });
    (1..=sentences.len())
        .map(|dropped| {
            let mut kept = order[dropped..].to_vec();
            kept.sort_unstable();
            kept.into_iter()
                .map(|index| sentences[index])
                .collect::<Vec<_>>()
                .join(spans::between(passage))
        })
        .collect()
}

/// The different words of `text` in lower case, without function words and plural s.
pub fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !FUNCTION_WORDS.contains(&word.as_str()))
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() >= 3 => stem.to_owned(),
            _ => word,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ignore_case_plural_and_function_words() {
        let expected: BTreeSet<_> = ["gas", "plant", "move"].map(str::to_owned).into();
        assert_eq!(words("The Plants, a gas: plant MOVE"), expected);
    }

    #[test]
    fn sentences_that_share_least_with_the_question_go_first_and_the_later_of_equals() {
        let item = Item {
            id: 0,
            passage: Some("Rocks are old. Heat melts ice. Ice floats. Birds sing.".into()),
            question: "Question: What melts ice?\nAnswer:".into(),
            options: vec![" heat".into(), " cold".into()],
            gold: 0,
        };
        // Shared words: 0, 2 (melt, ice), 1 (ice), 0.
        assert_eq!(
            shorter_passages(&item),
            [
                "Rocks are old. Heat melts ice. Ice floats.",
                "Heat melts ice. Ice floats.",
                "Heat melts ice.",
                ""
            ]
        );
    }
}
