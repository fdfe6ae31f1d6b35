//! What files record of how a ladder came about: which model and text, which rules, what it took.
//! Measuring and training are `elastify`'s.

use serde::{Deserialize, Serialize};

use crate::engine::model::ModelConfig;

/// Which model was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Short name, as in device profiles.
    pub base_model: String,
    /// SHA-256 of the GGUF file.
    pub model_sha256: String,
    /// How its weights were stored.
    pub quantisation: String,
    /// Dimensions.
    pub config: ModelConfig,
}

/// What a measurement was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusInfo {
    /// Where the text comes from.
    pub description: String,
    /// SHA-256, in hexadecimal, of the whole text, of which the first tokens are used.
    pub sha256: String,
    /// Tokens used.
    pub tokens: usize,
    /// Sequences used.
    pub sequences: usize,
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

/// Everything that a ladder of a family depends on beside the scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderSpec {
    /// How the order comes about; without effect where layers are kept or skipped whole.
    pub unit_order: UnitOrder,
    /// What ranks neurons.
    pub importance_rule: ImportanceRule,
    /// What ranks groups.
    pub group_rule: GroupRule,
    /// How budgets are spread in family `width`, and how many layers are anchors.
    pub allocation: AllocationSpec,
}

/// What is summed over tokens: terms, or their sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportanceRule {
    /// `Σ_tokens |a · ∂L/∂a|`: effects of opposite sign at different tokens add up.
    TokenTaylor,
    /// `Σ_sequences |Σ_tokens a · ∂L/∂a|`: within a sequence they cancel.
    SequenceTaylor,
}

/// What ranks the attention groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupRule {
    /// The growth of the loss when the group is removed.
    RemovalLoss,
    /// As neurons, by [`ImportanceRule::TokenTaylor`].
    TokenTaylor,
    /// As neurons, by [`ImportanceRule::SequenceTaylor`].
    SequenceTaylor,
}

/// How a level's budget is spread over layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AllocationRule {
    /// The same share in every layer.
    Uniform {},
    /// The most important layers whole, the same share in every other.
    Anchored {},
    /// The most important units of the whole model.
    Global {
        /// Share of a layer's neurons that every level keeps.
        neuron_floor: f64,
        /// Number of a layer's groups that every level keeps.
        group_floor: usize,
    },
}

/// What a ladder of family `width` is made from, beside the scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationSpec {
    /// How a budget is spread over layers.
    pub rule: AllocationRule,
    /// Neurons are kept and dropped in blocks of so many, so that every prefix suits a kernel.
    pub neuron_block: usize,
    /// Share of all groups that the 20 % level keeps.
    pub group_share_low: f64,
    /// Share of the layers that are anchors.
    pub anchor_share: f64,
}

/// Time spent, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// On the clock.
    pub wall_s: f64,
    /// Of all threads on a processor; `None` where the system does not tell.
    pub cpu_s: Option<f64>,
}

impl std::ops::Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let cpu_s = self.cpu_s.zip(other.cpu_s).map(|(a, b)| a + b);
        Self { wall_s: self.wall_s + other.wall_s, cpu_s }
    }
}
