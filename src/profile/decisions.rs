//! What decision-heads answered for each item: `<dir>/decisions.soft.csv.gz` and
//! `decisions.hard.csv.gz`, with a manifest of every head in `decisions.json`.
//!
//! The tiny language model (TLM) reads a request's own prompt, which a replay does not have; so it
//! is asked beforehand, once per item, and its answers are stored. There are two kinds:
//!
//! - `hard`: one plan for each objective on the grid of SLO tokens ([`TTFT_TOKENS`] ×
//!   [`TPOT_TOKENS`]), as the study trains it. Labels depend on latencies, so the answers are for
//!   one device.
//! - `soft`: the probability that each plan is answered rightly, empty for plans that the head
//!   learnt nothing of. It depends on no latency: which plan is taken follows from the device at
//!   hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::paths::AnswerFiles;
use super::text;
use crate::error::{Error, Result};
use crate::files;
use crate::item::ItemId;
use crate::plan::Plan;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

const LEVELS: usize = Level::LADDER.len();
const RATIOS: usize = PROMPT_RATIOS.len();
const SCHEMA: u32 = 2;
/// More word pieces than an encoder reads.
const TLM_TOKENS_MAX: u32 = 1 << 16;

/// The objectives of TTFT that have a token, in percent: `[02]` … `[10]`.
pub const TTFT_TOKENS: [u16; 9] = [20, 30, 40, 50, 60, 70, 80, 90, 100];
/// The objectives of TPOT that have a token, in percent: `<05>` … `<10>`.
pub const TPOT_TOKENS: [u16; 6] = [50, 60, 70, 80, 90, 100];

/// Columns before a head's answers.
const KEYS: [&str; 4] = ["name", "dataset", "item", "tlm_tokens"];

/// Probability of a right answer, `[level of the ladder][prompt ratio]`; `None` where no answer to
/// the plan was ever measured.
pub type PlanProbabilities = [[Option<f32>; RATIOS]; LEVELS];

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
    pub trained_on: BTreeMap<String, BTreeSet<ItemId>>,
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
    items: BTreeMap<String, BTreeMap<ItemId, Decision>>,
}

impl Decisions {
    /// No decisions yet.
    #[must_use]
    pub fn new(manifest: DecisionsManifest) -> Self {
        Self { manifest, items: BTreeMap::new() }
    }

    /// The decisions called `name` in the folder `dir`, with their manifest.
    ///
    /// # Errors
    /// If there are none, a file cannot be read, has other columns, an item twice, a cell that is
    /// no probability or plan, or decides for an item that the head was trained on.
    pub fn load(dir: &Path, name: &str) -> Result<Self> {
        let path = AnswerFiles(dir).decisions_manifest();
        let mut file = ManifestFile::read(&path)?;
        let manifest = file.decisions.remove(name).ok_or_else(|| {
            let known: Vec<String> = file.decisions.into_keys().collect();
            Error::file(&path, "no such decisions").found(name).allowed(known.join(", "))
        })?;
        let table = AnswerFiles(dir).decisions(manifest.kind.name());
        let mut decisions = Self::new(manifest);
        for (line, row) in rows(&table, decisions.manifest.kind)? {
            if &row[0] == name {
                decisions.add(&table, line, &row)?;
            }
        }
        decisions.check_disjoint(&table)?;
        Ok(decisions)
    }

    /// Names of the decisions in the folder `dir`, sorted.
    ///
    /// # Errors
    /// If the manifest is broken.
    pub fn names(dir: &Path) -> Result<Vec<String>> {
        let file = ManifestFile::read(&AnswerFiles(dir).decisions_manifest())?;
        Ok(file.decisions.into_keys().collect())
    }

