//! The thread that computes: it does what the scheduler decides, one step at a time, and looks
//! after each whether it is to stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::backend::{Asked, Backend, Front, Work};
use super::call::Call;
use super::core::{Order, Phase};
use super::shared::Shared;
use crate::error::Result;
use crate::request::Slo;
use crate::units::SimTime;

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A step was done.
    Worked,
    /// Nothing is to be done before that instant, or before something happens.
    Idle(Option<SimTime>),
    /// Nothing is to be done ever again.
    Ended,
}

#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    backend: Box<dyn Backend>,
    front: Arc<dyn Front>,
}

/// What is next for the call that runs.
#[derive(Debug)]
struct Job {
    id: u64,
    phase: Phase,
    call: Arc<Call>,
    slo: Slo,
    asked: Option<Asked>,
    waited: Duration,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, front: Arc<dyn Front>, backend: Box<dyn Backend>) -> Self {
        Self { shared, backend, front }
    }

    /// Works until the service ends.
    pub fn run(mut self) {
        loop {
            match self.turn() {
                Turn::Worked => {}
                Turn::Idle(wake) => self.shared.wait(wake),
                Turn::Ended => return,
            }
        }
    }

    /// Decides what is to be done, and does a step of it.
    pub fn turn(&mut self) -> Turn {
        self.shared.clock.settle();
        let (job, orders, idle) = {
            let mut core = self.shared.lock();
            let now = self.shared.clock.now();
            let backend = &self.backend;
            core.decide(now, |id| backend.cached_tokens(id));
            let job = core.running.map(|running| {
                let entry = &core.entries[&running.id];
                Job {
                    id: running.id,
                    phase: running.phase,
                    call: Arc::clone(&entry.call),
                    slo: entry.slo,
                    asked: entry.asked,
                    waited: now - entry.arrival,
                }
            });
            let ended = core.is_closed && core.entries.is_empty();
            let idle = if ended { Turn::Ended } else { Turn::Idle(core.wake()) };
            (job, core.take_orders(), idle)
        };
        self.obey(&orders);
        let Some(job) = job else { return idle };
        let id = job.id;
        let done = match job.phase {
            Phase::Start => self.begin(&job),
            Phase::Resume => self.guarded(|worker| worker.backend.resume(id)).map(|()| {
                let takes = self.backend.remaining(id);
                let mut core = self.shared.lock();
                core.goes_on(self.shared.clock.now(), id, takes);
            }),
            Phase::Going => Ok(()),
        };
        let step = done.and_then(|()| self.guarded(|worker| worker.backend.step(id)));
        let resident = self.backend.resident();
        let mut core = self.shared.lock();
        let now = self.shared.clock.now();
        self.shared.set_resident(resident);
        match step {
            Ok(step) => core.stepped(now, id, step),
            Err(why) => core.failed(now, id, why),
        }
        core.make_way(now, |id| self.backend.cached_tokens(id));
        drop(core);
        self.shared.changed.notify_all();
        Turn::Worked
    }

    fn obey(&mut self, orders: &[Order]) {
        for &order in orders {
            // A backend that panics here has lost a sequence that nobody waits for.
            let _ = self.guarded(|worker| {
                match order {
                    Order::Pause { id, keep } => worker.backend.pause(id, keep),
                    Order::Forget(id) => worker.backend.forget(id),
                }
                Ok(())
            });
        }
    }

    /// Plans the answer of a call that is taken up.
    fn begin(&mut self, job: &Job) -> Result<(), String> {
        let asked = if let Some(asked) = job.asked {
            asked
        } else {
            // It came while the model was loaded.
            let asked = self.front.ask(&job.call, job.slo);
            let asked = asked.map_err(|refusal| refusal.message)?;
            self.shared.lock().entries.get_mut(&job.id).expect("it runs").asked = Some(asked);
            asked
        };
        let work = Work { id: job.id, call: &job.call, asked, waited: job.waited };
        let plan = self.guarded(|worker| worker.backend.start(&work))?;
        let takes = self.backend.remaining(job.id);
        let mut core = self.shared.lock();
        core.planned(self.shared.clock.now(), job.id, plan, takes);
        Ok(())
    }

    /// What `compute` gives; if it panics, that is the failure of one call.
    fn guarded<T>(&mut self, compute: impl FnOnce(&mut Self) -> Result<T>) -> Result<T, String> {
        match catch_unwind(AssertUnwindSafe(|| compute(self))) {
            Ok(out) => out.map_err(|error| error.to_string()),
            Err(panic) => {
                let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(format!("the program is wrong: {}", said.unwrap_or_default()))
            }
        }
    }
}

/// Keeps time while the worker computes or the model loads: whoever times out, or has to make way,
/// does so at that instant and not after a long step.
pub(super) fn keep_time(shared: &Shared) {
    loop {
        let mut core = shared.lock();
        if core.is_closed && core.entries.is_empty() {
            return;
        }
        let now = shared.clock.now();
        core.look(now);
        let wake = if core.running.is_some() { core.wake() } else { None };
        let left = wake.map(|at| if at > now { at - now } else { Duration::ZERO });
        shared.wait_on(core, left);
    }
}
