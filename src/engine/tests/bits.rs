//! Levels in 8 and 4 bits against the reference on weights that were rounded the same way.

use super::*;
use crate::engine::bits::{Bits, Quantised};

const ROWS: [i64; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

fn logits(engine: &mut Engine, level: Level) -> Vec<f32> {
    let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &ROWS, forest: None };
    engine.forward(level, &feed).unwrap().logits.clone()
}

fn open(folder: &tempfile::TempDir, model: &DenseModel, bits: Option<Bits>) -> Engine {
    let weights =
        Weights::create(folder.path(), model, &identity_order(&model.config), CONTEXT).unwrap();
    let ladder = [SubModel::full(&model.config)];
    let options = EngineOptions { context: CONTEXT, bits, ..EngineOptions::default() };
    Engine::new(runtime(), weights, &ladder, options).unwrap()
}

/// `model` with the weights that an engine of `bits` computes with; its head has eight, and is its
/// own, for tokens are embedded by weights that are not rounded.
fn rounded(model: &DenseModel, bits: Bits) -> DenseModel {
    let hidden = model.config.hidden;
    let read = |values: &[f32], bits| Quantised::of(values, hidden, bits).values(hidden, bits);
    // What writes lies transposed in the weights file, a row for each unit.
    let write = |values: &[f32]| {
        let units = values.len() / hidden;
        let lying = read(&transposed(values, units), bits);
        transposed(&lying, hidden)
    };
    let mut out = model.clone();
    for layer in &mut out.layers {
        for matrix in [&mut layer.q, &mut layer.k, &mut layer.v, &mut layer.gate, &mut layer.up] {
            *matrix = read(matrix, bits);
        }
        for matrix in [&mut layer.o, &mut layer.down] {
            *matrix = write(matrix);
        }
    }
    out.head = Some(read(model.head.as_ref().unwrap_or(&model.embedding), Bits::Eight));
    out
}

/// The transpose of a row-major matrix with `columns` columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

/// Activations keep single precision, so that the engine is the rounded model, of many tokens at
/// once and of one after the other.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn a_level_in_few_bits_is_the_model_of_rounded_weights() {
    for (seed, tied) in [(1, true), (2, false)] {
        let model = random_model_of(&random_model(0).config, tied, seed);
        let (order, full) = (identity_order(&model.config), SubModel::full(&model.config));
        let exact = forward(&model, &order, &full, &TOKENS).concat();
        let mut off = Vec::new();
        for bits in [Bits::Eight, Bits::Four] {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = open(&folder, &model, Some(bits));
            let expected = forward(&rounded(&model, bits), &order, &full, &TOKENS);
            assert_close(&logits(&mut engine, Level::FULL), &expected.concat());
            for (past, token) in TOKENS.iter().enumerate() {
                let tokens = std::slice::from_ref(token);
                let feed = Feed { tokens, past, logit_rows: &[0], forest: None };
                let found = engine.forward(Level::FULL, &feed).unwrap().logits.clone();
                assert_close(&found, &expected[past]);
            }
            off.push(distance(&expected.concat(), &exact));
        }
        let length = distance(&exact, &vec![0.0; exact.len()]);
        assert!(off[0] < 0.02 * length, "eight bits are {} of {length} off", off[0]);
        assert!(off[1] > 2.0 * off[0] && off[1] < 0.5 * length, "{off:?} of {length}");
    }
}

/// A small level's weights are the first of a larger one's, whatever their bits.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn every_level_in_eight_bits_is_near_the_reference_and_a_level_may_have_bits_of_its_own() {
    let model = random_model(3);
    let order = shuffled_order(&model);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &order, WeightLayout::InPlace);
    engine.set_bits(Level::percent(50), Bits::Eight);
    let small = small(&model);
    let expected = forward(&model, &order, &small, &TOKENS).concat();
    let off = distance(&logits(&mut engine, small.level), &expected);
    let length = distance(&expected, &vec![0.0; expected.len()]);
    assert!(off > 1e-3 * length && off < 0.02 * length, "{off} of {length}");
    let full = forward(&model, &order, &SubModel::full(&model.config), &TOKENS).concat();
    assert_close(&logits(&mut engine, Level::FULL), &full);
}
