//! How a plan is chosen: the policy trait, the menu that policies choose from, one file per policy.
//!
//! A policy of your own needs nothing here: `examples/rust_policy.rs` defines one on the public
//! interface, `docs/python.md` tells how a Python function is one, and `docs/policies.md` how a
//! program in another language is. To make it one of Pliant's own, which experiment files can name:
//! 1. write `src/policy/NAME.rs` with the sections of its neighbours, in their order: what it
//!    knows and its rule, the type, `new`, `impl Policy`, tests;
//! 2. give it a variant of [`PolicySpec`](crate::method::PolicySpec), with its parameters as
//!    fields, and say what files call it and whether it cuts prompts;
//! 3. describe it in `PolicySpec::description`: its rule and what it may see;
//! 4. build it in `Method::policy`, from the menu and a random stream of its own;
//! 5. if it belongs to the study, add its method to
//!    [`standard_methods`](crate::method::standard_methods) and a colour in
//!    `src/report/colours.rs`;
//! 6. say what its plans depend on ([`Policy::depends_on`]), so that it is replayed fast;
//! 7. test it: its rule on the hand-made tables of `method::testing`, numbers worked out in a
//!    comment, and the [`contract`](crate::method::contract) that every policy keeps.
//!
//! No file here knows another policy's, nor what answers are right: a policy holds a [`Menu`].

use std::fmt::Debug;
use std::time::Duration;

use crate::error::Result;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::{Level, Ratio, SimTime};

mod costs;
mod counts_wait;
mod elastic_profile;
mod elastilm;
mod external;
mod facts;
mod fixed;
mod forecasts;
mod largest_level;
mod lg2_cs;
mod menu;
mod oracle;
mod preferences;
mod random_feasible;
mod recorded;
mod seen;
mod size_rule;

pub use costs::{Candidate, Forecast};
pub use elastilm::{LiveHead, Reading};
pub use external::{Bill, ExternalSpec};
pub use forecasts::Adaptive;
pub(crate) use menu::Expected;
pub use menu::{Choices, ExpectBy, Menu};
pub use preferences::{Preferences, Step};
pub use recorded::{RecordedPlans, RecordedSpec, ReplayKey};
pub use seen::{Seen, StatedBounds, StatedSlo};
pub use size_rule::{SizeRule, SizeSpec};

pub(crate) use costs::Costs;
pub(crate) use counts_wait::CountsWait;
pub(crate) use elastic_profile::ElasticProfile;
pub(crate) use elastilm::Elastilm;
pub(crate) use external::External;
pub(crate) use facts::{Annotations, Facts, check_lengths};
pub(crate) use fixed::Fixed;
pub(crate) use forecasts::Forecasts;
pub(crate) use largest_level::LargestLevel;
pub(crate) use lg2_cs::Lg2Cs;
pub(crate) use oracle::{GradedPlans, Oracle};
pub(crate) use random_feasible::RandomFeasible;
pub(crate) use size_rule::is_default;

/// What a policy may know of the service when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceView {
    /// The instant the request is taken up.
    pub now: SimTime,
    /// The level whose weights are resident; `None` before the first request.
    pub resident: Option<Level>,
    /// Requests that wait behind this one.
    pub queued: usize,
    /// How fast the machine is, of how fast it is when cool.
    pub speed: Ratio,
}

/// What a policy's plans depend on, beside its menu; each also on what those before it do.
///
/// A replay that knows it asks once where it would ask a million times (`sim::fast`). A policy that
/// says less than it looks at is replayed wrongly, and found out by the
/// [`contract`](crate::method::contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DependsOn {
    /// All that repeats of a request: its app, dataset, item, lengths and objective.
    Kind,
    /// The level that is resident.
    Resident,
    /// How long the request has waited.
    Wait,
    /// Anything else: the queue, the clock, requests before, draws, another program.
    History,
}

/// Chooses a plan per request.
///
/// `plan` is called once per request, in service order, when the service takes the request up;
/// `observe` is called once per request, after its completion and before the next `plan`.
pub trait Policy: Debug + Send {
    /// The plan for `request`.
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan;

    /// Asked after every `plan`: the time that choosing really took, if it is to be billed in place
    /// of the profile's.
    ///
    /// Why here? Policies that compute cannot fail, and most need not measure; one that asks
    /// another program does both, and `plan` stays a function of what it sees.
    ///
    /// # Errors
    /// If there was no decision: the plan is void and the replay stops.
    fn settle(&mut self) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// What its plans depend on.
    fn depends_on(&self) -> DependsOn {
        DependsOn::History
    }

    /// What it wants for `request` with `resident` in memory, best first: the first plan that fits
    /// is its own, else the least late. `None` from a policy that does not choose so, or does not
    /// say.
    ///
    /// Why here? Whoever takes a wait off the bounds of a policy that depends on no more than the
    /// resident level then knows its plan for every wait.
    fn preferences(
        &self,
        _request: RequestView<'_>,
        _resident: Option<Level>,
    ) -> Option<Preferences> {
        None
    }

    /// Its plans for `request` with `resident` in memory, by how long it has waited; `None` from a
    /// policy that does not depend on the wait, or on more.
    fn by_wait(&self, _request: RequestView<'_>, _resident: Option<Level>) -> Option<Vec<Step>> {
        None
    }

    /// What became of a plan; a policy that learns listens here.
    fn observe(&mut self, _outcome: &Outcome) {}

    /// How many of its decisions a run-time check has put aside so far, because they would have
    /// missed the objective; `None` from a policy whose decisions need no check.
    fn fallbacks(&self) -> Option<usize> {
        None
    }
}
