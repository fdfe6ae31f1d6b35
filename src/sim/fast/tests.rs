//! The fast way is the reference's: request by request, for every built-in policy.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::method::contract::stage::{Parts, random_trace};
use crate::method::{Method, MethodSpec, PolicySpec, standard_methods};
use crate::metrics::{RunMeasures, Tally};
use crate::outcome::Outcome;
use crate::plan::Phases;
use crate::policy::{SizeRule, SizeSpec};
use crate::sim::{OutcomeSink, replay};
use crate::trace::{Kinds, Trace};
use crate::units::{Level, Ratio};

/// Every standard method, also by nominal size, with plans of two levels, with a margin and counting
/// the wait.
fn methods() -> Vec<MethodSpec> {
    let mut methods = standard_methods();
    let nominal = SizeSpec::of(SizeRule::Nominal);
    for policy in [PolicySpec::LargestLevel(nominal), PolicySpec::Lg2Cs(nominal)] {
        methods.push(MethodSpec { name: "nominal".into(), policy, ..methods[0].clone() });
    }
    let chooses = |method: &&MethodSpec| {
        MethodSpec { phases: Phases::Two, ..(*method).clone() }.check().is_ok()
    };
    let in_phases = |method: &MethodSpec| MethodSpec {
        name: format!("{}, two levels", method.name),
        phases: Phases::Two,
        ..method.clone()
    };
    let two_levels: Vec<_> = methods.iter().filter(chooses).map(in_phases).collect();
    methods.extend(two_levels);
    let careful = |method: &MethodSpec| MethodSpec {
        margin: Some(Ratio::percent(15)),
        counts_wait: true,
        ..method.clone()
    };
    let counting = |method: &MethodSpec| MethodSpec { counts_wait: true, ..method.clone() };
    let more: Vec<_> = methods.iter().flat_map(|one| [counting(one), careful(one)]).collect();
    methods.extend(more);
    methods
}

/// What is written of every request, and counted.
#[derive(Debug, Default)]
struct Kept {
    outcomes: Vec<Outcome>,
    tally: Tally,
}

impl OutcomeSink for Kept {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.tally.record(outcome);
        self.outcomes.record(outcome)
    }
}

/// The same, of requests of a trace.
struct OfTrace<'t>(&'t Trace, Kept);

impl ServedSink for OfTrace<'_> {
    fn served(&mut self, served: Served<'_, '_>) -> Result<()> {
        let request = self.0.requests[served.nth as usize];
        self.1.tally.served(request.id, &served);
        let outcome = Outcome { request, start: served.start, ..served.entry().outcome };
        assert_eq!(outcome.ttft(), Duration::from_nanos(served.ttft_ns));
        self.1.outcomes.record(&outcome)
    }
}

fn by_events(
    method: &Method,
    trace: &Trace,
    options: ServiceOptions,
) -> (Vec<Outcome>, RunMeasures) {
    let (mut policy, mut executor) = method.players(trace, 1).unwrap();
    let (bounds, mut kept) = (method.bounds(trace).unwrap(), Kept::default());
    let policy = policy.as_mut();
    replay(&trace.requests, &bounds, policy, &mut executor, &options, &mut kept).unwrap();
    (kept.outcomes, kept.tally.finish(policy.fallbacks()))
}

/// `None` if the method has no ledger. The trace is replayed twice: the second time by what the
/// first one looked up.
fn in_ledger(
    method: &Method,
    trace: &Trace,
    options: ServiceOptions,
) -> Option<(Vec<Outcome>, RunMeasures)> {
    let mut kinds = Kinds::default();
    let columns = kinds.number(trace);
    let all = kinds.as_trace();
    let (policy, executor) = method.players(all, 2).unwrap();
    let bounds = method.bounds(all).unwrap();
    let mut ledger = Ledger::new(&all.requests, bounds, policy, Box::new(executor))?;
    let mut run = || {
        let mut sink = OfTrace(trace, Kept::default());
        let ran = replay_columns(&mut ledger, columns.calls(), &options, &mut sink).unwrap();
        assert_eq!(ran.requests, trace.requests.len() as u64);
        (sink.1.outcomes, sink.1.tally.finish_with(&ledger, ran))
    };
    let first = run();
    assert_eq!(run(), first);
    Some(first)
}

/// A trace of the contract's random requests, at these gaps, with ids that fall.
fn trace(seed: u64, gaps_us: &[u64]) -> Trace {
    let mut trace = random_trace(seed, gaps_us.len() as u64);
    let mut arrival = SimTime::ZERO;
    for (request, &gap) in trace.requests.iter_mut().zip(gaps_us) {
        arrival = arrival + Duration::from_micros(gap);
        (request.arrival, request.id) = (arrival, u64::MAX - request.id);
    }
    trace
}

fn disciplines() -> impl Strategy<Value = Discipline> {
    prop_oneof![Just(Discipline::Fifo), Just(Discipline::Edf), Just(Discipline::EdfLateFirst)]
}

/// Gaps of up to a few times what answering takes, many of them none.
fn gaps() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![Just(0), 0..5_000_u64, 0..300_000_u64];
    prop::collection::vec(gap, 0..50)
}

proptest! {
    #[test]
    fn outcomes_and_measures_are_those_of_the_events(
        method in 0..methods().len(),
        seed in 0..u64::MAX,
        gaps in gaps(),
        discipline in disciplines(),
        ideal_isolation: bool,
    ) {
        let spec = &methods()[method];
        let method = Parts::random(spec, seed, &Level::LADDER).method(spec);
        let options = ServiceOptions { discipline, ideal_isolation, ..ServiceOptions::default() };
        let trace = trace(seed, &gaps);
        if let Some((outcomes, measures)) = in_ledger(&method, &trace, options) {
            let (expected, of_events) = by_events(&method, &trace, options);
            prop_assert_eq!(outcomes, expected, "{}", &spec.name);
            prop_assert_eq!(measures, of_events, "{}", &spec.name);
        }
    }
}

/// A ledger that is never kept would pass the test above.
#[test]
fn every_built_in_policy_that_draws_nothing_has_a_ledger() {
    let trace = trace(1, &[0; 20]);
    for spec in methods() {
        let method = Parts::random(&spec, 1, &Level::LADDER).method(&spec);
        let has_one = in_ledger(&method, &trace, ServiceOptions::default()).is_some();
        let nominal = spec.name == "nominal" || spec.policy == PolicySpec::Full {};
        let draws = spec.policy == PolicySpec::RandomFeasible {};
        assert_eq!(has_one, !(draws || nominal && spec.counts_wait), "{spec:?}");
    }
}

#[test]
#[should_panic(expected = "requests are sorted by arrival")]
fn calls_out_of_order_are_a_mistake() {
    let spec = &standard_methods()[1];
    let method = Parts::random(spec, 1, &Level::LADDER).method(spec);
    let mut trace = trace(1, &[5, 5]);
    trace.requests.reverse();
    in_ledger(&method, &trace, ServiceOptions::default());
}
