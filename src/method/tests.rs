//! Properties of all policies on random scenes, and what a method refuses.

use std::time::Duration;

use proptest::prelude::*;
use rand::RngExt;

use super::testing::{Bench, answers, hard, items, lengths, plan};
use super::*;
use crate::outcome::{Interruptions, Outcome};
use crate::plan::{Phases, Plan};
use crate::policy::{Policy, ServiceView, SizeRule, SizeSpec};
use crate::profile::Split;
use crate::request::{Bounds, Limit, Request, RequestView, Slo};
use crate::rng;
use crate::trace::Trace;
use crate::units::{Energy, Grade, Level, Ratio, SimTime};

/// What becomes of `request` under `plan` if it never waits.
fn outcome(bench: &Bench, request: &Request, plan: Plan, resident: Option<Level>) -> Outcome {
    let executor = bench.method.cost_model(&bench.trace).unwrap();
    let execution = executor.bill(request, plan, resident).unwrap();
    let bounds = bench.method.bounds(&bench.trace).unwrap()[request.id as usize];
    Outcome {
        request: *request,
        bounds,
        plan,
        start: request.arrival,
        execution,
        interruptions: Interruptions::default(),
    }
}

fn feasible(bench: &Bench, request: &Request, bounds: Bounds, resident: Option<Level>) -> bool {
    let menu = bench.method.menu(&bench.trace).unwrap();
    let choices = menu.choices(RequestView::new(request, bounds), resident);
    choices.feasible(choices.candidates()).next().is_some()
}

