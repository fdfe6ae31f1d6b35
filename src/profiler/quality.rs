//! Quality tables: does each sub-model answer each item right, at each prompt ratio?
//!
//! Rows are measured level by level in batches of items, or at all levels together where these read
//! prompts alike. The prompts of a batch at all ratios are scored together, so that a start they
//! share is read once; ratios that leave an item the same tokens are scored once and written to
//! each of their columns.

use std::path::Path;

use super::prompted::{Cutter, Prompted, score_batch};
use super::taken_over::OtherAnswers;
use crate::error::{Error, Result};
use crate::model::ElasticModel;
use crate::profile::{AnswersOf, LengthsOf, PromptLengths, QualityLog, QualityManifest};
use crate::prompt::{Compressor, Dataset};
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// Items scored together: a kill loses at most so many rows.
pub(super) const BATCH_ITEMS: usize = 50;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityPlan {
    /// Family of sub-models.
    pub family: String,
    /// Levels, in the order they are measured.
    pub levels: Vec<Level>,
    /// Levels that read prompts, for plans of two: those of `levels` that are below answer. Empty:
    /// each level reads its own.
    pub prompt_levels: Vec<Level>,
    /// Prompt ratios; columns of others stay empty.
    pub ratios: Vec<Ratio>,
    /// How prompts are cut.
    pub compressor: Compressor,
    /// Whose answers are taken over to prompts that it cuts alike; absent: nobody's.
    pub taken_from: Option<Compressor>,
    /// Items per dataset, from the front.
    pub items: usize,
    /// Seed of the random compressor.
    pub seed: u64,
}

impl QualityPlan {
    /// Whose answers it measures.
    #[must_use]
    pub fn answers(&self) -> AnswersOf {
        let compressor = self.compressor.name().to_owned();
        let of = AnswersOf { family: self.family.clone(), compressor };
        if self.prompt_levels.is_empty() { of } else { of.in_phases() }
    }

    /// Who reads prompts, with the levels that then answer.
    fn phases(&self) -> Vec<(Option<Level>, Vec<Level>)> {
        if self.prompt_levels.is_empty() {
            return vec![(None, self.levels.clone())];
        }
        let below = |&prompt: &Level| {
            let levels = self.levels.iter().copied().filter(|&level| level < prompt);
            (Some(prompt), levels.collect())
        };
        self.prompt_levels.iter().map(below).collect()
    }
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualityProgress<'a> {
    /// Dataset being measured.
    pub dataset: &'a str,
    /// Level being measured; of several measured together, the first.
    pub level: Level,
    /// Rows there already, from earlier runs too.
    pub done: usize,
    /// Rows planned.
    pub planned: usize,
}

/// Measures the rows of `plan` that `folder` lacks, or takes them over, appends them, and returns
/// how many there were; `report` is called after each batch, and `manifest` says what the rows will
/// be. Also writes the compressor's prompt lengths.
///
/// # Errors
/// If a dataset has too few items, answers of other data would be taken over, a file cannot be
/// written, or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    datasets: &[Dataset],
    plan: &QualityPlan,
    folder: &Path,
    manifest: &QualityManifest,
    report: &mut dyn FnMut(QualityProgress<'_>),
) -> Result<usize> {
    check_sizes(datasets, plan)?;
    let mut log = QualityLog::open(folder, &plan.answers(), false)?;
    let levels: usize = plan.phases().iter().map(|(_, levels)| levels.len()).sum();
    let planned = datasets.len() * plan.items * levels;
    let before = log.rows();
    let mut done = before;
    let mut cutter = Cutter::open(model, plan.compressor, plan.seed)?;
    let mut prompted = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        prompted.push(cut_prompts(model, dataset, plan, &mut cutter)?);
    }
    write_lengths(datasets, &prompted, plan, folder)?;
    for entry in prompted.iter_mut().flatten() {
        *entry = entry.at(|ratio| plan.ratios.contains(&ratio));
    }
    if let Some(compressor) = plan.taken_from {
        let mut others = OtherAnswers::open(model, plan, compressor, folder, manifest)?;
        for entry in prompted.iter().flatten() {
            others.take(model, plan, entry, &mut log)?;
        }
        done = log.rows();
    }
    for (read_by, levels) in plan.phases() {
        let alike = read_by.is_some() || model.engine.reads_prompts_whole();
        for levels in levels.chunks(if alike { levels.len().max(1) } else { 1 }) {
            for (dataset, prompted) in datasets.iter().zip(&prompted) {
                let mut told = |rows: usize| {
                    done += rows;
                    let (dataset, level) = (dataset.name.as_str(), levels[0]);
                    report(QualityProgress { dataset, level, done, planned });
                };
                let cells = Block { dataset: &dataset.name, read_by, levels, ratios: &plan.ratios };
                cells.measure(model, prompted, &mut log, &mut told)?;
            }
        }
    }
    log.finish()?;
    Ok(done - before)
}

