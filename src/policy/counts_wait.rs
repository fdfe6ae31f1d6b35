//! Any policy, told what is left of a request's bounds: method key `counts_wait`.
//!
//! Knows what the policy inside knows, and how long the request has waited. The study's policies
//! ask whether a plan would be in time if service began on arrival; under load it begins later, and
//! a plan that fills its bound is late. With the wait taken off, the policy inside chooses a plan
//! that is still in time or, where none is, one that misses by the smallest share; once the wait
//! has used the bound up, that is the quickest plan, and those behind wait less.

use std::time::Duration;

use super::{DependsOn, Policy, ServiceView, Step};
use crate::error::Result;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::Level;

/// The decorator; see the module.
#[derive(Debug)]
pub(crate) struct CountsWait(pub(crate) Box<dyn Policy>);

impl Policy for CountsWait {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let waited = service.now.since(request.arrival());
        self.0.plan(request.with_bounds(request.bounds().after(waited)), service)
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        self.0.settle()
    }

    fn depends_on(&self) -> DependsOn {
        match self.0.depends_on() {
            DependsOn::Resident => DependsOn::Wait,
            _ => DependsOn::History,
        }
    }

    fn by_wait(&self, request: RequestView<'_>, resident: Option<Level>) -> Option<Vec<Step>> {
        Some(self.0.preferences(request, resident)?.by_wait(request.bounds()))
    }

    fn observe(&mut self, outcome: &Outcome) {
        self.0.observe(outcome);
    }

    fn fallbacks(&self) -> Option<usize> {
        self.0.fallbacks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, plan};
    use crate::method::{MethodSpec, PolicySpec};
    use crate::request::Bounds;

    /// ⟨100, 100⟩ takes 100 ms, ⟨50, 100⟩ and ⟨100, 50⟩ 50, ⟨50, 50⟩ 25; the table prefers the full
    /// prompt. Of a bound of 100 ms the request has used up some by the time it is taken up.
    #[test]
    fn what_a_request_has_waited_is_no_longer_to_be_had() {
        let bench = Bench::elastic();
        let method = MethodSpec { counts_wait: true, ..bench.method.spec().clone() };
        assert_eq!(method.policy, PolicySpec::ElasticProfile {});
        let (mut counting, mut blind) = (bench.method_policy(&method), bench.own_policy());
        let ask = |policy: &mut dyn Policy, waited_ms| {
            let (ms, request) = (Duration::from_millis, bench.request(100, 10));
            let bounds = Bounds::Latency { ttft: ms(100), tpot: ms(10) };
            let now = request.arrival + ms(waited_ms);
            let service =
                ServiceView { now, resident: None, queued: 0, speed: crate::units::Ratio::ONE };
            policy.plan(RequestView::new(&request, bounds), service)
        };
        let mut counted = |waited_ms| ask(&mut *counting, waited_ms);
        assert_eq!(counted(0), plan(100, 100));
        assert_eq!(counted(50), plan(50, 100));
        assert_eq!(counted(75), plan(50, 50));
        // Lost: nothing is feasible, and the quickest plan misses by least.
        assert_eq!(counted(90), plan(50, 50));
        assert_eq!(counted(250), plan(50, 50));
        assert_eq!(ask(&mut *blind, 250), plan(100, 100));
    }
}
