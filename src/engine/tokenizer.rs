//! The base model's tokenizer, built from a GGUF file's metadata: byte-level BPE with the
//! pre-tokenization that the file names.
//!
//! Text is always data: the spelling of a control token inside a prompt (`<|im_end|>`) is encoded
//! as the characters it is made of, so that no prompt can end a turn.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::gguf::Gguf;
use crate::digest;
use crate::error::{Error, Result};
use crate::prompt::Tokenize;

/// Qwen2's words: contractions, letters with one leading mark, single digits, marks, line ends.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The `token_type` of GGUF's control tokens.
const CONTROL: u64 = 3;

/// Text to tokens of one model and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    end_of_text: u32,
    begin_of_text: Option<u32>,
    /// Control tokens as they are spelled.
    controls: Vec<(String, u32)>,
    chat_template: Option<String>,
}

impl Tokenizer {
    /// The tokenizer in the metadata of the GGUF file at `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or its tokenizer is missing, inconsistent or of another kind.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_gguf(&Gguf::open(path)?)
    }

    /// The tokenizer in the metadata of `gguf`.
    ///
    /// # Errors
    /// If it is missing, inconsistent or of another kind than byte-level BPE.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let kind = gguf.text("tokenizer.ggml.model")?;
        if kind != "gpt2" {
            return Err(gguf
                .key_error("tokenizer.ggml.model", "unsupported tokenizer")
                .found(kind)
                .allowed("gpt2 (byte-level BPE)"));
        }
        let tokens = gguf.texts("tokenizer.ggml.tokens")?;
        let mut inner = tokenizers::Tokenizer::new(bpe(gguf, &tokens)?);
        let pre = PreTokenization::of(gguf)?;
        if pre == PreTokenization::Qwen2 {
            inner.with_normalizer(Some(NFC)).map_err(|e| library(gguf, e))?;
        }
        inner.with_pre_tokenizer(Some(pre.steps().map_err(|e| library(gguf, e))?));
        inner.with_decoder(Some(ByteLevel::default()));
        let controls = control_tokens(gguf, &tokens)?;
        let special = controls.iter().map(|(text, _)| AddedToken::from(text.clone(), true));
        inner.add_special_tokens(special).map_err(|e| library(gguf, e))?;
        inner.set_encode_special_tokens(true);
        let end_of_text = token_id(gguf, "tokenizer.ggml.eos_token_id", tokens.len())?;
        let begin_of_text = token_id(gguf, "tokenizer.ggml.bos_token_id", tokens.len()).ok();
        let chat_template = gguf.text("tokenizer.chat_template").ok().map(str::to_owned);
        Ok(Self { inner, end_of_text, begin_of_text, controls, chat_template })
    }

    /// SHA-256 of what makes the tokenizer of `gguf` the one it is: two files with the same split
    /// all text into the same tokens.
    ///
    /// # Errors
    /// If a part of it is missing.
    pub fn fingerprint(gguf: &Gguf) -> Result<String> {
        let mut parts = vec![gguf.text("tokenizer.ggml.model")?, gguf.text("tokenizer.ggml.pre")?];
        parts.extend(gguf.texts("tokenizer.ggml.tokens")?);
        parts.push("merges");
        parts.extend(gguf.texts("tokenizer.ggml.merges")?);
        Ok(digest::sha256(parts.join("\n").as_bytes()))
    }

    /// The text of `tokens`, control tokens left out; bytes that are no UTF-8 become `U+FFFD`.
    ///
    /// # Panics
    /// Never: byte-level decoding has no failing input.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.inner.decode(tokens, true).expect("byte-level decoding has no failing input")
    }

    /// The token that ends an answer.
    #[must_use]
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The token that a text begins with, where the model has one.
    #[must_use]
    pub fn begin_of_text(&self) -> Option<u32> {
        self.begin_of_text
    }

    /// Tokens that end the model's turn: that which ends a text, and those of chat formats.
    #[must_use]
    pub fn ends_of_turn(&self) -> Vec<u32> {
        const ENDS: [&str; 4] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>"];
        let known = self.controls.iter().filter(|(text, _)| ENDS.contains(&text.as_str()));
        let mut ends: Vec<u32> = known.map(|&(_, token)| token).collect();
        ends.push(self.end_of_text);
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The chat template of the file, in Jinja.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// The spelling of a control token; empty for any other.
    #[must_use]
    pub fn control_text(&self, token: u32) -> &str {
        let found = self.controls.iter().find(|&&(_, control)| control == token);
        found.map_or("", |(text, _)| text)
    }

    /// The first spelling of a control token in `text`: where it starts, the token, its length in
    /// bytes. Of several that start there the longest.
    #[must_use]
    pub fn first_control(&self, text: &str) -> Option<(usize, u32, usize)> {
        let found = self.controls.iter().filter_map(|(spelled, token)| {
            Some((text.find(spelled.as_str())?, *token, spelled.len()))
        });
        found.min_by_key(|&(at, _, length)| (at, std::cmp::Reverse(length)))
    }

    /// A token as text, control tokens spelled out; bytes that are no UTF-8 become `U+FFFD`.
    ///
    /// # Panics
    /// Never: byte-level decoding has no failing input.
    #[must_use]
    pub fn piece(&self, token: u32) -> String {
        self.inner.decode(&[token], false).expect("byte-level decoding has no failing input")
    }

    /// The number of tokens.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// Text that comes token by token: a letter of several tokens waits for the last of them.
#[derive(Debug)]
pub struct TextStream {
    tokenizer: Tokenizer,
    tokens: Vec<u32>,
    /// Bytes of the text so far that have been handed out.
    told: usize,
}

impl TextStream {
    /// Before the first token.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self { tokenizer: tokenizer.clone(), tokens: Vec::new(), told: 0 }
    }

    /// What `token` adds to the text; empty while a letter is incomplete.
    pub fn push(&mut self, token: u32) -> String {
        self.tokens.push(token);
        let text = self.tokenizer.decode(&self.tokens);
        if text.ends_with(char::REPLACEMENT_CHARACTER) { String::new() } else { self.tell(&text) }
    }

    /// What never became a letter.
    pub fn rest(&mut self) -> String {
        let text = self.tokenizer.decode(&self.tokens);
        self.tell(&text)
    }

    fn tell(&mut self, text: &str) -> String {
        let added = text.get(self.told..).unwrap_or_default().to_owned();
        self.told = text.len();
        added
    }
}

