//! What callers, the worker and the timekeeper hold in common.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::core::Core;
use crate::units::{Level, SimTime};

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    /// Something happened that others may wait for.
    pub changed: Condvar,
    pub clock: Arc<dyn Clock>,
    resident: Mutex<Option<Level>>,
}

impl Shared {
    pub fn new(core: Core, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (core, resident) = (Mutex::new(core), Mutex::new(None));
        Arc::new(Self { core, changed: Condvar::new(), clock, resident })
    }

    /// The core. A thread that panicked with it in hand broke one call at most.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something happens, or until `wake`.
    pub fn wait(&self, wake: Option<SimTime>) {
        let core = self.lock();
        // Between the look and this lock something may have happened.
        if core.running.is_some() || core.scheduler.waiting() > 0 || core.is_closed {
            return;
        }
        let now = self.clock.now();
        let left = wake.map(|at| if at > now { at - now } else { Duration::ZERO });
        self.wait_on(core, left);
    }

    /// Lets go of the core until something happens, or so much time is over.
    pub fn wait_on(&self, core: MutexGuard<'_, Core>, left: Option<Duration>) {
        match left {
            Some(left) => drop(self.changed.wait_timeout(core, left)),
            None => drop(self.changed.wait(core)),
        }
    }

    pub fn resident(&self) -> Option<Level> {
        *self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_resident(&self, level: Option<Level>) {
        *self.resident.lock().unwrap_or_else(PoisonError::into_inner) = level;
    }
}
