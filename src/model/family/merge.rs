//! Family `layer-merge`: layers merged into others.
//!
//! Adjacent layers `l, l+1, …, l+m` become one whose weights are `θ_l + Σ (θ_{l+k} − θ_l)`: the
//! first layer plus what each of the others differs from it by. Reference: LaCo (Yang et al.,
//! 2024), "reserving differences while seeking common". Merged layers merge again, so that every
//! layer of a sub-model is a sum of the base model's with whole-number weights. The norm before a
//! projection is folded into it first: what is added is what the layers compute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::gguf::Gguf;
use crate::engine::model::{DenseLayer, DenseModel, LayerShape, ModelConfig, SubModel};
use crate::engine::weights::Weights;
use crate::error::{Error, Result};
use crate::model::manifest::ElasticManifest;
use crate::model::open::cache_folder;
use crate::units::Level;

/// The merged layers of a ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Merges {
    /// How layers were merged.
    pub spec: MergeSpec,
    /// The layers of each level below 100 % that are sums of others.
    pub levels: Vec<LevelMerges>,
}

/// The parameters of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// How many layers become one.
    pub layers: usize,
    /// How far below an accepted merger the pass goes on.
    pub interval: usize,
    /// No merger below this similarity.
    pub similarity_floor: f64,
}

/// A layer that is a sum of the base model's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedLayer {
    /// The base model's layer at whose place it runs.
    pub place: usize,
    /// Summands, by rising layer.
    pub parts: Vec<Part>,
}

/// A layer of the base model and how often it goes into a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The layer.
    pub layer: usize,
    /// Its factor.
    pub weight: i32,
}

/// The merged layers of one level of a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelMerges {
    /// The level.
    pub level: Level,
    /// Its layers that are not the base model's, by rising place.
    pub layers: Vec<MergedLayer>,
}

impl Merges {
    /// The layers of `level` that are sums of the base model's.
    #[must_use]
    pub fn of(&self, level: Level) -> &[MergedLayer] {
        self.levels.iter().find(|merges| merges.level == level).map_or(&[], |m| &m.layers)
    }

    pub(super) fn check(&self, path: &Path, manifest: &ElasticManifest) -> Result<()> {
        let layers = manifest.model.config.layers;
        for (index, merges) in self.levels.iter().enumerate() {
            let wrong =
                |problem: &str| Error::file(path, problem).at(format!("key \"merged[{index}]\""));
            let Some(sub_model) = manifest.level(merges.level) else {
                return Err(wrong("level that the ladder lacks").found(merges.level));
            };
            for layer in &merges.layers {
                let kept = sub_model.layers.get(layer.place).is_some_and(|s| s.neurons > 0);
                let known = layer.parts.iter().all(|part| part.layer < layers);
                if !kept || !known || layer.parts.is_empty() {
                    return Err(wrong("merged layer of another model")
                        .found(format!("place {}, {} parts", layer.place, layer.parts.len()))
                        .allowed("the place of a kept layer, parts of the model's layers"));
                }
            }
        }
        Ok(())
    }

    /// Folders with the layers of each level of `manifest`, from the cache or made now.
    pub(in crate::model) fn folders(
        &self,
        gguf: &Gguf,
        manifest: &ElasticManifest,
    ) -> Result<BTreeMap<Level, PathBuf>> {
        let mut model = None;
        let mut folders = BTreeMap::new();
        for sub_model in &manifest.levels {
            let merged = self.of(sub_model.level);
            let json = serde_json::to_vec(&("norms folded in", sub_model, merged));
            let json = json.expect("layers are plain data");
            let folder = cache_folder(&manifest.model.model_sha256, &json)?;
            if !Weights::has_layers(&folder) {
                let model = match &model {
                    Some(model) => model,
                    None => model.insert(gguf.model()?),
                };
                let merged = merged_model(model, merged);
                Weights::write_layers(&folder, &merged, &manifest.order, sub_model)?;
            }
            folders.insert(sub_model.level, folder);
        }
        Ok(folders)
    }
}

