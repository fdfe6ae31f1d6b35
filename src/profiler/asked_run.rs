//! One run of measuring what was asked for: data, `<table>.asked.csv`, its manifest.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::asked;
use super::quality::QualityProgress;
use super::quality_run::{About, count_items, manifest};
use crate::error::Result;
use crate::experiment::Unanswered;
use crate::model::ElasticModel;
use crate::profile::{self, QualityManifest, QualityTable};
use crate::prompt::{Compressor, DataPaths, Dataset};

/// Where answers that are asked for go, and what their manifest says of them.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedRun {
    /// Where the datasets are.
    pub data: DataPaths,
    /// Folder of the tables.
    pub folder: PathBuf,
    /// How prompts are cut.
    pub compressor: Compressor,
    /// The command, for the manifest.
    pub command: String,
}

/// Answers the plans of `unanswered` into `<table>.asked.csv`, with a manifest of its own; returns how
/// many rows that were. With no plans left it finishes the manifest of a run that was broken off.
///
/// # Errors
/// As [`quality_run::measure`](super::quality_run::measure), and if `<table>.csv` was measured otherwise.
pub fn measure(
    model: &mut ElasticModel,
    run: &AskedRun,
    unanswered: &Unanswered,
    report: &mut dyn FnMut(QualityProgress<'_>),
) -> Result<usize> {
    let AskedRun { data, folder, compressor, command } = run;
    let names: BTreeSet<&String> = unanswered.plans.keys().map(|(name, _)| name).collect();
    let datasets: Vec<Dataset> =
        names.into_iter().map(|name| data.load(name)).collect::<Result<_>>()?;
    let table = profile::asked(&unanswered.table);
    let about = About {
        base_model: &unanswered.base_model,
        family: &unanswered.family,
        compressor: *compressor,
        command,
    };
    let mut manifest = manifest(model, about, &datasets);
    manifest.notes.push("a row has the answers that methods asked for, no others".to_owned());
    let whole = QualityManifest::path(folder, &unanswered.table);
    if whole.exists() {
        manifest.check_alike(&QualityManifest::load(folder, &unanswered.table)?, &whole)?;
    }
    let path = QualityManifest::path(folder, &table);
    if path.exists() {
        manifest.continue_from(QualityManifest::load(folder, &table)?, &path)?;
    }
    manifest.save(folder, &table)?;
    let measured = asked::measure(model, &datasets, unanswered, *compressor, folder, report)?;
    count_items(&mut manifest, &QualityTable::load(folder, &table)?);
    manifest.complete = true;
    manifest.save(folder, &table)?;
    Ok(measured)
}
