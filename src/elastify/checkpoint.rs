//! The one format of checkpoints: safetensors in f32, and what else a run has to know as the JSON of
//! one metadata key. A file is written whole, so that a kill leaves the one before.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files;

const METADATA_KEY: &str = "pliant";

/// A named list of values with its dimensions.
pub type Entry<'a> = (String, Vec<usize>, &'a [f32]);

/// Writes `entries` and `metadata` to the file `path` in one step.
///
/// # Errors
/// If it cannot be written.
///
/// # Panics
/// If values contradict their dimensions, or metadata is no plain data.
pub fn save<'a>(
    path: &Path,
    metadata: &impl Serialize,
    entries: impl Iterator<Item = Entry<'a>>,
) -> Result<()> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> =
        entries.map(|(name, shape, values)| (name, shape, bytes(values))).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.expect("values have their dimensions"))
    });
    // One key: the library keeps metadata in no order.
    let json = serde_json::to_string(metadata).expect("metadata is plain data");
    let metadata = [(METADATA_KEY.to_owned(), json)].into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::file(path, "checkpoint not written").caused_by(error))?;
    files::write_whole(path, &bytes)
}

/// A checkpoint that has been read.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl<'a> Checkpoint<'a> {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &'a Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        Ok(Self { path, bytes })
    }

    fn wrong(&self) -> Error {
        Error::file(self.path, "not a checkpoint")
    }

    /// What it knows beside its values.
    ///
    /// # Errors
    /// If it is no checkpoint, or one of another kind.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T> {
        let (_, header) =
            SafeTensors::read_metadata(&self.bytes).map_err(|e| self.wrong().caused_by(e))?;
        let json = header.metadata().as_ref().and_then(|keys| keys.get(METADATA_KEY));
        let json = json.ok_or_else(|| {
            let error = self.wrong().found("no metadata of its own");
            error.allowed(format!("the key \"{METADATA_KEY}\""))
        })?;
        serde_json::from_str(json)
            .map_err(|e| self.wrong().at(format!("metadata \"{METADATA_KEY}\"")).caused_by(e))
    }

    /// The values `name`, of dimensions `shape`.
    ///
    /// # Errors
    /// If there are none, or of another type or shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|e| self.wrong().caused_by(e))?;
        let wrong =
            |problem: &str| Error::file(self.path, problem).at(format!("tensor \"{name}\""));
        let view = file.tensor(name).map_err(|e| wrong("missing").caused_by(e))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(wrong("of another type or shape")
                .found(format!("{} {:?}", view.dtype(), view.shape()))
                .allowed(format!("F32 {shape:?}")));
        }
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        Ok(view.data().chunks_exact(4).map(value).collect())
    }
}
