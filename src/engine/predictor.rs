//! Which neurons of an MLP the next token needs, guessed before the MLP runs: per layer a matrix of
//! low rank.
//!
//! `scores = (x·A)·B + bias` for the MLP's normed input `x`; the neurons of the highest scores run,
//! and the others are left out (contextual sparsity: Deja Vu, Liu et al., 2023). A guess is made
//! for every token that the model generated; prompts are read whole.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Dtype;

use super::adapter::to_f16;
use super::model::ModelConfig;
use super::tensor::TensorView;
use crate::error::{Error, Result};
use crate::files;

/// What is guessed with, for every layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictor {
    /// Columns of `a`, rows of `b`.
    pub rank: usize,
    /// Bottom first.
    pub layers: Vec<LayerPredictor>,
}

/// What is guessed with in one layer; row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerPredictor {
    /// `[hidden, rank]`.
    pub a: Vec<f32>,
    /// `[rank, intermediate]`.
    pub b: Vec<f32>,
    /// `[intermediate]`.
    pub bias: Vec<f32>,
}

/// A matrix of a layer's predictor, in files and in graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    A,
    B,
    Bias,
}

impl Part {
    const ALL: [Self; 3] = [Self::A, Self::B, Self::Bias];

    /// Its name in layer `layer`.
    pub(super) fn name(self, layer: usize) -> String {
        let part = match self {
            Self::A => "a",
            Self::B => "b",
            Self::Bias => "bias",
        };
        format!("{layer}.predictor_{part}")
    }

    /// Its shape in a model of dimensions `config`.
    pub(super) fn shape(self, config: &ModelConfig, rank: usize) -> Vec<usize> {
        match self {
            Self::A => vec![config.hidden, rank],
            Self::B => vec![rank, config.intermediate],
            Self::Bias => vec![config.intermediate],
        }
    }
}

impl LayerPredictor {
    fn part(&self, part: Part) -> &[f32] {
        match part {
            Part::A => &self.a,
            Part::B => &self.b,
            Part::Bias => &self.bias,
        }
    }
}

impl Predictor {
    /// Writes the file `path`, in f16.
    ///
    /// # Errors
    /// If the predictor is of another model than `config`, a value is not finite in f16, or the
    /// file cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "shapes are checked first")]
    pub fn save(&self, path: &Path, config: &ModelConfig) -> Result<()> {
        self.check(&path.display().to_string(), config)?;
        let mut tensors = Vec::new();
        for (name, shape, values) in self.parts(config) {
            let bytes = to_f16(values).ok_or_else(|| {
                Error::file(path, "predictor not written")
                    .at(format!("tensor \"{name}\""))
                    .found("a value that is not finite in f16")
            })?;
            tensors.push((name, shape, bytes));
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F16, shape.clone(), bytes);
            (name.as_str(), view.expect("shapes were checked"))
        });
        let bytes = safetensors::serialize(views, None)
            .map_err(|error| Error::file(path, "predictor not written").caused_by(error))?;
        files::write_whole(path, &bytes)
    }

    /// Reads the predictor of rank `rank` for a model of dimensions `config` from the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, or a tensor is missing, superfluous, of another shape, or not finite.
    pub fn load(path: &Path, config: &ModelConfig, rank: usize) -> Result<Self> {
        let tensors = candle_core::safetensors::load(path, &Device::Cpu)
            .map_err(|error| Error::file(path, "not a predictor").caused_by(error))?;
        let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let mut take = |layer, part: Part| -> Result<Vec<f32>> {
            let (name, shape) = (part.name(layer), part.shape(config, rank));
            let wrong = |problem: &str| Error::file(path, problem).at(format!("tensor \"{name}\""));
            let tensor = tensors.remove(&name).ok_or_else(|| wrong("missing"))?;
            if tensor.dims() != shape {
                return Err(wrong("of another shape")
                    .found(format!("{:?}", tensor.dims()))
                    .allowed(format!("{shape:?}")));
            }
            let values: Vec<f32> = tensor
                .to_dtype(DType::F32)
                .and_then(|tensor| tensor.flatten_all()?.to_vec1())
                .map_err(|error| wrong("cannot be read").caused_by(error))?;
            let finite = values.iter().all(|value| value.is_finite());
            if finite { Ok(values) } else { Err(wrong("a value is not finite")) }
        };
        let layer = |layer| {
            let [a, b, bias] = Part::ALL.map(|part| take(layer, part));
            Ok(LayerPredictor { a: a?, b: b?, bias: bias? })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
        match tensors.keys().next() {
            None => Ok(Self { rank, layers }),
            Some(name) => Err(Error::file(path, "predictor of a model with more layers")
                .at(format!("tensor \"{name}\""))),
        }
    }

    /// Bytes of its values in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values = |layer: &LayerPredictor| Part::ALL.map(|part| layer.part(part).len());
        self.layers.iter().flat_map(values).sum::<usize>() * size_of::<f32>()
    }

    /// Checks that every matrix has the shape that a model of dimensions `config` needs; errors are
    /// about `subject`.
    ///
    /// # Errors
    /// If one has not.
    pub(super) fn check(&self, subject: &str, config: &ModelConfig) -> Result<()> {
        if self.layers.len() != config.layers {
            return Err(Error::new(subject, "predictor of another model")
                .found(format!("{} layers", self.layers.len()))
                .allowed(format!("{} layers", config.layers)));
        }
        for (name, shape, values) in self.parts(config) {
            if values.len() != shape.iter().product::<usize>() {
                return Err(Error::new(subject, "predictor of another model")
                    .at(format!("tensor \"{name}\""))
                    .found(format!("{} values", values.len()))
                    .allowed(format!("{shape:?}")));
            }
        }
        Ok(())
    }

    /// Views of its matrices by name.
    ///
    /// # Safety
    /// The predictor must outlive them.
    pub(super) unsafe fn views(&self, config: &ModelConfig) -> Result<Vec<(String, TensorView)>> {
        self.parts(config)
            .map(|(name, shape, values)| {
                // SAFETY: shapes were checked, and the caller keeps the values.
                let view = unsafe { TensorView::new(values.as_ptr(), &shape)? };
                Ok((name, view))
            })
            .collect()
    }

    /// Names, shapes and values of all matrices.
    fn parts(&self, config: &ModelConfig) -> impl Iterator<Item = (String, Vec<usize>, &[f32])> {
        let parts = |(index, layer)| Part::ALL.map(|part| (index, layer, part));
        self.layers.iter().enumerate().flat_map(parts).map(|(index, layer, part)| {
            (part.name(index), part.shape(config, self.rank), layer.part(part))
        })
    }
}

#[cfg(test)]
mod tests;
