//! `elastic-profile`: the most accurate plan that fits the objective.
//!
//! Knows the latency profile, accuracies on estimate items by dataset (or by app), the lengths of
//! the request at hand, and the resident level. Among candidates whose unqueued forecast meets both
//! bounds it takes the largest expected accuracy; ties: the lighter plan. If none is feasible: the
//! plan that misses by the smallest share. Time already spent in the queue is not looked at, as in
//! the paper.

use super::costs::Candidate;
use super::menu::Menu;
use super::{DependsOn, Policy, Preferences, ServiceView};
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::Level;

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct ElasticProfile {
    menu: Menu,
    /// By group of the menu: candidates by falling expected accuracy. Empty for one without
    /// estimate items.
    ranking: Vec<Vec<Ranked>>,
}

#[derive(Debug)]
struct Ranked {
    expected_accuracy: f64,
    candidate: Candidate,
}

impl ElasticProfile {
    /// Ranks the candidates of `menu` for every group, each of which has expected accuracies if a
    /// request is of it.
    pub(crate) fn new(menu: Menu) -> Self {
        let ranking = (0..menu.groups()).map(|group| rank(&menu, group)).collect();
        Self { menu, ranking }
    }

    /// Candidates of one expected accuracy after the other, most accurate first.
    fn ties(&self, request: RequestView<'_>) -> impl Iterator<Item = &[Ranked]> {
        let ranking = &self.ranking[self.menu.group(request)];
        ranking.chunk_by(|a, b| a.expected_accuracy.total_cmp(&b.expected_accuracy).is_eq())
    }
}

fn rank(menu: &Menu, group: usize) -> Vec<Ranked> {
    let ranked = |&candidate: &Candidate| {
        let expected_accuracy = menu.expected_accuracy(&candidate, group)?;
        Some(Ranked { expected_accuracy, candidate })
    };
    let mut ranking: Vec<_> = menu.candidates().iter().filter_map(ranked).collect();
    ranking.sort_by(|a, b| b.expected_accuracy.total_cmp(&a.expected_accuracy));
    ranking
}

impl Policy for ElasticProfile {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        for equally_accurate in self.ties(request) {
            let feasible = choices.feasible(equally_accurate.iter().map(|one| &one.candidate));
            if let Some((_, plan)) = feasible.map(|(one, forecast)| one.weight(&forecast)).min() {
                return plan;
            }
        }
        let ranking = &self.ranking[self.menu.group(request)];
        choices.least_late(ranking.iter().map(|ranked| &ranked.candidate))
    }

    fn depends_on(&self) -> DependsOn {
        DependsOn::Resident
    }

    fn preferences(
        &self,
        request: RequestView<'_>,
        resident: Option<Level>,
    ) -> Option<Preferences> {
        let choices = self.menu.choices(request, resident);
        let mut wanted = Vec::new();
        for equally_accurate in self.ties(request) {
            let from = wanted.len();
            wanted.extend(equally_accurate.iter().map(|one| choices.forecasted(&one.candidate)));
            wanted[from..].sort_by_key(|(candidate, forecast)| candidate.weight(forecast));
        }
        Some(choices.prefer(wanted))
    }
}

#[cfg(test)]
mod tests {
    use crate::method::MethodSpec;
    use crate::method::testing::{Bench, in_phases, plan};
    use crate::plan::Phases;
    use crate::units::{Level, Ratio};

    // The bench (see `testing`): TTFT = level · kept ms, kept = ratio · 100 tokens; TPOT = 10 ms ·
    // level; so ⟨100, 100⟩ takes 100 ms and 10 ms, ⟨50, 100⟩ 50 and 5, ⟨100, 50⟩ 50 and 10,
    // ⟨50, 50⟩ 25 and 5; a switch takes 4 ms. Expected accuracies: 0.75, 0.5, 0.5, 0.25.

