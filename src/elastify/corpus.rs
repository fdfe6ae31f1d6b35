//! The calibration text: token sequences on which importance is measured.

use std::path::Path;

use super::network::SEQUENCE_TOKENS_MAX;
use crate::digest;
use crate::error::{Error, Result};
use crate::model::recorded::CorpusInfo;
use crate::prompt::{Dataset, Tokenize};

/// Token sequences, any prefix of which draws evenly on all sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    description: String,
    sha256: String,
    sequences: Vec<Vec<u32>>,
}

impl Corpus {
    /// The calibration texts of `datasets`; none of their questions is ever scored.
    ///
    /// Every sequence holds texts of one dataset, as a prompt with shots does.
    ///
    /// # Errors
    /// If there is less than one full sequence.
    pub fn of_datasets(datasets: &[Dataset], tokenizer: &dyn Tokenize) -> Result<Self> {
        let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let texts: Vec<String> =
            datasets.iter().map(|dataset| dataset.calibration.join("\n\n")).collect();
        let description = format!("calibration questions, answered, of {}", names.join(", "));
        Self::new(description, &texts, tokenizer)
    }

    /// The text file `path`.
    ///
    /// # Errors
    /// If it cannot be read or holds less than one full sequence.
    pub fn of_file(path: &Path, tokenizer: &dyn Tokenize) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(name, &[text], tokenizer)
    }

    fn new(description: String, texts: &[String], tokenizer: &dyn Tokenize) -> Result<Self> {
        let sha256 = digest::sha256(texts.join("\n\n").as_bytes());
        let tokens: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text)).collect();
        let sequences = interleave(&tokens);
        if sequences.is_empty() {
            return Err(Error::new("calibration corpus", "too short")
                .found(format!("{} tokens", tokens.concat().len()))
                .allowed(format!("{SEQUENCE_TOKENS_MAX} tokens or more in one text")));
        }
        Ok(Self { description, sha256, sequences })
    }

    /// The first sequences, `tokens` tokens in all or as many as there are, after leaving `skipped`
    /// tokens out; both are rounded up to whole sequences.
    #[must_use]
    pub fn sequences(&self, skipped: usize, tokens: usize) -> &[Vec<u32>] {
        let length = self.sequences[0].len();
        let start = skipped.div_ceil(length).min(self.sequences.len());
        let end = (start + tokens.div_ceil(length)).min(self.sequences.len());
        &self.sequences[start..end]
    }

    /// What a measurement on the first `sequences` sequences is made on.
    #[must_use]
    pub fn info(&self, sequences: &[Vec<u32>]) -> CorpusInfo {
        CorpusInfo {
            description: self.description.clone(),
            sha256: self.sha256.clone(),
            tokens: sequences.iter().map(Vec::len).sum(),
            sequences: sequences.len(),
        }
    }
}

/// Cuts every text into full sequences, remainders left out, and takes from the texts in turn.
fn interleave(texts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mut texts: Vec<_> =
        texts.iter().map(|text| text.chunks_exact(SEQUENCE_TOKENS_MAX)).collect();
    let mut sequences = Vec::new();
    loop {
        let before = sequences.len();
        sequences.extend(texts.iter_mut().filter_map(Iterator::next).map(<[u32]>::to_vec));
        if sequences.len() == before {
            return sequences;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::testing::Letters;

    fn corpus(texts: &[String]) -> Result<Corpus> {
        Corpus::new("letters".into(), texts, &Letters)
    }

    #[test]
    fn texts_take_turns_and_their_remainders_are_left_out() {
        let full = SEQUENCE_TOKENS_MAX;
        let corpus = corpus(&["a".repeat(2 * full + 9), "b".repeat(full), "c".into()]).unwrap();
        let letter = |c: char| vec![u32::from(c); full];
        assert_eq!(corpus.sequences(0, 3 * full), [letter('a'), letter('b'), letter('a')]);
    }

    #[test]
    fn token_counts_are_rounded_up_to_sequences_and_held_out_ones_come_after() {
        let full = SEQUENCE_TOKENS_MAX;
        let text: String = "abcd".chars().flat_map(|c| std::iter::repeat_n(c, full)).collect();
        let corpus = corpus(&[text]).unwrap();
        let measured = corpus.sequences(0, full + 1);
        assert_eq!((measured.len(), corpus.info(measured).tokens), (2, 2 * full));
        let held_out = corpus.sequences(2 * full, 10 * full);
        assert_eq!(held_out.iter().map(|s| s[0]).collect::<Vec<_>>(), [99, 100]);
        assert!(corpus.sequences(9 * full, 1).is_empty());
    }

    #[test]
    fn a_text_below_one_sequence_is_refused() {
        assert_eq!(
            corpus(&["short".into()]).unwrap_err().to_string(),
            "calibration corpus: too short; found 5 tokens; \
             allowed: 512 tokens or more in one text"
        );
    }
}
