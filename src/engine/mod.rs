//! The real engine: an elastic language model on ONNX Runtime.

pub mod adapter;
mod attach;
pub mod bits;
pub mod chat;
mod elastic;
pub mod generate;
pub mod gguf;
pub mod graph;
pub mod kernels;
pub mod kv_cache;
pub mod model;
pub mod onnx;
mod operators;
pub mod predictor;
#[cfg(test)]
pub(crate) mod reference;
mod residence;
pub mod sampler;
pub mod scorer;
pub mod session;
pub mod stopwatch;
mod tensor;
#[cfg(test)]
mod tests;
pub mod tokenizer;
pub mod weights;

pub use elastic::{Engine, EngineOptions, Forward, WeightLayout};
pub use residence::{Residence, SeparateModel, Switch};
