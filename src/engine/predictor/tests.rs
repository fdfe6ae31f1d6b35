//! Sub-models that pick neurons per token, against the reference; predictors written and refused.

use rand::RngExt;

use super::*;
use crate::assets::{Package, main_file};
use crate::engine::generate::generate;
use crate::engine::model::{DenseModel, LayerShape, SubModel};
use crate::engine::reference::{dot, forward, forward_choosing, identity_order, random_model};
use crate::engine::scorer::{Task, score, score_at};
use crate::engine::session::{Feed, Runtime};
use crate::engine::weights::Weights;
use crate::engine::{Engine, EngineOptions};
use crate::units::Level;

const PROMPT: [i64; 4] = [3, 14, 15, 9];
const ANSWER: [i64; 4] = [26, 5, 35, 8];
/// Of 96: nearly a third, which are gathered; all, so that nothing is picked; and so many that the
/// others are masked.
const KEPT: [usize; 3] = [29, 96, 60];

fn random(config: &ModelConfig, rank: usize, seed: u64) -> Predictor {
    let mut random = crate::rng::stream(seed, "random predictor");
    let mut values =
        |n: usize| -> Vec<f32> { (0..n).map(|_| random.random::<f32>() - 0.5).collect() };
    let layer = |_| LayerPredictor {
        a: values(config.hidden * rank),
        b: values(rank * config.intermediate),
        bias: values(config.intermediate),
    };
    Predictor { rank, layers: (0..config.layers).map(layer).collect() }
}

/// Scores that do not look at the token: the last neurons first.
fn constant(config: &ModelConfig) -> Predictor {
    let layer = LayerPredictor {
        a: vec![0.0; config.hidden],
        b: vec![0.0; config.intermediate],
        bias: (0..config.intermediate).map(|neuron| neuron as f32).collect(),
    };
    Predictor { rank: 1, layers: vec![layer; config.layers] }
}

/// The neurons that `predictor` gives the highest scores.
fn picked(predictor: &Predictor, layer: usize, x: &[f32], kept: usize) -> Vec<u32> {
    let LayerPredictor { a, b, bias } = &predictor.layers[layer];
    let column = |matrix: &[f32], rows: usize, columns: usize, column: usize| -> Vec<f32> {
        (0..rows).map(|row| matrix[row * columns + column]).collect()
    };
    let rank = predictor.rank;
    let low: Vec<f32> = (0..rank).map(|r| dot(x, &column(a, x.len(), rank, r))).collect();
    let score = |neuron: usize| dot(&low, &column(b, rank, bias.len(), neuron)) + bias[neuron];
    let mut order: Vec<u32> = (0..bias.len() as u32).collect();
    order.sort_by(|&a, &b| score(b as usize).total_cmp(&score(a as usize)));
    order.truncate(kept);
    order
}

fn half(config: &ModelConfig) -> SubModel {
    let layer = |layer| LayerShape { groups: config.kv_heads, neurons: KEPT[layer] };
    SubModel { level: Level::percent(50), layers: (0..config.layers).map(layer).collect() }
}

fn engine(folder: &Path, model: &DenseModel, predictor: Predictor) -> Engine {
    let order = identity_order(&model.config);
    let weights = Weights::create(folder, model, &order, 32).unwrap();
    let runtime = Runtime::load(&main_file(Package::OnnxRuntime).unwrap(), 1).unwrap();
    let options = EngineOptions { context: 32, ..EngineOptions::default() };
    let ladder = [half(&model.config), SubModel::full(&model.config)];
    Engine::with_predictor(runtime, weights, predictor, &ladder, options).unwrap()
}

/// The full model without a predictor.
fn dense_engine(folder: &Path, model: &DenseModel) -> Engine {
    let weights = Weights::create(folder, model, &identity_order(&model.config), 32).unwrap();
    let options = EngineOptions { context: 32, ..EngineOptions::default() };
    let full = SubModel::full(&model.config);
    Engine::new(Runtime::loaded().unwrap(), weights, &[full], options).unwrap()
}

