//! A tokenizer with one token per letter and the control tokens of ChatML.

use candle_core::quantized::gguf_file::{self, Value};

use super::Tokenizer;

/// Letters, space and line end, two control tokens, nothing merged.
pub(crate) fn chat_tokenizer() -> Tokenizer {
    let letters = ('a'..='z').map(String::from);
    let controls = ["<|im_start|>", "<|im_end|>"].map(str::to_owned);
    let marks = ["<", ">", "|", "_", "Ġ", "Ċ"].map(str::to_owned);
    let tokens: Vec<String> = controls.into_iter().chain(letters).chain(marks).collect();
    let kind = |token: usize| Value::I32(if token < 2 { 3 } else { 1 });
    let kinds = Value::Array((0..tokens.len()).map(kind).collect());
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let metadata = [
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", texts(tokens)),
        ("tokenizer.ggml.merges", texts(Vec::new())),
        ("tokenizer.ggml.token_type", kinds),
        ("tokenizer.ggml.eos_token_id", Value::U32(1)),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let mut file = std::fs::File::create(&path).unwrap();
    gguf_file::write(&mut file, &metadata, &[]).unwrap();
    Tokenizer::load(&path).unwrap()
}
