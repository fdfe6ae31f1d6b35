//! Drops what the tiny language model's score-head finds least worth keeping, in three rounds:
//! parts of shots, then sentences of the passage, then words of its last sentence.
//!
//! *Shots do not depend on the item.* They are an app's template, the same in every request, and
//! what a shot is worth differs little from question to question. So the order in which their parts
//! go is settled once per dataset, offline, over many questions ([`ShotPart`]). At a given length
//! every request then starts with the same tokens, which can be read once and kept, in serving as
//! in profiling; and no shot has to be read by the score-head when a request comes.
//!
//! *The passage depends on the question*, so its pieces are scored for the very request. A span is
//! worth the mean probability of its pieces. `Question:` and `Answer:` lines stay whole: a broken
//! format costs more than its tokens save.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::super::Tokenize;
use super::super::dataset::{Dataset, Item};
use super::lists::{self, RankedList};
use super::{CompressedPrompt, first_fit, spans};
use crate::units::Ratio;

/// What of a shot is dropped in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Its passage; question and answer stay.
    Passage,
    /// All that is left of it.
    Whole,
}

/// A step of shortening the shots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShotPart {
    /// Index of the shot.
    pub shot: usize,
    /// What goes.
    pub part: Part,
}

/// What is worth keeping of one prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeepScores {
    /// Steps of shortening the shots, first to last. Shots that it does not name go after these,
    /// front first.
    pub shots: Vec<ShotPart>,
    /// Probability that a piece of the passage is worth keeping, with the passage's bytes that it
    /// stands for.
    pub passage: Vec<(Range<usize>, f32)>,
    /// The entries of the passage, if it is a list and its entries are ranked.
    pub list: Option<RankedList>,
}

impl KeepScores {
    /// Mean probability of the pieces that share bytes with `span`; 0 without any.
    #[must_use]
    pub fn mean(&self, span: &Range<usize>) -> f32 {
        match self.inside(span).count() {
            0 => 0.0,
            count => self.inside(span).sum::<f32>() / count as f32,
        }
    }

    /// Highest probability of these pieces; 0 without any.
    #[must_use]
    pub fn maximum(&self, span: &Range<usize>) -> f32 {
        self.inside(span).fold(0.0, f32::max)
    }

    fn inside(&self, span: &Range<usize>) -> impl Iterator<Item = f32> {
        let shares = |bytes: &Range<usize>| bytes.start < span.end && span.start < bytes.end;
        self.passage.iter().filter(move |(bytes, _)| shares(bytes)).map(|&(_, value)| value)
    }
}

/// Shortens the prompt of `item` to `ratio` of its tokens, under the contract of
/// [`super`](super#).
#[must_use]
pub fn compress(
    dataset: &Dataset,
    item: &Item,
    ratio: Ratio,
    tokenizer: &dyn Tokenize,
    scores: &KeepScores,
) -> CompressedPrompt {
    let full = tokenizer.encode(&dataset.render(item));
    let full_tokens = full.len();
    let budget = full_tokens * usize::from(ratio.thousandths()) / 1000;
    let tokens = if budget == full_tokens {
        full
    } else {
        let steps = steps(&dataset.shots, &scores.shots);
        match &scores.list {
            Some(list) => {
                first_fit(lists::candidates(dataset, item, &steps, list), budget, tokenizer)
            }
            None => first_fit(candidates(dataset, item, &steps, scores), budget, tokenizer),
        }
    };
    CompressedPrompt { tokens, full_tokens }
}

/// Ever shorter prompts: the full one, one more step of the shots each time, one sentence fewer,
/// one word of the last sentence fewer, down to the question.
fn candidates<'a>(
    dataset: &'a Dataset,
    item: &'a Item,
    steps: &'a [ShotPart],
    scores: &'a KeepScores,
) -> impl Iterator<Item = String> + 'a {
    let fewer_shots =
        (0..=steps.len()).map(move |count| shorter_shots(dataset, &steps[..count]) + &item.text());
    let fewer_words = shorter_passages(item, scores).into_iter().map(|passage| {
        if passage.is_empty() {
            item.question.clone()
        } else {
            format!("{passage}\n{}", item.question)
        }
    });
    fewer_shots.chain(fewer_words)
}

