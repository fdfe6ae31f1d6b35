//! `x · Wᵀ`: every row of `W` makes a value of every token.

use pulp::{Arch, Simd, WithSimd};

use super::adapter::{Kinds, Low};
use super::dense::read_panel;
use super::one_token::{OneToken, between_one, one_row};
use super::panels::{Panel, Shape, Tokens, pack};
use super::pieces::{ROWS, Scratch, each_part, each_piece, with_floats};
use super::rows::Rows;
use super::threads::{Places, Threads};

/// Rows of a tile: with two vectors of tokens, they fill the registers that most machines of the
/// kind have.
const MANY: usize = ROWS;
const FEW: usize = 6;
/// A matrix that reads tokens, with what is added to its products.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// `[rows, depth]`.
    pub rows: Rows<'a>,
    /// A value for each row.
    pub bias: Option<&'a [f32]>,
    /// An adapter, and which part of it a row goes with.
    pub low: Option<(Low<'a>, Kinds<'a>)>,
}

impl Reading<'_> {
    /// Writes the products to `outputs`, each `[tokens, rows / outputs]`: the first has the first
    /// rows' values.
    ///
    /// # Panics
    /// If an output, the bias or the adapter has another size.
    pub fn run(
        &self,
        threads: &impl Threads,
        x: Tokens<'_>,
        outputs: &mut [&mut [f32]],
        scratch: &mut Scratch,
    ) {
        let rows = self.rows.count() / outputs.len();
        assert!(outputs.iter().all(|out| out.len() == x.count() * rows), "outputs hold all rows");
        let sink =
            Outputs { parts: outputs.iter_mut().map(|out| Places::new(out)).collect(), rows };
        if x.count() == 1 {
            return self.one(threads, x.values, &sink, &mut scratch.low);
        }
        let shape = pack(threads, x, &mut scratch.x);
        if let Some((low, _)) = &self.low {
            let a = Rows::Floats { values: low.a, columns: x.depth };
            into_panels(threads, a, (&scratch.x, shape), &mut scratch.low);
        }
        let between = self.low.map(|(low, kinds)| Between::new(low, kinds, &scratch.low, x.depth));
        let work = Work { rows: self.rows, x: &scratch.x, shape, between, bias: self.bias };
        work.run(threads, &sink);
    }

    fn one(&self, threads: &impl Threads, x: &[f32], out: &Outputs, low: &mut Vec<f32>) {
        if let Some((pair, _)) = &self.low {
            between_one(pair, x, low);
        }
        let (low, x) = (&*low, OneToken::new(self.rows, x));
        let count = self.rows.count();
        each_part(threads, count, |from, to| {
            Arch::new().dispatch(OnePiece { reading: self, x: &x, low, out, from, to });
        });
    }
}

/// `x · Aᵀ` in panels.
pub(super) fn into_panels(
    threads: &impl Threads,
    a: Rows<'_>,
    (x, shape): (&[f32], Shape),
    out: &mut Vec<f32>,
) {
    out.resize(shape.len(a.count()), 0.0);
    let sink = Columns { places: Places::new(out), rows: a.count() };
    Work { rows: a, x, shape, between: None, bias: None }.run(threads, &sink);
}

/// What an adapter has in between, of panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between<'a> {
    low: Low<'a>,
    kinds: Kinds<'a>,
    panels: &'a [f32],
    /// Its values of a token.
    depth: usize,
}

impl<'a> Between<'a> {
    pub(super) fn new(low: Low<'a>, kinds: Kinds<'a>, panels: &'a [f32], depth: usize) -> Self {
        Self { low, kinds, panels, depth: low.a.len() / depth }
    }

    /// Adds what the adapter makes of row `row`; `part` is added to the kind.
    #[inline(always)]
    pub(super) fn add<S: Simd, const V: usize>(
        &self,
        simd: S,
        acc: &mut [S::f32s; V],
        panel: Panel<'_>,
        row: usize,
        part: usize,
    ) {
        let Self { low: Low { b, rank, .. }, kinds, panels, depth } = *self;
        let from = panel.first * depth + (kinds.of(row) + part) * rank * panel.width;
        let (vectors, _) = S::as_simd_f32s(&panels[from..][..rank * panel.width]);
        for (x, weight) in vectors.as_chunks::<V>().0.iter().zip(&b[row * rank..][..rank]) {
            let weight = simd.splat_f32s(*weight);
            for v in 0..V {
                acc[v] = simd.mul_add_f32s(weight, x[v], acc[v]);
            }
        }
    }
}

/// What all tiles of a product read.
struct Work<'a> {
    rows: Rows<'a>,
    x: &'a [f32],
    shape: Shape,
    between: Option<Between<'a>>,
    bias: Option<&'a [f32]>,
}

impl Work<'_> {
    fn run(&self, threads: &impl Threads, sink: &impl Sink) {
        each_piece(threads, self.rows.count(), self.shape, |from, to, panels| {
            with_floats(MANY * self.rows.columns(), |decoded| {
                let tiles = Tiles { work: self, sink, from, to, panels, decoded };
                Arch::new().dispatch(tiles);
            });
        });
    }
}

