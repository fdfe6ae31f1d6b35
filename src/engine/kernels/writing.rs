//! `x + h · W`: every unit adds a row of `W` to every token, so much of it as it has of `h`.

use pulp::{Arch, Simd, WithSimd};

use super::adapter::Low;
use super::dense::{write_one, write_panel};
use super::few_bits;
use super::panels::{Panel, Shape, Tokens, pack_beside};
use super::pieces::{ONE, PANELS, PIECES, ROWS, Scratch, with_floats};
use super::rows::{Blocks, Rows};
use super::threads::{Places, Threads};
use crate::engine::bits::BLOCK;

/// Most columns of a piece of work.
const RANGE: usize = 288;
/// Units whose rows are added at once: those of a range stay in the cache for all its panels.
const UNITS: usize = 128;
/// Columns of a tile, as many as [`reading`](super::reading) has rows; what is left goes by fewer.
const MANY: usize = ROWS;
const FEW: usize = 6;
const REST: usize = 4;

/// A matrix that writes to tokens.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// `[units, columns]`.
    pub rows: Rows<'a>,
    /// An adapter.
    pub low: Option<Low<'a>>,
}

impl Writing<'_> {
    /// Adds to `out`, `[tokens, columns]`, what the units give whose values a
    /// [`Gated`](super::Gated) left in `scratch`.
    ///
    /// # Panics
    /// If there are other numbers of values than these.
    pub fn run(&self, threads: &impl Threads, out: &mut [f32], scratch: &mut Scratch) {
        let columns = self.rows.columns();
        let tokens = out.len() / columns;
        if tokens == 1 {
            return self.one(threads, out, scratch);
        }
        let shape = Shape::new(tokens);
        let Scratch { h, low: between, .. } = scratch;
        let units = self.rows.count();
        assert_eq!(h.len(), shape.len(units), "values of all units");
        let low = self.low.map(|low| {
            between_panels(threads, low, (h, units), shape, between);
            (Rows::Floats { values: low.b, columns }, &**between)
        });
        let work = Work { rows: self.rows, h, shape, low, out: Places::new(out) };
        let range = columns.div_ceil(columns.div_ceil(RANGE)).next_multiple_of(BLOCK);
        let ranges = columns.div_ceil(range);
        let groups = shape.panels().div_ceil(PANELS);
        threads.each(ranges * groups, &|piece| {
            let (group, place) = (piece / ranges, piece % ranges);
            let panels = group * PANELS..((group + 1) * PANELS).min(shape.panels());
            let (from, to) = (place * range, columns.min((place + 1) * range));
            with_floats((UNITS + PANELS * shape.full()) * (to - from), |room| {
                let (decoded, sums) = room.split_at_mut(UNITS * (to - from));
                sums.fill(0.0);
                Arch::new().dispatch(Range { work: &work, from, to, panels, decoded, sums });
            });
        });
    }

    /// As [`run`](Self::run), of units whose values lie side by side in `parts`, row-major.
    pub fn run_parts(
        &self,
        threads: &impl Threads,
        parts: &[Tokens<'_>],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        pack_beside(threads, parts, &mut scratch.h);
        self.run(threads, out, scratch);
    }

    /// Units are added up in as many parts as ever, so that the order of sums is one.
    fn one(&self, threads: &impl Threads, out: &mut [f32], scratch: &mut Scratch) {
        let Scratch { h, sums, .. } = scratch;
        let units = self.rows.count();
        assert_eq!(h.len(), units, "values of all units");
        let width = out.len().next_multiple_of(BLOCK);
        sums.clear();
        sums.resize(PIECES * width, 0.0);
        let (h, places) = (&**h, Places::new(sums));
        let step = units.div_ceil(PIECES).next_multiple_of(ONE);
        threads.each(units.div_ceil(step), &|piece| {
            // SAFETY: each piece has sums of its own.
            let out = unsafe { places.get(piece * width, width) };
            let (from, to) = (piece * step, units.min((piece + 1) * step));
            Arch::new().dispatch(OnePiece { rows: self.rows, h, out, from, to });
        });
        if let Some(low) = self.low {
            add_low(low, h, out);
        }
        for sums in sums.chunks_exact(width) {
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }
}

/// Adds `(h · A) · B`.
fn add_low(low: Low<'_>, h: &[f32], out: &mut [f32]) {
    let mut between = vec![0.0; low.rank];
    for (h, a) in h.iter().zip(low.a.chunks_exact(low.rank)) {
        between.iter_mut().zip(a).for_each(|(sum, a)| *sum += h * a);
    }
    for (factor, b) in between.iter().zip(low.b.chunks_exact(out.len())) {
        out.iter_mut().zip(b).for_each(|(out, b)| *out += factor * b);
    }
}

/// `h · A` in panels.
fn between_panels(
    threads: &impl Threads,
    low: Low<'_>,
    (h, units): (&[f32], usize),
    shape: Shape,
    out: &mut Vec<f32>,
) {
    out.clear();
    out.resize(shape.len(low.rank), 0.0);
    let places = Places::new(out);
    threads.each(shape.panels(), &|panel| {
        let (from, len) = shape.place(low.rank, panel);
        // SAFETY: panels lie one behind the other, and each is filled once.
        let out = unsafe { places.get(from, len) };
        let panel = shape.panel(h, units, panel);
        Arch::new().dispatch(BetweenPanel { low, panel, out });
    });
}

/// `h · A` of a panel.
struct BetweenPanel<'a> {
    low: Low<'a>,
    panel: Panel<'a>,
    out: &'a mut [f32],
}

