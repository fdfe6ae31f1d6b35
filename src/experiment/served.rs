//! One run by events: what its outcomes are counted in and written to.

use super::runner::Progress;
use super::witness::Kept;
use crate::error::Result;
use crate::executor::Executor;
use crate::method::Method;
use crate::metrics::{RunMeasures, Tally};
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::results::OutcomeCsv;
use crate::sim::{self, Calls, Lost, OutcomeSink, ServiceOptions};
use crate::trace::Trace;

/// What `method` shows on `trace` with `policy` and `executor`, worked off by events.
pub(super) fn served(
    method: &Method,
    trace: &Trace,
    mut policy: Box<dyn Policy>,
    executor: &mut dyn Executor,
    service: ServiceOptions,
    mut recorder: Recorder<'_>,
) -> Result<RunMeasures> {
    play(method, trace, policy.as_mut(), executor, service, &mut recorder)?;
    recorder.finish(policy.fallbacks())
}

/// Works off `trace` by events, as `policy` plans and `executor` answers.
///
/// # Errors
/// If method and trace do not fit each other, or a plan has no answer; and those of `sink`.
pub(super) fn play(
    method: &Method,
    trace: &Trace,
    policy: &mut dyn Policy,
    executor: &mut dyn Executor,
    service: ServiceOptions,
    sink: &mut dyn OutcomeSink,
) -> Result<()> {
    let bounds = method.bounds(trace)?;
    let needs = method.needs(trace, &bounds, service)?;
    let calls = Calls { requests: &trace.requests, bounds: &bounds, needs: needs.as_deref() };
    sim::replay_calls(calls, policy, executor, &service, sink)
}

/// What counts a run of `trace`: more where the service does more than to serve all in turn.
pub(super) fn tally_of(trace: &Trace, service: &ServiceOptions) -> Tally {
    if service.is_managed() || trace.has_terms() { Tally::of_service() } else { Tally::default() }
}

/// Counts, writes and tells.
pub(super) struct Recorder<'a> {
    pub tally: Tally,
    pub file: Option<OutcomeCsv<'a>>,
    pub kept: Option<&'a mut Kept>,
    pub progress: &'a dyn Progress,
}

impl OutcomeSink for Recorder<'_> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.tally.record(outcome);
        self.progress.advance(1);
        self.kept.as_mut().map_or(Ok(()), |kept| kept.record(outcome))?;
        self.file.as_mut().map_or(Ok(()), |file| file.record(outcome))
    }

    fn lose(&mut self, lost: &Lost) -> Result<()> {
        self.tally.lose(lost);
        self.progress.advance(1);
        self.kept.as_mut().map_or(Ok(()), |kept| kept.lose(lost))?;
        self.file.as_mut().map_or(Ok(()), |file| file.lose(lost))
    }
}

impl Recorder<'_> {
    fn finish(self, fallbacks: Option<usize>) -> Result<RunMeasures> {
        self.file.map_or(Ok(()), OutcomeCsv::finish)?;
        Ok(self.tally.finish(fallbacks))
    }
}
