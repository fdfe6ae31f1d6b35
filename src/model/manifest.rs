//! The manifest of an elastic model: what was measured, in which order the units go, what each
//! level keeps, and what the family has of its own. The engine builds its sessions from this file
//! and the GGUF it names.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::family::Payload;
use super::family::contextual::PredictorFile;
use super::family::lora::{AdapterFile, Adapters, Recovery};
use super::family::merge::{LevelMerges, MergeSpec, Merges};
use super::family::zoo::{ZooManifest, ZooMember};
use super::recorded::{
    AllocationSpec, CorpusInfo, GroupRule, ImportanceRule, LadderSpec, ModelIdentity, UnitOrder,
};
use crate::engine::adapter::order_sha256;
use crate::engine::model::{LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::error::{Error, Result};
use crate::family::Family;
use crate::files;
use crate::units::Level;

mod order;

/// What the levels of an elastic model are made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// One base model.
    Ladder(Box<ElasticManifest>),
    /// Models of their own.
    Zoo(ZooManifest),
}

impl Manifest {
    /// Reads and checks the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no manifest, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self> {
        let value = read_json(path)?;
        if value.get("family").is_some_and(|family| family == Family::Zoo.name()) {
            return ZooManifest::read(path, value).map(Self::Zoo);
        }
        ElasticManifest::read(path, value).map(|ladder| Self::Ladder(Box::new(ladder)))
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Ladder(ladder) => ladder.payload.family(),
            Self::Zoo(_) => Family::Zoo,
        }
    }

    /// The base model; in a zoo the largest.
    #[must_use]
    pub fn identity(&self) -> ModelIdentity {
        match self {
            Self::Ladder(ladder) => ladder.model.clone(),
            Self::Zoo(zoo) => zoo.identity(),
        }
    }

    /// What each level keeps of the base model.
    ///
    /// # Errors
    /// If levels are models of their own.
    pub fn ladder(&self) -> Result<&ElasticManifest> {
        match self {
            Self::Ladder(ladder) => Ok(ladder),
            Self::Zoo(_) => Err(Error::new("family zoo", "its levels share no units")
                .allowed("a family of one base model")),
        }
    }

    /// In words, what each level is, where levels are models of their own.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        match self {
            Self::Ladder(_) => Vec::new(),
            Self::Zoo(zoo) => zoo.members.iter().map(ZooMember::describe).collect(),
        }
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    serde_json::from_slice(&text)
        .map_err(|e| Error::file(path, "not an elastic manifest").caused_by(e))
}

/// A ladder of sub-models of one base model with everything it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct ElasticManifest {
    /// The command that wrote this file.
    pub command: String,
    /// The base model.
    pub model: ModelIdentity,
    /// What importance was measured on.
    pub corpus: CorpusInfo,
    /// The corpus's first tokens, on which `layer_importance` was measured.
    pub removal_tokens: usize,
    /// What was asked for beside the family.
    pub ladder: LadderSpec,
    /// The base model's mean next-token loss, nats per token.
    pub base_loss: f64,
    /// How important each layer is: how much that loss grows when it is removed (alone, or greedily
    /// after those less important), or, in the families by influence, how far it turns the stream;
    /// in `layer-merge`, in what share of the models on the way down its place still has a layer;
    /// in `contextual`, how much its neurons add to the stream.
    pub layer_importance: Vec<f64>,
    /// The layers that dominate by `layer_importance`, ascending.
    pub anchors: Vec<usize>,
    /// Sub-models, smallest level first.
    pub levels: Vec<SubModel>,
    /// For each of `levels`, the share of the layers' parameters that it keeps.
    pub unit_parameter_share: Vec<f64>,
    /// The order of the units of each layer.
    pub order: Vec<LayerOrder>,
    /// The family, and what it has of its own.
    pub payload: Payload,
}

/// A manifest as it is written: one table, in which a family's own keys are absent from the others.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    command: String,
    model: ModelIdentity,
    corpus: CorpusInfo,
    removal_tokens: usize,
    ladder: FileLadder,
    base_loss: f64,
    layer_importance: Vec<f64>,
    anchors: Vec<usize>,
    levels: Vec<SubModel>,
    unit_parameter_share: Vec<f64>,
    /// As [`order`] spells it.
    order: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    adapters: Vec<AdapterFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merge: Option<MergeSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    merged: Vec<LevelMerges>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predictor: Option<PredictorFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLadder {
    family: Family,
    unit_order: UnitOrder,
    importance_rule: ImportanceRule,
    group_rule: GroupRule,
    allocation: AllocationSpec,
}

