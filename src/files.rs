//! Files that are whole or absent: written beside their place, then renamed into it; one writer each.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

mod lock;
mod scratch;

pub use crate::input::read_toml;
pub use lock::Lock;
pub use scratch::{place, scratch};

/// Writes the file `path` in one step: a reader sees the old file or the whole new one, even after
/// the machine has lost its power.
///
/// Missing folders above it are created. A link stays one: what it leads to is written. A device or
/// a pipe is written to as it is and never replaced.
///
/// # Errors
/// If the folder cannot be created or written, or the disk is full.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    write_then(path, contents, place)
}

/// The same without waiting for the disk: for what can be made again, and is checked when it is read.
///
/// # Errors
/// As [`write_whole`].
pub fn write_unsynced(path: &Path, contents: &[u8]) -> Result<()> {
    write_then(path, contents, scratch::place_unsynced)
}

fn write_then(
    path: &Path,
    contents: &[u8],
    place: impl FnOnce(NamedTempFile, &Path) -> Result<()>,
) -> Result<()> {
    let wrong = |error| Error::io(path, "cannot write", error);
    match fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => {
            let target = fs::canonicalize(path).map_err(wrong)?;
            let mut file = scratch(&target)?;
            file.write_all(contents).map_err(wrong)?;
            place(file, &target)
        }
        Ok(_) => {
            let mut file = File::options().write(true).open(path).map_err(wrong)?;
            file.write_all(contents).map_err(wrong)
        }
        Err(_) if path.is_symlink() => Err(Error::file(path, "is a link that leads nowhere")),
        Err(_) => {
            let mut file = scratch(path)?;
            file.write_all(contents).map_err(wrong)?;
            place(file, path)
        }
    }
}

/// Brings the names in `folder` to the disk, where a system knows how.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn create_folder_of(path: &Path) -> Result<&Path> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "cannot create", error))?;
    Ok(folder)
}

/// A text file that grows row by row under the name `PATH.partial` until it is finished.
///
/// Rows reach the disk as they come, so that an interrupted run leaves what it had; the name says
/// that it is not all.
#[derive(Debug)]
pub struct GrowingFile {
    path: PathBuf,
    partial: PathBuf,
    writer: BufWriter<File>,
    rows_per_flush: u32,
    unflushed: u32,
}

impl GrowingFile {
    /// Starts the file `path`, replacing a partial one; flushes after every `rows_per_flush` rows.
    ///
    /// # Errors
    /// If the folder cannot be created or written.
    pub fn create(path: &Path, rows_per_flush: u32) -> Result<Self> {
        create_folder_of(path)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file =
            File::create(&partial).map_err(|error| Error::io(&partial, "cannot create", error))?;
        let writer = BufWriter::new(file);
        Ok(Self { path: path.to_owned(), partial, writer, rows_per_flush, unflushed: 0 })
    }

    /// Appends `row`, which ends in a newline.
    ///
    /// # Errors
    /// If it cannot be written: the disk is full, say.
    pub fn append(&mut self, row: &str) -> Result<()> {
        self.unflushed += 1;
        let flush = self.unflushed >= self.rows_per_flush;
        let written = self.writer.write_all(row.as_bytes());
        written.and_then(|()| if flush { self.flush() } else { Ok(()) }).map_err(|e| self.wrong(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unflushed = 0;
        self.writer.flush()
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the last rows cannot be written or the file cannot be renamed.
    pub fn finish(mut self) -> Result<()> {
        let on_disk = self.flush().and_then(|()| self.writer.get_ref().sync_all());
        on_disk.map_err(|error| self.wrong(error))?;
        fs::rename(&self.partial, &self.path)
            .and_then(|()| sync_folder(create_folder_of(&self.path).map_err(io::Error::other)?))
            .map_err(|error| Error::io(&self.path, "cannot create", error))
    }

    fn wrong(&self, error: io::Error) -> Error {
        Error::io(&self.partial, "cannot write", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_replaces_the_old_one_and_makes_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/table.csv");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link_and_a_device_or_pipe_is_written_to_and_not_replaced() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("real.csv"), "old").unwrap();
        symlink("real.csv", path("link.csv")).unwrap();
        write_whole(&path("link.csv"), b"new").unwrap();
        assert!(path("link.csv").is_symlink());
        assert_eq!(fs::read(path("real.csv")).unwrap(), b"new");
        symlink("/dev/null", path("null.csv")).unwrap();
        write_whole(&path("null.csv"), b"new").unwrap();
        assert!(fs::metadata(path("null.csv")).unwrap().file_type().is_char_device());
        symlink("nowhere.csv", path("lost.csv")).unwrap();
        let message = write_whole(&path("lost.csv"), b"new").unwrap_err().to_string();
        assert!(message.ends_with("lost.csv: is a link that leads nowhere"), "{message}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_device_is_an_error() {
        let message = write_whole(Path::new("/dev/full"), b"new").unwrap_err().to_string();
        assert_eq!(message, "/dev/full: cannot write: No space left on device (os error 28)");
    }

    #[test]
    fn a_growing_file_has_its_name_only_when_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let mut file = GrowingFile::create(&path, 1).unwrap();
        file.append("a\n").unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(folder.path().join("rows.csv.partial")).unwrap(), b"a\n");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a\n");
        assert!(!folder.path().join("rows.csv.partial").exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_and_leaves_no_file_that_looks_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("rows.csv.partial")).unwrap();
        let mut file = GrowingFile::create(&path, 1).unwrap();
        let message = file.append("a\n").unwrap_err().to_string();
        assert!(message.contains("rows.csv.partial: cannot write"), "{message}");
        assert!(message.contains("No space left on device"), "{message}");
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_below_a_regular_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write_whole(&file.join("table.csv"), b"").unwrap_err().to_string();
        assert!(message.contains("cannot create"), "{message}");
    }
}