impl WithSimd for BetweenPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { low, panel, out } = self;
        let (out, _) = S::as_mut_simd_f32s(out);
        let vectors = panel.width / S::F32_LANES;
        let (h, _) = S::as_simd_f32s(panel.values);
        for (h, a) in h.chunks_exact(vectors).zip(low.a.chunks_exact(low.rank)) {
            for (out, a) in out.chunks_exact_mut(vectors).zip(a) {
                let a = simd.splat_f32s(*a);
                for (out, h) in out.iter_mut().zip(h) {
                    *out = simd.mul_add_f32s(a, *h, *out);
                }
            }
        }
    }
}

struct Work<'a> {
    rows: Rows<'a>,
    h: &'a [f32],
    shape: Shape,
    /// B of the adapter, and what it multiplies in panels.
    low: Option<(Rows<'a>, &'a [f32])>,
    out: Places,
}

/// Some columns of some panels.
struct Range<'a> {
    work: &'a Work<'a>,
    from: usize,
    to: usize,
    panels: std::ops::Range<usize>,
    /// Room for the rows of some units.
    decoded: &'a mut [f32],
    /// `[panels, columns, width]`.
    sums: &'a mut [f32],
}

impl WithSimd for Range<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Work { rows, h, low, .. } = *self.work;
        self.product(simd, rows, h);
        if let Some((b, between)) = low {
            self.product(simd, b, between);
        }
        self.put();
    }
}

