//! Answers to the plans that methods ask for: rows with a mark in `asked`.
//!
//! First the lengths of the prompts of further items, from the text alone; then, of each item, the
//! answers that an experiment's methods would look up in vain
//! ([`unanswered`](crate::experiment::unanswered)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::prompted::{Cutter, Prompted, score_batch};
use super::quality::{BATCH_ITEMS, QualityProgress, too_few};
use crate::error::{Error, Result};
use crate::experiment::Unanswered;
use crate::model::ElasticModel;
use crate::profile::{AnswersOf, LengthsOf, PromptLengths, QualityLog, Split};
use crate::prompt::{Compressor, Dataset, Item};
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// Seed of the random compressor: that of whole rows by default.
const SEED: u64 = 1;

/// Measures how long the prompts of the replay half of the first `items` items of each dataset are
/// under `compressor`, and adds those that `<compressor>.tokens.csv` lacks to it, marked as asked
/// for; returns how many those are.
///
/// # Errors
/// If a dataset has too few items, or a file cannot be read or written.
pub fn measure_lengths(
    model: &mut ElasticModel,
    datasets: &[Dataset],
    items: usize,
    compressor: Compressor,
    folder: &Path,
    report: &mut dyn FnMut(usize, usize),
) -> Result<usize> {
    let name = compressor.name();
    let known = PromptLengths::of_table(folder, name, LengthsOf::Whole)?;
    let mut lengths = PromptLengths::of_table(folder, name, LengthsOf::Further)?;
    let mut cutter = Cutter::open(model, compressor, SEED)?;
    let mut lacking = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        let first = dataset.items.get(..items).ok_or_else(|| too_few(dataset, items))?;
        let is_new = |item: &&Item| {
            let of = |lengths: &PromptLengths| lengths.of(&dataset.name, item.id).is_none();
            Split::of(&dataset.name, item.id) == Split::Replay && of(&known) && of(&lengths)
        };
        lacking.push((dataset, first.iter().filter(is_new).collect::<Vec<_>>()));
    }
    let planned = lacking.iter().map(|(_, items)| items.len()).sum();
    let mut done = 0;
    for (dataset, items) in lacking {
        for item in items {
            let prompted = cutter.cut(model, dataset, item, &PROMPT_RATIOS)?;
            lengths.insert(&dataset.name, item.id, prompted.lengths());
            done += 1;
            report(done, planned);
        }
        lengths.save_further(folder, name)?;
    }
    Ok(done)
}

/// An item and the plans of it that are to be answered.
struct Wanted<'a> {
    prompted: Prompted<'a>,
    plans: &'a BTreeSet<(Level, Ratio)>,
}

/// Answers the plans of `unanswered`, appends them to the log of their table in `folder`
/// batch by batch, and returns how many rows that were; a run that was broken off goes on if asked
/// again.
///
/// # Errors
/// If a dataset or one of its items is not among `datasets`, the compressor is unknown, a file
/// cannot be written, or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    datasets: &[Dataset],
    unanswered: &Unanswered,
    compressor: Compressor,
    folder: &Path,
    report: &mut dyn FnMut(QualityProgress<'_>),
) -> Result<usize> {
    let wanted = wanted(model, datasets, unanswered, compressor)?;
    let of =
        AnswersOf { family: unanswered.family.clone(), compressor: compressor.name().to_owned() };
    let mut log = QualityLog::open(folder, &of, true)?;
    let levels: BTreeSet<Level> = wanted.iter().flat_map(|w| w.plans.iter().map(|p| p.0)).collect();
    let rows =
        |wanted: &Wanted<'_>| wanted.plans.iter().map(|p| p.0).collect::<BTreeSet<_>>().len();
    let planned = wanted.iter().map(rows).sum();
    let mut done = 0;
    for &level in levels.iter().rev() {
        let mut by_dataset = BTreeMap::<&str, Vec<Prompted<'_>>>::new();
        for prompted in at_level(&wanted, level) {
            by_dataset.entry(&prompted.dataset.name).or_default().push(prompted);
        }
        for (dataset, prompted) in by_dataset {
            for batch in prompted.chunks(BATCH_ITEMS) {
                let batch: Vec<&Prompted<'_>> = batch.iter().collect();
                let rows = score_batch(model, None, &[level], &batch)?.swap_remove(0);
                for (entry, cells) in batch.iter().zip(rows) {
                    log.append(dataset, entry.item.id, level, &cells)?;
                    done += 1;
                }
                report(QualityProgress { dataset, level, done, planned });
            }
        }
    }
    log.finish()?;
    Ok(done)
}

/// The items with a plan at `level`, with their prompts at that level's ratios.
fn at_level<'a>(wanted: &[Wanted<'a>], level: Level) -> Vec<Prompted<'a>> {
    let asks = |wanted: &&Wanted<'_>| wanted.plans.iter().any(|plan| plan.0 == level);
    let asking = wanted.iter().filter(asks);
    asking
        .map(|Wanted { prompted, plans }| prompted.at(|ratio| plans.contains(&(level, ratio))))
        .collect()
}

fn wanted<'a>(
    model: &mut ElasticModel,
    datasets: &'a [Dataset],
    unanswered: &'a Unanswered,
    compressor: Compressor,
) -> Result<Vec<Wanted<'a>>> {
    let mut cutter = Cutter::open(model, compressor, SEED)?;
    let mut wanted = Vec::with_capacity(unanswered.plans.len());
    for ((name, item), plans) in &unanswered.plans {
        let found = datasets
            .iter()
            .find(|dataset| dataset.name == *name)
            .and_then(|dataset| Some((dataset, dataset.items.iter().find(|i| *item == i.id)?)));
        let (dataset, item) = found.ok_or_else(|| {
            Error::new(format!("dataset {name}"), "lacks an item that is asked for")
                .found(format!("item {item}"))
        })?;
        let ratios: BTreeSet<Ratio> = plans.iter().map(|plan| plan.1).collect();
        let ratios: Vec<Ratio> = ratios.into_iter().collect();
        wanted.push(Wanted { prompted: cutter.cut(model, dataset, item, &ratios)?, plans });
    }
    Ok(wanted)
}
