//! A line of such a file, its cells checked as they are read.

use std::ops::RangeInclusive;
use std::path::Path;

use csv::StringRecord;

use super::{ANY, JUDGED, RIGHT_IN_TIME, class_of};
use crate::error::{Error, Result};
use crate::files::read_by_name;
use crate::metrics::by_class::{ByClass, ClassAnswers};
use crate::metrics::estimate::Estimate;
use crate::metrics::row::CellLabel;
use crate::metrics::statistics::Interval;

/// What `read` makes of each record of the CSV file `path` and of what `check` made of its header.
pub(super) fn read_records<H, T>(
    path: &Path,
    check: impl FnOnce(&StringRecord) -> Result<H>,
    read: impl Fn(&Line<'_>, &H) -> Result<T>,
) -> Result<Vec<T>> {
    let text = read_by_name(path).map_err(|source| Error::io(path, "cannot read", source))?;
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header = reader.headers().map_err(|error| csv_error(path, &error))?.clone();
    let checked = check(&header)?;
    let line = |record: csv::Result<StringRecord>| {
        let record = record.map_err(|error| csv_error(path, &error))?;
        read(&Line { path, header: &header, record: &record }, &checked)
    };
    reader.into_records().map(line).collect()
}

/// A line of a file.
pub(super) struct Line<'a> {
    path: &'a Path,
    pub(super) header: &'a StringRecord,
    pub(super) record: &'a StringRecord,
}

impl Line<'_> {
    pub(super) fn number_in_file(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    /// The text of a cell; empty where the file lacks the column.
    pub(super) fn text(&self, column: &str) -> &str {
        let place = self.header.iter().position(|name| name == column);
        place.and_then(|place| self.record.get(place)).unwrap_or_default()
    }

    pub(super) fn error(&self, column: &str, problem: &str, allowed: &str) -> Error {
        Error::file(self.path, problem)
            .at(format!("line {}, column \"{column}\"", self.number_in_file()))
            .found(format!("\"{}\"", self.text(column)))
            .allowed(allowed)
    }

    pub(super) fn number(&self, column: &str, range: &RangeInclusive<f64>) -> Result<Option<f64>> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(number) => Err(self.error(column, "out of range", &allowed(range)).found(number)),
            Err(_) => Err(self.error(column, "not a number", &allowed(range))),
        }
    }

    pub(super) fn required_number(&self, column: &str, range: &RangeInclusive<f64>) -> Result<f64> {
        let number = self.number(column, range)?;
        number.ok_or_else(|| self.error(column, "empty", "a finite number"))
    }

    pub(super) fn whole(&self, column: &str) -> Result<Option<usize>> {
        let text = self.text(column);
        let wrong = |_| self.error(column, "not a count", "a whole number, or nothing");
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) }
    }

    pub(super) fn required_whole(&self, column: &str) -> Result<usize> {
        self.whole(column)?.ok_or_else(|| self.error(column, "empty", "a whole number"))
    }

    pub(super) fn label(&self) -> Result<CellLabel> {
        let text = |column| self.text(column).to_owned();
        Ok(CellLabel {
            method: text("method"),
            alpha: self.required_number("alpha", &ANY)?,
            device: text("device"),
            latency_of: text("latency_of"),
            base_model: text("base_model"),
            provenance: text("provenance"),
        })
    }

    /// The answers of each class that has columns here and is not empty.
    pub(super) fn by_class(&self) -> Result<ByClass> {
        let mut classes = ByClass::new();
        for class in self.header.iter().filter_map(|column| class_of(JUDGED, column)) {
            let (judged, right) = (format!("{JUDGED}{class}"), format!("{RIGHT_IN_TIME}{class}"));
            if let Some(judged) = self.whole(&judged)? {
                let right_in_time = self.required_number(&right, &(0.0..=judged as f64))?;
                classes.insert(class, ClassAnswers { judged, right_in_time });
            }
        }
        Ok(classes)
    }

    pub(super) fn ends(
        &self,
        column: &str,
        range: &RangeInclusive<f64>,
    ) -> Result<Option<Interval>> {
        let [lo, hi] = ["lo", "hi"].map(|end| self.number(&format!("{column}_{end}"), range));
        Ok(lo?.zip(hi?).map(|(lo, hi)| Interval { lo, hi }))
    }

    pub(super) fn estimate(&self, column: &str, range: &RangeInclusive<f64>) -> Result<Estimate> {
        let mean = self.number(column, range)?;
        Ok(Estimate::with(mean, self.ends(column, range)?))
    }

    /// The error of a cell that does not have its column's type.
    pub(super) fn cell_error(&self, error: &csv::Error) -> Error {
        if let csv::ErrorKind::Deserialize { err, .. } = error.kind()
            && let Some(place) = err.field().map(|field| field as usize)
            && let (Some(column), Some(cell)) = (self.header.get(place), self.record.get(place))
        {
            let line = self.number_in_file();
            return Error::file(self.path, err.kind().to_string())
                .at(format!("line {line}, column \"{column}\""))
                .found(format!("\"{cell}\""));
        }
        Error::file(self.path, error.to_string())
    }
}

fn allowed(range: &RangeInclusive<f64>) -> String {
    match (*range.start(), *range.end()) {
        (f64::MIN, f64::MAX) => "a finite number".to_owned(),
        (0.0, f64::MAX) => "a finite number of at least 0, or nothing".to_owned(),
        (least, most) => format!("a number from {least} to {most}, or nothing"),
    }
}

/// The error of a line that is no record, in our own words where the reader knows them.
fn csv_error(path: &Path, error: &csv::Error) -> Error {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            Error::file(path, "wrong number of cells")
                .at(format!("line {line}"))
                .found(len)
                .allowed(expected_len)
        }
        _ => Error::file(path, error.to_string()),
    }
}
