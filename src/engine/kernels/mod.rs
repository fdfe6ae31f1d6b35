//! Products of tokens with the first rows of a matrix, read where it lies.
//!
//! Libraries repack a matrix before they multiply by it, so that a vector register holds
//! neighbouring rows. A prefix of the repacked matrix is then no prefix of the packed bytes, and
//! every sub-model wants a copy. Here registers hold neighbouring *tokens* (`panels`),
//! which a weight meets one register at a time: rows are read as they are, so that a sub-model is a
//! number of rows and nothing is packed or copied.
//!
//! | step | what it is |
//! | --- | --- |
//! | [`Reading`] | `x · Wᵀ`: a row of `W` makes a value of every token |
//! | [`Gated`] | `silu(x · Gᵀ) ⊙ (x · Uᵀ)`: what the neurons of an MLP make of tokens |
//! | [`Writing`] | `x + h · W`: a unit adds its row of `W` to a token, so much as it has of `h` |
//!
//! One token is a case of its own in each: then rows are read once and the memory's speed counts.
//! Sums have one order whatever the number of threads.

#![expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "code for a processor's registers is made where it is inlined; loops over registers \
              index several arrays of one length"
)]

mod adapter;
mod dense;
mod few_bits;
mod gated;
mod one_token;
mod panels;
mod pieces;
mod reading;
mod rows;
mod silu;
mod threads;
mod writing;

#[cfg(test)]
mod tests;

pub use adapter::{Kinds, Low};
pub use gated::Gated;
pub use panels::Tokens;
pub use pieces::Scratch;
pub use reading::Reading;
pub use rows::{Blocks, Rows};
pub use threads::{Alone, Threads};
pub use writing::Writing;
