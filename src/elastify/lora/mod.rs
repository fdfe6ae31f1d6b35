//! Low-rank adapters (LoRA) of a sub-model, as trained: the frozen network around them, their
//! parameters, and the loss's gradient at those.
//!
//! Reference: Hu et al., *LoRA: low-rank adaptation of large language models*, 2021. A projection
//! `x · W` becomes `x · W + (alpha / rank) · (x · A) · B`, `A` random and `B` zero at first, so
//! that training starts from the sub-model as it is.
//!
//! The network holds the sub-model only: weights of units that the level drops are left out, so
//! that a small level trains faster.

mod network;
mod parameters;

pub use network::{AdaptedNetwork, Gradient};
pub use parameters::{Parameters, Slot};

#[cfg(test)]
mod tests;
