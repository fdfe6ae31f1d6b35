//! What serves: an elastic model at run time, and the tiny language model (TLM) with its heads.
//!
//! | file | purpose |
//! | --- | --- |
//! | `manifest`, `family` | what levels are made from, and what a family has of its own |
//! | `recorded` | what files record of how a ladder came about |
//! | `open` | an elastic model ready to answer: manifest, weights, tokenizer |
//! | `shipped` | the trained weights that the project ships, by their hash |
//! | `tensor_file` | the form of heads and checkpoints |
//! | `tlm` | the encoder, differentiable and as one ONNX graph, and the score-head |
//! | `decision` | the decision-head: its file, what it reads, what it answers |

pub mod decision;
pub mod family;
pub mod manifest;
mod open;
pub mod recorded;
pub mod shipped;
pub mod tensor_file;
pub mod tlm;

pub use open::{ElasticModel, ElasticSource, manifest_folder};
