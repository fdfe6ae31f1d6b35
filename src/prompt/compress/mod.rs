//! Shortens a prompt to a share of its tokens: a file per compressor, one for those that see tokens
//! alone.
//!
//! Contract of every compressor, for a prompt of n tokens and a ratio r:
//! 1. the question is kept whole, so a small r may be out of reach: `tokens` then is the shortest
//!    the compressor can do, and latencies are billed on its real length;
//! 2. otherwise `tokens` has at most ⌊r·n⌋ tokens, and never fewer at a larger r;
//! 3. at 100 % `tokens` are the tokens of [`Dataset::render`], exactly.

pub mod lists;
pub mod score_head;
pub mod spans;
pub(crate) mod structured;
mod tokens;

use serde::{Deserialize, Serialize};

use super::Tokenize;
use super::dataset::{Dataset, Item};
use crate::units::Ratio;

/// A way to choose what of a prompt to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compressor {
    /// Whole shots are dropped, then sentences of the passage: the default.
    Structured,
    /// The tokens nearest to the question are kept.
    Truncate,
    /// Tokens drawn at random are kept, in order.
    Random,
    /// The tokens that surprise the base model most are kept, in order.
    SelfInformation,
    /// Parts of shots, sentences and words are dropped, least worth keeping first, as the tiny
    /// language model's score-head says: see [`score_head`].
    ScoreHead,
    /// The same, but entries of a list are ranked whole, and go before shots: see [`lists`].
    RankedLists,
    /// The steps of `ScoreHead` as a heavier reader scores them: all layers of the encoder, in f32.
    Lingua,
}

impl Compressor {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Structured,
        Self::Truncate,
        Self::Random,
        Self::SelfInformation,
        Self::ScoreHead,
        Self::RankedLists,
        Self::Lingua,
    ];

    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Truncate => "truncate",
            Self::Random => "random",
            Self::SelfInformation => "self-information",
            Self::ScoreHead => "score-head",
            Self::RankedLists => "ranked-lists",
            Self::Lingua => "lingua",
        }
    }

    /// Whether a trained head scores what to keep: [`score_head::compress`] cuts, not [`compress`].
    #[must_use]
    pub const fn is_scored(self) -> bool {
        matches!(self, Self::ScoreHead | Self::RankedLists | Self::Lingua)
    }

    /// Whether [`compress`] needs each token's information.
    #[must_use]
    pub const fn needs_information(self) -> bool {
        matches!(self, Self::SelfInformation)
    }
}

/// What the model reads before an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressedPrompt {
    /// The whole context, question included.
    pub tokens: Vec<u32>,
    /// Length of the uncompressed context, in tokens.
    pub full_tokens: usize,
}

impl CompressedPrompt {
    /// The share of tokens kept, in (0, 1]; above the ratio asked for where that was out of reach.
    #[must_use]
    pub fn reached(&self) -> f64 {
        self.tokens.len() as f64 / self.full_tokens as f64
    }
}

/// Shortens the prompt of `item` to `ratio` of its tokens, under the contract of this module.
///
/// `information` is −ln p (nats) of each token of the full prompt given those before it, aligned
/// with `tokenizer.encode(&dataset.render(item))`; only [`Compressor::SelfInformation`] reads it.
/// `seed` matters to [`Compressor::Random`] alone, which draws anew for each item.
///
/// Compressors that a trained head scores for have a function of their own,
/// [`score_head::compress`].
///
/// # Panics
/// If the compressor needs `information` and it is absent or of another length, or is one that a
/// head scores for.
#[must_use]
pub fn compress(
    compressor: Compressor,
    dataset: &Dataset,
    item: &Item,
    ratio: Ratio,
    tokenizer: &dyn Tokenize,
    information: Option<&[f32]>,
    seed: u64,
) -> CompressedPrompt {
    let full = tokenizer.encode(&dataset.render(item));
    let full_tokens = full.len();
    let budget = full_tokens * usize::from(ratio.thousandths()) / 1000;
    let tokens = match compressor {
        _ if budget == full_tokens => full,
        Compressor::Structured => structured::compress(dataset, item, budget, tokenizer),
        Compressor::Truncate => {
            let region = region(dataset, item, &full, tokenizer);
            tokens::truncate(&full, region, budget)
        }
        Compressor::Random => {
            let region = region(dataset, item, &full, tokenizer);
            let purpose = format!("random compression of {} {}", dataset.name, item.id);
            tokens::random(&full, region, budget, &mut crate::rng::stream(seed, &purpose))
        }
        Compressor::SelfInformation => {
            let region = region(dataset, item, &full, tokenizer);
            let information = information.expect("self-information needs each token's information");
            tokens::self_information(&full, region, budget, information)
        }
        Compressor::ScoreHead | Compressor::RankedLists | Compressor::Lingua => {
            panic!("a head's scores are needed")
        }
    };
    CompressedPrompt { tokens, full_tokens }
}

/// The first text of `candidates`, which start with the full prompt, that fits `budget` tokens, or
/// the shortest if none does.
///
/// Where the candidates do not depend on the budget, a larger one never yields fewer tokens.
fn first_fit(
    candidates: impl Iterator<Item = String>,
    budget: usize,
    tokenizer: &dyn Tokenize,
) -> Vec<u32> {
    let mut shortest: Option<Vec<u32>> = None;
    for text in candidates {
        let tokens = tokenizer.encode(&text);
        if tokens.len() <= budget {
            return tokens;
        }
        if shortest.as_ref().is_none_or(|best| tokens.len() < best.len()) {
            shortest = Some(tokens);
        }
    }
    shortest.expect("the full prompt is a candidate")
}

