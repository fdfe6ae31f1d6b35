//! An append-only table that survives being killed: whole rows only, resumed where it stopped.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::text;
use crate::error::{Error, Result};
use crate::files::{self, Lock};

/// A CSV file that grows by whole rows, written by one process at a time.
///
/// Each row is handed to the system in one write. Opening the file heals what killed writers left:
/// a part of a row at the end is dropped, and so is a row that is there twice.
#[derive(Debug)]
pub(crate) struct RowLog {
    path: PathBuf,
    file: File,
    _lock: Lock,
}

/// A row and its line in the file.
pub(crate) type Row = (u64, StringRecord);

impl RowLog {
    /// Opens `path` for appending, creating it with `header`, and returns the whole rows it has.
    /// The first `keys` columns say what a row is about.
    ///
    /// # Errors
    /// If another process writes the file; if it cannot be read or written, has other columns, or
    /// says two things of one key.
    pub(crate) fn open(path: &Path, header: &[&str], keys: usize) -> Result<(Self, Vec<Row>)> {
        let lock = Lock::acquire(path, "the table")?;
        let title = format!("{}\n", header.join(","));
        let mut stored = stored(path)?;
        let length = stored.len();
        // A machine without power may leave zeros where the last rows would be.
        let written = stored.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        stored.truncate(written);
        let newline = stored.iter().rposition(|&byte| byte == b'\n');
        let is_new = newline.is_none();
        if is_new && !title.as_bytes().starts_with(&stored) {
            return Err(Error::file(path, "is not a table of this kind")
                .at("line 1")
                .allowed(title.trim_end()));
        }
        stored.truncate(newline.map_or(0, |newline| newline + 1));
        let whole = if is_new { title } else { text::decoded(path, stored)? };
        let mut rows = text::csv_rows(path, &whole, header)?;
        let repeated = repeated(path, &rows, keys)?;
        if !repeated.is_empty() {
            let is_kept = |line: usize| !repeated.contains_key(&(line as u64));
            let lines = whole.split_inclusive('\n').enumerate();
            let kept: String =
                lines.filter(|(at, _)| is_kept(at + 1)).map(|(_, line)| line).collect();
            files::write_whole(path, kept.as_bytes())?;
            rows = text::csv_rows(path, &kept, header)?;
        }
        let mut log = Self { path: path.to_owned(), file: appending(path)?, _lock: lock };
        if is_new {
            log.set_length(0)?;
            log.write(&whole)?;
        } else if repeated.is_empty() && whole.len() < length {
            log.set_length(whole.len())?;
        }
        Ok((log, rows))
    }

    /// Drops the rows of the file whose places, from 0, `is_kept` refuses.
    #[cfg(any(test, feature = "engine"))]
    pub(crate) fn retain(&mut self, is_kept: impl Fn(usize) -> bool) -> Result<()> {
        let whole = text::read(&self.path)?;
        let lines = whole.split_inclusive('\n').enumerate();
        let stays = |&(line, _): &(usize, &str)| line == 0 || is_kept(line - 1);
        let kept: String = lines.filter(stays).map(|(_, line)| line).collect();
        if whole.starts_with(&kept) {
            return self.set_length(kept.len());
        }
        files::write_whole(&self.path, kept.as_bytes())?;
        self.file = appending(&self.path)?;
        Ok(())
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

impl Drop for RowLog {
    fn drop(&mut self) {
        // Whoever says next that the table is complete must not be on the disk before it.
        let _ = self.file.sync_all();
    }
}

fn appending(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|cause| Error::io(path, "cannot open for appending", cause))
}

/// The bytes of the file `path`, none if it is not there.
fn stored(path: &Path) -> Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(Error::file(path, "is not a file that can be appended to and cut"))
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        _ => fs::read(path).map_err(|cause| Error::io(path, "cannot read", cause)),
    }
}

