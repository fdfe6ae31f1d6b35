//! Matrices in 8 or 4 bits in the graph: one kernel that reads blocks.

use super::{Values, Writer};
use crate::engine::bits::{BLOCK, Bits, Matrix, Part};
use crate::engine::onnx::{Attribute, CONTRIB, ElementType, STANDARD};

/// Activations are quantised to 8 bits for each block, so that products are of integers.
const INTEGER_PRODUCTS: i64 = 4;

impl Values {
    /// The type of an element.
    pub(super) fn element(&self) -> ElementType {
        match self {
            Self::Rows { .. } | Self::Quantised { part: Part::Scales, .. } => ElementType::F32,
            Self::Quantised { .. } => ElementType::U8,
        }
    }
}

impl Writer<'_> {
    /// `x · matrixᵀ`.
    pub(super) fn product(&mut self, bits: Bits, matrix: &Matrix, x: &str) -> String {
        let output = self.graph.name("MatMulNBits");
        self.product_into(bits, matrix, x, &output);
        output
    }

    /// The head has 8 bits, as the base model's file has it.
    pub(super) fn quantised_logits(&mut self, head: &str, normed: &str) {
        let shape = [self.config.vocab, self.config.hidden];
        let matrix = Matrix::reading(head, (0, shape[0]), shape);
        self.product_into(Bits::Eight, &matrix, normed, "logits");
    }

    fn product_into(&mut self, bits: Bits, matrix: &Matrix, x: &str, output: &str) {
        let [outputs, inputs] = matrix.shape;
        let parts = Part::ALL.map(|part| {
            let name = matrix.name(bits, part);
            let shape = part.shape(bits, matrix.shape);
            self.view(name, Values::Quantised { matrix: matrix.clone(), bits, part }, &shape)
        });
        let attributes = [
            ("K", Attribute::Int(inputs as i64)),
            ("N", Attribute::Int(outputs as i64)),
            ("bits", Attribute::Int(bits.count() as i64)),
            ("block_size", Attribute::Int(BLOCK as i64)),
            ("accuracy_level", Attribute::Int(INTEGER_PRODUCTS)),
        ];
        let inputs = [x, &parts[0], &parts[1], &parts[2]];
        self.graph.node_into(CONTRIB, "MatMulNBits", &inputs, &[output], &attributes);
    }

    /// `product` plus `addend`, if there is one.
    pub(super) fn plus(&mut self, product: String, addend: Option<&str>) -> String {
        match addend {
            None => product,
            Some(addend) => self.graph.node(STANDARD, "Add", &[&product, addend], &[]),
        }
    }
}