/// How many tokens at the start of `full` belong to shots and passage alone.
///
/// A tokenizer may split the characters around the start of the question differently once the
/// question follows (the line ends between them, most often). The tokens that `full` shares with
/// the text before the question cannot reach into the question; where they end, nothing is cut.
fn region(dataset: &Dataset, item: &Item, full: &[u32], tokenizer: &dyn Tokenize) -> usize {
    let whole = dataset.render(item);
    let before = &whole[..whole.len() - item.question.len()];
    tokenizer.encode(before).iter().zip(full).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::testing::Words;
    use crate::units::PROMPT_RATIOS;

    fn item(passage: Option<&str>) -> Item {
        Item {
            id: 3,
            passage: passage.map(str::to_owned),
            question: "Question: what melts ice?\nAnswer:".into(),
            options: vec![" heat".into(), " cold".into()],
            gold: 0,
        }
    }

    fn dataset(shots: usize) -> Dataset {
        let shot = |n: usize| format!("Question: shot {n}?\nAnswer:{}\n\n", " yes".repeat(n + 1));
        Dataset { name: "toy".into(), shots: (0..shots).map(shot).collect(), ..Dataset::default() }
    }

    fn kept(compressor: Compressor, percent: u16, information: Option<&[f32]>) -> String {
        let (dataset, item) = (dataset(2), item(Some("Heat melts ice. Birds sing.")));
        let ratio = Ratio::percent(percent);
        let prompt = compress(compressor, &dataset, &item, ratio, &Words, information, 1);
        Words::decode(&prompt.tokens, &dataset.render(&item))
    }

    // The toy prompt, one token per word or run of white space, has 41 tokens:
    // "Question: shot 0?\nAnswer: yes\n\n"        10 (after 10)
    // "Question: shot 1?\nAnswer: yes yes\n\n"    12 (after 22)
    // "Heat melts ice. Birds sing.\n"             10 (after 32)
    // "Question: what melts ice?\nAnswer:"          9 (after 41)
    #[test]
    fn structured_drops_shots_then_sentences_but_never_the_question() {
        let question = "Question: what melts ice?\nAnswer:";
        let shot = "Question: shot 1?\nAnswer: yes yes\n\n";
        for (percent, expected) in [
            (76, format!("{shot}Heat melts ice. Birds sing.\n{question}")), // 31 of 41 tokens
            (75, format!("Heat melts ice. Birds sing.\n{question}")),       // 19
            (46, format!("Heat melts ice.\n{question}")),                   // 15
            (36, question.to_owned()),                                      // 9
            (10, question.to_owned()),
        ] {
            assert_eq!(kept(Compressor::Structured, percent, None), expected, "{percent} %");
        }
    }

    #[test]
    fn truncate_keeps_the_words_before_the_question() {
        assert_eq!(
            kept(Compressor::Truncate, 30, None), // 12 tokens: 9 of the question and 3 more
            " sing.\nQuestion: what melts ice?\nAnswer:"
        );
    }

    #[test]
    fn self_information_keeps_the_most_surprising_words_in_order() {
        let mut information = [0.0; 41];
        (information[22], information[4], information[40]) = (7.0, 5.0, 9.0);
        assert_eq!(
            kept(Compressor::SelfInformation, 27, Some(&information)), // 11 tokens: 2 besides
            "0?HeatQuestion: what melts ice?\nAnswer:"
        );
    }

    #[test]
    #[should_panic(expected = "each token's information")]
    fn self_information_without_information_is_a_mistake_of_the_program() {
        kept(Compressor::SelfInformation, 50, None);
    }

    #[test]
    fn random_choice_differs_by_seed_and_item_and_repeats_under_the_same() {
        let dataset = dataset(5);
        let run = |seed, id| {
            let item = Item { id, ..item(None) };
            compress(Compressor::Random, &dataset, &item, Ratio::percent(50), &Words, None, seed)
        };
        assert_eq!(run(1, 1), run(1, 1));
        assert_ne!(run(1, 1), run(2, 1));
        assert_ne!(run(1, 1), run(1, 2));
    }

    #[test]
    fn compressors_are_named_in_files_as_on_the_command_line() {
        for compressor in Compressor::ALL {
            let json = serde_json::to_string(&compressor).unwrap();
            assert_eq!(json, format!("\"{}\"", compressor.name()));
        }
    }

    proptest! {
        #[test]
        fn every_compressor_keeps_its_contract(
            shots in 0_usize..6,
            passage in proptest::option::of("([a-z]{1,4}[.]? ){1,12}[a-z]"),
            seed: u64,
            noise in proptest::collection::vec(0.0_f32..9.0, 256),
        ) {
            let (dataset, item) = (dataset(shots), item(passage.as_deref()));
            let full = Words.encode(&dataset.render(&item));
            let question = Words.encode(&item.question);
            for compressor in Compressor::ALL.into_iter().filter(|c| !c.is_scored()) {
                let mut shorter = 0;
                for ratio in PROMPT_RATIOS {
                    let information = &noise[..full.len()];
                    let prompt = compress(
                        compressor, &dataset, &item, ratio, &Words, Some(information), seed,
                    );
                    let length = prompt.tokens.len();
                    let budget = full.len() * usize::from(ratio.thousandths()) / 1000;
                    prop_assert_eq!(prompt.full_tokens, full.len());
                    prop_assert!(length <= budget.max(question.len()), "{:?}", compressor);
                    prop_assert!(length >= shorter, "{:?} at {}", compressor, ratio);
                    prop_assert!(prompt.tokens.ends_with(&question));
                    shorter = length;
                    if ratio == Ratio::ONE {
                        prop_assert_eq!(&prompt.tokens, &full);
                    }
                }
            }
        }
    }
}
