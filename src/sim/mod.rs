//! Discrete-event simulation of one service. Knows no concrete policy, executor, file or clock.
//!
//! ```text
//! arrival ──► queue ──► start: policy.plan, executor.execute, sink ──► completion: policy.observe
//!             FIFO/EDF  │ decide │ compress │ switch │ prefill │ decode │
//!                       start                       first token ▲
//! ```
//!
//! One server takes up one request at a time and keeps it to its last token. The level whose
//! weights are resident is the state of the service; a policy sees it before it plans.
//!
//! The page of the crate has a first simulation, worked out by hand.
//!
//! # Simultaneous events
//!
//! 1. At one instant completions come first, then arrivals, then the start of service. So a server
//!    that becomes free at an instant may take up a request that arrives at it, and whoever is
//!    chosen was chosen among all that have arrived by then.
//! 2. Events of one kind at one instant happen in the order in which they were scheduled: arrivals
//!    in the order of the trace.
//!
//! Hence `observe` for every request completed by an instant precedes every `plan` at it.
//!
//! # Ideal isolation
//!
//! With [`ServiceOptions::ideal_isolation`] every request starts at its arrival, as if it had the
//! device to itself: no queueing, which is what the study assumes. Plans are made in order of
//! arrival, and the resident level is the one most recently planned.
//!
//! # Closed loop
//!
//! With [`ServiceOptions::closed_loop`] an app sends its first request when the trace says, and
//! every other one after the completion of the one before and a time to think: the gap that the
//! trace has between the two. A slow service then sees fewer requests at a time, never more than
//! there are apps; their arrivals differ between methods, their thoughts do not.
//!
//! # Two ways
//!
//! [`replay`] is the reference: it works off events, one at a time, for any policy and executor.
//! [`replay_columns`] gives the same outcomes where a [`Ledger`] can be kept: to a policy that says
//! that its plans depend on no more than kind, resident level and wait, and an executor that
//! repeats itself. Then a request is a look-up and an addition. Closed loops have the reference
//! alone: an arrival there is an event.

mod closed_loop;
mod fast;
mod kernel;
mod ledger;
mod queue;
mod service;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::executor::Executor;
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::request::{Bounds, Request};

pub use fast::{Ran, Served, ServedSink, replay_columns};
pub use ledger::{Entered, Entry, Ledger};
pub use queue::Discipline;

/// How the service treats the requests that reach it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ServiceOptions {
    /// Order of service.
    pub discipline: Discipline,
    /// Whether every request starts at its arrival, without queueing.
    pub ideal_isolation: bool,
    /// Whether an app waits for its answer, and thinks, before it sends its next request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed_loop: bool,
}

/// Where outcomes go: in order of service, each as soon as it is known.
pub trait OutcomeSink {
    /// Takes note of one served request.
    ///
    /// # Errors
    /// If it cannot be stored; the replay stops.
    fn record(&mut self, outcome: &Outcome) -> Result<()>;
}

impl OutcomeSink for Vec<Outcome> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.push(*outcome);
        Ok(())
    }
}

/// Replays `requests`, which are sorted by arrival, each with its resolved objective.
///
/// Every request is planned once, executed once and recorded once.
///
/// # Errors
/// The first error of the policy, the executor or the sink.
///
/// # Panics
/// If there are not as many bounds as requests, or the requests are not sorted by arrival.
pub fn replay(
    requests: &[Request],
    bounds: &[Bounds],
    policy: &mut dyn Policy,
    executor: &mut dyn Executor,
    options: &ServiceOptions,
    sink: &mut dyn OutcomeSink,
) -> Result<()> {
    assert_eq!(requests.len(), bounds.len(), "every request has its bounds");
    service::Service::new(requests, bounds, policy, executor, *options).run(sink)
}

#[cfg(test)]
mod tests;
