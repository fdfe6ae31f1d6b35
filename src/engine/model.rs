//! A dense decoder-only transformer in memory, and the shapes and orders of its elastic units.
//!
//! The architecture is the Llama family's: RMS norm, rotary positions (half-split pairs), grouped-
//! query attention, gated SiLU MLP. An *attention group* is one KV head with its query heads; a
//! *neuron* is one row of gate and up with one column of down. Any order of units inside a layer
//! leaves the layer's function unchanged.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::Level;

/// Largest dimension that a file may declare; products of three such dimensions fit 64 bits.
pub const DIMENSION_MAX: usize = 1 << 20;

/// Dimensions and constants of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Decoder layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// MLP neurons per layer.
    pub intermediate: usize,
    /// Query heads per layer.
    pub heads: usize,
    /// Key/value heads per layer: the number of attention groups.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Added to the mean square in RMS norm.
    pub rms_epsilon: f32,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Longest context the model was trained for.
    pub context: usize,
}

impl ModelConfig {
    /// Query heads per attention group.
    #[must_use]
    pub fn heads_per_group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Checks that every dimension is one that a model can have, before anything of that size is
    /// asked for; `subject` is where they stand.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self, subject: &str) -> Result<()> {
        let dimensions = [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("intermediate", self.intermediate),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocab", self.vocab),
            ("context", self.context),
        ];
        match dimensions.into_iter().find(|(_, size)| !(1..=DIMENSION_MAX).contains(size)) {
            None => Ok(()),
            Some((key, size)) => Err(Error::new(subject, "dimension out of range")
                .at(format!("key \"config.{key}\""))
                .found(size)
                .allowed(format!("1 to {DIMENSION_MAX}"))),
        }
    }

    /// Parameters of one neuron: its rows of gate and up and its column of down.
    #[must_use]
    pub fn neuron_parameters(&self) -> usize {
        3 * self.hidden
    }

    /// Parameters of one attention group: its rows of Q, K, V and columns of O, biases left out.
    #[must_use]
    pub fn group_parameters(&self) -> usize {
        (2 * self.heads_per_group() + 2) * self.head_dim * self.hidden
    }
}

/// Weights in f32, row-major, one row per output feature.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseModel {
    /// Dimensions.
    pub config: ModelConfig,
    /// `[vocab, hidden]`.
    pub embedding: Vec<f32>,
    /// Layers, bottom first.
    pub layers: Vec<DenseLayer>,
    /// `[hidden]`.
    pub final_norm: Vec<f32>,
    /// `[vocab, hidden]`; `None` where the head is tied to the embedding.
    pub head: Option<Vec<f32>>,
}

/// One decoder layer. Rows of `q` and `k` are in half-split rotary order (element `i` of a head is
/// rotated with element `i + head_dim / 2`).
#[derive(Debug, Clone, PartialEq)]
pub struct DenseLayer {
    /// `[hidden]`.
    pub attention_norm: Vec<f32>,
    /// `[heads * head_dim, hidden]`; query heads of group `g` are `g * heads_per_group ..`.
    pub q: Vec<f32>,
    /// `[kv_heads * head_dim, hidden]`.
    pub k: Vec<f32>,
    /// `[kv_heads * head_dim, hidden]`.
    pub v: Vec<f32>,
    /// Biases of `q`, `k` and `v` where the model has them.
    pub qkv_bias: Option<[Vec<f32>; 3]>,
    /// `[hidden, heads * head_dim]`.
    pub o: Vec<f32>,
    /// `[hidden]`.
    pub mlp_norm: Vec<f32>,
    /// `[intermediate, hidden]`.
    pub gate: Vec<f32>,
    /// `[intermediate, hidden]`.
    pub up: Vec<f32>,
    /// `[hidden, intermediate]`.
    pub down: Vec<f32>,
}

/// A matrix of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the matrices' own names")]
pub enum Projection {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Projection {
    /// In the order in which adapters have them.
    pub const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Whether units are the inputs of this projection rather than its outputs.
    #[must_use]
    pub const fn reads_units(self) -> bool {
        matches!(self, Self::O | Self::Down)
    }

    /// The unit side's width in a layer of `shape`.
    #[must_use]
    pub fn units(self, config: &ModelConfig, shape: &LayerShape) -> usize {
        match self {
            Self::Q | Self::O => shape.groups * config.heads_per_group() * config.head_dim,
            Self::K | Self::V => shape.groups * config.head_dim,
            Self::Gate | Self::Up | Self::Down => shape.neurons,
        }
    }

    /// `[rows, columns]` of the low-rank matrices `A` and `B` beside it: units lead.
    #[must_use]
    pub const fn shapes(self, rank: usize, hidden: usize, units: usize) -> [[usize; 2]; 2] {
        if self.reads_units() {
            [[units, rank], [rank, hidden]]
        } else {
            [[rank, hidden], [units, rank]]
        }
    }
}

impl DenseLayer {
    /// Weights and bias of `projection`.
    #[must_use]
    pub fn projection(&self, projection: Projection) -> (&[f32], Option<&[f32]>) {
        let bias = |which: usize| self.qkv_bias.as_ref().map(|bias| bias[which].as_slice());
        match projection {
            Projection::Q => (&self.q, bias(0)),
            Projection::K => (&self.k, bias(1)),
            Projection::V => (&self.v, bias(2)),
            Projection::O => (&self.o, None),
            Projection::Gate => (&self.gate, None),
            Projection::Up => (&self.up, None),
            Projection::Down => (&self.down, None),
        }
    }
}

/// How many units of a layer a sub-model keeps: the length of two prefixes. Both zero: the layer
/// is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerShape {
    /// Attention groups.
    pub groups: usize,
    /// MLP neurons.
    pub neurons: usize,
}

/// The order of a layer's units, most important first; each list is a permutation of `0..n`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerOrder {
    /// Old index of the group at each new place.
    pub groups: Vec<u32>,
    /// Old index of the neuron at each new place.
    pub neurons: Vec<u32>,
}

impl LayerOrder {
    /// For every layer of a model, the order in which units stay where they are.
    #[must_use]
    pub fn original(config: &ModelConfig) -> Vec<Self> {
        let groups = (0..config.kv_heads as u32).collect();
        let neurons = (0..config.intermediate as u32).collect();
        vec![Self { groups, neurons }; config.layers]
    }
}

/// A sub-model: its rung of the ladder, and what it keeps of each layer, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubModel {
    /// Nominal share.
    pub level: Level,
    /// One shape per layer.
    pub layers: Vec<LayerShape>,
}

impl SubModel {
    /// The base model.
    #[must_use]
    pub fn full(config: &ModelConfig) -> Self {
        let whole = LayerShape { groups: config.kv_heads, neurons: config.intermediate };
        Self { level: Level::FULL, layers: vec![whole; config.layers] }
    }

    /// Real share of the parameters in the layers' units (attention and MLP) that this sub-model
    /// keeps.
    #[must_use]
    pub fn unit_parameter_share(&self, config: &ModelConfig) -> f64 {
        self.unit_parameters(config) as f64 / Self::full(config).unit_parameters(config) as f64
    }

    /// The parameters in the layers' units (attention and MLP) that this sub-model keeps.
    #[must_use]
    pub fn unit_parameters(&self, config: &ModelConfig) -> usize {
        let count = |shape: &LayerShape| {
            shape.groups * config.group_parameters() + shape.neurons * config.neuron_parameters()
        };
        self.layers.iter().map(count).sum()
    }
}
