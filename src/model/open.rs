//! An elastic model ready to answer: its manifest, its weights in order, its tokenizer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::family::Payload;
use super::family::zoo::{ZooManifest, ZooMember};
use super::manifest::{ElasticManifest, Manifest};
use super::recorded::ModelIdentity;
use crate::assets::{self, Package, Store, base_model};
use crate::digest;
use crate::engine::gguf::Gguf;
use crate::engine::model::{LayerOrder, SubModel};
use crate::engine::session::Runtime;
use crate::engine::tokenizer::Tokenizer;
use crate::engine::weights::Weights;
use crate::engine::{Engine, EngineOptions, Residence, SeparateModel};
use crate::error::{Error, Result};
use crate::profile::Profiles;

/// Most positions that rotary tables are made for.
const POSITIONS: usize = 4096;

/// Where an elastic model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticSource {
    /// The elastic manifest.
    pub manifest: PathBuf,
    /// The base model; `None`: the one that the manifest was made from, as the cache of assets has
    /// it.
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
    pub manifest: Manifest,
    /// SHA-256 of the manifest's file.
    pub manifest_sha256: String,
    /// Runs the levels.
    pub engine: Engine,
    /// Splits text.
    pub tokenizer: Tokenizer,
}

impl ElasticModel {
    /// The base model; in a zoo the largest.
    #[must_use]
    pub fn identity(&self) -> ModelIdentity {
        self.manifest.identity()
    }

    /// Opens the model of `source`. The reordered weights are written to the user's cache the first
    /// time, and mapped from there.
    ///
    /// # Errors
    /// If a file is missing or foreign, the GGUF is not the one that the manifest was made from, or
    /// the cache cannot be written.
    pub fn open(source: &ElasticSource) -> Result<Self> {
        let manifest = Manifest::load(&source.manifest)?;
        let (engine, tokenizer) = match &manifest {
            Manifest::Ladder(ladder) => open_ladder(source, ladder)?,
            Manifest::Zoo(zoo) => open_zoo(source, zoo)?,
        };
        let manifest_sha256 = digest::sha256_file(&source.manifest)?;
        Ok(Self { manifest, manifest_sha256, engine, tokenizer })
    }
}

fn open_ladder(source: &ElasticSource, manifest: &ElasticManifest) -> Result<(Engine, Tokenizer)> {
    let fetched = || base_model::file_of(&manifest.model.model_sha256, &source.manifest);
    let path = source.gguf.clone().map_or_else(fetched, Ok)?;
    manifest.check_weights(&source.manifest, &path, &digest::sha256_file(&path)?)?;
    let gguf = Gguf::open(&path)?;
    manifest.check_model(&source.manifest, &gguf.config()?)?;
    let runtime = runtime(source.threads)?;
    let (sha256, order) = (&manifest.model.model_sha256, &manifest.order);
    let (levels, options) = (&manifest.levels, source.options);
    let with = |residence, order: &[LayerOrder]| {
        let weights = ordered_weights(&gguf, sha256, order)?;
        Engine::with_residence(runtime, weights, residence, levels, options)
    };
    let engine = match &manifest.payload {
        Payload::WidthRelayout => {
            let gathered = Residence::Gathered { order: order.clone() };
            with(gathered, &LayerOrder::original(&manifest.model.config))?
        }
        Payload::LayerMerge(merges) => {
            let folders = merges.folders(&gguf, manifest)?;
            with(Residence::Swapped { folders }, order)?
        }
        Payload::Contextual(file) => {
            let predictor = file.open(&source.manifest, manifest)?;
            let weights = ordered_weights(&gguf, sha256, order)?;
            Engine::with_predictor(runtime, weights, predictor, levels, options)?
        }
        Payload::WidthLora(adapters) => {
            let mut engine = with(Residence::Shared, order)?;
            for (level, path) in adapters.checked(&source.manifest, manifest)? {
                engine.set_adapter_file(level, path);
            }
            engine
        }
        payload => {
            let mut engine = with(Residence::Shared, order)?;
            for level in levels.iter().map(|model| model.level) {
                if let Some(bits) = payload.bits(level) {
                    engine.set_bits(level, bits);
                }
            }
            engine
        }
    };
    Ok((engine, Tokenizer::from_gguf(&gguf)?))
}

fn open_zoo(source: &ElasticSource, zoo: &ZooManifest) -> Result<(Engine, Tokenizer)> {
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
    let ladder: Vec<SubModel> = zoo.members.iter().map(ZooMember::sub_model).collect();
    let (runtime, residence) = (runtime(source.threads)?, Residence::Separate { models });
    let engine = Engine::with_residence(runtime, weights, residence, &ladder, source.options)?;
    Ok((engine, Tokenizer::from_gguf(gguf)?))
}

fn runtime(threads: usize) -> Result<&'static Runtime> {
    Runtime::load(&assets::main_file(Package::OnnxRuntime)?, threads)
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

/// The weights of `gguf`, a file of that SHA-256, in `order`, from the cache or made now.
fn ordered_weights(gguf: &Gguf, sha256: &str, order: &[LayerOrder]) -> Result<Weights> {
    let json = serde_json::to_vec(order).expect("an order is plain data");
    let folder = cache_folder(sha256, &json)?;
    if let Ok(weights) = Weights::open(&folder) {
        return Ok(weights);
    }
    Weights::create(&folder, &gguf.model()?, order, POSITIONS)
}

/// The folder of the user's cache for weights of a model that `contents` states.
pub(super) fn cache_folder(model_sha256: &str, contents: &[u8]) -> Result<PathBuf> {
    let name = digest::sha256(&[model_sha256.as_bytes(), contents].concat());
    Ok(Store::of_user()?.root().join("elastic").join(&name[..16]))
}

/// The folder of the elastic manifests of `base_model` in a checkout of the project.
#[must_use]
pub fn manifest_folder(base_model: &str) -> PathBuf {
    Profiles::default().elastic(base_model)
}
