//! The contract of every policy, as tests that any policy can be put to.
//!
//! A harness can compare policies only if each answers what it is asked, chooses alike when asked
//! alike, and knows nothing that it could not know on a phone. [`Contract`] has a clause for each
//! of these; [`policy_contract!`](crate::policy_contract) makes a test of every clause:
//!
//! ```
//! # use pliant::plan::Plan;
//! # use pliant::policy::{Policy, ServiceView};
//! # use pliant::request::RequestView;
//! #[derive(Debug)]
//! struct Heaviest(Plan);
//!
//! impl Policy for Heaviest {
//!     fn plan(&mut self, _request: RequestView<'_>, _service: ServiceView) -> Plan {
//!         self.0
//!     }
//! }
//!
//! // Beside the tests of `Heaviest`: a module `heaviest` with a test for each clause.
//! pliant::policy_contract!(heaviest, Contract::new(|menu, _trace, _seed| {
//!     let heaviest = menu.candidates().last().expect("a menu has candidates");
//!     Ok(Box::new(Heaviest(heaviest.plan)))
//! }));
//! # fn main() {}
//! ```
//!
//! Tables of the contract are random and in memory: nine levels, ten prompt ratios, one dataset.

use std::fmt;
use std::time::Duration;

use super::{Method, MethodSpec, standard_methods};
use crate::error::Result;
use crate::executor::CostModel;
use crate::outcome::{Execution, Interruptions, Outcome};
use crate::plan::Plan;
use crate::policy::{DependsOn, Menu, Policy, ServiceView, Step};
use crate::request::{Request, RequestView, Slo};
use crate::trace::Trace;
use crate::units::{Level, SimTime};
use stage::{Parts, random_trace};

pub(crate) mod stage;
#[cfg(test)]
mod tests;

/// Requests of a trace of the contract.
const REQUESTS: u64 = 120;

/// What tables and traces of the contract are.
const SOUND: &str = "tables and traces of the contract are sound";

/// Makes a policy over a menu for one replay of a trace under a seed.
type Make = dyn Fn(Menu, &Trace, u64) -> Result<Box<dyn Policy>>;

/// What a policy is held to; see the module.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Contract {
    method: MethodSpec,
    /// `None`: as the method does.
    make: Option<Box<Make>>,
    knows_answers: bool,
}

/// A clause that a policy does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    clause: &'static str,
    found: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a policy's {}: {}", self.clause, self.found)
    }
}

/// Tests, in a module `$name`, of every clause of `$contract`, an expression that makes a
/// [`Contract`](crate::method::contract::Contract), which is in scope.
#[macro_export]
macro_rules! policy_contract {
    ($name:ident, $contract:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the expression may need nothing from around it")]
            use super::*;
            use $crate::method::contract::{Breach, Contract};

            fn hold(clause: fn(&Contract) -> Result<(), Breach>) {
                let contract: Contract = $contract;
                if let Err(breach) = clause(&contract) {
                    panic!("{breach}");
                }
            }

            #[test]
            fn every_answer_is_a_candidate() {
                hold(Contract::every_answer_is_a_candidate);
            }

            #[test]
            fn equal_seeds_give_equal_plans() {
                hold(Contract::equal_seeds_give_equal_plans);
            }

            #[test]
            fn plans_do_not_depend_on_the_right_answers() {
                hold(Contract::plans_do_not_depend_on_the_right_answers);
            }

            #[test]
            fn plans_do_not_depend_on_requests_to_come() {
                hold(Contract::plans_do_not_depend_on_requests_to_come);
            }

            #[test]
            fn objectives_that_nothing_meets_are_planned_for() {
                hold(Contract::objectives_that_nothing_meets_are_planned_for);
            }

            #[test]
            fn answers_of_one_token_are_planned_for() {
                hold(Contract::answers_of_one_token_are_planned_for);
            }

            #[test]
            fn nothing_need_be_resident_or_completed() {
                hold(Contract::nothing_need_be_resident_or_completed);
            }

            #[test]
            fn the_base_model_alone_is_choice_enough() {
                hold(Contract::the_base_model_alone_is_choice_enough);
            }

            #[test]
            fn plans_depend_on_no_more_than_it_says() {
                hold(Contract::plans_depend_on_no_more_than_it_says);
            }
        }
    };
}