impl MergedLayer {
    /// Layer `place` of the base model as it is.
    #[must_use]
    pub fn original(place: usize) -> Self {
        Self { place, parts: vec![Part { layer: place, weight: 1 }] }
    }

    /// Whether it is a layer of the base model.
    #[must_use]
    pub fn is_original(&self) -> bool {
        *self == Self::original(self.place)
    }

    /// The merger of adjacent layers, the first giving its place.
    ///
    /// # Panics
    /// If there is no layer.
    #[must_use]
    pub fn of(layers: &[Self]) -> Self {
        let (first, others) = layers.split_first().expect("a layer to merge into");
        let mut sums: BTreeMap<usize, i32> = BTreeMap::new();
        let mut add = |layer: &Self, factor: i32| {
            for part in &layer.parts {
                *sums.entry(part.layer).or_default() += factor * part.weight;
            }
        };
        add(first, 1 - others.len() as i32);
        for other in others {
            add(other, 1);
        }
        let parts = sums.into_iter().filter(|&(_, weight)| weight != 0);
        let parts = parts.map(|(layer, weight)| Part { layer, weight }).collect();
        Self { place: first.place, parts }
    }

    /// Its weights.
    ///
    /// # Panics
    /// If `model` lacks one of its layers.
    #[must_use]
    pub fn dense(&self, model: &DenseModel) -> DenseLayer {
        let base = &model.layers[self.place];
        let sum = |of: &dyn Fn(&DenseLayer) -> Vec<f32>| {
            let mut sum: Vec<f32> = Vec::new();
            for part in &self.parts {
                let values = of(&model.layers[part.layer]);
                sum.resize(values.len(), 0.0);
                sum.iter_mut().zip(values).for_each(|(s, v)| *s += part.weight as f32 * v);
            }
            sum
        };
        let bias =
            |row: usize| sum(&|layer| layer.qkv_bias.as_ref().map_or(vec![], |b| b[row].clone()));
        DenseLayer {
            attention_norm: vec![1.0; base.attention_norm.len()],
            q: sum(&|layer| scaled(&layer.q, &layer.attention_norm)),
            k: sum(&|layer| scaled(&layer.k, &layer.attention_norm)),
            v: sum(&|layer| scaled(&layer.v, &layer.attention_norm)),
            qkv_bias: base.qkv_bias.as_ref().map(|_| [0, 1, 2].map(bias)),
            o: sum(&|layer| layer.o.clone()),
            mlp_norm: vec![1.0; base.mlp_norm.len()],
            gate: sum(&|layer| scaled(&layer.gate, &layer.mlp_norm)),
            up: sum(&|layer| scaled(&layer.up, &layer.mlp_norm)),
            down: sum(&|layer| layer.down.clone()),
        }
    }
}

/// `weights` `[rows, norm.len()]`, each row times `norm`.
fn scaled(weights: &[f32], norm: &[f32]) -> Vec<f32> {
    weights
        .chunks_exact(norm.len())
        .flat_map(|row| row.iter().zip(norm).map(|(w, n)| w * n))
        .collect()
}

/// `model` with `merged` in their places.
#[must_use]
pub fn merged_model(model: &DenseModel, merged: &[MergedLayer]) -> DenseModel {
    let mut result = model.clone();
    for layer in merged {
        result.layers[layer.place] = layer.dense(model);
    }
    result
}

