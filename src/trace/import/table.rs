//! A CSV file whose columns are found by their header, whatever their order.

use std::fmt::Display;
use std::path::Path;

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::input::{Input, Rows};

/// A CSV file in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    path: &'a Path,
    text: &'a str,
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
    pub fn new(input: &'a Input) -> Self {
        Self { path: input.path(), text: input.text() }
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
        let path = self.path;
        let mut rows = Rows::new(path, self.text, 0);
        let Some((line, record)) = rows.next_row()? else {
            return Err(Error::file(path, "no header").allowed(required.join(",")));
        };
        let header: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
        let names: Vec<&str> = required.iter().chain(optional).copied().collect();
        let places = self.places(line, &header, &names, required.len())?;
        while let Some((line, record)) = rows.next_row()? {
            if record.len() != header.len() {
                return Err(Error::file(path, "wrong number of cells")
                    .at(format!("line {line}"))
                    .found(record.len())
                    .allowed(format!("{}, as the header has", header.len())));
            }
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

    /// A number of tokens that the file need not state: `None` for an empty cell, too.
    pub fn optional_tokens(&self, column: usize) -> Result<Option<u32>> {
        match self.cell(column) {
            None | Some("") => Ok(None),
            Some(_) => self.tokens(column).map(Some),
        }
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
