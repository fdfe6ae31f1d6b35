//! How a results folder comes to be: written into a sibling, put in its place whole.
//!
//! ```text
//! DIR                     what was there, untouched until the new results are complete
//! DIR.partial/            the new results as they grow; taken away by the next run into DIR
//! DIR.partial/unfinished/ what it is going to be, and what measured runs have shown so far
//! .DIR.lock               held by the process that writes
//! ```
//!
//! The sibling changes places with `DIR` in one step (`renameat2` with `RENAME_EXCHANGE`; macOS has
//! the like), and what was there is then deleted. Where a file system lacks that step there are
//! two, and `.DIR.previous` between them: whoever finds it without `DIR` puts it back.
//!
//! A folder is taken over only if it is empty, or has a manifest of the same experiment and
//! executor. Files in it that no run or report wrote are carried over.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::is_figure;
use super::manifest::Manifest;
use super::predictions::PREDICTIONS_FILE;
use crate::error::{Error, Result};
use crate::files::{Lock, sync_folder};

/// The measures of each seed, packed: nobody reads its lines one by one.
pub const SEEDS_FILE: &str = "seeds.csv.gz";
/// The same as older folders have it.
pub(crate) const OLDER_SEEDS_FILE: &str = "seeds.csv";
/// What a draft has beside results.
const UNFINISHED: &str = "unfinished";
/// What the name of a folder in which figures are being drawn starts with.
pub(super) const FIGURES_UNDER_WAY: &str = ".figures-";
/// Files of any results folder, figures aside.
const FILES: [&str; 11] = [
    "manifest.toml",
    "metrics.csv",
    SEEDS_FILE,
    OLDER_SEEDS_FILE,
    "paired.csv",
    "failures.csv",
    PREDICTIONS_FILE,
    "sweep.csv",
    "peak.csv",
    "standalone.csv",
    "report.html",
];
/// Folders with a file per run; the second as older runs have it.
const RUN_FOLDERS: [&str; 2] = ["outcomes", "predictions"];

/// A results folder that is being written.
#[derive(Debug)]
pub struct Draft {
    out: PathBuf,
    folder: PathBuf,
    /// Rather kept than taken away if it is not finished: it took long.
    is_precious: bool,
    is_finished: bool,
    replaces: bool,
    _lock: Lock,
}

impl Draft {
    /// Claims the results folder `out` for what `manifest` says, and starts a draft of it, or goes
    /// on with the draft of a measured run that ended early. `force` replaces results of another
    /// experiment or executor, and the rest of another run.
    ///
    /// # Errors
    /// If `out` is no folder, or one that another process writes or that is not to be replaced.
    pub fn start(out: &Path, manifest: &Manifest, force: bool) -> Result<Self> {
        let out = place(out)?;
        let lock = Lock::acquire(&out, "the results folder")?;
        put_back(&out)?;
        if let Some(old) = claimed(&out)? {
            if !force {
                check_same(&out, &old, manifest)?;
            }
            remove_if_there(&out.join(UNFINISHED))?;
        }
        let folder = sibling(&out, "", ".partial");
        clear(&folder, manifest, force)?;
        let draft = Self {
            is_precious: manifest.is_measured(),
            is_finished: false,
            replaces: fs::symlink_metadata(&out).is_ok(),
            out,
            folder,
            _lock: lock,
        };
        manifest.save(&draft.folder.join(UNFINISHED))?;
        Ok(draft)
    }

    /// Where to write.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file in which a measured run keeps what it showed, for the next attempt; `run` is its
    /// place in a folder with a file per run.
    #[must_use]
    pub fn kept(&self, run: &Path) -> PathBuf {
        self.folder.join(UNFINISHED).join(run).with_extension("toml")
    }

    fn has_kept_runs(&self) -> bool {
        fs::read_dir(self.folder.join(UNFINISHED)).is_ok_and(|entries| entries.count() > 1)
    }

    /// Puts the folder, which has its manifest, in its place.
    ///
    /// Results with failures do not replace whole ones: they are put beside them, as `DIR.failed`,
    /// which is returned.
    ///
    /// # Errors
    /// If a file cannot be written or the folder cannot be put there.
    pub fn finish(mut self) -> Result<Option<PathBuf>> {
        let has_failures = self.folder.join("failures.csv").exists();
        let was_whole = self.replaces
            && Manifest::path(&self.out).exists()
            && !self.out.join("failures.csv").exists();
        let place = if has_failures && was_whole {
            let aside = sibling(&self.out, "", ".failed");
            claimed(&aside)?;
            remove_if_there(&aside.join(UNFINISHED))?;
            aside
        } else {
            self.out.clone()
        };
        if place.exists() {
            carry_over(&place, &self.folder)?;
            let permissions = fs::metadata(&place).map(|found| found.permissions());
            let given = permissions.and_then(|found| fs::set_permissions(&self.folder, found));
            given.map_err(|error| Error::io(&self.folder, "cannot change", error))?;
        }
        // What a measured run has shown is kept until its results are in their place. A simulated
        // one is run again instead, and no reader finds its mark, whatever kills the process.
        if !self.is_precious {
            remove_if_there(&self.folder.join(UNFINISHED))?;
        }
        sync(&self.folder)?;
        {
            let _lock = lock_place(&place)?;
            exchange(&self.folder, &place)?;
        }
        self.is_finished = true;
        remove_if_there(&place.join(UNFINISHED))?;
        remove_ours(&self.folder)?;
        Ok(Some(place).filter(|place| *place != self.out))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let is_kept = self.is_finished || self.is_precious && self.has_kept_runs();
        if !is_kept {
            // A failure here must not hide the one that led here; the next run cleans up.
            let _ = remove_ours(&self.folder);
        }
    }
}