impl Range<'_> {
    /// Adds `h · rows` to the sums.
    #[inline(always)]
    fn product<S: Simd>(&mut self, simd: S, rows: Rows<'_>, h: &[f32]) {
        let Self { work, from, to, decoded, sums, .. } = self;
        let units = rows.count();
        let width = *to - *from;
        for first in (0..units).step_by(UNITS) {
            let last = units.min(first + UNITS);
            let (rows, stride) = match rows {
                Rows::Floats { values, columns } => {
                    for (unit, out) in (first..last).zip(decoded.chunks_exact_mut(width)) {
                        out.copy_from_slice(&values[unit * columns + *from..][..width]);
                    }
                    (&decoded[..(last - first) * width], width)
                }
                Rows::Blocks(blocks) => {
                    for (unit, out) in (first..last).zip(decoded.chunks_exact_mut(width)) {
                        few_bits::decode(simd, &blocks, unit, *from, out);
                    }
                    (&decoded[..(last - first) * width], width)
                }
            };
            let sums = sums.chunks_exact_mut(width * work.shape.full());
            for (panel, sums) in self.panels.clone().zip(sums) {
                let mut panel = work.shape.panel(h, units, panel);
                panel.values = &panel.values[first * panel.width..last * panel.width];
                let sums = &mut sums[..width * panel.width];
                if panel.width > S::F32_LANES {
                    add_panel::<S, 2>(simd, sums, panel, rows, stride);
                } else {
                    add_panel::<S, 1>(simd, sums, panel, rows, stride);
                }
            }
        }
    }

    /// Adds the sums to the tokens.
    fn put(&mut self) {
        let columns = self.work.rows.columns();
        let range = self.to - self.from;
        let sums = self.sums.chunks_exact(range * self.work.shape.full());
        for (panel, sums) in self.panels.clone().zip(sums) {
            let (first, width) = (self.work.shape.first(panel), self.work.shape.width(panel));
            for token in 0..self.work.shape.count(panel) {
                // SAFETY: each column of a token is one piece's.
                let out =
                    unsafe { self.work.out.get((first + token) * columns + self.from, range) };
                let sums = sums[token..].iter().step_by(width);
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// Adds what some units, whose `rows` begin at the first column, give to a panel.
#[inline(always)]
fn add_panel<S: Simd, const V: usize>(
    simd: S,
    sums: &mut [f32],
    panel: Panel<'_>,
    rows: &[f32],
    stride: usize,
) {
    let (sums, _) = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<V>();
    let done = if S::REGISTER_COUNT >= 32 {
        add_tiles::<S, MANY, V>(simd, sums, panel, rows, stride, 0)
    } else {
        add_tiles::<S, FEW, V>(simd, sums, panel, rows, stride, 0)
    };
    let done = add_tiles::<S, REST, V>(simd, sums, panel, rows, stride, done);
    add_tiles::<S, 1, V>(simd, sums, panel, rows, stride, done);
}

/// The same of as many columns from `from` on as are whole tiles of `D`; says where they end.
#[inline(always)]
fn add_tiles<S: Simd, const D: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]],
    panel: Panel<'_>,
    rows: &[f32],
    stride: usize,
    from: usize,
) -> usize {
    let (tiles, rest) = sums[from..].as_chunks_mut::<D>();
    let mut column = from;
    for sums in tiles {
        *sums = write_panel(simd, *sums, panel.values, &rows[column..], stride);
        column += D;
    }
    debug_assert!(rest.len() < D);
    column
}

/// Some units of one token.
struct OnePiece<'a> {
    rows: Rows<'a>,
    h: &'a [f32],
    out: &'a mut [f32],
    from: usize,
    to: usize,
}

impl WithSimd for OnePiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.rows {
            // One row after the other, as they lie: memory is read ahead.
            Rows::Floats { values, columns } => {
                let rows = values[self.from * columns..self.to * columns].chunks_exact(columns);
                for (row, h) in rows.zip(&self.h[self.from..self.to]) {
                    write_one(simd, &mut self.out[..columns], *h, row);
                }
            }
            Rows::Blocks(blocks) => {
                let mut unit = self.from;
                while unit + ONE <= self.to {
                    add_blocks::<S, ONE>(simd, self.out, &blocks, self.h, unit);
                    unit += ONE;
                }
                for unit in unit..self.to {
                    add_blocks::<S, 1>(simd, self.out, &blocks, self.h, unit);
                }
            }
        }
    }
}

#[inline(always)]
fn add_blocks<S: Simd, const R: usize>(
    simd: S,
    out: &mut [f32],
    rows: &Blocks<'_>,
    h: &[f32],
    first: usize,
) {
    let h: [f32; R] = std::array::from_fn(|r| h[first + r]);
    few_bits::write_one(simd, out, h, rows, first);
}
