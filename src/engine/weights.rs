//! Weights as one page-aligned, memory-mapped file whose tensors have the *unit* as their leading
//! dimension, so that a sub-model is a shorter view of the same bytes.
//!
//! | tensor | shape | a prefix is |
//! | --- | --- | --- |
//! | `L.qkv` | `[groups, (heads per group + 2) · head_dim, hidden]` | the first groups |
//! | `L.o` | `[groups, heads per group · head_dim, hidden]` (transposed) | the first groups |
//! | `L.gate`, `L.up` | `[intermediate, hidden]` | the first neurons |
//! | `L.down` | `[intermediate, hidden]` (transposed) | the first neurons |
//!
//! A group's rows in `L.qkv` are its query heads, then its key head, then its value head.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::model::{DenseLayer, DenseModel, LayerOrder, ModelConfig};
use crate::error::{Error, Result};
use crate::files;

mod private;

/// Name of the weights inside their folder.
pub const WEIGHTS_FILE: &str = "weights.bin";
const INDEX_FILE: &str = "weights.json";
const PAGE: usize = 4096;

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Bytes from the start of the file; a multiple of the page size.
    pub offset: usize,
    /// Leading dimension: units, or rows.
    pub rows: usize,
    /// Values per row.
    pub columns: usize,
}

/// The index of a weights file, kept beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightIndex {
    /// The model's dimensions.
    pub config: ModelConfig,
    /// Whether Q, K and V have biases.
    pub qkv_bias: bool,
    /// Whether the head has weights of its own.
    pub untied_head: bool,
    /// Length of the file in bytes.
    pub bytes: usize,
    /// Tensors by name.
    pub tensors: BTreeMap<String, TensorEntry>,
}

/// A memory-mapped weights file; or layers in memory of their own over such a file.
#[derive(Debug)]
pub struct Weights {
    folder: PathBuf,
    index: WeightIndex,
    map: Mmap,
    /// Where every tensor but the named ones is.
    base: Option<(Arc<Weights>, BTreeSet<String>)>,
}

impl Weights {
    /// Writes `model` with its units in `order` (one entry per layer) into `folder` and opens it.
    /// Rotary tables are written for `positions` positions.
    ///
    /// # Errors
    /// If `order` does not fit the model or the folder cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "an index is plain data")]
    pub fn create(
        folder: &Path,
        model: &DenseModel,
        order: &[LayerOrder],
        positions: usize,
    ) -> Result<Self> {
        check_order(folder, &model.config, order)?;
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "cannot create the folder", error))?;
        let mut writer = TensorWriter::new(folder)?;
        writer.model(model, order, positions)?;
        let index = writer.finish(model)?;
        let json = serde_json::to_vec_pretty(&index).expect("an index is plain data");
        files::write_whole(&folder.join(INDEX_FILE), &json)?;
        Self::open(folder)
    }

    /// Opens the weights in `folder`.
    ///
    /// # Errors
    /// If the folder has no weights or their length is not what the index says.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(INDEX_FILE);
        let json = std::fs::read(&path)
            .map_err(|error| Error::io(&path, "cannot read the index of the weights", error))?;
        let index: WeightIndex = serde_json::from_slice(&json)
            .map_err(|error| Error::file(&path, "not an index of weights").caused_by(error))?;
        let path = folder.join(WEIGHTS_FILE);
        let file =
            File::open(&path).map_err(|error| Error::io(&path, "cannot open weights", error))?;
        // SAFETY: the file is written once under a temporary name and never changed afterwards.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| Error::io(&path, "cannot map weights", error))?;
        if map.len() != index.bytes {
            return Err(Error::file(&path, "wrong length")
                .found(format!("{} bytes", map.len()))
                .allowed(format!("{} bytes, as {INDEX_FILE} says", index.bytes)));
        }
        Ok(Self { folder: folder.to_owned(), index, map, base: None })
    }

    /// The folder of the weights.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Dimensions and tensors.
    #[must_use]
    pub fn index(&self) -> &WeightIndex {
        &self.index
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// The values of rows `from..to` of tensor `name`.
    ///
    /// # Panics
    /// If the weights have no such tensor or rows.
    #[must_use]
    pub fn rows(&self, name: &str, from: usize, to: usize) -> &[f32] {
        if let Some((base, own)) = &self.base
            && !own.contains(name)
        {
            return base.rows(name, from, to);
        }
        let entry = &self.index.tensors[name];
        assert!(from <= to && to <= entry.rows, "rows {from}..{to} of {name}, {} rows", entry.rows);
        let row = entry.columns * size_of::<f32>();
        let bytes = &self.map[entry.offset + from * row..entry.offset + to * row];
        // SAFETY: any bytes are floats, and tensors start at page boundaries of a page-aligned map.
        let (head, values, tail) = unsafe { bytes.align_to::<f32>() };
        assert!(head.is_empty() && tail.is_empty(), "tensors are aligned");
        values
    }
}

fn check_order(folder: &Path, config: &ModelConfig, order: &[LayerOrder]) -> Result<()> {
    let complete = |list: &[u32], n: usize| {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..n as u32)
    };
    if order.len() != config.layers {
        return Err(Error::file(folder, "unit order of another model")
            .found(format!("{} layers", order.len()))
            .allowed(format!("{} layers", config.layers)));
    }
    for (layer, units) in order.iter().enumerate() {
        if !complete(&units.groups, config.kv_heads)
            || !complete(&units.neurons, config.intermediate)
        {
            return Err(Error::file(folder, "unit order is not a permutation")
                .at(format!("layer {layer}"))
                .found(format!("{} groups, {} neurons", units.groups.len(), units.neurons.len()))
                .allowed(format!(
                    "each of {} groups and {} neurons once",
                    config.kv_heads, config.intermediate
                )));
        }
    }
    Ok(())
}

