//! The offline stage: importance, order and allocation of elastic units.
//!
//! Measuring is slow and allocating instant, so they are two steps with a file between them:
//!
//! ```text
//! corpus ─┐
//!         ├─ network ─ importance, removal ─▶ scores (file) ─ allocation ─▶ manifest (file)
//! GGUF  ──┘
//! ```

pub mod allocation;
pub mod corpus;
pub mod elastic_model;
pub mod importance;
pub mod manifest;
pub mod network;
pub mod removal;
pub mod scores;

#[cfg(test)]
mod tests;
