//! Discrete-event simulation of one service. Knows no concrete policy, executor, file or clock.
//!
//! ```text
//! arrival ──► scheduler ──► start: policy.plan, executor.execute ──► completion: policy.observe
//!                           │ decide │ compress │ switch │ prefill │ decode │
//!                           start                       first token ▲
//! ```
//!
//! The [scheduler](crate::schedule) says who is taken up, refused or told to stop; here it is
//! driven with virtual time. One server takes up one request at a time. The level whose weights are
//! resident is the state of the service; a policy sees it before it plans.
//!
//! The page of the crate has a first simulation, worked out by hand.
//!
//! # Simultaneous events
//!
//! 1. At one instant completions come first, then what apps give up, then arrivals, then what the
//!    scheduler decides. So a server that becomes free at an instant may take up a request that
//!    arrives at it, and whoever is chosen was chosen among all that have arrived by then.
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
//! # Interruptions
//!
//! What is told to stop does so at its next token; until the first one nothing stops it. When it
//! goes on, making its level resident is billed again, and where its KV cache was lost reading its
//! prompt and what it has written, at the pace at which the prompt was read. An outcome is recorded
//! once it is certain: at the start where nothing can interrupt, else at the end.
//!
//! # Two ways
//!
//! [`replay`] is the reference: it works off events, one at a time, for any policy and executor.
//! [`replay_columns`] gives the same outcomes where a [`Ledger`] can be kept: to a policy that says
//! that its plans depend on no more than kind, resident level and wait, and an executor that
//! repeats itself. Then a request is a look-up and an addition. Closed loops, classes, and whatever
//! refuses, interrupts or gives up have the reference alone.
//!
//! [`Steps`] is the reference turned around: it stops at each decision and goes on when it is told
//! the plan, for who is not called but calls, such as an environment that something learns in.

mod closed_loop;
mod fast;
mod kernel;
mod ledger;
mod legs;
mod service;
mod steps;

use std::time::Duration;

use crate::error::Result;
use crate::executor::Executor;
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::request::{Bounds, Request};
use crate::schedule::{Admit, Needs, Reason};
use crate::units::SimTime;

pub use fast::{Ran, Served, ServedSink, replay_columns};
pub use ledger::{Entered, Entry, Ledger};
pub use service::Asked;
pub use steps::Steps;

pub use crate::schedule::{Discipline, ServiceOptions};

/// Requests as they are to arrive.
#[derive(Debug, Clone, Copy)]
pub struct Calls<'a> {
    /// Sorted by arrival.
    pub requests: &'a [Request],
    /// The objective of each as quantities.
    pub bounds: &'a [Bounds],
    /// The least that answering each takes; only [`Admit::IfFeasible`] asks for it.
    pub needs: Option<&'a [Needs]>,
}

/// A request that left without its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lost {
    /// The request as it arrived.
    pub request: Request,
    /// Its objective as quantities.
    pub bounds: Bounds,
    /// When it left.
    pub at: SimTime,
    /// Why.
    pub reason: Reason,
    /// When it was taken up, if it was.
    pub started: Option<SimTime>,
    /// How long the server worked for it.
    pub worked: Duration,
}

/// Where outcomes go: each as soon as it is known, in order of service.
pub trait OutcomeSink {
    /// Takes note of one served request.
    ///
    /// # Errors
    /// If it cannot be stored; the replay stops.
    fn record(&mut self, outcome: &Outcome) -> Result<()>;

    /// Takes note of a request that was refused or cancelled, which a sink of outcomes alone does
    /// not.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    fn lose(&mut self, _lost: &Lost) -> Result<()> {
        Ok(())
    }
}

impl OutcomeSink for Vec<Outcome> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.push(*outcome);
        Ok(())
    }
}

/// Replays `requests`, which are sorted by arrival, each with its resolved objective.
///
/// Every request is planned once, executed once and recorded once, unless the service refuses it or
/// gives it up.
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
    replay_calls(Calls { requests, bounds, needs: None }, policy, executor, options, sink)
}

/// The same, of `calls` that say what they need.
///
/// # Errors
/// As [`replay`].
///
/// # Panics
/// As there, or if the service admits what is feasible and nobody says what that takes.
pub fn replay_calls(
    calls: Calls<'_>,
    policy: &mut dyn Policy,
    executor: &mut dyn Executor,
    options: &ServiceOptions,
    sink: &mut dyn OutcomeSink,
) -> Result<()> {
    assert_eq!(calls.requests.len(), calls.bounds.len(), "every request has its bounds");
    if let Some(needs) = calls.needs {
        assert_eq!(calls.requests.len(), needs.len(), "every request has its needs");
    }
    assert!(options.admit == Admit::All || calls.needs.is_some(), "what is feasible is known");
    let mut world = service::World { calls, executor, sink };
    service::Service::new(calls, *options).run(&mut world, policy, |_, _| {})
}

/// The same, each decision being told with its instant.
#[cfg(test)]
pub(crate) fn replay_logged(
    calls: Calls<'_>,
    policy: &mut dyn Policy,
    executor: &mut dyn Executor,
    options: ServiceOptions,
    sink: &mut dyn OutcomeSink,
    log: impl FnMut(crate::units::SimTime, crate::schedule::Decision),
) -> Result<()> {
    let mut world = service::World { calls, executor, sink };
    service::Service::new(calls, options).run(&mut world, policy, log)
}

#[cfg(test)]
mod tests;
