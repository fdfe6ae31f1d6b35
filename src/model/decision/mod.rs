//! The decision-head at run time: from a request's own prompt to a plan.

mod decide;
pub mod file;
pub mod reading;

pub use decide::{DecidePlan, Decider, decide};
