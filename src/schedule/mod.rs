//! The scheduler of a service with one model: who is served next, who is refused, who has to stop.
//!
//! A pure state machine. It knows no clock and does no IO: a driver tells it what happened and at
//! which instant, and does what it decides. The simulator drives it with virtual time, a server
//! with the real one; the same day gives the same decisions.
//!
//! ```text
//!          arrive, cancel                   decide
//! driver ─────────────────► Scheduler ────────────────► Start, Resume, Stop, Leave
//!    ▲    stopped, finished     │
//!    └──────── wake: when to ask again though nothing happens
//! ```
//!
//! One server takes up one request at a time. A request is *waiting*, *running*, *stopping* (told
//! to, its token not yet out) or *paused* (it waits with some tokens out); then it is gone:
//! answered, or it leaves for a [`Reason`].
//!
//! # What a driver has to do
//!
//! 1. Hand in what happened in order of time. Of one instant: what [finished](Scheduler::finished)
//!    or [stopped](Scheduler::stopped), then who [cancels](Scheduler::cancel), then who
//!    [arrives](Scheduler::arrive).
//! 2. Then call [`decide`](Scheduler::decide) until it has nothing to say, and hand in before each
//!    call what the decision before led to at that very instant. So whoever is chosen was chosen
//!    among all that have arrived by then.
//! 3. Go on at the next thing that happens or at [`wake`](Scheduler::wake), whichever is sooner.
//!
//! ```
//! use pliant::request::AppId;
//! use pliant::schedule::{Decision, Job, Scheduler, ServiceOptions};
//! use pliant::units::SimTime;
//!
//! let at = SimTime::from_nanos;
//! let mut scheduler = Scheduler::new(ServiceOptions::default());
//! let first = scheduler.arrive(at(0), Job::plain(7, AppId(0)));
//! let second = scheduler.arrive(at(0), Job::plain(8, AppId(0)));
//! assert_eq!(scheduler.decide(at(0)), Some(Decision::Start(first)));
//! assert_eq!(scheduler.decide(at(0)), None); // the server is busy
//! scheduler.finished(at(5), first);
//! assert_eq!(scheduler.decide(at(5)), Some(Decision::Start(second)));
//! ```
//!
//! # Who is next
//!
//! The [`Discipline`] says. With classes, one that has waited for `ageing_ms` counts as of the
//! class above, after twice as long as of the one above that: however many of a higher class come,
//! those that come later than that wait behind it, so nobody starves. A request that was stopped
//! keeps its place.
//!
//! # Who has to stop
//!
//! With `preempt = "token"` one that came with a class higher than the running one has reached
//! interrupts it at the next token. Ageing protects and does not interrupt. The KV cache of the one
//! that waits is kept as long as those of all that do have no more than `paused_tokens` tokens;
//! else its prompt and what it has written are read again.
//!
//! # Who is refused or dropped
//!
//! [`Reason`] lists why. A refused request was never started; one that was dropped may have been,
//! and then stops at its next token.

mod discipline;
mod gate;
mod options;
mod reason;
mod room;
mod scheduler;
mod slots;

pub use discipline::Discipline;
pub use gate::{Admit, Quota, WhenFull};
pub use options::{Preempt, ServiceOptions};
pub use reason::Reason;
pub use scheduler::{Decision, Job, Needs, Scheduler};
pub use slots::Ticket;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
