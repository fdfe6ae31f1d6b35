//! The MLP of which a predictor picks the neurons, token by token.
//!
//! In serving one token comes at a time: its neurons' rows of gate, up and down are gathered into
//! small matrices. A gathered row is read, written and read again, so that with more than a third
//! of the neurons it is faster to run all of them and put the activations of those not picked to
//! zero, which is the same function. In scoring, tokens of many answers come side by side, each
//! with neurons of its own, and all neurons run. Prompts are never read by such a graph.

use super::{Attention, TRANSPOSED, Values, Writer};
use crate::engine::onnx::{Attribute, CONTRIB, STANDARD};
use crate::engine::predictor::Part;

/// What a gathered row costs, in rows that are only read.
const GATHERING_COSTS: usize = 3;

impl Writer<'_> {
    /// `x` plus the sum over the `kept` neurons that the predictor of rank `rank` picks.
    pub(super) fn sparse_mlp(&mut self, layer: usize, kept: usize, rank: usize, x: &str) -> String {
        let normed = self.norm(&format!("{layer}.mlp_norm"), x);
        let picked = self.picked(layer, kept, rank, &normed);
        let copies_less = GATHERING_COSTS * kept <= self.config.intermediate;
        if self.attention == Attention::Causal && copies_less {
            self.gathered(layer, &normed, &picked, x)
        } else {
            self.masked(layer, &normed, &picked, x)
        }
    }

    /// Indices of the neurons of highest score, `[S, kept]`, in no order.
    fn picked(&mut self, layer: usize, kept: usize, rank: usize, normed: &str) -> String {
        let [a, b, bias] = [Part::A, Part::B, Part::Bias].map(|part| {
            let shape = part.shape(self.config, rank);
            let (tensor, to) = (part.name(layer), shape[0]);
            self.view(part.name(layer), Values::Rows { tensor, from: 0, to }, &shape)
        });
        let low = self.graph.node(STANDARD, "Gemm", &[normed, &a], &[]);
        let scores = self.graph.node(STANDARD, "Gemm", &[&low, &b, &bias], &[]);
        let count = self.graph.constant(&[kept as i64]);
        let (values, indices) = (self.graph.name("top_scores"), self.graph.name("top_neurons"));
        let unsorted = [("sorted", Attribute::Int(0))];
        self.graph.node_into(STANDARD, "TopK", &[&scores, &count], &[&values, &indices], &unsorted);
        indices
    }

    /// One token: the picked neurons' rows side by side are an MLP of their own.
    fn gathered(&mut self, layer: usize, normed: &str, picked: &str, x: &str) -> String {
        let front = self.graph.constant(&[0]);
        let rows = self.graph.node(STANDARD, "Squeeze", &[picked, &front], &[]);
        let [gate, up, down] = self.all_neurons(layer).map(|matrix| {
            self.graph.node(STANDARD, "Gather", &[&matrix, &rows], &[("axis", Attribute::Int(0))])
        });
        let product = self.gated(normed, &gate, &up);
        self.graph.node(STANDARD, "Gemm", &[&product, &down, x], &[])
    }

    /// Any number of tokens: all neurons run, those not picked count for nothing.
    fn masked(&mut self, layer: usize, normed: &str, picked: &str, x: &str) -> String {
        let [gate, up, down] = self.all_neurons(layer);
        let product = self.gated(normed, &gate, &up);
        let columns = [("axis", Attribute::Int(1))];
        let kept = self.graph.node(STANDARD, "GatherElements", &[&product, picked], &columns);
        let zeros = self.graph.node(STANDARD, "Sub", &[&product, &product], &[]);
        let inputs = [zeros.as_str(), picked, &kept];
        let sparse = self.graph.node(STANDARD, "ScatterElements", &inputs, &columns);
        self.graph.node(STANDARD, "Gemm", &[&sparse, &down, x], &[])
    }

    fn all_neurons(&mut self, layer: usize) -> [String; 3] {
        let shape = [self.config.intermediate, self.config.hidden];
        ["gate", "up", "down"]
            .map(|part| self.weight(&format!("{layer}.{part}"), 0, shape[0], &shape))
    }

    /// `silu(x·gateᵀ) · (x·upᵀ)`.
    fn gated(&mut self, normed: &str, gate: &str, up: &str) -> String {
        let gate = self.graph.node(STANDARD, "Gemm", &[normed, gate], TRANSPOSED);
        let up = self.graph.node(STANDARD, "Gemm", &[normed, up], TRANSPOSED);
        self.activated(&gate, &up)
    }

    /// `silu(gate) · up`.
    pub(super) fn activated(&mut self, gate: &str, up: &str) -> String {
        // x · sigmoid(alpha · x) with alpha 1 is SiLU in one kernel.
        let alpha = [("alpha", Attribute::Float(1.0))];
        let gate = self.graph.node(CONTRIB, "QuickGelu", &[gate], &alpha);
        self.graph.node(STANDARD, "Mul", &[&gate, up], &[])
    }
}
