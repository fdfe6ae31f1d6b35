//! `elastilm`: the plan that the tiny language model's decision-head chose for the very prompt.
//!
//! Knows what the head answered to the request's own prompt (stored with the item, since a replay
//! has no text), the latency profile, the lengths of the request at hand and the resident level. A
//! `soft` answer gives each plan's probability of being right: the feasible plan of the largest one
//! is taken, of those without any only if no other is feasible; ties: the lighter plan. A `hard`
//! answer names one plan for the objective. Each decision is checked against the objective before
//! it is followed (the study's run-time check): one that would miss it gives way to a plan drawn
//! evenly from those that do not, from a random stream of its own, and is counted. If none is
//! feasible: the plan that misses by the smallest share. As published, a plan that would miss keeps
//! its prompt ratio and gets the largest level that meets the objective with it.
//!
//! The head says nothing of plans of two levels. One of them is as probably right as the plan of
//! its answer's level alone, and as much more as the estimate items say that its prompt level adds.
//!
//! In a real run the head itself is asked as requests come, in place of its stored answers
//! ([`LiveHead`]).

use std::fmt::Debug;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::costs::{Candidate, Forecast};
use super::menu::{Choices, Menu};
use super::{DependsOn, Policy, Preferences, ServiceView};
use crate::error::Result;
use crate::plan::Plan;
use crate::profile::{Answer, Decision};
use crate::request::RequestView;
use crate::rng;
use crate::units::Level;

/// Whose account of what a decision that would miss its objective gives way to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The study's text.
    #[default]
    Described,
    /// The study's published code.
    Published,
}

/// A decision-head that reads prompts as requests come.
pub trait LiveHead: Debug + Send {
    /// Its answer to the prompt of the request `id`, for an objective of `ttft` and `tpot` as
    /// shares of the base model's times. A head that names plans need not answer for other
    /// objectives.
    ///
    /// # Errors
    /// If inference fails.
    fn decide(&mut self, id: u64, ttft: f64, tpot: f64) -> Result<Decision>;
}

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct Elastilm {
    menu: Menu,
    head: Option<Box<dyn LiveHead>>,
    draws: ChaCha8Rng,
    reading: Reading,
    fallbacks: usize,
    /// Whether every answer is soft and of the store: one fails only where nothing fits, and then
    /// nothing is drawn.
    draws_nothing: bool,
    /// Whether there was a decision, until it is settled.
    last: Result<()>,
}

impl Elastilm {
    /// Starts the policy's own stream of `seed`. Without a `head` its stored answers are taken.
    pub(crate) fn new(
        menu: Menu,
        seed: u64,
        reading: Reading,
        head: Option<Box<dyn LiveHead>>,
    ) -> Self {
        let draws = rng::stream(seed, "policy/elastilm");
        let soft = |known: &Decision| matches!(known.answer, Answer::Soft(_));
        let draws_nothing = head.is_none() && menu.decisions.iter().flatten().all(soft);
        Self { menu, head, draws, reading, fallbacks: 0, draws_nothing, last: Ok(()) }
    }
}

impl Policy for Elastilm {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let choices = self.menu.choices(request, service.resident);
        let candidates = choices.candidates();
        let feasible: Vec<_> = choices.feasible(candidates).collect();
        let objective = choices.objective_shares();
        let asked =
            self.head.as_mut().map(|head| head.decide(request.id(), objective.0, objective.1));
        let decision = match &asked {
            None => choices.decision().expect("annotated rows are decided"),
            Some(Ok(decision)) => decision,
            Some(Err(_)) => {
                self.last = asked.expect("just seen").map(drop);
                return Plan::FULL;
            }
        };
        // Drawn for every request, so that one fallback does not move the next.
        let share: f64 = self.draws.random();
        if let Some(plan) = follow(decision, &choices, &feasible, objective) {
            return plan;
        }
        self.fallbacks += 1;
        if self.reading == Reading::Published
            && let Some(plan) = same_prompt(decision, &feasible, objective)
        {
            return plan;
        }
        match feasible.get((share * feasible.len() as f64) as usize) {
            Some((candidate, _)) => candidate.plan,
            None => choices.least_late(candidates),
        }
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        std::mem::replace(&mut self.last, Ok(())).map(|()| None)
    }

    fn depends_on(&self) -> DependsOn {
        if self.draws_nothing { DependsOn::Resident } else { DependsOn::History }
    }

    fn preferences(
        &self,
        request: RequestView<'_>,
        resident: Option<Level>,
    ) -> Option<Preferences> {
        let choices = self.menu.choices(request, resident);
        let decision = choices.decision().filter(|_| self.draws_nothing)?;
        let candidates = choices.candidates().iter();
        let mut wanted: Vec<_> =
            candidates.map(|candidate| choices.forecasted(candidate)).collect();
        let probable = |candidate: &Candidate| probability(decision, &choices, candidate);
        wanted.sort_by(|(a, of_a), (b, of_b)| {
            let order = probable(b).partial_cmp(&probable(a)).expect("checked when read");
            order.then_with(|| a.weight(of_a).cmp(&b.weight(of_b)))
        });
        Some(choices.prefer(wanted))
    }

    fn fallbacks(&self) -> Option<usize> {
        Some(self.fallbacks)
    }
}