/// When a policy is told outcomes, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Before the next request, right or wrong.
    All,
    /// Before the next request, but not whether they were right.
    Times,
    /// After the last request, last first; and nothing is ever resident.
    Late,
}

impl Contract {
    /// Of the policy that `make` makes, over the plans of `elastic-profile`'s method: sub-models of
    /// every width, prompts of every ratio.
    #[must_use]
    pub fn new(make: impl Fn(Menu, &Trace, u64) -> Result<Box<dyn Policy>> + 'static) -> Self {
        let make: Option<Box<Make>> = Some(Box::new(make));
        Self { make, ..Self::of_method(standard_methods().remove(0)) }
    }

    /// Of the policy that `method` names.
    #[must_use]
    pub fn of_method(method: MethodSpec) -> Self {
        Self { method, make: None, knows_answers: false }
    }

    /// Of an oracle, whose plans depend on the right answers.
    #[must_use]
    pub fn clairvoyant(self) -> Self {
        Self { knows_answers: true, ..self }
    }

    /// Every clause.
    ///
    /// # Errors
    /// The first clause that the policy does not keep.
    pub fn check(&self) -> Result<(), Breach> {
        self.every_answer_is_a_candidate()?;
        self.equal_seeds_give_equal_plans()?;
        self.plans_do_not_depend_on_the_right_answers()?;
        self.plans_do_not_depend_on_requests_to_come()?;
        self.objectives_that_nothing_meets_are_planned_for()?;
        self.answers_of_one_token_are_planned_for()?;
        self.nothing_need_be_resident_or_completed()?;
        self.the_base_model_alone_is_choice_enough()?;
        self.plans_depend_on_no_more_than_it_says()
    }

    /// Each plan is one of the menu's candidates, whatever the objective and the resident level.
    ///
    /// # Errors
    /// If it is not, or the policy cannot be made or does not decide.
    pub fn every_answer_is_a_candidate(&self) -> Result<(), Breach> {
        let asking = self.asking("answers are candidates");
        (0..3).try_for_each(|seed| asking.plans(seed, Told::All).map(drop))
    }

    /// Two policies made alike and asked alike choose alike.
    ///
    /// # Errors
    /// If they do not; or as the first clause.
    pub fn equal_seeds_give_equal_plans(&self) -> Result<(), Breach> {
        let asking = self.asking("plans are equal for equal seeds");
        let first = asking.plans(1, Told::All)?;
        asking.same(&first, &asking.plans(1, Told::All)?)
    }

    /// Where other plans would answer rightly the policy chooses alike, unless it is clairvoyant.
    ///
    /// # Errors
    /// If it does not; or as the first clause.
    pub fn plans_do_not_depend_on_the_right_answers(&self) -> Result<(), Breach> {
        if self.knows_answers {
            return Ok(());
        }
        let asking = self.asking("plans do not depend on the right answers");
        let parts = asking.parts.with_other_answers();
        let elsewhere =
            Asking { method: parts.method(&self.method), parts, ..self.asking(asking.clause) };
        asking.same(&asking.plans(1, Told::Times)?, &elsewhere.plans(1, Told::Times)?)
    }

    /// The first half of a trace is planned alike if the second never comes.
    ///
    /// # Errors
    /// If it is not; or as the first clause.
    pub fn plans_do_not_depend_on_requests_to_come(&self) -> Result<(), Breach> {
        let mut asking = self.asking("plans do not depend on requests to come");
        let whole = asking.plans(1, Told::All)?;
        let half = asking.trace.requests.len() / 2;
        asking.trace.requests.truncate(half);
        asking.same(&whole[..half], &asking.plans(1, Told::All)?)
    }

    /// An objective of a nanosecond, which no plan meets, is answered with a candidate too.
    ///
    /// # Errors
    /// As the first clause.
    pub fn objectives_that_nothing_meets_are_planned_for(&self) -> Result<(), Breach> {
        let mut asking = self.asking("answers to objectives that nothing meets are candidates");
        let nothing = Duration::from_nanos(1);
        for request in &mut asking.trace.requests {
            request.slo = Slo::Absolute { ttft: nothing, tpot: nothing };
        }
        asking.plans(1, Told::All).map(drop)
    }

