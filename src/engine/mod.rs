//! The real engine: an elastic language model on ONNX Runtime.

pub mod model;
