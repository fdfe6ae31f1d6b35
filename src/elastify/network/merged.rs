//! Networks some of whose layers are sums of another's.

use candle_core::{D, Tensor};

use super::ops::RmsNorm;
use super::{Layer, Linear, Network, tensor_error};
use crate::engine::model::{LayerShape, Projection};
use crate::error::Result;
use crate::model::family::merge::{MergedLayer, Part};

impl Network {
    /// This network with `merged` in their places.
    ///
    /// # Errors
    /// If candle fails.
    pub fn with_merged_layers(&self, merged: &[MergedLayer]) -> Result<Self> {
        self.with_merged(merged).map_err(tensor_error)
    }

    /// This network with `merged` in their places. Weights that are not sums are shared.
    pub(in crate::elastify) fn with_merged(
        &self,
        merged: &[MergedLayer],
    ) -> candle_core::Result<Self> {
        let mut result = self.clone();
        for layer in merged {
            result.layers[layer.place] = self.merged(layer)?;
        }
        Ok(result)
    }

    fn merged(&self, layer: &MergedLayer) -> candle_core::Result<Layer> {
        let shape = LayerShape { groups: self.config.kv_heads, neurons: self.config.intermediate };
        // Norms are folded into what follows them.
        let norms = [(); 2].map(|()| vec![1.0; self.config.hidden]);
        Layer::new(shape, norms, self.config.rms_epsilon, |projection| {
            self.sum(&layer.parts, projection)
        })
    }

    /// The sum of `parts` of `projection`, each with the norm before it folded in.
    fn sum(&self, parts: &[Part], projection: Projection) -> candle_core::Result<Linear> {
        let scaled = |part: &Part, tensor: &Tensor| tensor * f64::from(part.weight);
        let mut sums: Option<(Tensor, Option<Tensor>)> = None;
        for part in parts {
            let (Linear { weight, bias, .. }, norm) = self.layers[part.layer].linear(projection);
            let folded = norm.map(|norm| {
                weight.broadcast_mul(&Tensor::new(norm.scale.as_slice(), weight.device())?)
            });
            let weight = scaled(part, folded.transpose()?.as_ref().unwrap_or(weight))?;
            let bias = bias.as_ref().map(|bias| scaled(part, bias)).transpose()?;
            sums = Some(match sums {
                None => (weight, bias),
                Some((sum, Some(biases))) => {
                    ((sum + weight)?, bias.map(|bias| biases + bias).transpose()?)
                }
                Some((sum, None)) => ((sum + weight)?, None),
            });
        }
        let (weight, bias) = sums.expect("factors of a merger add up to one");
        Ok(Linear { weight, bias, adapter: None })
    }

    /// What the head reads of the residual stream `x` after the last layer, each row of length 1.
    pub(in crate::elastify) fn final_directions(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let states = self.final_norm(x)?;
        states.broadcast_div(&states.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
    }
}

impl Layer {
    /// A projection of a whole layer, and the norm before it, if it reads the residual stream.
    fn linear(&self, projection: Projection) -> (&Linear, Option<&RmsNorm>) {
        let attention = self.attention.as_ref().expect("layers to merge are whole");
        let mlp = self.mlp.as_ref().expect("layers to merge are whole");
        match projection {
            Projection::Q => (&attention.q, Some(&attention.norm)),
            Projection::K => (&attention.k, Some(&attention.norm)),
            Projection::V => (&attention.v, Some(&attention.norm)),
            Projection::O => (&attention.o, None),
            Projection::Gate => (&mlp.gate, Some(&mlp.norm)),
            Projection::Up => (&mlp.up, Some(&mlp.norm)),
            Projection::Down => (&mlp.down, None),
        }
    }
}