    /// A request for one token, whose TPOT is undefined, is answered with a candidate.
    ///
    /// # Errors
    /// As the first clause.
    pub fn answers_of_one_token_are_planned_for(&self) -> Result<(), Breach> {
        let mut asking = self.asking("answers to requests for one token are candidates");
        for request in &mut asking.trace.requests {
            request.output_tokens = 1;
        }
        asking.plans(1, Told::All).map(drop)
    }

    /// It chooses when nothing is resident and nothing has completed, and bears to be told of
    /// completions later and in another order, as they come where requests do not queue.
    ///
    /// # Errors
    /// As the first clause.
    pub fn nothing_need_be_resident_or_completed(&self) -> Result<(), Breach> {
        self.asking("answers without a history are candidates").plans(1, Told::Late).map(drop)
    }

    /// Where the base model on the full prompt is the only candidate it is chosen.
    ///
    /// # Errors
    /// As the first clause.
    pub fn the_base_model_alone_is_choice_enough(&self) -> Result<(), Breach> {
        let method = MethodSpec { compressor: None, ..self.method.clone() };
        let parts = Parts::random(&method, 1, &[Level::FULL]);
        let clause = "answers are candidates where there is one only";
        let asking = Asking { method: parts.method(&method), parts, ..self.asking(clause) };
        asking.plans(1, Told::All).map(drop)
    }

    /// Asked again under another seed, in another order and with another history, at other times
    /// and queues, it chooses alike where what it [says](DependsOn) that it looks at is the same.
    ///
    /// # Errors
    /// If it does not, or its steps by wait are not its plans; or as the first clause.
    pub fn plans_depend_on_no_more_than_it_says(&self) -> Result<(), Breach> {
        let asking = self.asking("plans depend on no more than it says");
        let says = asking.policy(&asking.trace, 1)?.depends_on();
        if says == DependsOn::History {
            return Ok(());
        }
        let first = asking.plans_out_of_order(1, says, false)?;
        asking.same(&first, &asking.plans_out_of_order(2, says, true)?)
    }

    fn asking(&self, clause: &'static str) -> Asking<'_> {
        let parts = Parts::random(&self.method, 1, &Level::LADDER);
        let method = parts.method(&self.method);
        Asking { contract: self, clause, method, parts, trace: random_trace(1, REQUESTS) }
    }
}

/// A clause being looked at: on which tables, with which requests.
struct Asking<'a> {
    contract: &'a Contract,
    clause: &'static str,
    method: Method,
    parts: Parts,
    trace: Trace,
}

