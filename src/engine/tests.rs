//! The engine against the reference forward pass, on random models.

use super::model::{DenseModel, LayerOrder, LayerShape, SubModel};
use super::reference::{forward, identity_order, random_model, random_model_of};
use super::session::{Feed, Runtime};
use super::weights::Weights;
use super::{Engine, EngineOptions, WeightLayout};
use crate::assets::{Package, main_file};
use crate::units::Level;

const TOKENS: [i64; 9] = [3, 14, 15, 9, 26, 5, 35, 8, 44];
const CONTEXT: usize = 32;

fn runtime() -> &'static Runtime {
    Runtime::load(&main_file(Package::OnnxRuntime).unwrap(), 1).unwrap()
}

/// Reverses neurons and rotates groups: far from the identity, easy to undo by hand.
fn shuffled_order(model: &DenseModel) -> Vec<LayerOrder> {
    let mut order = identity_order(&model.config);
    for layer in &mut order {
        layer.neurons.reverse();
        layer.groups.rotate_left(1);
    }
    order
}

fn small(model: &DenseModel) -> SubModel {
    let shape = |groups, neurons| LayerShape { groups, neurons };
    assert_eq!(model.config.layers, 3);
    SubModel { level: Level::percent(50), layers: vec![shape(3, 48), shape(1, 16), shape(0, 0)] }
}

fn engine(
    folder: &tempfile::TempDir,
    model: &DenseModel,
    order: &[LayerOrder],
    layout: WeightLayout,
) -> Engine {
    let runtime = runtime();
    let weights = Weights::create(folder.path(), model, order, CONTEXT).unwrap();
    let ladder = [small(model), SubModel::full(&model.config)];
    Engine::new(runtime, weights, &ladder, EngineOptions { layout, context: CONTEXT }).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "differs by {worst}");
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn every_level_gives_the_logits_of_the_reference_in_every_layout() {
    for (seed, tied) in [(1, true), (2, false)] {
        let model = random_model_of(&random_model(0).config, tied, seed);
        let order = shuffled_order(&model);
        for layout in [WeightLayout::Chunked, WeightLayout::Views, WeightLayout::Plain] {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = engine(&folder, &model, &order, layout);
            for sub_model in [small(&model), SubModel::full(&model.config)] {
                let rows: Vec<i64> = (0..TOKENS.len() as i64).collect();
                let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &rows, forest: None };
                let found = engine.forward(sub_model.level, &feed).unwrap();
                let expected = forward(&model, &order, &sub_model, &TOKENS).concat();
                assert_close(&found.logits, &expected);
            }
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn a_permuted_model_is_the_same_function_at_full_level() {
    let model = random_model(3);
    let full = SubModel::full(&model.config);
    let a = forward(&model, &identity_order(&model.config), &full, &TOKENS).concat();
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::Chunked);
    let rows: Vec<i64> = (0..TOKENS.len() as i64).collect();
    let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &rows, forest: None };
    assert_close(&engine.forward(Level::FULL, &feed).unwrap().logits, &a);
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn decoding_with_the_cache_equals_reading_the_whole_prompt() {
    let model = random_model(4);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::Chunked);
    let level = Level::percent(50);
    let whole = Feed { tokens: &TOKENS, past: 0, logit_rows: &[8], forest: None };
    let expected = engine.forward(level, &whole).unwrap().logits.clone();
    let head = Feed { tokens: &TOKENS[..4], past: 0, logit_rows: &[3], forest: None };
    engine.forward(level, &head).unwrap();
    let chunk = Feed { tokens: &TOKENS[4..7], past: 4, logit_rows: &[2], forest: None };
    engine.forward(level, &chunk).unwrap();
    let mut last = Vec::new();
    for position in 7..9 {
        let step = Feed {
            tokens: &TOKENS[position..=position],
            past: position,
            logit_rows: &[0],
            forest: None,
        };
        last.clone_from(&engine.forward(level, &step).unwrap().logits);
    }
    assert_close(&last, &expected);
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn continuations_side_by_side_equal_each_on_its_own() {
    let model = random_model(5);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::Chunked);
    let level = Level::percent(50);
    let last_row = |engine: &mut Engine, tokens: &[i64]| {
        let row = [tokens.len() as i64 - 1];
        let feed = Feed { tokens, past: 0, logit_rows: &row, forest: None };
        engine.forward(level, &feed).unwrap().logits.clone()
    };
    let a = last_row(&mut engine, &[3, 14, 15, 9, 26]);
    let b = last_row(&mut engine, &[3, 14, 15, 7]);
    let prefix = Feed { tokens: &[3, 14, 15], past: 0, logit_rows: &[2], forest: None };
    engine.forward(level, &prefix).unwrap();
    let (o, x) = (0.0, f32::MIN / 2.0);
    let mask = [o, o, o, o, x, x, o, o, o, o, o, x, o, o, o, x, x, o];
    let forest = Some((&[3, 4, 3][..], &mask[..]));
    let feed = Feed { tokens: &[9, 26, 7], past: 3, logit_rows: &[1, 2], forest };
    let both = engine.forward(level, &feed).unwrap().logits.clone();
    assert_close(&both, &[a, b].concat());
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn options_scored_together_equal_options_scored_alone() {
    use super::scorer::{Task, score};
    let model = random_model(6);
    let folder = tempfile::tempdir().unwrap();
    let order = shuffled_order(&model);
    let mut engine = engine(&folder, &model, &order, WeightLayout::Chunked);
    let level = Level::percent(50);
    let task = |context: &[u32], options: &[&[u32]]| Task {
        context: context.to_vec(),
        options: options.iter().map(|option| option.to_vec()).collect(),
    };
    let tasks = [
        task(&[1, 2, 3, 4, 5], &[&[6], &[7, 8], &[9, 10, 11]]),
        task(&[1, 2, 3, 9], &[&[6, 6], &[7]]),
        task(&[40], &[&[6, 6], &[7]]),
    ];
    let together = score(&mut engine, level, &tasks.iter().collect::<Vec<_>>()).unwrap();
    for (task, scores) in tasks.iter().zip(&together) {
        for (option, &sum) in task.options.iter().zip(&scores.sums) {
            let expected = log_likelihood(&model, &order, &small(&model), &task.context, option);
            assert!((sum - expected).abs() < 1e-3, "{sum} is not {expected}");
        }
    }
}

/// ln p(option | context) by the reference.
fn log_likelihood(
    model: &DenseModel,
    order: &[LayerOrder],
    sub_model: &SubModel,
    context: &[u32],
    option: &[u32],
) -> f64 {
    let tokens: Vec<i64> = context.iter().chain(option).map(|&token| i64::from(token)).collect();
    let logits = forward(model, order, sub_model, &tokens);
    let log_prob = |(i, &token): (usize, &u32)| {
        let row = &logits[context.len() + i - 1];
        let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        f64::from(row[token as usize]) - total.ln()
    };
    option.iter().enumerate().map(log_prob).sum()
}
