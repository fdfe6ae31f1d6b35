//! Recovery: an adapter per level of a ladder, trained on next-token prediction of text that shares
//! no question with anything scored.
//!
//! ```text
//! recovery corpus ─┐
//! sub-model ───────┼─ trainer ─▶ LEVEL.partial (checkpoint) ─▶ adapter + record ─▶ manifest
//! recipe ──────────┘      └────▶ loss curve
//! ```
//!
//! The same recipe at level 100 % is the control: what it gains is adaptation to the text, not
//! recovery of what was dropped. Sequences, positions and first values depend on the recipe's seed
//! and the step alone, so that every level sees the same text, and a run that was killed goes on to
//! the same bytes as one that was not.

mod checkpoint;
mod curve;
mod list_text;
mod recipe;
mod recorded;
mod text;
mod trainer;

pub use curve::LossCurve;
pub use recorded::{LevelFiles, finished_in};
pub use text::RecoveryText;
pub use trainer::{LevelRun, Progress, RunIdentity, train_level};

#[cfg(test)]
mod tests;
