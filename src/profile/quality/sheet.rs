//! Files of answers: one grammar for what users write, what a measurement appends and what is
//! committed.
//!
//! A row has `family,dataset,item,ratio` and values: `grade`, and maybe `gold_probability`,
//! `sum_grade`, `top5_grade`. With a column `level` the values are of that level; without it a row
//! has several levels, and columns are called `grade_20`, …, `grade_100`. A row with a mark in
//! `asked` is of an item that was not measured whole. A row with a `prompt_level` is of prompts
//! that this level read and the row's levels answered. Levels and ratios are in percent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::files;
use crate::item::ItemId;
use crate::plan;
use crate::units::{Level, Ratio};

/// What is known of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// How right it is under the headline score.
    Grade,
    /// Probability of the right option among the options, under the headline score.
    GoldProbability,
    /// How right it is under the sum of log-likelihoods.
    SumGrade,
    /// Whether the right option is among the first five under the headline score.
    Top5Grade,
}

impl Measure {
    pub(crate) const ALL: [Self; 4] =
        [Self::Grade, Self::GoldProbability, Self::SumGrade, Self::Top5Grade];
    /// All that stands beside the grades.
    pub(crate) const SCORES: [Self; 3] = [Self::GoldProbability, Self::SumGrade, Self::Top5Grade];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grade => "grade",
            Self::GoldProbability => "gold_probability",
            Self::SumGrade => "sum_grade",
            Self::Top5Grade => "top5_grade",
        }
    }
}

/// What a row is of. The order is that of committed files: what was asked for stands behind a
/// family's whole rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) family: String,
    pub(crate) asked: bool,
    pub(crate) dataset: String,
    pub(crate) item: ItemId,
    pub(crate) ratio: Ratio,
    /// Which level read the prompt, if not the one that answered.
    pub(crate) prompt_level: Option<Level>,
}

/// One row of a file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) key: Key,
    cells: Range<usize>,
}

/// The rows of a file, or of one family in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sheet {
    pub(crate) rows: Vec<Row>,
    cells: Vec<(Measure, Level, f32)>,
}

impl Sheet {
    /// Reads the file `path`, packed if it ends in `.gz`; of one family alone if it is named.
    pub(crate) fn read(path: &Path, family: Option<&str>) -> Result<Self> {
        let bytes = files::read_by_name(path);
        let bytes = bytes.map_err(|error| Error::io(path, "cannot read", error))?;
        Self::parse(path, &bytes, family)
    }

    fn parse(path: &Path, bytes: &[u8], family: Option<&str>) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let not_a_table = |cause| Error::file(path, "not a table").caused_by(cause);
        let columns = Columns::of(path, reader.headers().map_err(not_a_table)?)?;
        let mut sheet = Self::default();
        let mut row = StringRecord::new();
        while reader.read_record(&mut row).map_err(not_a_table)? {
            if family.is_none_or(|family| row.get(columns.family) == Some(family)) {
                sheet.add(path, &columns, &row)?;
            }
        }
        Ok(sheet)
    }

    fn add(&mut self, path: &Path, columns: &Columns, row: &StringRecord) -> Result<()> {
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() != columns.names.len() {
            return Err(Error::file(path, "row of other columns")
                .at(format!("line {line}"))
                .found(format!("{} fields", row.len()))
                .allowed(columns.names.join(",")));
        }
        let refuse = |column: usize, problem: &str, allowed: &str| {
            Error::file(path, problem)
                .at(format!("line {line}, column \"{}\"", columns.names[column]))
                .found(format!("{:?}", &row[column]))
                .allowed(allowed)
        };
        let key = columns.key(row, refuse)?;
        let of_row = columns.level.map(|column| {
            let level = level(&row[column]);
            level.ok_or_else(|| refuse(column, "not a level", "1 to 100"))
        });
        let of_row = of_row.transpose()?;
        let first = self.cells.len();
        for value in &columns.values {
            let field = &row[value.column];
            if field.is_empty() {
                continue;
            }
            let number = fraction(field).ok_or_else(|| {
                refuse(value.column, "not a cell of this table", "0 to 1, or empty")
            })?;
            let level = value.level.or(of_row).expect("a file has levels in one place");
            if let Some(prompt) = key.prompt_level.filter(|&prompt| level > prompt) {
                let column = &columns.names[value.column];
                return Err(Error::file(path, plan::ABOVE)
                    .at(format!("line {line}, column {column:?}"))
                    .found(format!("a prompt read at {prompt}, answered at {level}"))
                    .allowed(format!("an answer level up to {prompt}")));
            }
            self.cells.push((value.measure, level, number));
        }
        self.rows.push(Row { line, key, cells: first..self.cells.len() });
        Ok(())
    }

    /// Adds a row with its values.
    pub(crate) fn push(&mut self, key: Key, cells: &[(Measure, Level, f32)]) {
        let first = self.cells.len();
        self.cells.extend(cells);
        self.rows.push(Row { line: 0, key, cells: first..self.cells.len() });
    }

    /// The values of a row.
    pub(crate) fn cells(&self, row: &Row) -> &[(Measure, Level, f32)] {
        &self.cells[row.cells.clone()]
    }
}

