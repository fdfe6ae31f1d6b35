//! `random-feasible`: any plan that fits the objective, the control for how much choosing matters.
//!
//! Knows the latency profile, the lengths of the request at hand and the resident level. Draws
//! evenly among candidates whose unqueued forecast meets both bounds, from a random stream of its
//! own; one draw per request, also when nothing is feasible. If none is feasible: the plan that
//! misses by the smallest share.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::menu::Menu;
use super::{Policy, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::rng;

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct RandomFeasible {
    menu: Menu,
    draws: ChaCha8Rng,
    /// Room for one request's feasible plans, kept between requests.
    feasible: Vec<Plan>,
}

impl RandomFeasible {
    /// Starts the policy's own stream of `seed`.
    pub(crate) fn new(menu: Menu, seed: u64) -> Self {
        let draws = rng::stream(seed, "policy/random-feasible");
        Self { menu, draws, feasible: Vec::new() }
    }
}

impl Policy for RandomFeasible {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        let feasible = choices.feasible(choices.candidates());
        self.feasible.clear();
        self.feasible.extend(feasible.map(|(candidate, _)| candidate.plan));
        let share: f64 = self.draws.random();
        if self.feasible.is_empty() {
            return choices.least_late(choices.candidates());
        }
        self.feasible[(share * self.feasible.len() as f64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use crate::method::testing::{Bench, plan};
    use std::collections::BTreeMap;

    #[test]
    fn feasible_plans_are_drawn_evenly_and_others_never() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("random-feasible");
        let mut counts = BTreeMap::new();
        for _ in 0..3000 {
            // 50 ms: all but ⟨100, 100⟩.
            *counts.entry(bench.ask(&mut *policy, &bench.request(50, 10), None)).or_insert(0) += 1;
        }
        assert_eq!(
            counts.keys().copied().collect::<Vec<_>>(),
            [plan(50, 50), plan(50, 100), plan(100, 50)]
        );
        // Binomial with n = 3000 and p = 1/3: standard deviation 25.8.
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 104), "{counts:?}");
    }

    #[test]
    fn without_a_feasible_plan_it_misses_least() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("random-feasible");
        assert_eq!(bench.ask(&mut *policy, &bench.request(1, 1), None), plan(50, 50));
    }
}
