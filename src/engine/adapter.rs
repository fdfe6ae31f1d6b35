//! LoRA adapters of sub-models: small matrices beside the shared weights, and their file.
//!
//! A matrix W with an adapter acts as `x·Wᵀ + (x·A)·B`, the scale alpha / rank folded into B. Units
//! lead, in the ladder's order and only those the sub-model keeps, so that a group or a chunk of
//! neurons is consecutive rows:
//!
//! | matrix | a | b |
//! | --- | --- | --- |
//! | q | `[rank, hidden]` | `[groups · heads per group · head_dim, rank]` |
//! | k, v | `[rank, hidden]` | `[groups · head_dim, rank]` |
//! | gate, up | `[rank, hidden]` | `[neurons, rank]` |
//! | o | `[groups · heads per group · head_dim, rank]` | `[rank, hidden]` |
//! | down | `[neurons, rank]` | `[rank, hidden]` |
//!
//! On disk: safetensors in f16, tensors `LAYER.MATRIX.a` and `.b`, and one metadata key, `pliant`.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::model::{LayerShape, ModelConfig, Projection, SubModel};
use crate::error::{Error, Result};
use crate::files;
use crate::units::Level;

const SCHEMA: u32 = 1;
const METADATA_KEY: &str = "pliant";

/// The two matrices that change one matrix of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// Columns of `x·A`.
    pub rank: usize,
    /// Applied first; shape as in the module's table.
    pub a: Vec<f32>,
    /// Applied second, the scale folded in; shape as in the module's table.
    pub b: Vec<f32>,
}

/// The adapters of one layer; `None` where the sub-model keeps no such units in it.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the matrices' own names")]
pub struct LayerAdapter {
    pub q: Option<LoraPair>,
    pub k: Option<LoraPair>,
    pub v: Option<LoraPair>,
    pub o: Option<LoraPair>,
    pub gate: Option<LoraPair>,
    pub up: Option<LoraPair>,
    pub down: Option<LoraPair>,
}

/// The adapters of one sub-model.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// SHA-256 of the base model's file.
    pub base_model_sha256: String,
    /// SHA-256 of the order of units, as [`order_sha256`] makes it.
    pub order_sha256: String,
    /// The sub-model's rung of the ladder.
    pub level: Level,
    /// Rank of every pair.
    pub rank: usize,
    /// Bottom first.
    pub layers: Vec<LayerAdapter>,
}

/// SHA-256 of the JSON of a manifest's `order`: what an adapter's rows depend on.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "an order is plain data")]
pub fn order_sha256(order: &[super::model::LayerOrder]) -> String {
    crate::digest::sha256(&serde_json::to_vec(order).expect("an order is plain data"))
}

impl LayerAdapter {
    fn pair(&self, matrix: Projection) -> Option<&LoraPair> {
        match matrix {
            Projection::Q => self.q.as_ref(),
            Projection::K => self.k.as_ref(),
            Projection::V => self.v.as_ref(),
            Projection::O => self.o.as_ref(),
            Projection::Gate => self.gate.as_ref(),
            Projection::Up => self.up.as_ref(),
            Projection::Down => self.down.as_ref(),
        }
    }

    pub(crate) fn place(&mut self, matrix: Projection) -> &mut Option<LoraPair> {
        match matrix {
            Projection::Q => &mut self.q,
            Projection::K => &mut self.k,
            Projection::V => &mut self.v,
            Projection::O => &mut self.o,
            Projection::Gate => &mut self.gate,
            Projection::Up => &mut self.up,
            Projection::Down => &mut self.down,
        }
    }
}

/// Rows of units of a layer, by the matrices that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerRows {
    /// Of q and o.
    query: usize,
    /// Of k and v.
    key: usize,
    /// Of gate, up and down.
    neurons: usize,
}

impl LayerRows {
    fn of(config: &ModelConfig, shape: &LayerShape) -> Self {
        let key = shape.groups * config.head_dim;
        Self { query: key * config.heads_per_group(), key, neurons: shape.neurons }
    }

