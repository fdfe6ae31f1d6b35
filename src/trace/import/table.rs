//! A CSV file whose columns are found by their header, whatever their order.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use csv::StringRecord;

use super::super::native::record_line;
use crate::error::{Error, Result};

/// A CSV file in memory.
#[derive(Debug)]
pub(super) struct Table<'a> {
    path: &'a Path,
    text: String,
}

/// One row; its columns are numbered as those that were asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    path: &'a Path,
    /// Line of the file, from 1.
    pub line: u64,
    record: &'a StringRecord,
    names: &'a [&'a str],
    places: &'a [Option<usize>],
}

impl<'a> Table<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
        Ok(Self { path, text })
    }

    /// Hands every row to `each`, with the columns `required`, then `optional`, of the header; case
    /// does not matter. Returns the names of the other columns.
    ///
    /// # Errors
    /// If the header lacks a required column or has one twice, a row is longer or shorter than the
    /// header, or `each` fails.
    pub fn rows(
        &self,
        required: &[&str],
        optional: &[&str],
        mut each: impl FnMut(Row<'_>) -> Result<()>,
    ) -> Result<Vec<String>> {
        let body = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(body.as_bytes());
        let mut record = StringRecord::new();
        let mut read = |record: &mut StringRecord| {
            csv.read_record(record)
                .map_err(|error| Error::file(self.path, "not a CSV file").caused_by(error))
        };
        if !read(&mut record)? {
            return Err(Error::file(self.path, "no header").allowed(required.join(",")));
        }
        let header: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
        let names: Vec<&str> = required.iter().chain(optional).copied().collect();
        let places = self.places(record_line(body, &record), &header, &names, required.len())?;
        while read(&mut record)? {
            let line = record_line(body, &record);
            if record.len() != header.len() {
                return Err(Error::file(self.path, "wrong number of cells")
                    .at(format!("line {line}"))
                    .found(record.len())
                    .allowed(format!("{}, as the header has", header.len())));
            }
            let (path, record) = (self.path, &record);
            each(Row { path, line, record, names: &names, places: &places })?;
        }
        let used = |index: usize| places.contains(&Some(index));
        Ok(header
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !used(*index))
            .map(|(_, name)| name)
            .collect())
    }

    /// The place of each of `names`, of which the first `required` must be there.
    fn places(
        &self,
        line: u64,
        header: &[String],
        names: &[&str],
        required: usize,
    ) -> Result<Vec<Option<usize>>> {
        let wrong = |problem: &str, name: &str| {
            Error::file(self.path, problem)
                .at(format!("line {line}, column \"{name}\""))
                .found(header.join(","))
                .allowed(format!("a header with {}", names[..required].join(",")))
        };
        let place = |(index, name): (usize, &&str)| {
            let same = |(_, cell): &(usize, &String)| cell.eq_ignore_ascii_case(name);
            let mut found = header.iter().enumerate().filter(same).map(|(place, _)| place);
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(wrong("column appears twice", name)),
                (None, _) if index < required => Err(wrong("missing column", name)),
                (place, _) => Ok(place),
            }
        };
        names.iter().enumerate().map(place).collect()
    }
}

impl Row<'_> {
    /// The cell of the column with this number; `None` if the file lacks the column.
    pub fn cell(&self, column: usize) -> Option<&str> {
        Some(self.record.get(self.places[column]?).unwrap_or("").trim())
    }

    /// A number of tokens; plain whole numbers, also as `17.0`.
    pub fn tokens(&self, column: usize) -> Result<u32> {
        let cell = self.cell(column).unwrap_or("");
        let whole = cell.strip_suffix(".0").unwrap_or(cell);
        whole.parse().map_err(|_| self.wrong(column, "a whole number from 0, of 32 bits"))
    }

    /// The error of a bad cell.
    pub fn wrong(&self, column: usize, allowed: impl Display) -> Error {
        let found = match self.cell(column) {
            None | Some("") => "nothing".to_owned(),
            Some(cell) => format!("\"{cell}\""),
        };
        Error::file(self.path, "bad value")
            .at(format!("line {}, column \"{}\"", self.line, self.names[column]))
            .found(found)
            .allowed(allowed)
    }
}
