//! Whether each item is answered rightly at each ⟨level, prompt ratio⟩.

mod asked;
mod stored;

pub use asked::{asked, is_asked};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use self::stored::Stored;
use super::manifest::QualityManifest;
use super::split::Split;
use super::text;
use crate::error::{Error, Result};
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// Items by dataset.
pub type Items = BTreeMap<String, BTreeSet<u32>>;

/// Columns of a quality table and its twins: a row's key, then one column per prompt ratio.
pub(super) const HEADER: [&str; 13] = [
    "dataset", "item", "level", "r10", "r20", "r30", "r40", "r50", "r60", "r70", "r80", "r90",
    "r100",
];

const RATIOS: usize = PROMPT_RATIOS.len();

/// Among how many options, the most likely ones, the right one has to be for the study to count an
/// API call as found.
pub const TOP: usize = 5;

/// When the answer to an API call counts as right. Other answers do if the right option is first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// If the right function is first.
    #[default]
    First,
    /// If it is among the first [`TOP`]: as the study counts.
    FirstFive,
}

/// One measured answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Right under the headline score, log-likelihood per token.
    pub correct: bool,
    /// Right under the sum of log-likelihoods.
    pub sum_correct: bool,
    /// Probability of the right option among the options, under the headline score.
    pub gold_probability: f32,
    /// Whether the right option is among the first [`TOP`] under the headline score, where the study
    /// counts that.
    pub top_correct: Option<bool>,
}

/// A row of a [`QualityTable`], found once and then used without names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(u32);

impl RowId {
    /// Rows are numbered from 0, without gaps, by dataset and item.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Answers of one family of sub-models: a cell per (item, level, prompt ratio), maybe unmeasured.
///
/// Names are resolved once ([`row`](Self::row), [`level_index`](Self::level_index),
/// [`ratio_index`](Self::ratio_index)); after that a look-up is one index into one array. A table
/// whose measurement was broken off is usable: what is not there is `None`.
#[derive(Debug, Clone)]
pub struct QualityTable {
    levels: Vec<Level>,
    datasets: BTreeMap<String, Range<usize>>,
    items: Vec<u32>,
    sides: Vec<Split>,
    whole: Vec<bool>,
    /// `[row][level][ratio]`, apart from `twins` because a replay reads only these.
    correct: Vec<Option<bool>>,
    /// Same order.
    twins: Vec<Twin>,
    counted: Counted,
    manifest: Option<QualityManifest>,
}

/// What the files beside the table say of a cell.
#[derive(Debug, Clone, Copy, Default)]
struct Twin {
    sum: Option<bool>,
    probability: Option<f32>,
    top: Option<bool>,
}

/// (dataset, item, level percent): ordered as rows are.
type Key = (String, u32, u16);

/// Levels and items that a table has rows for, answered or not.
#[derive(Debug, Default)]
struct Axes {
    levels: Vec<Level>,
    items: Items,
}

impl Axes {
    fn items(&self) -> impl Iterator<Item = (&str, u32)> {
        self.items
            .iter()
            .flat_map(|(dataset, items)| items.iter().map(move |&item| (dataset.as_str(), item)))
    }
}

impl QualityTable {
    /// Reads `<dir>/<table>.csv` and, where they exist, its twins `<table>.prob.csv`,
    /// `<table>.sum.csv` and `<table>.top5.csv` and its manifest. `table` is the family's name, with a suffix where a
    /// family has several tables.
    ///
    /// # Errors
    /// If a file cannot be read, has other columns, ends inside a row, has a row twice, or a cell
    /// that is neither empty nor of its kind; or if a twin has a row that the table lacks.
    pub fn load(dir: &Path, table: &str) -> Result<Self> {
        let mut built = Self::build(&Stored::read(dir, table)?, &Axes::default());
        if QualityManifest::path(dir, table).exists() {
            built.manifest = Some(QualityManifest::load(dir, table)?);
        }
        Ok(built)
    }

    /// A table of `rows` (dataset, item, level, one cell per prompt ratio); of equal keys the last
    /// counts.
    #[must_use]
    pub fn from_rows<'a>(
        rows: impl IntoIterator<Item = (&'a str, u32, Level, [Option<Cell>; RATIOS])>,
    ) -> Self {
        let mut stored = Stored::default();
        for (dataset, item, level, cells) in rows {
            let key = (dataset.to_owned(), item, level.as_percent());
            stored.correct.insert(key.clone(), cells.map(|cell| Some(cell?.correct)));
            stored.sum.insert(key.clone(), cells.map(|cell| Some(cell?.sum_correct)));
            stored.top.insert(key.clone(), cells.map(|cell| cell?.top_correct));
            stored.probability.insert(key, cells.map(|cell| Some(cell?.gold_probability)));
        }
        Self::build(&stored, &Axes::default())
    }