    fn units(&self, matrix: Projection) -> usize {
        match matrix {
            Projection::Q | Projection::O => self.query,
            Projection::K | Projection::V => self.key,
            Projection::Gate | Projection::Up | Projection::Down => self.neurons,
        }
    }
}

/// What the file says of its tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    schema: u32,
    base_model_sha256: String,
    order_sha256: String,
    level_percent: u16,
    rank: usize,
    hidden: usize,
    layers: Vec<LayerRows>,
}

/// What an adapter must have been made for.
#[derive(Debug, Clone, Copy)]
pub struct AdapterTarget<'a> {
    /// SHA-256 of the base model's file.
    pub base_model_sha256: &'a str,
    /// SHA-256 of the order of units.
    pub order_sha256: &'a str,
    /// Dimensions of the base model.
    pub config: &'a ModelConfig,
    /// The sub-model.
    pub sub_model: &'a SubModel,
    /// Rank of every pair.
    pub rank: usize,
}

impl Adapter {
    /// An adapter that changes nothing: every matrix is zero.
    #[must_use]
    pub fn zero(target: &AdapterTarget<'_>) -> Self {
        let layer = |shape: &LayerShape| {
            let rows = LayerRows::of(target.config, shape);
            let mut layer = LayerAdapter::default();
            for matrix in Projection::ALL {
                let units = rows.units(matrix);
                let [a, b] = matrix.shapes(target.rank, target.config.hidden, units);
                let zeros = |[rows, columns]: [usize; 2]| vec![0.0; rows * columns];
                *layer.place(matrix) =
                    (units > 0).then(|| LoraPair { rank: target.rank, a: zeros(a), b: zeros(b) });
            }
            layer
        };
        Self {
            base_model_sha256: target.base_model_sha256.to_owned(),
            order_sha256: target.order_sha256.to_owned(),
            level: target.sub_model.level,
            rank: target.rank,
            layers: target.sub_model.layers.iter().map(layer).collect(),
        }
    }

    /// Values in all matrices.
    #[must_use]
    pub fn values(&self) -> usize {
        let pairs = self.layers.iter().flat_map(|l| Projection::ALL.map(|matrix| l.pair(matrix)));
        pairs.flatten().map(|pair| pair.a.len() + pair.b.len()).sum()
    }

