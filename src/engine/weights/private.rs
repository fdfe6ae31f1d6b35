//! Weights of one sub-model in memory of its own, over a base model's that has the rest.
//!
//! Only layers are private. Embedding, head, final norm and rotary tables are the same numbers in
//! every sub-model, so no method has to move them: they stay the base's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use super::{INDEX_FILE, PAGE, TensorEntry, TensorWriter, WEIGHTS_FILE, WeightIndex, Weights};
use crate::engine::model::{DenseModel, LayerOrder, SubModel};
use crate::error::{Error, Result};
use crate::files;

impl Weights {
    /// Copies what `sub_model` keeps out of `base`, which is in the base model's own order, into
    /// fresh memory. `order` ranks the units; the kept rows stay in the base model's order, as a
    /// pruned model has them.
    ///
    /// # Errors
    /// If memory cannot be had.
    ///
    /// # Panics
    /// If `order` or `sub_model` is of another model.
    pub fn gather(base: &Arc<Self>, order: &[LayerOrder], sub_model: &SubModel) -> Result<Self> {
        let mut rows = Vec::new();
        for (layer, (order, shape)) in order.iter().zip(&sub_model.layers).enumerate() {
            let groups = ascending(&order.groups[..shape.groups]);
            let neurons = ascending(&order.neurons[..shape.neurons]);
            let parts = ["qkv", "qkv_bias", "o"].map(|part| (part, &groups));
            for (part, units) in
                parts.into_iter().chain(["gate", "up", "down"].map(|p| (p, &neurons)))
            {
                let name = format!("{layer}.{part}");
                if !units.is_empty() && base.index.tensors.contains_key(&name) {
                    rows.push((name, units.clone()));
                }
            }
        }
        let mut tensors = BTreeMap::new();
        let mut bytes = 0;
        for (name, units) in &rows {
            let columns = base.index.tensors[name].columns;
            let entry = TensorEntry { offset: bytes, rows: units.len(), columns };
            bytes = (bytes + units.len() * columns * size_of::<f32>()).next_multiple_of(PAGE);
            tensors.insert(name.clone(), entry);
        }
        let mut map = fresh_memory(bytes)?;
        for (name, units) in &rows {
            let (from, to) = (&base.index.tensors[name], &tensors[name]);
            let width = to.columns * size_of::<f32>();
            let places = map[to.offset..].chunks_exact_mut(width);
            for (place, &row) in places.zip(units) {
                place.copy_from_slice(&base.map[from.offset + row * width..][..width]);
            }
        }
        Self::over(base, tensors, map)
    }

    /// Reads the layers in `folder`, which [`write_layers`](Self::write_layers) wrote, into fresh
    /// memory.
    ///
    /// # Errors
    /// If the folder has no layers, their length is not what their index says, or memory cannot be
    /// had.
    pub fn read_layers(base: &Arc<Self>, folder: &Path) -> Result<Self> {
        let (index, map) = read_file(folder)?;
        Self::over(base, index.tensors, map)
    }

    /// The same weights in fresh memory.
    ///
    /// # Errors
    /// If memory cannot be had.
    pub fn copied(self) -> Result<Self> {
        let mut map = fresh_memory(self.map.len())?;
        map[..self.map.len()].copy_from_slice(&self.map);
        Ok(Self { map: read_only(&self.folder, map)?, ..self })
    }

    /// Reads all weights in `folder`, which [`create`](Self::create) wrote, into fresh memory
    /// instead of mapping them.
    ///
    /// # Errors
    /// As [`read_layers`](Self::read_layers).
    pub fn read(folder: &Path) -> Result<Self> {
        let (index, map) = read_file(folder)?;
        Ok(Self { folder: folder.to_owned(), map: read_only(folder, map)?, index, base: None })
    }

    /// Writes the layers of `model` that `sub_model` keeps, every unit in its own place, into
    /// `folder`.
    ///
    /// # Errors
    /// If the folder cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "an index is plain data")]
    pub fn write_layers(
        folder: &Path,
        model: &DenseModel,
        order: &[LayerOrder],
        sub_model: &SubModel,
    ) -> Result<()> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "cannot create the folder", error))?;
        let mut writer = TensorWriter::new(folder)?;
        for (layer, shape) in sub_model.layers.iter().enumerate() {
            if shape.groups + shape.neurons > 0 {
                writer.layer(layer, &model.config, &model.layers[layer], &order[layer])?;
            }
        }
        let index = writer.finish(model)?;
        let json = serde_json::to_vec_pretty(&index).expect("an index is plain data");
        files::write_whole(&folder.join(INDEX_FILE), &json)
    }

    /// Whether `folder` has layers of the length that their index says.
    #[must_use]
    pub fn has_layers(folder: &Path) -> bool {
        let length = std::fs::metadata(folder.join(WEIGHTS_FILE)).map(|data| data.len());
        let index = read_index(folder);
        matches!((index, length), (Ok(index), Ok(length)) if length == index.bytes as u64)
    }

    /// Bytes of memory that are this sub-model's alone; 0 where the base's file is mapped.
    #[must_use]
    pub fn private_bytes(&self) -> usize {
        if self.base.is_some() { self.map.len() } else { 0 }
    }

    /// Tensors in `map` before those of `base`.
    fn over(base: &Arc<Self>, own: BTreeMap<String, TensorEntry>, map: MmapMut) -> Result<Self> {
        let map = read_only(&base.folder, map)?;
        let mut index = base.index.clone();
        let private = own.keys().cloned().collect();
        index.tensors.extend(own);
        Ok(Self {
            folder: base.folder.clone(),
            index,
            map,
            base: Some((Arc::clone(base), private)),
        })
    }
}

