//! What the decision-head answered for each item: `<dir>/<name>.decisions.csv` and the manifest
//! beside it, `<name>.decisions.json`.
//!
//! The tiny language model (TLM) reads a request's own prompt, which a replay does not have; so it
//! is asked beforehand, once per item, and its answers are stored. There are two kinds:
//!
//! - `hard`: one plan for each objective on the grid of SLO tokens ([`TTFT_TOKENS`] ×
//!   [`TPOT_TOKENS`]), as the study trains it. Labels depend on latencies, so the answers are for
//!   one device.
//! - `soft`: the probability that each plan is answered rightly. It depends on no latency: which
//!   plan is taken follows from the device at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::text;
use crate::error::{Error, Result};
use crate::files;
use crate::plan::Plan;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

const LEVELS: usize = Level::LADDER.len();
const RATIOS: usize = PROMPT_RATIOS.len();
const SCHEMA: u32 = 1;
/// More word pieces than an encoder reads.
const TLM_TOKENS_MAX: u32 = 1 << 16;

/// The objectives of TTFT that have a token, in percent: `[02]` … `[10]`.
pub const TTFT_TOKENS: [u16; 9] = [20, 30, 40, 50, 60, 70, 80, 90, 100];
/// The objectives of TPOT that have a token, in percent: `<05>` … `<10>`.
pub const TPOT_TOKENS: [u16; 6] = [50, 60, 70, 80, 90, 100];

const SOFT_HEADER: [&str; 14] = [
    "dataset",
    "item",
    "tlm_tokens",
    "level",
    "r10",
    "r20",
    "r30",
    "r40",
    "r50",
    "r60",
    "r70",
    "r80",
    "r90",
    "r100",
];
const HARD_HEADER: [&str; 10] =
    ["dataset", "item", "tlm_tokens", "ttft_percent", "p50", "p60", "p70", "p80", "p90", "p100"];

/// Probability of a right answer, `[level of the ladder][prompt ratio]`.
pub type PlanProbabilities = [[f32; RATIOS]; LEVELS];

/// One plan per objective, `[of TTFT_TOKENS][of TPOT_TOKENS]`.
pub type PlanGrid = [[Plan; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];

/// The decision-head's answer for one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// See [`PlanProbabilities`].
    Soft(Box<PlanProbabilities>),
    /// See [`PlanGrid`].
    Hard(Box<PlanGrid>),
}

/// An answer, and how many tokens the TLM read for it: deciding is billed by them.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the head says.
    pub answer: Answer,
    /// Word pieces of the item's own prompt with everything around them.
    pub tlm_tokens: u32,
}

/// Which of the two heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// The best plan by the probability of a right answer.
    Soft,
    /// A plan per objective.
    Hard,
}

/// How decisions were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionsManifest {
    /// Version of the file format: 1.
    pub schema: u32,
    /// Which head.
    pub kind: DecisionKind,
    /// Whose answers were learnt.
    pub base_model: String,
    /// The quality table they are in, and its hash.
    pub table: String,
    /// SHA-256 of that table.
    pub table_sha256: String,
    /// How the table's prompts were cut.
    pub compressor: String,
    /// Whose latencies the labels rest on; `None` for `soft`.
    #[serde(default)]
    pub device: Option<String>,
    /// SHA-256 of the TLM's trunk.
    pub trunk_sha256: String,
    /// How many of its layers are used.
    pub trunk_layers: u32,
    /// SHA-256 of the head's weights.
    pub head_sha256: String,
    /// The items it was trained on, by dataset, rising.
    pub trained_on: BTreeMap<String, BTreeSet<u32>>,
    /// Command that decided.
    pub command: String,
    /// Day, `YYYY-MM-DD`.
    pub date: String,
    /// Commit of the code.
    pub commit: String,
    /// What was seen while training: cross-validated losses and accuracies, by name.
    pub measures: BTreeMap<String, f64>,
    /// Anything else a reader should know, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Decisions for the items of one base model.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    /// How they were made.
    pub manifest: DecisionsManifest,
    items: BTreeMap<String, BTreeMap<u32, Decision>>,
}

impl Decisions {
    /// No decisions yet.
    #[must_use]
    pub fn new(manifest: DecisionsManifest) -> Self {
        Self { manifest, items: BTreeMap::new() }
    }

    /// Reads `<dir>/<name>.decisions.csv` and its manifest.
    ///
    /// # Errors
    /// If a file cannot be read, has other columns, an incomplete item, a cell that is no
    /// probability or plan, or decides for an item that the head was trained on.
    pub fn load(dir: &Path, name: &str) -> Result<Self> {
        let path = manifest_path(dir, name);
        let json = text::read(&path)?;
        let manifest: DecisionsManifest = serde_json::from_str(&json)
            .map_err(|cause| Error::file(&path, "not a manifest of decisions").caused_by(cause))?;
        if manifest.schema != SCHEMA {
            let error = Error::file(&path, "unknown version").at("key \"schema\"");
            return Err(error.found(manifest.schema).allowed(SCHEMA));
        }
        let table = dir.join(format!("{name}.decisions.csv"));
        let mut decisions = Self::new(manifest);
        match decisions.manifest.kind {
            DecisionKind::Soft => decisions.read_soft(&table)?,
            DecisionKind::Hard => decisions.read_hard(&table)?,
        }
        decisions.check_disjoint(&table)?;
        Ok(decisions)
    }