/// The sub-model of `level` that keeps `layers`, whole, and skips the places of all others.
#[must_use]
pub fn sub_model(config: &ModelConfig, level: Level, layers: &[MergedLayer]) -> SubModel {
    let whole = LayerShape { groups: config.kv_heads, neurons: config.intermediate };
    let mut shapes = vec![LayerShape { groups: 0, neurons: 0 }; config.layers];
    for layer in layers {
        shapes[layer.place] = whole;
    }
    SubModel { level, layers: shapes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reference::{random_model, random_model_of};

    fn originals(places: std::ops::Range<usize>) -> Vec<MergedLayer> {
        places.map(MergedLayer::original).collect()
    }

    fn parts(layer: &MergedLayer) -> Vec<(usize, i32)> {
        layer.parts.iter().map(|part| (part.layer, part.weight)).collect()
    }

    #[test]
    fn a_merger_is_the_first_layer_plus_the_differences_of_the_others() {
        // θ₁ + (θ₂ − θ₁) + (θ₃ − θ₁) = −θ₁ + θ₂ + θ₃; of two: θ₀ + (θ₁ − θ₀) = θ₁.
        let three = MergedLayer::of(&originals(1..4));
        assert_eq!((three.place, parts(&three)), (1, vec![(1, -1), (2, 1), (3, 1)]));
        let two = MergedLayer::of(&originals(0..2));
        assert_eq!((two.place, parts(&two)), (0, vec![(1, 1)]));
        // Again, below: θ₀ and the three: the sum of the three.
        let again = MergedLayer::of(&[MergedLayer::original(0), three.clone()]);
        assert_eq!((again.place, parts(&again)), (0, parts(&three)));
        assert_eq!(MergedLayer::of(&originals(2..3)), MergedLayer::original(2));
        assert!(MergedLayer::original(2).is_original() && !two.is_original());
    }

    #[test]
    fn merging_identical_layers_leaves_one_of_them() {
        let mut model = random_model_of(&random_model(0).config, false, 5);
        let copy = model.layers[0].clone();
        model.layers = vec![copy.clone(), copy.clone(), copy.clone()];
        let same = MergedLayer::original(0).dense(&model);
        for count in 2..=3 {
            let merged = MergedLayer::of(&originals(0..count)).dense(&model);
            assert_eq!(merged, same, "zero difference: the others are just dropped");
        }
    }

    #[test]
    fn weights_are_summed_one_by_one_with_the_norms_before_them_folded_in() {
        let model = random_model_of(&random_model(0).config, false, 7);
        let merged = MergedLayer::of(&originals(0..3));
        let layer = merged.dense(&model);
        let [a, b, c] = [0, 1, 2].map(|layer| &model.layers[layer]);
        for place in [0, 17, 100] {
            let column = place % model.config.hidden;
            let folded = |layer: &DenseLayer| layer.gate[place] * layer.mlp_norm[column];
            assert!((layer.gate[place] - (folded(b) + folded(c) - folded(a))).abs() < 1e-6);
        }
        let bias = |layer: &DenseLayer| layer.qkv_bias.as_ref().unwrap()[2][5];
        assert!((bias(&layer) - (bias(b) + bias(c) - bias(a))).abs() < 1e-6);
        let ones = vec![1.0; model.config.hidden];
        assert_eq!((&layer.mlp_norm, &layer.attention_norm), (&ones, &ones));
        let whole = merged_model(&model, &[merged]);
        assert_eq!((&whole.layers[0], &whole.layers[1]), (&layer, &model.layers[1]));
    }

    #[test]
    fn two_merged_layers_are_the_upper_one_whatever_norms_it_has() {
        let model = random_model(8);
        let merged = MergedLayer::of(&originals(0..2)).dense(&model);
        let upper = &model.layers[1];
        assert_ne!(upper.mlp_norm, model.layers[0].mlp_norm);
        assert_eq!(merged.gate, scaled(&upper.gate, &upper.mlp_norm));
        assert_eq!((&merged.o, &merged.down), (&upper.o, &upper.down));
    }

    #[test]
    fn a_sub_model_skips_the_places_that_were_merged_away() {
        let config = random_model(1).config;
        let kept = [MergedLayer::of(&originals(0..2)), MergedLayer::original(2)];
        let sub_model = sub_model(&config, Level::percent(70), &kept);
        assert_eq!(sub_model.layers.iter().map(|s| s.neurons).collect::<Vec<_>>(), [96, 0, 96]);
    }
}
