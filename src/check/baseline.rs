//! A baseline in git's object store: a results folder as it was at a commit, read through `git`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::results::RunResults;
use crate::error::{Error, Result};
use crate::metrics::CellLabel;
use crate::results::{OLDER_SEEDS_FILE, SEEDS_FILE, StoredRun};

/// What a `--baseline` that names a commit starts with.
const PREFIX: &str = "git:";

/// Where a baseline is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Baseline {
    /// A `metrics.csv`.
    File(PathBuf),
    /// A results folder at a commit.
    Commit {
        /// Commit, branch or tag.
        reference: String,
        /// The folder, from the working directory; by default `results/` and the experiment's name.
        folder: Option<PathBuf>,
    },
}

impl From<&str> for Baseline {
    /// A path, or `git:REF`, or `git:REF:FOLDER`.
    fn from(text: &str) -> Self {
        let Some(rest) = text.strip_prefix(PREFIX) else { return Self::File(text.into()) };
        let (reference, folder) = match rest.split_once(':') {
            Some((reference, folder)) => (reference, Some(folder.into())),
            None => (rest, None),
        };
        Self::Commit { reference: reference.to_owned(), folder }
    }
}

impl Baseline {
    /// Reads it, for a run of `experiment`.
    ///
    /// # Errors
    /// If there is no such file or commit, git cannot be asked, or a file is bad.
    pub fn load(&self, experiment: &str) -> Result<RunResults> {
        match self {
            Self::File(metrics) => RunResults::load(metrics),
            Self::Commit { reference, folder } => {
                let default = || Path::new("results").join(experiment);
                load_at(reference, &folder.clone().unwrap_or_else(default))
            }
        }
    }
}

fn load_at(reference: &str, folder: &Path) -> Result<RunResults> {
    let commit = format!("{reference}^{{commit}}");
    git(&["rev-parse", "--quiet", "--verify", "--end-of-options", &commit]).map_err(|error| {
        error.found(format!("{PREFIX}{reference}")).allowed(
            "a commit, branch or tag that this clone has; a shallow one gets it by `git fetch \
             --depth 1 origin REF`",
        )
    })?;
    let copy = tempfile::tempdir().map_err(|error| Error::io(folder, "cannot copy", error))?;
    for names in [&["metrics.csv"][..], &[SEEDS_FILE, OLDER_SEEDS_FILE], &["manifest.toml"]] {
        copy_at(reference, folder, names, copy.path())?;
    }
    let there = format!("{PREFIX}{reference}:{}", folder.display());
    let mut results = RunResults::load(&copy.path().join("metrics.csv")).map_err(|error| {
        let found = error.to_string().replace(&copy.path().display().to_string(), &there);
        Error::new("--baseline", found)
    })?;
    results.path = folder.join("metrics.csv");
    results.name = format!("{there}/metrics.csv");
    results.commit = Some(reference.to_owned());
    Ok(results)
}

/// Copies to the folder `to` the first of `names` that `folder` has at the commit.
fn copy_at(reference: &str, folder: &Path, names: &[&str], to: &Path) -> Result<()> {
    let read = |name: &&str| {
        let path = folder.join(name);
        // From the working directory, not from the root of the repository.
        let object = if path.is_absolute() { path.clone() } else { Path::new(".").join(&path) };
        let object = format!("{reference}:{}", object.display());
        let bytes = git(&["show", "--end-of-options", &object])
            .map_err(|error| error.found(format!("{PREFIX}{reference}:{}", path.display())))?;
        let path = to.join(name);
        std::fs::write(&path, bytes).map_err(|error| Error::io(&path, "cannot write", error))
    };
    let last = names.len() - 1;
    names[..last].iter().map(read).find(Result::is_ok).unwrap_or_else(|| read(&names[last]))
}

/// The runs of the cell `label` whose outcomes the results folder `folder` keeps at the commit
/// `reference`: none, mostly.
///
/// # Errors
/// If git cannot be asked, or a file is bad.
pub(super) fn outcomes_at(
    reference: &str,
    folder: &Path,
    label: &CellLabel,
) -> Result<Vec<StoredRun>> {
    let copy = tempfile::tempdir().map_err(|error| Error::io(folder, "cannot copy", error))?;
    let unwritable = |error| Error::io(copy.path(), "cannot write", error);
    std::fs::create_dir(copy.path().join(&label.method)).map_err(unwritable)?;
    // From the working directory, as the names that git lists are, too.
    let place = format!("./{}/", folder.join("outcomes").join(&label.method).display());
    let listed = git(&["ls-tree", "--name-only", "-z", reference, "--", &place])?;
    let listed = String::from_utf8_lossy(&listed);
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let name = Path::new(path).file_name().unwrap_or_default();
        let bytes = git(&["show", "--end-of-options", &format!("{reference}:./{path}")])?;
        std::fs::write(copy.path().join(&label.method).join(name), bytes).map_err(unwritable)?;
    }
    StoredRun::load_all(copy.path(), label)
}

/// What `git` prints.
fn git(arguments: &[&str]) -> Result<Vec<u8>> {
    let failed = |problem: &str| Error::new("--baseline", problem);
    let output = Command::new("git")
        .args(arguments)
        .output()
        .map_err(|error| failed("git cannot be run").caused_by(error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
    Err(failed(if said.is_empty() { "no such commit" } else { said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_a_file_a_commit_or_a_folder_at_one() {
        let commit = |reference: &str, folder: Option<&str>| Baseline::Commit {
            reference: reference.to_owned(),
            folder: folder.map(Into::into),
        };
        assert_eq!(Baseline::from("a/metrics.csv"), Baseline::File("a/metrics.csv".into()));
        assert_eq!(Baseline::from("git:origin/main"), commit("origin/main", None));
        assert_eq!(Baseline::from("git:HEAD~1:a/b"), commit("HEAD~1", Some("a/b")));
    }
}
