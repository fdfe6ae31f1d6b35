//! What it costs to make a pruned model resident when sub-models share no order of units: every
//! kept row is copied out of the base model's weights into fresh memory.

use std::time::Duration;

use crate::engine::model::{LayerOrder, SubModel};
use crate::engine::stopwatch::timed;
use crate::engine::weights::Weights;

/// Copies what `sub_model` keeps out of `weights`, which are in the base model's order, where
/// `order` ranks the units; rows stay in the base model's order, as a pruned model has them.
///
/// Returns the time of the copy, allocation included, and the bytes copied.
///
/// # Panics
/// If `order` or `sub_model` is of another model.
#[must_use]
pub fn time_copy(
    weights: &Weights,
    order: &[LayerOrder],
    sub_model: &SubModel,
) -> (Duration, usize) {
    let (copy, time) = timed(|| copy(weights, order, sub_model));
    let bytes = copy.iter().map(|tensor| size_of_val(tensor.as_slice())).sum();
    (time, bytes)
}

fn copy(weights: &Weights, order: &[LayerOrder], sub_model: &SubModel) -> Vec<Vec<f32>> {
    let mut tensors = Vec::new();
    for (layer, (order, shape)) in order.iter().zip(&sub_model.layers).enumerate() {
        let groups = ascending(&order.groups[..shape.groups]);
        let neurons = ascending(&order.neurons[..shape.neurons]);
        for (part, rows) in [("qkv", &groups), ("o", &groups), ("gate", &neurons)]
            .into_iter()
            .chain([("up", &neurons), ("down", &neurons)])
        {
            tensors.push(copy_rows(weights, &format!("{layer}.{part}"), rows));
        }
    }
    tensors
}

fn copy_rows(weights: &Weights, tensor: &str, rows: &[usize]) -> Vec<f32> {
    let columns = weights.index().tensors[tensor].columns;
    let mut copy = Vec::with_capacity(rows.len() * columns);
    for &row in rows {
        copy.extend_from_slice(weights.rows(tensor, row, row + 1));
    }
    copy
}

fn ascending(units: &[u32]) -> Vec<usize> {
    let mut units: Vec<usize> = units.iter().map(|&unit| unit as usize).collect();
    units.sort_unstable();
    units
}