    /// Writes them into the files of the folder `dir`, in place of older ones of the same name.
    ///
    /// # Errors
    /// If an item is decided for that the head was trained on, a file is broken, or the folder is
    /// not writable.
    pub fn save(&self, dir: &Path, name: &str) -> Result<()> {
        let path = AnswerFiles(dir).decisions_manifest();
        let mut file = ManifestFile::read(&path)?;
        let kind = self.manifest.kind;
        let table = AnswerFiles(dir).decisions(kind.name());
        self.check_disjoint(&table)?;
        let others = if table.exists() { rows(&table, kind)? } else { Vec::new() };
        let (before, after): (Vec<_>, Vec<_>) = others
            .into_iter()
            .map(|(_, row)| row.iter().map(ToOwned::to_owned).collect::<Vec<_>>())
            .filter(|row| row[0] != name)
            .partition(|row| row[0].as_str() < name);
        let all = before.into_iter().chain(self.records(name)).chain(after);
        let text = text_of(kind, all)
            .map_err(|cause| Error::file(&table, "cannot be written").caused_by(cause))?;
        files::write_whole(&table, &files::pack(&text))?;
        file.decisions.insert(name.to_owned(), self.manifest.clone());
        let mut json = serde_json::to_string_pretty(&file)
            .map_err(|cause| Error::file(&path, "cannot be written as JSON").caused_by(cause))?;
        json.push('\n');
        files::write_whole(&path, json.as_bytes())
    }

    /// Sets an item's decision.
    ///
    /// # Panics
    /// If it is of the other kind.
    pub fn insert(&mut self, dataset: &str, item: impl Into<ItemId>, decision: Decision) {
        let item = item.into();
        let kind = match decision.answer {
            Answer::Soft(_) => DecisionKind::Soft,
            Answer::Hard(_) => DecisionKind::Hard,
        };
        assert_eq!(kind, self.manifest.kind, "all decisions are of one kind");
        self.items.entry(dataset.to_owned()).or_default().insert(item, decision);
    }

    /// The decision for an item.
    #[must_use]
    pub fn of(&self, dataset: &str, item: impl Into<ItemId>) -> Option<&Decision> {
        self.items.get(dataset)?.get(&item.into())
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
    pub fn items(&self, dataset: &str) -> impl Iterator<Item = ItemId> {
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

    /// Takes a row in.
    fn add(&mut self, path: &Path, line: u64, row: &StringRecord) -> Result<()> {
        let item = text::item(path, line, &row[2])?;
        let tlm_tokens: u32 = text::number(path, line, "tlm_tokens", &row[3], "a whole number")?;
        if !(1..=TLM_TOKENS_MAX).contains(&tlm_tokens) || self.of(&row[1], item).is_some() {
            let found = row.iter().take(KEYS.len()).collect::<Vec<_>>().join(",");
            return Err(Error::file(path, "impossible item")
                .at(format!("line {line}"))
                .found(found)
                .allowed(format!("each item once, 1 to {TLM_TOKENS_MAX} tokens")));
        }
        let kind = self.manifest.kind;
        let refuse = |column: usize, problem: &str, allowed: &str| {
            Error::file(path, problem)
                .at(format!("line {line}, column \"{}\"", kind.columns()[column]))
                .found(format!("{:?}", &row[KEYS.len() + column]))
                .allowed(allowed)
        };
        let answer = match kind {
            DecisionKind::Soft => {
                let mut grid = PlanProbabilities::default();
                for (column, cell) in grid.as_flattened_mut().iter_mut().enumerate() {
                    let field = &row[KEYS.len() + column];
                    if field.is_empty() {
                        continue;
                    }
                    let value = field.parse().ok().filter(|p| (0.0..=1.0).contains(p));
                    let refused = || refuse(column, "not a probability", "0 to 1, or nothing");
                    *cell = Some(value.ok_or_else(refused)?);
                }
                Answer::Soft(Box::new(grid))
            }
            DecisionKind::Hard => {
                let mut grid: PlanGrid = [[Plan::FULL; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];
                let allowed = "LEVEL/RATIO in percent: 20 to 100 / 10 to 100, whole tens";
                for (column, cell) in grid.as_flattened_mut().iter_mut().enumerate() {
                    *cell = parse_plan(&row[KEYS.len() + column])
                        .ok_or_else(|| refuse(column, "not a plan", allowed))?;
                }
                Answer::Hard(Box::new(grid))
            }
        };
        self.insert(&row[1], item, Decision { answer, tlm_tokens });
        Ok(())
    }

    /// Rows of a file, by dataset and item.
    fn records(&self, name: &str) -> impl Iterator<Item = Vec<String>> {
        self.items.iter().flat_map(move |(dataset, items)| {
            items.iter().map(move |(item, Decision { answer, tlm_tokens })| {
                let numbers = [item.to_string(), tlm_tokens.to_string()];
                let mut row = vec![name.to_owned(), dataset.clone()];
                row.extend(numbers);
                match answer {
                    Answer::Soft(grid) => {
                        let rounded = |cell: f32| ((cell * 1e4).round() / 1e4).to_string();
                        let field = |cell: &Option<f32>| cell.map_or_else(String::new, rounded);
                        row.extend(grid.as_flattened().iter().map(field));
                    }
                    Answer::Hard(grid) => {
                        row.extend(grid.as_flattened().iter().map(|plan| {
                            let (level, ratio) = (plan.level, plan.prompt_ratio);
                            format!("{}/{}", level.as_percent(), ratio.as_percent())
                        }));
                    }
                }
                row
            })
        })
    }
}

impl DecisionKind {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// Columns of a head's answers: plans LEVEL/RATIO, or objectives TTFT/TPOT, in percent.
    fn columns(self) -> Vec<String> {
        let pairs = |first: &[u16], second: &[u16]| -> Vec<String> {
            let with = |&a: &u16| second.iter().map(move |b| format!("{a}/{b}"));
            first.iter().flat_map(with).collect()
        };
        match self {
            Self::Soft => {
                pairs(&Level::LADDER.map(Level::as_percent), &PROMPT_RATIOS.map(Ratio::as_percent))
            }
            Self::Hard => pairs(&TTFT_TOKENS, &TPOT_TOKENS),
        }
    }
}

/// `<dir>/decisions.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    schema: u32,
    /// By name.
    decisions: BTreeMap<String, DecisionsManifest>,
}

impl ManifestFile {
    fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self { schema: SCHEMA, decisions: BTreeMap::new() });
        }
        let file: Self = serde_json::from_str(&text::read(path)?)
            .map_err(|cause| Error::file(path, "not a manifest of decisions").caused_by(cause))?;
        if file.schema != SCHEMA {
            let error = Error::file(path, "unknown version").at("key \"schema\"");
            return Err(error.found(file.schema).allowed(SCHEMA));
        }
        Ok(file)
    }
}

