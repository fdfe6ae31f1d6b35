//! One point that a curve goes through: what took how long, who says so, and how they know.

use serde::{Deserialize, Serialize};

use super::latency_log::Phase;

/// How a point came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Its author timed it.
    Measured,
    /// Its author computed it from another point: it says nothing more than that one.
    Computed,
    /// Nobody published it: a model that its source states fills it in.
    Modelled,
}

impl Origin {
    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Computed => "computed",
            Self::Modelled => "modelled",
        }
    }
}

/// A published time of one level, or one that fills a gap between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// What was timed.
    pub phase: Phase,
    /// Prompt length, or context of the token.
    pub tokens: u32,
    /// Time, the median of repetitions.
    pub ms: f64,
    /// How often it was timed; absent where the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetitions: Option<u32>,
    /// How it came about.
    pub origin: Origin,
    /// Who says so, or the model that fills it in.
    pub source: String,
}
