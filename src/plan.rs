//! A plan: how the service will answer one request.

use serde::Serialize;

use crate::units::{Level, Ratio};

/// ⟨sub-model level, prompt ratio⟩ within the family and compressor of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Plan {
    /// Which sub-model answers.
    pub level: Level,
    /// Which share of the prompt's tokens it is asked to read. A compressor that may not drop the
    /// question can keep more; time is billed on what it keeps.
    pub prompt_ratio: Ratio,
}

impl Plan {
    /// The base model on the full prompt.
    pub const FULL: Self = Self { level: Level::FULL, prompt_ratio: Ratio::ONE };
}