impl Tokenize for Tokenizer {
    fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false);
        encoding.expect("byte-level BPE has no failing input").get_ids().to_vec()
    }
}

/// The pre-tokenizations that are implemented, by the names that GGUF files give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PreTokenization {
    SmolLm,
    Qwen2,
}

impl PreTokenization {
    fn of(gguf: &Gguf) -> Result<Self> {
        let key = "tokenizer.ggml.pre";
        match gguf.text(key)? {
            "smollm" => Ok(Self::SmolLm),
            "qwen2" => Ok(Self::Qwen2),
            other => Err(gguf
                .key_error(key, "unsupported pre-tokenization")
                .found(other)
                .allowed("smollm, qwen2")),
        }
    }

    fn steps(self) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |split_words| ByteLevel::new(false, true, split_words).into();
        let steps: Vec<PreTokenizerWrapper> = match self {
            Self::SmolLm => vec![Digits::new(true).into(), bytes(true)],
            Self::Qwen2 => {
                let words = SplitPattern::Regex(QWEN2_WORDS.to_owned());
                let split = Split::new(words, SplitDelimiterBehavior::Isolated, false)?;
                vec![split.into(), bytes(false)]
            }
        };
        Ok(Sequence::new(steps).into())
    }
}

fn bpe(gguf: &Gguf, tokens: &[&str]) -> Result<BPE> {
    let vocab: Vocab = tokens.iter().map(|&token| token.to_owned()).zip(0..).collect();
    let key = "tokenizer.ggml.merges";
    let pair = |merge: &str| merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let merges = gguf
        .texts(key)?
        .into_iter()
        .map(|merge| {
            pair(merge).ok_or_else(|| {
                gguf.key_error(key, "not a merge").found(merge).allowed("two tokens and a space")
            })
        })
        .collect::<Result<_>>()?;
    BPE::builder()
        .vocab_and_merges(vocab, merges)
        .build()
        .map_err(|e| gguf.key_error(key, "merges and tokens disagree").caused_by(e))
}

fn control_tokens(gguf: &Gguf, tokens: &[&str]) -> Result<Vec<(String, u32)>> {
    let key = "tokenizer.ggml.token_type";
    let kinds = gguf.numbers(key)?;
    if kinds.len() != tokens.len() {
        return Err(gguf.key_error(key, "wrong length").found(kinds.len()).allowed(tokens.len()));
    }
    let all = tokens.iter().zip(0..).zip(kinds);
    let controls = all.filter(|&(_, kind)| kind == CONTROL);
    Ok(controls.map(|((&token, id), _)| (token.to_owned(), id)).collect())
}

