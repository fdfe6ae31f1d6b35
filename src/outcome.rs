//! What happened to a request: the phases an executor measured, the instants the simulator set.

use std::time::Duration;

use crate::plan::Plan;
use crate::request::{Bounds, Request};
use crate::units::{Energy, Grade, Milliwatts, SimTime};

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
    /// How right the answer was; `None` where nobody knows.
    pub correct: Option<Grade>,
    /// Electrical power of the device throughout; `None` where nobody knows.
    pub power: Option<Milliwatts>,
}

impl Execution {
    /// From the start of service to the first token.
    #[must_use]
    pub fn until_first_token(&self) -> Duration {
        self.decide + self.compress + self.switch + self.prefill
    }

    /// What all phases drew, where the power is known.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        Some(self.power?.energy(self.until_first_token() + self.decode))
    }
}

/// Which bounds a request missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// That on the time to first token alone.
    Ttft,
    /// That on the time per output token alone.
    Tpot,
    /// Both of these.
    Both,
    /// That on the time end to end.
    EndToEnd,
    /// That on energy.
    Energy,
}

/// Which bounds an answer misses, by how long its request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The longest wait with which the bound on a time from arrival is met; `None` if none is short
    /// enough. Without such a bound: any wait.
    pub longest_wait: Option<Duration>,
    /// What is missed after a wait that is no longer, if anything.
    pub in_time: Option<Miss>,
    /// What is missed after a longer one.
    pub late: Option<Miss>,
}

/// What interruptions, each between two tokens, added to an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interruptions {
    /// How many.
    pub times: u32,
    /// How long it waited for the server, over all of them.
    pub paused: Duration,
    /// How long the server worked to go on: making the level resident and reading again what the KV
    /// cache had.
    pub again: Duration,
}

/// A served request. Instants are ordered: arrival ≤ start ≤ first token ≤ completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The request as it arrived.
    pub request: Request,
    /// Its objective as quantities.
    pub bounds: Bounds,
    /// How it was answered.
    pub plan: Plan,
    /// When the service took it up.
    pub start: SimTime,
    /// Phases and answer.
    pub execution: Execution,
    /// What is not in them, because it happened between two tokens.
    pub interruptions: Interruptions,
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
        self.first_token() + self.after_first_token()
    }

    /// From the first token to the last: decoding, and what interrupted it.
    #[must_use]
    pub fn after_first_token(&self) -> Duration {
        self.execution.decode + self.interruptions.paused + self.interruptions.again
    }

    /// How long the server worked for it.
    #[must_use]
    pub fn worked(&self) -> Duration {
        let first = self.execution.until_first_token() + self.execution.decode;
        first + self.interruptions.again
    }

    /// What it drew, where the power is known; pauses draw nothing that is its own.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        Some(self.execution.power?.energy(self.worked()))
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
        Some(self.after_first_token() / gaps)
    }

    /// From arrival to the last token.
    #[must_use]
    pub fn end_to_end(&self) -> Duration {
        self.completion() - self.request.arrival
    }

    /// Whether every bound of the objective was met. A single token cannot miss a bound on the
    /// time per token, and energy that nobody knows meets none.
    #[must_use]
    pub fn slo_met(&self) -> bool {
        self.missed().is_none()
    }

    /// The bounds that were missed, if any.
    #[must_use]
    pub fn missed(&self) -> Option<Miss> {
        let Standing { longest_wait, in_time, late } = self.standing();
        if longest_wait.is_some_and(|longest| self.queued() <= longest) { in_time } else { late }
    }

    /// Which bounds are missed after which wait, whatever this one was.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let until_first_token = self.execution.until_first_token();
        match self.bounds {
            Bounds::Latency { ttft, tpot } => {
                let slow = self.tpot().is_some_and(|time| time > tpot);
                Standing {
                    longest_wait: ttft.checked_sub(until_first_token),
                    in_time: slow.then_some(Miss::Tpot),
                    late: Some(if slow { Miss::Both } else { Miss::Ttft }),
                }
            }
            Bounds::EndToEnd(bound) => Standing {
                longest_wait: bound.checked_sub(until_first_token + self.after_first_token()),
                in_time: None,
                late: Some(Miss::EndToEnd),
            },
            Bounds::Energy(bound) => {
                let met = self.energy().is_some_and(|drawn| drawn <= bound);
                let missed = (!met).then_some(Miss::Energy);
                Standing { longest_wait: Some(Duration::MAX), in_time: missed, late: missed }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{AppId, DatasetId, Limit, Slo, Terms};

    /// Waits 5 ms, reads for 10 ms, writes three more tokens for 12 ms, at 2 W.
    fn outcome(bounds: Bounds) -> Outcome {
        let ms = Duration::from_millis;
        let request = Request {
            id: 0,
            arrival: SimTime::ZERO,
            app: AppId(0),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 1,
            output_tokens: 4,
            slo: Slo::EndToEnd(Limit::Absolute(ms(1))),
            terms: Terms::default(),
        };
        let execution = Execution {
            prefill: ms(10),
            decode: ms(12),
            power: Some(Milliwatts::new(2000)),
            ..Execution::default()
        };
        Outcome {
            request,
            bounds,
            plan: Plan::FULL,
            start: SimTime::ZERO + ms(5),
            execution,
            interruptions: Interruptions::default(),
        }
    }

    #[test]
    fn end_to_end_time_counts_waiting_and_energy_does_not() {
        let met = |bounds| outcome(bounds).slo_met();
        let ms = Duration::from_millis;
        assert_eq!(outcome(Bounds::EndToEnd(ms(1))).end_to_end(), ms(27));
        assert!(met(Bounds::EndToEnd(ms(27))) && !met(Bounds::EndToEnd(ms(26))));
        // 22 ms at 2 W are 44 mJ.
        let millijoules = |n: u64| Bounds::Energy(Energy::from_nanojoules(n * 1_000_000));
        assert!(met(millijoules(44)) && !met(millijoules(43)));
        let mut unmetered = outcome(millijoules(1_000_000));
        unmetered.execution.power = None;
        assert!(!unmetered.slo_met());
    }
}
