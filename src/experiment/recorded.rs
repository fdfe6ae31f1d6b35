//! A stored run, to be replayed without asking anyone: it chooses, and takes, what was chosen and
//! taken then.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::executor::Executor;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::policy::{Policy, ServiceView};
use crate::request::{Request, RequestView};
use crate::results::StoredRun;
use crate::trace::Trace;

/// Plans and executions by request id.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded(BTreeMap<u64, (Plan, Execution)>);

impl Recorded {
    /// Of `run`, if it has all requests of `trace`.
    pub fn of(run: &StoredRun, trace: &Trace) -> Option<Self> {
        let outcomes = run.outcomes.iter();
        let outcomes = outcomes.map(|one| (one.request.id, (one.plan, one.execution)));
        let outcomes: BTreeMap<_, _> = outcomes.collect();
        let is_known = |request: &Request| outcomes.contains_key(&request.id);
        trace.requests.iter().all(is_known).then_some(Self(outcomes))
    }

    /// What was chosen for the request and what it took.
    ///
    /// # Panics
    /// If the request is not of the trace.
    pub fn get(&self, id: u64) -> (Plan, Execution) {
        self.0[&id]
    }
}

impl Policy for Recorded {
    fn plan(&mut self, request: RequestView<'_>, _service: ServiceView) -> Plan {
        self.get(request.id()).0
    }
}

impl Executor for Recorded {
    fn execute(&mut self, request: &Request, _plan: &Plan) -> Result<Execution> {
        Ok(self.get(request.id).1)
    }
}
