//! `oracle`: what perfect knowledge of the answers would reach.
//!
//! Knows everything that `elastic-profile` knows and, for every request of its trace, which plans
//! answer it rightly. Among candidates that are right and meet both bounds it takes the lightest;
//! if there is none it chooses as `elastic-profile`. So no other policy over the same candidates
//! and with the same resident level meets an objective with a right answer where it does not.

use super::choice::{Forecaster, weight};
use super::costs::Candidate;
use super::elastic_profile::ElasticProfile;
use super::facts::{Annotations, Facts};
use super::scene::Scene;
use super::{Policy, ServiceView};
use crate::error::Result;
use crate::plan::Plan;
use crate::request::{Bounds, RequestView};
use crate::trace::Trace;
use crate::units::Level;

/// The policy; see the module.
#[derive(Debug)]
pub(super) struct Oracle {
    otherwise: ElasticProfile,
}

impl Oracle {
    /// Takes its knowledge from `scene`, by request id of `trace`.
    pub(super) fn new(scene: Scene, facts: Annotations, trace: &Trace) -> Result<Self> {
        Ok(Self { otherwise: ElasticProfile::new(scene, facts, trace)? })
    }
}

impl Policy for Oracle {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let forecaster = self.otherwise.forecaster();
        let facts = forecaster.facts(request);
        lightest_right(forecaster, facts, service.resident, request.bounds())
            .unwrap_or_else(|| self.otherwise.plan(request, service))
    }
}

/// The lightest plan that is predicted to meet `bounds` and answers rightly, if there is one.
pub(super) fn lightest_right(
    forecaster: &Forecaster,
    facts: &Facts,
    resident: Option<Level>,
    bounds: Bounds,
) -> Option<Plan> {
    let scene = &forecaster.scene;
    let is_right = |candidate: &&Candidate| scene.correct(candidate, facts.row) == Some(true);
    let right = scene.candidates().iter().filter(is_right);
    forecaster
        .feasible(right, facts, resident, bounds)
        .min_by_key(|(candidate, forecast)| weight(candidate, forecast))
        .map(|(candidate, _)| candidate.plan)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, plan};

    #[test]
    fn the_lightest_right_plan_wins_and_without_one_the_expected_best() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("oracle");
        // The request's item is answered rightly at ⟨50, 100⟩ and ⟨100, 100⟩ only.
        assert_eq!(bench.ask(&mut *policy, &bench.request(100, 10), None), plan(50, 100));
        // 49 ms: only ⟨50, 50⟩ is feasible, and wrong.
        assert_eq!(bench.ask(&mut *policy, &bench.request(49, 10), None), plan(50, 50));
    }
}
