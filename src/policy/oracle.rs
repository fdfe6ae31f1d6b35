//! `oracle`: what perfect knowledge of the answers would reach.
//!
//! Knows everything that `elastic-profile` knows and, for every request of its trace, which plans
//! answer it rightly. Among candidates that are right and meet both bounds it takes the lightest;
//! if there is none it chooses as `elastic-profile`. So no other policy over the same candidates
//! and with the same resident level meets an objective with a right answer where it does not.

use super::choice::weight;
use super::elastic_profile::ElasticProfile;
use super::facts::Annotations;
use super::scene::Scene;
use super::{Policy, ServiceView};
use crate::error::Result;
use crate::plan::Plan;
use crate::request::RequestView;
use crate::trace::Trace;

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
        let scene = &forecaster.scene;
        let right = scene
            .candidates()
            .iter()
            .filter(|candidate| scene.correct(candidate, facts.row) == Some(true));
        let best = forecaster
            .feasible(right, facts, service.resident, request.bounds())
            .min_by_key(|(candidate, forecast)| weight(candidate, forecast))
            .map(|(candidate, _)| candidate.plan);
        best.unwrap_or_else(|| self.otherwise.plan(request, service))
    }
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
