//! What a results folder holds: its rows, what it was made from, and the outcomes that were kept.

use std::path::{Path, PathBuf};

use super::failures::Failure;
use super::manifest::Manifest;
use super::stored_run::StoredRun;
use crate::error::{Error, Result};
use crate::metrics::{MetricsRow, PairedRow, read_metrics_csv, read_paired_csv, read_rows};

/// A results folder, read and checked.
#[derive(Debug, Clone)]
pub struct ResultsFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its `manifest.toml`.
    pub manifest: Manifest,
    /// Its `metrics.csv`.
    pub rows: Vec<MetricsRow>,
    /// Its `paired.csv`; empty without one.
    pub pairs: Vec<PairedRow>,
    /// Its `failures.csv`; empty without one.
    pub failures: Vec<Failure>,
}

impl ResultsFolder {
    /// Reads the folder `path`, but for its outcomes.
    ///
    /// # Errors
    /// If `metrics.csv` or `manifest.toml` is missing, or a file is bad.
    pub fn load(path: &Path) -> Result<Self> {
        let rows = read_metrics_csv(&path.join("metrics.csv"))?;
        let manifest = Manifest::load(path)?;
        let (pairs, failures) = (path.join("paired.csv"), path.join("failures.csv"));
        Ok(Self {
            path: path.to_owned(),
            manifest,
            rows,
            pairs: if pairs.exists() { read_paired_csv(&pairs)? } else { Vec::new() },
            failures: if failures.exists() { read_rows(&failures)? } else { Vec::new() },
        })
    }

    /// The text of its `manifest.toml`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn manifest_text(&self) -> Result<String> {
        let path = Manifest::path(&self.path);
        std::fs::read_to_string(&path).map_err(|error| Error::io(&path, "cannot read", error))
    }

    /// The runs whose outcomes were kept, in the order of the rows, then of seeds.
    ///
    /// # Errors
    /// If a file of outcomes is bad.
    pub fn runs(&self) -> Result<Vec<StoredRun>> {
        let outcomes = self.path.join("outcomes");
        let of_row = |row: &MetricsRow| StoredRun::load_all(&outcomes, &row.label);
        let runs: Vec<Vec<StoredRun>> = self.rows.iter().map(of_row).collect::<Result<_>>()?;
        Ok(runs.into_iter().flatten().collect())
    }
}
