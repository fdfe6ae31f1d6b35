//! Weights in 8 or 4 bits: blocks of consecutive inputs share a scale and a zero point, as
//! ONNX Runtime's `MatMulNBits` reads them.
//!
//! A weight is `(q − zero) · scale` with `q` and `zero` in `0 ..= 2ᵇ − 1`. Units still lead: a
//! chunk of units is quantised by itself, so that every sub-model that has the chunk has the same
//! bytes. A block of which the base model's file has 16 evenly spaced values keeps their spacing,
//! so that only the zero point is rounded a second time.

use serde::{Deserialize, Serialize};

use super::weights::Weights;

/// Consecutive inputs that share a scale and a zero point: as many as in GGUF's blocks.
pub const BLOCK: usize = 32;

/// Bits of a quantised weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Bits {
    /// A byte.
    #[serde(rename = "8")]
    Eight,
    /// Half a byte.
    #[serde(rename = "4")]
    Four,
}

impl Bits {
    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
        }
    }

    /// The largest value.
    const fn max(self) -> f32 {
        match self {
            Self::Eight => 255.0,
            Self::Four => 15.0,
        }
    }

    /// Bytes of `values` values.
    pub(super) const fn bytes(self, values: usize) -> usize {
        (values * self.count()).div_ceil(8)
    }
}

/// A part of a quantised matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// u8 `[outputs, blocks, bytes of a block]`.
    Blocks,
    /// f32 `[outputs, blocks]`.
    Scales,
    /// u8 `[outputs, bytes of a row of blocks]`.
    Zeros,
}

impl Part {
    /// In the order of the kernel's inputs.
    pub const ALL: [Self; 3] = [Self::Blocks, Self::Scales, Self::Zeros];

    /// The name's ending.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Scales => "scales",
            Self::Zeros => "zeros",
        }
    }

    /// The shape of this part of a matrix `[outputs, inputs]`.
    #[must_use]
    pub fn shape(self, bits: Bits, [outputs, inputs]: [usize; 2]) -> Vec<usize> {
        let blocks = inputs.div_ceil(BLOCK);
        match self {
            Self::Blocks => vec![outputs, blocks, bits.bytes(BLOCK)],
            Self::Scales => vec![outputs, blocks],
            Self::Zeros => vec![outputs, bits.bytes(blocks)],
        }
    }
}

/// A matrix in blocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantised {
    /// As [`Part::Blocks`].
    pub blocks: Vec<u8>,
    /// As [`Part::Scales`].
    pub scales: Vec<f32>,
    /// As [`Part::Zeros`].
    pub zeros: Vec<u8>,
}

/// Which matrix a kernel reads: `[outputs, inputs]` out of rows of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Tensor of the weights file.
    pub tensor: String,
    /// Its first row.
    pub from: usize,
    /// One past the last.
    pub to: usize,
    /// `[outputs, inputs]`.
    pub shape: [usize; 2],
    /// Whether the tensor has inputs as rows.
    pub transposed: bool,
}

impl Matrix {
    /// Units that read the stream: their rows are outputs.
    #[must_use]
    pub fn reading(tensor: &str, (from, to): (usize, usize), shape: [usize; 2]) -> Self {
        Self { tensor: tensor.to_owned(), from, to, shape, transposed: false }
    }

    /// Units that write to the stream: their rows are inputs.
    #[must_use]
    pub fn writing(tensor: &str, (from, to): (usize, usize), shape: [usize; 2]) -> Self {
        Self { tensor: tensor.to_owned(), from, to, shape, transposed: true }
    }

    /// The name of one of its parts in a graph.
    #[must_use]
    pub fn name(&self, bits: Bits, part: Part) -> String {
        let Self { tensor, from, to, .. } = self;
        format!("{tensor}[{from}:{to}].{}bit.{}", bits.count(), part.name())
    }

    /// Quantises it.
    ///
    /// # Panics
    /// If the rows have not as many values as `shape` says.
    pub(super) fn quantise(&self, weights: &Weights, bits: Bits) -> Quantised {
        let values = weights.rows(&self.tensor, self.from, self.to);
        let [outputs, inputs] = self.shape;
        assert_eq!(values.len(), outputs * inputs, "shape of {}", self.tensor);
        if self.transposed {
            quantise(|row, out| gather(values, outputs, row, out), self.shape, bits)
        } else {
            quantise(
                |row, out| out.copy_from_slice(&values[row * inputs..][..inputs]),
                self.shape,
                bits,
            )
        }
    }
}

#[cfg(test)]
impl Matrix {
    /// What a kernel computes with, `[outputs, inputs]`.
    pub(super) fn rounded(&self, weights: &Weights, bits: Bits) -> Vec<f32> {
        let [outputs, inputs] = self.shape;
        self.quantise(weights, bits).values(bits, outputs, inputs)
    }
}

#[cfg(test)]
impl Quantised {
    fn values(&self, bits: Bits, outputs: usize, inputs: usize) -> Vec<f32> {
        let blocks = inputs.div_ceil(BLOCK);
        let at = |bytes: &[u8], index: usize| match bits {
            Bits::Eight => f32::from(bytes[index]),
            Bits::Four => f32::from(bytes[index / 2] >> (4 * (index % 2)) & 15),
        };
        let row_of_zeros = bits.bytes(blocks);
        let value = |row: usize, column: usize| {
            let block = column / BLOCK;
            let step = at(&self.blocks, row * blocks * BLOCK + column);
            let zero = at(&self.zeros[row * row_of_zeros..], block);
            (step - zero) * self.scales[row * blocks + block]
        };
        (0..outputs)
            .flat_map(|row| (0..inputs).map(move |column| (row, column)))
            .map(|(r, c)| value(r, c))
            .collect()
    }
}

