//! Quality tables: does each sub-model answer each item right, at each prompt ratio?
//!
//! Rows are measured level by level in batches of items, or at all levels together where these read
//! prompts alike. The prompts of a batch at all ratios are scored together, so that a start they share is read once; ratios that leave an item the same
//! tokens are scored once and written to each of their columns.

use std::collections::BTreeMap;
use std::path::Path;

use crate::elastify::elastic_model::ElasticModel;
use crate::engine::scorer::{self, OptionScores, Task};
use crate::engine::session::Runtime;
use crate::error::{Error, Result};
use crate::profile::{Cell, PromptLengths, QualityLog, TOP};
use crate::prompt::compress::score_head;
use crate::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use crate::tlm::score_head::ScoreHead;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// Items scored together: a kill loses at most so many rows.
const BATCH_ITEMS: usize = 50;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityPlan {
    /// Name of the table's files.
    pub table: String,
    /// Levels, in the order they are measured.
    pub levels: Vec<Level>,
    /// Prompt ratios; columns of others stay empty.
    pub ratios: Vec<Ratio>,
    /// How prompts are cut.
    pub compressor: Compressor,
    /// Items per dataset, from the front.
    pub items: usize,
    /// Seed of the random compressor.
    pub seed: u64,
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

/// An item with its prompts, cut once for all levels.
struct Prompted<'a> {
    dataset: &'a Dataset,
    item: &'a Item,
    options: Vec<Vec<u32>>,
    /// Distinct contexts.
    contexts: Vec<Vec<u32>>,
    /// Which context each planned ratio reads.
    context_of: Vec<usize>,
}

/// Measures the rows of `plan` that `folder` lacks, appends them, and returns how many there were;
/// `report` is called after each batch. Also writes the compressor's prompt lengths.
///
/// # Errors
/// If a dataset has too few items, a file cannot be written, or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    datasets: &[Dataset],
    plan: &QualityPlan,
    folder: &Path,
    report: &mut dyn FnMut(QualityProgress<'_>),
) -> Result<usize> {
    check_sizes(datasets, plan)?;
    let mut log = QualityLog::open(folder, &plan.table)?;
    let planned = datasets.len() * plan.items * plan.levels.len();
    let before = log.rows();
    let mut done = before;
    let mut prompted = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        prompted.push(cut_prompts(model, dataset, plan)?);
    }
    write_lengths(datasets, &prompted, plan, folder)?;
    let together = if model.engine.reads_prompts_whole() { plan.levels.len().max(1) } else { 1 };
    for levels in plan.levels.chunks(together) {
        for (dataset, prompted) in datasets.iter().zip(&prompted) {
            let name = dataset.name.as_str();
            let lacks = |log: &QualityLog, entry: &Prompted<'_>, level| {
                !log.contains(name, entry.item.id, level)
            };
            let missing: Vec<&Prompted<'_>> = prompted
                .iter()
                .filter(|entry| levels.iter().any(|&level| lacks(&log, entry, level)))
                .collect();
            for batch in missing.chunks(BATCH_ITEMS) {
                for (&level, rows) in levels.iter().zip(score_batch(model, levels, batch, plan)?) {
                    for (entry, cells) in batch.iter().zip(rows) {
                        if lacks(&log, entry, level) {
                            log.append(name, entry.item.id, level, &cells)?;
                            done += 1;
                        }
                    }
                }
                report(QualityProgress { dataset: name, level: levels[0], done, planned });
            }
        }
    }
    Ok(done - before)
}

fn check_sizes(datasets: &[Dataset], plan: &QualityPlan) -> Result<()> {
    match datasets.iter().find(|dataset| dataset.items.len() < plan.items) {
        None => Ok(()),
        Some(dataset) => Err(Error::new(dataset.name.clone(), "too few items")
            .found(plan.items)
            .allowed(format!("up to {}", dataset.items.len()))),
    }
}

