//! Files under a passing name, and what becomes of those whose process was killed.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::lock::is_at;
use super::{create_folder_of, sync_folder};
use crate::error::{Error, Result};

/// What the passing names begin and end with.
const PREFIX: &str = ".pliant-";
const SUFFIX: &str = ".tmp";

/// The folders that this process has swept.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A new empty file beside `path`, to be filled and [put in its place](place); it is gone when it
/// is dropped before that. The folder is made, and what killed processes left in it is removed.
///
/// # Errors
/// If the folder cannot be created or written.
pub fn scratch(path: &Path) -> Result<NamedTempFile> {
    let folder = create_folder_of(path)?;
    sweep(folder);
    loop {
        let file = named(folder).map_err(|error| Error::io(path, "cannot write", error))?;
        // The lock tells other processes that its owner lives. One that sweeps may have come first:
        // then the file is as good as gone.
        let is_swept = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_swept && is_at(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// Gives `scratch` the name `path`, once its bytes are on the disk.
///
/// # Errors
/// If they cannot be brought there, or the file cannot be renamed.
pub fn place(scratch: NamedTempFile, path: &Path) -> Result<()> {
    let wrong = |error| Error::io(path, "cannot write", error);
    scratch.as_file().sync_all().map_err(wrong)?;
    place_unsynced(scratch, path)?;
    sync_folder(create_folder_of(path)?).map_err(wrong)
}

/// The same for what a crash of the machine may damage.
pub(super) fn place_unsynced(scratch: NamedTempFile, path: &Path) -> Result<()> {
    let wrong = |error: tempfile::PersistError| Error::io(path, "cannot write", error.error);
    scratch.persist(path).map_err(wrong)?;
    Ok(())
}

/// Temporary files are private by default; results are not.
fn named(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)
}

/// Removes from `folder` what processes left that no longer live, the first time that this one
/// writes there. What cannot be removed does no harm.
fn sweep(folder: &Path) {
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.insert(folder.to_owned()) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let file = File::options().write(true).open(entry.path());
            if file.as_ref().is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(".pliant-aBcDeF.tmp");
        let (foreign, mine) = (folder.path().join(".pliant-notes"), folder.path().join("t.tmp"));
        for path in [&dead, &foreign, &mine] {
            fs::write(path, "left").unwrap();
        }
        let living = scratch(&folder.path().join("table.csv")).unwrap();
        assert!(!dead.exists());
        fs::write(&dead, "left again").unwrap();
        // As another process would.
        SWEPT.lock().unwrap().remove(folder.path());
        drop(scratch(&folder.path().join("other.csv")).unwrap());
        assert!(!dead.exists());
        assert!(living.path().exists() && foreign.exists() && mine.exists());
        place(living, &folder.path().join("table.csv")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