fn read_index(folder: &Path) -> Result<WeightIndex> {
    let path = folder.join(INDEX_FILE);
    let json = std::fs::read(&path)
        .map_err(|error| Error::io(&path, "cannot read the index of the weights", error))?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::file(&path, "not an index of weights").caused_by(error))
}

/// The index in `folder`, and the bytes that it is of.
fn read_file(folder: &Path) -> Result<(WeightIndex, MmapMut)> {
    let index = read_index(folder)?;
    let path = folder.join(WEIGHTS_FILE);
    let wrong = |error| Error::io(&path, "cannot read weights", error);
    let mut file = File::open(&path).map_err(wrong)?;
    let found = file.metadata().map_err(wrong)?.len();
    if found != index.bytes as u64 {
        return Err(Error::file(&path, "wrong length")
            .found(format!("{found} bytes"))
            .allowed(format!("{} bytes, as {INDEX_FILE} says", index.bytes)));
    }
    let mut map = fresh_memory(index.bytes)?;
    file.read_exact(&mut map[..index.bytes]).map_err(wrong)?;
    Ok((index, map))
}

fn read_only(folder: &Path, map: MmapMut) -> Result<Mmap> {
    map.make_read_only().map_err(|error| Error::io(folder, "cannot protect memory", error))
}

/// In large pages where the system has them; where it has not, nothing is lost but time.
fn fresh_memory(bytes: usize) -> Result<MmapMut> {
    let map = MmapMut::map_anon(bytes.max(PAGE)).map_err(|error| {
        Error::new("memory", "cannot be had").found(format!("{bytes} bytes")).caused_by(error)
    })?;
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(map)
}

fn ascending(units: &[u32]) -> Vec<usize> {
    let mut units: Vec<usize> = units.iter().map(|&unit| unit as usize).collect();
    units.sort_unstable();
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::LayerShape;
    use crate::engine::reference::{identity_order, random_model, random_model_of};
    use crate::units::Level;

    fn part() -> SubModel {
        let shape = |groups, neurons| LayerShape { groups, neurons };
        SubModel { level: Level::percent(50), layers: vec![shape(2, 4), shape(0, 0), shape(0, 3)] }
    }

    #[test]
    fn gathered_rows_are_the_kept_ones_in_the_base_models_order() {
        let model = random_model_of(&random_model(0).config, false, 3);
        let folder = tempfile::tempdir().unwrap();
        let mut order = identity_order(&model.config);
        for layer in &mut order {
            layer.neurons.reverse();
            layer.groups.rotate_left(1);
        }
        let identity = identity_order(&model.config);
        let base = Weights::create(folder.path(), &model, &identity, 8).unwrap();
        let base = Arc::new(base);
        let own = Weights::gather(&base, &order, &part()).unwrap();
        // Reversed: the first four neurons of the order are 95, 94, 93, 92. Rotated: groups 1, 2.
        assert_eq!(own.rows("0.gate", 0, 4), base.rows("0.gate", 92, 96));
        assert_eq!(own.rows("2.down", 0, 3), base.rows("2.down", 93, 96));
        assert_eq!(own.rows("0.qkv", 0, 2), base.rows("0.qkv", 1, 3));
        assert_eq!(own.rows("0.qkv_bias", 0, 2), base.rows("0.qkv_bias", 1, 3));
        assert_eq!(own.rows("embedding", 0, 1).as_ptr(), base.rows("embedding", 0, 1).as_ptr());
        assert_eq!(own.index().tensors["0.gate"].rows, 4);
        assert!(own.private_bytes() > 0 && base.private_bytes() == 0);
    }

    #[test]
    fn layers_written_apart_are_read_back_over_the_base() {
        let (model, other) = (random_model(1), random_model(2));
        let folder = tempfile::tempdir().unwrap();
        let order = identity_order(&model.config);
        let base = Weights::create(&folder.path().join("base"), &model, &order, 8).unwrap();
        let base = Arc::new(base);
        let apart = folder.path().join("apart");
        assert!(!Weights::has_layers(&apart));
        Weights::write_layers(&apart, &other, &order, &part()).unwrap();
        assert!(Weights::has_layers(&apart));
        let own = Weights::read_layers(&base, &apart).unwrap();
        assert_eq!(own.rows("2.gate", 0, 96), other.layers[2].gate);
        assert_eq!(own.rows("1.gate", 0, 96), model.layers[1].gate, "not written: the base's");
        assert_eq!(own.rows("embedding", 0, 50), model.embedding);
        std::fs::write(apart.join(WEIGHTS_FILE), b"short").unwrap();
        let message = Weights::read_layers(&base, &apart).unwrap_err().to_string();
        assert!(message.contains("wrong length; found 5 bytes"), "{message}");
    }
}
