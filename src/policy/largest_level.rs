//! `lpruner` and `layer-removal`: the largest sub-model that fits, on the full prompt.
//!
//! Knows the latency profile, the lengths of the request at hand and the resident level. Among
//! full-prompt candidates whose unqueued forecast meets both bounds it takes the largest level; if
//! none is feasible: the level that misses by the smallest share. The two methods are this one
//! rule over different families: `lpruner` over width-pruned weights that are re-laid out at each
//! switch, `layer-removal` over whole layers, which cost nothing to skip.

use super::choice::Forecaster;
use super::costs::Candidate;
use super::facts::Annotations;
use super::scene::Scene;
use super::{Policy, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::Ratio;

/// The policy; see the module.
#[derive(Debug)]
pub(super) struct LargestLevel {
    forecaster: Forecaster,
    /// Full-prompt candidates, largest level first.
    ladder: Vec<Candidate>,
}

impl LargestLevel {
    /// Picks the full-prompt candidates of `scene`.
    pub(super) fn new(scene: Scene, facts: Annotations) -> Self {
        let full_prompt = |candidate: &&Candidate| candidate.plan.prompt_ratio == Ratio::ONE;
        let ladder = scene.candidates().iter().rev().filter(full_prompt).copied().collect();
        Self { forecaster: Forecaster { scene, facts }, ladder }
    }
}

impl Policy for LargestLevel {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let (forecaster, bounds) = (&self.forecaster, request.bounds());
        let facts = forecaster.facts(request);
        let largest =
            forecaster.feasible(self.ladder.iter(), facts, service.resident, bounds).next();
        match largest {
            Some((candidate, _)) => candidate.plan,
            None => forecaster.least_late(self.ladder.iter(), facts, service.resident, bounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, plan};
    use crate::units::Level;

    #[test]
    fn the_largest_feasible_level_wins_on_the_full_prompt() {
        let bench = Bench::full_prompt();
        let mut policy = bench.policy("lpruner");
        assert_eq!(bench.ask(&mut *policy, &bench.request(100, 10), None), plan(100, 100));
        assert_eq!(bench.ask(&mut *policy, &bench.request(99, 10), None), plan(50, 100));
        // A re-layout of 4 ms after level 50 % makes level 100 % too late at 103 ms.
        let half = Some(Level::percent(50));
        assert_eq!(bench.ask(&mut *policy, &bench.request(103, 10), half), plan(50, 100));
        assert_eq!(bench.ask(&mut *policy, &bench.request(104, 10), half), plan(100, 100));
    }

    #[test]
    fn without_a_feasible_level_it_misses_least() {
        let bench = Bench::full_prompt();
        let mut policy = bench.policy("lpruner");
        assert_eq!(bench.ask(&mut *policy, &bench.request(10, 1), None), plan(50, 100));
    }
}
