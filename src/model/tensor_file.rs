//! The one form of files of trained numbers that are heads or checkpoints: safetensors in f32, and
//! what else has to be known as the JSON of one metadata key. A file is written whole, so that a
//! kill leaves the one before.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest;
use crate::error::{Error, Result};
use crate::files;

const METADATA_KEY: &str = "pliant";

/// A named list of values with its dimensions, row-major.
pub type Entry<'a> = (String, Vec<usize>, &'a [f32]);

/// Writes `entries` and `metadata` to the file `path` in one step and returns the file's SHA-256.
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
) -> Result<String> {
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
        .map_err(|error| Error::file(path, "not written").caused_by(error))?;
    files::write_whole(path, &bytes)?;
    Ok(digest::sha256(&bytes))
}

/// A file that has been read.
#[derive(Debug)]
pub struct TensorFile<'a> {
    path: &'a Path,
    /// Such as `not a checkpoint`.
    otherwise: &'static str,
    bytes: Vec<u8>,
}

impl<'a> TensorFile<'a> {
    /// Reads the file `path`; if it is none of these, the error says `otherwise`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &'a Path, otherwise: &'static str) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        Ok(Self { path, otherwise, bytes })
    }

    /// Of the whole file.
    #[must_use]
    pub fn sha256(&self) -> String {
        digest::sha256(&self.bytes)
    }

    fn wrong(&self) -> Error {
        Error::file(self.path, self.otherwise)
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| self.wrong().caused_by(error))
    }

    /// What is known beside the values.
    ///
    /// # Errors
    /// If it is no such file, or one of another kind.
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

    /// The names of all tensors.
    ///
    /// # Errors
    /// If it is no such file.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.tensors()?.names().into_iter().map(ToString::to_string).collect())
    }

    /// The dimensions and values of tensor `name`.
    ///
    /// # Errors
    /// If there is none, or it is of another type.
    ///
    /// # Panics
    /// Never: chunks of four bytes have four bytes.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let file = self.tensors()?;
        let wrong =
            |problem: &str| Error::file(self.path, problem).at(format!("tensor \"{name}\""));
        let view = file.tensor(name).map_err(|e| wrong("missing").caused_by(e))?;
        if view.dtype() != Dtype::F32 {
            let found = format!("{:?}", view.dtype());
            return Err(wrong("tensor of another type").found(found).allowed("F32"));
        }
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        Ok((view.shape().to_vec(), view.data().chunks_exact(4).map(value).collect()))
    }

    /// The values of tensor `name`, whose dimensions are `shape`.
    ///
    /// # Errors
    /// If there is none, or it is of another type or shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (found, values) = self.tensor(name)?;
        if found == shape {
            return Ok(values);
        }
        Err(Error::file(self.path, "of another shape")
            .at(format!("tensor \"{name}\""))
            .found(format!("{found:?}"))
            .allowed(format!("{shape:?}")))
    }
}
