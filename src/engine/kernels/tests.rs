//! Products against sums written out, of any number of tokens, rows and columns.

use proptest::prelude::*;

use super::{Alone, Blocks, Gated, Kinds, Low, Reading, Rows, Scratch, Threads, Tokens, Writing};
use crate::engine::bits::{BLOCK, Bits, Quantised};
use crate::rng;

/// Pieces from the last to the first: none may count on another.
struct Backwards;

impl Threads for Backwards {
    fn each(&self, pieces: usize, work: &(dyn Fn(usize) + Send + Sync)) {
        (0..pieces).rev().for_each(work);
    }
}

/// Pieces on two threads.
struct Two;

impl Threads for Two {
    fn each(&self, pieces: usize, work: &(dyn Fn(usize) + Send + Sync)) {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..pieces).step_by(2).for_each(work));
            (1..pieces).step_by(2).for_each(work);
        });
    }
}

fn values(seed: u64, len: usize) -> Vec<f32> {
    use rand::RngExt;
    let mut rng = rng::stream(seed, "kernels");
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `a · bᵀ` of row-major matrices with `depth` columns.
fn times_transposed(a: &[f32], b: &[f32], depth: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    a.chunks(depth).flat_map(|a| b.chunks(depth).map(move |b| dot(a, b))).collect()
}

/// `a · b` of row-major matrices, `b` with `columns` columns.
fn times(a: &[f32], b: &[f32], columns: usize) -> Vec<f32> {
    let units = b.len() / columns;
    let mut out = Vec::new();
    for a in a.chunks(units) {
        let mut sums = vec![0.0; columns];
        for (a, b) in a.iter().zip(b.chunks(columns)) {
            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * b);
        }
        out.extend(sums);
    }
    out
}

fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn close(found: &[f32], expected: &[f32]) -> bool {
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3 * (1.0 + b.abs());
    found.len() == expected.len() && found.iter().zip(expected).all(near)
}

/// A matrix as it is multiplied, and the values that it has.
struct Matrix {
    values: Vec<f32>,
    columns: usize,
    quantised: Option<(Bits, Quantised)>,
}

impl Matrix {
    fn new(seed: u64, [rows, columns]: [usize; 2], bits: Option<Bits>) -> Self {
        let mut values = values(seed, rows * columns);
        let quantised = bits.map(|bits| (bits, Quantised::of(&values, columns, bits)));
        if let Some((bits, quantised)) = &quantised {
            values = quantised.values(columns, *bits);
        }
        Self { values, columns, quantised }
    }

    fn rows(&self) -> Rows<'_> {
        let columns = self.columns;
        match &self.quantised {
            None => Rows::Floats { values: &self.values, columns },
            Some((bits, quantised)) => Rows::Blocks(Blocks {
                bits: *bits,
                columns,
                codes: &quantised.codes,
                grids: &quantised.grids,
            }),
        }
    }
}

fn any_bits() -> impl Strategy<Value = Option<Bits>> {
    prop_oneof![Just(None), Just(Some(Bits::Eight)), Just(Some(Bits::Four))]
}