impl File {
    /// `manifest` with its order spelt as `order`.
    fn of(manifest: ElasticManifest, order: Value) -> Self {
        let LadderSpec { unit_order, importance_rule, group_rule, allocation } = manifest.ladder;
        let family = manifest.payload.family();
        let mut file = Self {
            command: manifest.command,
            model: manifest.model,
            corpus: manifest.corpus,
            removal_tokens: manifest.removal_tokens,
            ladder: FileLadder { family, unit_order, importance_rule, group_rule, allocation },
            base_loss: manifest.base_loss,
            layer_importance: manifest.layer_importance,
            anchors: manifest.anchors,
            levels: manifest.levels,
            unit_parameter_share: manifest.unit_parameter_share,
            order,
            adapters: Vec::new(),
            recovery: None,
            merge: None,
            merged: Vec::new(),
            predictor: None,
        };
        match manifest.payload {
            Payload::WidthLora(Adapters { files, recovery }) => {
                (file.adapters, file.recovery) = (files, recovery);
            }
            Payload::LayerMerge(Merges { spec, levels }) => {
                (file.merge, file.merged) = (Some(spec), levels);
            }
            Payload::Contextual(predictor) => file.predictor = Some(predictor),
            _ => {}
        }
        file
    }

    /// What the family has of its own; refuses what another family has.
    fn take_payload(&mut self, path: &Path) -> Result<Payload> {
        let family = self.ladder.family;
        let (adapters, recovery) = (std::mem::take(&mut self.adapters), self.recovery.take());
        let (merge, merged) = (self.merge.take(), std::mem::take(&mut self.merged));
        let predictor = self.predictor.take();
        let stray = [
            ("adapters", Family::WidthLora, !adapters.is_empty()),
            ("recovery", Family::WidthLora, recovery.is_some()),
            ("merge", Family::LayerMerge, merge.is_some()),
            ("merged", Family::LayerMerge, !merged.is_empty()),
            ("predictor", Family::Contextual, predictor.is_some()),
        ];
        if let Some((key, owner, _)) = stray.into_iter().find(|s| s.2 && s.1 != family) {
            return Err(Error::file(path, "of another family")
                .at(format!("key \"{key}\""))
                .found(format!("family {family}"))
                .allowed(format!("family {owner}")));
        }
        let missing = |key: &str| {
            Error::file(path, format!("missing in family {family}")).at(format!("key \"{key}\""))
        };
        match family {
            Family::WidthLora => Ok(Payload::WidthLora(Adapters { files: adapters, recovery })),
            Family::LayerMerge => {
                let spec = merge.ok_or_else(|| missing("merge"))?;
                Ok(Payload::LayerMerge(Merges { spec, levels: merged }))
            }
            Family::Contextual => {
                predictor.map(Payload::Contextual).ok_or_else(|| missing("predictor"))
            }
            family => Payload::of_units(family).ok_or_else(|| {
                Error::file(path, "a zoo's manifest names models, not units")
                    .at("key \"ladder.family\"")
                    .found(family)
            }),
        }
    }

    fn manifest(mut self, path: &Path) -> Result<ElasticManifest> {
        let payload = self.take_payload(path)?;
        self.model.config.check(&path.display().to_string())?;
        let order = order::read(path, self.order, &self.model.config)?;
        let FileLadder { unit_order, importance_rule, group_rule, allocation, .. } = self.ladder;
        Ok(ElasticManifest {
            command: self.command,
            model: self.model,
            corpus: self.corpus,
            removal_tokens: self.removal_tokens,
            ladder: LadderSpec { unit_order, importance_rule, group_rule, allocation },
            base_loss: self.base_loss,
            layer_importance: self.layer_importance,
            anchors: self.anchors,
            levels: self.levels,
            unit_parameter_share: self.unit_parameter_share,
            order,
            payload,
        })
    }
}

impl ElasticManifest {
    /// Reads and checks the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no manifest of a ladder, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self> {
        Self::read(path, read_json(path)?)
    }

    fn read(path: &Path, value: Value) -> Result<Self> {
        let file: File = serde_json::from_value(value)
            .map_err(|e| Error::file(path, "not an elastic manifest").caused_by(e))?;
        let manifest = file.manifest(path)?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Writes the file `path`: one line per field, and one per entry of a list of lists or tables.
    /// An order that has no name goes into a file beside it, which other manifests share.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let order = order::write(path, &self.order, &self.model.config)?;
        let file = File::of(self.clone(), order);
        let fields: serde_json::Map<String, Value> = serde_json::to_value(file)
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

    /// Checks that this manifest, read from `path`, was made from the model in the file `gguf`,
    /// whose SHA-256 is `sha256`.
    ///
    /// # Errors
    /// If it was made from another.
    pub fn check_weights(&self, path: &Path, gguf: &Path, sha256: &str) -> Result<()> {
        if self.model.model_sha256 == sha256 {
            return Ok(());
        }
        Err(Error::file(gguf, "not the model that the manifest was made from")
            .found(format!("sha256 {sha256}"))
            .allowed(format!("sha256 {}, as {} says", self.model.model_sha256, path.display())))
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
        self.payload.check(path, self)
    }
}

fn fits(inner: &LayerShape, outer: &LayerShape) -> bool {
    inner.groups <= outer.groups && inner.neurons <= outer.neurons
}

fn is_permutation(units: &[u32], count: usize) -> bool {
    // The length first: no memory is asked for that the list does not fill.
    if units.len() != count {
        return false;
    }
    let mut seen = vec![false; count];
    units
        .iter()
        .all(|&unit| seen.get_mut(unit as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
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
