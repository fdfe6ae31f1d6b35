//! Levels in 8 and 4 bits against the reference on weights that were rounded the same way.

use super::*;
use crate::engine::bits::{Bits, Matrix};

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
fn rounded(engine: &Engine, model: &DenseModel, bits: Bits) -> DenseModel {
    let (config, weights) = (&model.config, engine.weights());
    let (hidden, groups) = (config.hidden, config.kv_heads);
    let read = |tensor: &str, units, rows, bits| {
        Matrix::reading(tensor, units, [rows, hidden]).rounded(weights, bits)
    };
    let write = |tensor: &str, units, rows| {
        Matrix::writing(tensor, units, [hidden, rows]).rounded(weights, bits)
    };
    let mut out = model.clone();
    for (i, layer) in out.layers.iter_mut().enumerate() {
        let (query, all) = (config.heads_per_group() * config.head_dim, config.intermediate);
        let (mut q, mut k, mut v) = (Vec::new(), Vec::new(), Vec::new());
        for group in 0..groups {
            let units = (group, group + 1);
            let qkv = read(&format!("{i}.qkv"), units, query + 2 * config.head_dim, bits);
            let (queries, rest) = qkv.split_at(query * hidden);
            let (keys, values) = rest.split_at(config.head_dim * hidden);
            q.extend_from_slice(queries);
            k.extend_from_slice(keys);
            v.extend_from_slice(values);
            let o = write(&format!("{i}.o"), units, query);
            for (row, part) in o.chunks(query).enumerate() {
                layer.o[row * groups * query + group * query..][..query].copy_from_slice(part);
            }
        }
        (layer.q, layer.k, layer.v) = (q, k, v);
        layer.gate = read(&format!("{i}.gate"), (0, all), all, bits);
        layer.up = read(&format!("{i}.up"), (0, all), all, bits);
        layer.down = write(&format!("{i}.down"), (0, all), all);
    }
    let head = if model.head.is_some() { "head" } else { "embedding" };
    out.head = Some(read(head, (0, config.vocab), config.vocab, Bits::Eight));
    out
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

/// Activations have eight bits as well, so that the engine is near the rounded model and not equal
/// to it: nearer than that is to the one that was not rounded.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn a_level_in_few_bits_is_the_model_of_rounded_weights() {
    for (seed, tied) in [(1, true), (2, false)] {
        let model = random_model_of(&random_model(0).config, tied, seed);
        let (order, full) = (identity_order(&model.config), SubModel::full(&model.config));
        let expected = |model: &DenseModel| forward(model, &order, &full, &TOKENS).concat();
        let exact = expected(&model);
        let [mut of_eight, mut of_four] = [0.0; 2];
        for (bits, off) in [(Bits::Eight, &mut of_eight), (Bits::Four, &mut of_four)] {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = open(&folder, &model, Some(bits));
            let found = logits(&mut engine, Level::FULL);
            let rounded = expected(&rounded(&engine, &model, bits));
            *off = distance(&found, &exact) / distance(&exact, &vec![0.0; exact.len()]);
            if bits == Bits::Four {
                let (own, rounding) = (distance(&found, &rounded), distance(&rounded, &exact));
                assert!(own < 0.5 * rounding, "{own} from the rounded model, {rounding} by it");
            }
        }
        assert!(of_eight < 0.02, "eight bits are {of_eight} off");
        assert!(of_four > 2.0 * of_eight && of_four < 0.5, "four {of_four}, eight {of_eight}");
    }
}

/// A small level's weights are the first of a larger one's, whatever their bits.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn every_level_in_eight_bits_is_near_the_reference_and_a_level_may_have_bits_of_its_own() {
    let model = random_model(3);
    let order = shuffled_order(&model);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &order, WeightLayout::Chunked);
    engine.set_bits(Level::percent(50), Bits::Eight);
    let small = small(&model);
    let expected = forward(&model, &order, &small, &TOKENS).concat();
    let off = distance(&logits(&mut engine, small.level), &expected);
    let length = distance(&expected, &vec![0.0; expected.len()]);
    assert!(off > 1e-3 * length && off < 0.02 * length, "{off} of {length}");
    let full = forward(&model, &order, &SubModel::full(&model.config), &TOKENS).concat();
    assert_close(&logits(&mut engine, Level::FULL), &full);
}