    /// Writes the file `path`, in f16.
    ///
    /// # Errors
    /// If the matrices' shapes contradict each other, a value is not finite in f16, or the file
    /// cannot be written.
    #[expect(
        clippy::missing_panics_doc,
        reason = "shapes are checked first, metadata is plain data"
    )]
    pub fn save(&self, path: &Path) -> Result<()> {
        let metadata = self.metadata(&path.display().to_string())?;
        let mut tensors: Vec<(String, [usize; 2], Vec<u8>)> = Vec::new();
        for (index, (layer, rows)) in self.layers.iter().zip(&metadata.layers).enumerate() {
            for matrix in Projection::ALL {
                let Some(pair) = layer.pair(matrix) else { continue };
                let shapes = matrix.shapes(self.rank, metadata.hidden, rows.units(matrix));
                for ((half, values), shape) in [("a", &pair.a), ("b", &pair.b)].iter().zip(shapes) {
                    let name = format!("{index}.{}.{half}", matrix.name());
                    let bytes = to_f16(values).ok_or_else(|| {
                        Error::file(path, "adapter not written")
                            .at(format!("tensor \"{name}\""))
                            .found("a value that is not finite in f16")
                    })?;
                    tensors.push((name, shape, bytes));
                }
            }
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F16, shape.to_vec(), bytes);
            (name.as_str(), view.expect("shapes were checked"))
        });
        // One key: the library keeps metadata in no order.
        let json = serde_json::to_string(&metadata).expect("metadata is plain data");
        let metadata = [(METADATA_KEY.to_owned(), json)].into_iter().collect();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::file(path, "adapter not written").caused_by(error))?;
        files::write_whole(path, &bytes)
    }

    /// Reads the file `path` and checks every tensor against the metadata.
    ///
    /// # Errors
    /// If it cannot be read, is no adapter, or a tensor is missing, superfluous, of another type or
    /// shape than the metadata calls for, or not finite.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let metadata = read_metadata(path, &bytes)?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::file(path, "not an adapter").caused_by(e))?;
        let mut tensors: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
        let mut layers = vec![LayerAdapter::default(); metadata.layers.len()];
        for (index, (layer, rows)) in layers.iter_mut().zip(&metadata.layers).enumerate() {
            for matrix in Projection::ALL {
                let units = rows.units(matrix);
                if units == 0 {
                    continue;
                }
                let [a, b] = matrix.shapes(metadata.rank, metadata.hidden, units);
                let mut take = |half: &str, shape: [usize; 2]| {
                    let name = format!("{index}.{}.{half}", matrix.name());
                    read_tensor(path, &name, tensors.remove(name.as_str()), shape)
                };
                let (a, b) = (take("a", a)?, take("b", b)?);
                *layer.place(matrix) = Some(LoraPair { rank: metadata.rank, a, b });
            }
        }
        if let Some(name) = tensors.keys().next() {
            return Err(Error::file(path, "tensor that the adapter's metadata does not know")
                .at(format!("tensor \"{name}\"")));
        }
        Ok(Self {
            base_model_sha256: metadata.base_model_sha256,
            order_sha256: metadata.order_sha256,
            level: Level::percent(metadata.level_percent),
            rank: metadata.rank,
            layers,
        })
    }

    /// Checks that this adapter, of the file `path`, was made for `target`.
    ///
    /// # Errors
    /// If it was made for another base model, order, level or rank, or a layer's shape differs.
    pub fn check(&self, path: &Path, target: &AdapterTarget<'_>) -> Result<()> {
        let wrong = |problem: &str, found: String, allowed: String| {
            Err(Error::file(path, problem).found(found).allowed(allowed))
        };
        let sha = |hash: &str| format!("sha256 {hash}");
        if self.base_model_sha256 != target.base_model_sha256 {
            let found = sha(&self.base_model_sha256);
            return wrong("adapter of another base model", found, sha(target.base_model_sha256));
        }
        if self.order_sha256 != target.order_sha256 {
            let found = sha(&self.order_sha256);
            return wrong("adapter of another order of units", found, sha(target.order_sha256));
        }
        if self.level != target.sub_model.level {
            let (found, allowed) = (self.level.to_string(), target.sub_model.level.to_string());
            return wrong("adapter of another level", found, allowed);
        }
        if self.rank != target.rank {
            let (found, allowed) = (self.rank.to_string(), target.rank.to_string());
            return wrong("adapter of another rank", found, allowed);
        }
        self.check_shape(&path.display().to_string(), target.config, target.sub_model)
    }

    /// Checks that every matrix has the shape that `sub_model` needs; errors are about `subject`.
    ///
    /// # Errors
    /// If a layer's shape differs.
    pub fn check_shape(
        &self,
        subject: &str,
        config: &ModelConfig,
        sub_model: &SubModel,
    ) -> Result<()> {
        let metadata = self.metadata(subject)?;
        let allowed: Vec<LayerRows> =
            sub_model.layers.iter().map(|shape| LayerRows::of(config, shape)).collect();
        let wrong = || Error::new(subject, "adapter of another shape");
        if metadata.layers.len() != allowed.len() {
            let layers = |n: usize| format!("{n} layers");
            let found = layers(metadata.layers.len());
            return Err(wrong().found(found).allowed(layers(allowed.len())));
        }
        let kept = |rows: &LayerRows, hidden: usize| {
            let LayerRows { query, key, neurons } = rows;
            format!("{query} query rows, {key} key rows, {neurons} neurons, width {hidden}")
        };
        for (index, (found, allowed)) in metadata.layers.iter().zip(&allowed).enumerate() {
            if found != allowed || metadata.hidden != config.hidden {
                return Err(wrong()
                    .at(format!("layer {index}"))
                    .found(kept(found, metadata.hidden))
                    .allowed(kept(allowed, config.hidden)));
            }
        }
        Ok(())
    }

    /// The shapes of the matrices, if they agree with each other.
    fn metadata(&self, subject: &str) -> Result<Metadata> {
        let wrong = |index: usize, matrix: Projection, found: String, allowed: String| {
            Error::new(subject, "shapes of an adapter contradict each other")
                .at(format!("layer {index}, {}", matrix.name()))
                .found(found)
                .allowed(allowed)
        };
        let rank = self.rank.max(1);
        let first = self.layers.iter().find_map(|l| l.q.as_ref().or(l.gate.as_ref()));
        let hidden = first.map_or(0, |pair| pair.a.len() / rank);
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let units = |pair: &Option<LoraPair>| pair.as_ref().map_or(0, |p| p.b.len() / rank);
            let (query, key, neurons) = (units(&layer.q), units(&layer.k), units(&layer.gate));
            let rows = LayerRows { query, key, neurons };
            for matrix in Projection::ALL {
                let units = rows.units(matrix);
                let allowed = matrix
                    .shapes(self.rank, hidden, units)
                    .map(|[rows, columns]| if units == 0 { 0 } else { rows * columns });
                let pair = layer.pair(matrix);
                let found = pair.map_or([0, 0], |pair| [pair.a.len(), pair.b.len()]);
                let same_rank = pair.is_none_or(|pair| pair.rank == self.rank);
                if found != allowed || !same_rank {
                    let values = |[a, b]: [usize; 2]| format!("{a} and {b} values");
                    let rank = pair.map_or(self.rank, |pair| pair.rank);
                    let found = format!("{} of rank {rank}", values(found));
                    let allowed = format!("{} of rank {}", values(allowed), self.rank);
                    return Err(wrong(index, matrix, found, allowed));
                }
            }
            layers.push(rows);
        }
        Ok(Metadata {
            schema: SCHEMA,
            base_model_sha256: self.base_model_sha256.clone(),
            order_sha256: self.order_sha256.clone(),
            level_percent: self.level.as_percent(),
            rank: self.rank,
            hidden,
            layers,
        })
    }
}

