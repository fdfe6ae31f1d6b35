//! An elastic model ready to answer: its manifest, its weights in order, its tokenizer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::manifest::{ElasticManifest, Family};
use super::merge::merged_model;
use super::zoo::{ZooManifest, ZooMember};
use crate::assets::{self, Package, Store};
use crate::digest;
use crate::elastify::scores::ModelIdentity;
use crate::engine::adapter::{Adapter, AdapterTarget};
use crate::engine::gguf::Gguf;
use crate::engine::model::{LayerOrder, SubModel};
use crate::engine::predictor::Predictor;
use crate::engine::session::Runtime;
use crate::engine::tokenizer::Tokenizer;
use crate::engine::weights::Weights;
use crate::engine::{Engine, EngineOptions, Residence, SeparateModel};
use crate::error::{Error, Result};
use crate::profile::Profiles;
use crate::units::Level;

/// Most positions that rotary tables are made for.
const POSITIONS: usize = 4096;

/// Where an elastic model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticSource {
    /// The elastic manifest.
    pub manifest: PathBuf,
    /// The base model; `None`: SmolLM2 from the cache of assets.
    pub gguf: Option<PathBuf>,
    /// Threads of the engine.
    pub threads: usize,
    /// How the engine lays out weights, and its context.
    pub options: EngineOptions,
}

/// What levels are made from, the engine that runs them, and the tokenizer of the base model.
#[derive(Debug)]
pub struct ElasticModel {
    /// What levels are made from.
    pub source: LevelSource,
    /// SHA-256 of the manifest's file.
    pub manifest_sha256: String,
    /// Runs the levels.
    pub engine: Engine,
    /// Splits text.
    pub tokenizer: Tokenizer,
}

/// What the levels of an elastic model are made from.
#[derive(Debug)]
pub enum LevelSource {
    /// One base model.
    Base(Box<ElasticManifest>),
    /// Models of their own.
    Zoo(ZooManifest),
}

impl ElasticModel {
    /// The base model; in a zoo the largest.
    #[must_use]
    pub fn identity(&self) -> ModelIdentity {
        match &self.source {
            LevelSource::Base(manifest) => manifest.model.clone(),
            LevelSource::Zoo(zoo) => zoo.identity(),
        }
    }

    /// What each level keeps of the base model.
    ///
    /// # Errors
    /// If levels are models of their own.
    pub fn manifest(&self) -> Result<&ElasticManifest> {
        match &self.source {
            LevelSource::Base(manifest) => Ok(manifest),
            LevelSource::Zoo(_) => Err(Error::new("family zoo", "its levels share no units")
                .allowed("a family of one base model")),
        }
    }

    /// In words, what each level is, where levels are models of their own.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        match &self.source {
            LevelSource::Base(_) => Vec::new(),
            LevelSource::Zoo(zoo) => zoo.members.iter().map(ZooMember::describe).collect(),
        }
    }

    /// Opens the model of `source`. The reordered weights are written to the user's cache the first
    /// time, and mapped from there.
    ///
    /// # Errors
    /// If a file is missing or foreign, the GGUF is not the one that the manifest was made from, or
    /// the cache cannot be written.
    pub fn open(source: &ElasticSource) -> Result<Self> {
        if let Some(zoo) = ZooManifest::load(&source.manifest)? {
            return Self::open_zoo(source, zoo);
        }
        let manifest = ElasticManifest::load(&source.manifest)?;
        let path = match &source.gguf {
            Some(path) => path.clone(),
            None => assets::main_file(Package::SmolLm2)?,
        };
        let problem = "not the model that the manifest was made from";
        check_sha256(&path, &manifest.model.model_sha256, problem, &source.manifest)?;
        let gguf = Gguf::open(&path)?;
        manifest.check_model(&source.manifest, &gguf.config()?)?;
        let (weights, residence) = weights(&gguf, &manifest)?;
        let library = assets::main_file(Package::OnnxRuntime)?;
        let runtime = Runtime::load(&library, source.threads)?;
        let (levels, options) = (&manifest.levels, source.options);
        let mut engine = match checked_predictor(&source.manifest, &manifest)? {
            Some(predictor) => {
                Engine::with_predictor(runtime, weights, predictor, levels, options)?
            }
            None => Engine::with_residence(runtime, weights, residence, levels, options)?,
        };
        for (level, path) in checked_adapters(&source.manifest, &manifest)? {
            engine.set_adapter_file(level, path);
        }
        Ok(Self {
            engine,
            tokenizer: Tokenizer::from_gguf(&gguf)?,
            manifest_sha256: digest::sha256_file(&source.manifest)?,
            source: LevelSource::Base(Box::new(manifest)),
        })
    }

    fn open_zoo(source: &ElasticSource, zoo: ZooManifest) -> Result<Self> {
        let files = zoo.open(&source.manifest, source.gguf.as_deref())?;
        let mut models = BTreeMap::new();
        let mut largest = None;
        for (member, gguf) in zoo.members.iter().zip(&files) {
            let order = LayerOrder::original(&member.config);
            let weights = ordered_weights(gguf, &member.sha256, &order)?;
            let (folder, config) = (weights.folder().to_owned(), member.config.clone());
            models.insert(member.level, SeparateModel { folder, config });
            largest = Some((weights, gguf));
        }
        let (weights, gguf) = largest.expect("a checked zoo has a member");
        let library = assets::main_file(Package::OnnxRuntime)?;
        let runtime = Runtime::load(&library, source.threads)?;
        let ladder: Vec<SubModel> = zoo.members.iter().map(ZooMember::sub_model).collect();
        let residence = Residence::Separate { models };
        Ok(Self {
            engine: Engine::with_residence(runtime, weights, residence, &ladder, source.options)?,
            tokenizer: Tokenizer::from_gguf(gguf)?,
            manifest_sha256: digest::sha256_file(&source.manifest)?,
            source: LevelSource::Zoo(zoo),
        })
    }
}

