//! Properties of all policies on random scenes, and what a scene refuses.

use proptest::prelude::*;
use rand::RngExt;

use super::testing::{Bench, answers, items, lengths};
use super::*;
use crate::outcome::Outcome;
use crate::profile::Split;
use crate::request::{Bounds, Request};
use crate::rng;

/// What becomes of `request` under `plan` if it never waits.
fn outcome(bench: &Bench, request: &Request, plan: Plan, resident: Option<Level>) -> Outcome {
    let (scene, facts) = (&bench.scene, bench.scene.annotate(&bench.trace).unwrap());
    let (candidate, facts) = (scene.resolve(plan).unwrap(), facts.get(request.id).unwrap());
    let mut execution = scene.phases(&candidate, facts, resident);
    execution.correct = scene.correct(&candidate, facts.row);
    let bounds = scene.bounds(&bench.trace).unwrap()[request.id as usize];
    Outcome { request: *request, bounds, plan, start: request.arrival, execution }
}

fn feasible(bench: &Bench, request: &Request, bounds: Bounds, resident: Option<Level>) -> bool {
    let facts = bench.scene.annotate(&bench.trace).unwrap();
    let facts = facts.get(request.id).unwrap();
    let mut candidates = bench.scene.candidates().iter();
    candidates.any(|candidate| bench.scene.forecast(candidate, facts, resident).meets(bounds))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_policy_is_right_in_time_where_the_oracle_is_not(seed in any::<u64>()) {
        let bench = Bench::random(seed, 20);
        let bounds = bench.scene.bounds(&bench.trace).unwrap();
        let mut residents = rng::stream(seed, "residents");
        let mut oracle = bench.policy("oracle");
        let others = ["elastic-profile", "full", "random-feasible"];
        let mut others = others.map(|kind| (kind, bench.policy(kind)));
        for (request, &bounds) in bench.trace.requests.iter().zip(&bounds) {
            let resident = Some(Level::LADDER[residents.random_range(0..9)]);
            let good = |policy: &mut dyn Policy| {
                let service = ServiceView { now: request.arrival, resident, queued: 0 };
                let plan = policy.plan(RequestView::new(request, bounds), service);
                let outcome = outcome(&bench, request, plan, resident);
                outcome.slo_met() && outcome.execution.correct == Some(true)
            };
            let best = good(&mut *oracle);
            for (kind, policy) in &mut others {
                prop_assert!(best || !good(&mut **policy), "{kind} on request {}", request.id);
            }
        }
    }

    #[test]
    fn a_feasible_plan_is_chosen_whenever_there_is_one_and_then_the_objective_is_met(
        seed in any::<u64>(),
    ) {
        let bench = Bench::random(seed, 20);
        let bounds = bench.scene.bounds(&bench.trace).unwrap();
        for kind in ["elastic-profile", "random-feasible", "oracle"] {
            let mut policy = bench.policy(kind);
            for (request, &bounds) in bench.trace.requests.iter().zip(&bounds) {
                let resident = Some(Level::percent(50));
                let service = ServiceView { now: request.arrival, resident, queued: 0 };
                let plan = policy.plan(RequestView::new(request, bounds), service);
                let met = outcome(&bench, request, plan, resident).slo_met();
                prop_assert_eq!(met, feasible(&bench, request, bounds, resident), "{}", kind);
            }
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_plans_and_another_seed_others() {
    let bench = Bench::random(3, 50);
    let bounds = bench.scene.bounds(&bench.trace).unwrap();
    let plans = |seed| {
        let mut policy = bench.seeded_policy("random-feasible", seed);
        let requests = bench.trace.requests.iter().zip(&bounds);
        let service = ServiceView { now: SimTime::ZERO, resident: None, queued: 0 };
        let plans = requests
            .map(|(request, &bounds)| policy.plan(RequestView::new(request, bounds), service));
        plans.collect::<Vec<_>>()
    };
    assert_eq!(plans(1), plans(1));
    assert_ne!(plans(1), plans(2));
}

#[test]
fn a_trace_that_does_not_fit_the_tables_is_refused() {
    let bench = Bench::elastic();
    let refusal = |change: fn(&mut Request)| {
        let mut trace = bench.trace.clone();
        change(&mut trace.requests[0]);
        bench.scene.annotate(&trace).unwrap_err().to_string()
    };
    let mut twice = bench.trace.clone();
    twice.requests.push(twice.requests[0]);
    let refusals = [
        refusal(|request| request.item = 999),
        refusal(|request| request.item = items(Split::Estimate)[0]),
        refusal(|request| request.prompt_tokens = 99),
        refusal(|request| request.output_tokens = u32::MAX),
        bench.scene.annotate(&twice).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn tables_that_do_not_fit_the_device_are_refused() {
    let method = &standard_methods()[0];
    let scene = |device: &str, latency_of: &str, full: bool| {
        let mut device_profile = super::testing::device();
        device_profile.name = device.into();
        let rows = if full { answers() } else { super::testing::answers_without_base() };
        Scene::from_parts(&device_profile, latency_of, rows, Some(&lengths()), None, method)
    };
    let refusals = [
        scene("bench", "huge", true).unwrap_err().to_string(),
        scene("bench", "tiny", false).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}
