//! One token against rows: each row is read once, and the memory's speed counts.

use pulp::{Arch, Simd, WithSimd};

use super::adapter::Low;
use super::dense::read_one;
use super::few_bits;
use super::rows::Rows;
use crate::engine::bits::BLOCK;

/// One token as rows are multiplied with it.
pub(super) struct OneToken<'a> {
    pub(super) values: &'a [f32],
    /// Filled up to whole blocks, and the sum of each; empty where rows are floats.
    pub(super) padded: Vec<f32>,
    pub(super) sums: Vec<f32>,
}

impl<'a> OneToken<'a> {
    pub(super) fn new(rows: Rows<'_>, values: &'a [f32]) -> Self {
        let (mut padded, mut sums) = (Vec::new(), Vec::new());
        if let Rows::Blocks(_) = rows {
            padded = values.to_vec();
            padded.resize(values.len().next_multiple_of(BLOCK), 0.0);
            sums = padded.chunks_exact(BLOCK).map(|block| block.iter().sum()).collect();
        }
        Self { values, padded, sums }
    }

    /// The product with row `row`.
    #[inline(always)]
    pub(super) fn times<S: Simd>(&self, simd: S, rows: Rows<'_>, row: usize) -> f32 {
        match rows {
            Rows::Floats { values, columns } => {
                read_one(simd, self.values, &values[row * columns..][..columns])
            }
            Rows::Blocks(blocks) => {
                few_bits::read_one(simd, (&self.padded, &self.sums), &blocks, row)
            }
        }
    }
}

/// What an adapter has in between, of one token: `x · Aᵀ`.
pub(super) fn between_one(pair: &Low<'_>, x: &[f32], out: &mut Vec<f32>) {
    struct Dots<'a>(&'a [f32], &'a [f32], &'a mut Vec<f32>);
    impl WithSimd for Dots<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(a, x, out) = self;
            out.clear();
            for row in a.chunks_exact(x.len()) {
                out.push(read_one(simd, x, row));
            }
        }
    }
    Arch::new().dispatch(Dots(pair.a, x, out));
}

/// What an adapter adds to a row of one token's product.
#[inline(always)]
pub(super) fn one_row(low: Low<'_>, between: &[f32], part: usize, row: usize) -> f32 {
    // Partial sums, so that additions do not wait for each other.
    let (x, x_rest) = between[part * low.rank..][..low.rank].as_chunks::<4>();
    let (b, b_rest) = low.b[row * low.rank..][..low.rank].as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (x, b) in x.iter().zip(b) {
        for i in 0..4 {
            sums[i] += x[i] * b[i];
        }
    }
    let rest: f32 = x_rest.iter().zip(b_rest).map(|(x, b)| x * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
