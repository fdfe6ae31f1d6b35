//! Family `width-lora`: prefixes of reordered units, each with an adapter of its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::adapter::{Adapter, AdapterTarget};
use crate::error::{Error, Result};
use crate::model::manifest::ElasticManifest;
use crate::model::open::check_sha256;
use crate::model::recorded::{CorpusInfo, Spent};
use crate::model::shipped;
use crate::units::Level;

/// The adapters of a ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapters {
    /// Those of levels below 100 %, and of 100 % where the base model is tuned too; ascending.
    pub files: Vec<AdapterFile>,
    /// How they were trained.
    pub recovery: Option<Recovery>,
}

/// Where the adapter of a level is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterFile {
    /// The sub-model that it belongs to.
    pub level: Level,
    /// Rank of its pairs of matrices.
    pub rank: usize,
    /// The file, relative to the manifest's folder, unless it is a shipped one.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// How the adapters of a manifest were trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The text; every level is trained on its first sequences.
    pub corpus: CorpusInfo,
    /// Hyper-parameters.
    pub recipe: Recipe,
    /// One entry per adapter, smallest level first.
    pub levels: Vec<LevelRecord>,
}

/// What training one level came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRecord {
    /// The sub-model.
    pub level: Level,
    /// Values of its adapter.
    pub values: usize,
    /// Tokens trained on, repetitions counted.
    pub tokens: u64,
    /// Loss on the corpus's held-out part without the adapter, nats per token.
    pub held_out_before: f64,
    /// The same with the adapter.
    pub held_out_after: f64,
    /// Time of training.
    pub spent: Spent,
    /// SHA-256 of the adapter's file.
    pub adapter_sha256: String,
}

/// Hyper-parameters of a recovery run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Rank of the adapters.
    pub rank: usize,
    /// Adapters are scaled by `alpha / rank`.
    pub alpha: f32,
    /// Optimiser steps.
    pub steps: usize,
    /// Sequences per step.
    pub sequences: usize,
    /// Tokens per sequence.
    pub sequence_tokens: usize,
    /// Share of a sequence's positions whose predictions count, drawn anew for each sequence.
    pub loss_share: f64,
    /// Highest learning rate of the matrices `A`.
    pub learning_rate: f64,
    /// Learning rate of the matrices `B`, as a multiple of that of `A`.
    pub second_ratio: f64,
    /// Steps over which the learning rate rises from 0; it then falls to 0 along a cosine.
    pub warmup_steps: usize,
    /// Pull of every value to 0, per unit of learning rate.
    pub weight_decay: f64,
    /// Longest gradient; longer ones are shortened to it.
    pub gradient_norm_max: f64,
    /// Seed of first values and positions.
    pub seed: u64,
}

impl Adapters {
    pub(super) fn check(&self, path: &Path, manifest: &ElasticManifest) -> Result<()> {
        let wrong = |problem: &str| Error::file(path, problem).at("key \"adapters\"");
        let files = &self.files;
        if let Some(pair) = files.windows(2).find(|pair| pair[0].level >= pair[1].level) {
            return Err(wrong("levels out of order").found(pair[1].level));
        }
        if let Some(adapter) = files.iter().find(|a| manifest.level(a.level).is_none()) {
            return Err(wrong("adapter of a level that the ladder lacks").found(adapter.level));
        }
        let adapted = |level: Level| files.iter().any(|adapter| adapter.level == level);
        let bare = manifest.levels.iter().find(|m| m.level < Level::FULL && !adapted(m.level));
        match bare {
            None => Ok(()),
            Some(sub_model) => Err(wrong("level without an adapter")
                .found(sub_model.level)
                .allowed("an adapter for every level below 100 %")),
        }
    }

    /// Where the adapters of `manifest`, of the file `path`, are. Each is read once to see that it
    /// is what the manifest says; the engine reads it again when it needs it.
    pub(in crate::model) fn checked(
        &self,
        path: &Path,
        manifest: &ElasticManifest,
    ) -> Result<Vec<(Level, PathBuf)>> {
        let order_sha256 = manifest.order_sha256();
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut files = Vec::with_capacity(self.files.len());
        for entry in &self.files {
            let file = folder.join(&entry.file);
            let file = shipped::locate(&file, &entry.sha256, &manifest.command)?;
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
}