/// Where a tile goes.
trait Sink: Sync {
    /// Takes rows from `first` on of a panel, `values` being `[rows, panel's width]`.
    fn put(&self, panel: Panel<'_>, first: usize, values: &[f32]);
}

/// Row-major outputs, of so many rows of the matrix each.
struct Outputs {
    parts: Vec<Places>,
    rows: usize,
}

impl Outputs {
    /// Where row `row` of the matrix goes, of the first token.
    #[inline(always)]
    fn place(&self, row: usize) -> (&Places, usize) {
        (&self.parts[row / self.rows], row % self.rows)
    }
}

impl Sink for Outputs {
    #[inline(always)]
    fn put(&self, panel: Panel<'_>, first: usize, values: &[f32]) {
        for (r, values) in values.chunks_exact(panel.width).enumerate() {
            let (part, column) = self.place(first + r);
            let mut to = panel.first * self.rows + column;
            for value in &values[..panel.count] {
                // SAFETY: each row of the matrix is one piece's, for each token.
                unsafe { part.set(to, *value) };
                to += self.rows;
            }
        }
    }
}

/// Panels, a row of the matrix behind the other.
struct Columns {
    places: Places,
    rows: usize,
}

impl Sink for Columns {
    #[inline(always)]
    fn put(&self, panel: Panel<'_>, first: usize, values: &[f32]) {
        let from = panel.first * self.rows + first * panel.width;
        // SAFETY: each row of the matrix is one piece's, for each panel.
        unsafe { self.places.get(from, values.len()) }.copy_from_slice(values);
    }
}

/// The most that registers hold anywhere.
const LANES_MAX: usize = 16;

/// A piece of the work.
struct Tiles<'a, K> {
    work: &'a Work<'a>,
    sink: &'a K,
    from: usize,
    to: usize,
    panels: std::ops::Range<usize>,
    /// Room for the rows of a tile.
    decoded: &'a mut [f32],
}

impl<K: Sink> WithSimd for Tiles<'_, K> {
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

impl<K: Sink> Tiles<'_, K> {
    #[inline(always)]
    fn all<S: Simd, const R: usize>(self, simd: S) {
        let Self { work, sink, from, to, panels, decoded } = self;
        let columns = work.rows.columns();
        for first in (from..to).step_by(R) {
            let rows: [&[f32]; R] = work.rows.some(simd, first, to, decoded);
            for panel in panels.clone() {
                let panel = work.shape.panel(work.x, columns, panel);
                if panel.width > S::F32_LANES {
                    work.tile::<S, K, R, 2>(simd, sink, panel, first..to, rows);
                } else {
                    work.tile::<S, K, R, 1>(simd, sink, panel, first..to, rows);
                }
            }
        }
    }
}

impl Work<'_> {
    /// The rows that are left, at most `R`, of one panel.
    #[inline(always)]
    fn tile<S: Simd, K: Sink, const R: usize, const V: usize>(
        &self,
        simd: S,
        sink: &K,
        panel: Panel<'_>,
        left: std::ops::Range<usize>,
        rows: [&[f32]; R],
    ) {
        let (first, kept) = (left.start, R.min(left.len()));
        let mut sums: [[S::f32s; V]; R] = read_panel(simd, panel.values, rows);
        if let Some(bias) = self.bias {
            for (sums, bias) in sums.iter_mut().zip(&bias[first..left.end]) {
                for sum in sums {
                    *sum = simd.add_f32s(*sum, simd.splat_f32s(*bias));
                }
            }
        }
        if let Some(between) = &self.between {
            for (r, sums) in sums[..kept].iter_mut().enumerate() {
                between.add(simd, sums, panel, first + r, 0);
            }
        }
        let mut values = [0.0; MANY * 2 * LANES_MAX];
        let (vectors, _) = S::as_mut_simd_f32s(&mut values);
        for (out, sum) in vectors.iter_mut().zip(sums.as_flattened()) {
            *out = *sum;
        }
        sink.put(panel, first, &values[..kept * V * S::F32_LANES]);
    }
}

/// Some rows of one token's product.
struct OnePiece<'a> {
    reading: &'a Reading<'a>,
    x: &'a OneToken<'a>,
    low: &'a [f32],
    out: &'a Outputs,
    from: usize,
    to: usize,
}

impl WithSimd for OnePiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Reading { rows, bias, low } = self.reading;
        for row in self.from..self.to {
            let mut product = self.x.times(simd, *rows, row);
            if let Some(bias) = bias {
                product += bias[row];
            }
            if let Some((low, kinds)) = low {
                product += one_row(*low, self.low, kinds.of(row), row);
            }
            let (part, column) = self.out.place(row);
            // SAFETY: each row of the matrix is one piece's.
            unsafe { part.set(column, product) };
        }
    }
}
