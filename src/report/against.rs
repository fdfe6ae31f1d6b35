//! Every method against one of them, from what a results folder keeps.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::metrics::{
    AskedItems, ItemKey, MetricsRow, PairedRow, RunMeasures, SeedRow, csv_of, read_seeds_csv,
};
use crate::results::{ResultsFolder, StoredRun, seeds_file};

/// Compares every other method with `method`, at each skew and device: a row each, in the order of
/// the folder's rows.
///
/// Gains are those of `seeds.csv`. Intervals over items and McNemar's test are of the requests
/// whose outcomes are kept; without any they are absent.
///
/// # Errors
/// If the folder has no such method, or a file is missing or bad.
pub fn pairs_against(folder: &ResultsFolder, method: &str) -> Result<Vec<PairedRow>> {
    let is_known = folder.rows.iter().any(|row| row.label.method == method);
    if !is_known {
        let mut methods: Vec<&str> = Vec::new();
        for row in &folder.rows {
            if !methods.contains(&row.label.method.as_str()) {
                methods.push(&row.label.method);
            }
        }
        let error = Error::new("--against", "no such method").found(method);
        return Err(error.allowed(methods.join(", ")));
    }
    let seeds = read_seeds_csv(&seeds_file(&folder.path))?;
    let mut pairs = Vec::new();
    for row in folder.rows.iter().filter(|row| row.label.method != method) {
        let is_other = |other: &&MetricsRow| {
            other.label.method == method
                && other.label.scene() == row.label.scene()
                && other.label.alpha.total_cmp(&row.label.alpha).is_eq()
        };
        if let Some(other) = folder.rows.iter().find(is_other) {
            pairs.push(pair(folder, row, other, &seeds)?);
        }
    }
    PairedRow::adjust(&mut pairs);
    Ok(pairs)
}

/// `pairs` as CSV, a line each after the header.
///
/// # Panics
/// Never: rows are text.
#[must_use]
pub fn pairs_csv(pairs: &[PairedRow]) -> String {
    String::from_utf8(csv_of(pairs)).expect("rows are text")
}

fn pair(
    folder: &ResultsFolder,
    row: &MetricsRow,
    other: &MetricsRow,
    seeds: &[SeedRow],
) -> Result<PairedRow> {
    let (own, others) = (Kept::of(folder, row, seeds)?, Kept::of(folder, other, seeds)?);
    let common: Vec<u64> =
        own.runs.keys().filter(|seed| others.runs.contains_key(seed)).copied().collect();
    let of = |kept: &Kept| -> Vec<RunMeasures> {
        common.iter().map(|seed| kept.runs[seed].clone()).collect()
    };
    let asked = |seed: &u64| -> Vec<ItemKey<'_>> {
        let stored = own.stored.iter().find(|run| run.seed == *seed);
        stored.map_or_else(Vec::new, asked_items)
    };
    let mut asked: Vec<_> = common.iter().map(asked).collect();
    if row.traces == Some(1) {
        asked.truncate(1);
    }
    let asked = AskedItems::of(&asked);
    Ok(PairedRow::of(&row.label, &of(&own), &other.label.method, &of(&others), &asked))
}

/// The replications of a cell, by seed.
struct Kept {
    runs: BTreeMap<u64, RunMeasures>,
    stored: Vec<StoredRun>,
}

impl Kept {
    fn of(folder: &ResultsFolder, row: &MetricsRow, seeds: &[SeedRow]) -> Result<Self> {
        let stored = StoredRun::load_all(&folder.path.join("outcomes"), &row.label)?;
        let is_own = |seed: &&SeedRow| {
            seed.label.method == row.label.method
                && seed.label.scene() == row.label.scene()
                && seed.label.alpha.total_cmp(&row.label.alpha).is_eq()
        };
        let run = |seed: &SeedRow| {
            let outcomes = stored.iter().find(|run| run.seed == seed.seed);
            let answers = outcomes.map(|run| RunMeasures::of(&run.outcomes).answers);
            let answers = answers.unwrap_or_default();
            (
                seed.seed,
                RunMeasures {
                    requests: seed.requests,
                    answers,
                    values: seed.values,
                    classes: Vec::new(),
                },
            )
        };
        let runs = seeds.iter().filter(is_own).map(run).collect();
        Ok(Self { runs, stored })
    }
}

/// What the requests of a run asked for, in order of their ids.
fn asked_items(run: &StoredRun) -> Vec<ItemKey<'_>> {
    let mut asked: Vec<_> = run.outcomes.iter().map(|outcome| outcome.request).collect();
    asked.sort_unstable_by_key(|request| request.id);
    let key = |dataset: usize, item| (run.datasets[dataset].as_str(), item);
    asked.iter().map(|request| key(usize::from(request.dataset.0), request.item)).collect()
}
