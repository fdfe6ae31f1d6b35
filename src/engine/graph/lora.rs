//! Adapters in the graph: what `x·A·B` adds to each matrix, in as few kernels as can be.
//!
//! At batch 1 a kernel costs microseconds whatever it computes, so matrices that read the same `x`
//! share their first product: Q, K and V have one `x·A` of `3·rank` columns, gate and up one of
//! `2·rank`, and the second matrices are zero where another's columns stand. The second product
//! goes into the large one through its `C`. What units write to the residual stream is put side by
//! side first, and multiplied once for all groups or chunks.

use super::{TRANSPOSED, Writer};
use crate::engine::onnx::{Attribute, Dim, ElementType, STANDARD};

/// A matrix that a graph takes from the adapter of a layer. Groups and neurons are counted by place
/// in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterPart {
    /// A of q, k and v below each other, `[3·rank, hidden]`.
    QkvA,
    /// B of this group's query, key and value rows, transposed, `[3·rank, rows]`; zero outside its
    /// own matrix's columns.
    QkvB(usize),
    /// A of o's rows of so many groups, `[rows, rank]`.
    OA(usize),
    /// B of o, `[rank, hidden]`.
    OB,
    /// A of gate and up below each other, `[2·rank, hidden]`.
    GateUpA,
    /// B of gate's neurons from the first number to below the second, transposed,
    /// `[2·rank, neurons]`; zero in up's columns.
    GateB(usize, usize),
    /// B of up's neurons, likewise; zero in gate's columns.
    UpB(usize, usize),
    /// A of so many of down's neurons, `[neurons, rank]`.
    DownA(usize),
    /// B of down, `[rank, hidden]`.
    DownB,
}

/// A graph input that an adapter fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInput {
    /// Name of the input.
    pub name: String,
    /// Of this layer.
    pub layer: usize,
    /// What it holds.
    pub part: AdapterPart,
    /// Its shape.
    pub shape: [usize; 2],
}

/// Values of one half of a layer that its adapter works on.
#[derive(Debug)]
pub(super) struct Lora {
    layer: usize,
    /// `x·A` of the matrices that read the residual stream, if the graph has adapters.
    read: Option<String>,
    /// What units give to the matrix that writes to it, in order.
    pub(super) units: Vec<String>,
}

impl Writer<'_> {
    /// The first product of the matrices that read `x`.
    pub(super) fn lora(&mut self, layer: usize, part: AdapterPart, x: &str) -> Lora {
        let a = self.adapter(layer, part);
        let read = a.map(|a| self.graph.node(STANDARD, "Gemm", &[x, &a], TRANSPOSED));
        Lora { layer, read, units: Vec::new() }
    }

    /// What to add to the product of a matrix that reads: its `bias`, its adapter's, or both.
    pub(super) fn addend(
        &mut self,
        lora: &Lora,
        part: AdapterPart,
        bias: Option<String>,
    ) -> Option<String> {
        let Some(read) = &lora.read else { return bias };
        let b = self.adapter(lora.layer, part)?;
        let mut inputs = vec![read.as_str(), &b];
        inputs.extend(bias.as_deref());
        Some(self.graph.node(STANDARD, "Gemm", &inputs, &[]))
    }

    /// `x` plus what the adapter of the matrix that writes makes of the units.
    pub(super) fn write(&mut self, lora: &Lora, [a, b]: [AdapterPart; 2], x: String) -> String {
        let (Some(a), Some(b)) = (self.adapter(lora.layer, a), self.adapter(lora.layer, b)) else {
            return x;
        };
        let units: Vec<&str> = lora.units.iter().map(String::as_str).collect();
        let side_by_side = match units[..] {
            [alone] => alone.to_owned(),
            _ => self.graph.node(STANDARD, "Concat", &units, &[("axis", Attribute::Int(1))]),
        };
        let product = self.graph.node(STANDARD, "Gemm", &[&side_by_side, &a], &[]);
        self.graph.node(STANDARD, "Gemm", &[&product, &b, &x], &[])
    }

    /// Declares the inputs, after all others.
    pub(super) fn adapter_inputs(&mut self) {
        for input in &self.adapter {
            self.graph.input(&input.name, ElementType::F32, &input.shape.map(Dim::Fixed));
        }
    }

    /// The input for `part`, if the graph has adapters.
    fn adapter(&mut self, layer: usize, part: AdapterPart) -> Option<String> {
        let rank = self.options.rank?;
        let (config, hidden) = (self.config, self.config.hidden);
        let query = config.heads_per_group() * config.head_dim;
        let (name, shape) = match part {
            AdapterPart::QkvA => ("qkv_a".to_owned(), [3 * rank, hidden]),
            AdapterPart::QkvB(group) => {
                (format!("qkv_b.{group}"), [3 * rank, query + 2 * config.head_dim])
            }
            AdapterPart::OA(groups) => ("o_a".to_owned(), [groups * query, rank]),
            AdapterPart::OB => ("o_b".to_owned(), [rank, hidden]),
            AdapterPart::GateUpA => ("gate_up_a".to_owned(), [2 * rank, hidden]),
            AdapterPart::GateB(from, to) => (format!("gate_b[{from}:{to}]"), [2 * rank, to - from]),
            AdapterPart::UpB(from, to) => (format!("up_b[{from}:{to}]"), [2 * rank, to - from]),
            AdapterPart::DownA(neurons) => ("down_a".to_owned(), [neurons, rank]),
            AdapterPart::DownB => ("down_b".to_owned(), [rank, hidden]),
        };
        let name = format!("lora.{layer}.{name}");
        self.adapter.push(AdapterInput { name: name.clone(), layer, part, shape });
        Some(name)
    }
}
