//! The messages between Pliant and an external policy: one JSON object a line.
//!
//! `docs/policy-protocol.schema.json` is the schema; a test holds the two together.

use serde::{Deserialize, Serialize};

use super::super::{Candidate, Forecast, Seen};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::units::{Grade, Level, Ratio, millis};

/// The version that both sides must speak.
pub(super) const PROTOCOL: u32 = 1;

/// What Pliant says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message<'a> {
    Hello(Hello<'a>),
    Plan(Question<'a>),
    Outcome(Observed),
}

/// Once, before the first request; the policy answers with [`Ready`].
#[derive(Debug, Serialize)]
pub(super) struct Hello<'a> {
    pub protocol: u32,
    pub method: &'a str,
    pub seed: u64,
    pub apps: &'a [String],
    pub datasets: &'a [String],
    /// What the device draws while it serves, where known.
    pub power_mw: Option<f64>,
    /// The plans to choose from, by rising level, then prompt ratio.
    pub candidates: Vec<Plan>,
    /// `[dataset][candidate]`: share of the estimate items answered rightly.
    pub expected_accuracy: Vec<Vec<Option<f64>>>,
}

/// One request; the policy answers with [`Answer`].
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    #[serde(flatten)]
    pub seen: Seen<'a>,
    /// `[TTFT, TPOT]` in ms of each candidate, unqueued, if the policy asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecasts: Option<Vec<[f64; 2]>>,
    /// Energy in mJ of each candidate, beside forecasts, where power differs by phase or level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energies_mj: Option<Vec<f64>>,
}

/// What became of a request, if the policy asked to be told; it does not answer.
#[derive(Debug, Serialize)]
pub(super) struct Observed {
    id: u64,
    ttft_ms: f64,
    tpot_ms: Option<f64>,
    slo_met: bool,
    correct: Option<Grade>,
}

impl Observed {
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            id: outcome.request.id,
            ttft_ms: millis(outcome.ttft()),
            tpot_ms: outcome.tpot().map(millis),
            slo_met: outcome.slo_met(),
            correct: outcome.execution.correct,
        }
    }
}

/// What the policy says to [`Hello`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ready {
    #[serde(rename = "type")]
    pub kind: ReadyKind,
    pub protocol: u32,
    /// Whether questions are to carry forecasts.
    #[serde(default)]
    pub forecasts: bool,
    /// Whether it is to be told outcomes.
    #[serde(default)]
    pub observe: bool,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReadyKind {
    Ready,
}

/// What the policy says to [`Question`].
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub id: u64,
    pub level: Level,
    pub prompt_ratio: Ratio,
}

/// TTFT and TPOT in ms.
pub(super) fn forecast_ms(forecast: Forecast) -> [f64; 2] {
    [millis(forecast.ttft), millis(forecast.tpot)]
}

/// The plan of `answer` among `candidates`.
pub(super) fn candidate(answer: &Answer, candidates: &[Candidate]) -> Option<Plan> {
    let plan = Plan::new(answer.level, answer.prompt_ratio);
    candidates.iter().map(|candidate| candidate.plan).find(|&known| known == plan)
}
