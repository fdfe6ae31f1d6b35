//! The manifest of an elastic model: what was measured, in which order the units go, and what each
//! level keeps. The engine builds its sessions from this file and the GGUF it names.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::merge::{LevelMerges, MergedLayer};
use crate::elastify::allocation::AllocationSpec;
use crate::elastify::contextual::PredictorFile;
use crate::elastify::corpus::CorpusInfo;
use crate::elastify::importance::ImportanceRule;
use crate::elastify::ladders::Basis;
use crate::elastify::merge_search::MergeSpec;
use crate::elastify::recover::Recovery;
use crate::elastify::scores::{GroupRule, ModelIdentity, Scores};
use crate::engine::adapter::order_sha256;
use crate::engine::model::{LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::error::{Error, Result};
use crate::files;
use crate::units::Level;

/// How a ladder gets its sub-models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Prefixes of reordered units.
    Width,
    /// Those prefixes, each with an adapter of its own.
    WidthLora,
    /// The same units as `width`, gathered into memory of their own at each switch.
    WidthRelayout,
    /// Whole layers skipped, by what the removal of each alone costs.
    LayerRemoval,
    /// Whole layers skipped, by what their removal costs when those before them have gone.
    LayerRemovalGreedy,
    /// Whole layers skipped, by how little they turn the residual stream.
    LayerInfluence,
    /// Layers merged into others.
    LayerMerge,
    /// Attention skipped, then MLPs, by how little they turn the residual stream.
    AttnDrop,
    /// Separately trained models.
    Zoo,
    /// Neurons picked for each token that is generated.
    Contextual,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 10] = [
        Self::Width,
        Self::WidthLora,
        Self::WidthRelayout,
        Self::LayerRemoval,
        Self::LayerRemovalGreedy,
        Self::LayerInfluence,
        Self::LayerMerge,
        Self::AttnDrop,
        Self::Zoo,
        Self::Contextual,
    ];

    /// The family's name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::WidthLora => "width-lora",
            Self::WidthRelayout => "width-relayout",
            Self::LayerRemoval => "layer-removal",
            Self::LayerRemovalGreedy => "layer-removal-greedy",
            Self::LayerInfluence => "layer-influence",
            Self::LayerMerge => "layer-merge",
            Self::AttnDrop => "attn-drop",
            Self::Zoo => "zoo",
            Self::Contextual => "contextual",
        }
    }
}

/// In which order the units of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitOrder {
    /// Most important first.
    Importance,
    /// As in the base model.
    Original,
}

/// Everything that a ladder depends on beside the scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderSpec {
    /// How the sub-models come about.
    pub family: Family,
    /// How the order comes about; without effect where layers are kept or skipped whole.
    pub unit_order: UnitOrder,
    /// What ranks neurons.
    pub importance_rule: ImportanceRule,
    /// What ranks groups.
    pub group_rule: GroupRule,
    /// How budgets are spread in family `width`, and how many layers are anchors.
    pub allocation: AllocationSpec,
}

/// A ladder of sub-models with everything it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticManifest {
    /// The command that wrote this file.
    pub command: String,
    /// The base model.
    pub model: ModelIdentity,
    /// What importance was measured on.
    pub corpus: CorpusInfo,
    /// The corpus's first tokens, on which `layer_importance` was measured.
    pub removal_tokens: usize,
    /// What was asked for.
    pub ladder: LadderSpec,
    /// The base model's mean next-token loss, nats per token.
    pub base_loss: f64,
    /// How important each layer is: how much that loss grows when it is removed (alone, or greedily
    /// after those less important), or, in the families by influence, how far it turns the stream; in `layer-merge`, in what
    /// share of the models on the way down its place still has a layer; in `contextual`, how much its neurons add to the
    /// stream.
    pub layer_importance: Vec<f64>,
    /// The layers that dominate by `layer_importance`, ascending.
    pub anchors: Vec<usize>,
    /// Sub-models, smallest level first.
    pub levels: Vec<SubModel>,
    /// For each of `levels`, the share of the layers' parameters that it keeps.
    pub unit_parameter_share: Vec<f64>,
    /// The order of the units of each layer.
    pub order: Vec<LayerOrder>,
    /// In family `width-lora`, the adapters of levels below 100 %, and of 100 % where the base
    /// model is tuned too; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterFile>,
    /// How the adapters were trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// In family `layer-merge`, how layers were merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeSpec>,
    /// In family `layer-merge`, the layers of each level below 100 % that are sums of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<LevelMerges>,
    /// In family `contextual`, what picks as many neurons as a level counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictor: Option<PredictorFile>,
}

