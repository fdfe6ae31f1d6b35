//! Elastic on-device LLM serving: one language model shared by every app of a phone, each
//! request with its own latency objective.
//!
//! A [`trace`] of requests is replayed through a service ([`sim`]) that asks a [`policy`] for a
//! plan ⟨sub-model level, prompt ratio⟩, asks an [`executor`] how long each phase of that plan
//! takes, and yields [`outcome`]s; every table, figure and check is a function of outcomes. A
//! simulated and a real run differ in one argument: the executor.
//!
//! Modules use those above them in this list only; `ARCHITECTURE.md` is the map.

pub mod digest;
pub mod error;
pub mod escape;
pub mod family;
pub mod files;
pub mod input;
pub mod limits;
pub mod origin;
pub mod rng;
pub mod units;

pub mod outcome;
pub mod plan;
pub mod request;

pub mod trace;

pub mod profile;

pub mod assets;
pub mod prompt;

#[cfg(feature = "engine")]
pub mod engine;

#[cfg(feature = "engine")]
pub mod model;

pub mod policy;

pub mod executor;

pub mod method;

pub mod sim;

pub mod metrics;

pub mod results;

pub mod report;

pub mod experiment;

pub mod search;

pub mod check;

#[cfg(feature = "engine")]
pub mod elastify;

#[cfg(feature = "engine")]
pub mod heads;

#[cfg(feature = "engine")]
pub mod profiler;

pub use error::{Error, Result};
