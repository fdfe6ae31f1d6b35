//! How a quality table was made: the JSON manifest beside it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::text;
use crate::error::{Error, Result};
use crate::files;

/// Everything needed to judge or repeat a quality table: `<dir>/<table>.manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityManifest {
    /// Version of the file format: 1.
    pub schema: u32,
    /// Whose answers.
    pub base_model: String,
    /// How its sub-models were made.
    pub family: String,
    /// Registry package and version, or local file, that the weights came from.
    pub model_source: String,
    /// SHA-256 of the weights file.
    pub model_sha256: String,
    /// SHA-256 of the elastification manifest (orders and prefix lengths); `None` where the family
    /// needs none.
    #[serde(default)]
    pub elastic_sha256: Option<String>,
    /// The prompt's layout, with the names of its parts in braces.
    pub prompt_template: String,
    /// Demonstrations before the question.
    pub shots: u32,
    /// How prompts were cut; its lengths are in `<dir>/<compressor>.tokens.csv`.
    pub compressor: String,
    /// How options were scored and normalised.
    pub scorer: String,
    /// Which items estimate accuracies: [`Split::RULE`](super::Split::RULE).
    pub split: String,
    /// Command that measured.
    pub command: String,
    /// Day it finished, `YYYY-MM-DD`.
    pub date: String,
    /// Commit of the code that measured.
    pub commit: String,
    /// Whether every planned row is there; a partial table is usable and reports say so.
    pub complete: bool,
    /// Items per dataset.
    pub datasets: BTreeMap<String, DatasetCount>,
    /// Anything else a reader should know, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How many items of a dataset have rows, by side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetCount {
    /// Items that expected accuracies are estimated on.
    pub estimate: u32,
    /// Items that traces draw from.
    pub replay: u32,
}

impl QualityManifest {
    /// Reads `<dir>/<table>.manifest.json`.
    ///
    /// # Errors
    /// If the file cannot be read or is not a manifest of schema 1.
    pub fn load(dir: &Path, table: &str) -> Result<Self> {
        let path = dir.join(format!("{table}.manifest.json"));
        let text = text::read(&path)?;
        let manifest: Self = serde_json::from_str(&text).map_err(|cause| {
            let place = format!("line {}, column {}", cause.line(), cause.column());
            Error::file(&path, "not a quality manifest").at(place).caused_by(cause)
        })?;
        if manifest.schema != 1 {
            return Err(Error::file(&path, "unknown version")
                .at("key \"schema\"")
                .found(manifest.schema)
                .allowed(1));
        }
        Ok(manifest)
    }

    /// Writes `<dir>/<table>.manifest.json`, replacing an older one in one step.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn save(&self, dir: &Path, table: &str) -> Result<()> {
        let path = dir.join(format!("{table}.manifest.json"));
        let mut json = serde_json::to_string_pretty(self)
            .map_err(|cause| Error::file(&path, "cannot be written as JSON").caused_by(cause))?;
        json.push('\n');
        files::write_whole(&path, json.as_bytes())
    }
}
