//! What an app holds: the service, and the answer that is coming.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use super::apps::{AppEntry, ServiceApps};
use super::backend::{Backend, Front, ModelCard};
use super::call::{Call, Objective};
use super::clock::{Clock, RealClock};
use super::core::{Core, Model};
use super::entry::Arrival;
use super::event::{Arrived, Event, Left, Refusal, RefusedFor};
use super::mailbox::Mailbox;
use super::registry::Registry;
use super::shared::Shared;
use super::status::Status;
use super::worker::{Worker, keep_time};
use super::{Options, refusal};
use crate::error::{Error, Result};
use crate::profile::DeviceProfile;
use crate::request::Terms;
use crate::units::SimTime;

/// What answers: who is asked, and who computes.
pub type Loaded = (Arc<dyn Front>, Box<dyn Backend>);

/// A service with one model. Clones are handles of the same one; it ends when the last of them is
/// dropped and the calls that are there are answered.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<Shared>,
    _ends: Arc<Ends>,
}

/// Closes the service when the last handle goes.
#[derive(Debug)]
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Service {
    /// A service for `apps` on the clock on the wall. `load` makes what answers, in a thread of its
    /// own: until it is done calls wait, as many as may.
    ///
    /// # Errors
    /// If the options contradict each other, or threads cannot be had.
    pub fn start<F>(options: Options, apps: ServiceApps, load: F) -> Result<Self>
    where
        F: FnOnce(Arc<dyn Clock>) -> Result<Loaded> + Send + 'static,
    {
        let service = Self::idle(options, apps, Arc::new(RealClock::start()))?;
        let shared = Arc::clone(&service.shared);
        let work = move || match load(Arc::clone(&shared.clock)) {
            Ok((front, backend)) => Self::loaded(shared, front, backend).run(),
            Err(error) => {
                let now = shared.clock.now();
                shared.lock().loaded(now, Err(error.to_string()));
                shared.changed.notify_all();
            }
        };
        let shared = Arc::clone(&service.shared);
        for (name, run) in [
            ("pliant-engine", Box::new(work) as Box<dyn FnOnce() + Send>),
            ("pliant-clock", Box::new(move || keep_time(&shared))),
        ] {
            let started = thread::Builder::new().name(name.to_owned()).spawn(run);
            started
                .map_err(|cause| Error::new("service", "no thread to be had").caused_by(cause))?;
        }
        Ok(service)
    }

    /// A service in which nothing happens until somebody works.
    pub(super) fn idle(options: Options, apps: ServiceApps, clock: Arc<dyn Clock>) -> Result<Self> {
        options.check()?;
        let shared = Shared::new(Core::new(&options, Registry::new(apps)), clock);
        let ends = Arc::new(Ends(Arc::clone(&shared)));
        Ok(Self { shared, _ends: ends })
    }

    /// The worker of a service whose model is there.
    pub(super) fn loaded(
        shared: Arc<Shared>,
        front: Arc<dyn Front>,
        backend: Box<dyn Backend>,
    ) -> Worker {
        let now = shared.clock.now();
        shared.lock().loaded(now, Ok(Arc::clone(&front)));
        shared.changed.notify_all();
        Worker::new(shared, front, backend)
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Calls the service. The answer comes as [events](Calling::recv).
    ///
    /// # Errors
    /// If the call is refused: it is wrong, or the scheduler has no room for it.
    pub fn call(&self, call: Call) -> Result<Calling, Refusal> {
        let calling = self.arrive(call);
        let mut core = self.shared.lock();
        core.look(self.shared.clock.now());
        drop(core);
        self.shared.changed.notify_all();
        calling
    }

    /// Hands a call to the scheduler, which may have more to say.
    pub(super) fn arrive(&self, call: Call) -> Result<Calling, Refusal> {
        call.check().map_err(|error| Refusal::bad(&error))?;
        let (app, entry) = {
            let core = self.shared.lock();
            let found = core.registry.find(&call.app);
            found.ok_or_else(|| refusal::unknown_app(&call.app))?
        };
        let slo = match call.objective {
            Objective::AppDefault => entry.slo,
            Objective::Stated(slo) => slo,
        };
        let front = match &self.shared.lock().model {
            Model::Ready(front) => Some(Arc::clone(front)),
            Model::Loading | Model::Failed(_) => None,
        };
        let expected_tokens = call.expected_tokens.or(entry.output_tokens);
        let call = Arc::new(Call { expected_tokens, ..call });
        let asked = front.map(|front| front.ask(&call, slo)).transpose()?;
        let terms = terms(&call, &entry);
        let (priority, supersedes, timeout) =
            (terms.priority, terms.supersedes, terms.cancel_after);
        let arrival = Arrival { call, app, slo, priority, supersedes, timeout, asked };
        let mut core = self.shared.lock();
        let now = self.shared.clock.now();
        let id = core.next_id();
        let mut arrived = Arrived { id, at: now, app: entry.name, slo, terms, asked };
        match core.arrive(now, arrival) {
            Ok((id, mailbox)) => {
                arrived.id = id;
                let shared = Arc::clone(&self.shared);
                Ok(Calling { shared, mailbox, arrived })
            }
            Err(mut refusal) => {
                if matches!(refusal.why, RefusedFor::Scheduled(_)) {
                    refusal.arrived = Some(Box::new(arrived));
                }
                Err(refusal)
            }
        }
    }

    /// Which model answers; `None` until it is loaded.
    #[must_use]
    pub fn card(&self) -> Option<ModelCard> {
        match &self.shared.lock().model {
            Model::Ready(front) => Some(front.card().clone()),
            Model::Loading | Model::Failed(_) => None,
        }
    }

    /// The profile that plans are made with just now; `None` until the model is loaded.
    #[must_use]
    pub fn profile(&self) -> Option<DeviceProfile> {
        let front = match &self.shared.lock().model {
            Model::Ready(front) => Arc::clone(front),
            Model::Loading | Model::Failed(_) => return None,
        };
        Some(front.profile())
    }

    /// What the service is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let resident = self.shared.resident();
        let core = self.shared.lock();
        Status::of(&core, self.shared.clock.now(), resident)
    }

    /// The time since the service began.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.shared.clock.now()
    }

    /// The apps that may call.
    #[must_use]
    pub fn apps(&self) -> ServiceApps {
        self.shared.lock().registry.apps().clone()
    }

    /// Other apps, from now on; the calls that are there are answered as they were let in.
    pub fn set_apps(&self, apps: ServiceApps) {
        let mut core = self.shared.lock();
        let Core { registry, scheduler, .. } = &mut *core;
        registry.replace(apps, scheduler);
    }

    /// Takes no more calls, and answers those that are there. After `patience` those that are left
    /// leave. Returns whether all were answered.
    #[must_use]
    pub fn drain(&self, patience: Duration) -> bool {
        self.refuse_all();
        let in_time = self.wait_until_empty(patience);
        if !in_time {
            let now = self.shared.clock.now();
            self.shared.lock().dismiss(now, &Left::Draining);
            self.shared.changed.notify_all();
        }
        in_time
    }

    /// Takes no more calls.
    pub fn refuse_all(&self) {
        self.shared.lock().is_draining = true;
    }

    /// Waits until no call is there, for no longer than `patience`; whether that is so.
    #[must_use]
    pub fn wait_until_empty(&self, patience: Duration) -> bool {
        let until = self.shared.clock.now().saturating_add(patience);
        loop {
            let core = self.shared.lock();
            let now = self.shared.clock.now();
            if core.entries.is_empty() || now >= until {
                return core.entries.is_empty();
            }
            self.shared.wait_on(core, Some(until - now));
        }
    }
}