/// The lines that repeat an earlier row, with the line of that row.
fn repeated(path: &Path, rows: &[Row], keys: usize) -> Result<BTreeMap<u64, u64>> {
    let key = |row: &StringRecord| row.iter().take(keys).map(str::to_owned).collect::<Vec<_>>();
    let mut first = BTreeMap::new();
    let mut repeated = BTreeMap::new();
    for (line, row) in rows {
        let (before, known) = *first.entry(key(row)).or_insert((*line, row));
        if before == *line {
            continue;
        }
        if known != row {
            return Err(Error::file(path, "two rows say different things of one key")
                .at(format!("lines {before} and {line}"))
                .found(key(row).join(","))
                .allowed("one of the two; remove the other"));
        }
        repeated.insert(*line, before);
    }
    Ok(repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 2] = ["a", "b"];

    fn opened(path: &Path, keys: usize) -> Result<Vec<String>> {
        let (_, rows) = RowLog::open(path, &HEADER, keys)?;
        Ok(rows.iter().map(|(_, row)| row.iter().collect::<Vec<_>>().join(",")).collect())
    }

    #[test]
    fn a_cut_off_row_is_dropped_and_whole_rows_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        for torn in ["a,b\n1,2\n3", "a,b\n1,2\n3,\u{fc}", "a,b\n1,2\n3\0\0\0", "a,b\n1,2\n\0\0"] {
            // A letter of two bytes may be cut in two.
            let torn = torn.strip_suffix('\u{fc}').map_or(torn.as_bytes().to_vec(), |start| {
                [start.as_bytes(), &"\u{fc}".as_bytes()[..1]].concat()
            });
            fs::write(&path, torn).unwrap();
            let (mut log, rows) = RowLog::open(&path, &HEADER, 1).unwrap();
            assert_eq!(rows.len(), 1);
            log.append(["5", "6"]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n1,2\n5,6\n");
            log.retain(|row| row < 1).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n1,2\n");
            log.append(["7", "8"]).unwrap();
            log.retain(|row| row > 0).unwrap();
            log.append(["9", "0"]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n7,8\n9,0\n");
        }
    }

    #[test]
    fn a_kill_inside_the_header_starts_over_but_a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        for begun in ["", "a,", "a,b", "\0\0\0\0\0"] {
            fs::write(&path, begun).unwrap();
            assert!(opened(&path, 1).unwrap().is_empty());
            assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n", "from {begun:?}");
        }
        for foreign in ["my only notes", "x,y\n1,2\n", "a,b and more"] {
            fs::write(&path, foreign).unwrap();
            assert!(opened(&path, 1).is_err(), "{foreign}");
            assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
        }
    }

    #[test]
    fn rows_that_two_writers_left_twice_are_there_once_and_contradictions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        fs::write(&path, "a,b\n1,2\n3,4\n1,2\n5,6\n3,4\n3").unwrap();
        assert_eq!(opened(&path, 1).unwrap(), ["1,2", "3,4", "5,6"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a,b\n1,2\n3,4\n5,6\n");
        let contradicting = "a,b\n1,2\n3,4\n1,7\n";
        fs::write(&path, contradicting).unwrap();
        let message = opened(&path, 1).unwrap_err().to_string();
        let expected = "log.csv, lines 2 and 4: two rows say different things of one key; found 1; \
                        allowed: one of the two; remove the other";
        assert!(message.ends_with(expected), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), contradicting);
        assert_eq!(opened(&path, 2).unwrap().len(), 3, "of another key");
    }

    #[test]
    fn a_table_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let first = RowLog::open(&path, &HEADER, 1).unwrap();
        let message = opened(&path, 1).unwrap_err().to_string();
        assert!(message.contains("the table is being written by another process; found process "));
        drop(first);
        assert!(opened(&path, 1).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn a_device_is_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(opened(&path, 1).unwrap_err().to_string().contains("is not a file"));
    }
}
