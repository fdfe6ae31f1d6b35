//! The service that apps call: one resident model, one scheduler, an objective with every call.
//!
//! The study's `bindLLMService` is [`Service::start`], its `callLLM` [`Service::call`]. The same
//! [`Scheduler`](crate::schedule::Scheduler) that the simulator drives with virtual time decides
//! here, by the clock on the wall, who is next, who makes way between two tokens, who is refused.
//!
//! ```text
//!  app ── call ──►┌──────┐  arrive, cancel   ┌───────────┐
//!      ◄─ events ─│ core │ ────────────────► │ Scheduler │
//!                 └──────┘                   └───────────┘
//!                    ▲  decide: start, stop       │
//!                    │      ┌────────┐ ◄──────────┘
//!                    └──────│ worker │ plan, read, one token, one token, …
//!                           └────────┘──► Backend: engine, canned text
//! ```
//!
//! One thread computes. It asks the scheduler between two tokens, so that who cancels, or calls
//! with a higher class, waits for one token at most. A second thread keeps time while the first is
//! in a long step. Whoever calls is in a third: the prompt is measured there, and a refusal is
//! known before [`Service::call`] returns.
//!
//! ```
//! use std::sync::Arc;
//!
//! use pliant::method::one_prompt::PromptPlanner;
//! use pliant::profile::Profiles;
//! use pliant::service::apps::ServiceApps;
//! use pliant::service::{Call, CannedModel, Event, Options, Service};
//!
//! // Text that is always the same, at the times that a profile predicts, a thousand times as fast.
//! let service = Service::start(Options::default(), ServiceApps::default(), |clock| {
//!     let profiles = Profiles::default();
//!     let device = profiles.device("epyc-zen5-2core");
//!     let model = "smollm2-135m-instruct";
//!     let planner = PromptPlanner::load(&device, &profiles.quality(), model, "width")?;
//!     CannedModel::new(planner, 2048)?.sped_up(1000).load(clock)
//! })?;
//!
//! let mut call = Call::ask("Shortcuts", "Turn the lamp on.");
//! call.max_tokens = 8;
//! let calling = service.call(call).unwrap();
//! let mut text = String::new();
//! while let Some(event) = calling.recv() {
//!     match event {
//!         Event::Planned(plan) => assert!(plan.level.as_percent() <= 100),
//!         Event::Token(token) => text += &token.text,
//!         Event::Finished(done) => assert_eq!(done.output_tokens, 8),
//!         Event::Left(left) => panic!("{left:?}"),
//!     }
//! }
//! assert!(!text.is_empty());
//!
//! // Dropping an answer that is coming gives the call up.
//! drop(service.call(Call::ask("Gboard", "See you")).unwrap());
//! assert!(service.drain(std::time::Duration::from_secs(60)));
//! # Ok::<(), pliant::Error>(())
//! ```
//!
//! # What one can rely on
//!
//! - *Nothing is decided here*: admission, order, interruption, time-outs and superseding are the
//!   scheduler's ([`schedule`](crate::schedule)). A scripted day has the same decisions as in the
//!   simulator, which a property test holds.
//! - *Who does not listen holds nobody up*: events wait in a bounded
//!   [mailbox](Options::events_max); if that is full the call is given up.
//! - *A failure is one call's*: if the backend panics, that call leaves, and the next is answered.

pub mod apps;
mod backend;
mod call;
mod canned;
mod clock;
mod core;
mod cut;
#[cfg(feature = "engine")]
mod engine;
mod entry;
mod event;
mod handle;
mod keyed;
mod mailbox;
mod reader;
mod refusal;
mod registry;
mod shared;
mod status;
mod stop;
mod worker;

pub use backend::{Asked, Backend, Front, ModelCard, Step, Work, Written};
pub use call::{Call, Cut, Message, Objective, Prompt, Role, Sampling};
pub use canned::CannedModel;
pub use clock::{Clock, RealClock};
#[cfg(feature = "engine")]
pub use engine::EngineModel;
pub use event::{
    Arrived, Done, Event, FinishReason, Left, PlanReport, Refusal, RefusedFor, Token, Weighed,
};
pub use handle::{Calling, Loaded, Service};
pub use status::{Counted, InService, State, Status};

use crate::error::{Error, Result};
use crate::schedule::{Discipline, Preempt, ServiceOptions};

/// How a service treats its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the scheduler goes by.
    pub schedule: ServiceOptions,
    /// How many events of a call may wait for whoever called.
    pub events_max: usize,
    /// Memory for the KV caches of calls that were interrupted, in bytes: once the model is there
    /// it bounds [`paused_tokens`](ServiceOptions::paused_tokens), which may be less; absent: any
    /// amount.
    pub paused_bytes_max: Option<u64>,
}

impl Default for Options {
    /// By class, within a class by deadline; a higher class interrupts between two tokens; 32 calls
    /// may wait; those that were interrupted keep 256 MiB of KV caches.
    fn default() -> Self {
        let schedule = ServiceOptions {
            discipline: Discipline::PriorityEdf,
            preempt: Preempt::Token,
            queue_max: Some(32),
            ..ServiceOptions::default()
        };
        Self { schedule, events_max: 1024, paused_bytes_max: Some(256 << 20) }
    }
}

impl Options {
    /// Refuses options that contradict each other or that only a simulation can have.
    ///
    /// # Errors
    /// Says which key it is, and what is allowed.
    pub fn check(&self) -> Result<()> {
        self.schedule.check("service")?;
        if self.schedule.ideal_isolation || self.schedule.closed_loop {
            return Err(Error::new("service", "for simulations only")
                .found("ideal_isolation or closed_loop")
                .allowed("neither"));
        }
        if self.events_max == 0 {
            return Err(Error::new("service", "no event may wait").found(0).allowed("1 or more"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