/// What a call asks of the service beside its objective; what it leaves open its app says.
fn terms(call: &Call, app: &AppEntry) -> Terms {
    Terms {
        priority: call.priority.unwrap_or(app.priority),
        cancel_after: call.timeout.or(app.timeout),
        supersedes: call.supersedes.unwrap_or(app.supersedes),
        cached_tokens: 0,
    }
}

/// An answer that is coming. Dropping it gives the call up: computing stops within one token.
#[derive(Debug)]
pub struct Calling {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    arrived: Arrived,
}

impl Calling {
    /// What is known of the call since it arrived.
    #[must_use]
    pub fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    /// The next event; waits for it. `None` after the last.
    #[expect(clippy::must_use_candidate, reason = "whoever waits for the end skips events")]
    pub fn recv(&self) -> Option<Event> {
        self.mailbox.take()
    }

    /// The next event, if it comes within `patience`; `None` after the last, too.
    #[expect(clippy::must_use_candidate, reason = "as of `recv`")]
    pub fn recv_within(&self, patience: Duration) -> Option<Event> {
        self.mailbox.take_within(patience)
    }

    /// The next event, for tasks: `Ready(None)` after the last.
    pub fn poll_event(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.mailbox.poll(context)
    }

    /// How many are served before it; 0 for the one that is, `None` if it is gone.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        let core = self.shared.lock();
        let ticket = core.entries.get(&self.arrived.id)?.ticket;
        Some(core.scheduler.ahead_of(ticket).map_or(0, |ahead| ahead + 1))
    }

    /// Gives the call up; nothing if it is gone, or a newer call took its answer over.
    pub fn cancel(&self) {
        self.give_up();
        let mut core = self.shared.lock();
        core.look(self.shared.clock.now());
        drop(core);
        self.shared.changed.notify_all();
    }

    /// Tells the scheduler, which may have more to say.
    pub(super) fn give_up(&self) {
        let mut core = self.shared.lock();
        let entry = core.entries.get(&self.arrived.id);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.mailbox, &self.mailbox)) {
            core.give_up(self.shared.clock.now(), self.arrived.id, None);
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.cancel();
    }
}
