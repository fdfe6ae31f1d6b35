//! From dataset items to prompts, whole or compressed.

/// Splits text into tokens of the base model.
pub trait Tokenize {
    /// Token ids of `text`, without special tokens.
    fn encode(&self, text: &str) -> Vec<u32>;
}
