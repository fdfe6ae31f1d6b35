//! Every built-in policy keeps the contract; policies that break one clause each are caught.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::testing::plan;
use super::*;
use crate::policy_contract;
use crate::units::Ratio;

/// The standard method of this name.
fn built_in(name: &str) -> Contract {
    let mut methods = standard_methods().into_iter();
    Contract::of_method(methods.find(|method| method.name == name).unwrap())
}

policy_contract!(elastic_profile, built_in("elastic-profile"));
policy_contract!(elastilm, built_in("elastilm"));
policy_contract!(random_feasible, built_in("random-feasible"));
policy_contract!(oracle, built_in("oracle").clairvoyant());
policy_contract!(full, built_in("full"));
policy_contract!(lpruner, built_in("lpruner"));

#[test]
fn every_standard_method_keeps_the_contract() {
    for method in standard_methods() {
        let (name, kind) = (method.name.clone(), method.policy.kind());
        let mut contract = Contract::of_method(method);
        contract.knows_answers = kind == "oracle";
        contract.check().unwrap_or_else(|breach| panic!("{name}: {breach}"));
    }
}

#[test]
fn every_standard_method_that_counts_the_wait_keeps_the_contract() {
    for method in standard_methods() {
        let margin = Some(Ratio::percent(15)).filter(|_| method.compressor.is_some());
        let method = MethodSpec { counts_wait: true, margin, ..method };
        let name = method.name.clone();
        let contract = Contract::of_method(method);
        contract
            .plans_depend_on_no_more_than_it_says()
            .unwrap_or_else(|breach| panic!("{name}: {breach}"));
    }
}

/// The full model for all but requests that `looks` says to answer by half of it.
struct Says<F>(DependsOn, F);

impl<F> fmt::Debug for Says<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Says({:?})", self.0)
    }
}

impl<F: FnMut(RequestView<'_>, ServiceView) -> bool + Send> Policy for Says<F> {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        plan(if (self.1)(request, service) { 50 } else { 100 }, 100)
    }

    fn depends_on(&self) -> DependsOn {
        self.0
    }
}

#[test]
fn a_policy_that_declares_less_than_it_looks_at_is_caught() {
    let held = |says, looks: fn(RequestView<'_>, ServiceView) -> bool| {
        let contract = Contract::new(move |_, _, _| Ok(Box::new(Says(says, looks))));
        contract.plans_depend_on_no_more_than_it_says().map_err(|breach| breach.to_string())
    };
    let resident = |_: RequestView<'_>, service: ServiceView| service.resident == Some(Level::FULL);
    let clock = |_: RequestView<'_>, service: ServiceView| service.now.as_nanos() > 1_000_000_000;
    let queue = |_: RequestView<'_>, service: ServiceView| service.queued == 0;
    let id = |request: RequestView<'_>, _: ServiceView| request.id() == 7;
    let kind = |request: RequestView<'_>, _: ServiceView| request.prompt_tokens() == 100;
    assert_eq!(held(DependsOn::Kind, kind), Ok(()));
    assert_eq!(held(DependsOn::Resident, resident), Ok(()));
    assert_eq!(held(DependsOn::History, queue), Ok(()));
    let caught = |says, looks| {
        let breach = held(says, looks).unwrap_err();
        assert!(breach.starts_with("a policy's plans depend on no more than it says"), "{breach}");
    };
    caught(DependsOn::Kind, resident);
    caught(DependsOn::Kind, id);
    caught(DependsOn::Resident, clock);
    caught(DependsOn::Resident, queue);
    // It says that it looks at the wait, and by_wait() does not say how.
    caught(DependsOn::Wait, kind);
}

/// A policy as a function, with a place to remember.
struct Scripted<F>(F, usize);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl<F: FnMut(&mut usize, RequestView<'_>, ServiceView) -> Plan + Send> Policy for Scripted<F> {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        (self.0)(&mut self.1, request, service)
    }

    fn observe(&mut self, _outcome: &Outcome) {
        self.1 += 1;
    }

    fn fallbacks(&self) -> Option<usize> {
        Some(self.1)
    }
}

fn scripted(
    rule: impl FnMut(&mut usize, RequestView<'_>, ServiceView) -> Plan + Send + Clone + 'static,
) -> Contract {
    Contract::new(move |_, _, _| Ok(Box::new(Scripted(rule.clone(), 0))))
}

fn told(contract: &Contract) -> String {
    contract.check().unwrap_err().to_string()
}

#[test]
fn a_plan_that_is_no_candidate_is_caught() {
    let contract = scripted(|_, _, _| Plan::new(Level::FULL, Ratio::percent(55)));
    insta::assert_snapshot!(told(&contract), @"a policy's answers are candidates: request 0 got ⟨100 %, 55 %⟩, which is none");
}

#[test]
fn a_policy_that_chooses_otherwise_another_time_is_caught() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let contract = scripted(|_, _, _| {
        plan(if ASKED.fetch_add(1, Ordering::Relaxed) < 400 { 50 } else { 100 }, 100)
    });
    insta::assert_snapshot!(told(&contract), @"a policy's plans are equal for equal seeds: request 0 got another plan");
}

#[test]
fn a_policy_that_looks_the_right_answers_up_is_caught_unless_it_says_so() {
    let breach = told(&built_in("oracle"));
    let clause = "a policy's plans do not depend on the right answers: request ";
    assert!(breach.starts_with(clause), "{breach}");
    built_in("oracle").clairvoyant().check().unwrap();
}

#[test]
fn a_policy_that_counts_the_requests_of_its_trace_is_caught() {
    let contract = Contract::new(|_, trace, _| {
        let level = if trace.requests.len() as u64 == REQUESTS { 50 } else { 100 };
        Ok(Box::new(Scripted(move |_: &mut usize, _: RequestView<'_>, _| plan(level, 100), 0)))
    });
    insta::assert_snapshot!(told(&contract), @"a policy's plans do not depend on requests to come: request 0 got another plan");
}

#[test]
fn a_policy_that_gives_hopeless_requests_up_is_caught() {
    let contract = scripted(|_, request, _| {
        let hopeless = matches!(request.slo(), Slo::Absolute { .. });
        plan(if hopeless { 0 } else { 100 }, 100)
    });
    insta::assert_snapshot!(told(&contract), @"a policy's answers to objectives that nothing meets are candidates: request 0 got ⟨0 %, 100 %⟩, which is none");
}

#[test]
fn a_policy_that_needs_a_resident_level_is_caught() {
    let contract = scripted(|seen, _, service| {
        plan(if *seen == 0 && service.queued == 3 { 0 } else { 100 }, 100)
    });
    insta::assert_snapshot!(told(&contract), @"a policy's answers without a history are candidates: request 3 got ⟨0 %, 100 %⟩, which is none");
}

#[test]
fn a_policy_that_assumes_smaller_levels_is_caught() {
    insta::assert_snapshot!(told(&scripted(|_, _, _| plan(50, 100))), @"a policy's answers are candidates where there is one only: request 0 got ⟨50 %, 100 %⟩, which is none");
}

#[test]
fn a_policy_that_cannot_be_made_is_caught() {
    let contract = Contract::new(|_, _, _| Err(crate::Error::new("mine", "no such file")));
    insta::assert_snapshot!(told(&contract), @"a policy's answers are candidates: it cannot be made: mine: no such file");
}
