//! What `pliant policy explain` tells of one decision.

use std::fmt;

use serde::Serialize;

use super::alternatives::Alternatives;
use crate::item::ItemId;
use crate::outcome::{Execution, Outcome};
use crate::plan::Plan;
use crate::policy::Seen;
use crate::units::{Energy, Grade, millis};

/// A decision with all that led to it and came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the method.
    pub method: String,
    /// Kind of its policy.
    pub policy: &'static str,
    /// Name of the device.
    pub device: String,
    /// The model whose latencies are billed.
    pub latency_of: String,
    /// The model whose answers are judged.
    pub base_model: String,
    /// Where both come from.
    pub provenance: String,
    /// Skew of the trace.
    pub alpha: f64,
    /// Seed of the replication.
    pub seed: u64,
    /// Where choice and outcome come from.
    pub source: Source,
    /// What the policy saw.
    pub seen: Seen<'static>,
    /// Which item of the dataset it was, which the policy did not see.
    pub item: ItemId,
    /// What it chose.
    pub choice: Plan,
    /// Whether its run-time check put the first decision aside; `None` for a policy without one, or
    /// where that was not stored.
    pub put_aside: Option<bool>,
    /// Why, in the words of who planned it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What came of it.
    pub happened: Happened,
    /// What else there was, by the tables that forecasts are made from.
    #[serde(flatten)]
    pub alternatives: Alternatives,
    /// What is odd.
    pub warnings: Vec<ExplainWarning>,
}

/// Where choice and outcome come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The run was simulated again.
    Replayed,
    /// The outcomes that the run left.
    Stored,
}

/// An outcome in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Happened {
    /// Wait for earlier requests.
    pub waited_ms: f64,
    /// Choosing.
    pub decide_ms: f64,
    /// Cutting the prompt.
    pub compress_ms: f64,
    /// Making the level resident.
    pub switch_ms: f64,
    /// To the first token.
    pub prefill_ms: f64,
    /// All tokens after it.
    pub decode_ms: f64,
    /// Prompt tokens that the model read.
    pub kept_tokens: u32,
    /// From arrival to the first token.
    pub ttft_ms: f64,
    /// Per token after the first; `None` of a single one.
    pub tpot_ms: Option<f64>,
    /// From arrival to the last token.
    pub e2e_ms: f64,
    /// What serving drew, where the device's power is known.
    pub energy_mj: Option<f64>,
    /// Whether every bound was met.
    pub slo_met: bool,
    /// Whether the answer was right; `None` where nobody knows.
    pub correct: Option<Grade>,
}

impl Happened {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let Execution { decide, compress, switch, prefill, decode, kept_tokens, correct, .. } =
            outcome.execution;
        Self {
            waited_ms: millis(outcome.queued()),
            decide_ms: millis(decide),
            compress_ms: millis(compress),
            switch_ms: millis(switch),
            prefill_ms: millis(prefill),
            decode_ms: millis(decode),
            kept_tokens,
            ttft_ms: millis(outcome.ttft()),
            tpot_ms: outcome.tpot().map(millis),
            e2e_ms: millis(outcome.end_to_end()),
            energy_mj: outcome.energy().map(Energy::as_millijoules_f64),
            slo_met: outcome.slo_met(),
            correct,
        }
    }
}

/// Why an explanation may not be that of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExplainWarning {
    /// An input of the run is another one today.
    InputChanged {
        /// The file.
        path: String,
    },
    /// The run stored another plan or other times than its replay gives.
    OutcomeDiffers {
        /// The plan it stored.
        plan: Plan,
    },
}

impl fmt::Display for ExplainWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputChanged { path } => write!(f, "{path} is not what the run read"),
            Self::OutcomeDiffers { plan } => {
                write!(f, "the run stored another outcome, with plan {plan}")
            }
        }
    }
}
