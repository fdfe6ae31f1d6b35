//! What a service did beside serving: the sums behind refusals, interruptions, waste and fairness.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::request::{AppId, Request};
use crate::sim::Lost;
use crate::units::SimTime;

/// Sums over the requests of a service; empty, and its measures absent, unless they are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceSums {
    is_counted: bool,
    pub refused: u64,
    pub cancelled: u64,
    pub preempted: u64,
    worked: Duration,
    wasted: Duration,
    /// First arrival and last end.
    span: Option<(SimTime, SimTime)>,
    /// By app: requests that arrived, and those that met every bound.
    apps: BTreeMap<AppId, (u64, u64)>,
}

impl ServiceSums {
    /// Sums that are counted.
    pub fn counted() -> Self {
        Self { is_counted: true, ..Self::default() }
    }

    pub fn serve(&mut self, outcome: &Outcome, met: bool) {
        if !self.is_counted {
            return;
        }
        self.preempted += u64::from(outcome.interruptions.times > 0);
        self.work(outcome.worked(), outcome.interruptions.again);
        self.arrive(&outcome.request, outcome.completion(), met);
    }

    pub fn lose(&mut self, lost: &Lost) {
        if lost.reason.is_refusal() {
            self.refused += 1;
        } else {
            self.cancelled += 1;
        }
        self.work(lost.worked, lost.worked);
        self.arrive(&lost.request, lost.at, false);
    }

    fn work(&mut self, worked: Duration, wasted: Duration) {
        self.worked += worked;
        self.wasted += wasted;
    }

    fn arrive(&mut self, request: &Request, end: SimTime, met: bool) {
        let (arrived, of_these) = self.apps.entry(request.app).or_default();
        *arrived += 1;
        *of_these += u64::from(met);
        let (first, last) = self.span.unwrap_or((request.arrival, end));
        self.span = Some((first.min(request.arrival), last.max(end)));
    }

    pub fn share(&self, part: u64, whole: u64) -> Option<f64> {
        (self.is_counted && whole > 0).then(|| part as f64 / whole as f64)
    }

    /// Absent where no work was done.
    pub fn wasted_share(&self) -> Option<f64> {
        ratio(self.wasted, self.worked)
    }

    /// Absent where no app has met anything: then all are alike, and none has anything.
    pub fn fairness(&self) -> Option<f64> {
        let attained = self.apps.values().map(|&(arrived, met)| met as f64 / arrived as f64);
        let (sum, squares) =
            attained.fold((0.0, 0.0), |(sum, squares), x: f64| (sum + x, squares + x * x));
        (squares > 0.0).then(|| (sum * sum / (self.apps.len() as f64 * squares)).min(1.0))
    }

    /// Above 1, and then 1, where requests had servers of their own.
    pub fn busy(&self) -> Option<f64> {
        let (first, last) = self.span?;
        ratio(self.worked, last - first).map(|busy| busy.min(1.0))
    }
}

fn ratio(part: Duration, whole: Duration) -> Option<f64> {
    (!whole.is_zero()).then(|| part.as_secs_f64() / whole.as_secs_f64())
}
