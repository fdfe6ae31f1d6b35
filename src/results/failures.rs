//! Runs that an external policy ended: kept by name, so that other methods' results stay whole.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::metrics::CellLabel;

/// What the error of a run starts with that was not worth its time.
pub(crate) const NOT_RUN: &str = "not run";

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

/// `failures` in words, a line per method: the first cause, and how many more of its runs there
/// are.
///
/// # Panics
/// Never: a method is named by a failure of its own.
#[must_use]
pub fn failed_in_words(failures: &[Failure]) -> Vec<String> {
    let methods: BTreeSet<&str> = failures.iter().map(|failure| failure.method.as_str()).collect();
    let in_words = |method: &str| {
        let of_method = || failures.iter().filter(|failure| failure.method == method);
        let cause = of_method().find(|failure| !failure.error.starts_with(NOT_RUN));
        let first = cause.or(of_method().next()).expect("the method has a failure");
        match of_method().count() - 1 {
            0 => first.to_string(),
            others => format!("{first} ({others} more of its runs failed or were not run)"),
        }
    };
    methods.into_iter().map(in_words).collect()
}

/// Writes the file `path`: one row per failure.
pub(crate) fn write_failures_csv(path: &Path, failures: &[Failure]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for failure in failures {
        writer.serialize(failure).expect("memory takes every row");
    }
    files::write_whole(path, &writer.into_inner().expect("memory is flushed"))
}