/// Answers of a dataset to prompts that are read once.
struct Block<'a> {
    dataset: &'a str,
    read_by: Option<Level>,
    levels: &'a [Level],
    ratios: &'a [Ratio],
}

impl Block<'_> {
    /// Measures what `log` lacks of `prompted`, batch by batch, and tells how many rows each gave.
    fn measure(
        &self,
        model: &mut ElasticModel,
        prompted: &[Prompted<'_>],
        log: &mut QualityLog,
        told: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let Self { dataset, read_by, levels, ratios } = *self;
        let lacks = |log: &QualityLog, entry: &Prompted<'_>, level| {
            !log.contains_phases(dataset, entry.item.id, (read_by, level), ratios)
        };
        let missing: Vec<&Prompted<'_>> = prompted
            .iter()
            .filter(|entry| levels.iter().any(|&level| lacks(log, entry, level)))
            .collect();
        for batch in missing.chunks(BATCH_ITEMS) {
            let mut new = 0;
            for (&level, rows) in levels.iter().zip(score_batch(model, read_by, levels, batch)?) {
                for (entry, cells) in batch.iter().zip(rows) {
                    if lacks(log, entry, level) {
                        log.append_phases(dataset, entry.item.id, (read_by, level), &cells)?;
                        new += 1;
                    }
                }
            }
            told(new);
        }
        Ok(())
    }
}

fn check_sizes(datasets: &[Dataset], plan: &QualityPlan) -> Result<()> {
    match datasets.iter().find(|dataset| dataset.items.len() < plan.items) {
        None => Ok(()),
        Some(dataset) => Err(too_few(dataset, plan.items)),
    }
}

/// The error of a `dataset` that has not as many `items`.
pub(super) fn too_few(dataset: &Dataset, items: usize) -> Error {
    Error::new(dataset.name.clone(), "too few items")
        .found(items)
        .allowed(format!("up to {}", dataset.items.len()))
}

fn cut_prompts<'a>(
    model: &mut ElasticModel,
    dataset: &'a Dataset,
    plan: &QualityPlan,
    cutter: &mut Cutter,
) -> Result<Vec<Prompted<'a>>> {
    let items = &dataset.items[..plan.items];
    items.iter().map(|item| cutter.cut(model, dataset, item, &PROMPT_RATIOS)).collect()
}

/// Adds the real lengths at every ratio, whatever the plan's, to the compressor's: they depend on
/// the compressor alone.
fn write_lengths(
    datasets: &[Dataset],
    prompted: &[Vec<Prompted<'_>>],
    plan: &QualityPlan,
    folder: &Path,
) -> Result<()> {
    let mut lengths = PromptLengths::of_table(folder, plan.compressor.name(), LengthsOf::Whole)?;
    for (dataset, prompted) in datasets.iter().zip(prompted) {
        for entry in prompted {
            lengths.insert(&dataset.name, entry.item.id, entry.lengths());
        }
    }
    lengths.save(folder, plan.compressor.name())
}
