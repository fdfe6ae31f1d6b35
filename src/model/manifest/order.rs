//! How a manifest spells the order of a model's units.
//!
//! | `"order":` | meaning |
//! | --- | --- |
//! | `"original"` | every unit where the base model has it |
//! | `{"file": F, "sha256": H}` | the list in file `F` beside the manifest, which others share |
//! | `[{"groups": […], "neurons": […]}, …]` | the list itself, as older manifests have it |
//!
//! The file holds the list's JSON and nothing else, so that its SHA-256 is
//! [`order_sha256`], which adapters name; it is called after the first letters of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::adapter::order_sha256;
use crate::engine::model::{LayerOrder, ModelConfig};
use crate::error::{Error, Result};
use crate::{digest, files, limits};

/// The name of the order of [`LayerOrder::original`].
const ORIGINAL: &str = "original";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    file: PathBuf,
    sha256: String,
}

/// The order that the manifest of the file `path` spells as `value`.
pub(super) fn read(path: &Path, value: Value, config: &ModelConfig) -> Result<Vec<LayerOrder>> {
    let wrong = |problem: &str| Error::file(path, problem).at("key \"order\"");
    match value {
        Value::String(name) if name == ORIGINAL => {
            let units = (config.layers as u64)
                .saturating_mul(config.kv_heads as u64 + config.intermediate as u64);
            limits::UNITS.check(&path.display().to_string(), "key \"model.config\"", units)?;
            Ok(LayerOrder::original(config))
        }
        Value::String(name) => Err(wrong("unknown order of units").found(name).allowed(format!(
            "\"{ORIGINAL}\", a file with its hash, or the list of each layer's units"
        ))),
        Value::Object(_) => {
            let shared = serde_json::from_value(value)
                .map_err(|e| wrong("names no file with an order of units").caused_by(e))?;
            read_shared(path, &shared)
        }
        list => {
            serde_json::from_value(list).map_err(|e| wrong("not an order of units").caused_by(e))
        }
    }
}

fn read_shared(path: &Path, Shared { file, sha256 }: &Shared) -> Result<Vec<LayerOrder>> {
    let file = path.with_file_name(file);
    let json = std::fs::read(&file).map_err(|error| {
        let action = format!("cannot read the order of units that {} names", path.display());
        Error::io(&file, action, error)
    })?;
    let found = digest::sha256(&json);
    if &found != sha256 {
        return Err(Error::file(&file, "not the order of units that the manifest names")
            .found(format!("sha256 {found}"))
            .allowed(format!("sha256 {sha256}, as {} says", path.display())));
    }
    serde_json::from_slice(&json)
        .map_err(|e| Error::file(&file, "not an order of units").caused_by(e))
}

/// How the manifest of the file `path` spells `order`; the file beside it is written if need be.
pub(super) fn write(path: &Path, order: &[LayerOrder], config: &ModelConfig) -> Result<Value> {
    if order == LayerOrder::original(config) {
        return Ok(json!(ORIGINAL));
    }
    let sha256 = order_sha256(order);
    let name = format!("order-{}.json", &sha256[..8]);
    let file = path.with_file_name(&name);
    if !file.exists() || digest::sha256_file(&file)? != sha256 {
        let json = serde_json::to_vec(order).expect("an order is plain data");
        files::write_whole(&file, &json)?;
    }
    Ok(json!(Shared { file: name.into(), sha256 }))
}