fn read_metadata(path: &Path, bytes: &[u8]) -> Result<Metadata> {
    let wrong = || Error::file(path, "not an adapter");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong().caused_by(e))?;
    let json = header.metadata().as_ref().and_then(|keys| keys.get(METADATA_KEY));
    let json = json.ok_or_else(|| {
        wrong().found("no metadata of its own").allowed(format!("the key \"{METADATA_KEY}\""))
    })?;
    let metadata: Metadata = serde_json::from_str(json)
        .map_err(|e| wrong().at(format!("metadata \"{METADATA_KEY}\"")).caused_by(e))?;
    if metadata.schema != SCHEMA {
        let error = Error::file(path, "unknown version").at("metadata \"schema\"");
        return Err(error.found(metadata.schema).allowed(SCHEMA));
    }
    if metadata.rank == 0 || !(1..=100).contains(&metadata.level_percent) {
        return Err(Error::file(path, "metadata out of range")
            .found(format!("rank {}, level {} %", metadata.rank, metadata.level_percent))
            .allowed("rank 1 or more, level 1 % to 100 %"));
    }
    Ok(metadata)
}

fn read_tensor(
    path: &Path,
    name: &str,
    tensor: Option<TensorView<'_>>,
    shape: [usize; 2],
) -> Result<Vec<f32>> {
    let wrong = |problem: &str| Error::file(path, problem).at(format!("tensor \"{name}\""));
    let wanted = format!("F16 {shape:?}");
    let tensor = tensor.ok_or_else(|| wrong("tensor is missing").allowed(&wanted))?;
    if tensor.dtype() != Dtype::F16 || tensor.shape() != shape {
        let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
        return Err(wrong("tensor contradicts the adapter's metadata")
            .found(found)
            .allowed(wanted));
    }
    let values: Vec<f16> =
        tensor.data().chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(wrong("a value is not finite"));
    }
    Ok(values.to_f32_vec())
}

/// `values` in f16, little-endian; `None` if one is not finite.
pub(super) fn to_f16(values: &[f32]) -> Option<Vec<u8>> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    let finite = halves.iter().all(|value| value.is_finite());
    finite.then(|| halves.iter().flat_map(|value| value.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests;
