//! A layer in operators of ours, which read the first rows of a matrix where it lies: a kernel for
//! what reads the stream, one for what writes to it, one for an MLP; adapters and few bits go in
//! as further inputs.

use super::{Values, Writer};
use crate::engine::bits::{Bits, Part};
use crate::engine::onnx::{Attribute, Dim, ElementType, OURS, STANDARD};
use crate::engine::operators::{MLP, READ, WRITE};

/// A matrix that a graph takes from the adapter of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterPart {
    /// A of q, k and v below each other, `[3·rank, hidden]`.
    QkvA,
    /// B of so many groups' query, key and value rows, group by group, `[rows, rank]`.
    QkvB(usize),
    /// A of o's rows of so many groups, `[rows, rank]`.
    OA(usize),
    /// B of o, `[rank, hidden]`.
    OB,
    /// A of gate and up below each other, `[2·rank, hidden]`.
    GateUpA,
    /// B of so many of gate's neurons, `[neurons, rank]`.
    GateB(usize),
    /// B of so many of up's neurons, `[neurons, rank]`.
    UpB(usize),
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

impl Writer<'_> {
    /// Packed rows of the first `groups` groups' heads of `normed`, one value a group,
    /// `[1, S, rows]` each.
    pub(super) fn read_groups(&mut self, layer: usize, groups: usize, normed: &str) -> Vec<String> {
        let key = self.config.head_dim;
        let query = self.config.heads_per_group() * key;
        let rows = groups * (query + 2 * key);
        let mut inputs = vec![normed.to_owned()];
        inputs.extend(self.rows_of(&format!("{layer}.qkv"), groups, rows, self.options.bits));
        if self.index.qkv_bias {
            inputs.push(self.weight(&format!("{layer}.qkv_bias"), 0, groups, &[rows]));
        }
        inputs.extend(self.adapter(layer, AdapterPart::QkvA));
        inputs.extend(self.adapter(layer, AdapterPart::QkvB(groups)));
        let outputs: Vec<String> = (0..groups).map(|_| self.graph.name("heads")).collect();
        let mut attributes = self.sizes(rows, self.options.bits, self.options.rank);
        attributes.push(("bias", Attribute::Int(i64::from(self.index.qkv_bias))));
        attributes.extend([("query", query), ("key", key)].map(int));
        self.node_of_ours(READ, &inputs, &outputs, &attributes);
        outputs
    }

    /// `x` plus what the groups' `heads` give.
    pub(super) fn write_groups(&mut self, layer: usize, heads: Vec<String>, x: &str) -> String {
        let groups = heads.len();
        let rows = groups * self.config.heads_per_group() * self.config.head_dim;
        let mut inputs = vec![x.to_owned()];
        inputs.extend(self.rows_of(&format!("{layer}.o"), groups, rows, self.options.bits));
        inputs.extend(self.adapter(layer, AdapterPart::OA(groups)));
        inputs.extend(self.adapter(layer, AdapterPart::OB));
        inputs.extend(heads);
        let attributes = self.sizes(rows, self.options.bits, self.options.rank);
        let output = self.graph.name(WRITE);
        self.node_of_ours(WRITE, &inputs, std::slice::from_ref(&output), &attributes);
        output
    }

    /// `x` plus what the first `neurons` neurons make of `normed`.
    pub(super) fn mlp_in_place(
        &mut self,
        layer: usize,
        neurons: usize,
        normed: &str,
        x: &str,
    ) -> String {
        let mut inputs = vec![x.to_owned(), normed.to_owned()];
        for tensor in ["gate", "up", "down"] {
            let tensor = format!("{layer}.{tensor}");
            inputs.extend(self.rows_of(&tensor, neurons, neurons, self.options.bits));
        }
        let parts = [
            AdapterPart::GateUpA,
            AdapterPart::GateB(neurons),
            AdapterPart::UpB(neurons),
            AdapterPart::DownA(neurons),
            AdapterPart::DownB,
        ];
        for part in parts {
            inputs.extend(self.adapter(layer, part));
        }
        let attributes = self.sizes(neurons, self.options.bits, self.options.rank);
        let output = self.graph.name(MLP);
        self.node_of_ours(MLP, &inputs, std::slice::from_ref(&output), &attributes);
        output
    }

    /// Logits of `normed`. A head in few bits has eight, as the base model's file has it.
    pub(super) fn logits_in_place(&mut self, head: &str, normed: &str) {
        let bits = self.options.bits.map(|_| Bits::Eight);
        let rows = self.config.vocab;
        let mut inputs = vec![normed.to_owned()];
        inputs.extend(self.rows_of(head, rows, rows, bits));
        let mut attributes = self.sizes(rows, bits, None);
        attributes.extend([("bias", 0), ("query", 0), ("key", 0)].map(int));
        let flat = self.graph.name("logits_of_rows");
        self.node_of_ours(READ, &inputs, std::slice::from_ref(&flat), &attributes);
        let front = self.graph.constant(&[0]);
        let inputs = [flat.as_str(), &front];
        self.graph.node_into(STANDARD, "Squeeze", &inputs, &["logits"], &[]);
    }

    /// The first `units` of `tensor`, `rows` rows of the stream's width: one input, or two in few
    /// bits.
    fn rows_of(
        &mut self,
        tensor: &str,
        units: usize,
        rows: usize,
        bits: Option<Bits>,
    ) -> Vec<String> {
        let columns = self.config.hidden;
        let Some(bits) = bits else {
            return vec![self.weight(tensor, 0, units, &[rows, columns])];
        };
        let parts = Part::ALL.map(|part| {
            let name = format!("{tensor}[0:{units}].{}bit.{}", bits.count(), part.name());
            let values =
                Values::Quantised { tensor: tensor.to_owned(), rows: [units, rows], bits, part };
            self.view(name, values, &part.shape(bits, [rows, columns]))
        });
        parts.to_vec()
    }

    fn sizes(
        &self,
        rows: usize,
        bits: Option<Bits>,
        rank: Option<usize>,
    ) -> Vec<(&'static str, Attribute)> {
        let bits = bits.map_or(0, Bits::count);
        let columns = self.config.hidden;
        let rank = rank.unwrap_or(0);
        [("rows", rows), ("columns", columns), ("bits", bits), ("rank", rank)].map(int).to_vec()
    }

    fn node_of_ours(
        &mut self,
        op: &str,
        inputs: &[String],
        outputs: &[String],
        attributes: &[(&str, Attribute)],
    ) {
        let [inputs, outputs] =
            [inputs, outputs].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        self.graph.node_into(OURS, op, &inputs, &outputs, attributes);
    }

    /// Declares the inputs of the adapter, after all others.
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
            AdapterPart::QkvA => ("qkv_a", [3 * rank, hidden]),
            AdapterPart::QkvB(groups) => ("qkv_b", [groups * (query + 2 * config.head_dim), rank]),
            AdapterPart::OA(groups) => ("o_a", [groups * query, rank]),
            AdapterPart::OB => ("o_b", [rank, hidden]),
            AdapterPart::GateUpA => ("gate_up_a", [2 * rank, hidden]),
            AdapterPart::GateB(neurons) => ("gate_b", [neurons, rank]),
            AdapterPart::UpB(neurons) => ("up_b", [neurons, rank]),
            AdapterPart::DownA(neurons) => ("down_a", [neurons, rank]),
            AdapterPart::DownB => ("down_b", [rank, hidden]),
        };
        let name = format!("lora.{layer}.{name}");
        self.adapter.push(AdapterInput { name: name.clone(), layer, part, shape });
        Some(name)
    }
}

fn int((name, value): (&'static str, usize)) -> (&'static str, Attribute) {
    (name, Attribute::Int(value as i64))
}