/// `out` as a path that can be renamed: a link's target, a name instead of `..`.
fn place(out: &Path) -> Result<PathBuf> {
    let found = match fs::symlink_metadata(out) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = parent(out);
            fs::create_dir_all(parent).map_err(|error| Error::io(out, "cannot create", error))?;
            return Ok(out.to_owned());
        }
        Err(error) => return Err(Error::io(out, "cannot create", error)),
    };
    let path = if found.is_symlink() || out.file_name().is_none() {
        fs::canonicalize(out).map_err(|error| Error::io(out, "cannot follow", error))?
    } else {
        out.to_owned()
    };
    if !path.is_dir() {
        return Err(Error::file(out, "is no folder").allowed("a results folder, or a new name"));
    }
    check_movable(&path)?;
    Ok(path)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Refuses a folder that cannot change places with another: where a file system is mounted, and
/// where this process, hence a shell, stands.
fn check_movable(path: &Path) -> Result<()> {
    let wrong = |error| Error::io(path, "cannot read", error);
    let whole = fs::canonicalize(path).map_err(wrong)?;
    let stands_in = std::env::current_dir().is_ok_and(|current| current.starts_with(&whole));
    let fixed = stands_in || is_mounted(&whole).map_err(wrong)?;
    if !fixed {
        return Ok(());
    }
    let what =
        if stands_in { "the current folder, or above it" } else { "where a disk is mounted" };
    Err(Error::file(path, "cannot be replaced as a whole")
        .found(what)
        .allowed("a folder inside it"))
}

#[cfg(unix)]
fn is_mounted(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let Some(parent) = path.parent() else { return Ok(true) };
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

#[cfg(not(unix))]
fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(path.parent().is_none())
}

/// `PREFIX NAME SUFFIX` beside `out`.
fn sibling(out: &Path, prefix: &str, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(prefix);
    name.push(out.file_name().unwrap_or_default());
    name.push(suffix);
    out.with_file_name(name)
}

/// The manifest of `out`; `None` if nothing is there or the folder is empty.
fn claimed(out: &Path) -> Result<Option<Manifest>> {
    if is_empty_or_absent(out)? {
        return Ok(None);
    }
    Manifest::load(out).map(Some).map_err(|cause| {
        let error = Error::file(out, "holds files and is no results folder of Pliant");
        error.allowed("a new or empty folder, or one with results").caused_by(cause)
    })
}

fn is_empty_or_absent(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io(folder, "cannot read", error)),
    }
}

/// Refuses to replace `old` results by those of another experiment or executor.
fn check_same(out: &Path, old: &Manifest, new: &Manifest) -> Result<()> {
    if old.kind() == new.kind() {
        return Ok(());
    }
    Err(Error::file(out, "holds other results")
        .found(old.kind())
        .allowed(format!("{}; another folder, or --force to replace them", new.kind())))
}

/// Makes `folder` an empty draft, or one of the same measured run.
fn clear(folder: &Path, manifest: &Manifest, force: bool) -> Result<()> {
    let unfinished = folder.join(UNFINISHED);
    match Manifest::load(&unfinished) {
        Ok(started) if started == *manifest && started.is_measured() => return Ok(()),
        Ok(started) if started.is_measured() && !force => {
            return Err(Error::file(folder, "the rest of another measured run is in the way")
                .found(format!("{}, with other inputs or another program", started.kind()))
                .allowed("the same run again, to finish it; or --force to drop it"));
        }
        Ok(_) => {}
        Err(_) if unfinished.is_dir() => {}
        Err(_) => drop(claimed(folder)?),
    }
    remove_ours(folder)
}

/// Takes away a draft, or results that were replaced; what tells them apart from other people's
/// folders goes last, so that this can be interrupted.
fn remove_ours(folder: &Path) -> Result<()> {
    let wrong = |error| Error::io(folder, "cannot remove", error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(error)),
    };
    let names: Vec<_> =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(wrong)?;
    let is_mark = |name: &&std::ffi::OsString| **name == *UNFINISHED || **name == *FILES[0];
    let (marks, others): (Vec<_>, Vec<_>) = names.iter().partition(is_mark);
    for name in others.into_iter().chain(marks) {
        remove_if_there(&folder.join(name))?;
    }
    fs::remove_dir(folder).map_err(wrong)
}

