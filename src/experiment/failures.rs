//! Runs that an external policy ended: kept by name, so that other methods' results stay whole.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use super::grid::Cell;
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::{CellLabel, RunMeasures};
use crate::trace::quoted;

/// A run that did not come to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Name of the method.
    pub method: String,
    /// Skew of the trace.
    pub alpha: f64,
    /// Name of the device.
    pub device: String,
    /// Seed of the replication.
    pub seed: u64,
    /// Why; names the request.
    pub error: String,
}

impl Failure {
    pub(super) fn new(cell: &CellLabel, seed: u64, error: &Error) -> Self {
        Self {
            method: cell.method.clone(),
            alpha: cell.alpha,
            device: cell.device.clone(),
            seed,
            error: error.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alpha, device, seed, error, .. } = self;
        write!(f, "alpha {alpha}, device {device}, seed {seed}: {error}")
    }
}

/// What a run shows, or why an external policy ended it.
pub(crate) type RunResult = Result<RunMeasures, Failure>;

/// Methods whose external policy ended a run: their other runs are not worth its time-outs.
#[derive(Debug, Default)]
pub(crate) struct Tolerance(Mutex<BTreeSet<String>>);

impl Tolerance {
    /// Why `cell` is not to be run under `seed`, if another run of its method failed.
    pub fn given_up(&self, cell: &Cell, seed: u64) -> Option<Failure> {
        let error = Error::new("not run", "another run of the method failed");
        let failure = || Failure::new(&cell.label, seed, &error);
        self.failed().contains(&cell.label.method).then(failure)
    }

    /// An external policy is not ours: what ends its run is no reason to lose the others.
    pub fn tolerate(&self, cell: &Cell, seed: u64, run: Result<RunMeasures>) -> Result<RunResult> {
        match run {
            Err(error) if cell.scene.method().policy.is_external() => {
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

/// Writes the file `path`: one row per failure.
pub(super) fn write_failures_csv(path: &Path, failures: &[Failure]) -> Result<()> {
    let mut text = "method,alpha,device,seed,error\n".to_owned();
    for Failure { method, alpha, device, seed, error } in failures {
        let cells =
            [quoted(method), alpha.to_string(), quoted(device), seed.to_string(), quoted(error)];
        text += &cells.join(",");
        text.push('\n');
    }
    files::write_whole(path, text.as_bytes())
}
