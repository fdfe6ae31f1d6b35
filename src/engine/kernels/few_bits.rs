//! The innermost loops over rows in blocks.

use pulp::Simd;

use super::rows::Blocks;
use crate::engine::bits::{BLOCK, Bits};

/// Bytes of a block of 8 and of 4 bits.
const EIGHT: usize = Bits::Eight.bytes(BLOCK);
const FOUR: usize = Bits::Four.bytes(BLOCK);

/// A block's codes as floats.
#[inline(always)]
fn steps<const BYTES: usize>(codes: &[u8; BYTES]) -> [f32; BLOCK] {
    let mut steps = [0.0; BLOCK];
    if BYTES == EIGHT {
        for i in 0..BYTES {
            steps[i] = f32::from(codes[i]);
        }
    } else {
        let (low, high) = steps.split_at_mut(BYTES);
        for (step, code) in low.iter_mut().zip(codes) {
            *step = f32::from(code & 15);
        }
        for (step, code) in high.iter_mut().zip(codes) {
            *step = f32::from(code >> 4);
        }
    }
    steps
}

/// Some blocks of a row: codes, and scale and offset.
type Row<'a, const BYTES: usize> = (&'a [[u8; BYTES]], &'a [[f32; 2]]);

/// `count` blocks of `row` from block `first` on.
#[inline(always)]
fn blocks<'a, const BYTES: usize>(
    rows: &Blocks<'a>,
    row: usize,
    first: usize,
    count: usize,
) -> Row<'a, BYTES> {
    let from = row * rows.row_blocks() + first;
    (&rows.codes.as_chunks().0[from..][..count], &rows.grids[from..][..count])
}

/// Writes the values of `row` from column `from` on, a block's first, to `out`.
#[inline(always)]
pub(super) fn decode<S: Simd>(
    simd: S,
    rows: &Blocks<'_>,
    row: usize,
    from: usize,
    out: &mut [f32],
) {
    match rows.bits {
        Bits::Eight => decode_blocks::<S, EIGHT>(simd, rows, row, from, out),
        Bits::Four => decode_blocks::<S, FOUR>(simd, rows, row, from, out),
    }
}

#[inline(always)]
fn decode_blocks<S: Simd, const BYTES: usize>(
    simd: S,
    rows: &Blocks<'_>,
    row: usize,
    from: usize,
    out: &mut [f32],
) {
    let (codes, grids) = blocks::<BYTES>(rows, row, from / BLOCK, out.len().div_ceil(BLOCK));
    let (whole, rest) = out.as_chunks_mut::<BLOCK>();
    for (out, (codes, grid)) in whole.iter_mut().zip(codes.iter().zip(grids)) {
        write_values(simd, out, codes, *grid);
    }
    if let (false, [.., codes], [.., grid]) = (rest.is_empty(), codes, grids) {
        let mut whole = [0.0; BLOCK];
        write_values(simd, &mut whole, codes, *grid);
        rest.copy_from_slice(&whole[..rest.len()]);
    }
}

#[inline(always)]
fn write_values<S: Simd, const BYTES: usize>(
    simd: S,
    out: &mut [f32; BLOCK],
    codes: &[u8; BYTES],
    [scale, offset]: [f32; 2],
) {
    let steps = steps(codes);
    let (scale, offset) = (simd.splat_f32s(scale), simd.splat_f32s(offset));
    let (steps, out) = (S::as_simd_f32s(&steps).0, S::as_mut_simd_f32s(out).0);
    for i in 0..BLOCK / S::F32_LANES {
        out[i] = simd.mul_add_f32s(steps[i], scale, offset);
    }
}

/// The product of one token, in whole blocks with the sum of each, with row `row`.
#[inline(always)]
pub(super) fn read_one<S: Simd>(
    simd: S,
    x: (&[f32], &[f32]),
    rows: &Blocks<'_>,
    row: usize,
) -> f32 {
    let count = rows.row_blocks();
    match rows.bits {
        Bits::Eight => dot::<S, EIGHT>(simd, x, blocks(rows, row, 0, count)),
        Bits::Four => dot::<S, FOUR>(simd, x, blocks(rows, row, 0, count)),
    }
}

#[inline(always)]
fn dot<S: Simd, const BYTES: usize>(
    simd: S,
    (x, x_sums): (&[f32], &[f32]),
    (codes, grids): Row<'_, BYTES>,
) -> f32 {
    let mut total = simd.splat_f32s(0.0);
    let mut offsets = 0.0;
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(x_sums);
    for ((x, sum), (codes, [scale, offset])) in blocks.zip(codes.iter().zip(grids)) {
        let steps = steps(codes);
        let (steps, x) = (S::as_simd_f32s(&steps).0, S::as_simd_f32s(x).0);
        let mut part = simd.mul_f32s(steps[0], x[0]);
        for i in 1..BLOCK / S::F32_LANES {
            part = simd.mul_add_f32s(steps[i], x[i], part);
        }
        total = simd.mul_add_f32s(part, simd.splat_f32s(*scale), total);
        offsets += offset * sum;
    }
    simd.reduce_sum_f32s(total) + offsets
}

/// Adds rows `first` to `first + R` to one token, `h` of each; `out` has whole blocks.
#[inline(always)]
pub(super) fn write_one<S: Simd, const R: usize>(
    simd: S,
    out: &mut [f32],
    h: [f32; R],
    rows: &Blocks<'_>,
    first: usize,
) {
    match rows.bits {
        Bits::Eight => add_rows::<S, R, EIGHT>(simd, out, h, rows, first),
        Bits::Four => add_rows::<S, R, FOUR>(simd, out, h, rows, first),
    }
}

#[inline(always)]
fn add_rows<S: Simd, const R: usize, const BYTES: usize>(
    simd: S,
    out: &mut [f32],
    h: [f32; R],
    rows: &Blocks<'_>,
    first: usize,
) {
    let count = rows.row_blocks();
    let mut parts: [Row<'_, BYTES>; R] = [(&[], &[]); R];
    for r in 0..R {
        parts[r] = blocks(rows, first + r, 0, count);
    }
    for (block, out) in out.as_chunks_mut::<BLOCK>().0[..count].iter_mut().enumerate() {
        let out = S::as_mut_simd_f32s(out).0;
        for r in 0..R {
            let (codes, grids) = parts[r];
            let [scale, offset] = grids[block];
            let steps = steps(&codes[block]);
            let steps = S::as_simd_f32s(&steps).0;
            let (scale, offset) = (simd.splat_f32s(h[r] * scale), simd.splat_f32s(h[r] * offset));
            for i in 0..BLOCK / S::F32_LANES {
                let value = simd.mul_add_f32s(steps[i], scale, offset);
                out[i] = simd.add_f32s(value, out[i]);
            }
        }
    }
}
