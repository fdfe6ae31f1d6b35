//! The engine against the reference forward pass, on random models.

use super::adapter::{Adapter, AdapterTarget};
use super::model::{DenseModel, LayerOrder, LayerShape, ModelConfig, SubModel};
use super::reference::{
    forward, identity_order, merged, random_adapter, random_model, random_model_of,
};
use super::session::{Feed, Forest, Runtime};
use super::weights::Weights;
use super::{Engine, EngineOptions, WeightLayout};
use crate::assets::{Package, main_file};
use crate::units::Level;

mod bits;

const TOKENS: [i64; 9] = [3, 14, 15, 9, 26, 5, 35, 8, 44];
const CONTEXT: usize = 32;
const LAYOUTS: [WeightLayout; 4] =
    [WeightLayout::InPlace, WeightLayout::InMemory, WeightLayout::Chunked, WeightLayout::Plain];

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
    Engine::new(
        runtime,
        weights,
        &ladder,
        EngineOptions { layout, context: CONTEXT, ..EngineOptions::default() },
    )
    .unwrap()
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
        for layout in LAYOUTS {
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
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::InPlace);
    let rows: Vec<i64> = (0..TOKENS.len() as i64).collect();
    let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &rows, forest: None };
    assert_close(&engine.forward(Level::FULL, &feed).unwrap().logits, &a);
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn decoding_with_the_cache_equals_reading_the_whole_prompt() {
    let model = random_model(4);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::InPlace);
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
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::InPlace);
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
    let forest = Some(Forest { positions: &[3, 4, 3], mask: &mask });
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
    let mut engine = engine(&folder, &model, &order, WeightLayout::InPlace);
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

