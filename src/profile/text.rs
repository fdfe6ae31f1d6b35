//! Reading the text files of a profile, with errors that name file and line.

use std::fs;
use std::path::Path;

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::input::Rows;
use crate::item::ItemId;

/// The whole of a text file.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|cause| Error::io(path, "cannot read", cause))
}

/// The text of `bytes`, which the file `path` holds.
pub(super) fn decoded(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|cause| Error::file(path, "is not text").caused_by(cause))
}

/// The records of a CSV file with the given header, each with its line for error messages.
pub(super) fn csv_rows(
    path: &Path,
    text: &str,
    header: &[&str],
) -> Result<Vec<(u64, StringRecord)>> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(Error::file(path, "ends inside a row")
            .allowed("a last line that ends in a newline: resume what wrote the file"));
    }
    let wrong = |line: u64, problem: &str, found: String| {
        let error = Error::file(path, problem).at(format!("line {line}"));
        error.found(found).allowed(header.join(","))
    };
    let mut reader = Rows::new(path, text, 0);
    match reader.next_row()? {
        Some((_, found)) if found.iter().eq(header.iter().copied()) => {}
        Some((line, found)) => {
            let found = found.iter().collect::<Vec<_>>().join(",");
            return Err(wrong(line, "unexpected columns", found));
        }
        None => return Err(wrong(1, "no columns", "an empty file".into())),
    }
    let mut rows = Vec::new();
    while let Some((line, row)) = reader.next_row()? {
        if row.len() != header.len() {
            return Err(wrong(line, "row of other columns", format!("{} fields", row.len())));
        }
        // Collected: a copy would keep the room of the longest row so far.
        rows.push((line, row.iter().collect()));
    }
    Ok(rows)
}

/// The field `item` of a row.
pub(super) fn item(path: &Path, line: u64, field: &str) -> Result<ItemId> {
    ItemId::parse(field).map_err(|_| {
        Error::file(path, "no name of an item")
            .at(format!("line {line}, column \"item\""))
            .found(format!("{field:?}"))
            .allowed("1 to 256 printed bytes")
    })
}

/// The field `column` of a row as a number.
pub(super) fn number<T: std::str::FromStr>(
    path: &Path,
    line: u64,
    column: &str,
    field: &str,
    allowed: &str,
) -> Result<T> {
    field.parse().map_err(|_| {
        Error::file(path, "not a number")
            .at(format!("line {line}, column {column:?}"))
            .found(format!("{field:?}"))
            .allowed(allowed)
    })
}
