//! From dataset items to prompts, whole or compressed.
//!
//! A [`Dataset`] holds five rendered demonstrations (shots), the items that are scored, and
//! calibration texts; the three never share a question. [`Dataset::render`] puts an item's full
//! prompt together; [`compress`](compress::compress) shortens it to a prompt ratio. An option is
//! appended by whoever scores, and is never compressed.

mod agent;
mod bfcl;
pub mod compress;
mod data;
pub mod dataset;
mod droidtask;
mod source;

pub use compress::{CompressedPrompt, Compressor, compress};
pub use data::DataPaths;
pub use dataset::{Dataset, Item};

/// Splits text into tokens of the base model.
pub trait Tokenize {
    /// Token ids of `text`, without special tokens.
    fn encode(&self, text: &str) -> Vec<u32>;
}

#[cfg(test)]
pub(crate) mod testing;
