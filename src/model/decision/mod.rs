//! The decision-head at run time: from a request's own prompt to a plan.
//!
//! ```text
//! prompt ── reading (TLM) ─┬─ soft: what each plan would be right with ─┬─▶ decision
//! objective ───────────────┴─ hard: a plan ─────────────────────────────┘
//! ```

use crate::profile::{TPOT_TOKENS, TTFT_TOKENS};
use crate::units::{Level, PROMPT_RATIOS, Ratio};

mod decider;
pub mod file;
pub mod hard;
pub mod neighbours;
pub mod reading;
pub mod soft;

pub use decider::Decider;

/// Levels of the ladder.
pub const LEVELS: usize = Level::LADDER.len();
/// Prompt ratios.
pub const RATIOS: usize = PROMPT_RATIOS.len();
/// Places of a plan: level, ratio.
pub type Place = (usize, usize);
/// A value per plan.
pub type Grid<T> = [[T; RATIOS]; LEVELS];

/// An objective in shares of the base model's times on the full prompt.
pub type Objective = (Ratio, Ratio);

/// Every objective that has SLO tokens, in their order.
pub fn objectives() -> impl Iterator<Item = Objective> {
    TTFT_TOKENS
        .into_iter()
        .flat_map(|ttft| TPOT_TOKENS.map(|tpot| (Ratio::percent(ttft), Ratio::percent(tpot))))
}

/// Every plan, by rising level, then ratio.
pub fn places() -> impl Iterator<Item = Place> {
    (0..LEVELS).flat_map(|level| (0..RATIOS).map(move |ratio| (level, ratio)))
}