/// What `decision` comes to among `feasible` plans; `None` if it would miss the objective.
fn follow(
    decision: &Decision,
    choices: &Choices<'_>,
    feasible: &[(&Candidate, Forecast)],
    (ttft, tpot): (f64, f64),
) -> Option<Plan> {
    if let Answer::Soft(_) = decision.answer {
        let probable = |entry: &(&Candidate, Forecast)| probability(decision, choices, entry.0);
        let best = feasible.iter().max_by(|a, b| {
            let lighter = || b.0.weight(&b.1).cmp(&a.0.weight(&a.1));
            probable(a).partial_cmp(&probable(b)).expect("checked when read").then_with(lighter)
        });
        return Some(best?.0.plan);
    }
    let plan = decision.plan(ttft, tpot)?;
    feasible.iter().any(|(candidate, _)| candidate.plan == plan).then_some(plan)
}

/// How probably `candidate` answers rightly; `None` if nothing says so.
fn probability(decision: &Decision, choices: &Choices<'_>, candidate: &Candidate) -> Option<f64> {
    let alone = candidate.of_answer_alone();
    let told = f64::from(decision.probability(alone.plan)?);
    if alone == *candidate {
        return Some(told);
    }
    Some(told + choices.expected_accuracy(candidate)? - choices.expected_accuracy(&alone)?)
}

