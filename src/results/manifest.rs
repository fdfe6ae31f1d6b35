//! What a results folder was made from: enough to make it again, and nothing of the machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::figures::FigureInputs;
use crate::digest::sha256_file;
use crate::error::{Error, Result};
use crate::files;
use crate::input::read_toml;
use crate::sim::ServiceOptions;

/// The executor's name in manifests of simulated runs.
pub const SIMULATED: &str = "cost-model";

/// `manifest.toml`: the same for the same commit, inputs and seeds.
///
/// A folder is of ours if this can be read from it. What an older one does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the experiment.
    pub experiment: String,
    /// What it shows, in a sentence; empty in older ones.
    #[serde(default)]
    pub description: String,
    /// Version of the program.
    #[serde(default)]
    pub pliant: String,
    /// Its commit; absent outside a checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the program's sources differ from the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources_modified: Option<bool>,
    /// Who answered: [`SIMULATED`], or the name of an engine.
    pub executor: String,
    /// Seed of the first replication.
    #[serde(default)]
    pub first_seed: u64,
    /// How many replications.
    #[serde(default)]
    pub seeds: u32,
    /// The rule that tells items to replay from those to estimate with.
    #[serde(default)]
    pub split: String,
    /// Which items are replayed.
    #[serde(default, skip_serializing_if = "AnsweredItems::is_whole")]
    pub answers: AnsweredItems,
    /// What a reader should know of the traces, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Files that figures were drawn into, by name; an older manifest does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Vec<String>>,
    /// How the service treated the requests.
    #[serde(default)]
    pub service: ServiceOptions,
    /// What the executor says of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runtime: BTreeMap<String, String>,
    /// How many items synthesised traces draw from, by dataset: those of the replay half that
    /// every method has all answers to, or all those asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, usize>,
    /// SHA-256 of every input file, by its path as the experiment states it.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// What figures show; absent in a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<FigureInputs>,
    /// What a sweep went over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<toml::Table>,
    /// What was asked of a search for peaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<toml::Table>,
}

/// Which items are replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnsweredItems {
    /// Those with answers to every plan in every method's quality table.
    #[default]
    Whole,
    /// All of known prompt length: of each, the answers that methods ask for were measured, by
    /// `pliant profile asked`. A plan without an answer ends the run with an error.
    Asked,
}

impl AnsweredItems {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// What became of an input file since the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputNow {
    /// It is as the run read it.
    Same,
    /// It was edited, or measured again.
    Changed,
    /// It is not where the run found it.
    Absent,
}

impl Manifest {
    /// The manifest's file in the results folder `folder`.
    #[must_use]
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("manifest.toml")
    }

    /// Reads the manifest of the results folder `folder`.
    ///
    /// # Errors
    /// If the file cannot be read or is no manifest.
    pub fn load(folder: &Path) -> Result<Self> {
        read_toml(&Self::path(folder))
    }

    /// Writes the manifest into the folder `folder`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = Self::path(folder);
        let text = toml::to_string(self)
            .map_err(|cause| Error::file(&path, "cannot be written as TOML").caused_by(cause))?;
        files::write_whole(&path, text.as_bytes())
    }

    /// Whether times were really taken.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.executor != SIMULATED
    }

    /// What a folder with this manifest holds, in a few words: results of one kind replace those of
    /// the same kind.
    #[must_use]
    pub fn kind(&self) -> String {
        let what = match (&self.sweep, &self.peak) {
            (Some(_), _) => "a sweep",
            (_, Some(_)) => "peaks",
            _ => "results",
        };
        format!("{what} of {}, executor {}", self.experiment, self.executor)
    }

    /// Every input with its hash in the run and what became of it since.
    ///
    /// # Errors
    /// If an input is there and cannot be read.
    pub fn inputs_now(&self) -> Result<Vec<(&str, &str, InputNow)>> {
        let now = |(path, sha256): (&'_ String, &'_ String)| match Path::new(path) {
            file if !file.is_file() => Ok(InputNow::Absent),
            file if sha256_file(file)? == *sha256 => Ok(InputNow::Same),
            _ => Ok(InputNow::Changed),
        };
        let inputs = self.inputs.iter();
        inputs.map(|(path, sha256)| Ok((&**path, &**sha256, now((path, sha256))?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    #[test]
    fn inputs_are_compared_with_what_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("same"), "a").unwrap();
        std::fs::write(path("changed"), "b").unwrap();
        let inputs = ["absent", "changed", "same"].map(|name| (path(name), sha256(b"a")));
        let manifest = Manifest { inputs: inputs.into(), ..Manifest::default() };
        let now: Vec<InputNow> =
            manifest.inputs_now().unwrap().iter().map(|(_, _, now)| *now).collect();
        assert_eq!(now, [InputNow::Absent, InputNow::Changed, InputNow::Same]);
    }

    #[test]
    fn a_manifest_comes_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut sweep = toml::Table::new();
        sweep.insert("combine".to_owned(), "grid".into());
        let manifest = Manifest {
            experiment: "mine".to_owned(),
            executor: SIMULATED.to_owned(),
            items: BTreeMap::from([("sciq".to_owned(), 3)]),
            figures: Some(FigureInputs::default()),
            sweep: Some(sweep),
            ..Manifest::default()
        };
        manifest.save(folder.path()).unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), manifest);
    }
}
