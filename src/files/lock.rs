//! One writer at a time: a lock that names its owner and ends with it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::create_folder_of;
use crate::error::{Error, Result};

/// Longest command line that a lock names.
const COMMAND_CHARS_MAX: usize = 200;

/// How often a lock whose owner has not written its name yet is read again, and how long after.
const NAME_READS: u32 = 20;
const NAME_PAUSE: Duration = Duration::from_millis(5);

/// The right to write a file or a folder, held until it is dropped or the process ends, however it
/// ends.
///
/// `DIR/NAME` is locked by the file `DIR/.NAME.lock`. The system holds the lock and gives it up
/// with the process, so that a lock file whose owner was killed hinders nobody: the next owner
/// takes it over. What is in it, process and command line, is for the message of whoever is
/// refused.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Locks `path`, which need not exist; `what` says in a few words what it is: `the quality
    /// table`.
    ///
    /// # Errors
    /// If another process, or another part of this one, holds the lock; the error names it. If the
    /// lock file cannot be written.
    pub fn acquire(path: &Path, what: &str) -> Result<Self> {
        let lock = lock_file(path)?;
        Self::attempt(&lock)?.map_err(|owner| {
            Error::file(path, format!("{what} is being written by another process"))
                .found(owner)
                .allowed("one writer at a time; wait until it ends")
        })
    }

    /// The same, but waits while another holds it; `waiting` is told once for whom.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub fn wait(path: &Path, waiting: impl FnOnce(&str)) -> Result<Self> {
        let lock = lock_file(path)?;
        match Self::attempt(&lock)? {
            Ok(held) => return Ok(held),
            Err(owner) => waiting(&owner),
        }
        loop {
            let file = open(&lock)?;
            file.lock().map_err(|error| Error::io(&lock, "cannot lock", error))?;
            if let Some(held) = Self::own(&lock, file)? {
                return Ok(held);
            }
        }
    }

    /// The lock, or the words that name its owner.
    fn attempt(lock: &Path) -> Result<Result<Self, String>> {
        loop {
            let file = open(lock)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Err(owner(lock))),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io(lock, "cannot lock", error));
                }
            }
            if let Some(held) = Self::own(lock, file)? {
                return Ok(Ok(held));
            }
        }
    }

    /// Writes this process's name into the locked `file`. `None`: its last owner has meanwhile
    /// taken it away, and what is locked is no file that others see.
    fn own(lock: &Path, file: File) -> Result<Option<Self>> {
        if !is_at(&file, lock) {
            return Ok(None);
        }
        let mut held = Self { path: lock.to_owned(), file };
        held.sign().map_err(|error| Error::io(lock, "cannot lock", error))?;
        Ok(Some(held))
    }

    fn sign(&mut self) -> io::Result<()> {
        let command: Vec<_> = std::env::args_os().collect();
        let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        let command: String = command.join(" ").chars().take(COMMAND_CHARS_MAX).collect();
        let line = format!("process {} ({})\n", std::process::id(), plain(&command));
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(line.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still held: whoever waits for it finds that it is gone and starts
        // anew. Where two files cannot be told to be one, it stays, and the next owner takes it
        // over.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The lock file of `path`; its folder is made.
fn lock_file(path: &Path) -> Result<PathBuf> {
    // Two names of one place share one lock.
    let path = match fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => {
            fs::canonicalize(path).map_err(|error| Error::io(path, "cannot lock", error))?
        }
        _ => path.to_owned(),
    };
    let Some(name) = path.file_name() else {
        return Err(Error::file(&path, "cannot be locked").allowed("a file or folder in a folder"));
    };
    let mut lock = std::ffi::OsString::from(".");
    lock.push(name);
    lock.push(".lock");
    Ok(create_folder_of(&path)?.join(lock))
}

fn open(lock: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    options.open(lock).map_err(|error| Error::io(lock, "cannot lock", error))
}

/// Whether `path` leads to the open `file`.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: io::Result<fs::Metadata>| found.ok().map(|at| (at.dev(), at.ino()));
    let open = place(file.metadata());
    open.is_some() && open == place(fs::metadata(path))
}

/// Nothing is ever taken away here.
#[cfg(not(unix))]
pub(super) fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Who holds `lock`, in words. Some systems let nobody read a locked file.
fn owner(lock: &Path) -> String {
    for _ in 0..NAME_READS {
        let mut line = String::new();
        let read = File::open(lock).and_then(|file| file.take(4096).read_to_string(&mut line));
        match (read, line.strip_suffix('\n')) {
            (Ok(_), Some(line)) => return plain(line),
            (Ok(_), None) => thread::sleep(NAME_PAUSE),
            (Err(_), _) => break,
        }
    }
    "a process that cannot be named".to_owned()
}

/// `text` without anything that a terminal would act on.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_with_the_name_of_the_first_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("new/table.csv");
        let first = Lock::acquire(&table, "the table").unwrap();
        let message = Lock::acquire(&table, "the table").unwrap_err().to_string();
        let expected = format!(
            "{}: the table is being written by another process; found process {} (",
            table.display(),
            std::process::id()
        );
        assert!(message.starts_with(&expected), "{message}");
        drop(first);
        Lock::acquire(&table, "the table").unwrap();
        assert_eq!(fs::read_dir(table.parent().unwrap()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_lock_whose_owner_was_killed_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".table.csv.lock");
        fs::write(&left, "process 1 (pliant run a-very-long-name-that-must-not-stay)\n").unwrap();
        let _lock = Lock::acquire(&folder.path().join("table.csv"), "the table").unwrap();
        let said = fs::read_to_string(&left).unwrap();
        assert!(said.starts_with(&format!("process {} (", std::process::id())), "{said}");
        assert_eq!(said.lines().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn two_names_of_one_folder_share_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (real, other) = (folder.path().join("real"), folder.path().join("other"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &other).unwrap();
        let _lock = Lock::acquire(&real, "the folder").unwrap();
        assert!(Lock::acquire(&other, "the folder").is_err());
        assert!(Lock::acquire(&real.join("../real/."), "the folder").is_err());
    }

    /// Threads that take turns at one lock, each coming and going: never are two inside.
    #[test]
    fn of_many_that_come_and_go_one_at_a_time_holds_it() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("table.csv");
        let (inside, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::wait(&table, |_| ()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        turns.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 200);
    }
}