/// The largest level among `feasible` plans of the prompt ratio that `decision` names.
fn same_prompt(
    decision: &Decision,
    feasible: &[(&Candidate, Forecast)],
    (ttft, tpot): (f64, f64),
) -> Option<Plan> {
    let ratio = decision.plan(ttft, tpot)?.prompt_ratio;
    let plans = feasible.iter().map(|(candidate, _)| candidate.plan);
    plans.filter(|plan| plan.prompt_ratio == ratio).max_by_key(|plan| plan.level)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::{LiveHead, Reading};
    use crate::error::{Error, Result};
    use crate::method::testing::{Bench, hard, in_phases, items, plan, soft};
    use crate::plan::Plan;
    use crate::profile::Decision;

    // The bench (see `testing`): ⟨100, 100⟩ takes 100 ms and 10 ms, ⟨50, 100⟩ 50 and 5,
    // ⟨100, 50⟩ 50 and 10, ⟨50, 50⟩ 25 and 5. Deciding costs the bench 1 ms, by its 10 tokens.

    #[test]
    fn the_most_probable_feasible_plan_wins_and_ties_go_to_the_lighter() {
        let half_prompt = [(plan(100, 50), 0.9), (plan(50, 100), 0.8), (plan(50, 50), 0.8)];
        let bench = Bench::decided(soft(&half_prompt));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(101, 10), None), plan(100, 50));
        // A TPOT bound of 9 ms forbids level 100 %: two plans of probability 0.8 are left.
        assert_eq!(bench.ask(&mut *policy, &bench.request(101, 9), None), plan(50, 50));
        assert_eq!(policy.fallbacks(), Some(0));
    }

    /// Level 50 % is right with 0.6, and estimate items say that level 100 % reading its prompt adds a
    /// quarter: 0.85, more than the 0.7 of level 100 % alone.
    #[test]
    fn a_plan_of_two_levels_is_as_probable_as_its_answers_and_what_its_prompts_level_adds() {
        let known = [(plan(50, 100), 0.6), (plan(100, 100), 0.7)];
        let bench = Bench::decided_in_phases(soft(&known));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(101, 10), None), in_phases());
        assert_eq!(bench.ask(&mut *policy, &bench.request(101, 5), None), plan(50, 100));
        let known = [(plan(50, 100), 0.6), (plan(100, 100), 0.9)];
        let bench = Bench::decided_in_phases(soft(&known));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(101, 10), None), plan(100, 100));
    }

    #[test]
    fn deciding_is_part_of_the_forecast() {
        let bench = Bench::decided(soft(&[(plan(50, 100), 0.9), (plan(50, 50), 0.1)]));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(51, 5), None), plan(50, 100));
        assert_eq!(bench.ask(&mut *policy, &bench.request(50, 5), None), plan(50, 50));
    }

    #[test]
    fn a_named_plan_is_followed_if_it_meets_the_objective() {
        // The full model takes 100 and 10 ms: bounds of 51 and 10 ms are ⟨51 %, 100 %⟩.
        let bench = Bench::decided(hard(&[(50, 100, plan(100, 50)), (90, 100, plan(50, 100))]));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(51, 10), None), plan(100, 50));
        assert_eq!(bench.ask(&mut *policy, &bench.request(99, 10), None), plan(50, 100));
        assert_eq!(policy.fallbacks(), Some(0));
    }

    #[test]
    fn a_decision_that_misses_the_objective_gives_way_to_a_random_feasible_plan_and_is_counted() {
        let bench = Bench::decided(hard(&[(50, 50, plan(100, 100))]));
        let mut policy = bench.own_policy();
        let mut counts = BTreeMap::new();
        for _ in 0..2000 {
            // 51 and 9 ms: ⟨50, 100⟩ and ⟨50, 50⟩ are feasible.
            *counts.entry(bench.ask(&mut *policy, &bench.request(51, 9), None)).or_insert(0) += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [plan(50, 50), plan(50, 100)]);
        // Binomial with n = 2000 and p = 1/2: standard deviation 22.4.
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 90), "{counts:?}");
        assert_eq!(policy.fallbacks(), Some(2000));
    }

    #[test]
    fn as_published_a_decision_that_is_too_late_keeps_its_prompt_and_gets_a_smaller_level() {
        let hasty = hard(&[(60, 100, plan(100, 100)), (90, 50, plan(100, 50))]);
        let bench = Bench::decided_as(hasty, Reading::Published);
        let mut policy = bench.own_policy();
        // 61 and 10 ms: ⟨100, 100⟩ takes 101, and of the plans with the whole prompt only ⟨50, 100⟩
        // is in time.
        assert_eq!(bench.ask(&mut *policy, &bench.request(61, 10), None), plan(50, 100));
        // 95 and 5 ms forbid level 100 %.
        assert_eq!(bench.ask(&mut *policy, &bench.request(95, 5), None), plan(50, 50));
        // 30 ms: no plan with the whole prompt is in time, ⟨50, 50⟩ is the only one at all.
        assert_eq!(bench.ask(&mut *policy, &bench.request(30, 10), None), plan(50, 50));
        assert_eq!(policy.fallbacks(), Some(3));
    }

    #[test]
    fn without_a_feasible_plan_it_misses_least_and_counts() {
        let bench = Bench::decided(soft(&[(plan(100, 100), 0.9)]));
        let mut policy = bench.own_policy();
        assert_eq!(bench.ask(&mut *policy, &bench.request(2, 1), None), plan(50, 50));
        assert_eq!(policy.fallbacks(), Some(1));
    }

    /// Says what it is told to, and remembers what it was asked.
    #[derive(Debug, Default)]
    struct Parrot(Arc<Mutex<Vec<(u64, f64, f64)>>>, Option<Plan>);

    impl LiveHead for Parrot {
        fn decide(&mut self, id: u64, ttft: f64, tpot: f64) -> Result<Decision> {
            self.0.lock().unwrap().push((id, ttft, tpot));
            let plan = self.1.ok_or_else(|| Error::new("decision-head", "broken"))?;
            Ok(Decision { answer: soft(&[(plan, 0.9)]), tlm_tokens: 10 })
        }
    }

    #[test]
    fn a_live_head_is_asked_in_place_of_the_stored_answers() {
        let bench = Bench::decided(soft(&[(plan(50, 50), 0.9)]));
        let parrot = Parrot(Arc::default(), Some(plan(50, 100)));
        let asked = Arc::clone(&parrot.0);
        let mut policy = bench.method.live_policy(&bench.trace, 1, Box::new(parrot)).unwrap();
        // The full model takes 100 and 10 ms: bounds of 80 and 10 ms are ⟨80 %, 100 %⟩.
        let request = bench.request(80, 10);
        assert_eq!(bench.ask(&mut *policy, &request, None), plan(50, 100));
        assert_eq!(policy.settle().unwrap(), None, "the executor bills deciding");
        let (id, ttft, tpot) = asked.lock().unwrap()[0];
        assert!(id == request.id && (ttft - 0.8).abs() < 1e-9 && (tpot - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_live_head_that_fails_voids_the_plan_and_the_next_is_asked_for_anew() {
        let bench = Bench::decided(soft(&[(plan(50, 50), 0.9)]));
        let parrot = Box::new(Parrot::default());
        let mut policy = bench.method.live_policy(&bench.trace, 1, parrot).unwrap();
        for _ in 0..2 {
            bench.ask(&mut *policy, &bench.request(80, 10), None);
            assert!(policy.settle().unwrap_err().to_string().contains("broken"));
        }
        assert_eq!(policy.fallbacks(), Some(0));
    }

    #[test]
    fn only_elastilm_has_a_head_to_ask() {
        let bench = Bench::elastic();
        let asked = bench.method.live_policy(&bench.trace, 1, Box::new(Parrot::default()));
        assert!(asked.unwrap_err().to_string().contains("no decision-head"));
    }

    #[test]
    fn a_trace_with_an_undecided_item_is_refused() {
        let bench = Bench::decided(soft(&[]));
        let mut trace = bench.trace.clone();
        trace.requests[0].item = items(crate::profile::Split::Replay)[1];
        assert!(!bench.method.knows("quiz", trace.requests[0].item));
        assert!(bench.method.menu(&trace).is_err());
    }
}