fn token_id(gguf: &Gguf, key: &str, vocab: usize) -> Result<u32> {
    let id = gguf.number(key)?;
    if id < vocab as u64 {
        return Ok(id as u32);
    }
    Err(gguf.key_error(key, "out of range").found(id).allowed(format!("0 to {}", vocab - 1)))
}

fn library(gguf: &Gguf, error: tokenizers::Error) -> Error {
    gguf.key_error("tokenizer.ggml.model", "cannot build the tokenizer").caused_by(error)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::gguf_file::{self, Value};

    const TOKENS: [&str; 14] =
        ["<|endoftext|>", "a", "b", "1", "2", "Ġ", "Ġa", "ab", "Ġab", "12", "<", "|", "Ã", "©"];

    fn strings(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|&t| Value::String(t.to_owned())).collect())
    }

    fn load(pre: &str, merges: &[&str], kinds: usize) -> Result<Tokenizer, String> {
        let kind = |token| Value::I32(if token == 0 { 3 } else { 1 });
        let metadata = [
            ("tokenizer.ggml.model", Value::String("gpt2".into())),
            ("tokenizer.ggml.pre", Value::String(pre.into())),
            ("tokenizer.ggml.tokens", strings(&TOKENS)),
            ("tokenizer.ggml.merges", strings(merges)),
            ("tokenizer.ggml.token_type", Value::Array((0..kinds).map(kind).collect())),
            ("tokenizer.ggml.eos_token_id", Value::U32(0)),
        ];
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let mut file = std::fs::File::create(&path).unwrap();
        gguf_file::write(&mut file, &metadata, &[]).unwrap();
        Tokenizer::load(&path)
            .map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
    }

    const MERGES: [&str; 4] = ["Ġ a", "a b", "Ġa b", "1 2"];

    #[test]
    fn words_merge_and_digits_never_do() {
        let tokenizer = load("smollm", &MERGES, 14).unwrap();
        assert_eq!(tokenizer.encode("ab ab"), [7, 8]);
        assert_eq!(tokenizer.encode("12"), [3, 4]);
        assert_eq!(tokenizer.encode("ab 12 é"), [7, 5, 3, 4, 5, 12, 13]);
        assert_eq!(tokenizer.decode(&tokenizer.encode("ab 12 é")), "ab 12 é");
        assert_eq!(load("qwen2", &MERGES, 14).unwrap().encode(" ab12"), [8, 3, 4]);
    }

    #[test]
    fn a_control_token_in_text_is_text_and_is_not_printed() {
        let tokenizer = load("smollm", &MERGES, 14).unwrap();
        assert!(!tokenizer.encode("<|endoftext|>").contains(&0));
        assert_eq!(tokenizer.decode(&[1, 0]), "a");
        assert_eq!((tokenizer.end_of_text(), tokenizer.vocab()), (0, 14));
    }

    /// Byte by byte: `é` is tokens 12 and 13.
    #[test]
    fn text_comes_token_by_token_and_letters_come_whole() {
        let tokenizer = load("smollm", &MERGES, 14).unwrap();
        let mut stream = TextStream::new(&tokenizer);
        let parts = [7, 5, 12, 13, 12].map(|token| stream.push(token));
        assert_eq!(parts, ["ab", " ", "", "é", ""]);
        assert_eq!((stream.rest(), stream.rest()), ("\u{fffd}".to_owned(), String::new()));
    }

    #[test]
    fn errors_name_the_key() {
        assert_eq!(
            load("gpt-4o", &MERGES, 14).unwrap_err(),
            "FILE, key \"tokenizer.ggml.pre\": unsupported pre-tokenization; found gpt-4o; \
             allowed: smollm, qwen2"
        );
        assert_eq!(
            load("smollm", &["ab"], 14).unwrap_err(),
            "FILE, key \"tokenizer.ggml.merges\": not a merge; found ab; \
             allowed: two tokens and a space"
        );
        assert!(load("smollm", &["x y"], 14).unwrap_err().contains("merges and tokens disagree"));
        assert_eq!(
            load("smollm", &MERGES, 13).unwrap_err(),
            "FILE, key \"tokenizer.ggml.token_type\": wrong length; found 13; allowed: 14"
        );
    }
}
