//! CSV files of a results folder that grow row by row, and exact decimals in their cells.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::units::{decimal_millis, nanos_of_decimal_millis};

/// A CSV file that grows under the name `PATH.partial` until it is finished.
///
/// Rows reach the system as they come, so that an interrupted run leaves what it had; the name says
/// that it is not all.
#[derive(Debug)]
pub(super) struct RowFile {
    path: PathBuf,
    partial: PathBuf,
    writer: csv::Writer<File>,
    rows_per_flush: u32,
    unflushed: u32,
}

impl RowFile {
    /// Starts the file `path`, replacing a partial one; flushes after every `rows_per_flush` rows.
    ///
    /// # Errors
    /// If the folder cannot be created or written.
    pub fn create(path: &Path, rows_per_flush: u32) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, "cannot create", error))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file =
            File::create(&partial).map_err(|error| Error::io(&partial, "cannot create", error))?;
        let writer = csv::Writer::from_writer(file);
        Ok(Self { path: path.to_owned(), partial, writer, rows_per_flush, unflushed: 0 })
    }

    /// Appends `row`; the first one brings the header, its fields' names.
    ///
    /// # Errors
    /// If it cannot be written: the disk is full, say.
    pub fn append(&mut self, row: &impl Serialize) -> Result<()> {
        self.writer.serialize(row).map_err(|error| self.wrong(error.into()))?;
        self.unflushed += 1;
        if self.unflushed >= self.rows_per_flush {
            self.unflushed = 0;
            self.writer.flush().map_err(|error| self.wrong(error))?;
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the last rows cannot be written or the file cannot be renamed.
    pub fn finish(mut self) -> Result<()> {
        self.writer.flush().map_err(|error| self.wrong(error))?;
        fs::rename(&self.partial, &self.path)
            .map_err(|error| Error::io(&self.path, "cannot create", error))
    }

    fn wrong(&self, error: std::io::Error) -> Error {
        Error::io(&self.partial, "cannot write", error)
    }
}

/// Nanoseconds in a cell of milliseconds, or nanojoules in one of millijoules, to the last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal(pub u64);

impl From<Duration> for Decimal {
    /// Lengths of a replay fit 584 years, as its instants do.
    fn from(length: Duration) -> Self {
        Self(length.as_nanos() as u64)
    }
}

impl From<Decimal> for Duration {
    fn from(Decimal(nanos): Decimal) -> Self {
        Self::from_nanos(nanos)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&decimal_millis(self.0))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = nanos_of_decimal_millis(&String::deserialize(from)?);
        number.map(Self).ok_or_else(|| serde::de::Error::custom("not a decimal number of ms or mJ"))
    }
}

/// Writes a number as people do: `1`, not `1.0`.
pub(super) fn plain<S: Serializer>(number: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

/// The same for a number that may be absent.
#[expect(clippy::ref_option, reason = "serde hands a reference")]
pub(super) fn plain_or_nothing<S: Serializer>(
    number: &Option<f64>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => to.collect_str(number),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_file_has_its_name_only_when_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/rows.csv");
        let mut file = RowFile::create(&path, 1).unwrap();
        file.append(&("a, b", Decimal(1_500_000), None::<u8>)).unwrap();
        assert!(!path.exists());
        let partial = folder.path().join("new/rows.csv.partial");
        assert_eq!(fs::read_to_string(&partial).unwrap(), "\"a, b\",1.5,\n");
        file.finish().unwrap();
        assert!(path.exists() && !partial.exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_and_leaves_no_file_that_looks_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("rows.csv.partial")).unwrap();
        let mut file = RowFile::create(&path, 1).unwrap();
        let message = file.append(&("a", 1)).unwrap_err().to_string();
        assert!(message.contains("rows.csv.partial: cannot write"), "{message}");
        assert!(message.contains("No space left on device"), "{message}");
        assert!(!path.exists());
    }
}
