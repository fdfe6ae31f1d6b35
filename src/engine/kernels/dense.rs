//! The innermost loops over rows of f32.

use pulp::Simd;

/// What `rows` make of a panel: `[r][v] = Σₖ rows[r][k] · panel[k][v]`. Sums are returned, for
/// what is lent stays in memory.
#[inline(always)]
pub(super) fn read_panel<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &[f32],
    rows: [&[f32]; R],
) -> [[S::f32s; V]; R] {
    let depth = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == depth), "rows of one length");
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<V>();
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (k, x) in panel[..depth].iter().enumerate() {
        for r in 0..R {
            // SAFETY: there are `depth` values in every row. Checked one by one, sums would be
            // written to memory before each check.
            let weight = simd.splat_f32s(unsafe { *rows[r].get_unchecked(k) });
            for v in 0..V {
                sums[r][v] = simd.mul_add_f32s(weight, x[v], sums[r][v]);
            }
        }
    }
    sums
}

/// Partial sums of a product, so that additions do not wait for each other.
const PARTS: usize = 4;

/// The product of one token with a row.
#[inline(always)]
pub(super) fn read_one<S: Simd>(simd: S, x: &[f32], row: &[f32]) -> f32 {
    let (xs, x_tail) = S::as_simd_f32s(x);
    let (weights, tail) = S::as_simd_f32s(&row[..x.len()]);
    let (x_parts, x_rest) = xs.as_chunks::<PARTS>();
    let (parts, rest) = weights.as_chunks::<PARTS>();
    let mut sums = [simd.splat_f32s(0.0); PARTS];
    for (weights, xs) in parts.iter().zip(x_parts) {
        for i in 0..PARTS {
            sums[i] = simd.mul_add_f32s(weights[i], xs[i], sums[i]);
        }
    }
    for (i, (weight, x)) in rest.iter().zip(x_rest).enumerate() {
        sums[i] = simd.mul_add_f32s(*weight, *x, sums[i]);
    }
    let halves = [simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])];
    let sum = simd.add_f32s(halves[0], halves[1]);
    tail.iter().zip(x_tail).map(|(weight, x)| weight * x).sum::<f32>() + simd.reduce_sum_f32s(sum)
}

/// `sums` and what rows make of a panel of units: `[d][v] += Σᵤ rows[u][d] · panel[u][v]`, of the
/// first `D` columns; rows begin every `stride` values.
#[inline(always)]
pub(super) fn write_panel<S: Simd, const D: usize, const V: usize>(
    simd: S,
    mut sums: [[S::f32s; V]; D],
    panel: &[f32],
    rows: &[f32],
    stride: usize,
) -> [[S::f32s; V]; D] {
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<V>();
    for (row, h) in rows.chunks(stride).zip(panel) {
        let row: &[f32; D] = row[..D].try_into().expect("as many");
        for d in 0..D {
            let weight = simd.splat_f32s(row[d]);
            for v in 0..V {
                sums[d][v] = simd.mul_add_f32s(weight, h[v], sums[d][v]);
            }
        }
    }
    sums
}

/// Adds a row to one token: `out += h · row`.
#[inline(always)]
pub(super) fn write_one<S: Simd>(simd: S, out: &mut [f32], h: f32, row: &[f32]) {
    let (weights, tail) = S::as_simd_f32s(&row[..out.len()]);
    let (vectors, out_tail) = S::as_mut_simd_f32s(out);
    let factor = simd.splat_f32s(h);
    for (out, weight) in vectors.iter_mut().zip(weights) {
        *out = simd.mul_add_f32s(factor, *weight, *out);
    }
    for (out, weight) in out_tail.iter_mut().zip(tail) {
        *out += h * weight;
    }
}
