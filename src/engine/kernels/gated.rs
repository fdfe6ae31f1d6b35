//! `silu(x · Gᵀ) ⊙ (x · Uᵀ)`: what the neurons of an MLP make of tokens.

use pulp::{Arch, Simd, WithSimd};

use super::adapter::{Kinds, Low};
use super::one_token::{OneToken, between_one, one_row};
use super::panels::{Panel, Shape, Tokens, pack};
use super::pieces::{Scratch, each_part, each_piece, with_floats};
use super::reading::{Between, into_panels};
use super::rows::Rows;
use super::silu::silu;
use super::threads::{Places, Threads};

/// Neurons of a tile; each has a row of both matrices.
const MANY: usize = 6;
const FEW: usize = 3;
/// All rows of a gate go with one part of its adapter, and those of up with the next.
const ALIKE: Kinds<'static> = Kinds { ends: &[] };

/// The two matrices that read.
#[derive(Debug, Clone, Copy)]
pub struct Gated<'a> {
    /// `[neurons, depth]`.
    pub gate: Rows<'a>,
    /// `[neurons, depth]`.
    pub up: Rows<'a>,
    /// `a` of both, gate's first, and each one's `b`.
    pub low: Option<[Low<'a>; 2]>,
}

impl Gated<'_> {
    /// Writes what the neurons make of `x` to `scratch`, for a [`Writing`](super::Writing).
    ///
    /// # Panics
    /// If gate and up, or an adapter, are of other sizes.
    pub fn run(&self, threads: &impl Threads, x: Tokens<'_>, scratch: &mut Scratch) {
        let neurons = self.gate.count();
        assert_eq!(neurons, self.up.count(), "gate and up have as many rows");
        if x.count() == 1 {
            return self.one(threads, x.values, scratch);
        }
        let Scratch { x: panels, low: between, h, .. } = scratch;
        let shape = pack(threads, x, panels);
        if let Some([low, _]) = &self.low {
            let a = Rows::Floats { values: low.a, columns: x.depth };
            into_panels(threads, a, (panels, shape), between);
        }
        h.resize(shape.len(neurons), 0.0);
        let low = self.low.map(|pair| pair.map(|low| Between::new(low, ALIKE, between, x.depth)));
        let work = Work { neurons: self, x: panels, shape, low, h: Places::new(h) };
        each_piece(threads, neurons, shape, |from, to, panels| {
            with_floats(2 * MANY * x.depth, |decoded| {
                Arch::new().dispatch(Tiles { work: &work, from, to, panels, decoded });
            });
        });
    }

    fn one(&self, threads: &impl Threads, x: &[f32], scratch: &mut Scratch) {
        let Scratch { low, h, .. } = scratch;
        if let Some([pair, _]) = &self.low {
            between_one(pair, x, low);
        }
        let neurons = self.gate.count();
        h.resize(neurons, 0.0);
        let (h, low, x) = (Places::new(h), &*low, OneToken::new(self.gate, x));
        each_part(threads, neurons, |from, to| {
            Arch::new().dispatch(OnePiece { neurons: self, x: &x, low, h, from, to });
        });
    }
}

struct Work<'a> {
    neurons: &'a Gated<'a>,
    x: &'a [f32],
    shape: Shape,
    low: Option<[Between<'a>; 2]>,
    h: Places,
}

/// A piece of the work.
struct Tiles<'a> {
    work: &'a Work<'a>,
    from: usize,
    to: usize,
    panels: std::ops::Range<usize>,
    /// Room for the rows of a tile.
    decoded: &'a mut [f32],
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.all::<S, MANY>(simd);
        } else {
            self.all::<S, FEW>(simd);
        }
    }
}

