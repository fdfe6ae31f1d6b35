//! Trains the heads of the tiny language model: what a prompt can spare (`score`), and which plan
//! to take (`decision`).

pub mod decision;
pub mod score;
pub mod trainer;
