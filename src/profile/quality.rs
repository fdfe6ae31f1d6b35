//! Whether each item is answered rightly at each ⟨level, prompt ratio⟩.

mod answers_of;
mod asked;
mod cell;
mod scores;
pub(super) mod sheet;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use self::answers_of::AnswersOf;
pub use self::cell::{Cell, Counted, TOP};
use self::scores::Scores;
use self::sheet::{Key, Measure, Row, Sheet};
use super::manifest::QualityManifest;
use super::paths::AnswerFiles;
use super::split::Split;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::units::{Grade, Level, PROMPT_RATIOS, Ratio};

/// Items by dataset.
pub type Items = BTreeMap<String, BTreeSet<ItemId>>;

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
    /// Levels of prompt and answer of plans that have two, rising; after `levels` among the places
    /// of levels.
    pairs: Vec<(Level, Level)>,
    ratios: Vec<Ratio>,
    datasets: BTreeMap<String, Range<usize>>,
    items: Vec<ItemId>,
    sides: Vec<Split>,
    whole: Vec<bool>,
    /// `[row][level][ratio]`, apart from `scores` because a replay reads only these.
    grades: Vec<Option<Grade>>,
    /// Same order; empty unless they were asked for.
    scores: Vec<Scores>,
    counted: Counted,
    manifest: Option<QualityManifest>,
    /// Folder and names of what was read.
    source: Option<(PathBuf, Vec<AnswersOf>)>,
}

/// Which answers of a file count.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Those that were asked for, too.
    asked: bool,
    /// Those to prompts that another level read, too.
    phases: bool,
}

impl Counts {
    fn row(self, row: &Row) -> bool {
        (self.asked || !row.key.asked) && (self.phases || row.key.prompt_level.is_none())
    }
}

/// Levels and items that a table has rows for, answered or not.
#[derive(Debug, Default)]
struct Axes {
    levels: Vec<Level>,
    items: Items,
}

impl Axes {
    fn items(&self) -> impl Iterator<Item = (&str, ItemId)> {
        self.items
            .iter()
            .flat_map(|(dataset, items)| items.iter().map(move |&item| (dataset.as_str(), item)))
    }
}

impl QualityTable {
    /// The grades of the answers called `name` in the folder `dir` ([`AnswersOf::named`]), of items
    /// that were measured whole, with their manifest if there is one.
    ///
    /// # Errors
    /// If the file is not there or has no such rows, has other columns, a cell twice, or one that
    /// is neither empty nor from 0 to 1.
    pub fn load(dir: &Path, name: &str) -> Result<Self> {
        let of = AnswersOf::named(dir, name);
        let path = AnswerFiles(dir).grades(&of.compressor);
        Self::load_if_there(dir, name)?.ok_or_else(|| {
            Error::file(&path, "no answers of this family")
                .found(if path.exists() { "rows of others" } else { "no such file" })
                .allowed(format!("a file with rows of family {}", of.family))
        })
    }

