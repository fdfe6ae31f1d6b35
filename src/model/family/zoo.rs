//! Family `zoo`: separately trained models, largest 100 %, each a level of the ladder by its share
//! of the largest one's parameters.
//!
//! Members share nothing but the tokenizer: prompts are cut, counted and scored in its tokens, so a
//! file with another one is refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::assets::{BaseModel, Store, base_model};
use crate::engine::gguf::Gguf;
use crate::engine::model::{ModelConfig, SubModel};
use crate::engine::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::model::open::check_sha256;
use crate::model::recorded::ModelIdentity;
use crate::units::Level;
use crate::{digest, files};

/// Which files make a zoo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooManifest {
    /// Always [`Family::Zoo`].
    pub family: Family,
    /// The command that wrote this file.
    pub command: String,
    /// Name of the largest member in profiles.
    pub base_model: String,
    /// SHA-256 of what makes the tokenizer of all members.
    pub tokenizer_sha256: String,
    /// Smallest first; the last is 100 %.
    pub members: Vec<ZooMember>,
}

/// One model of a zoo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooMember {
    /// Its parameters over the largest member's, in whole percent.
    pub level: Level,
    /// What the file calls its model.
    pub name: String,
    /// The GGUF file, relative to the manifest's folder; absent: a base model that is known by its
    /// hash, as fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// How its weights were stored.
    pub quantisation: String,
    /// Numbers in all its tensors.
    pub parameters: u64,
    /// Dimensions.
    pub config: ModelConfig,
}

impl ZooManifest {
    /// The zoo of `paths`, in any order; `None` is the one called `base_model`, as fetched. The
    /// largest is called `base_model`, or as it is known, or as its file says.
    ///
    /// # Errors
    /// If there is none, a file is no model, tokenizers differ, two models are of one level, or
    /// `base_model` is the name of another model.
    pub fn new(
        base_model: Option<&str>,
        paths: &[Option<PathBuf>],
        command: String,
    ) -> Result<Self> {
        let mut members = Vec::with_capacity(paths.len());
        let mut tokenizers = Tokenizers::default();
        for path in paths {
            let named = || BaseModel::named(base_model.unwrap_or_default());
            let fetched = || Store::of_user()?.base_model(named()?);
            let file = path.clone().map_or_else(fetched, Ok)?;
            let gguf = Gguf::open(&file)?;
            tokenizers.add(&file, &gguf)?;
            members.push(ZooMember {
                level: Level::FULL,
                name: gguf.name(),
                file: path.clone(),
                sha256: digest::sha256_file(&file)?,
                quantisation: gguf.quantisation_label(),
                parameters: gguf.parameters()?,
                config: gguf.config()?,
            });
        }
        members.sort_by(|a, b| (a.parameters, &a.sha256).cmp(&(b.parameters, &b.sha256)));
        let last = members
            .last()
            .ok_or_else(|| Error::new("zoo", "no member").allowed("one GGUF file or more"))?;
        let largest = last.parameters;
        let of = last.file.clone().unwrap_or_default();
        let own = || last.name.to_lowercase().replace(' ', "-");
        let name = base_model::name_of(base_model, &of, &last.sha256, own)?;
        for member in &mut members {
            let percent = (100.0 * member.parameters as f64 / largest as f64).round() as u16;
            member.level = Level::percent(percent.max(1));
        }
        let zoo = Self {
            family: Family::Zoo,
            command,
            base_model: name,
            tokenizer_sha256: tokenizers.sha256,
            members,
        };
        zoo.check("zoo")?;
        Ok(zoo)
    }

    /// The zoo that `value`, of the file `path`, is.
    ///
    /// # Errors
    /// If it is none, or contradicts itself.
    pub fn read(path: &Path, value: serde_json::Value) -> Result<Self> {
        let zoo: Self = serde_json::from_value(value)
            .map_err(|e| Error::file(path, "not an elastic manifest").caused_by(e))?;
        zoo.check(&path.display().to_string())?;
        Ok(zoo)
    }

