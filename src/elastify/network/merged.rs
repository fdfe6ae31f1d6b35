//! Networks some of whose layers are sums of another's.

use candle_core::{D, Tensor};

use super::{Layer, Linear, Network, tensor_error};
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
        let parts = &layer.parts;
        let attention = |of| self.sum(parts, of, Some(|layer| &layer.attention_norm));
        let mlp = |of| self.sum(parts, of, Some(|layer| &layer.mlp_norm));
        let base = &self.layers[layer.place];
        Ok(Layer {
            attention_norm: base.attention_norm.ones_like()?,
            q: attention(|layer| &layer.q)?,
            k: attention(|layer| &layer.k)?,
            v: attention(|layer| &layer.v)?,
            o: self.sum(parts, |layer| &layer.o, None)?,
            mlp_norm: base.mlp_norm.ones_like()?,
            gate: mlp(|layer| &layer.gate)?,
            up: mlp(|layer| &layer.up)?,
            down: self.sum(parts, |layer| &layer.down, None)?,
        })
    }

    /// The sum of `parts` of what `of` picks, each with the `norm` before it folded in.
    fn sum(
        &self,
        parts: &[Part],
        of: fn(&Layer) -> &Linear,
        norm: Option<fn(&Layer) -> &Tensor>,
    ) -> candle_core::Result<Linear> {
        let scaled = |part: &Part, tensor: &Tensor| tensor * f64::from(part.weight);
        let mut sums: Option<(Tensor, Option<Tensor>)> = None;
        for part in parts {
            let layer = &self.layers[part.layer];
            let Linear { weight, bias } = of(layer);
            let folded = norm.map(|norm| weight.broadcast_mul(norm(layer))).transpose()?;
            let weight = scaled(part, folded.as_ref().unwrap_or(weight))?;
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
        Ok(Linear { weight, bias })
    }

    /// What the head reads of the residual stream `x` after the last layer, each row of length 1.
    pub(in crate::elastify) fn final_directions(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let states = self.norm(x, &self.final_norm)?;
        states.broadcast_div(&states.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
    }
}
