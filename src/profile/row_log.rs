//! An append-only table that survives being killed: whole rows only, resumed where it stopped.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::text;
use crate::error::{Error, Result};

/// A CSV file that grows by whole rows.
///
/// Each row is handed to the system in one write. After a kill the file may end in a part of a
/// row; opening it again drops that part and keeps every whole row.
#[derive(Debug)]
pub(crate) struct RowLog {
    path: PathBuf,
    file: File,
}

impl RowLog {
    /// Opens `path` for appending, creating it with `header`, and returns the whole rows it has,
    /// each with its line.
    pub(crate) fn open(path: &Path, header: &[&str]) -> Result<(Self, Vec<(u64, StringRecord)>)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|cause| Error::io(folder, "cannot create folder", cause))?;
        }
        let title = format!("{}\n", header.join(","));
        let mut whole = if path.exists() { text::read(path)? } else { String::new() };
        let cut = whole.rfind('\n').map_or(0, |newline| newline + 1);
        if cut == 0 && !title.starts_with(&whole) {
            return Err(Error::file(path, "is not a table of this kind")
                .at("line 1")
                .allowed(title.trim_end()));
        }
        whole.truncate(cut);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|cause| Error::io(path, "cannot open for appending", cause))?;
        let mut log = Self { path: path.to_owned(), file };
        log.set_length(cut)?;
        if whole.is_empty() {
            log.write(&title)?;
            whole = title;
        }
        let rows = text::csv_rows(path, &whole, header)?;
        Ok((log, rows))
    }

    /// Keeps the first `rows` rows of the file.
    pub(crate) fn keep(&mut self, rows: usize) -> Result<()> {
        let whole = text::read(&self.path)?;
        let lines = rows + 1;
        let length = whole.split_inclusive('\n').take(lines).map(str::len).sum();
        self.set_length(length)
    }

    /// Appends one row.
    pub(crate) fn append<I, F>(&mut self, fields: I) -> Result<()>
    where
        I: IntoIterator<Item = F>,
        F: AsRef<[u8]>,
    {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(fields).expect("writing a record to memory cannot fail");
        let row = writer.into_inner().expect("flushing to memory cannot fail");
        self.write(std::str::from_utf8(&row).expect("fields are text"))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|cause| Error::io(&self.path, "cannot append", cause))
    }

    fn set_length(&mut self, bytes: usize) -> Result<()> {
        self.file
            .set_len(bytes as u64)
            .map_err(|cause| Error::io(&self.path, "cannot shorten", cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_row_is_dropped_and_whole_rows_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, "a,b\n1,2\n3").unwrap();
        let (mut log, rows) = RowLog::open(&path, &["a", "b"]).unwrap();
        assert_eq!(rows.len(), 1);
        log.append(["5", "6"]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n1,2\n5,6\n");
        log.keep(1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n1,2\n");
    }

    #[test]
    fn a_kill_inside_the_header_starts_over_but_a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, "a,").unwrap();
        assert!(RowLog::open(&path, &["a", "b"]).unwrap().1.is_empty());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n");
        for foreign in ["my only notes", "x,y\n1,2\n"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(RowLog::open(&path, &["a", "b"]).is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
        }
    }
}