    /// Writes the file `path`. Files below its folder are named relative to it.
    ///
    /// # Errors
    /// If it cannot be written, or a file is gone.
    pub fn save(&self, path: &Path) -> Result<()> {
        let absolute = |path: &Path| {
            path.canonicalize().map_err(|error| Error::io(path, "cannot be found", error))
        };
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = absolute(folder.unwrap_or(Path::new(".")))?;
        let mut zoo = self.clone();
        for file in zoo.members.iter_mut().filter_map(|member| member.file.as_mut()) {
            let whole = absolute(file)?;
            *file = whole.strip_prefix(&folder).map(Path::to_owned).unwrap_or(whole);
        }
        let json = serde_json::to_vec_pretty(&zoo)
            .map_err(|e| Error::file(path, "cannot be written as JSON").caused_by(e))?;
        files::write_whole(path, &[&json[..], b"\n"].concat())
    }

    /// The largest member, as other families name their base model.
    ///
    /// # Panics
    /// If the zoo is empty: such a one is not made and not loaded.
    #[must_use]
    pub fn identity(&self) -> ModelIdentity {
        let largest = self.members.last().expect("a checked zoo has a member");
        ModelIdentity {
            base_model: self.base_model.clone(),
            model_sha256: largest.sha256.clone(),
            quantisation: largest.quantisation.clone(),
            config: largest.config.clone(),
        }
    }

    /// The members' GGUF files, smallest first, opened and checked; the zoo is the file `path`, and
    /// `base` is where its unnamed member is, if not in the cache of assets.
    ///
    /// # Errors
    /// If a file is missing, is not the one that the zoo was made from, or has another tokenizer.
    pub fn open(&self, path: &Path, base: Option<&Path>) -> Result<Vec<Gguf>> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut tokenizers =
            Tokenizers { of: path.to_owned(), sha256: self.tokenizer_sha256.clone() };
        let mut files = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let file = match (&member.file, base) {
                (Some(file), _) => folder.join(file),
                (None, Some(base)) => base.to_owned(),
                (None, None) => base_model::file_of(&member.sha256, path)?,
            };
            check_sha256(&file, &member.sha256, "not the model that the zoo was made from", path)?;
            let gguf = Gguf::open(&file)?;
            tokenizers.add(&file, &gguf)?;
            files.push(gguf);
        }
        Ok(files)
    }

    fn check(&self, subject: &str) -> Result<()> {
        let wrong = |problem: &str| Error::new(subject, problem).at("key \"members\"");
        if let Some(pair) = self.members.windows(2).find(|pair| pair[0].level >= pair[1].level) {
            return Err(wrong("two members of one level, or out of order")
                .found(format!("{} and {} at {}", pair[0].name, pair[1].name, pair[1].level))
                .allowed("one member per whole percent of the largest one's parameters"));
        }
        for member in &self.members {
            member.config.check(subject)?;
        }
        match self.members.last() {
            Some(last) if last.level == Level::FULL => Ok(()),
            last => Err(wrong("the last member is not the largest")
                .found(last.map_or("no member".to_owned(), |member| member.level.to_string()))
                .allowed("100 %")),
        }
    }
}

impl ZooMember {
    /// The whole model as a level.
    #[must_use]
    pub fn sub_model(&self) -> SubModel {
        SubModel { level: self.level, ..SubModel::full(&self.config) }
    }

    /// The member in words, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        let millions = self.parameters as f64 / 1e6;
        format!("{}: {}, {millions:.1}M parameters, {}", self.level, self.name, self.quantisation)
    }
}

/// The one tokenizer of all members.
#[derive(Default)]
struct Tokenizers {
    of: PathBuf,
    /// Empty before the first.
    sha256: String,
}

impl Tokenizers {
    fn add(&mut self, path: &Path, gguf: &Gguf) -> Result<()> {
        let sha256 = Tokenizer::fingerprint(gguf)?;
        if self.sha256.is_empty() {
            (self.of, self.sha256) = (path.to_owned(), sha256);
        } else if self.sha256 != sha256 {
            return Err(Error::file(path, "tokenizer of another family")
                .at("keys \"tokenizer.ggml.*\"")
                .found(format!("sha256 {sha256}"))
                .allowed(format!("sha256 {}, that of {}", self.sha256, self.of.display())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
