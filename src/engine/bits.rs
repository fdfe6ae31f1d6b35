//! Weights in 8 or 4 bits: blocks of consecutive values of a row share a scale and an offset.
//!
//! A weight is `code · scale + offset` with codes in `0 ..= 2ᵇ − 1`. Rows are those of the weights
//! file, so units still lead: the first rows are a sub-model's, the same bytes for all. A block
//! whose values lie on an evenly spaced grid of so many keeps that grid, as those of a base model
//! do that has blocks of its own along the same rows: nothing is rounded a second time there.

use serde::{Deserialize, Serialize};

/// Consecutive values that share a scale and an offset: as many as in GGUF's blocks.
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

    /// The largest code.
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
    /// u8 `[rows, blocks, bytes of a block]`.
    Codes,
    /// f32 `[rows, blocks, 2]`: scale and offset.
    Grids,
}

impl Part {
    /// In the order of the operators' inputs.
    pub const ALL: [Self; 2] = [Self::Codes, Self::Grids];

    /// The name's ending.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Codes => "codes",
            Self::Grids => "grids",
        }
    }

    /// The shape of this part of a matrix `[rows, columns]`.
    #[must_use]
    pub fn shape(self, bits: Bits, [rows, columns]: [usize; 2]) -> Vec<usize> {
        let blocks = columns.div_ceil(BLOCK);
        match self {
            Self::Codes => vec![rows, blocks, bits.bytes(BLOCK)],
            Self::Grids => vec![rows, blocks, 2],
        }
    }
}

/// A matrix in blocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantised {
    /// As [`Part::Codes`]. Of 4 bits, the first half of a block's codes are the low halves of its
    /// bytes, the second half the high ones.
    pub codes: Vec<u8>,
    /// As [`Part::Grids`].
    pub grids: Vec<[f32; 2]>,
}

impl Quantised {
    /// Quantises a matrix, row-major, of `columns` values a row.
    pub(super) fn of(values: &[f32], columns: usize, bits: Bits) -> Self {
        let mut out = Self { codes: Vec::new(), grids: Vec::new() };
        for block in values.chunks(columns).flat_map(|row| row.chunks(BLOCK)) {
            let grid = Grid::of(block, bits);
            let mut codes = [0; BLOCK];
            for (code, &value) in codes.iter_mut().zip(block) {
                *code = grid.code(value, bits);
            }
            out.grids.push([grid.scale, grid.offset]);
            pack(&codes, bits, &mut out.codes);
        }
        out
    }
}

fn pack(codes: &[u8; BLOCK], bits: Bits, out: &mut Vec<u8>) {
    match bits {
        Bits::Eight => out.extend_from_slice(codes),
        Bits::Four => {
            let (low, high) = codes.split_at(BLOCK / 2);
            out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
        }
    }
}

/// The values that a block can have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grid {
    scale: f32,
    offset: f32,
}

/// How far a value may be from its place on a grid that is its own, in steps: what single precision
/// leaves of products and sums.
const ON_GRID: f32 = 1e-3;

