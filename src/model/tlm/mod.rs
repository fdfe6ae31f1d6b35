//! The tiny language model: a small BERT-like encoder whose bottom layers are shared and frozen,
//! under heads of their own that say which tokens of a prompt to keep and which plan to take.
//!
//! | file | purpose |
//! | --- | --- |
//! | `tokenizer` | text to word pieces with their byte offsets |
//! | `layer`, `trunk`, `head` | the encoder and what sits on it, differentiable, for training |
//! | `graph`, `quantise` | the same encoder as an ONNX graph, in f32 or int8, for serving |
//! | `runner` | the graph at run time |
//! | `encoder` | all layers as a reader of short texts |
//! | `score_file`, `score_head` | the score-head: its files, and what it says of a prompt |
//! | `list_file` | how far lists are shortened before shots |
//!
//! What goes into the first layer is looked up outside of graph and network, by
//! [`trunk::Embeddings`]: a vocabulary of 47 MB needs no second home in ONNX Runtime, and tokens
//! that a head adds to the vocabulary are rows like all others.

pub mod encoder;
pub mod graph;
pub mod head;
pub mod layer;
pub mod list_file;
mod quantise;
pub mod runner;
pub mod score_file;
pub mod score_head;
pub mod tokenizer;
pub mod trunk;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