/// Where the adapter of a level is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterFile {
    /// The sub-model that it belongs to.
    pub level: Level,
    /// Rank of its pairs of matrices.
    pub rank: usize,
    /// The file, relative to the manifest's folder.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl ElasticManifest {
    /// The ladder that `ladder` asks for, at the study's levels, from measured `scores`.
    ///
    /// # Errors
    /// As [`with_levels`](Self::with_levels).
    pub fn new(scores: &Scores, ladder: LadderSpec, command: String) -> Result<Self> {
        Self::with_levels(scores, ladder, &Level::LADDER, command)
    }

    /// The same at `levels`, rising.
    ///
    /// # Errors
    /// If a measurement that the family needs has not been made, a level is out of its reach, or the
    /// family is not made from scores alone.
    pub fn with_levels(
        scores: &Scores,
        ladder: LadderSpec,
        levels: &[Level],
        command: String,
    ) -> Result<Self> {
        let config = &scores.model.config;
        let basis = Basis::new(scores, &ladder, levels)?;
        Ok(Self {
            command,
            model: scores.model.clone(),
            corpus: scores.corpus.clone(),
            removal_tokens: basis.tokens,
            ladder,
            base_loss: basis.base_loss,
            layer_importance: basis.layer_importance,
            anchors: basis.layers.top_layers(ladder.allocation.anchor_share),
            unit_parameter_share: basis
                .levels
                .iter()
                .map(|level| level.unit_parameter_share(config))
                .collect(),
            levels: basis.levels,
            order: basis.order,
            adapters: Vec::new(),
            recovery: None,
            merge: basis.merge,
            merged: basis.merged,
            predictor: None,
        })
    }

    /// Reads and checks the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no manifest, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|e| Error::file(path, "not an elastic manifest").caused_by(e))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Writes the file `path`: one line per field, and one per entry of a list of lists or tables.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fields: serde_json::Map<String, Value> = serde_json::to_value(self)
            .and_then(serde_json::from_value)
            .map_err(|e| Error::file(path, "cannot be written as JSON").caused_by(e))?;
        let lines: Vec<String> =
            fields.iter().map(|(key, value)| format!("  \"{key}\": {}", field(value))).collect();
        files::write_whole(path, format!("{{\n{}\n}}\n", lines.join(",\n")).as_bytes())
    }

    /// The sub-model of `level`.
    #[must_use]
    pub fn level(&self, level: Level) -> Option<&SubModel> {
        self.levels.iter().find(|sub_model| sub_model.level == level)
    }

    /// SHA-256 of `order`'s JSON, which adapters name.
    #[must_use]
    pub fn order_sha256(&self) -> String {
        order_sha256(&self.order)
    }

    /// The layers of `level` that are sums of the base model's.
    #[must_use]
    pub fn merged(&self, level: Level) -> &[MergedLayer] {
        self.merged.iter().find(|merges| merges.level == level).map_or(&[], |m| &m.layers)
    }

    /// Checks that this manifest belongs to a model of dimensions `config`.
    ///
    /// # Errors
    /// If it was made for other dimensions.
    pub fn check_model(&self, path: &Path, config: &ModelConfig) -> Result<()> {
        if &self.model.config == config {
            return Ok(());
        }
        Err(Error::file(path, "made for a model of other dimensions")
            .at("key \"model.config\"")
            .found(format!("{:?}", self.model.config))
            .allowed(format!("{config:?}")))
    }

    fn check(&self, path: &Path) -> Result<()> {
        let config = &self.model.config;
        let wrong = |place: String, problem: &str| Error::file(path, problem).at(place);
        for (key, length, allowed) in [
            ("order", self.order.len(), config.layers),
            ("layer_importance", self.layer_importance.len(), config.layers),
            ("unit_parameter_share", self.unit_parameter_share.len(), self.levels.len()),
        ] {
            if length != allowed {
                return Err(wrong(format!("key \"{key}\""), "wrong length")
                    .found(length)
                    .allowed(allowed));
            }
        }
        for (layer, order) in self.order.iter().enumerate() {
            for (kind, units, count) in [
                ("groups", &order.groups, config.kv_heads),
                ("neurons", &order.neurons, config.intermediate),
            ] {
                if !is_permutation(units, count) {
                    return Err(wrong(format!("key \"order[{layer}].{kind}\""), "no permutation")
                        .allowed(format!("each of 0 to {} once", count.saturating_sub(1))));
                }
            }
        }
        self.check_levels(path)
    }

    fn check_levels(&self, path: &Path) -> Result<()> {
        let config = &self.model.config;
        let whole = LayerShape { groups: config.kv_heads, neurons: config.intermediate };
        let mut below = vec![LayerShape { groups: 0, neurons: 0 }; config.layers];
        for (index, sub_model) in self.levels.iter().enumerate() {
            let wrong =
                |problem: &str| Error::file(path, problem).at(format!("key \"levels[{index}]\""));
            if sub_model.layers.len() != config.layers {
                return Err(wrong("wrong number of layers")
                    .found(sub_model.layers.len())
                    .allowed(config.layers));
            }
            if index > 0 && self.levels[index - 1].level >= sub_model.level {
                return Err(wrong("levels out of order").found(sub_model.level));
            }
            for (layer, (low, high)) in below.iter().zip(&sub_model.layers).enumerate() {
                if !fits(low, high) || !fits(high, &whole) {
                    return Err(wrong(&format!("shape of layer {layer} out of range"))
                        .found(format!("{high:?}"))
                        .allowed(format!("from {low:?} to {whole:?}")));
                }
            }
            below.clone_from(&sub_model.layers);
        }
        self.check_adapters(path)?;
        self.check_predictor(path)?;
        self.check_merged(path)
    }

    fn check_predictor(&self, path: &Path) -> Result<()> {
        let family = self.ladder.family;
        if self.predictor.is_some() == (family == Family::Contextual) {
            return Ok(());
        }
        let found = if self.predictor.is_some() { "a predictor" } else { "none" };
        Err(Error::file(path, "a predictor belongs to one family")
            .at("key \"predictor\"")
            .found(format!("{found} in family {}", family.name()))
            .allowed(format!("one in family {}, and no other", Family::Contextual.name())))
    }

    fn check_adapters(&self, path: &Path) -> Result<()> {
        let wrong = |problem: &str| Error::file(path, problem).at("key \"adapters\"");
        if self.ladder.family != Family::WidthLora {
            return match self.adapters.first() {
                None => Ok(()),
                Some(adapter) => Err(wrong("adapters in a family without them")
                    .found(format!("family {}, level {}", self.ladder.family.name(), adapter.level))
                    .allowed(format!("family {}", Family::WidthLora.name()))),
            };
        }
        if let Some(pair) = self.adapters.windows(2).find(|pair| pair[0].level >= pair[1].level) {
            return Err(wrong("levels out of order").found(pair[1].level));
        }
        if let Some(adapter) = self.adapters.iter().find(|a| self.level(a.level).is_none()) {
            return Err(wrong("adapter of a level that the ladder lacks").found(adapter.level));
        }
        let adapted = |level: Level| self.adapters.iter().any(|adapter| adapter.level == level);
        let bare = self.levels.iter().find(|m| m.level < Level::FULL && !adapted(m.level));
        match bare {
            None => Ok(()),
            Some(sub_model) => Err(wrong("level without an adapter")
                .found(sub_model.level)
                .allowed("an adapter for every level below 100 %")),
        }
    }

    fn check_merged(&self, path: &Path) -> Result<()> {
        let layers = self.model.config.layers;
        for (index, merges) in self.merged.iter().enumerate() {
            let wrong =
                |problem: &str| Error::file(path, problem).at(format!("key \"merged[{index}]\""));
            let family = self.ladder.family;
            if family != Family::LayerMerge {
                return Err(wrong("merged layers in a family without them")
                    .found(family.name())
                    .allowed(Family::LayerMerge.name()));
            }
            let Some(sub_model) = self.level(merges.level) else {
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
}

fn fits(inner: &LayerShape, outer: &LayerShape) -> bool {
    inner.groups <= outer.groups && inner.neurons <= outer.neurons
}

fn is_permutation(units: &[u32], count: usize) -> bool {
    let mut seen = vec![false; count];
    units.len() == count
        && units.iter().all(|&unit| {
            seen.get_mut(unit as usize).is_some_and(|seen| !std::mem::replace(seen, true))
        })
}

fn field(value: &Value) -> String {
    match value {
        Value::Array(entries) if entries.iter().any(|e| e.is_object() || e.is_array()) => {
            let lines: Vec<String> = entries.iter().map(|entry| format!("    {entry}")).collect();
            format!("[\n{}\n  ]", lines.join(",\n"))
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
