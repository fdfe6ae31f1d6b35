//! `x / (1 + e⁻ˣ)` of a register of values.

use std::f32::consts::{LN_2, LOG2_E};

use pulp::Simd;

/// Adding it leaves an integer in a float's low bits.
const ROUND: f32 = 12_582_912.0;
/// Coefficients of `eʳ − 1 − r`, `|r| ≤ ln 2 / 2`, from the sixth power to the second: 1 / n!.
const SERIES: [f32; 5] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0];
/// ln 2 in two parts, of which the first has few bits.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = LN_2 - LN_2_HIGH;
/// Beyond it, e⁻ˣ counts as this much.
const LARGEST: f32 = 87.0;

/// `eˣ`, of `x` between −87 and 87, to some 2 units in the last place.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-LARGEST)), simd.splat_f32s(LARGEST));
    let shifted = simd.mul_add_f32s(x, simd.splat_f32s(LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut sum = simd.splat_f32s(SERIES[0]);
    for coefficient in &SERIES[1..] {
        sum = simd.mul_add_f32s(sum, r, simd.splat_f32s(*coefficient));
    }
    let sum = simd.mul_add_f32s(simd.mul_f32s(sum, r), r, simd.add_f32s(r, simd.splat_f32s(1.0)));
    let bits = simd.transmute_u32s_f32s(shifted);
    let bits = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let bits = simd.add_u32s(bits, simd.splat_u32s(1.0_f32.to_bits()));
    simd.mul_f32s(sum, simd.transmute_f32s_u32s(bits))
}

/// `x / (1 + e⁻ˣ)`.
#[inline(always)]
pub(super) fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let e = exp(simd, simd.neg_f32s(x));
    simd.div_f32s(x, simd.add_f32s(e, simd.splat_f32s(1.0)))
}
