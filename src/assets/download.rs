//! Downloads one wheel with pip: the one way through any proxy or mirror that a user has set up.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::table::Spec;
use crate::digest;
use crate::error::{Error, Result};

/// Attempts to download a wheel before giving up.
pub(super) const ATTEMPTS: u32 = 3;

/// How often a running download is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Why a download failed, and whether another attempt is pointless.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    pub hopeless: bool,
}

/// The program that downloads: `pip` with its leading arguments.
#[derive(Debug, Clone)]
pub(super) struct Pip {
    pub command: Vec<OsString>,
}

impl Pip {
    /// pip of the Python in `PLIANT_PYTHON`, or of `python3`.
    pub fn of_user() -> Self {
        let python = std::env::var_os("PLIANT_PYTHON").unwrap_or_else(|| "python3".into());
        Self { command: vec![python, "-m".into(), "pip".into()] }
    }

    /// Downloads the wheel of `spec` into the empty folder `temp` and checks its hash.
    ///
    /// `received` is called now and then with the bytes that have come so far. pip's own temporary
    /// files go into `temp` as well. `fresh` keeps pip from answering out of its cache.
    pub fn download(
        &self,
        spec: &Spec,
        temp: &Path,
        fresh: bool,
        received: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, Failure> {
        let log = temp.join("pip.log");
        let io = |action: &'static str| {
            let log = log.clone();
            move |error| Failure { error: Error::io(&log, action, error), hopeless: true }
        };
        let output = File::create(&log).map_err(io("cannot write"))?;
        let errors = output.try_clone().map_err(io("cannot write"))?;
        let mut child = self
            .arguments(spec, temp, fresh)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let status = loop {
            match child.try_wait().map_err(io("cannot wait for pip, which writes"))? {
                Some(status) => break status,
                None => std::thread::sleep(POLL),
            }
            received(bytes_under(temp).min(spec.wheel_bytes));
        };
        let said = fs::read_to_string(&log).unwrap_or_default();
        if !status.success() {
            return Err(Self::failed(spec, &said));
        }
        let wheel = temp.join(spec.wheel);
        check(spec, &wheel).map_err(|error| Failure { error, hopeless: false })?;
        Ok(wheel)
    }

    fn arguments(&self, spec: &Spec, temp: &Path, fresh: bool) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(["download", "--no-deps", "--only-binary=:all:"]);
        // Pretending one Python makes every wheel acceptable, whichever Python runs pip.
        command.args(["--python-version", "3.11"]);
        if let Some((tag, ..)) = spec.platform {
            command.args(["--implementation", "cp", "--abi", "cp311", "--platform", tag]);
        }
        command.args(["--quiet", "--no-input", "--disable-pip-version-check"]);
        if fresh {
            command.arg("--no-cache-dir");
        }
        command.arg("--dest").arg(temp).arg(format!("{}=={}", spec.name, spec.version));
        command.env("TMPDIR", temp);
        command
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        let python = self.command[0].to_string_lossy().into_owned();
        let problem = if error.kind() == ErrorKind::NotFound {
            "no such program (set PLIANT_PYTHON to a Python that has pip)".to_owned()
        } else {
            format!("cannot be started: {error}")
        };
        Failure { error: Error::new(python, problem), hopeless: true }
    }

    fn failed(spec: &Spec, said: &str) -> Failure {
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        let what = format!("cannot download {} {}", spec.name, spec.version);
        let error = Error::new("pip", what).found(format!("\"{}\"", last.trim()));
        Failure { error, hopeless: said.contains("No module named pip") }
    }
}

/// # Errors
/// If `wheel` cannot be read or its hash is not the one that `spec` pins.
pub(super) fn check(spec: &Spec, wheel: &Path) -> Result<()> {
    let sha256 = digest::sha256_file(wheel)?;
    if sha256 != spec.sha256 {
        return Err(Error::file(wheel, "wrong sha256").found(sha256).allowed(spec.sha256));
    }
    Ok(())
}

/// The size of all files in `folder` and below; what vanishes meanwhile counts nothing.
fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