fn phases() -> impl Strategy<Value = Phases> {
    prop_oneof![Just(Phases::One), Just(Phases::Two)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is told of a plan is what is billed of it, whichever level was in memory; and one whose
    /// levels are one is billed as the plan of one level.
    #[test]
    fn a_plan_of_two_levels_takes_what_is_forecast_and_one_of_equal_levels_what_one_level_does(
        seed in any::<u64>(),
    ) {
        let bench = Bench::random_in(Phases::Two, seed, 20);
        let one_level = Bench::random(seed, 20);
        let (bounds, menu) = (bench.method.bounds(&bench.trace), bench.method.menu(&bench.trace));
        let (bounds, menu) = (bounds.unwrap(), menu.unwrap());
        for (request, &bounds) in bench.trace.requests.iter().zip(&bounds) {
            let resident = Some(Level::LADDER[request.id as usize % 9]);
            let choices = menu.choices(RequestView::new(request, bounds), resident);
            for one in choices.candidates() {
                let billed = outcome(&bench, request, one.plan, resident).execution;
                let told = choices.forecast(one);
                prop_assert_eq!(told.ttft, billed.until_first_token());
                prop_assert_eq!(told.decode(), billed.decode);
                let equal = one.plan.answered_by(one.plan.level).unwrap();
                let alone = outcome(&one_level, request, equal, resident).execution;
                prop_assert_eq!(alone.until_first_token(), billed.until_first_token());
                if one.plan == equal {
                    prop_assert_eq!(alone, billed);
                }
            }
        }
    }

    #[test]
    fn no_policy_is_right_in_time_where_the_oracle_is_not(
        seed in any::<u64>(),
        phases in phases(),
    ) {
        let bench = Bench::random_in(phases, seed, 20);
        let bounds = bench.method.bounds(&bench.trace).unwrap();
        let mut residents = rng::stream(seed, "residents");
        let mut oracle = bench.policy("oracle");
        let others = ["elastic-profile", "full", "random-feasible"];
        let mut others = others.map(|kind| (kind, bench.policy(kind)));
        for (request, &bounds) in bench.trace.requests.iter().zip(&bounds) {
            let resident = Some(Level::LADDER[residents.random_range(0..9)]);
            let good = |policy: &mut dyn Policy| {
                let service = ServiceView { now: request.arrival, resident, queued: 0, speed: crate::units::Ratio::ONE };
                let plan = policy.plan(RequestView::new(request, bounds), service);
                let outcome = outcome(&bench, request, plan, resident);
                outcome.slo_met() && outcome.execution.correct.is_some_and(Grade::is_right)
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
        phases in phases(),
    ) {
        let bench = Bench::random_in(phases, seed, 20);
        let bounds = bench.method.bounds(&bench.trace).unwrap();
        for kind in ["elastic-profile", "random-feasible", "oracle"] {
            let mut policy = bench.policy(kind);
            for (request, &bounds) in bench.trace.requests.iter().zip(&bounds) {
                let resident = Some(Level::percent(50));
                let service = ServiceView { now: request.arrival, resident, queued: 0, speed: crate::units::Ratio::ONE };
                let plan = policy.plan(RequestView::new(request, bounds), service);
                let met = outcome(&bench, request, plan, resident).slo_met();
                prop_assert_eq!(met, feasible(&bench, request, bounds, resident), "{}", kind);
            }
        }
    }
}

fn bounded(bench: &Bench, slo: Slo) -> Request {
    Request { slo, ..bench.request(1, 1) }
}

// On the bench (see `testing`), to the last of five tokens: ⟨100, 100⟩ 100 + 4 · 10 = 140 ms,
// ⟨100, 50⟩ 90, ⟨50, 100⟩ 70, ⟨50, 50⟩ 45; metered at 2 W that is 280, 180, 140 and 90 mJ.

#[test]
fn a_plan_meets_a_bound_on_end_to_end_time_where_one_can() {
    let bench = Bench::elastic();
    let within = |limit| bounded(&bench, Slo::EndToEnd(limit));
    let ms = |ms| within(Limit::Absolute(Duration::from_millis(ms)));
    let mut elastic = bench.policy("elastic-profile");
    let mut ask = |request: &Request, resident| bench.ask(&mut *elastic, request, resident);
    assert_eq!(ask(&ms(140), None), plan(100, 100));
    assert_eq!(ask(&ms(139), None), plan(50, 100), "as accurate as ⟨100, 50⟩, and lighter");
    assert_eq!(ask(&ms(69), None), plan(50, 50));
    assert_eq!(ask(&ms(1), None), plan(50, 50), "the least late");
    // Half of the base model's 140 ms; with a switch of 4 ms ⟨50, 100⟩ takes 74.
    let half = within(Limit::Share(Ratio::percent(50)));
    assert_eq!(ask(&half, None), plan(50, 100));
    assert_eq!(ask(&half, Some(Level::FULL)), plan(50, 50));
    let mut lpruner = bench.policy("lpruner");
    assert_eq!(bench.ask(&mut *lpruner, &ms(140), None), plan(100, 100));
    assert_eq!(bench.ask(&mut *lpruner, &ms(139), None), plan(50, 100));
}

#[test]
fn a_plan_meets_a_bound_on_energy_where_one_can() {
    let bench = Bench::metered();
    let within = |limit| bounded(&bench, Slo::Energy(limit));
    let millijoules = |mj: u64| within(Limit::Absolute(Energy::from_nanojoules(mj * 1_000_000)));
    let mut elastic = bench.policy("elastic-profile");
    let mut ask = |request: &Request| bench.ask(&mut *elastic, request, None);
    assert_eq!(ask(&millijoules(280)), plan(100, 100));
    assert_eq!(ask(&millijoules(279)), plan(50, 100));
    assert_eq!(ask(&millijoules(139)), plan(50, 50));
    assert_eq!(ask(&millijoules(1)), plan(50, 50), "the least wasteful");
    // Two thirds of 280 mJ are 186.7.
    assert_eq!(ask(&within(Limit::Share(Ratio::new(0.667).unwrap()))), plan(50, 100));
    let mut full = bench.policy("full");
    assert_eq!(bench.ask(&mut *full, &millijoules(1), None), plan(100, 100));
}

#[test]
fn by_nominal_size_a_bound_on_the_whole_answer_is_one_share_of_both_phases() {
    let bench = Bench::metered();
    let sized = SizeSpec::of(SizeRule::Nominal);
    let mut nominal = bench.policy_of(PolicySpec::LargestLevel(sized));
    let mut ask = |slo| bench.ask(&mut *nominal, &bounded(&bench, slo), None);
    let share = Ratio::percent(99);
    assert_eq!(ask(Slo::EndToEnd(Limit::Share(share))), plan(50, 100));
    assert_eq!(ask(Slo::Energy(Limit::Share(share))), plan(50, 100));
    assert_eq!(ask(Slo::Energy(Limit::Share(Ratio::ONE))), plan(100, 100));
}

#[test]
fn an_energy_objective_on_a_device_without_known_power_is_an_error() {
    let bench = Bench::elastic();
    let slo = Slo::Energy(Limit::Share(Ratio::percent(50)));
    let trace = Trace { requests: vec![bounded(&bench, slo)], ..bench.trace.clone() };
    assert_eq!(
        bench.method.bounds(&trace).unwrap_err().to_string(),
        "device profile bench, request 7 of the trace: power is not known; found an objective on \
         energy; allowed: objectives on time, or a [power] section in device.toml"
    );
}

/// ⟨100, 50⟩ of the bench takes 50 ms and is wrong; it is the base model on the whole prompt here.
#[test]
fn of_a_shortened_prompt_what_is_left_is_the_whole() {
    let bench = Bench::shortened();
    let (method, request) = (&bench.method, &bench.trace.requests[0]);
    let menu = method.menu(&bench.trace).unwrap();
    let plans: Vec<_> = menu.candidates().iter().map(|candidate| candidate.plan).collect();
    assert_eq!(plans, [plan(50, 100), plan(100, 100)]);
    let executor = method.cost_model(&bench.trace).unwrap();
    let phases = executor.bill(request, Plan::FULL, None).unwrap();
    assert_eq!((phases.prefill, phases.kept_tokens), (Duration::from_millis(50), 50));
    assert_eq!(phases.correct, Some(Grade::WRONG));
    let half = Slo::Relative { ttft: Ratio::percent(50), tpot: Ratio::ONE };
    let trace = Trace {
        requests: vec![Request { slo: half, ..bench.trace.requests[0] }],
        ..bench.trace.clone()
    };
    let bounds =
        Bounds::Latency { ttft: Duration::from_millis(25), tpot: Duration::from_millis(10) };
    assert_eq!(method.bounds(&trace).unwrap(), [bounds]);
    let cut = executor.bill(request, plan(100, 50), None).unwrap_err().to_string();
    assert!(cut.contains("no such prompt ratio"), "{cut}");
    assert!(method.menu(&Bench::elastic().trace).is_err(), "prompts of another length");
}

/// Of 100 tokens some are cached. The rest is read, in no less than a token's time; a cut prompt
/// begins otherwise and is read from there.
#[test]
fn of_a_prompt_that_goes_on_from_an_earlier_turn_the_rest_is_read() {
    let ms = |after: u64| Duration::from_millis(after);
    for (cached, [whole, whole_small, cut]) in
        [(0, [100, 50, 50]), (80, [20, 10, 50]), (99, [10, 5, 50])]
    {
        let mut bench = Bench::elastic();
        bench.trace.requests[0].terms.cached_tokens = cached;
        let request = bench.trace.requests[0];
        let executor = bench.method.cost_model(&bench.trace).unwrap();
        let read =
            |level, ratio| executor.bill(&request, plan(level, ratio), None).unwrap().prefill;
        assert_eq!((read(100, 100), read(50, 100)), (ms(whole), ms(whole_small)), "{cached}");
        assert_eq!(read(100, 50), ms(cut));
        let menu = bench.method.menu(&bench.trace).unwrap();
        let bounds = Bounds::EndToEnd(ms(10_000));
        let choices = menu.choices(RequestView::new(&request, bounds), None);
        for (candidate, forecast) in choices.feasible(choices.candidates()) {
            let bill = executor.bill(&request, candidate.plan, None).unwrap();
            assert_eq!(forecast.ttft, bill.decide + bill.compress + bill.switch + bill.prefill);
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_plans_and_another_seed_others() {
    let bench = Bench::random(3, 50);
    let bounds = bench.method.bounds(&bench.trace).unwrap();
    let plans = |seed| {
        let mut policy = bench.seeded_policy("random-feasible", seed);
        let requests = bench.trace.requests.iter().zip(&bounds);
        let service = ServiceView {
            now: SimTime::ZERO,
            resident: None,
            queued: 0,
            speed: crate::units::Ratio::ONE,
        };
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
        bench.method.menu(&trace).unwrap_err().to_string()
    };
    let mut twice = bench.trace.clone();
    twice.requests.push(twice.requests[0]);
    let refusals = [
        refusal(|request| request.item = 999.into()),
        refusal(|request| request.item = items(Split::Estimate)[0]),
        refusal(|request| request.prompt_tokens = 99),
        refusal(|request| request.output_tokens = u32::MAX),
        bench.method.menu(&twice).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r"
    trace, request 7, quiz item 999: item without answers; allowed: items of the quality table width
    trace, request 7, quiz item 0: item may not be replayed; found an item that expected accuracies are estimated on; allowed: items of the replay half only
    trace, request 7, quiz item 2: prompt of another length than the compressor saw; found 99 tokens; allowed: 100
    trace, request 7: impossible length; found 100 prompt and 4294967295 output tokens; allowed: 1 to 524288 prompt tokens, at most 524288 output tokens
    trace: two requests have one id; found 7
    ");
}

#[test]
#[should_panic(expected = "the head names plans of one level")]
fn a_head_that_names_plans_has_none_of_two_levels() {
    Bench::decided_in_phases(hard(&[]));
}

#[test]
fn tables_that_do_not_fit_the_device_are_refused() {
    let spec = &standard_methods()[0];
    let joined = |device: &str, latency_of: &str, full: bool| {
        let mut device_profile = super::testing::device();
        device_profile.name = device.into();
        let rows = if full { answers() } else { super::testing::answers_without_base() };
        Method::from_parts(&device_profile, latency_of, rows, Some(&lengths()), None, spec)
    };
    let refusals = [
        joined("bench", "huge", true).unwrap_err().to_string(),
        joined("bench", "tiny", false).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r"
    device profile bench: no such family; found huge/width; allowed: tiny/width, tiny/width-relayout, tiny/layer-removal
    method elastic-profile, quality table width: answers lack the base model; found 50 %; allowed: a table with rows of level 100 %
    ");
}

/// What is right stands in quality tables, which executors hold: no file of `policy` names them,
/// the executor, or a policy's neighbour beside those that all share.
#[test]
fn no_policy_can_name_the_answers_or_another_policy() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy");
    let shared = [
        "costs",
        "facts",
        "menu",
        "preferences",
        "size_rule",
        "external",
        "process",
        "protocol",
        "core",
    ];
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || name == "mod" {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        for truth in ["QualityTable", "executor", "method::", "Truth"] {
            assert!(!code.contains(truth), "{name} names {truth}");
        }
        for import in code.lines().filter_map(|line| line.trim().strip_prefix("use super::")) {
            let module = import.split("::").next().unwrap();
            let is_type = module.starts_with(|first: char| first == '{' || first.is_uppercase());
            assert!(is_type || shared.contains(&module), "{name} uses {module}");
        }
    }
    assert!(files > 10, "{files} files were read");
}
