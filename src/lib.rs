//! Elastic on-device LLM serving: one language model shared by every app of a phone, each
//! request with its own latency objective. This page is the manual of the simulator.
//!
//! A [`trace`] of requests is replayed through a service ([`sim`]) that asks a [`policy`] for a
//! plan ⟨sub-model level, prompt ratio⟩, asks an [`executor`] how long each phase of that plan
//! takes, and yields [`outcome`]s; every table, figure and check is a function of outcomes. A
//! simulated and a real run differ in one argument: the executor.
//!
//! ```text
//!  trace ──► sim ◄──► policy      chooses a plan, without knowing what the answer will be
//!             ▲
//!             ▼
//!          executor               cost model over measured profiles, or real inference
//!             │
//!             ▼
//!         outcomes ──► metrics ──► results ──► report, check
//! ```
//!
//! # A first simulation
//!
//! Two requests, one service, a policy that always plans the whole model. The second request waits
//! until the first is answered:
//!
//! ```
//! use std::time::Duration;
//!
//! use pliant::executor::scripted::Scripted;
//! use pliant::outcome::Execution;
//! use pliant::plan::Plan;
//! use pliant::policy::{Policy, ServiceView};
//! use pliant::request::{AppId, Bounds, DatasetId, Request, RequestView, Slo, Terms};
//! use pliant::sim::{ServiceOptions, replay};
//! use pliant::units::SimTime;
//!
//! #[derive(Debug)]
//! struct WholeModel;
//!
//! impl Policy for WholeModel {
//!     fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
//!         Plan::FULL
//!     }
//! }
//!
//! let ms = Duration::from_millis;
//! let (ttft, tpot) = (ms(50), ms(10));
//! let request = |id, arrival_ms| Request {
//!     id,
//!     arrival: SimTime::ZERO + ms(arrival_ms),
//!     app: AppId(0),
//!     dataset: DatasetId(0),
//!     item: 0.into(),
//!     prompt_tokens: 10,
//!     output_tokens: 5,
//!     slo: Slo::Absolute { ttft, tpot },
//!     terms: Terms::default(),
//! };
//! // 30 ms to the first token, four more tokens in 20 ms.
//! let execution = Execution { prefill: ms(30), decode: ms(20), ..Execution::default() };
//! let mut outcomes = Vec::new();
//! replay(
//!     &[request(0, 0), request(1, 10)],
//!     &[Bounds::Latency { ttft, tpot }; 2],
//!     &mut WholeModel,
//!     &mut Scripted::list([execution; 2]),
//!     &ServiceOptions::default(),
//!     &mut outcomes,
//! )?;
//! assert_eq!(outcomes[0].ttft(), ms(30));
//! assert_eq!(outcomes[1].start, SimTime::ZERO + ms(50)); // it waited from 10 to 50 ms
//! assert_eq!(outcomes[1].ttft(), ms(70)); // and missed its bound of 50 ms
//! # Ok::<(), pliant::Error>(())
//! ```
//!
//! # What one can rely on
//!
//! - *Time* is integer nanoseconds ([`units::SimTime`]) and only [`sim`] advances it. What happens
//!   at one instant has a written order ([`sim`], "Simultaneous events").
//! - *Chance* comes from named streams of one seed ([`rng`]), shared between methods: the same
//!   commit, inputs and seed give the same bytes on any number of threads.
//! - *A policy cannot see the answer.* It holds a [`policy::Menu`] of candidates, forecasts and
//!   expectations; what is right lies with the executors.
//! - *What is absent is empty*, never 0, −1 or NaN. What is wrong is an [`Error`] with file, place,
//!   found and allowed.
//!
//! # Where to go on
//!
//! | for | see |
//! | --- | --- |
//! | a policy of your own | [`policy`], `examples/rust_policy.rs` |
//! | measured times and answers | [`profile`], [`executor`] |
//! | a whole comparison from a file | [`experiment`], [`results`] |
//! | intervals, paired differences | [`metrics`] |
//! | the largest load, values of a parameter | [`search`] |
//! | a gate for CI | [`check`] |
//!
//! The command line is the same library: `pliant run --demo` is a whole comparison in seconds.
//! Feature `engine` adds real inference on ONNX Runtime and the offline stage that makes a model
//! elastic.
//!
//! Modules use those above them in this list only; `ARCHITECTURE.md` is the map.

pub mod demo;
pub mod digest;
pub mod error;
pub mod escape;
pub mod family;
pub mod files;
pub mod input;
pub mod item;
pub mod limits;
pub mod names;
pub mod origin;
pub mod rng;
pub mod units;

pub mod outcome;
pub mod plan;
pub mod request;

pub mod schedule;

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

pub mod service;

#[cfg(feature = "serve")]
pub mod serve;

#[cfg(feature = "serve")]
pub mod load;

pub use error::{Error, Result};
