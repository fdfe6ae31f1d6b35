//! From labels of spans to what the score-head should say of each piece of a passage.
//!
//! | labeling | a piece is worth keeping if … |
//! | --- | --- |
//! | `leave-one-out` | the base model's answer suffers without its sentence, phrase and word |
//! | `answer-overlap` | it, or its sentence, shares words with answer and question; no model |
//! | `blend` | the mean of both |

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::labels::{ItemLabels, Unit};
use crate::prompt::Item;
use crate::prompt::compress::spans;
use crate::prompt::compress::structured::words;

/// The loss, in nats, that makes a span as likely kept as not.
const HALF_DROP: f32 = 0.1;

/// How much of a piece's target comes from its sentence, its phrase, its word.
const UNIT_SHARES: [f32; 3] = [0.5, 0.3, 0.2];

/// Weight of a word of the answer against one of the question.
const ANSWER_WEIGHT: f32 = 3.0;

/// A way to make targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labeling {
    /// The base model's loss.
    LeaveOneOut,
    /// Shared words.
    AnswerOverlap,
    /// The mean of both.
    Blend,
}

impl Labeling {
    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaveOneOut => "leave-one-out",
            Self::AnswerOverlap => "answer-overlap",
            Self::Blend => "blend",
        }
    }

    /// For each piece, given by its bytes of the passage, the probability in [0, 1] that it is
    /// worth keeping.
    ///
    /// # Panics
    /// If `item` has no passage, or `labels` is of another one.
    #[must_use]
    pub fn targets(self, item: &Item, labels: &ItemLabels, pieces: &[Range<usize>]) -> Vec<f32> {
        assert_eq!(item.id, labels.item, "labels of this item");
        let passage = item.passage.as_deref().expect("labelled items have passages");
        match self {
            Self::LeaveOneOut => pieces.iter().map(|piece| suffering(labels, piece)).collect(),
            Self::AnswerOverlap => overlap(item, passage, pieces),
            Self::Blend => {
                let both = pieces.iter().zip(overlap(item, passage, pieces));
                both.map(|(piece, overlap)| f32::midpoint(suffering(labels, piece), overlap))
                    .collect()
            }
        }
    }
}

fn suffering(labels: &ItemLabels, piece: &Range<usize>) -> f32 {
    let of = |unit| {
        let inside = |bytes: &Range<usize>| bytes.start <= piece.start && piece.start < bytes.end;
        let label = labels.spans.iter().find(|label| label.unit == unit && inside(&label.bytes));
        label.map(|label| label.drop.max(0.0) / (label.drop.max(0.0) + HALF_DROP))
    };
    // A phrase that is a whole sentence, and words of other sentences, have no label of their own.
    let sentence = of(Unit::Sentence).unwrap_or(0.0);
    let phrase = of(Unit::Phrase).unwrap_or(sentence);
    let word = of(Unit::Word).unwrap_or(phrase);
    let parts = [sentence, phrase, word];
    parts.iter().zip(UNIT_SHARES).map(|(part, share)| part * share).sum()
}

fn overlap(item: &Item, passage: &str, pieces: &[Range<usize>]) -> Vec<f32> {
    let answer = words(&item.options[item.gold]);
    let question = words(&item.question);
    let worth = |text: &str| {
        let found = words(text);
        let shared = |set: &std::collections::BTreeSet<String>| found.intersection(set).count();
        ANSWER_WEIGHT * shared(&answer) as f32 + shared(&question) as f32
    };
    let sentences: Vec<_> = spans::sentences(passage)
        .into_iter()
        .map(|bytes| (worth(&passage[bytes.clone()]), bytes))
        .collect();
    let most = sentences.iter().fold(1.0_f32, |most, (worth, _)| most.max(*worth));
    let words: Vec<_> = spans::words(passage)
        .into_iter()
        .map(|bytes| ((worth(&passage[bytes.clone()]) / ANSWER_WEIGHT).min(1.0), bytes))
        .collect();
    let at = |spans: &[(f32, Range<usize>)], piece: &Range<usize>| {
        let found = spans.iter().find(|(_, bytes)| bytes.contains(&piece.start));
        found.map_or(0.0, |(worth, _)| *worth)
    };
    pieces
        .iter()
        .map(|piece| f32::midpoint(at(&sentences, piece) / most, at(&words, piece)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::score::items::Part;
    use crate::heads::score::labels::SpanLabel;
    use crate::prompt::testing::ice_question;

    const PASSAGE: &str = "Heat melts ice, fast. Birds sing.";

    fn item() -> Item {
        ice_question(1, PASSAGE, 1)
    }

    fn labels() -> ItemLabels {
        let label = |unit, bytes, drop| SpanLabel { unit, bytes, drop };
        ItemLabels {
            dataset: "toy".into(),
            item: 1,
            part: Part::Train,
            whole: Some(-0.1),
            tokens: 0,
            spent: crate::model::recorded::Spent::default(),
            spans: vec![
                label(Unit::Sentence, 0..21, 0.3),
                label(Unit::Sentence, 22..33, -0.2),
                label(Unit::Phrase, 0..15, 0.1),
                label(Unit::Phrase, 16..21, 0.0),
                label(Unit::Word, 0..4, 0.9),
                label(Unit::Word, 5..10, 0.0),
            ],
        }
    }

    #[test]
    fn leave_one_out_adds_up_sentence_phrase_and_word() {
        // "Heat": 0.5 · 0.3/0.4 + 0.3 · 0.1/0.2 + 0.2 · 0.9/1.0 = 0.705; "melts" has no 0.18;
        // "fast." has only its sentence, 0.375; "Birds" nothing.
        let targets =
            Labeling::LeaveOneOut.targets(&item(), &labels(), &[0..4, 5..10, 16..20, 22..27]);
        for (target, expected) in targets.iter().zip([0.705, 0.525, 0.375, 0.0]) {
            assert!((target - expected).abs() < 1e-6, "{target} for {expected}");
        }
    }

    #[test]
    fn answer_overlap_prefers_the_answer_to_the_questions_words() {
        // The first sentence shares the answer (3) and two words (2): the most, so half its worth
        // is 0.5; "Heat" adds 0.5, "melts" a third of it, "fast" nothing.
        let targets =
            Labeling::AnswerOverlap.targets(&item(), &labels(), &[0..4, 5..10, 16..20, 22..27]);
        for (target, expected) in targets.iter().zip([1.0, 0.5 + 1.0 / 6.0, 0.5, 0.0]) {
            assert!((target - expected).abs() < 1e-6, "{target} for {expected}");
        }
    }
}
