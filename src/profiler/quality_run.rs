//! One run of the quality measurement: data, table, manifest, and what came out in a few lines.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::quality::{self, QualityPlan, QualityProgress};
use crate::assets::BaseModel;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::files::Lock;
use crate::model::ElasticModel;
use crate::origin;
use crate::plan::ABOVE;
use crate::profile::{
    AnswerFiles, AnswersOf, DatasetCount, QualityManifest, QualityTable, Split, TOP,
};
use crate::prompt::dataset::{SHOTS, Scoring};
use crate::prompt::{Compressor, DataPaths, Dataset, Item};
use crate::units::Level;

/// What to measure, on what, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityRun {
    /// Name of the base model in profiles.
    pub base_model: String,
    /// Names of datasets.
    pub datasets: Vec<String>,
    /// Where the datasets are.
    pub data: DataPaths,
    /// Folder of the tables.
    pub folder: PathBuf,
    /// Rows and columns.
    pub plan: QualityPlan,
    /// The command, for the manifest.
    pub command: String,
}

/// Measures what is missing of the table. Its manifest says `complete: false` until every item it
/// counts is measured at every plan, so that a broken-off table is known for what it is.
///
/// # Errors
/// If data cannot be read, the table's rows are of another measurement, a file cannot be written,
/// or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    run: &QualityRun,
    report: &mut dyn FnMut(QualityProgress<'_>),
) -> Result<QualityManifest> {
    let datasets: Vec<Dataset> =
        run.datasets.iter().map(|name| run.data.load(name)).collect::<Result<_>>()?;
    let of = run.plan.answers();
    let about = About {
        base_model: &run.base_model,
        family: &run.plan.family,
        compressor: run.plan.compressor,
        command: &run.command,
    };
    let mut manifest = manifest(model, about, &datasets);
    if !run.plan.prompt_levels.is_empty() {
        of_two_levels(&mut manifest, &of, run)?;
    }
    let planned = |dataset: &Dataset| (dataset.name.clone(), planned(dataset, run.plan.items));
    manifest.datasets = datasets.iter().map(planned).collect();
    if let Some(other) = run.plan.taken_from {
        let note =
            format!("answers to prompts that {} cuts alike are taken over from it", other.name());
        manifest.notes.push(note);
    }
    let path = AnswerFiles(&run.folder).manifest(&of.compressor);
    let _lock = Lock::acquire(&path, "the quality table")?;
    let earlier = QualityManifest::load(&run.folder, &of, false)?;
    if let Some(earlier) = earlier.clone() {
        manifest.continue_from(earlier, &path)?;
    }
    manifest.save(&run.folder)?;
    let measured = quality::measure(model, &datasets, &run.plan, &run.folder, &manifest, report)?;
    let mut manifest = earlier.filter(|_| measured == 0).unwrap_or(manifest);
    let rows = QualityTable::load_measured(&run.folder, &of)?;
    count_items(&mut manifest, &rows);
    manifest.complete = is_complete(&rows, &manifest);
    manifest.save(&run.folder)?;
    Ok(manifest)
}

/// Says in `manifest` that larger levels read the prompts, whose answers `of` are.
///
/// # Errors
/// If the family's levels do not keep each a part of the larger ones, or its plans of one level
/// were measured otherwise.
fn of_two_levels(manifest: &mut QualityManifest, of: &AnswersOf, run: &QualityRun) -> Result<()> {
    if !run.plan.family.parse::<Family>()?.answers_in_phases() {
        return Err(Error::new(format!("family {}", of.family), "levels share no keys and values")
            .allowed("a family whose smaller levels are parts of the larger ones"));
    }
    let least = run.plan.prompt_levels.iter().min();
    let above = run.plan.levels.iter().find(|&level| least.is_some_and(|least| level > least));
    if let Some((above, least)) = above.zip(least) {
        return Err(Error::new("levels to measure", ABOVE)
            .found(format!("a prompt read at {least}, answered at {above}"))
            .allowed(format!("answer levels up to {least}")));
    }
    let whole = AnswersOf { compressor: manifest.compressor.clone(), ..of.clone() };
    if let Some(whole) = QualityManifest::load(&run.folder, &whole, false)? {
        manifest.check_alike(&whole, &AnswerFiles(&run.folder).manifest(&whole.compressor))?;
    }
    manifest.compressor.clone_from(&of.compressor);
    let note = "prompts and the first token of each option are the prompt_level's, later tokens \
                the smaller level's";
    manifest.notes.push(note.to_owned());
    Ok(())
}

