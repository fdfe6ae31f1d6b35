//! What a results folder holds: its rows, what it was made from, and the outcomes that were kept.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::draft::{FIGURES_UNDER_WAY, OLDER_SEEDS_FILE, SEEDS_FILE, lock_place};
use super::failures::Failure;
use super::manifest::Manifest;
use super::stored_run::StoredRun;
use crate::error::{Error, Result};
use crate::metrics::{MetricsRow, PairedRow, read_metrics_csv, read_paired_csv, read_rows};

/// The file of the results folder `folder` that has the measures of each seed.
#[must_use]
pub fn seeds_file(folder: &Path) -> PathBuf {
    let older = folder.join(OLDER_SEEDS_FILE);
    let file = folder.join(SEEDS_FILE);
    if older.is_file() && !file.is_file() { older } else { file }
}

/// A results folder, read and checked.
#[derive(Debug, Clone)]
pub struct ResultsFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its `manifest.toml`.
    pub manifest: Manifest,
    /// Its `metrics.csv`.
    pub rows: Vec<MetricsRow>,
    /// Its `paired.csv`; empty without one.
    pub pairs: Vec<PairedRow>,
    /// Its `failures.csv`; empty without one.
    pub failures: Vec<Failure>,
}

impl ResultsFolder {
    /// Reads the folder `path`, but for its outcomes.
    ///
    /// A folder of figures alone has no `metrics.csv`.
    ///
    /// # Errors
    /// If a file is missing or bad.
    pub fn load(path: &Path) -> Result<Self> {
        let mut manifest = Manifest::load(path)?;
        loop {
            let found = Self::read(path, manifest)?;
            // Another run may have put its own folder here meanwhile.
            manifest = Manifest::load(path)?;
            if manifest == found.manifest {
                return Ok(found);
            }
        }
    }

    fn read(path: &Path, manifest: Manifest) -> Result<Self> {
        let file = |name: &str| path.join(name);
        let if_there = |name: &str| Some(file(name)).filter(|file| file.exists());
        let is_figures_alone =
            manifest.figures.as_ref().is_some_and(|figures| !figures.asked.is_empty());
        let rows = match if_there("metrics.csv") {
            None if is_figures_alone => Vec::new(),
            _ => read_metrics_csv(&file("metrics.csv"))?,
        };
        let pairs = if_there("paired.csv").map_or(Ok(Vec::new()), |file| read_paired_csv(&file))?;
        let failures = if_there("failures.csv").map_or(Ok(Vec::new()), |file| read_rows(&file))?;
        Ok(Self { path: path.to_owned(), manifest, rows, pairs, failures })
    }

    /// The text of its `manifest.toml`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn manifest_text(&self) -> Result<String> {
        let path = Manifest::path(&self.path);
        fs::read_to_string(&path).map_err(|error| Error::io(&path, "cannot read", error))
    }

    /// The runs whose outcomes were kept, in the order of the rows, then of seeds.
    ///
    /// # Errors
    /// If a file of outcomes is bad.
    pub fn runs(&self) -> Result<Vec<StoredRun>> {
        let outcomes = self.path.join("outcomes");
        let of_row = |row: &MetricsRow| StoredRun::load_all(&outcomes, &row.label);
        let runs: Vec<Vec<StoredRun>> = self.rows.iter().map(of_row).collect::<Result<_>>()?;
        Ok(runs.into_iter().flatten().collect())
    }
}

/// Lets `draw` draw into an empty folder, then puts what it drew into the results folder `folder`
/// and notes the names in its manifest, which has to be `manifest` still.
///
/// # Errors
/// Those of `draw`, if a file cannot be written, or if other results have taken the folder's place.
pub fn add_figures<T>(
    folder: &Path,
    manifest: &Manifest,
    draw: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let wrong = |error| Error::io(folder, "cannot write", error);
    let scratch = tempfile::Builder::new().prefix(FIGURES_UNDER_WAY).tempdir_in(folder);
    let scratch = scratch.map_err(wrong)?;
    let shown = draw(scratch.path())?;
    let _lock = lock_place(folder)?;
    if Manifest::load(folder)? != *manifest {
        let error = Error::file(folder, "other results were put here meanwhile");
        return Err(error.allowed("the same command once more"));
    }
    let mut drawn: BTreeSet<String> = match &manifest.drawn {
        Some(drawn) => drawn.iter().cloned().collect(),
        None => figures_in(folder).map_err(wrong)?,
    };
    for entry in fs::read_dir(scratch.path()).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        fs::rename(entry.path(), folder.join(entry.file_name())).map_err(wrong)?;
        drawn.insert(entry.file_name().to_string_lossy().into_owned());
    }
    let drawn = Some(drawn.into_iter().collect());
    if drawn != manifest.drawn {
        Manifest { drawn, ..manifest.clone() }.save(folder)?;
    }
    Ok(shown)
}

/// What looks like a figure in a folder whose manifest does not say which were drawn.
fn figures_in(folder: &Path) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let names = names.iter().map(|name| name.to_string_lossy());
    Ok(names.filter(|name| is_figure(folder, name)).map(Cow::into_owned).collect())
}

/// Whether `name` is that of a picture, or of a table beside a picture of the same name.
pub(super) fn is_figure(folder: &Path, name: &str) -> bool {
    let is = |ending: &str| name.ends_with(ending);
    is(".svg") || is(".png") || is(".csv") && folder.join(name).with_extension("svg").exists()
}
