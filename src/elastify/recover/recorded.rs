//! What recovery leaves beside its adapters: a record per level, and its summary in the manifest.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::trainer::RunIdentity;
use crate::error::{Error, Result};
use crate::files;
use crate::model::family::lora::LevelRecord;
use crate::model::manifest::ElasticManifest;
use crate::model::shipped;
use crate::units::Level;

/// The files of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelFiles {
    /// The adapter.
    pub adapter: PathBuf,
    /// Its [`LevelRecord`], written last: with it the level is finished.
    pub record: PathBuf,
    /// The loss curves, this level's among them.
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
            curve: folder.join("width-lora.loss.csv"),
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
        check_adapter(&self.adapter, &result.adapter_sha256)?;
        Ok(Some(result))
    }

    /// Whether something of the level is here: its record, or what a run left that was stopped.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.record.exists() || self.checkpoint.exists()
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

/// The record of the level that `run` has finished, as the manifest of the file `path` has it;
/// `None` if there is no manifest, the level is not in it, or its adapter is neither where it was
/// written nor a shipped one.
///
/// # Errors
/// If the manifest belongs to another run, or the adapter is not the one that it names.
pub fn finished_in(path: &Path, run: &RunIdentity) -> Result<Option<LevelRecord>> {
    if !path.exists() {
        return Ok(None);
    }
    let manifest = ElasticManifest::load(path)?;
    let level = run.sub_model.level;
    let adapters = manifest.payload.adapters();
    let Some((adapters, recovery)) = adapters.and_then(|a| Some((a, a.recovery.as_ref()?))) else {
        return Ok(None);
    };
    let record = recovery.levels.iter().find(|record| record.level == level);
    let adapter = adapters.files.iter().find(|adapter| adapter.level == level);
    let Some(((record, adapter), sub_model)) = record.zip(adapter).zip(manifest.level(level))
    else {
        return Ok(None);
    };
    let recorded = RunIdentity {
        model_sha256: manifest.model.model_sha256.clone(),
        order_sha256: manifest.order_sha256(),
        sub_model: sub_model.clone(),
        corpus_sha256: recovery.corpus.sha256.clone(),
        recipe: recovery.recipe,
    };
    run.check(path, &recorded)?;
    let beside = path.parent().unwrap_or(Path::new("")).join(&adapter.file);
    let Some(file) = shipped::find(&beside, &record.adapter_sha256)? else { return Ok(None) };
    check_adapter(&file, &record.adapter_sha256)?;
    Ok(Some(record.clone()))
}

/// Refuses the adapter in `file` if its SHA-256 is not the recorded one.
fn check_adapter(file: &Path, recorded: &str) -> Result<()> {
    let found = crate::digest::sha256_file(file)?;
    if found == recorded {
        return Ok(());
    }
    Err(Error::file(file, "not the adapter of its record")
        .found(format!("sha256 {found}"))
        .allowed(format!("sha256 {recorded}")))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    run: RunIdentity,
    result: LevelRecord,
}