    /// Writes `<dir>/<name>.decisions.csv` and its manifest, replacing older ones.
    ///
    /// # Errors
    /// If an item is decided for that the head was trained on, or the folder is not writable.
    pub fn save(&self, dir: &Path, name: &str) -> Result<()> {
        let table = dir.join(format!("{name}.decisions.csv"));
        self.check_disjoint(&table)?;
        let rows = self
            .rows()
            .map_err(|cause| Error::file(&table, "cannot be written").caused_by(cause))?;
        files::write_whole(&table, rows.as_bytes())?;
        let path = manifest_path(dir, name);
        let mut json = serde_json::to_string_pretty(&self.manifest)
            .map_err(|cause| Error::file(&path, "cannot be written as JSON").caused_by(cause))?;
        json.push('\n');
        files::write_whole(&path, json.as_bytes())
    }

    /// Sets an item's decision.
    ///
    /// # Panics
    /// If it is of the other kind.
    pub fn insert(&mut self, dataset: &str, item: u32, decision: Decision) {
        let kind = match decision.answer {
            Answer::Soft(_) => DecisionKind::Soft,
            Answer::Hard(_) => DecisionKind::Hard,
        };
        assert_eq!(kind, self.manifest.kind, "all decisions are of one kind");
        self.items.entry(dataset.to_owned()).or_default().insert(item, decision);
    }

    /// The decision for an item.
    #[must_use]
    pub fn of(&self, dataset: &str, item: u32) -> Option<&Decision> {
        self.items.get(dataset)?.get(&item)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items of a dataset, rising.
    pub fn items(&self, dataset: &str) -> impl Iterator<Item = u32> {
        self.items.get(dataset).into_iter().flat_map(|items| items.keys().copied())
    }

    fn check_disjoint(&self, path: &Path) -> Result<()> {
        for (dataset, trained) in &self.manifest.trained_on {
            if let Some(item) = self.items(dataset).find(|item| trained.contains(item)) {
                return Err(Error::file(path, "decides for an item that the head was trained on")
                    .found(format!("{dataset} item {item}"))
                    .allowed("other items"));
            }
        }
        Ok(())
    }

    fn read_soft(&mut self, path: &Path) -> Result<()> {
        let text = text::read(path)?;
        let rows = text::csv_rows(path, &text, &SOFT_HEADER)?;
        for group in rows.chunks(LEVELS) {
            let mut grid = PlanProbabilities::default();
            for (place, cells) in grid.iter_mut().enumerate() {
                let level = Level::LADDER[place].as_percent().to_string();
                let (line, row) = group_row(path, group, place, "level", &level)?;
                for (column, cell) in cells.iter_mut().enumerate() {
                    let field = &row[4 + column];
                    let value: Option<f32> = field.parse().ok();
                    *cell = value.filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| {
                        Error::file(path, "not a probability")
                            .at(format!("line {line}, column \"{}\"", SOFT_HEADER[4 + column]))
                            .found(format!("{field:?}"))
                            .allowed("0 to 1")
                    })?;
                }
            }
            self.add(path, group, Answer::Soft(Box::new(grid)))?;
        }
        Ok(())
    }

