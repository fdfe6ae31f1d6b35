//! The largest sub-model that fits: what PFS, LPruner, layer removal, LaCo, ShortGPT and AttnDrop
//! do.
//!
//! Knows the latency profile, the lengths of the request at hand and the resident level. Among
//! candidates whose unqueued forecast meets both bounds it takes the largest level, then the
//! largest prompt ratio; if none is feasible: the one that misses by the smallest share. Of plans
//! of two levels the answer's goes first, then the prompt's. The study's methods have no
//! compressor, so the prompt is full; given one, they are fairer opponents (`+prompt`). They are
//! this one rule over different families: separately trained models, width-pruned weights that are
//! re-laid out at each switch, whole layers skipped or merged, attention skipped first. By nominal
//! size ([`size_rule`](super::size_rule)) it looks at no latency and cuts no prompt.

use std::cmp::Reverse;

use super::costs::Candidate;
use super::menu::Menu;
use super::size_rule::SizeSpec;
use super::{DependsOn, Policy, Preferences, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::{Level, Ratio};

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct LargestLevel {
    menu: Menu,
    /// Candidates, largest level and fullest prompt first.
    ladder: Vec<Candidate>,
    size: SizeSpec,
}

impl LargestLevel {
    /// Chooses among all candidates of `menu`.
    pub(crate) fn new(menu: Menu, size: SizeSpec) -> Self {
        let mut ladder = menu.candidates().to_vec();
        ladder.sort_by_key(|Candidate { plan, .. }| {
            Reverse((plan.answer_level(), plan.level, plan.prompt_ratio))
        });
        Self { menu, ladder, size }
    }
}

impl Policy for LargestLevel {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        if self.size.is_nominal() {
            let levels: Vec<Level> = self.ladder.iter().map(|entry| entry.plan.level).collect();
            let level = self.size.largest(choices.objective_ratios(), &levels);
            return Plan::new(level, Ratio::ONE);
        }
        match choices.feasible(&self.ladder).next() {
            Some((candidate, _)) => candidate.plan,
            None => choices.least_late(&self.ladder),
        }
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
        let wanted = self.ladder.iter().map(|candidate| choices.forecasted(candidate));
        (!self.size.is_nominal()).then(|| choices.prefer(wanted.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::size_rule::{SizeRule, SizeSpec};
    use crate::executor::Executor as _;
    use crate::method::PolicySpec;
    use crate::method::testing::{Bench, in_phases, plan};
    use crate::request::{Request, Slo};
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
    fn with_a_compressor_the_prompt_gives_way_before_the_level() {
        let bench = Bench::elastic();
        let mut policy = bench.policy_of(PolicySpec::LargestLevel(SizeSpec::default()));
        let mut ask = |ttft, tpot| bench.ask(&mut *policy, &bench.request(ttft, tpot), None);
        assert_eq!(ask(100, 10), plan(100, 100));
        // Both ⟨100 %, 50 %⟩ and ⟨50 %, 100 %⟩ take 50 ms.
        assert_eq!(ask(50, 10), plan(100, 50));
        assert_eq!(ask(50, 9), plan(50, 100));
        assert_eq!(ask(49, 10), plan(50, 50));
    }

    /// The answer's level goes first: 50 % answers what level 100 % can read in time.
    #[test]
    fn of_two_levels_the_answers_goes_before_the_prompts() {
        let bench = Bench::in_phases();
        let mut policy = bench.policy_of(PolicySpec::LargestLevel(SizeSpec::default()));
        let mut ask = |ttft, tpot| bench.ask(&mut *policy, &bench.request(ttft, tpot), None);
        assert_eq!(ask(100, 10), plan(100, 100));
        assert_eq!(ask(100, 9), in_phases());
        assert_eq!(ask(99, 10), plan(100, 50));
        assert_eq!(ask(99, 9), plan(50, 100));
    }

    #[test]
    fn what_was_measured_of_two_levels_in_another_dataset_alone_is_not_offered() {
        let bench = Bench::in_phases_elsewhere();
        let mut policy = bench.policy_of(PolicySpec::LargestLevel(SizeSpec::default()));
        assert_eq!(bench.ask(&mut *policy, &bench.request(100, 9), None), plan(50, 100));
        let mut executor = bench.method.cost_model(&bench.trace).unwrap();
        let asked = executor.execute(&bench.request(100, 9), &in_phases());
        insta::assert_snapshot!(
            asked.unwrap_err().to_string().split_once("quality table").unwrap().1,
            @" width: not measured yet; found level 100 %, prompt 100 %, answer 50 %; allowed: plans measured before, or by `pliant profile asked EXPERIMENT.toml`"
        );
    }

    #[test]
    fn without_a_feasible_level_it_misses_least() {
        let bench = Bench::full_prompt();
        let mut policy = bench.policy("lpruner");
        assert_eq!(bench.ask(&mut *policy, &bench.request(10, 1), None), plan(50, 100));
    }

    /// 99.99 of the base model's 100 ms: a share of 0.9999 is not the full model's.
    #[test]
    fn by_nominal_size_an_objective_is_not_rounded_up() {
        let bench = Bench::full_prompt();
        let spec = SizeSpec::of(SizeRule::Nominal);
        let mut nominal = bench.policy_of(PolicySpec::LargestLevel(spec));
        let ms = std::time::Duration::from_millis;
        let slo = Slo::Absolute { ttft: std::time::Duration::from_micros(99_990), tpot: ms(10) };
        let request = Request { slo, ..bench.request(1, 1) };
        assert_eq!(bench.ask(&mut *nominal, &request, None), plan(50, 100));
    }

    #[test]
    fn by_nominal_size_measured_latencies_do_not_matter() {
        // 55 ms and 9 ms are shares 0.55 and 0.9 of the base model's 100 ms and 10 ms: level 50 %,
        // also where a switch of 4 ms would make it late; at a share of 1 the whole model.
        let bench = Bench::full_prompt();
        let by = |rule| bench.policy_of(PolicySpec::LargestLevel(SizeSpec::of(rule)));
        let mut nominal = by(SizeRule::Nominal);
        let mut ask =
            |ttft, tpot, resident| bench.ask(&mut *nominal, &bench.request(ttft, tpot), resident);
        let full = Some(Level::FULL);
        assert_eq!(ask(55, 9, None), plan(50, 100));
        assert_eq!(ask(51, 9, full), plan(50, 100));
        assert_eq!(ask(100, 10, Some(Level::percent(50))), plan(100, 100));
        // Published code overlooks the 5 ms of TPOT.
        let mut published = by(SizeRule::TtftOnly);
        assert_eq!(bench.ask(&mut *published, &bench.request(100, 5), None), plan(100, 100));
        assert_eq!(ask(100, 5, None), plan(50, 100));
    }
}
