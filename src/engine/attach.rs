//! Adapters in memory: each packed once into the shapes that graphs take, one attached at a time.
//!
//! Attaching makes tensors over an adapter's packed values, detaching drops them; values are
//! neither copied nor touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::adapter::{Adapter, LoraPair};
use super::graph::{AdapterInput, AdapterPart};
use super::model::ModelConfig;
use super::tensor::TensorView;
use crate::error::Result;
use crate::units::Level;

/// The values of an adapter as a graph's inputs, in their order.
#[derive(Debug)]
pub(super) struct PackedAdapter {
    rank: usize,
    values: Box<[f32]>,
    shapes: Vec<[usize; 2]>,
}

impl PackedAdapter {
    /// The values of `adapter` that `inputs` call for.
    ///
    /// # Panics
    /// If the adapter is of another sub-model than the graph.
    pub(super) fn new(adapter: &Adapter, config: &ModelConfig, inputs: &[AdapterInput]) -> Self {
        let mut values = Vec::new();
        for input in inputs {
            let start = values.len();
            extend(&mut values, adapter, config, input);
            let [rows, columns] = input.shape;
            assert_eq!(values.len() - start, rows * columns, "shape of {}", input.name);
        }
        Self {
            rank: adapter.rank,
            values: values.into_boxed_slice(),
            shapes: inputs.iter().map(|input| input.shape).collect(),
        }
    }

    fn views(&self) -> Result<Vec<TensorView>> {
        let mut rest = &*self.values;
        self.shapes
            .iter()
            .map(|shape| {
                let (values, after) = rest.split_at(shape[0] * shape[1]);
                rest = after;
                // SAFETY: the values live on the heap until the adapter is replaced, which detaches
                // it first; sessions only read inputs.
                unsafe { TensorView::new(values.as_ptr(), shape) }
            })
            .collect()
    }
}

/// The adapters of an engine's levels, and the one that the next run uses.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    // Views point into the packed values: they are dropped first.
    attached: Option<(Level, Vec<TensorView>)>,
    packed: BTreeMap<Level, PackedAdapter>,
    unread: BTreeMap<Level, PathBuf>,
}

impl Adapters {
    /// Says where the adapter of `level` is.
    pub(super) fn set_file(&mut self, level: Level, path: PathBuf) {
        self.set(level, None);
        self.unread.insert(level, path);
    }

    /// The file that the adapter of `level` is still to be read from.
    pub(super) fn unread(&self, level: Level) -> Option<&Path> {
        self.unread.get(&level).map(PathBuf::as_path)
    }

    /// Gives `level` an adapter, or none; detaches the one it had.
    pub(super) fn set(&mut self, level: Level, adapter: Option<PackedAdapter>) {
        if self.attached.as_ref().is_some_and(|(attached, _)| *attached == level) {
            self.attached = None;
        }
        self.unread.remove(&level);
        match adapter {
            Some(adapter) => self.packed.insert(level, adapter),
            None => self.packed.remove(&level),
        };
    }

    /// Rank of the adapter of `level`, if it has one.
    pub(super) fn rank(&self, level: Level) -> Option<usize> {
        self.packed.get(&level).map(|adapter| adapter.rank)
    }

    /// Bytes of the packed adapter of `level`.
    pub(super) fn bytes(&self, level: Level) -> usize {
        self.packed.get(&level).map_or(0, |adapter| size_of_val(&*adapter.values))
    }

    /// Attaches the adapter of `level` in place of another level's, or detaches that if `level` has
    /// none.
    pub(super) fn attach(&mut self, level: Level) -> Result<()> {
        if self.attached.as_ref().is_none_or(|(attached, _)| *attached != level) {
            self.attached = None;
            if let Some(adapter) = self.packed.get(&level) {
                self.attached = Some((level, adapter.views()?));
            }
        }
        Ok(())
    }

    /// The inputs of the attached adapter; none if there is none.
    pub(super) fn inputs(&self) -> &[TensorView] {
        self.attached.as_ref().map_or(&[], |(_, views)| views)
    }
}

/// Appends what `input` holds, row-major.
fn extend(values: &mut Vec<f32>, adapter: &Adapter, config: &ModelConfig, input: &AdapterInput) {
    let key = config.head_dim;
    let query = config.heads_per_group() * key;
    let rank = adapter.rank;
    let layer = &adapter.layers[input.layer];
    match input.part {
        AdapterPart::QkvA => {
            for pair in [&layer.q, &layer.k, &layer.v] {
                values.extend_from_slice(&kept(pair.as_ref()).a);
            }
        }
        AdapterPart::QkvB(groups) => {
            let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|pair| &kept(pair.as_ref()).b);
            for group in 0..groups {
                for (rows, width) in [(q, query), (k, key), (v, key)] {
                    values.extend_from_slice(&rows[group * width * rank..][..width * rank]);
                }
            }
        }
        AdapterPart::OA(_) => values.extend_from_slice(&kept(layer.o.as_ref()).a),
        AdapterPart::OB => values.extend_from_slice(&kept(layer.o.as_ref()).b),
        AdapterPart::GateUpA => {
            for pair in [&layer.gate, &layer.up] {
                values.extend_from_slice(&kept(pair.as_ref()).a);
            }
        }
        AdapterPart::GateB(_) => values.extend_from_slice(&kept(layer.gate.as_ref()).b),
        AdapterPart::UpB(_) => values.extend_from_slice(&kept(layer.up.as_ref()).b),
        AdapterPart::DownA(_) => values.extend_from_slice(&kept(layer.down.as_ref()).a),
        AdapterPart::DownB => values.extend_from_slice(&kept(layer.down.as_ref()).b),
    }
}

fn kept(pair: Option<&LoraPair>) -> &LoraPair {
    pair.expect("graphs ask for adapters of units that the sub-model keeps")
}
