//! The training network against the plain reference and against finite differences.

use super::{AdaptedNetwork, Parameters};
use crate::elastify::network::Network;
use crate::elastify::removal::sub_model_loss;
use crate::engine::adapter::{Adapter, LoraPair};
use crate::engine::model::{DenseModel, LayerOrder, LayerShape, ModelConfig, SubModel};
use crate::engine::reference::{forward, identity_order, random_model, random_model_of};
use crate::units::Level;

const TOKENS: [u32; 9] = [3, 17, 42, 5, 5, 30, 11, 8, 2];
const RANK: usize = 2;
const SCALE: f32 = 2.0;

/// Some units of each layer, none of one kind in two of them.
fn part(config: &ModelConfig) -> SubModel {
    let shape = |groups, neurons| LayerShape { groups, neurons };
    let mut layers = vec![shape(2, 48), shape(0, 16), shape(1, 0)];
    layers.truncate(config.layers);
    SubModel { level: Level::percent(50), layers }
}

/// Units from the last to the first.
fn reversed_order(config: &ModelConfig) -> Vec<LayerOrder> {
    let mut order = identity_order(config);
    for layer in &mut order {
        layer.groups.reverse();
        layer.neurons.reverse();
    }
    order
}

fn biased_model() -> DenseModel {
    let config = ModelConfig { kv_heads: 3, heads: 6, ..random_model(1).config };
    random_model_of(&config, false, 2)
}

/// Parameters none of which is zero.
fn trained(config: &ModelConfig, sub_model: &SubModel) -> Parameters {
    let mut parameters = Parameters::initial(config, sub_model, RANK, 1);
    let other = Parameters::initial(config, sub_model, RANK, 2);
    for slot in 0..parameters.values.len() {
        for (i, value) in parameters.values[slot].iter_mut().enumerate() {
            *value += 0.05 * ((slot + 3 * i) as f32).sin();
        }
    }
    assert_ne!(parameters, other);
    parameters
}

fn network(model: &DenseModel, sub_model: &SubModel) -> AdaptedNetwork {
    let order = reversed_order(&model.config);
    AdaptedNetwork::new(model, &order, sub_model, SCALE, TOKENS.len()).unwrap()
}

