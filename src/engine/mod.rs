//! The real engine: an elastic language model on ONNX Runtime.

pub mod gguf;
pub mod model;
pub mod tokenizer;
