//! Levels with weights of their own against the reference, and levels without attention.

use super::*;
use crate::assets::{Package, main_file};
use crate::engine::graph::Attention;
use crate::engine::model::{DenseModel, LayerShape, ModelConfig};
use crate::engine::reference::{forward, identity_order, random_model, random_model_of};
use crate::engine::session::{Feed, Runtime};
use crate::engine::{Engine, EngineOptions};
use crate::model::family::merge::{MergedLayer, merged_model, sub_model};

const TOKENS: [i64; 7] = [3, 14, 15, 9, 26, 5, 35];
const ROWS: [i64; 7] = [0, 1, 2, 3, 4, 5, 6];

fn engine(weights: Weights, residence: Residence, ladder: &[SubModel]) -> Engine {
    let runtime = Runtime::load(&main_file(Package::OnnxRuntime).unwrap(), 1).unwrap();
    let options = EngineOptions { context: 16, ..EngineOptions::default() };
    Engine::with_residence(runtime, weights, residence, ladder, options).unwrap()
}

fn assert_logits(engine: &mut Engine, level: Level, expected: &[Vec<f32>]) {
    let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &ROWS, forest: None };
    let found = engine.forward(level, &feed).unwrap();
    let expected = expected.concat();
    assert_eq!(found.logits.len(), expected.len());
    let worst = found.logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "level {level} differs by {worst}");
}

fn part(layers: [(usize, usize); 3]) -> SubModel {
    let shape = |(groups, neurons)| LayerShape { groups, neurons };
    SubModel { level: Level::percent(50), layers: layers.map(shape).into() }
}

fn shuffled(model: &DenseModel) -> Vec<LayerOrder> {
    let mut order = identity_order(&model.config);
    for layer in &mut order {
        layer.neurons.reverse();
        layer.groups.rotate_left(1);
    }
    order
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn gathered_levels_give_the_logits_of_the_reference_back_and_forth() {
    let model = random_model_of(&random_model(0).config, false, 8);
    let folder = tempfile::tempdir().unwrap();
    let (order, identity) = (shuffled(&model), identity_order(&model.config));
    let weights = Weights::create(folder.path(), &model, &identity, 16).unwrap();
    let ladder = [part([(3, 40), (1, 7), (0, 0)]), SubModel::full(&model.config)];
    let mut engine = engine(weights, Residence::Gathered { order: order.clone() }, &ladder);
    assert!(engine.moves_weights());
    for index in [0, 1, 0] {
        let expected = forward(&model, &order, &ladder[index], &TOKENS);
        engine.open(ladder[index].level, Attention::Causal).unwrap();
        // Rows of 32 values: at 50 %, 4 groups of (4 · 16 + 4) rows and 47 neurons of 3.
        let bytes = engine.last_switch().bytes;
        assert!(bytes >= ladder[index].layers.iter().map(|s| s.neurons).sum::<usize>() * 3 * 128);
        assert_logits(&mut engine, ladder[index].level, &expected);
        assert_eq!(engine.last_switch().bytes, 0, "it is resident");
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn swapped_levels_are_the_merged_model() {
    let model = random_model(9);
    let folder = tempfile::tempdir().unwrap();
    let order = identity_order(&model.config);
    let weights = Weights::create(&folder.path().join("base"), &model, &order, 16).unwrap();
    let merged = MergedLayer::of(&[0, 1, 2].map(MergedLayer::original));
    let level = Level::percent(30);
    let ladder = [
        sub_model(&model.config, level, std::slice::from_ref(&merged)),
        SubModel::full(&model.config),
    ];
    let dense = merged_model(&model, &[merged]);
    let mut folders = BTreeMap::new();
    for (sub_model, model) in ladder.iter().zip([&dense, &model]) {
        let own = folder.path().join(sub_model.level.as_percent().to_string());
        Weights::write_layers(&own, model, &order, sub_model).unwrap();
        folders.insert(sub_model.level, own);
    }
    let mut engine = engine(weights, Residence::Swapped { folders }, &ladder);
    let full = forward(&model, &order, &ladder[1], &TOKENS);
    assert_logits(&mut engine, level, &forward(&dense, &order, &ladder[0], &TOKENS));
    assert_logits(&mut engine, Level::FULL, &full);
    assert_logits(&mut engine, level, &forward(&dense, &order, &ladder[0], &TOKENS));
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn separate_models_of_other_dimensions_take_turns_and_a_switch_bills_all_of_it() {
    let large = random_model(11);
    let config = ModelConfig { layers: 2, intermediate: 64, vocab: 40, ..large.config.clone() };
    let small = random_model_of(&config, false, 12);
    let folder = tempfile::tempdir().unwrap();
    let mut models = BTreeMap::new();
    let mut ladder = Vec::new();
    for (percent, model) in [(40, &small), (100, &large)] {
        let level = Level::percent(percent);
        let own = folder.path().join(percent.to_string());
        Weights::create(&own, model, &identity_order(&model.config), 16).unwrap();
        models.insert(level, SeparateModel { folder: own, config: model.config.clone() });
        ladder.push(SubModel { level, ..SubModel::full(&model.config) });
    }
    let weights = Weights::open(&folder.path().join("100")).unwrap();
    let mut engine = engine(weights, Residence::Separate { models }, &ladder);
    assert_eq!(engine.config_of(ladder[0].level), &small.config);
    for (sub_model, model) in [(0, &small), (1, &large), (0, &small)].map(|(i, m)| (&ladder[i], m))
    {
        let switch = engine.switch(sub_model.level).unwrap();
        let moved = engine.last_switch();
        assert!(switch > moved.weights, "the session is billed, too");
        assert_eq!(moved.bytes, engine.weights().bytes());
        let expected = forward(model, &identity_order(&model.config), sub_model, &TOKENS);
        assert_logits(&mut engine, sub_model.level, &expected);
    }
    engine.release();
    engine.switch(ladder[0].level).unwrap();
    assert!(engine.last_switch().bytes > 0, "what was released is read again");
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn levels_without_any_attention_and_layers_without_an_mlp_run() {
    let model = random_model(10);
    let folder = tempfile::tempdir().unwrap();
    let order = identity_order(&model.config);
    let ladder = [part([(0, 96), (0, 0), (0, 96)]), SubModel::full(&model.config)];
    let weights = Weights::create(folder.path(), &model, &order, 16).unwrap();
    let mut engine = engine(weights, Residence::Shared, &ladder);
    assert_logits(&mut engine, ladder[0].level, &forward(&model, &order, &ladder[0], &TOKENS));
    let attention_only = part([(3, 0), (0, 96), (3, 96)]);
    let weights = Weights::open(folder.path()).unwrap();
    let mut engine =
        self::engine(weights, Residence::Shared, std::slice::from_ref(&attention_only));
    let expected = forward(&model, &order, &attention_only, &TOKENS);
    assert_logits(&mut engine, attention_only.level, &expected);
}