struct TensorWriter {
    path: PathBuf,
    file: BufWriter<tempfile::NamedTempFile>,
    offset: usize,
    tensors: BTreeMap<String, TensorEntry>,
}

impl TensorWriter {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(WEIGHTS_FILE);
        Ok(Self {
            file: BufWriter::new(files::scratch(&path)?),
            path,
            offset: 0,
            tensors: BTreeMap::new(),
        })
    }

    fn model(&mut self, model: &DenseModel, order: &[LayerOrder], positions: usize) -> Result<()> {
        let config = &model.config;
        self.tensor("embedding", config.hidden, &model.embedding)?;
        self.tensor("final_norm", config.hidden, &model.final_norm)?;
        if let Some(head) = &model.head {
            self.tensor("head", config.hidden, head)?;
        }
        let (cos, sin) = rotary_tables(config, positions);
        self.tensor("cos", config.head_dim / 2, &cos)?;
        self.tensor("sin", config.head_dim / 2, &sin)?;
        for (i, (layer, order)) in model.layers.iter().zip(order).enumerate() {
            self.layer(i, config, layer, order)?;
        }
        Ok(())
    }

    fn layer(
        &mut self,
        i: usize,
        config: &ModelConfig,
        layer: &DenseLayer,
        order: &LayerOrder,
    ) -> Result<()> {
        let hidden = config.hidden;
        self.tensor(&format!("{i}.attention_norm"), hidden, &layer.attention_norm)?;
        self.tensor(&format!("{i}.mlp_norm"), hidden, &layer.mlp_norm)?;
        let head_rows = group_rows(config, [&layer.q, &layer.k, &layer.v], hidden, &order.groups);
        self.tensor(&format!("{i}.qkv"), head_rows.len() / config.kv_heads, &head_rows)?;
        if let Some([q, k, v]) = &layer.qkv_bias {
            let bias = group_rows(config, [q, k, v], 1, &order.groups);
            self.tensor(&format!("{i}.qkv_bias"), bias.len() / config.kv_heads, &bias)?;
        }
        let o = transpose(&layer.o, config.heads * config.head_dim);
        let per_group = config.heads_per_group() * config.head_dim * hidden;
        self.tensor(&format!("{i}.o"), per_group, &gather(&o, per_group, &order.groups))?;
        self.tensor(&format!("{i}.gate"), hidden, &gather(&layer.gate, hidden, &order.neurons))?;
        self.tensor(&format!("{i}.up"), hidden, &gather(&layer.up, hidden, &order.neurons))?;
        let down = transpose(&layer.down, config.intermediate);
        self.tensor(&format!("{i}.down"), hidden, &gather(&down, hidden, &order.neurons))
    }

    fn tensor(&mut self, name: &str, columns: usize, values: &[f32]) -> Result<()> {
        let padding = self.offset.next_multiple_of(PAGE) - self.offset;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.file
            .write_all(&vec![0; padding])
            .and_then(|()| self.file.write_all(&bytes))
            .map_err(|error| Error::io(&self.path, "cannot write weights", error))?;
        let entry =
            TensorEntry { offset: self.offset + padding, rows: values.len() / columns, columns };
        self.tensors.insert(name.to_owned(), entry);
        self.offset += padding + bytes.len();
        Ok(())
    }

    fn finish(self, model: &DenseModel) -> Result<WeightIndex> {
        let wrong = |error| Error::io(&self.path, "cannot write weights", error);
        let file = self.file.into_inner().map_err(|error| wrong(error.into_error()))?;
        files::place(file, &self.path)?;
        Ok(WeightIndex {
            config: model.config.clone(),
            qkv_bias: model.layers.iter().any(|layer| layer.qkv_bias.is_some()),
            untied_head: model.head.is_some(),
            bytes: self.offset,
            tensors: self.tensors,
        })
    }
}

/// Rows of Q, K and V brought together group by group, groups in `order`; `width` values per row.
fn group_rows(
    config: &ModelConfig,
    [q, k, v]: [&Vec<f32>; 3],
    width: usize,
    order: &[u32],
) -> Vec<f32> {
    let q_rows = config.heads_per_group() * config.head_dim * width;
    let kv_rows = config.head_dim * width;
    let mut rows = Vec::with_capacity(q.len() + k.len() + v.len());
    for &group in order {
        let group = group as usize;
        rows.extend_from_slice(&q[group * q_rows..][..q_rows]);
        rows.extend_from_slice(&k[group * kv_rows..][..kv_rows]);
        rows.extend_from_slice(&v[group * kv_rows..][..kv_rows]);
    }
    rows
}

/// Rows of `width` values of `matrix`, in `order`.
fn gather(matrix: &[f32], width: usize, order: &[u32]) -> Vec<f32> {
    order.iter().flat_map(|&row| &matrix[row as usize * width..][..width]).copied().collect()
}

/// The transpose of a row-major matrix with `columns` columns.
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

/// cos and sin of `position · θ^(−2i / head_dim)`, `[positions, head_dim / 2]` each.
fn rotary_tables(config: &ModelConfig, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let half = config.head_dim / 2;
    let angle = |position: usize, i: usize| {
        let exponent = -2.0 * i as f64 / config.head_dim as f64;
        position as f64 * f64::from(config.rope_theta).powf(exponent)
    };
    (0..positions)
        .flat_map(|position| (0..half).map(move |i| (position, i)))
        .map(|(position, i)| angle(position, i).sin_cos())
        .map(|(sin, cos)| (cos as f32, sin as f32))
        .unzip()
}
