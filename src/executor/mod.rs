//! Who answers: the executor trait, its simulated implementations, and the real engine's.

use std::fmt::Debug;

use crate::error::Result;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::request::Request;
use crate::units::{Level, Ratio, SimTime};

mod cost_model;
#[cfg(feature = "engine")]
pub mod engine;
pub mod scripted;
#[cfg(feature = "engine")]
pub mod shared_head;
mod varying;

pub use cost_model::CostModel;
pub(crate) use cost_model::Truth;
pub use varying::{Varies, Varying};

/// Answers a request under a plan and says how long each phase took.
///
/// An executor keeps what is resident between calls, so it is asked in service order. It never
/// advances time: only the simulator does.
pub trait Executor: Debug {
    /// Is told that the next request is taken up at `now`; returns how fast the machine is then, of
    /// how fast it is when cool.
    fn begin(&mut self, _now: SimTime) -> Ratio {
        Ratio::ONE
    }

    /// Answers `request` as `plan` says.
    ///
    /// # Errors
    /// If the plan names a level or ratio that the executor does not have, or, for a real engine,
    /// if inference fails.
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution>;
}

/// An executor that repeats itself: its answers are a function of a request's kind, the plan and
/// the resident level, so what was answered once need not be answered again.
pub trait Repeats: Debug {
    /// What [`Executor::execute`] with `resident` in memory makes of `request` and `plan`.
    ///
    /// # Errors
    /// As there.
    fn execution(
        &self,
        request: &Request,
        plan: &Plan,
        resident: Option<Level>,
    ) -> Result<Execution>;
}
