//! Files that are whole or absent: written beside their place, then renamed into it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Writes the file `path` in one step: a reader sees the old file or the whole new one.
///
/// Missing folders above it are created.
///
/// # Errors
/// If the folder cannot be created or written, or the disk is full.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = create_folder_of(path)?;
    let wrong = |error| Error::io(path, "cannot write", error);
    let mut file = world_readable().tempfile_in(folder).map_err(wrong)?;
    file.write_all(contents).map_err(wrong)?;
    file.persist(path).map_err(|error| wrong(error.error))?;
    Ok(())
}

/// Temporary files are private by default; results are not.
fn world_readable() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

fn create_folder_of(path: &Path) -> Result<&Path> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "cannot create", error))?;
    Ok(folder)
}

/// The value that the TOML file `path` states.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has a key or value that `T` does not allow; the
/// error names the line.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
    toml::from_str(&text).map_err(|cause| {
        let error = Error::file(path, cause.message());
        match cause.span() {
            Some(span) => {
                let before = text.as_bytes().iter().take(span.start);
                error.at(format!("line {}", before.filter(|&&byte| byte == b'\n').count() + 1))
            }
            None => error,
        }
    })
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
        self.flush().map_err(|error| self.wrong(error))?;
        fs::rename(&self.partial, &self.path)
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