impl Asking<'_> {
    fn breach(&self, found: impl fmt::Display) -> Breach {
        Breach { clause: self.clause, found: found.to_string() }
    }

    /// A new policy for a replay of `trace`.
    fn policy(&self, trace: &Trace, seed: u64) -> Result<Box<dyn Policy>, Breach> {
        let menu = self.method.menu(trace).expect(SOUND);
        match &self.contract.make {
            Some(make) => make(menu, trace, seed),
            None => self.method.policy(trace, seed),
        }
        .map_err(|error| self.breach(format!("it cannot be made: {error}")))
    }

    /// The plans of a new policy, request by request of the trace, each with a level and a wait of
    /// its own. `otherwise` the last request comes first, is called 0, and later, and all that the
    /// policy does not say that it looks at is another.
    fn plans_out_of_order(
        &self,
        seed: u64,
        says: DependsOn,
        otherwise: bool,
    ) -> Result<Vec<Plan>, Breach> {
        let mut trace = self.trace.clone();
        if otherwise {
            trace.requests.reverse();
            for (id, request) in (0..).zip(&mut trace.requests) {
                (request.id, request.arrival) = (id, SimTime::from_nanos(1_000_000_007));
            }
        }
        let bounds = self.method.bounds(&trace).expect(SOUND);
        let executor = self.method.cost_model(&trace).expect(SOUND);
        let mut policy = self.policy(&trace, seed)?;
        let mut plans = Vec::new();
        for (place, (request, &bounds)) in trace.requests.iter().zip(&bounds).enumerate() {
            let nth = if otherwise { trace.requests.len() - 1 - place } else { place };
            let other = |least| usize::from(otherwise && says < least);
            let level = Level::LADDER[(nth + other(DependsOn::Resident)) % Level::LADDER.len()];
            let waited = Duration::from_millis(nth as u64 * 5 % 90 + other(DependsOn::Wait) as u64);
            let (now, resident) = (request.arrival + waited, Some(level));
            let view = RequestView::new(request, bounds);
            let service = ServiceView {
                now,
                resident,
                queued: place % 4 + usize::from(otherwise),
                speed: crate::units::Ratio::ONE,
            };
            let plan = policy.plan(view, service);
            policy.settle().map_err(|error| self.breach(error))?;
            if says == DependsOn::Wait {
                self.check_steps(policy.by_wait(view, resident), waited, plan)?;
            }
            if otherwise {
                let execution = billed(&executor, request, plan, service, Told::All);
                policy.observe(&Outcome {
                    request: *request,
                    bounds,
                    plan,
                    start: now,
                    execution,
                    interruptions: Interruptions::default(),
                });
            }
            plans.push(plan);
        }
        if otherwise {
            plans.reverse();
        }
        Ok(plans)
    }

    /// Refuses steps of which the one at `waited` is not `plan`.
    fn check_steps(
        &self,
        steps: Option<Vec<Step>>,
        waited: Duration,
        plan: Plan,
    ) -> Result<(), Breach> {
        let steps = steps.ok_or_else(|| self.breach("it says by_wait() of no request"))?;
        let waited_ns = waited.as_nanos() as u64;
        let found = steps.iter().find(|step| step.until_ns >= waited_ns);
        match found.filter(|step| step.plan == plan) {
            Some(_) => Ok(()),
            None => Err(self.breach(format!("after {waited:?} by_wait() has another plan"))),
        }
    }

    /// The plans of a new policy for the trace's requests, each of them a candidate.
    fn plans(&self, seed: u64, told: Told) -> Result<Vec<Plan>, Breach> {
        let bounds = self.method.bounds(&self.trace).expect(SOUND);
        let menu = self.method.menu(&self.trace).expect(SOUND);
        let executor = self.method.cost_model(&self.trace).expect(SOUND);
        let mut policy = self.policy(&self.trace, seed)?;
        let (mut resident, mut now) = (None, SimTime::ZERO);
        let (mut plans, mut untold) = (Vec::new(), Vec::new());
        for (request, &bounds) in self.trace.requests.iter().zip(&bounds) {
            let service = ServiceView {
                now,
                resident,
                queued: request.id as usize % 4,
                speed: crate::units::Ratio::ONE,
            };
            let plan = policy.plan(RequestView::new(request, bounds), service);
            policy.settle().map_err(|error| self.breach(error))?;
            self.check_candidate(&menu, request.id, plan)?;
            let execution = billed(&executor, request, plan, service, told);
            let outcome = Outcome {
                request: *request,
                bounds,
                plan,
                start: service.now,
                execution,
                interruptions: Interruptions::default(),
            };
            if told == Told::Late {
                untold.push(outcome);
            } else {
                policy.observe(&outcome);
                resident = Some(plan.resident_after(request.output_tokens));
                now = outcome.completion();
            }
            plans.push(plan);
        }
        untold.iter().rev().for_each(|outcome| policy.observe(outcome));
        match policy.fallbacks() {
            Some(count) if count > plans.len() => {
                Err(self.breach(format!("{count} decisions of {} put aside", plans.len())))
            }
            _ => Ok(plans),
        }
    }

    fn check_candidate(&self, menu: &Menu, id: u64, plan: Plan) -> Result<(), Breach> {
        if menu.candidates().iter().any(|candidate| candidate.plan == plan) {
            return Ok(());
        }
        Err(self.breach(format!("request {id} got {plan}, which is none")))
    }

    /// Refuses two lists of plans that differ.
    fn same(&self, one: &[Plan], other: &[Plan]) -> Result<(), Breach> {
        match one.iter().zip(other).position(|(one, other)| one != other) {
            None => Ok(()),
            Some(id) => Err(self.breach(format!("request {id} got another plan"))),
        }
    }
}

/// What answering takes; of what a policy is told, whether it was right only if it is told all.
fn billed(
    executor: &CostModel,
    request: &Request,
    plan: Plan,
    service: ServiceView,
    told: Told,
) -> Execution {
    let execution = executor.bill(request, plan, service.resident);
    let execution = execution.expect("the plan is a candidate");
    let correct = execution.correct.filter(|_| told != Told::Times);
    Execution { correct, ..execution }
}
