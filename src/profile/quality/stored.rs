//! What the files of a quality table say, row by row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::super::text;
use super::asked::is_asked;
use super::{HEADER, Key, RATIOS, parse_key};
use crate::error::{Error, Result};

/// Values of one file: a cell per ratio.
pub(super) type Values<T> = BTreeMap<Key, [Option<T>; RATIOS]>;

/// Rows of a table and of its twins.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) correct: Values<bool>,
    pub(super) sum: Values<bool>,
    pub(super) probability: Values<f32>,
    pub(super) top: Values<bool>,
}

/// What several rows of one key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// A mistake.
    Refused,
    /// Cells measured at different times; of a cell given twice the first counts.
    United,
}

impl Stored {
    /// Reads `<dir>/<table>.csv` and the twins that are there.
    pub(super) fn read(dir: &Path, table: &str) -> Result<Self> {
        let repeats = if is_asked(table) { Repeats::United } else { Repeats::Refused };
        let path = dir.join(format!("{table}.csv"));
        let correct = read_values(&path, "0, 1 or empty", parse_flag, repeats)?;
        let flags = |kind| twin(dir, table, kind, "0, 1 or empty", parse_flag, repeats, &correct);
        let (sum, top) = (flags("sum")?, flags("top5")?);
        let parse = parse_probability;
        let probability = twin(dir, table, "prob", "0 to 1 or empty", parse, repeats, &correct)?;
        Ok(Self { correct, sum, probability, top })
    }

    /// Adds the cells of `other` that are not here.
    pub(super) fn unite(&mut self, other: Self) {
        unite(&mut self.correct, other.correct);
        unite(&mut self.sum, other.sum);
        unite(&mut self.probability, other.probability);
        unite(&mut self.top, other.top);
    }
}

fn unite<T: Copy>(values: &mut Values<T>, other: Values<T>) {
    for (key, cells) in other {
        add_cells(values.entry(key).or_insert([None; RATIOS]), cells);
    }
}

fn add_cells<T: Copy>(known: &mut [Option<T>; RATIOS], cells: [Option<T>; RATIOS]) {
    for (known, cell) in known.iter_mut().zip(cells) {
        *known = known.or(cell);
    }
}

/// The twin of a kind; nothing where its file is not there.
fn twin<T: Copy>(
    dir: &Path,
    table: &str,
    kind: &str,
    allowed: &str,
    parse: fn(&str) -> Option<T>,
    repeats: Repeats,
    correct: &Values<bool>,
) -> Result<Values<T>> {
    let path = dir.join(format!("{table}.{kind}.csv"));
    if !path.exists() {
        return Ok(Values::new());
    }
    let twin = read_values(&path, allowed, parse, repeats)?;
    match twin.keys().find(|key| !correct.contains_key(key)) {
        None => Ok(twin),
        Some((dataset, item, level)) => Err(Error::file(&path, "row that its table lacks")
            .found(format!("{dataset},{item},{level}"))
            .allowed("rows of the table beside it")),
    }
}

fn read_values<T: Copy>(
    path: &Path,
    allowed: &str,
    parse: fn(&str) -> Option<T>,
    repeats: Repeats,
) -> Result<Values<T>> {
    let text = text::read(path)?;
    let mut values = Values::new();
    for (line, row) in text::csv_rows(path, &text, &HEADER)? {
        let mut cells = [None; RATIOS];
        for (column, cell) in cells.iter_mut().enumerate() {
            let field = &row[3 + column];
            *cell = (!field.is_empty())
                .then(|| parse(field))
                .map(|value| value.ok_or(field))
                .transpose()
                .map_err(|field| {
                    Error::file(path, "not a cell of this table")
                        .at(format!("line {line}, column {:?}", HEADER[3 + column]))
                        .found(format!("{field:?}"))
                        .allowed(allowed)
                })?;
        }
        match values.entry(parse_key(path, line, &row)?) {
            Entry::Vacant(entry) => _ = entry.insert(cells),
            Entry::Occupied(mut entry) if repeats == Repeats::United => {
                add_cells(entry.get_mut(), cells);
            }
            Entry::Occupied(_) => {
                return Err(Error::file(path, "row given twice")
                    .at(format!("line {line}"))
                    .found(format!("{},{},{}", &row[0], &row[1], &row[2])));
            }
        }
    }
    Ok(values)
}

fn parse_flag(field: &str) -> Option<bool> {
    match field {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn parse_probability(field: &str) -> Option<f32> {
    field.parse().ok().filter(|value| (0.0..=1.0).contains(value))
}
