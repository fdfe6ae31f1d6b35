//! An elastic model in memory: one set of weights, a session per sub-model, one KV cache, and the
//! adapters of sub-models that have one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ort::session::builder::PrepackedWeights;
use serde::{Deserialize, Serialize};

use super::adapter::Adapter;
use super::attach::{Adapters, PackedAdapter};
use super::bits::Bits;
use super::graph::{self, Attention, Graph, GraphOptions, Layout};
use super::kv_cache::KvCache;
use super::model::{ModelConfig, SubModel};
use super::predictor::Predictor;
use super::residence::{Residence, Resident, Switch};
use super::session::{Feed, LevelSession, Packing, Runtime, WeightViews};
use super::stopwatch::timed;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::units::Level;

/// How sub-models get at the shared weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightLayout {
    /// As they lie in the file, by operators of ours: nothing is packed or copied. The only one
    /// that serves adapters and few bits.
    InPlace,
    /// As in place, of a copy in memory of the process's own and in large pages, where the system
    /// has them: a token then waits less for memory.
    InMemory,
    /// In chunks that end where some sub-model ends, each packed once for ONNX Runtime's operators
    /// and shared.
    Chunked,
    /// One view per weight and sub-model, packed by every session for itself: what sub-models
    /// that share nothing would do, the measure of the other two.
    Plain,
}

impl WeightLayout {
    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::InMemory => "in-memory",
            Self::Chunked => "chunked",
            Self::Plain => "plain",
        }
    }
}

/// How an engine lays out and runs its sub-models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How sub-models get at the weights.
    pub layout: WeightLayout,
    /// Most tokens in context; fewer where the model was trained for fewer.
    pub context: usize,
    /// Bits of the weights of every level; `None`: f32.
    pub bits: Option<Bits>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { layout: WeightLayout::InPlace, context: 2048, bits: None }
    }
}

/// Logits and log-probabilities, `[rows, vocab]` each, of the rows that a run asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forward {
    /// How many rows.
    pub rows: usize,
    /// Before normalisation.
    pub logits: Vec<f32>,
    /// Natural logarithms of probabilities.
    pub log_probs: Vec<f32>,
}

/// A sub-model, what its tokens attend to, and the rank of its adapter if it has one.
type SessionKey = (Level, Attention, Option<usize>);

/// An elastic model that can run any sub-model of its ladder.
///
/// Sessions are opened when first used and stay open; switching is picking another one and
/// attaching its adapter in place of the last one's. The KV cache belongs to the sub-model that
/// wrote it last.
#[derive(Debug)]
pub struct Engine {
    // Sessions and views point into the weights: they are dropped first.
    sessions: BTreeMap<SessionKey, LevelSession>,
    adapters: Adapters,
    views: WeightViews,
    predictor: Option<Predictor>,
    packing: Packing,
    cache: KvCache,
    // Kept between runs: fresh pages for [rows, vocab] values cost more than the values.
    out: Forward,
    layout: Layout,
    ladder: BTreeMap<Level, SubModel>,
    /// Bits of the weights of a level; the others are f32.
    bits: BTreeMap<Level, Bits>,
    runtime: &'static Runtime,
    weights: Arc<Weights>,
    resident: Resident,
    last_switch: Switch,
}

impl Engine {
    /// An engine over `weights` for the sub-models of `ladder`. Opens no session yet.
    ///
    /// # Errors
    /// If a sub-model does not fit the weights, or memory for the KV cache cannot be had.
    pub fn new(
        runtime: &'static Runtime,
        weights: Weights,
        ladder: &[SubModel],
        options: EngineOptions,
    ) -> Result<Self> {
        Self::with_residence(runtime, weights, Residence::Shared, ladder, options)
    }