fn cut_prompts<'a>(
    model: &mut ElasticModel,
    dataset: &'a Dataset,
    plan: &QualityPlan,
) -> Result<Vec<Prompted<'a>>> {
    let mut prompted = Vec::with_capacity(plan.items);
    let base_model = model.identity().base_model;
    let open = |compressor| ScoreHead::of(compressor, &base_model, Runtime::loaded()?);
    let mut head = Some(plan.compressor).filter(|c| c.is_scored()).map(open).transpose()?;
    for item in &dataset.items[..plan.items] {
        let information = if plan.compressor.needs_information() {
            let full = model.tokenizer.encode(&dataset.render(item));
            Some(scorer::information(&mut model.engine, Level::FULL, &full)?)
        } else {
            None
        };
        let scores = head.as_mut().map(|head| head.scores(dataset, item)).transpose()?;
        let mut contexts: Vec<Vec<u32>> = Vec::new();
        let mut context_of = Vec::with_capacity(plan.ratios.len());
        for &ratio in &plan.ratios {
            let information = information.as_deref();
            let tokenizer = &model.tokenizer;
            let prompt = if let Some(scores) = &scores {
                score_head::compress(dataset, item, ratio, tokenizer, scores)
            } else {
                let compressor = plan.compressor;
                compress(compressor, dataset, item, ratio, tokenizer, information, plan.seed)
            };
            let same = contexts.iter().position(|context| *context == prompt.tokens);
            context_of.push(same.unwrap_or(contexts.len()));
            if same.is_none() {
                contexts.push(prompt.tokens);
            }
        }
        let options = item.options.iter().map(|option| model.tokenizer.encode(option)).collect();
        prompted.push(Prompted { dataset, item, options, contexts, context_of });
    }
    Ok(prompted)
}

/// Adds the real lengths to the compressor's, if the plan has every ratio: they depend on the
/// compressor alone.
fn write_lengths(
    datasets: &[Dataset],
    prompted: &[Vec<Prompted<'_>>],
    plan: &QualityPlan,
    folder: &Path,
) -> Result<()> {
    if plan.ratios != PROMPT_RATIOS {
        return Ok(());
    }
    let mut lengths = PromptLengths::of_table(folder, plan.compressor.name())?;
    for (dataset, prompted) in datasets.iter().zip(prompted) {
        for entry in prompted {
            let length = |ratio: usize| entry.contexts[entry.context_of[ratio]].len() as u32;
            lengths.insert(&dataset.name, entry.item.id, std::array::from_fn(length));
        }
    }
    lengths.save(folder, plan.compressor.name())
}

type Cells = [Option<Cell>; PROMPT_RATIOS.len()];

/// The rows of `batch` at each of `levels`.
fn score_batch(
    model: &mut ElasticModel,
    levels: &[Level],
    batch: &[&Prompted<'_>],
    plan: &QualityPlan,
) -> Result<Vec<Vec<Cells>>> {
    let tasks: Vec<Task> = batch
        .iter()
        .flat_map(|entry| {
            entry
                .contexts
                .iter()
                .map(|context| Task { context: context.clone(), options: entry.options.clone() })
        })
        .collect();
    let scores = scorer::score_at(&mut model.engine, levels, &tasks.iter().collect::<Vec<_>>())?;
    Ok(scores.iter().map(|scores| rows(batch, scores, plan)).collect())
}

fn rows(batch: &[&Prompted<'_>], scores: &[OptionScores], plan: &QualityPlan) -> Vec<Cells> {
    let mut rest = scores;
    let rows = batch.iter().map(|entry| {
        let (own, after) = rest.split_at(entry.contexts.len());
        rest = after;
        row(entry, own, plan)
    });
    rows.collect()
}

fn row(entry: &Prompted<'_>, scores: &[OptionScores], plan: &QualityPlan) -> Cells {
    let columns: BTreeMap<Ratio, usize> =
        PROMPT_RATIOS.iter().enumerate().map(|(column, &ratio)| (ratio, column)).collect();
    let mut cells = [None; PROMPT_RATIOS.len()];
    for (ratio, &context) in plan.ratios.iter().zip(&entry.context_of) {
        cells[columns[ratio]] = Some(cell(&scores[context], entry));
    }
    cells
}

fn cell(scores: &OptionScores, entry: &Prompted<'_>) -> Cell {
    let gold = entry.item.gold;
    let headline = scores.by(entry.dataset.scoring);
    Cell {
        correct: scorer::best(&headline) == gold,
        sum_correct: scorer::best(&scores.sums) == gold,
        gold_probability: scorer::softmax(&headline, gold) as f32,
        top_correct: entry.dataset.counts_top.then(|| scorer::rank(&headline, gold) < TOP),
    }
}
