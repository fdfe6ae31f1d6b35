//! What a results folder holds: its rows, what it was made from, and the outcomes that were kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::FigureInputs;
use crate::error::{Error, Result};
use crate::files::read_toml;
use crate::metrics::{
    MetricsRow, PairedRow, StoredRun, read_metrics_csv, read_paired_csv, read_rows,
};

/// A results folder, read and checked.
#[derive(Debug, Clone)]
pub struct ResultsFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its `manifest.toml`.
    pub manifest: ResultsManifest,
    /// Its `metrics.csv`.
    pub rows: Vec<MetricsRow>,
    /// Its `paired.csv`; empty without one.
    pub pairs: Vec<PairedRow>,
    /// Its `failures.csv`; empty without one.
    pub failures: Vec<FailedRun>,
}

/// What reports need of a `manifest.toml`; what an older or hand-made one does not say is absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultsManifest {
    /// Name of the experiment.
    pub experiment: Option<String>,
    /// Version of the program.
    pub pliant: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
    /// Whether its sources differed from the commit.
    pub sources_modified: Option<bool>,
    /// Who answered.
    pub executor: Option<String>,
    /// Seed of the first replication.
    pub first_seed: Option<u64>,
    /// How many replications.
    pub seeds: Option<u32>,
    /// What a reader should know of the traces, a sentence each.
    pub notes: Vec<String>,
    /// SHA-256 of the inputs, by their path.
    pub inputs: BTreeMap<String, String>,
    /// What figures of profiles show.
    pub figures: FigureInputs,
}

/// A row of `failures.csv`: a run that an external policy ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRun {
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

impl ResultsFolder {
    /// Reads the folder `path`, but for its outcomes.
    ///
    /// # Errors
    /// If `metrics.csv` or `manifest.toml` is missing, or a file is bad.
    pub fn load(path: &Path) -> Result<Self> {
        let rows = read_metrics_csv(&path.join("metrics.csv"))?;
        let manifest = read_toml(&path.join("manifest.toml"))?;
        let (pairs, failures) = (path.join("paired.csv"), path.join("failures.csv"));
        Ok(Self {
            path: path.to_owned(),
            manifest,
            rows,
            pairs: if pairs.exists() { read_paired_csv(&pairs)? } else { Vec::new() },
            failures: if failures.exists() { read_rows(&failures)? } else { Vec::new() },
        })
    }

    /// The experiment's name; where the manifest has none, the folder's.
    #[must_use]
    pub fn name(&self) -> String {
        let of_folder = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.manifest.experiment.clone().unwrap_or_else(of_folder)
    }

    /// The text of its `manifest.toml`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn manifest_text(&self) -> Result<String> {
        let path = self.path.join("manifest.toml");
        std::fs::read_to_string(&path).map_err(|error| Error::io(&path, "cannot read", error))
    }

    /// The runs whose outcomes were kept, in the order of the rows, then of seeds.
    ///
    /// # Errors
    /// If a file of outcomes is bad.
    pub fn runs(&self) -> Result<Vec<StoredRun>> {
        let outcomes = self.path.join("outcomes");
        let of_row = |row: &MetricsRow| StoredRun::load_all(&outcomes, &row.label());
        let runs: Vec<Vec<StoredRun>> = self.rows.iter().map(of_row).collect::<Result<_>>()?;
        Ok(runs.into_iter().flatten().collect())
    }
}
