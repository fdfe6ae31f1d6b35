//! What is done about a run that an external policy ends: its other runs are given up, those of the
//! other methods go on.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use super::grid::Cell;
use crate::error::{Error, Result};
use crate::metrics::RunMeasures;
use crate::results::{Failure, NOT_RUN};

/// What a run shows, or why an external policy ended it.
pub(crate) type RunResult = Result<RunMeasures, Failure>;

/// Methods whose external policy ended a run: their other runs are not worth its time-outs.
#[derive(Debug, Default)]
pub(crate) struct Tolerance(Mutex<BTreeSet<String>>);

impl Tolerance {
    /// Why `cell` is not to be run under `seed`, if another run of its method failed.
    pub fn given_up(&self, cell: &Cell, seed: u64) -> Option<Failure> {
        let error = Error::new(NOT_RUN, "another run of the method failed");
        let failure = || Failure::new(&cell.label, seed, &error);
        self.failed().contains(&cell.label.method).then(failure)
    }

    /// An external policy is not ours: what ends its run is no reason to lose the others.
    pub fn tolerate(&self, cell: &Cell, seed: u64, run: Result<RunMeasures>) -> Result<RunResult> {
        match run {
            Err(error) if cell.method.spec().policy.is_external() => {
                self.failed().insert(cell.label.method.clone());
                Ok(Err(Failure::new(&cell.label, seed, &error)))
            }
            run => run.map(Ok),
        }
    }

    fn failed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().expect("nobody panics while holding names")
    }
}
