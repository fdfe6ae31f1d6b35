//! What happened to a request: the phases an executor measured, the instants the simulator set.

use std::time::Duration;

use crate::plan::Plan;
use crate::request::{Bounds, Request};
use crate::units::SimTime;

/// Lengths of the phases of one execution, in the order they happen, and the answer's worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Execution {
    /// Choosing the plan.
    pub decide: Duration,
    /// Compressing the prompt.
    pub compress: Duration,
    /// Making the plan's level resident.
    pub switch: Duration,
    /// Reading the compressed prompt, up to and with the first output token.
    pub prefill: Duration,
    /// All output tokens after the first.
    pub decode: Duration,
    /// Prompt tokens the model really read.
    pub kept_tokens: u32,
    /// Whether the answer was right; `None` where nobody knows.
    pub correct: Option<bool>,
}

impl Execution {
    /// From the start of service to the first token.
    #[must_use]
    pub fn until_first_token(&self) -> Duration {
        self.decide + self.compress + self.switch + self.prefill
    }
}

/// A served request. Instants are ordered: arrival ≤ start ≤ first token ≤ completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The request as it arrived.
    pub request: Request,
    /// Its objective as lengths of time.
    pub bounds: Bounds,
    /// How it was answered.
    pub plan: Plan,
    /// When the service took it up.
    pub start: SimTime,
    /// Phases and answer.
    pub execution: Execution,
}

impl Outcome {
    /// When the first output token was there.
    #[must_use]
    pub fn first_token(&self) -> SimTime {
        self.start + self.execution.until_first_token()
    }

    /// When the last output token was there.
    #[must_use]
    pub fn completion(&self) -> SimTime {
        self.first_token() + self.execution.decode
    }

    /// Time spent waiting for earlier requests.
    #[must_use]
    pub fn queued(&self) -> Duration {
        self.start - self.request.arrival
    }

    /// Time to first token, from arrival: queueing, deciding, compressing and switching included.
    #[must_use]
    pub fn ttft(&self) -> Duration {
        self.first_token() - self.request.arrival
    }

    /// Mean time per output token after the first; `None` for a single token.
    #[must_use]
    pub fn tpot(&self) -> Option<Duration> {
        let gaps = self.request.output_tokens.checked_sub(1).filter(|&gaps| gaps > 0)?;
        Some(self.execution.decode / gaps)
    }

    /// Whether the first token came in time.
    #[must_use]
    pub fn ttft_met(&self) -> bool {
        self.ttft() <= self.bounds.ttft
    }

    /// Whether the following tokens came fast enough; a single token cannot be late here.
    #[must_use]
    pub fn tpot_met(&self) -> bool {
        self.tpot().is_none_or(|tpot| tpot <= self.bounds.tpot)
    }

    /// Whether every bound was met.
    #[must_use]
    pub fn slo_met(&self) -> bool {
        self.ttft_met() && self.tpot_met()
    }
}
