//! The differentiable forward pass against the plain reference, and scores against their
//! definition.

use super::importance::score_sequence;
use super::network::Network;
use super::removal::{remove_each, sub_model_loss};
use crate::engine::model::{DenseModel, LayerShape, ModelConfig, SubModel};
use crate::engine::reference::{forward, identity_order, random_model, random_model_of};

const TOKENS: [u32; 9] = [3, 17, 42, 5, 5, 30, 11, 8, 2];

/// The sum of next-token losses by the reference implementation.
fn reference_loss(model: &DenseModel, sub_model: &SubModel) -> f64 {
    let order = identity_order(&model.config);
    let tokens = TOKENS.map(i64::from);
    let logits = forward(model, &order, sub_model, &tokens);
    let loss = |(row, &target): (&Vec<f32>, &u32)| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum.ln() - f64::from(row[target as usize])
    };
    logits.iter().zip(&TOKENS[1..]).map(loss).sum()
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(error <= tolerance * (1.0 + expected.abs()), "found {found}, expected {expected}");
}

fn biased_model() -> DenseModel {
    let config = ModelConfig { kv_heads: 2, heads: 4, ..random_model(1).config };
    random_model_of(&config, false, 2)
}

#[test]
fn losses_equal_the_reference_for_the_whole_model_and_for_sub_models() {
    for model in [random_model(1), biased_model()] {
        let config = model.config.clone();
        let mut part = SubModel::full(&config);
        part.layers[0] = LayerShape { groups: 1, neurons: 32 };
        part.layers[1] = LayerShape { groups: 0, neurons: 0 };
        let expected = [SubModel::full(&config), part].map(|s| (reference_loss(&model, &s), s));
        let network = Network::new(model).unwrap();
        for (expected, sub_model) in expected {
            let order = identity_order(&config);
            let found = sub_model_loss(&network, &order, &sub_model, &TOKENS).unwrap();
            assert_close(found, expected, 1e-5);
        }
    }
}

#[test]
fn removal_losses_equal_the_reference_without_that_unit() {
    let model = random_model(3);
    let config = model.config.clone();
    let mut without_layer = SubModel::full(&config);
    without_layer.layers[1] = LayerShape { groups: 0, neurons: 0 };
    let mut without_last_group = SubModel::full(&config);
    without_last_group.layers[2].groups -= 1;
    let expected = [SubModel::full(&config), without_layer, without_last_group]
        .map(|sub_model| reference_loss(&model, &sub_model));
    let found = remove_each(&Network::new(model).unwrap(), &TOKENS).unwrap();
    assert_close(found.loss_sum, expected[0], 1e-5);
    assert_close(found.layers[1], expected[1], 1e-5);
    assert_close(found.groups[2][config.kv_heads - 1], expected[2], 1e-5);
}

/// The loss when column `neuron` of layer 1's down projection is scaled by `gate`: the neuron's
/// gate at every token at once.
fn loss_at_gate(model: &DenseModel, neuron: usize, gate: f32) -> f64 {
    let mut model = model.clone();
    let width = model.config.intermediate;
    for row in model.layers[1].down.chunks_exact_mut(width) {
        row[neuron] *= gate;
    }
    reference_loss(&model, &SubModel::full(&model.config))
}

#[test]
fn sequence_taylor_is_the_size_of_the_slope_at_the_gate() {
    let model = biased_model();
    let scores = score_sequence(&Network::new(model.clone()).unwrap(), &TOKENS).unwrap();
    assert_close(scores.loss_sum, reference_loss(&model, &SubModel::full(&model.config)), 1e-5);
    for neuron in [0, 40, 95] {
        let step = 0.01;
        let slope = (loss_at_gate(&model, neuron, 1.0 + step)
            - loss_at_gate(&model, neuron, 1.0 - step))
            / (2.0 * f64::from(step));
        let found = f64::from(scores.layers[1].neurons.sequence_taylor[neuron]);
        assert!((found - slope.abs()).abs() < 2e-3 * (1.0 + slope.abs()), "{found} {slope}");
    }
}

#[test]
fn token_taylor_is_never_below_sequence_taylor() {
    let network = Network::new(random_model(5)).unwrap();
    for layer in score_sequence(&network, &TOKENS).unwrap().layers {
        for units in [layer.groups, layer.neurons] {
            for (token, sequence) in units.token_taylor.iter().zip(&units.sequence_taylor) {
                assert!(*token >= *sequence - 1e-4 * token.abs());
            }
        }
    }
}

#[test]
fn a_unit_with_zero_weights_scores_zero() {
    let mut model = random_model(6);
    let config = model.config.clone();
    let (neuron, group) = (7, 1);
    model.layers[0].up[neuron * config.hidden..][..config.hidden].fill(0.0);
    let rows = config.head_dim * config.hidden;
    model.layers[2].v[group * rows..][..rows].fill(0.0);
    let scores = score_sequence(&Network::new(model).unwrap(), &TOKENS).unwrap();
    assert!(scores.layers[0].neurons.token_taylor[neuron].abs() < 1e-12);
    assert!(scores.layers[0].neurons.token_taylor[neuron + 1] > 0.0);
    assert!(scores.layers[2].groups.token_taylor[group].abs() < 1e-12);
    assert!(scores.layers[2].groups.token_taylor[0] > 0.0);
}
