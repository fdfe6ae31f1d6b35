//! Runs that an external policy ended: kept by name, so that other methods' results stay whole.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::metrics::CellLabel;
use crate::trace::quoted;

/// A row of `failures.csv`: a run that did not come to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    pub(crate) fn new(cell: &CellLabel, seed: u64, error: &Error) -> Self {
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

/// Writes the file `path`: one row per failure.
pub(crate) fn write_failures_csv(path: &Path, failures: &[Failure]) -> Result<()> {
    let mut text = "method,alpha,device,seed,error\n".to_owned();
    for Failure { method, alpha, device, seed, error } in failures {
        let cells =
            [quoted(method), alpha.to_string(), quoted(device), seed.to_string(), quoted(error)];
        text += &cells.join(",");
        text.push('\n');
    }
    files::write_whole(path, text.as_bytes())
}