/// Counts what is there: a run that was broken off may have planned more items, and datasets, than
/// were ever begun.
pub(super) fn count_items(manifest: &mut QualityManifest, rows: &QualityTable) {
    for (name, count) in &mut manifest.datasets {
        *count = counted(rows, name);
    }
    manifest.datasets.retain(|_, count| count.estimate + count.replay > 0);
}

/// The items of a dataset that a table has, whole or not.
fn counted(table: &QualityTable, dataset: &str) -> DatasetCount {
    let on = |side| table.items(dataset).filter(|&(_, row)| table.side(row) == side).count() as u32;
    DatasetCount { estimate: on(Split::Estimate), replay: on(Split::Replay) }
}

/// Whether every item that `manifest` counts has an answer wherever any item of its dataset has
/// one.
fn is_complete(table: &QualityTable, manifest: &QualityManifest) -> bool {
    manifest.datasets.iter().all(|(name, count)| {
        let whole = table.items(name).filter(|&(_, row)| table.is_whole(row)).count();
        whole >= (count.estimate + count.replay) as usize
    })
}

/// The first `items` of a dataset, by side.
fn planned(dataset: &Dataset, items: usize) -> DatasetCount {
    let items = &dataset.items[..items.min(dataset.items.len())];
    let is_estimate = |item: &&Item| Split::of(&dataset.name, item.id) == Split::Estimate;
    let estimate = items.iter().filter(is_estimate).count();
    DatasetCount { estimate: estimate as u32, replay: (items.len() - estimate) as u32 }
}

/// What a manifest says of a run beside what the model and the data say.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) base_model: &'a str,
    pub(super) family: &'a str,
    pub(super) compressor: Compressor,
    pub(super) command: &'a str,
}

/// The manifest of a run that has no rows yet.
pub(super) fn manifest(
    model: &ElasticModel,
    about: About<'_>,
    datasets: &[Dataset],
) -> QualityManifest {
    let identity = model.identity();
    let none = DatasetCount { estimate: 0, replay: 0 };
    let template = |dataset: &Dataset| format!("{}: {}", dataset.name, dataset.template);
    let known = BaseModel::of_sha256(&identity.model_sha256).map(BaseModel::origin);
    let origin = known.unwrap_or_else(|| "local file".to_owned());
    QualityManifest {
        base_model: about.base_model.to_owned(),
        family: about.family.to_owned(),
        asked: false,
        model_source: format!("{origin}, {}", identity.quantisation),
        model_sha256: identity.model_sha256.clone(),
        elastic_sha256: Some(model.manifest_sha256.clone()),
        prompt_template: datasets.iter().map(template).collect::<Vec<_>>().join(" | "),
        shots: SHOTS as u32,
        compressor: about.compressor.name().to_owned(),
        scorer: "highest mean log-likelihood per option token, or highest sum where a note says \
                 so; beside it sum_grade: highest sum; of the headline's own scores: \
                 gold_probability, softmax at the gold option, and top5_grade, gold among the \
                 first five (API calls, UI steps)"
            .to_owned(),
        split: Split::RULE.to_owned(),
        command: about.command.to_owned(),
        date: origin::today(),
        commit: origin::commit(),
        earlier_runs: Vec::new(),
        complete: false,
        datasets: datasets.iter().map(|dataset| (dataset.name.clone(), none)).collect(),
        notes: datasets
            .iter()
            .flat_map(notes)
            .chain(model.manifest.members().into_iter().map(|member| format!("zoo, {member}")))
            .collect(),
    }
}

