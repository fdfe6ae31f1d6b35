//! A plain-Rust forward pass, slow and obvious, that the engine is tested against; and random
//! models small enough for it.

use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::RngExt;

use super::adapter::{Adapter, AdapterTarget, LoraPair};
use super::model::{DenseLayer, DenseModel, LayerOrder, ModelConfig, SubModel};
use crate::rng;

/// A model of normal shape and random weights, about as large as a unit test can bear.
pub(crate) fn random_model(seed: u64) -> DenseModel {
    let config = ModelConfig {
        layers: 3,
        hidden: 32,
        intermediate: 96,
        heads: 6,
        kv_heads: 3,
        head_dim: 16,
        rope_theta: 1e4,
        rms_epsilon: 1e-5,
        vocab: 50,
        context: 64,
    };
    random_model_of(&config, true, seed)
}

/// A random model of the given shape, with a tied head or one of its own.
pub(crate) fn random_model_of(config: &ModelConfig, tied: bool, seed: u64) -> DenseModel {
    let mut random = rng::stream(seed, "random model");
    let mut values = |n: usize, scale: f32| -> Vec<f32> {
        (0..n).map(|_| (random.random::<f32>() - 0.5) * 2.0 * scale).collect()
    };
    let (hidden, q, kv) =
        (config.hidden, config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let layers = (0..config.layers)
        .map(|_| DenseLayer {
            attention_norm: values(hidden, 1.0).iter().map(|v| 1.0 + 0.2 * v).collect(),
            q: values(q * hidden, 0.3),
            k: values(kv * hidden, 0.3),
            v: values(kv * hidden, 0.3),
            qkv_bias: (!tied).then(|| [values(q, 0.2), values(kv, 0.2), values(kv, 0.2)]),
            o: values(hidden * q, 0.2),
            mlp_norm: values(hidden, 1.0).iter().map(|v| 1.0 + 0.2 * v).collect(),
            gate: values(config.intermediate * hidden, 0.3),
            up: values(config.intermediate * hidden, 0.3),
            down: values(hidden * config.intermediate, 0.2),
        })
        .collect();
    DenseModel {
        config: config.clone(),
        embedding: values(config.vocab * hidden, 1.0),
        layers,
        final_norm: values(hidden, 1.0).iter().map(|v| 1.0 + 0.2 * v).collect(),
        head: (!tied).then(|| values(config.vocab * hidden, 0.5)),
    }
}

/// Writes `model` as a GGUF file of architecture `qwen2`, with a tokenizer of tokens made from
/// `word`.
pub(crate) fn write_gguf(path: &Path, model: &DenseModel, word: &str) {
    let config = &model.config;
    let size = |n: usize| Value::U32(n as u32);
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let tokens = (0..config.vocab).map(|token| format!("{word}{token}")).collect();
    let kinds = vec![Value::I32(1); config.vocab];
    let metadata = [
        ("general.architecture", Value::String("qwen2".into())),
        ("qwen2.block_count", size(config.layers)),
        ("qwen2.context_length", size(config.context)),
        ("qwen2.embedding_length", size(config.hidden)),
        ("qwen2.feed_forward_length", size(config.intermediate)),
        ("qwen2.attention.head_count", size(config.heads)),
        ("qwen2.attention.head_count_kv", size(config.kv_heads)),
        ("qwen2.attention.key_length", size(config.head_dim)),
        ("qwen2.rope.freq_base", Value::F32(config.rope_theta)),
        ("qwen2.attention.layer_norm_rms_epsilon", Value::F32(config.rms_epsilon)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("qwen2".into())),
        ("tokenizer.ggml.tokens", texts(tokens)),
        ("tokenizer.ggml.merges", texts(Vec::new())),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
    ];
    let (hidden, inner) = (config.hidden, config.intermediate);
    let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut tensors = Vec::new();
    let mut put = |name: String, values: &[f32], dims: &[usize]| {
        let tensor = Tensor::from_slice(values, dims, &Device::Cpu).unwrap();
        tensors.push((name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
    };
    put("token_embd.weight".into(), &model.embedding, &[config.vocab, hidden]);
    put("output_norm.weight".into(), &model.final_norm, &[hidden]);
    if let Some(head) = &model.head {
        put("output.weight".into(), head, &[config.vocab, hidden]);
    }
    for (index, layer) in model.layers.iter().enumerate() {
        let mut put = |part, values: &[f32], dims: &[usize]| {
            put(format!("blk.{index}.{part}.weight"), values, dims);
        };
        put("attn_norm", &layer.attention_norm, &[hidden]);
        put("attn_q", &layer.q, &[q, hidden]);
        put("attn_k", &layer.k, &[kv, hidden]);
        put("attn_v", &layer.v, &[kv, hidden]);
        put("attn_output", &layer.o, &[hidden, q]);
        put("ffn_norm", &layer.mlp_norm, &[hidden]);
        put("ffn_gate", &layer.gate, &[inner, hidden]);
        put("ffn_up", &layer.up, &[inner, hidden]);
        put("ffn_down", &layer.down, &[hidden, inner]);
    }
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::fs::File::create(path).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

/// The order in which every unit stays where it is.
pub(crate) fn identity_order(config: &ModelConfig) -> Vec<LayerOrder> {
    let layer = LayerOrder {
        groups: (0..config.kv_heads as u32).collect(),
        neurons: (0..config.intermediate as u32).collect(),
    };
    vec![layer; config.layers]
}

/// Logits `[tokens, vocab]` of `model` with only the units of `order` that `sub_model` keeps.
pub(crate) fn forward(
    model: &DenseModel,
    order: &[LayerOrder],
    sub_model: &SubModel,
    tokens: &[i64],
) -> Vec<Vec<f32>> {
    let prefix = |layer: usize, _: usize, _: &[f32]| {
        order[layer].neurons[..sub_model.layers[layer].neurons].to_vec()
    };
    forward_choosing(model, order, sub_model, tokens, prefix)
}

/// The same with the neurons that `choose` gives for a layer, a token's place, and the MLP's normed
/// input.
pub(crate) fn forward_choosing(
    model: &DenseModel,
    order: &[LayerOrder],
    sub_model: &SubModel,
    tokens: &[i64],
    choose: impl Fn(usize, usize, &[f32]) -> Vec<u32>,
) -> Vec<Vec<f32>> {
    let config = &model.config;
    let hidden = config.hidden;
    let mut x: Vec<Vec<f32>> = tokens
        .iter()
        .map(|&token| model.embedding[token as usize * hidden..][..hidden].to_vec())
        .collect();
    let layers = model.layers.iter().zip(order).zip(&sub_model.layers).enumerate();
    for (index, ((layer, order), shape)) in layers {
        let normed: Vec<_> = x.iter().map(|row| norm(row, &layer.attention_norm, config)).collect();
        for &group in &order.groups[..shape.groups] {
            add_group(config, layer, group as usize, &normed, &mut x);
        }
        for (place, row) in x.iter_mut().enumerate() {
            let normed = norm(row, &layer.mlp_norm, config);
            for neuron in choose(index, place, &normed) {
                let neuron = neuron as usize;
                let gate = dot(&layer.gate[neuron * hidden..][..hidden], &normed);
                let up = dot(&layer.up[neuron * hidden..][..hidden], &normed);
                let activation = gate / (1.0 + (-gate).exp()) * up;
                for (i, value) in row.iter_mut().enumerate() {
                    *value += layer.down[i * config.intermediate + neuron] * activation;
                }
            }
        }
    }
    let head = model.head.as_ref().unwrap_or(&model.embedding);
    x.iter()
        .map(|row| {
            let normed = norm(row, &model.final_norm, config);
            head.chunks_exact(hidden).map(|weights| dot(weights, &normed)).collect()
        })
        .collect()
}

/// An adapter of random values, strong enough to change the logits of [`random_model`].
pub(crate) fn random_adapter(
    config: &ModelConfig,
    sub_model: &SubModel,
    rank: usize,
    seed: u64,
) -> Adapter {
    let (base_model_sha256, order_sha256) = ("aa", "bb");
    let mut adapter =
        Adapter::zero(&AdapterTarget { base_model_sha256, order_sha256, config, sub_model, rank });
    let mut random = rng::stream(seed, "random adapter");
    for layer in &mut adapter.layers {
        let attention = [&mut layer.q, &mut layer.k, &mut layer.v, &mut layer.o];
        for pair in attention.into_iter().chain([&mut layer.gate, &mut layer.up, &mut layer.down]) {
            for value in pair.iter_mut().flat_map(|pair| pair.a.iter_mut().chain(&mut pair.b)) {
                *value = (random.random::<f32>() - 0.5) * 0.4;
            }
        }
    }
    adapter
}

/// `model` with `adapter` multiplied out and added to the units of `order` that it was made for.
pub(crate) fn merged(model: &DenseModel, order: &[LayerOrder], adapter: &Adapter) -> DenseModel {
    let mut model = model.clone();
    let config = &model.config;
    let (hidden, dim) = (config.hidden, config.head_dim);
    let query = dim * config.heads_per_group();
    for ((layer, order), lora) in model.layers.iter_mut().zip(order).zip(&adapter.layers) {
        let rows = |units: &[u32], width: usize| -> Vec<usize> {
            units
                .iter()
                .flat_map(|&unit| (0..width).map(move |i| unit as usize * width + i))
                .collect()
        };
        let (queries, keys) = (rows(&order.groups, query), rows(&order.groups, dim));
        let neurons = rows(&order.neurons, 1);
        for (matrix, pair, rows) in [
            (&mut layer.q, &lora.q, &queries),
            (&mut layer.k, &lora.k, &keys),
            (&mut layer.v, &lora.v, &keys),
            (&mut layer.gate, &lora.gate, &neurons),
            (&mut layer.up, &lora.up, &neurons),
        ] {
            each_product(pair.as_ref(), hidden, true, |unit, column, value| {
                matrix[rows[unit] * hidden + column] += value;
            });
        }
        for (matrix, pair, rows, units) in [
            (&mut layer.o, &lora.o, &queries, config.heads * dim),
            (&mut layer.down, &lora.down, &neurons, config.intermediate),
        ] {
            each_product(pair.as_ref(), hidden, false, |unit, column, value| {
                matrix[column * units + rows[unit]] += value;
            });
        }
    }
    model
}

/// Calls `add` with (unit, place in the residual stream, value) of the product of `pair`, whose
/// `b` has the units if `units_in_b`, and `a` otherwise.
fn each_product(
    pair: Option<&LoraPair>,
    hidden: usize,
    units_in_b: bool,
    mut add: impl FnMut(usize, usize, f32),
) {
    let Some(LoraPair { rank, a, b }) = pair else { return };
    let (by_unit, by_column) = if units_in_b { (b, a) } else { (a, b) };
    for (unit, row) in by_unit.chunks_exact(*rank).enumerate() {
        for column in 0..hidden {
            let value = row
                .iter()
                .enumerate()
                .map(|(r, value)| value * by_column[r * hidden + column])
                .sum();
            add(unit, column, value);
        }
    }
}

fn add_group(
    config: &ModelConfig,
    layer: &DenseLayer,
    group: usize,
    normed: &[Vec<f32>],
    x: &mut [Vec<f32>],
) {
    let dim = config.head_dim;
    let bias = |which: usize| layer.qkv_bias.as_ref().map(|bias| bias[which].as_slice());
    let keys: Vec<_> = normed
        .iter()
        .enumerate()
        .map(|(p, row)| rotate(&project(&layer.k, bias(1), group, dim, row), p, config))
        .collect();
    let values: Vec<_> =
        normed.iter().map(|row| project(&layer.v, bias(2), group, dim, row)).collect();
    for head in group * config.heads_per_group()..(group + 1) * config.heads_per_group() {
        for (position, row) in normed.iter().enumerate() {
            let query = rotate(&project(&layer.q, bias(0), head, dim, row), position, config);
            let scores: Vec<f32> = keys[..=position]
                .iter()
                .map(|key| (dot(&query, key) / (dim as f32).sqrt()).exp())
                .collect();
            let total: f32 = scores.iter().sum();
            for d in 0..dim {
                let mixed: f32 =
                    scores.iter().zip(&values).map(|(s, value)| s / total * value[d]).sum();
                for (i, out) in x[position].iter_mut().enumerate() {
                    *out += layer.o[i * config.heads * dim + head * dim + d] * mixed;
                }
            }
        }
    }
}

fn project(weights: &[f32], bias: Option<&[f32]>, head: usize, dim: usize, x: &[f32]) -> Vec<f32> {
    (head * dim..(head + 1) * dim)
        .map(|row| dot(&weights[row * x.len()..][..x.len()], x) + bias.map_or(0.0, |b| b[row]))
        .collect()
}

fn rotate(x: &[f32], position: usize, config: &ModelConfig) -> Vec<f32> {
    let half = config.head_dim / 2;
    let mut out = x.to_vec();
    for i in 0..half {
        let frequency = config.rope_theta.powf(-2.0 * i as f32 / config.head_dim as f32);
        let (sin, cos) = (position as f32 * frequency).sin_cos();
        out[i] = x[i] * cos - x[i + half] * sin;
        out[i + half] = x[i + half] * cos + x[i] * sin;
    }
    out
}

fn norm(x: &[f32], scale: &[f32], config: &ModelConfig) -> Vec<f32> {
    let mean = dot(x, x) / x.len() as f32;
    let factor = 1.0 / (mean + config.rms_epsilon).sqrt();
    x.iter().zip(scale).map(|(value, scale)| value * factor * scale).collect()
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
