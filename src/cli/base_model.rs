//! Which base model a command works on: by its name, by its file, or the project's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pliant::assets::base_model::name_of;
use pliant::assets::{BaseModel, Store};
use pliant::engine::gguf::Gguf;
use pliant::profile::Profiles;
use pliant::{Error, Result, digest, names};

/// The base model that commands work on unless another is named.
pub const BASE_MODEL: &str = "smollm2-135m-instruct";

#[derive(Debug, Clone, Default, clap::Args)]
pub struct BaseModelArgs {
    /// Base model: smollm2-135m-instruct (the default), qwen2.5-coder-0.5b-instruct; with --model,
    /// what a FILE of yours is called in profiles
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,
    /// Its file: any copy of it, or a model of yours; default: as `pliant assets fetch` leaves it
    #[arg(long, value_name = "FILE.gguf")]
    model: Option<PathBuf>,
}

/// A base model's file and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name in profiles.
    pub name: String,
    /// Its GGUF file.
    pub file: PathBuf,
    /// SHA-256 of that file.
    pub sha256: String,
}

impl BaseModelArgs {
    /// Those that mean the model called `name`, as fetched.
    pub fn named(name: &str) -> Self {
        Self { base_model: Some(name.to_owned()), model: None }
    }

    /// Whether neither a name nor a file was given.
    pub fn is_default(&self) -> bool {
        self.base_model.is_none() && self.model.is_none()
    }

    /// The model that is meant; a file that is neither known nor named is called after itself.
    pub fn choose(&self) -> Result<Chosen> {
        let file = self.file()?;
        let sha256 = digest::sha256_file(&file)?;
        let name = name_of(self.base_model.as_deref(), &file, &sha256, || stem_of(&file))?;
        Ok(Chosen { name, file, sha256 })
    }

    fn file(&self) -> Result<PathBuf> {
        if let Some(file) = &self.model {
            return Ok(file.clone());
        }
        Store::of_user()?.base_model(self.known()?)
    }

    /// The model of that name.
    fn known(&self) -> Result<&'static BaseModel> {
        BaseModel::named(self.base_model.as_deref().unwrap_or(BASE_MODEL))
    }

    /// The model that is meant, if something may have been made of it under its name. What was made
    /// says the hash of a model that is known; it is checked where both are opened.
    fn choose_named(&self) -> Result<(String, PathBuf)> {
        if self.model.is_none() {
            return Ok((self.known()?.name.to_owned(), self.file()?));
        }
        let Chosen { name, file, sha256 } = self.choose()?;
        if self.base_model.is_some() || BaseModel::named(&name).is_ok() {
            return Ok((name, file));
        }
        // Of a file that no name will help, say that first.
        Gguf::open(&file)?.config()?;
        let known: Vec<&str> = BaseModel::all().map(|model| model.name).collect();
        Err(Error::file(&file, "not a base model that is known by name")
            .found(format!("sha256 {sha256}"))
            .allowed(format!("the file of {}, or --base-model NAME beside it", known.join(", "))))
    }

    /// What was made of the model, as `given` or else the project's in `ours`; and the model's
    /// file, unless what was given says itself which it is of.
    pub fn with_made(
        &self,
        given: Option<&PathBuf>,
        ours: impl FnOnce(&str) -> PathBuf,
    ) -> Result<(PathBuf, Option<PathBuf>)> {
        match given {
            Some(made) if self.is_default() => Ok((made.clone(), None)),
            Some(made) => Ok((made.clone(), Some(self.choose()?.file))),
            None => {
                let (name, file) = self.choose_named()?;
                Ok((ours(&name), Some(file)))
            }
        }
    }

    /// The same arguments, for a command line.
    pub fn to_args(&self) -> Vec<OsString> {
        let name = self.base_model.as_ref().map(|name| ["--base-model".into(), name.into()]);
        let file = self.model.as_ref().map(|file| ["--model".into(), file.into()]);
        name.into_iter().chain(file).flatten().collect()
    }
}

/// Reads the name of a base model, or of a user's own that something was made of here.
pub fn by_name(name: &str) -> Result<String> {
    let is_file_name = names::check(name, || Error::new("base model", "no name of a file"));
    let own = is_file_name.is_ok() && Profiles::default().elastic(name).is_dir();
    if own {
        Ok(name.to_owned())
    } else {
        BaseModel::named(name).map(|model| model.name.to_owned())
    }
}

/// The base model of commands that work on what was made of it, not on its file.
#[derive(Debug, Clone, clap::Args)]
pub struct BaseModelName {
    /// Base model: smollm2-135m-instruct, qwen2.5-coder-0.5b-instruct, or one of yours
    #[arg(long, value_name = "NAME", default_value = BASE_MODEL, value_parser = by_name)]
    pub base_model: String,
}

/// The file's name up to its first dot, in lower case.
fn stem_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split('.').next().unwrap_or_default().to_owned()
}