    /// The table of what is `stored`, with rows and levels for all of `axes`, too.
    fn build(stored: &Stored, axes: &Axes) -> Self {
        let Stored { correct, sum, probability, top } = stored;
        let percents = correct.keys().map(|key| key.2);
        let percents: BTreeSet<u16> =
            percents.chain(axes.levels.iter().map(|level| level.as_percent())).collect();
        let levels: Vec<_> = percents.into_iter().map(Level::percent).collect();
        let rows = correct.keys().map(|key| (&*key.0, key.1));
        let rows: BTreeSet<(&str, u32)> = rows.chain(axes.items()).collect();
        let mut datasets = BTreeMap::<String, Range<usize>>::new();
        for (row, (dataset, _)) in rows.iter().enumerate() {
            datasets.entry((*dataset).to_owned()).or_insert(row..row).end = row + 1;
        }
        let cells = rows.len() * levels.len() * RATIOS;
        let mut table = Self {
            levels,
            datasets,
            items: rows.iter().map(|&(_, item)| item).collect(),
            sides: rows.iter().map(|&(dataset, item)| Split::of(dataset, item)).collect(),
            whole: Vec::new(),
            correct: vec![None; cells],
            twins: vec![Twin::default(); cells],
            counted: Counted::First,
            manifest: None,
        };
        for (key, values) in correct {
            let at = table.first_cell(key);
            table.correct[at..at + RATIOS].copy_from_slice(values);
        }
        for (key, values) in sum {
            let at = table.first_cell(key);
            (0..RATIOS).for_each(|ratio| table.twins[at + ratio].sum = values[ratio]);
        }
        for (key, values) in probability {
            let at = table.first_cell(key);
            (0..RATIOS).for_each(|ratio| table.twins[at + ratio].probability = values[ratio]);
        }
        for (key, values) in top {
            let at = table.first_cell(key);
            (0..RATIOS).for_each(|ratio| table.twins[at + ratio].top = values[ratio]);
        }
        table.whole = table.whole_rows();
        table
    }

    /// The table, as it was read, with API calls counted by `rule`. Other answers stay as they are.
    #[must_use]
    pub fn counting(mut self, rule: Counted) -> Self {
        if rule == Counted::FirstFive {
            for (correct, twin) in self.correct.iter_mut().zip(&self.twins) {
                *correct = twin.top.or(*correct);
            }
        }
        self.counted = rule;
        self
    }

    /// How API calls are counted.
    #[must_use]
    pub const fn counted(&self) -> Counted {
        self.counted
    }

    /// By row: whether it has every cell that any row of its dataset has.
    fn whole_rows(&self) -> Vec<bool> {
        let cells = self.levels.len() * RATIOS;
        let of_row = |row: usize| &self.correct[row * cells..(row + 1) * cells];
        let mut whole = vec![false; self.items.len()];
        for rows in self.datasets.values() {
            let measured = |&cell: &usize| rows.clone().any(|row| of_row(row)[cell].is_some());
            let measured: Vec<usize> = (0..cells).filter(measured).collect();
            for row in rows.clone() {
                whole[row] = measured.iter().all(|&cell| of_row(row)[cell].is_some());
            }
        }
        whole
    }

    fn first_cell(&self, (dataset, item, percent): &Key) -> usize {
        let row = self.row(dataset, *item).expect("every key has a row");
        let level = self.level_index(Level::percent(*percent)).expect("every key has a level");
        self.cell(row, level, 0)
    }

    fn cell(&self, row: RowId, level: usize, ratio: usize) -> usize {
        debug_assert!(level < self.levels.len() && ratio < RATIOS);
        (row.index() * self.levels.len() + level) * RATIOS + ratio
    }

    /// Levels with at least one row, or that were asked for, rising.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Place of `level` among [`levels`](Self::levels).
    #[must_use]
    pub fn level_index(&self, level: Level) -> Option<usize> {
        self.levels.binary_search(&level).ok()
    }

    /// Place of `ratio` among [`PROMPT_RATIOS`].
    #[must_use]
    pub fn ratio_index(ratio: Ratio) -> Option<usize> {
        PROMPT_RATIOS.iter().position(|&known| known == ratio)
    }

    /// Names of datasets, sorted.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.datasets.keys().map(String::as_str)
    }

    /// Items of `dataset` with their rows, rising; none if the dataset is unknown.
    pub fn items(&self, dataset: &str) -> impl Iterator<Item = (u32, RowId)> {
        let rows = self.datasets.get(dataset).cloned().unwrap_or(0..0);
        rows.map(|row| (self.items[row], RowId(row as u32)))
    }