/// What a reader of the table should know of `dataset`.
fn notes(dataset: &Dataset) -> Vec<String> {
    let name = &dataset.name;
    let mut notes = vec![format!("{name} data sha256 {}", dataset.sha256)];
    if dataset.scoring == Scoring::Sum {
        notes.push(format!("{name}: scored by the sum of log-likelihoods, not by their mean"));
    }
    let left_out = dataset.left_out.iter();
    notes.extend(left_out.map(|(why, rows)| format!("{name}: {rows} rows left out: {why}")));
    notes
}

/// Accuracy per dataset and level on the fullest prompt measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualitySummary {
    /// What was measured: family and compressor.
    pub answers: String,
    /// Name of the base model in profiles.
    pub base_model: String,
    /// In order of their names.
    pub datasets: Vec<DatasetSummary>,
}

/// [`QualitySummary`] of one dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetSummary {
    /// Its name.
    pub name: String,
    /// Its items, both halves.
    pub items: u32,
    /// Share of right answers, smallest level first; absent where none was measured.
    pub accuracy: Vec<(Level, Option<f64>)>,
    /// The same of plans of two levels: that of the prompt, that of the answer, share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_phases: Vec<(Level, Level, Option<f64>)>,
    /// Share of items whose right option is among the first [`TOP`], at the largest level; absent
    /// where the study does not count that.
    pub among_first: Option<f64>,
}

/// What the table of `run` says.
///
/// # Errors
/// If the table cannot be read back.
pub fn summary(run: &QualityRun, manifest: &QualityManifest) -> Result<QualitySummary> {
    let answers = run.plan.answers().to_string();
    let table = QualityTable::load_measured(&run.folder, &run.plan.answers())?.with_scores()?;
    let ratio = run.plan.ratios.iter().max().and_then(|&ratio| table.ratio_index(ratio));
    let ratio = ratio.unwrap_or_default();
    let levels = || table.levels().iter().copied().enumerate();
    let dataset = |(name, count): (&String, &DatasetCount)| DatasetSummary {
        name: name.clone(),
        items: count.estimate + count.replay,
        accuracy: levels()
            .map(|(index, level)| (level, table.accuracy(name, None, index, ratio)))
            .collect(),
        in_phases: (table.pairs().iter())
            .filter_map(|&(prompt, answer)| {
                let place = table.pair_index(prompt, answer)?;
                Some((prompt, answer, table.accuracy(name, None, place, ratio)))
            })
            .collect(),
        among_first: levels()
            .next_back()
            .and_then(|(index, _)| table.top_accuracy(name, index, ratio)),
    };
    let datasets = manifest.datasets.iter().map(dataset).collect();
    Ok(QualitySummary { answers, base_model: run.base_model.clone(), datasets })
}

impl fmt::Display for QualitySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, base_model, datasets } = self;
        write!(f, "{answers} of {base_model}, full prompt, % right:\nlevel")?;
        for DatasetSummary { name, items, .. } in datasets {
            write!(f, "  {name} (n={items})")?;
        }
        let Some(first) = datasets.first() else { return Ok(()) };
        let shown = |accuracy: Option<f64>| match accuracy {
            Some(accuracy) => format!("  {:.1}", 100.0 * accuracy),
            None => "  -".to_owned(),
        };
        for (index, (level, _)) in first.accuracy.iter().enumerate() {
            write!(f, "\n{level}")?;
            datasets.iter().try_for_each(|of| f.write_str(&shown(of.accuracy[index].1)))?;
        }
        for (index, (prompt, answer, _)) in first.in_phases.iter().enumerate() {
            write!(f, "\n{prompt}, answered at {answer}")?;
            datasets.iter().try_for_each(|of| f.write_str(&shown(of.in_phases[index].2)))?;
        }
        for DatasetSummary { name, accuracy, among_first, .. } in datasets {
            if let Some(((level, _), top)) = accuracy.last().zip(*among_first) {
                write!(f, "\n{name} at {level}: {:.1} among the first {TOP}", 100.0 * top)?;
            }
        }
        Ok(())
    }
}