    /// The answers of `of` in the folder `dir`, whatever read their prompts.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_measured(dir: &Path, of: &AnswersOf) -> Result<Self> {
        let table = Self::read(dir, of, Counts { asked: false, phases: true })?;
        let path = AnswerFiles(dir).grades(&of.compressor);
        table.ok_or_else(|| Error::file(&path, "no answers of this family").found(of))
    }

    /// The same; `None` if there are no such rows.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_if_there(dir: &Path, name: &str) -> Result<Option<Self>> {
        Self::read(dir, &AnswersOf::named(dir, name), Counts::default())
    }

    fn read(dir: &Path, of: &AnswersOf, counts: Counts) -> Result<Option<Self>> {
        let mut sources = vec![of.clone()];
        sources.extend(counts.phases.then(|| of.in_phases()));
        let mut sheets = Vec::new();
        for source in &sources {
            let path = AnswerFiles(dir).grades(&source.compressor);
            if path.exists() {
                let sheet = Sheet::read(&path, Some(&of.family))?;
                sheets.push((path, sheet));
            }
        }
        if sheets.iter().flat_map(|(_, sheet)| &sheet.rows).all(|row| !counts.row(row)) {
            return Ok(None);
        }
        let mut table = Self::build(&sheets, counts, &Axes::default())?;
        table.manifest = QualityManifest::load(dir, of, false)?;
        table.source = Some((dir.to_owned(), sources));
        Ok(Some(table))
    }

    /// The same with answers to prompts that a larger level read: rows with a `prompt_level`, in
    /// the file or in [another beside it](AnswersOf::in_phases).
    ///
    /// # Errors
    /// As [`load`](Self::load), and if there are no such rows, or one with an answer level above
    /// its prompt level.
    pub fn load_phases(dir: &Path, name: &str) -> Result<Self> {
        let of = AnswersOf::named(dir, name);
        let path = AnswerFiles(dir).grades(&of.in_phases().compressor);
        let table = Self::read(dir, &of, Counts { asked: false, phases: true })?;
        table.filter(|table| !table.pairs.is_empty()).ok_or_else(|| {
            Error::file(&path, "no answers of two levels")
                .found(format!("no rows of {name} with a prompt_level"))
                .allowed("rows by `pliant profile quality --prompt-levels`, or phases = 1")
        })
    }

    /// The same with what the scorer saw beside the grades.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the file of scores is broken or has rows that the table
    /// lacks.
    pub fn load_scored(dir: &Path, name: &str) -> Result<Self> {
        Self::load(dir, name)?.with_scores()
    }

    /// The table, as it was read, with what the scorer saw beside the grades.
    ///
    /// # Errors
    /// If the file of scores is broken or has rows that the table lacks.
    pub fn with_scores(mut self) -> Result<Self> {
        self.read_scores()?;
        Ok(self)
    }

    /// A table of `rows` (dataset, item, level, one cell per prompt ratio).
    ///
    /// # Panics
    /// If a cell is given twice.
    #[must_use]
    pub fn from_rows<'a>(
        rows: impl IntoIterator<
            Item = (&'a str, impl Into<ItemId>, Level, [Option<Cell>; PROMPT_RATIOS.len()]),
        >,
    ) -> Self {
        let alone = |(dataset, item, level, cells)| (dataset, item, (None, level), cells);
        Self::from_phases(rows.into_iter().map(alone))
    }

    /// The same of `rows` whose prompts another level may have read, which is named first.
    ///
    /// # Panics
    /// If a cell is given twice.
    #[must_use]
    pub fn from_phases<'a>(
        rows: impl IntoIterator<
            Item = (
                &'a str,
                impl Into<ItemId>,
                (Option<Level>, Level),
                [Option<Cell>; PROMPT_RATIOS.len()],
            ),
        >,
    ) -> Self {
        let mut sheet = Sheet::default();
        for (dataset, item, (prompt_level, level), cells) in rows {
            let item = item.into();
            for (ratio, cell) in PROMPT_RATIOS.into_iter().zip(cells) {
                let cells = cell.map_or_else(Vec::new, |cell| cell.values(level));
                let (family, dataset) = (String::new(), dataset.to_owned());
                let key = Key { family, asked: false, dataset, item, ratio, prompt_level };
                sheet.push(key, &cells);
            }
        }
        let counts = Counts { asked: false, phases: true };
        let sheets = [(PathBuf::from("rows"), sheet)];
        let mut table = Self::build(&sheets, counts, &Axes::default()).expect("cells come once");
        table.scores = vec![Scores::default(); table.grades.len()];
        let [(path, sheet)] = &sheets;
        table.place_scores(path, sheet).expect("rows are the table's");
        table
    }

    /// The table of `sheets`, with rows and levels for all of `axes`, too; `counts` says which rows
    /// do. Of an item that was measured whole and asked for, the cell measured whole does.
    fn build(sheets: &[(PathBuf, Sheet)], counts: Counts, axes: &Axes) -> Result<Self> {
        let placed = || {
            let all = sheets.iter().flat_map(|(path, sheet)| rows_of(path, sheet));
            all.filter(move |(_, _, row)| counts.row(row))
        };
        let rows = || placed().map(|(_, _, row)| row);
        let (mut levels, mut pairs) = (BTreeSet::from_iter(axes.levels.clone()), BTreeSet::new());
        for (_, sheet, row) in placed() {
            for &(_, level, _) in sheet.cells(row) {
                match row.key.prompt_level {
                    Some(prompt) if prompt != level => drop(pairs.insert((prompt, level))),
                    _ => drop(levels.insert(level)),
                }
            }
        }
        let ratios: BTreeSet<Ratio> =
            rows().map(|row| row.key.ratio).chain(PROMPT_RATIOS).collect();
        let known = rows().map(|row| (&*row.key.dataset, row.key.item));
        let known: BTreeSet<(&str, ItemId)> = known.chain(axes.items()).collect();
        let mut datasets = BTreeMap::<String, Range<usize>>::new();
        for (row, (dataset, _)) in known.iter().enumerate() {
            datasets.entry((*dataset).to_owned()).or_insert(row..row).end = row + 1;
        }
        let mut table = Self {
            grades: vec![None; known.len() * (levels.len() + pairs.len()) * ratios.len()],
            levels: levels.into_iter().collect(),
            pairs: pairs.into_iter().collect(),
            ratios: ratios.into_iter().collect(),
            datasets,
            items: known.iter().map(|&(_, item)| item).collect(),
            sides: known.iter().map(|&(dataset, item)| Split::of(dataset, item)).collect(),
            whole: Vec::new(),
            scores: Vec::new(),
            counted: Counted::First,
            manifest: None,
            source: None,
        };
        for (path, sheet, row) in placed().filter(|(_, _, row)| !row.key.asked) {
            table.place_grades(path, sheet, row, |_| false)?;
        }
        table.whole = table.whole_rows();
        let whole: Vec<bool> = table.grades.iter().map(Option::is_some).collect();
        for (path, sheet, row) in placed().filter(|(_, _, row)| row.key.asked) {
            table.place_grades(path, sheet, row, |cell| whole[cell])?;
        }
        Ok(table)
    }

    /// Takes the grades of a row in, but for cells that `keep` says to leave.
    fn place_grades(
        &mut self,
        path: &Path,
        sheet: &Sheet,
        row: &Row,
        keep: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let all = "the table has all rows and levels";
        let place = self.row(&row.key.dataset, row.key.item).expect(all);
        for &(_, level, grade) in sheet.cells(row).iter().filter(|cell| cell.0 == Measure::Grade) {
            let cell = self.cell_at(place, row, level).expect(all);
            if keep(cell) {
                continue;
            }
            if self.grades[cell].replace(as_grade(grade)).is_some() {
                let Key { family, dataset, item, .. } = &row.key;
                return Err(Error::file(path, "cell given twice")
                    .at(format!("line {}", row.line))
                    .found(format!("{family}, {dataset} item {item} at {level}")));
            }
        }
        Ok(())
    }

    /// The cell of a row's item and ratio at `level`.
    fn cell_of(&self, row: &Row, level: Level) -> Option<usize> {
        self.cell_at(self.row(&row.key.dataset, row.key.item)?, row, level)
    }

    /// The same where the item's row is known.
    fn cell_at(&self, place: RowId, row: &Row, level: Level) -> Option<usize> {
        let prompt = row.key.prompt_level.unwrap_or(level);
        Some(self.cell(place, self.pair_index(prompt, level)?, self.ratio_index(row.key.ratio)?))
    }

    /// The table, as it was read, with API calls counted by `rule`. Other answers stay as they are.
    ///
    /// # Errors
    /// If the file of scores, which says what else was right, is broken.
    pub fn counting(mut self, rule: Counted) -> Result<Self> {
        if rule == Counted::FirstFive {
            self.read_scores()?;
            for (grade, scores) in self.grades.iter_mut().zip(&self.scores) {
                *grade = scores.top.map(as_grade).or(*grade);
            }
        }
        self.counted = rule;
        Ok(self)
    }

    /// How API calls are counted.
    #[must_use]
    pub const fn counted(&self) -> Counted {
        self.counted
    }

    /// By row: whether it has every cell that any row of its dataset has, and any at all.
    fn whole_rows(&self) -> Vec<bool> {
        let cells = self.columns() * self.ratios.len();
        let of_row = |row: usize| &self.grades[row * cells..(row + 1) * cells];
        let mut whole = vec![false; self.items.len()];
        for rows in self.datasets.values() {
            let measured = |&cell: &usize| rows.clone().any(|row| of_row(row)[cell].is_some());
            let measured: Vec<usize> = (0..cells).filter(measured).collect();
            for row in rows.clone().filter(|_| !measured.is_empty()) {
                whole[row] = measured.iter().all(|&cell| of_row(row)[cell].is_some());
            }
        }
        whole
    }

    fn cell(&self, row: RowId, level: usize, ratio: usize) -> usize {
        debug_assert!(level < self.columns() && ratio < self.ratios.len());
        (row.index() * self.columns() + level) * self.ratios.len() + ratio
    }

    /// Places of levels, and of pairs of them.
    fn columns(&self) -> usize {
        self.levels.len() + self.pairs.len()
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

    /// Levels of prompt and answer of the plans of two levels that it has answers to, rising; none
    /// unless they were [asked for](Self::load_phases).
    #[must_use]
    pub fn pairs(&self) -> &[(Level, Level)] {
        &self.pairs
    }

    /// The place of answers at level `answer` to prompts that `prompt` read, to be used as that of
    /// a level: its place if they are one.
    #[must_use]
    pub fn pair_index(&self, prompt: Level, answer: Level) -> Option<usize> {
        if prompt == answer {
            return self.level_index(answer);
        }
        let place = self.pairs.binary_search(&(prompt, answer)).ok()?;
        Some(self.levels.len() + place)
    }

    /// The prompt ratios that it has room for, rising: those of the study and of its rows. The last
    /// is the whole prompt.
    #[must_use]
    pub fn ratios(&self) -> &[Ratio] {
        &self.ratios
    }

    /// Place of `ratio` among [`ratios`](Self::ratios).
    #[must_use]
    pub fn ratio_index(&self, ratio: Ratio) -> Option<usize> {
        self.ratios.binary_search(&ratio).ok()
    }

    /// Place of the whole prompt among [`ratios`](Self::ratios).
    #[must_use]
    pub fn whole_prompt(&self) -> usize {
        self.ratios.len() - 1
    }

    /// Places among [`ratios`](Self::ratios) of those that anything was measured at.
    pub fn ratios_measured(&self) -> impl Iterator<Item = usize> {
        let stride = self.ratios.len();
        let measured = move |&place: &usize| {
            self.grades.iter().skip(place).step_by(stride).any(Option::is_some)
        };
        (0..stride).filter(measured)
    }

    /// Names of datasets, sorted.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.datasets.keys().map(String::as_str)
    }

    /// Items of `dataset` with their rows, rising; none if the dataset is unknown.
    pub fn items(&self, dataset: &str) -> impl Iterator<Item = (ItemId, RowId)> {
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
    pub fn row(&self, dataset: &str, item: impl Into<ItemId>) -> Option<RowId> {
        let item = item.into();
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

    /// How right the answer is; `None` if it was not measured.
    ///
    /// `level` and `ratio` are indices of [`levels`](Self::levels) (or
    /// [of a pair](Self::pair_index)) and [`ratios`](Self::ratios).
    #[must_use]
    pub fn grade(&self, row: RowId, level: usize, ratio: usize) -> Option<Grade> {
        self.grades[self.cell(row, level, ratio)]
    }

    /// Mean grade of the answers over the measured items of `dataset`, or of one side of its split;
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
        self.mean_grade(rows, level, ratio)
    }

    /// Mean grade of the answers over the whole estimate rows of `dataset`, the same for every
    /// plan; `None` if there is none or the plan was not measured.
    #[must_use]
    pub fn expected_accuracy(&self, dataset: &str, level: usize, ratio: usize) -> Option<f64> {
        self.mean_grade(self.estimate_rows(dataset), level, ratio)
    }

    /// The items that accuracies of `dataset` are estimated on: whole rows of the estimate side.
    pub fn estimate_rows(&self, dataset: &str) -> impl Iterator<Item = RowId> {
        let rows = self.items(dataset).map(|(_, row)| row);
        rows.filter(|&row| self.is_whole(row) && self.side(row) == Split::Estimate)
    }

    fn mean_grade(
        &self,
        rows: impl Iterator<Item = RowId>,
        level: usize,
        ratio: usize,
    ) -> Option<f64> {
        mean(rows.filter_map(|row| self.grade(row, level, ratio)).map(f64::from))
    }

    /// Cells that were measured, and cells of a whole grid of these items and levels.
    #[must_use]
    pub fn coverage(&self) -> (usize, usize) {
        (self.grades.iter().flatten().count(), self.grades.len())
    }

    /// How the table was made, where a manifest lies beside it.
    #[must_use]
    pub fn manifest(&self) -> Option<&QualityManifest> {
        self.manifest.as_ref()
    }
}

fn rows_of<'a>(
    path: &'a Path,
    sheet: &'a Sheet,
) -> impl Iterator<Item = (&'a Path, &'a Sheet, &'a Row)> {
    sheet.rows.iter().map(move |row| (path, sheet, row))
}

fn as_grade(value: f32) -> Grade {
    Grade::new(value.into()).expect("a file's values are from 0 to 1")
}

/// Mean of grades; `None` of nothing.
fn mean(grades: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut known) = (0.0, 0_u32);
    for grade in grades {
        known += 1;
        sum += grade;
    }
    (known > 0).then(|| sum / f64::from(known))
}
