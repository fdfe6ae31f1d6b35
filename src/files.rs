//! Files that are whole or absent: written beside their place, then renamed into it; one writer
//! each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

mod lock;
mod packed;
mod scratch;

pub use lock::Lock;
pub use packed::{is_packed, pack, read_by_name, write_by_name};
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

/// The same without waiting for the disk: for what can be made again, and is checked when it is
/// read.
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
///
/// # Errors
/// Those of the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
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
    fn a_folder_below_a_regular_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write_whole(&file.join("table.csv"), b"").unwrap_err().to_string();
        assert!(message.contains("cannot create"), "{message}");
    }
}