    fn read_hard(&mut self, path: &Path) -> Result<()> {
        let text = text::read(path)?;
        let rows = text::csv_rows(path, &text, &HARD_HEADER)?;
        for group in rows.chunks(TTFT_TOKENS.len()) {
            let mut grid: PlanGrid = [[Plan::FULL; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];
            for (place, cells) in grid.iter_mut().enumerate() {
                let ttft = TTFT_TOKENS[place].to_string();
                let (line, row) = group_row(path, group, place, "ttft_percent", &ttft)?;
                for (column, cell) in cells.iter_mut().enumerate() {
                    let field = &row[4 + column];
                    *cell = parse_plan(field).ok_or_else(|| {
                        Error::file(path, "not a plan")
                            .at(format!("line {line}, column \"{}\"", HARD_HEADER[4 + column]))
                            .found(format!("{field:?}"))
                            .allowed("LEVEL/RATIO in percent: 20 to 100 / 10 to 100, whole tens")
                    })?;
                }
            }
            self.add(path, group, Answer::Hard(Box::new(grid)))?;
        }
        Ok(())
    }

    /// Takes the rows `group` of one item in.
    fn add(&mut self, path: &Path, group: &[Row], answer: Answer) -> Result<()> {
        let (line, row) = &group[0];
        let item = text::number(path, *line, "item", &row[1], "a whole number")?;
        let tlm_tokens: u32 = text::number(path, *line, "tlm_tokens", &row[2], "a whole number")?;
        if !(1..=TLM_TOKENS_MAX).contains(&tlm_tokens) || self.of(&row[0], item).is_some() {
            let found = row.iter().take(3).collect::<Vec<_>>().join(",");
            return Err(Error::file(path, "impossible item")
                .at(format!("line {line}"))
                .found(found)
                .allowed(format!("each item once, 1 to {TLM_TOKENS_MAX} tokens")));
        }
        self.insert(&row[0], item, Decision { answer, tlm_tokens });
        Ok(())
    }

    fn rows(&self) -> Result<String, std::fmt::Error> {
        let header: &[&str] = match self.manifest.kind {
            DecisionKind::Soft => &SOFT_HEADER,
            DecisionKind::Hard => &HARD_HEADER,
        };
        let mut text = header.join(",") + "\n";
        for (dataset, items) in &self.items {
            for (item, Decision { answer, tlm_tokens }) in items {
                let key = format!("{dataset},{item},{tlm_tokens}");
                match answer {
                    Answer::Soft(grid) => {
                        for (level, cells) in Level::LADDER.iter().zip(grid.iter()) {
                            write!(text, "{key},{}", level.as_percent())?;
                            cells.iter().try_for_each(|cell| write!(text, ",{cell:.4}"))?;
                            text.push('\n');
                        }
                    }
                    Answer::Hard(grid) => {
                        for (ttft, cells) in TTFT_TOKENS.iter().zip(grid.iter()) {
                            write!(text, "{key},{ttft}")?;
                            for Plan { level, prompt_ratio } in cells {
                                let ratio = prompt_ratio.as_percent();
                                write!(text, ",{}/{ratio}", level.as_percent())?;
                            }
                            text.push('\n');
                        }
                    }
                }
            }
        }
        Ok(text)
    }
}

impl Decision {
    /// The probability of a right answer under `plan`; `None` from a head that names plans, or for
    /// a plan off the grid.
    #[must_use]
    pub fn probability(&self, plan: Plan) -> Option<f32> {
        let Answer::Soft(grid) = &self.answer else { return None };
        let level = Level::LADDER.iter().position(|&level| level == plan.level)?;
        let ratio = PROMPT_RATIOS.iter().position(|&ratio| ratio == plan.prompt_ratio)?;
        Some(grid[level][ratio])
    }

    /// The plan for an objective of `ttft` and `tpot` as shares of the base model's times, read at
    /// the nearest SLO tokens that promise no more time; `None` from a head that gives
    /// probabilities.
    #[must_use]
    pub fn plan(&self, ttft: f64, tpot: f64) -> Option<Plan> {
        let Answer::Hard(grid) = &self.answer else { return None };
        Some(grid[token(&TTFT_TOKENS, ttft)][token(&TPOT_TOKENS, tpot)])
    }
}

/// The place of the largest of `tokens` (percent) that is at most `share`; of the smallest if none.
fn token(tokens: &[u16], share: f64) -> usize {
    // A share that went through integer nanoseconds may have lost a hair.
    let percent = share * 100.0 + 1e-6;
    tokens.iter().rposition(|&token| f64::from(token) <= percent).unwrap_or(0)
}

type Row = (u64, csv::StringRecord);

/// Row `place` of an item's `group`, which must be of the item of its first and have `value`.
fn group_row<'a>(
    path: &Path,
    group: &'a [Row],
    place: usize,
    column: &str,
    value: &str,
) -> Result<&'a Row> {
    let first = &group[0].1;
    let row = group.get(place);
    let same = |row: &&Row| row.1.iter().take(3).eq(first.iter().take(3)) && &row.1[3] == value;
    row.filter(same).ok_or_else(|| {
        let (line, found) = row.map_or_else(
            || (group[group.len() - 1].0, "the end of the table".to_owned()),
            |(line, row)| (*line, row.iter().take(4).collect::<Vec<_>>().join(",")),
        );
        Error::file(path, "item without all its rows")
            .at(format!("line {line}"))
            .found(found)
            .allowed(format!("{},{},{} with {column} {value}", &first[0], &first[1], &first[2]))
    })
}

fn parse_plan(field: &str) -> Option<Plan> {
    let (level, ratio) = field.split_once('/')?;
    let (level, ratio): (u16, u16) = (level.parse().ok()?, ratio.parse().ok()?);
    let level = Level::LADDER.into_iter().find(|known| known.as_percent() == level)?;
    let prompt_ratio = PROMPT_RATIOS.into_iter().find(|known| known.as_percent() == ratio)?;
    Some(Plan { level, prompt_ratio: Ratio::percent(prompt_ratio.as_percent()) })
}

fn manifest_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.decisions.json"))
}

#[cfg(test)]
mod tests;