impl Grid {
    fn of(block: &[f32], bits: Bits) -> Self {
        let mut sorted = block.to_vec();
        sorted.sort_by(f32::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        if low >= high {
            return Self { scale: 1.0, offset: low };
        }
        Self::own(&sorted, bits).unwrap_or(Self { scale: (high - low) / bits.max(), offset: low })
    }

    /// The even grid that all of `sorted` lie on, if it has few enough values.
    fn own(sorted: &[f32], bits: Bits) -> Option<Self> {
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let tiny = (high - low) / bits.max() / 2.0;
        let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
        let step = gaps.filter(|&gap| gap > tiny).fold(f32::INFINITY, f32::min);
        let steps = ((high - low) / step).round();
        let scale = (high - low) / steps;
        let on_grid = |value: &f32| {
            let place = (value - low) / scale;
            (place - place.round()).abs() < ON_GRID
        };
        let own = steps <= bits.max() && sorted.iter().all(on_grid);
        own.then_some(Self { scale, offset: low })
    }

    fn code(self, value: f32, bits: Bits) -> u8 {
        ((value - self.offset) / self.scale).round().clamp(0.0, bits.max()) as u8
    }
}

#[cfg(test)]
impl Quantised {
    /// What the matrix is now, of `columns` values a row.
    pub(super) fn values(&self, columns: usize, bits: Bits) -> Vec<f32> {
        let code = |block: usize, i: usize| match bits {
            Bits::Eight => self.codes[block * BLOCK + i],
            Bits::Four => self.codes[block * BLOCK / 2 + i % 16] >> (i / 16 * 4) & 15,
        };
        let blocks = columns.div_ceil(BLOCK);
        let of_block = |block: usize| {
            let [scale, offset] = self.grids[block];
            let left = columns - block % blocks * BLOCK;
            (0..BLOCK.min(left)).map(move |i| f32::from(code(block, i)).mul_add(scale, offset))
        };
        (0..self.grids.len()).flat_map(of_block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// −1.5 … 6 in steps of a half: 16 values.
    #[test]
    fn sixteen_even_values_are_kept_as_they_are() {
        let row: Vec<f32> = (0..BLOCK).map(|i| (i % 16) as f32 * 0.5 - 1.5).collect();
        let out = Quantised::of(&row, BLOCK, Bits::Four);
        assert_eq!(out.grids, [[0.5, -1.5]]);
        assert_eq!(out.codes[..3], [0x00, 0x11, 0x22], "value 1 and value 17 share a byte");
        assert_eq!(out.values(BLOCK, Bits::Four), row);
    }

    /// Codes 3, 5 and 12 of a grid from −0.7 in steps of 0.1: neither end of it is there.
    #[test]
    fn a_grid_is_found_by_its_steps_and_not_by_its_ends() {
        let codes = [3.0, 5.0, 12.0, 4.0];
        let row: Vec<f32> = (0..BLOCK).map(|i| codes[i % 4] * 0.1 - 0.7).collect();
        let out = Quantised::of(&row, BLOCK, Bits::Four);
        assert!((out.grids[0][0] - 0.1).abs() < 1e-6, "{:?}", out.grids);
        let back = out.values(BLOCK, Bits::Four);
        assert!(back.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    /// Two blocks and a part of one a row.
    #[test]
    fn a_row_may_end_inside_a_block() {
        let row: Vec<f32> = (0..80).map(|i| i as f32).collect();
        let rows = [&row[..], &row[..]].concat();
        for bits in [Bits::Eight, Bits::Four] {
            let out = Quantised::of(&rows, 80, bits);
            let lens = [out.codes.len(), 2 * out.grids.len()];
            for (part, len) in Part::ALL.into_iter().zip(lens) {
                assert_eq!(len, part.shape(bits, [2, 80]).iter().product::<usize>(), "{part:?}");
            }
            assert_eq!(out.values(80, bits).len(), 160);
            assert!((out.grids[2][1] - 64.0).abs() < 1e-6, "the last block begins at 64");
        }
    }

    #[test]
    fn a_block_of_one_value_is_kept() {
        let out = Quantised::of(&[0.25; 40], 40, Bits::Four);
        assert_eq!(out.values(40, Bits::Four), [0.25; 40]);
    }

    proptest::proptest! {
        /// No weight is further off than half a step.
        #[test]
        fn no_weight_is_off_by_more_than_half_a_step(
            row in proptest::collection::vec(-3.0_f32..3.0, 1..100),
            four in proptest::prelude::any::<bool>(),
        ) {
            let bits = if four { Bits::Four } else { Bits::Eight };
            let out = Quantised::of(&row, row.len(), bits);
            let back = out.values(row.len(), bits);
            for (i, (back, value)) in back.iter().zip(&row).enumerate() {
                let step = out.grids[i / BLOCK][0];
                proptest::prop_assert!((back - value).abs() <= step * 0.501);
            }
        }
    }
}