fn header(kind: DecisionKind) -> Vec<String> {
    KEYS.map(ToOwned::to_owned).into_iter().chain(kind.columns()).collect()
}

/// The rows of the file `path`, each with its line.
fn rows(path: &Path, kind: DecisionKind) -> Result<Vec<(u64, StringRecord)>> {
    let bytes = files::read_by_name(path);
    let bytes = bytes.map_err(|error| Error::io(path, "cannot read", error))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::file(path, "not a text").caused_by(error))?;
    let header = header(kind);
    text::csv_rows(path, &text, &header.iter().map(String::as_str).collect::<Vec<_>>())
}

fn text_of(kind: DecisionKind, rows: impl Iterator<Item = Vec<String>>) -> csv::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header(kind))?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.into_inner().expect("flushing to memory cannot fail"))
}

impl Decision {
    /// The probability of a right answer under `plan`; `None` from a head that names plans, for a
    /// plan off the grid, or one that the head learnt nothing of.
    #[must_use]
    pub fn probability(&self, plan: Plan) -> Option<f32> {
        let Answer::Soft(grid) = &self.answer else { return None };
        let level = Level::LADDER.iter().position(|&level| level == plan.level)?;
        let ratio = PROMPT_RATIOS.iter().position(|&ratio| ratio == plan.prompt_ratio)?;
        grid[level][ratio]
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

fn parse_plan(field: &str) -> Option<Plan> {
    let (level, ratio) = field.split_once('/')?;
    let (level, ratio): (u16, u16) = (level.parse().ok()?, ratio.parse().ok()?);
    let level = Level::LADDER.into_iter().find(|known| known.as_percent() == level)?;
    let prompt_ratio = PROMPT_RATIOS.into_iter().find(|known| known.as_percent() == ratio)?;
    Some(Plan::new(level, Ratio::percent(prompt_ratio.as_percent())))
}

#[cfg(test)]
mod tests;
