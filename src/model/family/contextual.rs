//! Family `contextual`: neurons picked for each token that is generated.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::predictor::Predictor;
use crate::error::Result;
use crate::model::manifest::ElasticManifest;
use crate::model::open::check_sha256;
use crate::model::shipped;
use crate::units::Level;

/// Where the predictor of a ladder is, and how good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictorFile {
    /// The file, relative to the manifest's folder, unless it is a shipped one.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rank of its matrices.
    pub rank: usize,
    /// Tokens, not fitted, that `captured` was measured on.
    pub held_out_tokens: usize,
    /// For each level below 100 %.
    pub captured: Vec<Captured>,
}

/// How much of all neurons' importance the neurons that run have, mean over layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured {
    /// The level.
    pub level: Level,
    /// Those that the predictor picks.
    pub predicted: f64,
    /// Those of highest importance.
    pub best: f64,
}

impl PredictorFile {
    /// The predictor, as `manifest`, of the file `path`, names it.
    pub(in crate::model) fn open(
        &self,
        path: &Path,
        manifest: &ElasticManifest,
    ) -> Result<Predictor> {
        let file = path.with_file_name(&self.file);
        let file = shipped::locate(&file, &self.sha256, &manifest.command)?;
        check_sha256(&file, &self.sha256, "not the predictor that the manifest names", path)?;
        Predictor::load(&file, &manifest.model.config, self.rank)
    }
}