/// Refuses a `file` whose SHA-256 is not the one that the manifest `named_by` says.
pub(super) fn check_sha256(
    file: &Path,
    expected: &str,
    problem: &str,
    named_by: &Path,
) -> Result<()> {
    let found = digest::sha256_file(file)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::file(file, problem)
        .found(format!("sha256 {found}"))
        .allowed(format!("sha256 {expected}, as {} says", named_by.display())))
}

/// The predictor that `manifest`, of the file `path`, names, if it names one.
fn checked_predictor(path: &Path, manifest: &ElasticManifest) -> Result<Option<Predictor>> {
    let Some(entry) = &manifest.predictor else { return Ok(None) };
    let file = path.parent().unwrap_or(Path::new("")).join(&entry.file);
    check_sha256(&file, &entry.sha256, "not the predictor that the manifest names", path)?;
    Predictor::load(&file, &manifest.model.config, entry.rank).map(Some)
}

/// The files of the adapters that `manifest`, of the file `path`, names. Each is read once to see
/// that it is what the manifest says; the engine reads it again when it needs it.
fn checked_adapters(path: &Path, manifest: &ElasticManifest) -> Result<Vec<(Level, PathBuf)>> {
    let order_sha256 = manifest.order_sha256();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::with_capacity(manifest.adapters.len());
    for entry in &manifest.adapters {
        let file = folder.join(&entry.file);
        check_sha256(&file, &entry.sha256, "not the adapter that the manifest names", path)?;
        let sub_model = manifest.level(entry.level).expect("the manifest was checked");
        Adapter::load(&file)?.check(
            &file,
            &AdapterTarget {
                base_model_sha256: &manifest.model.model_sha256,
                order_sha256: &order_sha256,
                config: &manifest.model.config,
                sub_model,
                rank: entry.rank,
            },
        )?;
        files.push((entry.level, file));
    }
    Ok(files)
}

/// The weights that the manifest's levels share, and how each level gets at its own.
fn weights(gguf: &Gguf, manifest: &ElasticManifest) -> Result<(Weights, Residence)> {
    let config = &manifest.model.config;
    match manifest.ladder.family {
        Family::WidthRelayout => {
            let weights =
                ordered_weights(gguf, &manifest.model.model_sha256, &LayerOrder::original(config))?;
            Ok((weights, Residence::Gathered { order: manifest.order.clone() }))
        }
        Family::LayerMerge => {
            let weights = ordered_weights(gguf, &manifest.model.model_sha256, &manifest.order)?;
            let folders = merged_layers(gguf, manifest)?;
            Ok((weights, Residence::Swapped { folders }))
        }
        _ => {
            let weights = ordered_weights(gguf, &manifest.model.model_sha256, &manifest.order)?;
            Ok((weights, Residence::Shared))
        }
    }
}

/// The weights of `gguf`, a file of that SHA-256, in `order`, from the cache or made now.
fn ordered_weights(gguf: &Gguf, sha256: &str, order: &[LayerOrder]) -> Result<Weights> {
    let json = serde_json::to_vec(order).expect("an order is plain data");
    let folder = cache_folder(sha256, &json)?;
    if let Ok(weights) = Weights::open(&folder) {
        return Ok(weights);
    }
    Weights::create(&folder, &gguf.model()?, order, POSITIONS)
}

/// Folders with the layers of each level, from the cache or made now.
fn merged_layers(gguf: &Gguf, manifest: &ElasticManifest) -> Result<BTreeMap<Level, PathBuf>> {
    let mut model = None;
    let mut folders = BTreeMap::new();
    for sub_model in &manifest.levels {
        let merged = manifest.merged(sub_model.level);
        let json = serde_json::to_vec(&("norms folded in", sub_model, merged));
        let json = json.expect("layers are plain data");
        let folder = cache_folder(&manifest.model.model_sha256, &json)?;
        if !Weights::has_layers(&folder) {
            let model = match &model {
                Some(model) => model,
                None => model.insert(gguf.model()?),
            };
            let merged = merged_model(model, merged);
            Weights::write_layers(&folder, &merged, &manifest.order, sub_model)?;
        }
        folders.insert(sub_model.level, folder);
    }
    Ok(folders)
}

/// The folder of the user's cache for weights of a model that `contents` states.
fn cache_folder(model_sha256: &str, contents: &[u8]) -> Result<PathBuf> {
    let name = digest::sha256(&[model_sha256.as_bytes(), contents].concat());
    Ok(Store::of_user()?.root().join("elastic").join(&name[..16]))
}

/// The folder of the elastic manifests of `base_model` in a checkout of the project.
#[must_use]
pub fn manifest_folder(base_model: &str) -> PathBuf {
    Profiles::default().elastic(base_model)
}
