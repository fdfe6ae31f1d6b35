//! A tiny encoder with random weights.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::RngExt;

use super::layer::EncoderLayer;
use super::trunk::{Trunk, TrunkConfig, layer_shape};
use crate::rng;

/// 2 layers, 8 features, 2 heads, 16 neurons, 40 word pieces, 32 positions.
pub fn config() -> TrunkConfig {
    TrunkConfig {
        hidden: 8,
        heads: 2,
        layers: 2,
        intermediate: 16,
        vocab: 40,
        positions: 32,
        epsilon: 1e-12,
    }
}

fn random(seed: u64, name: &str, shape: &[usize]) -> Tensor {
    let mut stream = rng::stream(seed, name);
    let count = shape.iter().product();
    let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
    let values: Vec<f32> = (0..count).map(|_| centre + stream.random::<f32>() - 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Tensors named as in MiniLM's file.
pub fn tensors(config: &TrunkConfig, seed: u64) -> BTreeMap<String, Tensor> {
    let hidden = config.hidden;
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![config.vocab, hidden]),
        ("embeddings.position_embeddings.weight".into(), vec![config.positions, hidden]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden]),
        ("embeddings.LayerNorm.weight".into(), vec![hidden]),
        ("embeddings.LayerNorm.bias".into(), vec![hidden]),
    ];
    for index in 0..config.layers {
        for (name, _) in layer(seed).tensors() {
            shapes.push((format!("encoder.layer.{index}.{name}"), layer_shape(config, name)));
        }
    }
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let tensor = random(seed, &name, &shape);
            (name, tensor)
        })
        .collect()
}

/// One layer.
pub fn layer(seed: u64) -> EncoderLayer {
    let config = config();
    EncoderLayer::new(config.heads, config.epsilon, |name| {
        Ok::<_, std::convert::Infallible>(random(seed, name, &layer_shape(&config, name)))
    })
    .unwrap()
}

/// An encoder.
pub fn trunk(seed: u64) -> Trunk {
    let config = config();
    Trunk::new(config.clone(), &tensors(&config, seed), format!("seed {seed}")).unwrap()
}