    #[test]
    fn the_most_accurate_feasible_plan_wins() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("elastic-profile");
        assert_eq!(bench.ask(&mut *policy, &bench.request(100, 10), None), plan(100, 100));
        // 99 ms: ⟨100, 100⟩ is out. Of the two plans of accuracy 0.5, ⟨50, 100⟩ needs 50 + 4 · 5
        // ms to the last of five tokens, ⟨100, 50⟩ 50 + 4 · 10.
        assert_eq!(bench.ask(&mut *policy, &bench.request(99, 10), None), plan(50, 100));
    }

    /// ⟨50, 100⟩ and ⟨100, 50⟩ take 50 ms; a tenth of 55 ms leaves 49.5.
    #[test]
    fn a_margin_is_left_of_every_bound() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("elastic-profile");
        assert_ne!(bench.ask(&mut *policy, &bench.request(55, 10), None), plan(50, 50));
        let method = MethodSpec { margin: Some(Ratio::percent(10)), ..bench.method.spec().clone() };
        let mut policy = bench.method_policy(&method);
        assert_eq!(bench.ask(&mut *policy, &bench.request(55, 10), None), plan(50, 50));
        // TPOT: a tenth of 11 ms leaves 9.9, of 12 ms 10.8.
        assert_eq!(bench.ask(&mut *policy, &bench.request(112, 11), None), plan(50, 100));
        assert_eq!(bench.ask(&mut *policy, &bench.request(112, 12), None), plan(100, 100));
    }

    /// ⟨100 %, 100 %, 50 %⟩ takes 100 ms and 6 ms a token and is expected right as often as
    /// ⟨100 %, 100 %⟩.
    #[test]
    fn a_larger_level_reads_the_prompt_where_only_the_answer_has_to_hurry() {
        let bench = Bench::in_phases();
        let mut policy = bench.own_policy();
        let mut ask = |ttft, tpot| bench.ask(&mut *policy, &bench.request(ttft, tpot), None);
        assert_eq!(ask(100, 10), in_phases(), "of equals the quicker");
        assert_eq!(ask(100, 6), in_phases());
        assert_eq!(ask(100, 5), plan(50, 100));
        assert_eq!(ask(99, 6), plan(50, 100));
        let one_level = MethodSpec { phases: Phases::One, ..bench.method.spec().clone() };
        let mut one_level = bench.method_policy(&one_level);
        assert_eq!(bench.ask(&mut *one_level, &bench.request(100, 6), None), plan(50, 100));
    }

    #[test]
    fn switching_is_part_of_the_forecast() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("elastic-profile");
        let full = Some(Level::FULL);
        // With 100 % resident ⟨50, 100⟩ needs 4 + 50 ms: 52 ms leave ⟨100, 50⟩.
        assert_eq!(bench.ask(&mut *policy, &bench.request(52, 10), full), plan(100, 50));
        assert_eq!(bench.ask(&mut *policy, &bench.request(54, 10), full), plan(50, 100));
        // A TPOT bound of 9 ms forbids level 100 %; 52 ms then leave ⟨50, 50⟩ at 29 ms.
        assert_eq!(bench.ask(&mut *policy, &bench.request(52, 9), full), plan(50, 50));
    }

    #[test]
    fn without_a_feasible_plan_the_smallest_relative_excess_wins() {
        let bench = Bench::elastic();
        let mut policy = bench.policy("elastic-profile");
        // 10 ms and 1 ms: ⟨50, 50⟩ misses by factors 2.5 and 5; ⟨50, 100⟩ by 5 and 5, and is
        // heavier.
        assert_eq!(bench.ask(&mut *policy, &bench.request(10, 1), None), plan(50, 50));
        // 10 ms and 10 ms: ⟨100, 50⟩ misses by 5, ⟨50, 50⟩ by 2.5.
        assert_eq!(bench.ask(&mut *policy, &bench.request(10, 10), None), plan(50, 50));
    }
}