/// `order`, then the shots it leaves, front first. A shot that goes whole loses its passage one
/// step earlier, so that less of a budget stays unused between the two.
fn steps(shots: &[String], order: &[ShotPart]) -> Vec<ShotPart> {
    let known = order.iter().filter(|step| step.shot < shots.len()).copied();
    let mut wanted: Vec<ShotPart> = known.collect();
    let rest = (0..shots.len()).map(|shot| ShotPart { shot, part: Part::Whole });
    let rest: Vec<_> = rest.filter(|step| !wanted.contains(step)).collect();
    wanted.extend(rest);
    let mut steps = Vec::with_capacity(2 * shots.len());
    for step in wanted {
        let passage = ShotPart { part: Part::Passage, ..step };
        if without_passage(&shots[step.shot]).is_some() && !steps.contains(&passage) {
            steps.push(passage);
        }
        if step.part == Part::Whole {
            steps.push(step);
        }
    }
    steps
}

/// The shots of `dataset` after `steps`.
#[must_use]
pub fn shorter_shots(dataset: &Dataset, steps: &[ShotPart]) -> String {
    let gone = |shot, part| steps.contains(&ShotPart { shot, part });
    let shots = dataset.shots.iter().enumerate().map(|(index, shot)| {
        if gone(index, Part::Whole) {
            ""
        } else if gone(index, Part::Passage) {
            without_passage(shot).unwrap_or(shot)
        } else {
            shot
        }
    });
    shots.collect()
}

/// Question and answer of a shot; `None` if it has no passage.
#[must_use]
pub fn without_passage(shot: &str) -> Option<&str> {
    shot.rfind("\nQuestion:").map(|end| &shot[end + 1..])
}

/// The passage without its worst sentence, without its two worst, …, its best sentence without its
/// worst word, …, empty. Of equals the later goes first, for a passage tends to open with its
/// subject.
fn shorter_passages(item: &Item, scores: &KeepScores) -> Vec<String> {
    let Some(passage) = &item.passage else { return Vec::new() };
    let mut passages = Vec::new();
    let mut left: BTreeSet<usize> = (0..).take(spans::sentences(passage).len()).collect();
    let sentences = spans::sentences(passage);
    let order = worst_first(&sentences, scores);
    for &index in &order[..order.len().saturating_sub(1)] {
        left.remove(&index);
        let kept = left.iter().map(|&index| &sentences[index]);
        passages.push(join(passage, kept, spans::between(passage)));
    }
    if let Some(best) = order.last().map(|&index| &sentences[index]) {
        let words: Vec<Range<usize>> = spans::words(&passage[best.clone()])
            .into_iter()
            .map(|word| best.start + word.start..best.start + word.end)
            .collect();
        let mut left: BTreeSet<usize> = (0..words.len()).collect();
        for index in worst_first(&words, scores) {
            left.remove(&index);
            passages.push(join(passage, left.iter().map(|&index| &words[index]), " "));
        }
    }
    passages
}

/// Indices of `spans` by their mean probability, the lowest first.
fn worst_first(spans: &[Range<usize>], scores: &KeepScores) -> Vec<usize> {
    let means: Vec<f32> = spans.iter().map(|span| scores.mean(span)).collect();
    let mut order: Vec<usize> = (0..spans.len()).rev().collect();
    order.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
    order
}