/// Column `column` of a matrix of that `width`.
fn gather(values: &[f32], width: usize, column: usize, out: &mut [f32]) {
    for (row, out) in out.iter_mut().enumerate() {
        *out = values[row * width + column];
    }
}

/// Quantises the matrix whose rows `row` writes.
fn quantise(
    row: impl Fn(usize, &mut [f32]),
    [outputs, inputs]: [usize; 2],
    bits: Bits,
) -> Quantised {
    let mut out = Quantised { blocks: Vec::new(), scales: Vec::new(), zeros: Vec::new() };
    let mut values = vec![0.0; inputs];
    let mut zeros = Vec::with_capacity(inputs.div_ceil(BLOCK));
    for index in 0..outputs {
        row(index, &mut values);
        zeros.clear();
        for block in values.chunks(BLOCK) {
            let grid = Grid::of(block, bits);
            let mut steps = [grid.zero; BLOCK];
            for (step, &value) in steps.iter_mut().zip(block) {
                *step = grid.step(value);
            }
            out.scales.push(grid.scale);
            zeros.push(grid.zero);
            pack(&steps, bits, &mut out.blocks);
        }
        pack(&zeros, bits, &mut out.zeros);
    }
    out
}

/// Two values to a byte, the first in its low half, or one.
fn pack(values: &[u8], bits: Bits, out: &mut Vec<u8>) {
    match bits {
        Bits::Eight => out.extend_from_slice(values),
        Bits::Four => {
            let byte = |pair: &[u8]| pair[0] | pair.get(1).map_or(0, |high| high << 4);
            out.extend(values.chunks(2).map(byte));
        }
    }
}

/// The values that a block can have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grid {
    scale: f32,
    zero: u8,
    max: f32,
}

impl Grid {
    /// From the block's smallest value to its largest, 0 among them.
    fn of(block: &[f32], bits: Bits) -> Self {
        let low = block.iter().copied().fold(0.0, f32::min);
        let high = block.iter().copied().fold(0.0, f32::max);
        let max = bits.max();
        let scale = if high > low { (high - low) / max } else { 1.0 };
        Self { scale, zero: (-low / scale).round().clamp(0.0, max) as u8, max }
    }

    fn step(self, value: f32) -> u8 {
        (value / self.scale + f32::from(self.zero)).round().clamp(0.0, self.max) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(matrix: &[&[f32]], bits: Bits) -> Quantised {
        let shape = [matrix.len(), matrix[0].len()];
        quantise(|row, out| out.copy_from_slice(matrix[row]), shape, bits)
    }

    fn steps(out: &Quantised, bits: Bits) -> Vec<u8> {
        match bits {
            Bits::Eight => out.blocks.clone(),
            Bits::Four => out.blocks.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect(),
        }
    }

    /// −1.5 … 6 in steps of a half: 16 values, zero is the fourth of them.
    #[test]
    fn sixteen_even_values_around_zero_are_kept_as_they_are() {
        let row: Vec<f32> = (0..BLOCK).map(|i| (i % 16) as f32 * 0.5 - 1.5).collect();
        let out = rows(&[&row], Bits::Four);
        assert_eq!((out.scales[0], out.zeros[0]), (0.5, 3));
        let expected: Vec<u8> = (0..BLOCK).map(|i| (i % 16) as u8).collect();
        assert_eq!(steps(&out, Bits::Four), expected);
        assert_eq!(out.blocks[0], 0x10, "the first value is the low half");
    }

    /// Two blocks and a part of one a row; what is behind the row's end stands for 0.
    #[test]
    fn a_row_that_ends_inside_a_block_is_filled_with_zeros() {
        let row: Vec<f32> = (0..80).map(|i| i as f32).collect();
        for bits in [Bits::Eight, Bits::Four] {
            let out = rows(&[&row, &row], bits);
            for (part, len) in
                Part::ALL.into_iter().zip([out.blocks.len(), out.scales.len(), out.zeros.len()])
            {
                assert_eq!(len, part.shape(bits, [2, 80]).iter().product::<usize>(), "{part:?}");
            }
            let steps = steps(&out, bits);
            assert!(
                steps[80..96].iter().all(|&step| step == 0),
                "zero of a block without negatives"
            );
            assert!((out.scales[1] - 63.0 / bits.max()).abs() < 1e-6);
        }
    }

    proptest::proptest! {
        /// No weight is further off than half a step and what the zero point was moved by.
        #[test]
        fn no_weight_is_off_by_more_than_a_step(
            row in proptest::collection::vec(-3.0_f32..3.0, 1..100),
            four in proptest::prelude::any::<bool>(),
        ) {
            let bits = if four { Bits::Four } else { Bits::Eight };
            let out = rows(&[&row], bits);
            let back = out.values(bits, 1, row.len());
            for (i, (back, value)) in back.iter().zip(&row).enumerate() {
                proptest::prop_assert!((back - value).abs() <= out.scales[i / BLOCK] * 1.001);
            }
        }
    }

    /// A matrix that lies transposed is quantised as the same one that does not.
    #[test]
    fn inputs_may_be_rows() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let across = quantise(|row, out| gather(&values, 2, row, out), [2, 3], Bits::Eight);
        assert_eq!(across, rows(&[&[0.0, 2.0, 4.0], &[1.0, 3.0, 5.0]], Bits::Eight));
    }
}