/// What the columns of a file are.
struct Columns {
    names: Vec<String>,
    family: usize,
    dataset: usize,
    item: usize,
    ratio: usize,
    level: Option<usize>,
    asked: Option<usize>,
    prompt_level: Option<usize>,
    values: Vec<Value>,
}

/// A column of values; without a level of its own it has the row's.
struct Value {
    column: usize,
    measure: Measure,
    level: Option<Level>,
}

impl Columns {
    fn of(path: &Path, header: &StringRecord) -> Result<Self> {
        let names: Vec<String> = header.iter().map(ToOwned::to_owned).collect();
        let find = |name: &str| names.iter().position(|known| known == name);
        let refuse = |problem: &str| {
            let error = Error::file(path, problem).at("line 1").found(names.join(","));
            error.allowed(
                "family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe \
                 asked,prompt_level,gold_probability,sum_grade,top5_grade",
            )
        };
        let need = |name: &str| find(name).ok_or_else(|| refuse("unexpected columns"));
        let (level, asked, prompt_level) = (find("level"), find("asked"), find("prompt_level"));
        let keys = [need("family")?, need("dataset")?, need("item")?, need("ratio")?];
        let mut values = Vec::new();
        for (column, name) in names.iter().enumerate() {
            if find(name) != Some(column) {
                return Err(refuse("column given twice"));
            }
            let marks = [level, asked, prompt_level];
            if keys.contains(&column) || marks.contains(&Some(column)) {
                continue;
            }
            let value =
                value(column, name).filter(|value| value.level.is_none() == level.is_some());
            values.push(value.ok_or_else(|| refuse("unexpected columns"))?);
        }
        if values.is_empty() {
            return Err(refuse("unexpected columns"));
        }
        let [family, dataset, item, ratio] = keys;
        Ok(Self { names, family, dataset, item, ratio, level, asked, prompt_level, values })
    }

    fn key(&self, row: &StringRecord, refuse: impl Fn(usize, &str, &str) -> Error) -> Result<Key> {
        let text = |column: usize| match &row[column] {
            "" => Err(refuse(column, "empty", "a name")),
            name => Ok(name.to_owned()),
        };
        let item = ItemId::parse(&row[self.item]);
        let ratio = ratio(&row[self.ratio]);
        let asked = match self.asked.map(|column| (column, &row[column])) {
            None | Some((_, "")) => false,
            Some((_, "1")) => true,
            Some((column, _)) => return Err(refuse(column, "not a mark", "1 or empty")),
        };
        Ok(Key {
            family: text(self.family)?,
            asked,
            dataset: text(self.dataset)?,
            item: item
                .map_err(|_| refuse(self.item, "no name of an item", "1 to 256 printed bytes"))?,
            ratio: ratio.ok_or_else(|| refuse(self.ratio, "not a prompt ratio", RATIOS))?,
            prompt_level: match self.prompt_level.map(|column| (column, &row[column])) {
                None | Some((_, "")) => None,
                Some((column, field)) => {
                    let level = level(field);
                    Some(level.ok_or_else(|| refuse(column, "not a level", "1 to 100, or empty"))?)
                }
            },
        })
    }
}

