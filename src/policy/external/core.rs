//! One core for a program and the thread that asks it.
//!
//! Of a question and its answer only one side runs at a time. On two cores each hands over by
//! waking the other core from its sleep, which takes longer than most answers; on one core it is a
//! switch between two processes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many threads are held to each core.
static THREADS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// A thread on one core.
#[derive(Debug)]
struct Held {
    core: usize,
    before: CpuSet,
    programs: usize,
}

/// The calling thread, and every process that it starts, held to one core until all that it took
/// are dropped, on that same thread.
#[derive(Debug)]
pub(super) struct SharedCore;

impl SharedCore {
    /// Takes the core to which the fewest threads are held, of those that this one may run on.
    pub fn take() -> io::Result<Self> {
        HELD.with_borrow_mut(|held| {
            if let Some(held) = held {
                held.programs += 1;
            } else {
                *held = Some(Held::least_used()?);
            }
            Ok(Self)
        })
    }
}

impl Held {
    fn least_used() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut threads = threads();
        let allowed = (0..CpuSet::MAX_CPU).filter(|&core| before.is_set(core));
        let core = allowed.min_by_key(|core| threads.get(core).copied().unwrap_or(0));
        let core = core.ok_or_else(|| io::Error::other("the thread may run on no core"))?;
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one)?;
        *threads.entry(core).or_default() += 1;
        Ok(Self { core, before, programs: 1 })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A thread that does not get its cores back is slow, not wrong.
        let _ = sched_setaffinity(None, &self.before);
        if let Some(count) = threads().get_mut(&self.core) {
            *count -= 1;
        }
    }
}

impl Drop for SharedCore {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            let Some(own) = held else { return };
            own.programs -= 1;
            if own.programs == 0 {
                *held = None;
            }
        });
    }
}

/// A count is right whatever became of the thread that held it.
fn threads() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores() -> CpuSet {
        sched_getaffinity(None).unwrap()
    }

    #[test]
    fn a_thread_gets_its_cores_back_when_its_last_program_is_gone() {
        let before = cores();
        let first = SharedCore::take().unwrap();
        let second = SharedCore::take().unwrap();
        assert_eq!(cores().count(), 1);
        drop(first);
        assert_eq!(cores().count(), 1);
        drop(second);
        assert_eq!(cores(), before);
    }
}
