//! How a plan is chosen: the policy trait, one file per policy, and the registry of methods.

use std::fmt::Debug;

use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::{Level, SimTime};

/// What a policy may know of the service when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceView {
    /// The instant the request is taken up.
    pub now: SimTime,
    /// The level whose weights are resident; `None` before the first request.
    pub resident: Option<Level>,
    /// Requests that wait behind this one.
    pub queued: usize,
}

/// Chooses a plan per request.
///
/// `plan` is called once per request, in service order, when the service takes the request up;
/// `observe` is called once per request, after its completion and before the next `plan`.
pub trait Policy: Debug + Send {
    /// The plan for `request`.
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan;

    /// What became of a plan; a policy that learns listens here.
    fn observe(&mut self, _outcome: &Outcome) {}
}
