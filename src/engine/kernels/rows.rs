//! Matrices whose rows are units, in f32 or in few bits.

use pulp::Simd;

use super::few_bits::decode;
use crate::engine::bits::{BLOCK, Bits};

/// A matrix; its first rows are the matrix of a sub-model.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Row-major.
    Floats {
        /// `[rows, columns]`.
        values: &'a [f32],
        /// Values of a row.
        columns: usize,
    },
    /// In blocks.
    Blocks(Blocks<'a>),
}

/// Rows in blocks of [`BLOCK`] values; a row begins with a block and its last may be cut short.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    /// Bits of a value.
    pub bits: Bits,
    /// Values of a row.
    pub columns: usize,
    /// `[rows, blocks, bytes of a block]`. Of 4 bits, the first half of a block's values are the
    /// low halves of its bytes, the second half the high ones.
    pub codes: &'a [u8],
    /// `[rows, blocks]`, scale and offset: a value is `code · scale + offset`.
    pub grids: &'a [[f32; 2]],
}

impl<'a> Rows<'a> {
    /// Values of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        match self {
            Self::Floats { columns, .. } | Self::Blocks(Blocks { columns, .. }) => *columns,
        }
    }

    /// How many rows.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Floats { values, columns } => values.len() / columns,
            Self::Blocks(blocks) => blocks.grids.len() / blocks.row_blocks(),
        }
    }

    /// Rows from `first` on in f32, where they lie or decoded into `scratch`; those from `end` on
    /// repeat the last.
    #[inline(always)]
    pub(super) fn some<'s, S: Simd, const R: usize>(
        &self,
        simd: S,
        first: usize,
        end: usize,
        scratch: &'s mut [f32],
    ) -> [&'s [f32]; R]
    where
        'a: 's,
    {
        let columns = self.columns();
        let place = |r: usize| (first + r).min(end - 1);
        match self {
            Self::Floats { values, .. } => {
                let values: &'a [f32] = values;
                std::array::from_fn(|r| &values[place(r) * columns..][..columns])
            }
            Self::Blocks(blocks) => {
                for (r, out) in scratch.chunks_exact_mut(columns).take(R).enumerate() {
                    decode(simd, blocks, place(r), 0, out);
                }
                let scratch: &'s [f32] = scratch;
                std::array::from_fn(|r| &scratch[r * columns..][..columns])
            }
        }
    }
}

impl Blocks<'_> {
    /// Blocks of a row.
    pub(super) fn row_blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }
}