/// The full model reads, the small one answers: token by token, as text is generated.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn a_prompt_that_a_larger_level_read_is_answered_from_its_cache() {
    use super::generate::{generate, generate_in_phases};
    use super::scorer::{Task, score_in_phases};
    let model = random_model(6);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::Chunked);
    let half = Level::percent(50);
    let step = |engine: &mut Engine, level: Level, tokens: &[i64], past: usize| {
        let row = [tokens.len() as i64 - 1];
        let feed = Feed { tokens, past, logit_rows: &row, forest: None };
        engine.forward(level, &feed).unwrap().log_probs.clone()
    };
    let first = step(&mut engine, Level::FULL, &[1, 2, 3, 4, 5], 0);
    let second = step(&mut engine, half, &[7], 5);
    let third = step(&mut engine, half, &[8], 6);
    let by_hand = f64::from(first[7]) + f64::from(second[8]) + f64::from(third[9]);
    let by_small = step(&mut engine, half, &[1, 2, 3, 4, 5], 0);
    assert!((first[7] - by_small[7]).abs() > 1e-3, "the prompt's level says the first token");
    let options = vec![vec![6], vec![7, 8, 9]];
    let task = Task { context: vec![1, 2, 3, 4, 5], options };
    let levels = [half, Level::FULL];
    let scores = score_in_phases(&mut engine, Level::FULL, &levels, &[&task]).unwrap();
    assert!(
        (scores[0][0].sums[1] - by_hand).abs() < 1e-3,
        "{} is not {by_hand}",
        scores[0][0].sums[1]
    );
    let alone = super::scorer::score(&mut engine, Level::FULL, &[&task]).unwrap();
    assert!((scores[1][0].sums[1] - alone[0].sums[1]).abs() < 1e-3, "equal levels are one");

    let prompt = [1, 2, 3, 4, 5];
    let mixed = generate_in_phases(&mut engine, (Level::FULL, half), &prompt, 8, None).unwrap();
    assert_eq!((mixed.tokens.len(), mixed.steps.len()), (8, 7));
    let whole = generate(&mut engine, Level::FULL, &prompt, 8, None).unwrap();
    assert_eq!(mixed.tokens[0], whole.tokens[0]);
    let equal = generate_in_phases(&mut engine, (half, half), &prompt, 8, None).unwrap();
    assert_eq!(equal.tokens, generate(&mut engine, half, &prompt, 8, None).unwrap().tokens);
    assert!(step(&mut engine, half, &[7], 5).iter().all(|p| p.is_finite()));
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

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn an_adapter_gives_the_logits_of_the_merged_weights() {
    let rows: Vec<i64> = (0..TOKENS.len() as i64).collect();
    for (seed, tied) in [(7, true), (8, false)] {
        let model = random_model_of(&random_model(0).config, tied, seed);
        let order = shuffled_order(&model);
        let folder = tempfile::tempdir().unwrap();
        let mut engine = engine(&folder, &model, &order, WeightLayout::InPlace);
        for sub_model in [small(&model), SubModel::full(&model.config)] {
            let adapter = random_adapter(&model.config, &sub_model, 4, seed);
            engine.set_adapter(sub_model.level, Some(&adapter)).unwrap();
            let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &rows, forest: None };
            let found = engine.forward(sub_model.level, &feed).unwrap();
            let merged = merged(&model, &order, &adapter);
            let expected = forward(&merged, &order, &sub_model, &TOKENS).concat();
            assert_close(&found.logits, &expected);
            let plain = forward(&model, &order, &sub_model, &TOKENS).concat();
            let apart = expected.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 0.1);
            assert!(apart, "an adapter that changes nothing tests nothing");
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn layouts_of_onnx_runtimes_own_operators_serve_no_adapter() {
    let model = random_model(7);
    let folder = tempfile::tempdir().unwrap();
    let order = identity_order(&model.config);
    let mut engine = engine(&folder, &model, &order, WeightLayout::Chunked);
    let half = small(&model);
    let adapter = random_adapter(&model.config, &half, 4, 1);
    let refused = engine.set_adapter(half.level, Some(&adapter)).unwrap_err().to_string();
    assert_eq!(refused, "engine: this layout of weights serves no adapter; allowed: in-place");
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn an_adapter_serves_decoding_and_continuations_side_by_side() {
    let model = random_model(9);
    let order = shuffled_order(&model);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &order, WeightLayout::InPlace);
    let sub_model = small(&model);
    let level = sub_model.level;
    let adapter = random_adapter(&model.config, &sub_model, 4, 1);
    engine.set_adapter(level, Some(&adapter)).unwrap();
    let merged = merged(&model, &order, &adapter);
    let last_row = |tokens: &[i64]| forward(&merged, &order, &sub_model, tokens).pop().unwrap();
    let prefix = Feed { tokens: &[3, 14, 15], past: 0, logit_rows: &[2], forest: None };
    engine.forward(level, &prefix).unwrap();
    let step = Feed { tokens: &[9], past: 3, logit_rows: &[0], forest: None };
    assert_close(&engine.forward(level, &step).unwrap().logits, &last_row(&[3, 14, 15, 9]));
    let (o, x) = (0.0, f32::MIN / 2.0);
    let mask = [o, o, o, o, x, x, o, o, o, o, o, x, o, o, o, x, x, o];
    let forest = Some(Forest { positions: &[3, 4, 3], mask: &mask });
    let feed = Feed { tokens: &[9, 26, 7], past: 3, logit_rows: &[1, 2], forest };
    let both = engine.forward(level, &feed).unwrap().logits.clone();
    assert_close(&both, &[last_row(&[3, 14, 15, 9, 26]), last_row(&[3, 14, 15, 7])].concat());
}

/// Logits of the last of [`TOKENS`].
fn last_logits(engine: &mut Engine, level: Level) -> Vec<f32> {
    let feed = Feed { tokens: &TOKENS, past: 0, logit_rows: &[8], forest: None };
    engine.forward(level, &feed).unwrap().logits.clone()
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn adapters_come_and_go_without_a_trace() {
    let model = random_model(10);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::InPlace);
    let (half, full) = (small(&model), SubModel::full(&model.config));
    let bare = last_logits(&mut engine, half.level);
    let full_bare = last_logits(&mut engine, full.level);
    let [a, b] = [1, 2].map(|seed| random_adapter(&model.config, &half, 4, seed));
    let with = |engine: &mut Engine, adapter: Option<&Adapter>| {
        engine.set_adapter(half.level, adapter).unwrap();
        last_logits(engine, half.level)
    };
    let with_a = with(&mut engine, Some(&a));
    let with_b = with(&mut engine, Some(&b));
    assert!(with_a != bare && with_b != with_a);
    assert_eq!(last_logits(&mut engine, full.level), full_bare);
    assert_eq!(last_logits(&mut engine, half.level), with_b);
    assert_eq!(with(&mut engine, Some(&a)), with_a);
    assert_eq!(with(&mut engine, None), bare);
    let zero = Adapter::zero(&AdapterTarget {
        base_model_sha256: "aa",
        order_sha256: "bb",
        config: &model.config,
        sub_model: &half,
        rank: 4,
    });
    assert_close(&with(&mut engine, Some(&zero)), &bare);
    let other_rank = random_adapter(&model.config, &half, 2, 1);
    assert!(with(&mut engine, Some(&other_rank)) != bare);
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn an_adapter_of_another_sub_model_is_refused_and_the_old_one_stays() {
    let model = random_model(11);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &shuffled_order(&model), WeightLayout::InPlace);
    let half = small(&model);
    let adapter = random_adapter(&model.config, &half, 4, 1);
    engine.set_adapter(half.level, Some(&adapter)).unwrap();
    let before = last_logits(&mut engine, half.level);
    let refused = engine.set_adapter(Level::FULL, Some(&adapter)).unwrap_err().to_string();
    assert_eq!(
        refused,
        "adapter of level 100 %, layer 0: adapter of another shape; found 96 query rows, 48 key \
         rows, 48 neurons, width 32; allowed: 96 query rows, 48 key rows, 96 neurons, width 32"
    );
    let refused = engine.set_adapter(Level::percent(30), Some(&adapter)).unwrap_err().to_string();
    assert_eq!(refused, "engine: no such level; found 30 %; allowed: 50 %, 100 %");
    assert_eq!(last_logits(&mut engine, half.level), before);
    // Layer 2 keeps nothing. A of q, k and v; B of their 64 rows a group; A, B of o; A of gate and
    // up; B of each; A, B of down.
    let layer_0 = 4 * (3 * 32 + 192 + 96 + 32 + 2 * 32 + 2 * 48 + 48 + 32);
    let layer_1 = 4 * (3 * 32 + 64 + 32 + 32 + 2 * 32 + 2 * 16 + 16 + 32);
    assert_eq!(engine.adapter_bytes(half.level), 4 * (layer_0 + layer_1));
    assert_eq!(engine.adapter_bytes(Level::FULL), 0);
}

/// Of 8 places the prompt takes 5; the fourth token is written where no place is left to read it.
#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn generation_stops_where_the_models_own_context_ends_and_keeps_what_came_out() {
    use super::generate::{generate, stream};
    let config = ModelConfig { context: 8, ..random_model(0).config };
    let model = random_model_of(&config, true, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(&folder, &model, &identity_order(&config), WeightLayout::InPlace);
    assert_eq!(engine.context(), 8, "the model's, not the {CONTEXT} that were asked for");
    let prompt = [1, 2, 3, 4, 5];
    let mut told = Vec::new();
    let mut tell = |token| {
        told.push(token);
        Ok(())
    };
    let out = stream(&mut engine, Level::FULL, &prompt, 100, None, &mut tell).unwrap();
    assert!(out.context_full);
    assert_eq!((out.tokens.len(), &told), (4, &out.tokens));
    let refusal = generate(&mut engine, Level::FULL, &prompt, 100, None).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "prompt and output: longer than the context; found 5 and 100 tokens; allowed: 8 tokens"
    );
    let fits = generate(&mut engine, Level::FULL, &prompt, 4, None).unwrap();
    assert_eq!(fits.tokens, out.tokens);
}