    /// Number of (dataset, item) rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.items.len()
    }

    /// The row of an item.
    #[must_use]
    pub fn row(&self, dataset: &str, item: u32) -> Option<RowId> {
        let rows = self.datasets.get(dataset)?;
        let place = self.items[rows.clone()].binary_search(&item).ok()?;
        Some(RowId((rows.start + place) as u32))
    }

    /// Which side of the split the row's item is on.
    #[must_use]
    pub fn side(&self, row: RowId) -> Split {
        self.sides[row.index()]
    }

    /// Whether the row has an answer wherever any row of its dataset has one: only such rows
    /// compare plans on equal terms. A measurement that was broken off leaves rows that are not.
    #[must_use]
    pub fn is_whole(&self, row: RowId) -> bool {
        self.whole[row.index()]
    }

    /// Whether the answer is right; `None` if it was not measured.
    ///
    /// `level` and `ratio` are indices of [`levels`](Self::levels) and [`PROMPT_RATIOS`].
    #[must_use]
    pub fn correct(&self, row: RowId, level: usize, ratio: usize) -> Option<bool> {
        self.correct[self.cell(row, level, ratio)]
    }

    /// Whether the answer is right under the sum of log-likelihoods; `None` if not measured.
    #[must_use]
    pub fn sum_correct(&self, row: RowId, level: usize, ratio: usize) -> Option<bool> {
        self.twins[self.cell(row, level, ratio)].sum
    }

    /// Probability of the right option; `None` if it was not measured.
    #[must_use]
    pub fn gold_probability(&self, row: RowId, level: usize, ratio: usize) -> Option<f32> {
        self.twins[self.cell(row, level, ratio)].probability
    }

    /// Share of the measured items of `dataset` whose right option is among the first [`TOP`];
    /// `None` where the study does not count that, or nothing was measured.
    #[must_use]
    pub fn top_accuracy(&self, dataset: &str, level: usize, ratio: usize) -> Option<f64> {
        let rows = self.items(dataset).map(|(_, row)| row);
        share(rows.filter_map(|row| self.twins[self.cell(row, level, ratio)].top))
    }

    /// Share of right answers over the measured items of `dataset`, or of one side of its split;
    /// `None` if none was measured.
    #[must_use]
    pub fn accuracy(
        &self,
        dataset: &str,
        split: Option<Split>,
        level: usize,
        ratio: usize,
    ) -> Option<f64> {
        let rows = self.items(dataset).map(|(_, row)| row);
        let rows = rows.filter(|&row| split.is_none_or(|side| self.side(row) == side));
        self.share_right(rows, level, ratio)
    }

    /// Share of right answers over the whole estimate rows of `dataset`, the same for every plan;
    /// `None` if there is none or the plan was not measured.
    #[must_use]
    pub fn expected_accuracy(&self, dataset: &str, level: usize, ratio: usize) -> Option<f64> {
        let rows = self.items(dataset).map(|(_, row)| row);
        let rows = rows.filter(|&row| self.is_whole(row) && self.side(row) == Split::Estimate);
        self.share_right(rows, level, ratio)
    }

    fn share_right(
        &self,
        rows: impl Iterator<Item = RowId>,
        level: usize,
        ratio: usize,
    ) -> Option<f64> {
        share(rows.filter_map(|row| self.correct(row, level, ratio)))
    }

    /// Cells that were measured, and cells of a whole grid of these items and levels.
    #[must_use]
    pub fn coverage(&self) -> (usize, usize) {
        (self.correct.iter().flatten().count(), self.correct.len())
    }

    /// How the table was made, where a manifest lies beside it.
    #[must_use]
    pub fn manifest(&self) -> Option<&QualityManifest> {
        self.manifest.as_ref()
    }
}

/// Share of `true`; `None` of nothing.
fn share(answers: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut right, mut known) = (0_u32, 0_u32);
    for answer in answers {
        known += 1;
        right += u32::from(answer);
    }
    (known > 0).then(|| f64::from(right) / f64::from(known))
}

/// Parses the key columns of a row.
pub(super) fn parse_key(path: &Path, line: u64, row: &StringRecord) -> Result<Key> {
    let item = text::number(path, line, "item", &row[1], "a whole number")?;
    let percent: u16 = text::number(path, line, "level", &row[2], "1 to 100")?;
    if !(1..=100).contains(&percent) {
        return Err(Error::file(path, "level out of range")
            .at(format!("line {line}, column \"level\""))
            .found(percent)
            .allowed("1 to 100"));
    }
    Ok((row[0].to_owned(), item, percent))
}
