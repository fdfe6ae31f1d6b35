//! One run of measuring what was asked for: data, rows, their manifest.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::asked;
use super::quality::QualityProgress;
use super::quality_run::{About, count_items, manifest};
use crate::error::Result;
use crate::experiment::Unanswered;
use crate::files::Lock;
use crate::model::ElasticModel;
use crate::profile::{AnswerFiles, AnswersOf, QualityManifest, QualityTable};
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

/// Answers the plans of `unanswered` into rows of their table that are marked as asked for; returns
/// how many that were. With no plans left it finishes the manifest of a run that was broken off.
///
/// # Errors
/// As [`quality_run::measure`](super::quality_run::measure), and if the whole rows of the family
/// were measured otherwise.
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
    let of =
        AnswersOf { family: unanswered.family.clone(), compressor: compressor.name().to_owned() };
    let about = About {
        base_model: &unanswered.base_model,
        family: &unanswered.family,
        compressor: *compressor,
        command,
    };
    let mut manifest = manifest(model, about, &datasets);
    manifest.asked = true;
    manifest.notes.push("a row has the answers that methods asked for, no others".to_owned());
    let path = AnswerFiles(folder).manifest(&of.compressor);
    if let Some(whole) = QualityManifest::load(folder, &of, false)? {
        manifest.check_alike(&whole, &path)?;
    }
    let _lock = Lock::acquire(&path, "the table of answers")?;
    if let Some(earlier) = QualityManifest::load(folder, &of, true)? {
        manifest.continue_from(earlier, &path)?;
    }
    manifest.save(folder)?;
    let measured = asked::measure(model, &datasets, unanswered, *compressor, folder, report)?;
    count_items(&mut manifest, &QualityTable::load_asked_alone(folder, &of)?);
    manifest.complete = true;
    manifest.save(folder)?;
    Ok(measured)
}
