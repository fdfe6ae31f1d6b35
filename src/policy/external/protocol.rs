//! The messages between Pliant and an external policy: one JSON object a line.
//!
//! `docs/policy-protocol.schema.json` is the schema; a test holds the two together.

use serde::{Deserialize, Serialize};

use super::super::{Candidate, Facts, Forecast, RequestView, ServiceView};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::{Bounds, Limit, Slo};
use crate::units::{Level, Ratio, millis};

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
    /// The plans to choose from, by rising level, then prompt ratio.
    pub candidates: Vec<PlanMessage>,
    /// `[dataset][candidate]`: share of the estimate items answered rightly.
    pub expected_accuracy: Vec<Vec<Option<f64>>>,
}

/// A plan, with shares as numbers in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct PlanMessage {
    pub level: Level,
    pub prompt_ratio: Ratio,
}

impl PlanMessage {
    pub fn of(plan: Plan) -> Self {
        Self { level: plan.level, prompt_ratio: plan.prompt_ratio }
    }
}

/// One request; the policy answers with [`Answer`].
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    pub id: u64,
    pub arrival_ms: f64,
    pub now_ms: f64,
    pub app: &'a str,
    pub dataset: &'a str,
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    pub slo: SloMessage,
    /// The objective in ms, counted from arrival.
    pub bounds: BoundsMessage,
    /// The level in memory; `null` before the first request.
    pub resident: Option<Level>,
    /// Requests that wait behind this one.
    pub queued: usize,
    /// `[TTFT, TPOT]` in ms of each candidate, unqueued, if the policy asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecasts: Option<Vec<[f64; 2]>>,
}

impl<'a> Question<'a> {
    pub fn new(
        request: RequestView<'_>,
        service: ServiceView,
        facts: &Facts,
        [app, dataset]: [&'a str; 2],
    ) -> Self {
        Self {
            id: request.id(),
            arrival_ms: request.arrival().as_millis_f64(),
            now_ms: service.now.as_millis_f64(),
            app,
            dataset,
            prompt_tokens: facts.prompt_tokens,
            output_tokens: facts.output_tokens,
            slo: SloMessage::of(request.slo()),
            bounds: BoundsMessage::of(request.bounds()),
            resident: service.resident,
            queued: service.queued,
            forecasts: None,
        }
    }
}

/// An objective as stated.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum SloMessage {
    Relative { ttft_ratio: Ratio, tpot_ratio: Ratio },
    EndToEnd { e2e_ratio: Ratio },
    Energy { energy_ratio: Ratio },
    Absolute(BoundsMessage),
}

impl SloMessage {
    fn of(slo: Slo) -> Self {
        match slo {
            Slo::Relative { ttft, tpot } => Self::Relative { ttft_ratio: ttft, tpot_ratio: tpot },
            Slo::EndToEnd(Limit::Share(e2e_ratio)) => Self::EndToEnd { e2e_ratio },
            Slo::Energy(Limit::Share(energy_ratio)) => Self::Energy { energy_ratio },
            Slo::Absolute { ttft, tpot } => {
                Self::Absolute(BoundsMessage::of(Bounds::Latency { ttft, tpot }))
            }
            Slo::EndToEnd(Limit::Absolute(time)) => {
                Self::Absolute(BoundsMessage::of(Bounds::EndToEnd(time)))
            }
            Slo::Energy(Limit::Absolute(energy)) => {
                Self::Absolute(BoundsMessage::of(Bounds::Energy(energy)))
            }
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum BoundsMessage {
    Latency { ttft_ms: f64, tpot_ms: f64 },
    EndToEnd { e2e_ms: f64 },
    Energy { energy_mj: f64 },
}

impl BoundsMessage {
    fn of(bounds: Bounds) -> Self {
        match bounds {
            Bounds::Latency { ttft, tpot } => {
                Self::Latency { ttft_ms: millis(ttft), tpot_ms: millis(tpot) }
            }
            Bounds::EndToEnd(time) => Self::EndToEnd { e2e_ms: millis(time) },
            Bounds::Energy(energy) => Self::Energy { energy_mj: energy.as_millijoules_f64() },
        }
    }
}

/// What became of a request, if the policy asked to be told; it does not answer.
#[derive(Debug, Serialize)]
pub(super) struct Observed {
    id: u64,
    ttft_ms: f64,
    tpot_ms: Option<f64>,
    slo_met: bool,
    correct: Option<bool>,
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
    let plan = Plan { level: answer.level, prompt_ratio: answer.prompt_ratio };
    candidates.iter().map(|candidate| candidate.plan).find(|&known| known == plan)
}
