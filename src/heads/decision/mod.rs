//! The decision-head: from a request's own prompt to a plan.
//!
//! ```text
//! quality table, estimate half ─┐
//! prompt lengths, device times ─┴─ labels ─┬─ soft ─┐
//! prompts ── reading (TLM) ── features ────┴─ hard ─┴─▶ head (file) ─ decide ─▶ decisions (files)
//! ```
//!
//! Items are parted by name alone: a table's estimate half teaches, and of it one fold in five
//! validates; the replay half, which traces draw from, is decided for and never learnt from.

mod decide;
pub mod hard;
pub mod labels;
pub mod soft;
mod train;
pub mod trial;

pub use decide::{DecidePlan, decide};
pub use train::{Learnt, TrainPlan, train};
