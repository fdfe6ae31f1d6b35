//! Where profiles lie: the one place that knows the names of their folders and files.

use std::path::{Path, PathBuf};

/// A folder of profiles, such as the repository's `device-profiles/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiles(PathBuf);

impl Default for Profiles {
    /// `device-profiles/` of the working directory.
    fn default() -> Self {
        Self::at("device-profiles")
    }
}

impl Profiles {
    /// Profiles in the folder `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The device's folder, with its `device.toml`.
    #[must_use]
    pub fn device(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder of all models' answers.
    #[must_use]
    pub fn quality(&self) -> PathBuf {
        self.0.join("quality")
    }

    /// The folder of a model's answers; [`AnswerFiles`] names what is in it.
    #[must_use]
    pub fn answers(&self, base_model: &str) -> PathBuf {
        self.quality().join(base_model)
    }

    /// The folder of a model's elastification manifests.
    #[must_use]
    pub fn elastic(&self, base_model: &str) -> PathBuf {
        self.0.join("elastic").join(base_model)
    }

    /// The folder of the trained weights that the project ships, those of all models.
    #[must_use]
    pub fn weights(&self) -> PathBuf {
        self.0.join("weights")
    }

    /// The folder of a model's heads of the tiny language model.
    #[must_use]
    pub fn tlm(&self, base_model: &str) -> PathBuf {
        self.elastic(base_model).join("tlm")
    }

    /// Where a model's decision-head is written.
    #[must_use]
    pub fn decision_head(&self, base_model: &str, name: &str) -> PathBuf {
        self.tlm(base_model).join(format!("{name}.decision-head.safetensors"))
    }
}

const LENGTHS: &str = ".tokens.csv";

/// Names of the files in the folder of one model's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFiles<'a>(pub &'a Path);

impl AnswerFiles<'_> {
    /// Grades of answers to prompts that `compressor` cut, all families of sub-models together.
    #[must_use]
    pub fn grades(self, compressor: &str) -> PathBuf {
        self.0.join(format!("{compressor}.csv"))
    }

    /// What else the scorer saw of them, packed.
    #[must_use]
    pub fn scores(self, compressor: &str) -> PathBuf {
        self.0.join(format!("{compressor}.scores.csv.gz"))
    }

    /// How they were made.
    #[must_use]
    pub fn manifest(self, compressor: &str) -> PathBuf {
        self.0.join(format!("{compressor}.json"))
    }

    /// Rows of `family` that a measurement has not put into the table yet.
    #[must_use]
    pub fn log(self, compressor: &str, family: &str) -> PathBuf {
        self.0.join(format!("{compressor}.{family}.log.csv"))
    }

    /// How long prompts are that `compressor` cut.
    #[must_use]
    pub fn lengths(self, compressor: &str) -> PathBuf {
        self.0.join(format!("{compressor}{LENGTHS}"))
    }

    /// What decision-heads of a kind (`soft`, `hard`) answered, packed.
    #[must_use]
    pub fn decisions(self, kind: &str) -> PathBuf {
        self.0.join(format!("decisions.{kind}.csv.gz"))
    }

    /// How decisions were made.
    #[must_use]
    pub fn decisions_manifest(self) -> PathBuf {
        self.0.join("decisions.json")
    }

    /// Compressors with grades in the folder, sorted; none if there is no such folder.
    #[must_use]
    pub fn compressors(self) -> Vec<String> {
        let files = std::fs::read_dir(self.0).into_iter().flatten().flatten();
        let name = |file: std::fs::DirEntry| {
            let name = file.file_name();
            let stem = name.to_str()?.strip_suffix(".csv")?;
            (!stem.contains('.')).then(|| stem.to_owned())
        };
        let mut names: Vec<String> = files.filter_map(name).collect();
        names.sort();
        names
    }
}