fn remove_if_there(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "cannot remove", error))
        }
        _ => Ok(()),
    }
}

/// Links everything of `old` that no run or report wrote into `new`, at the same place. Where `new`
/// has a file of its own the old one gets a name that ends in `.kept`.
fn carry_over(old: &Path, new: &Path) -> Result<()> {
    let drawn = Manifest::load(old).ok().map(|manifest| manifest.drawn);
    let Some(drawn) = drawn else { return Ok(()) };
    let drawn = drawn.map(|names| names.into_iter().collect::<BTreeSet<String>>());
    for path in files_below(old)? {
        let place = path.strip_prefix(old).expect("it is below the folder");
        if is_ours(old, place, drawn.as_ref()) {
            continue;
        }
        let mut to = new.join(place);
        while fs::symlink_metadata(&to).is_ok() {
            to.as_mut_os_string().push(".kept");
        }
        let folder = parent(&to);
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, "cannot create", error))?;
        let linked = fs::hard_link(&path, &to).or_else(|_| fs::copy(&path, &to).map(drop));
        linked.map_err(|error| Error::io(&to, "cannot carry over", error))?;
    }
    Ok(())
}

/// Everything below `folder` that is no folder.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |error| Error::io(folder, "cannot read", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if entry.file_type().map_err(wrong)?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a run or report wrote the file at `place` in the results folder `folder`, for which
/// figures were `drawn`; an older manifest does not say which.
fn is_ours(folder: &Path, place: &Path, drawn: Option<&BTreeSet<String>>) -> bool {
    let names = place.components().map(|part| part.as_os_str().to_str());
    let Some(names) = names.collect::<Option<Vec<&str>>>() else {
        return false;
    };
    match (names.as_slice(), drawn) {
        ([first, ..], _) if *first == UNFINISHED || first.starts_with(FIGURES_UNDER_WAY) => true,
        ([name], _) if FILES.contains(name) => true,
        ([name], Some(drawn)) => drawn.contains(*name),
        ([name], None) => is_figure(folder, name),
        ([runs, _, name], _) if RUN_FOLDERS.contains(runs) => is_run_file(name),
        _ => false,
    }
}

/// Whether `name` is that of a run's file: `…_seed7.csv`, perhaps with `.partial`.
fn is_run_file(name: &str) -> bool {
    let name = name.strip_suffix(".partial").unwrap_or(name);
    let seed = name.strip_suffix(".csv").and_then(|name| name.rsplit_once("_seed"));
    seed.is_some_and(|(_, seed)| seed.parse::<u64>().is_ok())
}

/// Sees that `folder` and everything in it is on the disk.
fn sync(folder: &Path) -> Result<()> {
    let mut folders = BTreeSet::from([folder.to_owned()]);
    let files = files_below(folder)?;
    for path in &files {
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(folder));
        folders.extend(above.map(Path::to_owned));
    }
    let regular = files.into_iter().filter(|path| path.is_file());
    for path in regular {
        let synced = fs::File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::io(&path, "cannot write", error))?;
    }
    folders.into_iter().try_for_each(|path| {
        sync_folder(&path).map_err(|error| Error::io(&path, "cannot write", error))
    })
}

/// Puts `new` at `place`, and what was there, if anything, where `new` was.
fn exchange(new: &Path, place: &Path) -> Result<()> {
    let wrong = |error| Error::io(place, "cannot be put in place", error);
    // Nothing there, or an empty folder: one step everywhere.
    if fs::rename(new, place).is_err() && !swap(new, place) {
        let previous = sibling(place, ".", ".previous");
        fs::rename(place, &previous).map_err(wrong)?;
        fs::rename(new, place).map_err(wrong)?;
        fs::rename(&previous, new).map_err(wrong)?;
    }
    sync_folder(parent(place)).map_err(wrong)
}

/// Lets two folders change places in one step; false where that cannot be done.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn swap(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn swap(_one: &Path, _other: &Path) -> bool {
    false
}

/// Held while what is at `folder` is changed from the outside, or changes places.
pub(super) fn lock_place(folder: &Path) -> Result<Lock> {
    Lock::wait(&sibling(folder, "", ".partial"), |_| {})
}

/// Puts back what a process moved away from `out` and could not replace.
fn put_back(out: &Path) -> Result<()> {
    let previous = sibling(out, ".", ".previous");
    if !previous.exists() {
        return Ok(());
    }
    if out.exists() {
        return remove_ours(&previous);
    }
    fs::rename(&previous, out).map_err(|error| Error::io(out, "cannot be put back", error))
}