/// Logits of the reference after every token of `tokens`, of which the first `prompt` are read
/// whole.
fn expected(
    model: &DenseModel,
    predictor: &Predictor,
    prompt: usize,
    tokens: &[i64],
) -> Vec<Vec<f32>> {
    let config = &model.config;
    let choose = |layer: usize, place: usize, x: &[f32]| {
        let kept = half(config).layers[layer].neurons;
        let kept = if place < prompt { config.intermediate } else { kept };
        picked(predictor, layer, x, kept)
    };
    let full = SubModel::full(config);
    forward_choosing(model, &identity_order(config), &full, tokens, choose)
}

/// Logits after the prompt, then after every token of the answer, one at a time.
fn step_by_step(engine: &mut Engine, level: Level) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    let prompt = Feed { tokens: &PROMPT, past: 0, logit_rows: &[3], forest: None };
    rows.push(engine.forward(level, &prompt).unwrap().logits.clone());
    for (index, token) in ANSWER.iter().enumerate() {
        let tokens = std::slice::from_ref(token);
        let feed = Feed { tokens, past: PROMPT.len() + index, logit_rows: &[0], forest: None };
        rows.push(engine.forward(level, &feed).unwrap().logits.clone());
    }
    rows
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    let (found, expected) = (found.concat(), expected.concat());
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "differs by {worst}");
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn decoding_runs_the_picked_neurons_after_a_prompt_read_whole() {
    let model = random_model(21);
    let config = &model.config;
    let tokens = [PROMPT, ANSWER].concat();
    for predictor in [random(config, 4, 1), constant(config)] {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = engine(folder.path(), &model, predictor.clone());
        let rows = expected(&model, &predictor, PROMPT.len(), &tokens);
        let found = step_by_step(&mut engine, Level::percent(50));
        assert_close(&found, &rows[PROMPT.len() - 1..]);
        let whole = forward(&model, &identity_order(config), &SubModel::full(config), &tokens);
        let (sparse, dense) = (rows.concat(), whole.concat());
        let apart = sparse.iter().zip(&dense).any(|(a, b)| (a - b).abs() > 0.1);
        assert!(apart, "neurons that nobody misses test nothing");
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn with_all_neurons_it_is_the_dense_model_exactly() {
    let model = random_model(22);
    let config = &model.config;
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut contextual = engine(folder.path(), &model, random(config, 4, 2));
    let mut dense = dense_engine(other.path(), &model);
    let found = step_by_step(&mut contextual, Level::FULL);
    assert_eq!(found, step_by_step(&mut dense, Level::FULL));
    assert_eq!(contextual.predictor_bytes(), 3 * 4 * (32 * 4 + 4 * 96 + 96));
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn options_side_by_side_score_as_they_would_token_by_token() {
    let model = random_model(23);
    let predictor = random(&model.config, 4, 3);
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut engine = engine(folder.path(), &model, predictor.clone());
    let task = |context: &[u32], options: &[&[u32]]| Task {
        context: context.to_vec(),
        options: options.iter().map(|option| option.to_vec()).collect(),
    };
    let tasks = [
        task(&[1, 2, 3, 4, 5], &[&[6], &[7, 8], &[9, 10, 11]]),
        task(&[1, 2, 3, 9], &[&[6, 6], &[7, 40, 2, 13]]),
    ];
    let tasks: Vec<&Task> = tasks.iter().collect();
    let levels = [Level::percent(50), Level::FULL];
    let [sparse, whole] = score_at(&mut engine, &levels, &tasks).unwrap().try_into().unwrap();
    let mut dense = dense_engine(other.path(), &model);
    for (found, expected) in whole.iter().zip(score(&mut dense, Level::FULL, &tasks).unwrap()) {
        let pairs = found.sums.iter().zip(&expected.sums);
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} is not {expected:?}");
    }
    for (task, scores) in tasks.iter().zip(sparse) {
        for (option, &sum) in task.options.iter().zip(&scores.sums) {
            let tokens: Vec<i64> =
                task.context.iter().chain(option).map(|&token| i64::from(token)).collect();
            let rows = expected(&model, &predictor, task.context.len(), &tokens);
            let log_prob = |(i, &token): (usize, &u32)| {
                let row = &rows[task.context.len() + i - 1];
                let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
                f64::from(row[token as usize]) - total.ln()
            };
            let expected: f64 = option.iter().enumerate().map(log_prob).sum();
            assert!((sum - expected).abs() < 1e-3, "{sum} is not {expected}");
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn a_generation_is_the_likeliest_token_of_each_step() {
    let model = random_model(24);
    let predictor = random(&model.config, 4, 4);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path(), &model, predictor.clone());
    let prompt = PROMPT.map(|token| token as u32);
    let out = generate(&mut engine, Level::percent(50), &prompt, 5, None).unwrap();
    let mut tokens = PROMPT.to_vec();
    for &token in &out.tokens {
        let rows = expected(&model, &predictor, PROMPT.len(), &tokens);
        let last = &rows[tokens.len() - 1];
        let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        assert_eq!(best, token as usize);
        tokens.push(i64::from(token));
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn ladders_and_predictors_that_do_not_fit_are_refused() {
    let model = random_model(25);
    let config = &model.config;
    let folder = tempfile::tempdir().unwrap();
    Weights::create(folder.path(), &model, &identity_order(config), 32).unwrap();
    let runtime = Runtime::load(&main_file(Package::OnnxRuntime).unwrap(), 1).unwrap();
    let refuse = |predictor: Predictor, ladder: &[SubModel]| {
        let weights = Weights::open(folder.path()).unwrap();
        let options = EngineOptions { context: 32, ..EngineOptions::default() };
        let engine = Engine::with_predictor(runtime, weights, predictor, ladder, options);
        engine.unwrap_err().to_string()
    };
    let full = SubModel::full(config);
    let mut narrow = half(config);
    narrow.layers[2].groups = 1;
    let fewer = Predictor { rank: 4, layers: random(config, 4, 5).layers[..2].to_vec() };
    let refusals = [
        refuse(random(config, 4, 5), &[half(config)]),
        refuse(random(config, 4, 5), &[narrow, full.clone()]),
        refuse(fewer, std::slice::from_ref(&full)),
        refuse(Predictor { rank: 3, ..random(config, 4, 5) }, &[full]),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    engine: no full model to read prompts with; allowed: a ladder with level 100 %, whole
    engine: a prediction gives up no attention; found level 50 %; allowed: 3 groups in every layer
    predictor: predictor of another model; found 2 layers; allowed: 3 layers
    predictor, tensor "0.predictor_a": predictor of another model; found 128 values; allowed: [32, 3]
    "#);
}

#[test]
fn a_predictor_comes_back_as_it_went_in_but_for_rounding() {
    let config = random_model(0).config;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    let predictor = random(&config, 4, 6);
    predictor.save(&path, &config).unwrap();
    let again = Predictor::load(&path, &config, 4).unwrap();
    let pairs = predictor.layers[2].b.iter().zip(&again.layers[2].b);
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-3);
    let message = |config: &ModelConfig, rank| {
        let error = Predictor::load(&path, config, rank).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    };
    let taller = ModelConfig { layers: 4, ..config.clone() };
    let lower = ModelConfig { layers: 2, ..config.clone() };
    let refusals = [message(&config, 5), message(&taller, 4), message(&lower, 4)];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    FILE, tensor "0.predictor_a": of another shape; found [32, 4]; allowed: [32, 5]
    FILE, tensor "3.predictor_a": missing
    FILE, tensor "2.predictor_a": predictor of a model with more layers
    "#);
}

#[test]
fn a_predictor_that_diverged_is_not_written() {
    let config = random_model(0).config;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    for value in [f32::NAN, 1e6] {
        let mut predictor = random(&config, 2, 7);
        predictor.layers[1].bias[3] = value;
        let message = predictor.save(&path, &config).unwrap_err().to_string();
        assert!(message.contains("\"1.predictor_bias\": predictor not written"), "{message}");
        assert!(!path.exists());
    }
}