const RANK: usize = 3;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// `x · Wᵀ + bias + (x · Aᵀ) · Bᵀ`, rows of three kinds in turns, in two outputs.
    #[test]
    fn rows_are_read(
        tokens in 1_usize..70, units in 1_usize..9, depth in 1_usize..70,
        bits in any_bits(), adapted: bool, seed: u64,
    ) {
        let rows = 2 * 4 * units;
        let x = values(seed, tokens * depth);
        let matrix = Matrix::new(seed ^ 1, [rows, depth], bits);
        let (bias, b) = (values(seed ^ 2, rows), values(seed ^ 3, rows * RANK));
        let a = values(seed ^ 4, 3 * RANK * depth);
        // Two rows of the first kind, one of each other.
        let kinds = Kinds { ends: &[2, 3, 4] };
        let low = adapted.then_some((Low { a: &a, b: &b, rank: RANK }, kinds));
        let reading = Reading { rows: matrix.rows(), bias: Some(&bias), low };
        let mut found = [vec![0.0; tokens * rows / 2], vec![0.0; tokens * rows / 2]];
        let mut outputs: Vec<&mut [f32]> = found.iter_mut().map(|out| &mut out[..]).collect();
        let x_tokens = Tokens { values: &x, depth };
        reading.run(&Two, x_tokens, &mut outputs, &mut Scratch::default());

        let mut expected = times_transposed(&x, &matrix.values, depth);
        let between = times_transposed(&x, &a, depth);
        for (token, out) in expected.chunks_mut(rows).enumerate() {
            for (row, out) in out.iter_mut().enumerate() {
                *out += bias[row];
                if adapted {
                    let part = [0, 0, 1, 2][row % 4];
                    let between = &between[token * 3 * RANK + part * RANK..][..RANK];
                    *out += times_transposed(between, &b[row * RANK..][..RANK], RANK)[0];
                }
            }
        }
        for (part, found) in found.iter().enumerate() {
            let expected: Vec<f32> = expected
                .chunks(rows)
                .flat_map(|row| row[part * rows / 2..][..rows / 2].to_vec())
                .collect();
            prop_assert!(close(found, &expected));
        }
    }

    /// `stream + h · W + (h · A) · B` of `h = silu(x · Gᵀ) ⊙ (x · Uᵀ)`, adapters everywhere.
    #[test]
    fn an_mlp_reads_and_writes(
        tokens in 1_usize..40, neurons in 1_usize..140, depth in 1_usize..40,
        bits in any_bits(), adapted: bool, seed: u64,
    ) {
        let x = values(seed, tokens * depth);
        let [gate, up, down] =
            [1, 2, 3].map(|i| Matrix::new(seed ^ i, [neurons, depth], bits));
        let a = values(seed ^ 4, 2 * RANK * depth);
        let [gate_b, up_b, down_a] = [5, 6, 7].map(|i| values(seed ^ i, neurons * RANK));
        let down_b = values(seed ^ 8, RANK * depth);
        let low = |a, b| Low { a, b, rank: RANK };
        let gated = Gated {
            gate: gate.rows(),
            up: up.rows(),
            low: adapted.then(|| [low(&a, &gate_b), low(&a, &up_b)]),
        };
        let writing =
            Writing { rows: down.rows(), low: adapted.then(|| low(&down_a, &down_b)) };
        let mut found = x.clone();
        let mut scratch = Scratch::default();
        gated.run(&Backwards, Tokens { values: &x, depth }, &mut scratch);
        writing.run(&Backwards, &mut found, &mut scratch);

        let product = |matrix: &Matrix, part: usize, b: &[f32]| {
            let plain = times_transposed(&x, &matrix.values, depth);
            if !adapted {
                return plain;
            }
            let between = times_transposed(&x, &a[part * RANK * depth..][..RANK * depth], depth);
            add(&plain, &times_transposed(&between, b, RANK))
        };
        let (gates, ups) = (product(&gate, 0, &gate_b), product(&up, 1, &up_b));
        let h: Vec<f32> = gates.iter().zip(&ups).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        let mut expected = add(&x, &times(&h, &down.values, depth));
        if adapted {
            let between = times(&h, &down_a, RANK);
            expected = add(&expected, &times(&between, &down_b, depth));
        }
        prop_assert!(close(&found, &expected));
    }

    /// Units whose values come in parts, as heads do.
    #[test]
    fn parts_are_written_as_one(tokens in 1_usize..70, width in 1_usize..40, seed: u64) {
        let depth = 48;
        let parts = [1, 2, 3].map(|i| values(seed ^ i, tokens * width));
        let matrix = Matrix::new(seed, [3 * width, depth], None);
        let beside = parts.each_ref().map(|values| Tokens { values, depth: width });
        let mut found = vec![0.0; tokens * depth];
        let writing = Writing { rows: matrix.rows(), low: None };
        writing.run_parts(&Alone, &beside, &mut found, &mut Scratch::default());
        let h: Vec<f32> = (0..tokens)
            .flat_map(|token| parts.iter().flat_map(move |part| &part[token * width..][..width]))
            .copied()
            .collect();
        prop_assert!(close(&found, &times(&h, &matrix.values, depth)));
    }
}

/// The first rows' products, on one thread and two, of one token and of some.
#[test]
fn products_are_the_same_bits_on_any_threads() {
    let (neurons, depth) = (210, 3 * BLOCK);
    for (tokens, bits) in [(1, None), (1, Some(Bits::Four)), (40, None), (40, Some(Bits::Eight))] {
        let x = values(1, tokens * depth);
        let [gate, up, down] = [2, 3, 4].map(|i| Matrix::new(i, [neurons, depth], bits));
        let gated = Gated { gate: gate.rows(), up: up.rows(), low: None };
        let writing = Writing { rows: down.rows(), low: None };
        let (mut scratch, mut one, mut two) = (Scratch::default(), x.clone(), x.clone());
        let tokens = Tokens { values: &x, depth };
        gated.run(&Alone, tokens, &mut scratch);
        writing.run(&Alone, &mut one, &mut scratch);
        gated.run(&Two, tokens, &mut scratch);
        writing.run(&Two, &mut two, &mut scratch);
        assert_eq!(one, two);
    }
}

/// One neuron, weights by hand: silu(1 · 2) · (1 · 3) = 2 / (1 + e⁻²) · 3, written with weight 0.5.
#[test]
fn one_neuron_by_hand() {
    let floats = |values| Rows::Floats { values, columns: 1 };
    let mut scratch = Scratch::default();
    let mut out = [10.0];
    let gated = Gated { gate: floats(&[2.0]), up: floats(&[3.0]), low: None };
    gated.run(&Alone, Tokens { values: &[1.0], depth: 1 }, &mut scratch);
    Writing { rows: floats(&[0.5]), low: None }.run(&Alone, &mut out, &mut scratch);
    assert!((out[0] - (10.0 + 0.5 * 3.0 * 2.0 / (1.0 + (-2.0_f32).exp()))).abs() < 1e-6);
}