impl Tiles<'_> {
    #[inline(always)]
    fn all<S: Simd, const R: usize>(self, simd: S) {
        let Self { work, from, to, panels, decoded } = self;
        let Gated { gate, up, .. } = work.neurons;
        let columns = gate.columns();
        let (for_gates, for_ups) = decoded.split_at_mut(MANY * columns);
        for first in (from..to).step_by(R) {
            let gates: [&[f32]; R] = gate.some(simd, first, to, for_gates);
            let ups: [&[f32]; R] = up.some(simd, first, to, for_ups);
            for panel in panels.clone() {
                let panel = work.shape.panel(work.x, columns, panel);
                if panel.width > S::F32_LANES {
                    work.tile::<S, R, 2>(simd, panel, first..to, [gates, ups]);
                } else {
                    work.tile::<S, R, 1>(simd, panel, first..to, [gates, ups]);
                }
            }
        }
    }
}

impl Work<'_> {
    /// The neurons that are left, at most `R`, of one panel.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        panel: Panel<'_>,
        left: std::ops::Range<usize>,
        rows: [[&[f32]; R]; 2],
    ) {
        let (first, kept) = (left.start, R.min(left.len()));
        let [mut gate, mut up]: [[[S::f32s; V]; R]; 2] = read_two(simd, panel.values, rows);
        if let Some([gates, ups]) = &self.low {
            for r in 0..kept {
                gates.add(simd, &mut gate[r], panel, first + r, 0);
                ups.add(simd, &mut up[r], panel, first + r, 1);
            }
        }
        let neurons = self.neurons.gate.count();
        let from = panel.first * neurons + first * panel.width;
        // SAFETY: each neuron is one piece's, for each panel.
        let out = unsafe { self.h.get(from, kept * panel.width) };
        let (out, _) = S::as_mut_simd_f32s(out);
        for (r, out) in out.as_chunks_mut::<V>().0.iter_mut().enumerate() {
            for v in 0..V {
                out[v] = simd.mul_f32s(silu(simd, gate[r][v]), up[r][v]);
            }
        }
    }
}

/// What rows of two matrices make of a panel, as [`read_panel`](super::dense::read_panel).
#[inline(always)]
fn read_two<S: Simd, const R: usize, const V: usize>(
    simd: S,
    panel: &[f32],
    [rows, others]: [[&[f32]; R]; 2],
) -> [[[S::f32s; V]; R]; 2] {
    let depth = rows[0].len();
    assert!(rows.iter().chain(&others).all(|row| row.len() == depth), "rows of one length");
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<V>();
    let mut sums = [[[simd.splat_f32s(0.0); V]; R]; 2];
    for (k, x) in panel[..depth].iter().enumerate() {
        for r in 0..R {
            // SAFETY: there are `depth` values in every row.
            let weights = unsafe { [*rows[r].get_unchecked(k), *others[r].get_unchecked(k)] };
            let (weight, other) = (simd.splat_f32s(weights[0]), simd.splat_f32s(weights[1]));
            for v in 0..V {
                sums[0][r][v] = simd.mul_add_f32s(weight, x[v], sums[0][r][v]);
                sums[1][r][v] = simd.mul_add_f32s(other, x[v], sums[1][r][v]);
            }
        }
    }
    sums
}

/// Some neurons of one token.
struct OnePiece<'a> {
    neurons: &'a Gated<'a>,
    x: &'a OneToken<'a>,
    low: &'a [f32],
    h: Places,
    from: usize,
    to: usize,
}

impl WithSimd for OnePiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gated { gate, up, low } = self.neurons;
        // SAFETY: each neuron is one piece's.
        let out = unsafe { self.h.get(self.from, self.to - self.from) };
        for (neuron, out) in (self.from..self.to).zip(out) {
            let mut gate = self.x.times(simd, *gate, neuron);
            let mut up = self.x.times(simd, *up, neuron);
            if let Some([of_gate, of_up]) = low {
                gate += one_row(*of_gate, self.low, 0, neuron);
                up += one_row(*of_up, self.low, 1, neuron);
            }
            *out = gate / (1.0 + (-gate).exp()) * up;
        }
    }
}