#[test]
fn a_new_adapter_leaves_the_sub_models_loss_as_it_is() {
    for model in [random_model(1), biased_model()] {
        let sub_model = part(&model.config);
        let order = reversed_order(&model.config);
        let parameters = Parameters::initial(&model.config, &sub_model, RANK, 7);
        let network = network(&model, &sub_model);
        let found = network.loss_sum(&parameters, &TOKENS).unwrap();
        let none = Parameters::zero(&model.config, &sub_model, RANK);
        assert_eq!(found.to_bits(), network.loss_sum(&none, &TOKENS).unwrap().to_bits());
        let base = Network::new(model).unwrap();
        let expected = sub_model_loss(&base, &order, &sub_model, &TOKENS).unwrap();
        assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let model = biased_model();
    let sub_model = part(&model.config);
    let (network, mut parameters) =
        (network(&model, &sub_model), trained(&model.config, &sub_model));
    let all: Vec<u32> = (0..TOKENS.len() as u32 - 1).collect();
    let gradient = network.gradient(&parameters, &TOKENS, &all).unwrap();
    let loss = network.loss_sum(&parameters, &TOKENS).unwrap();
    assert!((gradient.loss_sum - loss).abs() < 1e-6 * loss);
    let step = 1e-2f32;
    for slot in 0..parameters.values.len() {
        let at = parameters.values[slot].len() / 2;
        let value = parameters.values[slot][at];
        let mut loss_at = |value: f32| {
            parameters.values[slot][at] = value;
            network.loss_sum(&parameters, &TOKENS).unwrap()
        };
        let slope = (loss_at(value + step) - loss_at(value - step)) / f64::from(2.0 * step);
        loss_at(value);
        let found = f64::from(gradient.values[slot][at]);
        let name = parameters.slots()[slot].name();
        assert!((found - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{name}: {found} {slope}");
    }
}

#[test]
fn the_gradient_of_some_positions_and_of_the_others_add_up_to_that_of_all() {
    let model = random_model(4);
    let sub_model = part(&model.config);
    let (network, parameters) = (network(&model, &sub_model), trained(&model.config, &sub_model));
    let gradient = |positions: &[u32]| network.gradient(&parameters, &TOKENS, positions).unwrap();
    let (all, some, others) =
        (gradient(&[0, 1, 2, 3, 4, 5, 6, 7]), gradient(&[1, 2, 6]), gradient(&[0, 3, 4, 5, 7]));
    assert!((all.loss_sum - some.loss_sum - others.loss_sum).abs() < 1e-5);
    for (all, (some, others)) in all.values.iter().zip(some.values.iter().zip(&others.values)) {
        for (all, (some, others)) in all.iter().zip(some.iter().zip(others)) {
            assert!((all - some - others).abs() < 1e-3, "{all} {some} {others}");
        }
    }
}

/// Adds `x · A · B` to the rows of `weight` (`[outputs, hidden]`) that the adapter has, in order.
fn add_rows(weight: &mut [f32], hidden: usize, pair: Option<&LoraPair>, rows: &[usize]) {
    let Some(pair) = pair else { return };
    for (place, &row) in rows.iter().enumerate() {
        for column in 0..hidden {
            let change = |r: usize| pair.b[place * pair.rank + r] * pair.a[r * hidden + column];
            weight[row * hidden + column] += (0..pair.rank).map(change).sum::<f32>();
        }
    }
}

/// The same for a weight `[hidden, inputs]`, whose inputs are units.
fn add_columns(weight: &mut [f32], hidden: usize, pair: Option<&LoraPair>, columns: &[usize]) {
    let Some(pair) = pair else { return };
    let inputs = weight.len() / hidden;
    for (place, &column) in columns.iter().enumerate() {
        for row in 0..hidden {
            let change = |r: usize| pair.a[place * pair.rank + r] * pair.b[r * hidden + row];
            weight[row * inputs + column] += (0..pair.rank).map(change).sum::<f32>();
        }
    }
}

/// `model` with the adapter added to its dense weights.
fn merged(model: &DenseModel, order: &[LayerOrder], adapter: &Adapter) -> DenseModel {
    let mut model = model.clone();
    let (hidden, width) = (model.config.hidden, model.config.head_dim);
    let per_group = model.config.heads_per_group() * width;
    for ((layer, order), adapter) in model.layers.iter_mut().zip(order).zip(&adapter.layers) {
        let spread = |units: &[u32], width: usize| -> Vec<usize> {
            units.iter().flat_map(|&u| (0..width).map(move |i| u as usize * width + i)).collect()
        };
        let kept = |pair: &Option<LoraPair>, width: usize| {
            pair.as_ref().map_or(0, |pair| pair.b.len() / pair.rank / width)
        };
        let groups = &order.groups[..kept(&adapter.k, width)];
        let neurons = spread(&order.neurons[..kept(&adapter.gate, 1)], 1);
        add_rows(&mut layer.q, hidden, adapter.q.as_ref(), &spread(groups, per_group));
        add_rows(&mut layer.k, hidden, adapter.k.as_ref(), &spread(groups, width));
        add_rows(&mut layer.v, hidden, adapter.v.as_ref(), &spread(groups, width));
        add_columns(&mut layer.o, hidden, adapter.o.as_ref(), &spread(groups, per_group));
        add_rows(&mut layer.gate, hidden, adapter.gate.as_ref(), &neurons);
        add_rows(&mut layer.up, hidden, adapter.up.as_ref(), &neurons);
        add_columns(&mut layer.down, hidden, adapter.down.as_ref(), &neurons);
    }
    model
}

#[test]
fn the_adapter_added_to_dense_weights_gives_the_training_networks_logits() {
    for model in [random_model(5), biased_model()] {
        let (config, order) = (&model.config, reversed_order(&model.config));
        for sub_model in [part(config), SubModel::full(config)] {
            let parameters = trained(config, &sub_model);
            let adapter = parameters.to_adapter("model".into(), "order".into(), &sub_model, SCALE);
            let dense = merged(&model, &order, &adapter);
            let expected = forward(&dense, &order, &sub_model, &TOKENS.map(i64::from));
            let found = network(&model, &sub_model).logits(&parameters, &TOKENS);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((found - expected).abs() < 2e-3 * (1.0 + expected.abs()));
            }
        }
    }
}

#[test]
fn matrices_have_units_leading_and_layers_without_units_have_none() {
    let model = random_model(1);
    let config = &model.config;
    let sub_model = part(config);
    let adapter =
        trained(config, &sub_model).to_adapter(String::new(), String::new(), &sub_model, 1.0);
    let lengths = |pair: &Option<LoraPair>| pair.as_ref().map(|p| (p.a.len(), p.b.len()));
    // 2 groups of 2 heads of width 16, 48 neurons, hidden 32, rank 2.
    let first = &adapter.layers[0];
    assert_eq!(lengths(&first.q), Some((2 * 32, 64 * 2)));
    assert_eq!(lengths(&first.k), Some((2 * 32, 32 * 2)));
    assert_eq!(lengths(&first.v), Some((2 * 32, 32 * 2)));
    assert_eq!(lengths(&first.o), Some((64 * 2, 2 * 32)));
    assert_eq!(lengths(&first.gate), Some((2 * 32, 48 * 2)));
    assert_eq!(lengths(&first.down), Some((48 * 2, 2 * 32)));
    assert_eq!(lengths(&adapter.layers[1].q), None);
    assert_eq!(lengths(&adapter.layers[1].up), Some((2 * 32, 16 * 2)));
    assert_eq!(lengths(&adapter.layers[2].down), None);
    assert_eq!((adapter.rank, adapter.level), (RANK, sub_model.level));
}