fn join<'a>(text: &str, spans: impl Iterator<Item = &'a Range<usize>>, between: &str) -> String {
    spans.map(|span| &text[span.clone()]).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::testing::{Words, ice_question};
    use crate::units::PROMPT_RATIOS;

    const PASSAGE: &str = "Rocks are old. Heat melts ice. Birds sing.";

    fn item() -> Item {
        ice_question(0, PASSAGE, 0)
    }

    fn dataset() -> Dataset {
        let shot = |n| format!("Passage {n}.\nQuestion: shot {n}?\nAnswer: yes\n\n");
        Dataset { shots: (0..2).map(shot).collect(), ..Dataset::default() }
    }

    /// 0.9 for "Heat", 0.5 for "ice.", 0.2 for "Rocks", 0.1 elsewhere.
    fn scores() -> KeepScores {
        let probability = |word: &str| match word {
            "Heat" => 0.9,
            "ice." => 0.5,
            "Rocks" => 0.2,
            _ => 0.1,
        };
        let words = spans::words(PASSAGE).into_iter();
        KeepScores {
            shots: vec![
                ShotPart { shot: 1, part: Part::Passage },
                ShotPart { shot: 0, part: Part::Whole },
            ],
            passage: words.map(|word| (word.clone(), probability(&PASSAGE[word]))).collect(),
            list: None,
        }
    }

    #[test]
    fn parts_of_shots_go_in_the_stated_order_then_sentences_then_words_by_their_means() {
        let (dataset, item, scores) = (dataset(), item(), scores());
        let texts: Vec<String> =
            candidates(&dataset, &item, &steps(&dataset.shots, &scores.shots), &scores).collect();
        let kept = |text: &String| {
            text.strip_suffix("Question: What melts ice?\nAnswer:").unwrap().to_owned()
        };
        let short = "Question: shot 1?\nAnswer: yes\n\n";
        let whole = "Rocks are old. Heat melts ice. Birds sing.\n";
        // Means: (0.2 + 0.1 + 0.1)/3, (0.9 + 0.1 + 0.5)/3 and 0.1.
        assert_eq!(
            texts.iter().map(kept).collect::<Vec<_>>(),
            [
                &format!("{}{}{whole}", dataset.shots[0], dataset.shots[1]),
                &format!("{}{short}{whole}", dataset.shots[0]),
                &format!("Question: shot 0?\nAnswer: yes\n\n{short}{whole}"),
                &format!("{short}{whole}"),
                whole,
                "Rocks are old. Heat melts ice.\n",
                "Heat melts ice.\n",
                "Heat ice.\n",
                "Heat\n",
                "",
            ]
        );
    }

    #[test]
    fn shots_of_an_unknown_dataset_go_front_first() {
        let (dataset, scores) = (dataset(), KeepScores::default());
        let steps = steps(&dataset.shots, &scores.shots);
        let texts: Vec<String> = candidates(&dataset, &item(), &steps, &scores).take(5).collect();
        let starts =
            ["Passage 0.", "Question: shot 0?", "Passage 1.", "Question: shot 1?", "Rocks"];
        for (text, start) in texts.iter().zip(starts) {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn a_span_is_worth_the_mean_of_the_pieces_it_touches() {
        let passage = vec![(0..3, 0.2), (3..5, 0.6), (9..12, 1.0)];
        let scores = KeepScores { passage, ..KeepScores::default() };
        assert!((scores.mean(&(2..5)) - 0.4).abs() < 1e-6);
        assert!(scores.mean(&(5..9)).abs() < 1e-6);
        assert_eq!((scores.maximum(&(2..5)), scores.maximum(&(5..9))), (0.6, 0.0));
    }

    proptest! {
        #[test]
        fn the_contract_of_compressors_holds(
            passage in proptest::option::of("([a-z]{1,4}[.]? ){1,12}[a-z]"),
            noise in proptest::collection::vec(0.0_f32..1.0, 80),
            order in proptest::collection::vec((0_usize..4, any::<bool>()), 0..6),
        ) {
            let item = Item { passage, ..item() };
            let (dataset, question) = (dataset(), Words.encode(&item.question));
            let part = |passage| if passage { Part::Passage } else { Part::Whole };
            let scores = KeepScores {
                shots: order.into_iter().map(|(shot, p)| ShotPart { shot, part: part(p) }).collect(),
                passage: noise.into_iter().enumerate().map(|(i, p)| (i..i + 1, p)).collect(),
                list: None,
            };
            let full = Words.encode(&dataset.render(&item));
            let mut shorter = 0;
            for ratio in PROMPT_RATIOS {
                let prompt = compress(&dataset, &item, ratio, &Words, &scores);
                let length = prompt.tokens.len();
                let budget = full.len() * usize::from(ratio.thousandths()) / 1000;
                prop_assert_eq!(prompt.full_tokens, full.len());
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
