//! A cut prompt and contextual sparsity: `lg2-cs`.
//!
//! Knows the latency profile, the lengths of the request at hand and the resident level. The prompt
//! is cut for TTFT and neurons are given up for TPOT: the family reads prompts whole, so a smaller
//! level does nothing for TTFT. Among candidates whose unqueued forecast meets both bounds it takes
//! the largest prompt ratio, then the largest level; if none is feasible: the one that misses by
//! the smallest share. By nominal size, as it is published, the ratio is the largest at most the
//! objective's share of TTFT and the level the largest at most its share of TPOT; below the
//! smallest, the smallest.

use std::cmp::Reverse;

use super::costs::Candidate;
use super::menu::{Choices, Menu};
use super::size_rule::SizeSpec;
use super::{DependsOn, Policy, Preferences, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::Level;

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct Lg2Cs {
    menu: Menu,
    size: SizeSpec,
}

impl Lg2Cs {
    /// Chooses among all candidates of `menu`.
    pub(crate) fn new(menu: Menu, size: SizeSpec) -> Self {
        Self { menu, size }
    }

    fn nominal(choices: &Choices<'_>) -> Plan {
        let (ttft, tpot) = choices.objective_ratios();
        let candidates = choices.candidates();
        let ratios = candidates.iter().map(|candidate| candidate.plan.prompt_ratio);
        let prompt_ratio = largest(ratios, |ratio| ratio <= ttft);
        let with_ratio = candidates.iter().filter(|c| c.plan.prompt_ratio == prompt_ratio);
        let level: Level = largest(with_ratio.map(|c| c.plan.level), |l| l.share() <= tpot);
        Plan::new(level, prompt_ratio)
    }
}

/// The largest value that `fits`, or the smallest.
fn largest<T: Ord + Copy>(values: impl Iterator<Item = T> + Clone, fits: impl Fn(T) -> bool) -> T {
    let fitting = values.clone().filter(|&value| fits(value)).max();
    fitting.or_else(|| values.min()).expect("a scene has at least the base model")
}

impl Policy for Lg2Cs {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        if self.size.is_nominal() {
            return Self::nominal(&choices);
        }
        let feasible = choices.feasible(choices.candidates()).map(|(candidate, _)| candidate.plan);
        feasible
            .max_by_key(|plan| (plan.prompt_ratio, plan.level))
            .unwrap_or_else(|| choices.least_late(choices.candidates()))
    }

    fn depends_on(&self) -> DependsOn {
        self.size.depends_on()
    }

    fn preferences(
        &self,
        request: RequestView<'_>,
        resident: Option<Level>,
    ) -> Option<Preferences> {
        let choices = self.menu.choices(request, resident);
        let mut wanted: Vec<_> =
            choices.candidates().iter().map(|candidate| choices.forecasted(candidate)).collect();
        wanted.sort_by_key(|(Candidate { plan, .. }, _)| Reverse((plan.prompt_ratio, plan.level)));
        (!self.size.is_nominal()).then(|| choices.prefer(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::super::size_rule::{SizeRule, SizeSpec};
    use crate::method::PolicySpec;
    use crate::method::testing::{Bench, plan};

    #[test]
    fn as_much_of_the_prompt_as_fits_and_then_as_many_neurons() {
        let bench = Bench::elastic();
        let mut policy = bench.policy_of(PolicySpec::Lg2Cs(SizeSpec::default()));
        let mut ask = |ttft, tpot| bench.ask(&mut *policy, &bench.request(ttft, tpot), None);
        assert_eq!(ask(100, 10), plan(100, 100));
        // Both ⟨50 %, 100 %⟩ and ⟨100 %, 50 %⟩ take 50 ms.
        assert_eq!(ask(50, 10), plan(50, 100));
        assert_eq!(ask(49, 10), plan(50, 50));
        assert_eq!(ask(10, 1), plan(50, 50), "none is feasible");
    }

    #[test]
    fn by_nominal_size_each_share_has_its_own_dimension() {
        // 55 ms and 9 ms are shares 0.55 and 0.9 of the base model's 100 ms and 10 ms.
        let bench = Bench::elastic();
        let mut policy = bench.policy_of(PolicySpec::Lg2Cs(SizeSpec::of(SizeRule::Nominal)));
        let mut ask = |ttft, tpot| bench.ask(&mut *policy, &bench.request(ttft, tpot), None);
        assert_eq!(ask(55, 10), plan(100, 50));
        assert_eq!(ask(100, 9), plan(50, 100));
        assert_eq!(ask(20, 2), plan(50, 50), "below the smallest");
    }
}
