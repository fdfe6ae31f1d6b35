//! What recovery leaves beside its adapters: a record per level, and its summary in the manifest.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::trainer::RunIdentity;
use crate::error::{Error, Result};
use crate::files;
use crate::model::family::lora::LevelRecord;
use crate::units::Level;

/// The files of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelFiles {
    /// The adapter.
    pub adapter: PathBuf,
    /// Its [`LevelRecord`], written last: with it the level is finished.
    pub record: PathBuf,
    /// The loss curve.
    pub curve: PathBuf,
    /// The checkpoint, until the level is finished.
    pub checkpoint: PathBuf,
}

impl LevelFiles {
    /// The files of `level` in `folder`.
    #[must_use]
    pub fn new(folder: &Path, level: Level) -> Self {
        let file = |end: &str| folder.join(format!("width-lora-{}.{end}", level.as_percent()));
        Self {
            adapter: file("safetensors"),
            record: file("json"),
            curve: file("loss.csv"),
            checkpoint: file("checkpoint.partial"),
        }
    }

    /// The record of a level that `run` has finished; `None` if it has not.
    ///
    /// # Errors
    /// If the record belongs to another run, or the adapter beside it is not the recorded one.
    pub fn finished(&self, run: &RunIdentity) -> Result<Option<LevelRecord>> {
        if !self.record.exists() {
            return Ok(None);
        }
        let text =
            std::fs::read(&self.record).map_err(|e| Error::io(&self.record, "cannot read", e))?;
        let Recorded { run: other, result } = serde_json::from_slice(&text)
            .map_err(|e| Error::file(&self.record, "not the record of a level").caused_by(e))?;
        run.check(&self.record, &other)?;
        let sha256 = crate::digest::sha256_file(&self.adapter)?;
        if sha256 != result.adapter_sha256 {
            return Err(Error::file(&self.adapter, "not the adapter of its record")
                .found(format!("sha256 {sha256}"))
                .allowed(format!("sha256 {}", result.adapter_sha256)));
        }
        Ok(Some(result))
    }

    /// Writes the record and removes the checkpoint.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    #[expect(clippy::missing_panics_doc, reason = "a record is plain data")]
    pub fn finish(&self, run: &RunIdentity, result: &LevelRecord) -> Result<()> {
        let recorded = Recorded { run: run.clone(), result: result.clone() };
        let mut json = serde_json::to_string_pretty(&recorded).expect("a record is plain data");
        json.push('\n');
        files::write_whole(&self.record, json.as_bytes())?;
        if self.checkpoint.exists() {
            std::fs::remove_file(&self.checkpoint)
                .map_err(|e| Error::io(&self.checkpoint, "cannot remove", e))?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    run: RunIdentity,
    result: LevelRecord,
}