const RATIOS: &str = "above 0 and up to 100, with one decimal at most";

fn value(column: usize, name: &str) -> Option<Value> {
    let measure = |name: &str| Measure::ALL.into_iter().find(|known| known.name() == name);
    if let Some(measure) = measure(name) {
        return Some(Value { column, measure, level: None });
    }
    let (name, percent) = name.rsplit_once('_')?;
    Some(Value { column, measure: measure(name)?, level: Some(level(percent)?) })
}

fn level(field: &str) -> Option<Level> {
    field.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Level::percent)
}

fn ratio(field: &str) -> Option<Ratio> {
    Ratio::of_percents(field).filter(|ratio| ratio.thousandths() > 0)
}

fn fraction(field: &str) -> Option<f32> {
    match field {
        "0" => Some(0.0),
        "1" => Some(1.0),
        _ => field.parse().ok().filter(|value| (0.0..=1.0).contains(value)),
    }
}

/// Values by row, measure and level: what files are rewritten from.
#[derive(Debug, Default)]
pub(crate) struct Cells(BTreeMap<Key, BTreeMap<(Measure, Level), f32>>);

impl Cells {
    /// Adds the rows of the file `path`, if it is there; of a value given twice the first counts.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<()> {
        if path.exists() {
            let sheet = Sheet::read(path, None)?;
            for row in &sheet.rows {
                let known = self.0.entry(row.key.clone()).or_default();
                for &(measure, level, value) in sheet.cells(row) {
                    known.entry((measure, level)).or_insert(value);
                }
            }
        }
        Ok(())
    }

    /// Writes the rows that have any of `measures` to the file `path`, packed if it ends in `.gz`;
    /// a file that would have none is taken away.
    pub(crate) fn write(&self, path: &Path, measures: &[Measure]) -> Result<()> {
        let all = self.0.values().flat_map(BTreeMap::keys);
        let columns: BTreeSet<(Measure, Level)> =
            all.filter(|column| measures.contains(&column.0)).copied().collect();
        if columns.is_empty() {
            return Ok(());
        }
        let text = self
            .text(&columns)
            .map_err(|cause| Error::file(path, "cannot be written").caused_by(cause))?;
        if path.extension().is_none_or(|extension| extension != "gz") {
            return files::write_whole(path, &text);
        }
        files::write_whole(path, &files::pack(&text))
    }

    fn text(&self, columns: &BTreeSet<(Measure, Level)>) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // A file of plans of one level alone says nothing of another.
        let in_phases = self.0.keys().any(|key| key.prompt_level.is_some());
        let keys = ["family", "dataset", "item", "ratio", "asked"].map(ToOwned::to_owned);
        let keys = keys.into_iter().chain(in_phases.then(|| "prompt_level".to_owned()));
        let name = |&(measure, level): &(Measure, Level)| {
            format!("{}_{}", measure.name(), level.as_percent())
        };
        writer.write_record(keys.chain(columns.iter().map(name)))?;
        for (key, cells) in &self.0 {
            if !columns.iter().any(|column| cells.contains_key(column)) {
                continue;
            }
            for field in [&key.family, &key.dataset] {
                writer.write_field(field)?;
            }
            writer.write_field(key.item.to_string())?;
            writer.write_field(key.ratio.percents())?;
            writer.write_field(if key.asked { "1" } else { "" })?;
            if in_phases {
                let prompt = key.prompt_level.map(|level| level.as_percent().to_string());
                writer.write_field(prompt.unwrap_or_default())?;
            }
            for column in columns {
                writer.write_field(cells.get(column).map(f32::to_string).unwrap_or_default())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(writer.into_inner().expect("flushing to memory cannot fail"))
    }
}
