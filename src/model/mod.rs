//! What serves: an elastic model at run time, and the tiny language model (TLM) with its heads.
//!
//! | file | purpose |
//! | --- | --- |
//! | `manifest`, `merge`, `zoo` | what the levels of a family are made from |
//! | `open` | an elastic model ready to answer: manifest, weights, tokenizer |
//! | `tlm` | the encoder, differentiable and as one ONNX graph, and the score-head |
//! | `decision` | the decision-head: its file, what it reads, what it answers |

pub mod decision;
pub mod manifest;
pub mod merge;
mod open;
pub mod tlm;
pub mod zoo;

pub use open::{ElasticModel, ElasticSource, LevelSource, manifest_folder};