    /// An engine whose sub-models get at their weights as `residence` says. With memory of its own,
    /// one level is resident at a time, and nothing can be packed for all.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_residence(
        runtime: &'static Runtime,
        weights: Weights,
        residence: Residence,
        ladder: &[SubModel],
        options: EngineOptions,
    ) -> Result<Self> {
        let weights = match options.layout {
            WeightLayout::InMemory => Arc::new(weights.copied()?),
            _ => Arc::new(weights),
        };
        let resident = Resident::new(residence, Arc::clone(&weights));
        for sub_model in ladder {
            check_sub_model(weights.folder(), resident.config(sub_model.level), sub_model)?;
        }
        // No model goes on beyond what it was trained for.
        let own = ladder.iter().map(|model| resident.config(model.level).context);
        let context = own.fold(options.context, usize::min);
        let config = &weights.index().config;
        let weight_layout = match options.layout {
            WeightLayout::Chunked if !resident.is_shared() => WeightLayout::Plain,
            layout => layout,
        };
        let layout = match weight_layout {
            WeightLayout::InPlace | WeightLayout::InMemory => Layout::InPlace,
            WeightLayout::Chunked => Layout::chunked(config, ladder),
            WeightLayout::Plain => Layout::Whole,
        };
        // In place, only what a predictor picks from is ONNX Runtime's to pack.
        let packing = match weight_layout {
            WeightLayout::Plain => Packing::Own,
            _ => Packing::Shared(PrepackedWeights::new()),
        };
        Ok(Self {
            sessions: BTreeMap::new(),
            adapters: Adapters::default(),
            views: WeightViews::default(),
            predictor: None,
            packing,
            cache: KvCache::new(config, context)?,
            out: Forward::default(),
            layout,
            ladder: ladder.iter().map(|model| (model.level, model.clone())).collect(),
            bits: ladder.iter().filter_map(|model| Some((model.level, options.bits?))).collect(),
            runtime,
            weights,
            resident,
            last_switch: Switch::default(),
        })
    }

    /// An engine whose sub-models keep everything in memory and, of each MLP, run as many neurons
    /// for a token as `ladder` says: those that `predictor` picks for it. Prompts are read by the
    /// full model.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the predictor is of another model, or `ladder` lacks the full
    /// model or has a level that gives up attention.
    pub fn with_predictor(
        runtime: &'static Runtime,
        weights: Weights,
        predictor: Predictor,
        ladder: &[SubModel],
        options: EngineOptions,
    ) -> Result<Self> {
        let mut engine = Self::new(runtime, weights, ladder, options)?;
        let config = engine.config().clone();
        predictor.check("predictor", &config)?;
        let full = SubModel::full(&config);
        if engine.ladder.get(&Level::FULL) != Some(&full) {
            return Err(Error::new("engine", "no full model to read prompts with")
                .allowed("a ladder with level 100 %, whole"));
        }
        let whole = |model: &SubModel| model.layers.iter().all(|s| s.groups == config.kv_heads);
        if let Some(model) = ladder.iter().find(|model| !whole(model)) {
            return Err(Error::new("engine", "a prediction gives up no attention")
                .found(format!("level {}", model.level))
                .allowed(format!("{} groups in every layer", config.kv_heads)));
        }
        if options.layout == WeightLayout::Chunked {
            // Any neuron may be picked: MLPs are one chunk each.
            engine.layout = Layout::chunked(&config, &[full]);
        }
        // SAFETY: the engine keeps the predictor, and drops views and sessions before it.
        for (name, view) in unsafe { predictor.views(&config)? } {
            engine.views.insert(name, view);
        }
        engine.predictor = Some(predictor);
        Ok(engine)
    }

    /// Whether every level reads prompts with the full model, and differs in what it makes of them.
    #[must_use]
    pub fn reads_prompts_whole(&self) -> bool {
        self.predictor.is_some()
    }

    /// Bytes of what picks neurons; 0 where nothing does.
    #[must_use]
    pub fn predictor_bytes(&self) -> usize {
        self.predictor.as_ref().map_or(0, Predictor::bytes)
    }

    /// Dimensions of the base model; where levels are separate models, of the resident one.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.weights.index().config
    }

    /// Dimensions of the model that `level` is, or is a part of.
    #[must_use]
    pub fn config_of(&self, level: Level) -> &ModelConfig {
        self.resident.config(level)
    }

    /// The weights that all sub-models share.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Sub-models by level.
    #[must_use]
    pub fn ladder(&self) -> &BTreeMap<Level, SubModel> {
        &self.ladder
    }

    /// Most tokens in context.
    #[must_use]
    pub fn context(&self) -> usize {
        self.cache.context()
    }

    /// A KV cache for [`swap_cache`](Self::swap_cache); its memory is taken as it is filled.
    ///
    /// # Errors
    /// If ONNX Runtime refuses a view of it.
    pub fn new_cache(&self) -> Result<KvCache> {
        KvCache::new(&self.weights.index().config, self.cache.context())
    }

    /// Goes on with the KV cache of another sequence, and hands that of the last one back.
    ///
    /// # Panics
    /// If it is for a model of other dimensions than the resident one, or another context.
    pub fn swap_cache(&mut self, cache: KvCache) -> KvCache {
        assert!(cache.is_of(&self.weights.index().config), "the KV cache of another model");
        assert_eq!(cache.context(), self.cache.context(), "KV caches of one context");
        std::mem::replace(&mut self.cache, cache)
    }

    /// Bytes that a token takes in the KV cache of the resident model.
    #[must_use]
    pub fn cache_bytes_per_token(&self) -> u64 {
        let config = &self.weights.index().config;
        (2 * config.layers * config.kv_heads * config.head_dim * size_of::<f32>()) as u64
    }

    /// Whether `cache` is for the resident model.
    #[must_use]
    pub fn fits(&self, cache: &KvCache) -> bool {
        cache.is_of(&self.weights.index().config)
    }

    /// Bytes of the mapped weights file and of the KV cache.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.weights.bytes(), self.cache.bytes())
    }

    /// Gives sub-model `level` an adapter in place of the one it had, or takes that away. Base
    /// weights stay as they are, and so do the other levels.
    ///
    /// # Errors
    /// If the ladder has no such level, the adapter is of another sub-model, or the layout serves
    /// none.
    pub fn set_adapter(&mut self, level: Level, adapter: Option<&Adapter>) -> Result<()> {
        let sub_model = self.sub_model(level)?;
        let packed = match adapter {
            None => None,
            Some(_) if self.layout != Layout::InPlace => {
                return Err(Error::new("engine", "this layout of weights serves no adapter")
                    .allowed(WeightLayout::InPlace.name()));
            }
            Some(adapter) => {
                adapter.check_shape(
                    &format!("adapter of level {level}"),
                    self.config(),
                    sub_model,
                )?;
                let inputs = self.graph(sub_model, Attention::Causal, Some(adapter.rank)).adapter;
                Some(PackedAdapter::new(adapter, self.config(), &inputs))
            }
        };
        self.adapters.set(level, packed);
        Ok(())
    }

    /// Gives sub-model `level` weights of that many bits, before its session is opened.
    pub fn set_bits(&mut self, level: Level, bits: Bits) {
        self.bits.insert(level, bits);
    }

    /// Gives sub-model `level` the adapter of the file `path`, which is read when the level is
    /// first opened.
    pub fn set_adapter_file(&mut self, level: Level, path: PathBuf) {
        self.adapters.set_file(level, path);
    }

    /// Bytes that the adapter of `level` takes in memory; 0 if it has none or is not read yet.
    #[must_use]
    pub fn adapter_bytes(&self, level: Level) -> usize {
        self.adapters.bytes(level)
    }

    fn sub_model(&self, level: Level) -> Result<&SubModel> {
        self.ladder.get(&level).ok_or_else(|| {
            let levels: Vec<String> = self.ladder.keys().map(ToString::to_string).collect();
            Error::new("engine", "no such level").found(level).allowed(levels.join(", "))
        })
    }

    fn graph(&self, sub_model: &SubModel, attention: Attention, rank: Option<usize>) -> Graph {
        let (index, context) = (self.weights.index(), self.cache.context());
        let predictor = self.predictor.as_ref().map(|predictor| predictor.rank);
        let bits = self.bits.get(&sub_model.level).copied();
        let options = GraphOptions { rank, predictor, bits };
        graph::build(index, sub_model, &self.layout, attention, context, options)
    }

    /// Makes `level` ready to run, and the full model where that reads its prompts: opens its
    /// session for `attention` unless it is open, and attaches its adapter, if it has one, in place
    /// of another level's.
    ///
    /// # Errors
    /// If the ladder has no such level, ONNX Runtime refuses the graph, or the adapter's file
    /// cannot be read or is of another sub-model.
    pub fn open(&mut self, level: Level, attention: Attention) -> Result<()> {
        self.make_resident(level)?;
        if let Some(path) = self.adapters.unread(level) {
            let adapter = Adapter::load(path)?;
            self.set_adapter(level, Some(&adapter))?;
        }
        self.adapters.attach(level)?;
        self.open_session(level, attention)?;
        if self.reads_prompts_whole() && attention == Attention::Causal {
            self.open_session(Level::FULL, attention)?;
        }
        Ok(())
    }

    fn open_session(&mut self, level: Level, attention: Attention) -> Result<()> {
        let sub_model = self.sub_model(level)?;
        let rank = self.adapters.rank(level);
        if self.sessions.contains_key(&(level, attention, rank)) {
            return Ok(());
        }
        let graph = self.graph(sub_model, attention, rank);
        let session = LevelSession::open(
            self.runtime,
            &self.weights,
            &mut self.views,
            &graph,
            attention,
            &self.packing,
        )?;
        self.sessions.insert((level, attention, rank), session);
        Ok(())
    }

    /// Makes `level` ready to serve and says what that is billed: the whole of it where sub-models
    /// share their weights and sessions stay open, and where they are separate models; where
    /// weights move within one model, moving them. The session that must then be opened anew is
    /// ONNX Runtime's own doing and not billed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn switch(&mut self, level: Level) -> Result<Duration> {
        let (opened, time) = timed(|| self.open(level, Attention::Causal));
        opened?;
        Ok(if self.resident.bills_sessions() { time } else { self.last_switch.weights })
    }

    /// What moving weights took when [`open`](Self::open) was called last; nothing if the level was
    /// resident, or all are shared.
    #[must_use]
    pub fn last_switch(&self) -> Switch {
        self.last_switch
    }

    /// Whether a switch moves weights.
    #[must_use]
    pub fn moves_weights(&self) -> bool {
        !self.resident.is_shared()
    }

    /// Gives memory of a level's own back, so that the next switch fills it anew, to whatever
    /// level.
    pub fn release(&mut self) {
        if self.resident.is_shared() {
            return;
        }
        // Sessions and views point into the weights that go.
        self.sessions.clear();
        self.views = WeightViews::default();
        self.weights = Arc::clone(self.resident.base());
        self.resident.release();
    }

    /// Fills memory with the weights of `level` if it has its own and they are not there.
    fn make_resident(&mut self, level: Level) -> Result<()> {
        self.last_switch = Switch::default();
        if !self.resident.lacks(level) {
            return Ok(());
        }
        if !self.ladder.contains_key(&level) {
            return Ok(());
        }
        self.release();
        (self.weights, self.last_switch) = self.resident.fill(&self.ladder[&level])?;
        let (config, context) = (&self.weights.index().config, self.cache.context());
        if !self.cache.is_of(config) {
            self.cache = KvCache::new(config, context)?;
        }
        Ok(())
    }

    /// Runs `level` on `feed`, extends the KV cache, and returns the rows asked for. Of an engine
    /// that [reads prompts whole](Self::reads_prompts_whole), a forest's tokens are generated ones.
    ///
    /// # Errors
    /// If the session cannot be opened, the context is full, or inference fails.
    #[expect(clippy::missing_panics_doc, reason = "the session is opened first")]
    pub fn forward(&mut self, level: Level, feed: &Feed<'_>) -> Result<&Forward> {
        let attention = if feed.forest.is_some() { Attention::Forest } else { Attention::Causal };
        self.open(level, attention)?;
        let total = feed.past + feed.tokens.len();
        if total > self.cache.context() {
            return Err(Error::new("prompt", "longer than the context")
                .found(format!("{total} tokens"))
                .allowed(format!("{} tokens", self.cache.context())));
        }
        let values = feed.logit_rows.len() * self.config().vocab;
        let reads_prompt = feed.forest.is_none() && (feed.past == 0 || feed.tokens.len() > 1);
        let runs = if self.reads_prompts_whole() && reads_prompt { Level::FULL } else { level };
        let out = &mut self.out;
        out.rows = feed.logit_rows.len();
        out.logits.resize(values, 0.0);
        out.log_probs.resize(values, 0.0);
        let key = (runs, attention, self.adapters.rank(level));
        let session = self.sessions.get_mut(&key).expect("just opened");
        let adapter = self.adapters.inputs();
        session.run(feed, &mut self.cache, adapter, &mut out.logits, &mut out.log_probs)?;
        Ok(&self.out)
    }
}

fn check_sub_model(folder: &Path, config: &ModelConfig, sub_model: &SubModel) -> Result<()> {
    let wrong = |found: String, allowed: String| {
        Error::file(folder, "sub-model of another model")
            .at(format!("level {}", sub_model.level))
            .found(found)
            .allowed(allowed)
    };
    if sub_model.layers.len() != config.layers {
        let layers = |n| format!("{n} layers");
        return Err(wrong(layers(sub_model.layers.len()), layers(config.layers)));
    }
    for (layer, shape) in sub_model.layers.iter().enumerate() {
        if shape.groups > config.kv_heads || shape.neurons > config.intermediate {
            return Err(wrong(
                format!("{} groups and {} neurons in layer {layer}", shape.groups, shape.neurons),
                format!("up to {} and {}", config.kv_heads, config.intermediate),
            ));
        }
    }
    Ok(())
}
