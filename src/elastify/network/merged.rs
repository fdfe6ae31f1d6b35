//! Networks some of whose layers are sums of another's.

use candle_core::{D, Tensor};

use super::{Layer, Linear, Network, tensor_error};
use crate::elastify::merge::{MergedLayer, Part};
use crate::error::Result;

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
        let sum = |of: fn(&Layer) -> &Linear| self.sum(&layer.parts, of);
        let base = &self.layers[layer.place];
        Ok(Layer {
            attention_norm: base.attention_norm.clone(),
            q: sum(|layer| &layer.q)?,
            k: sum(|layer| &layer.k)?,
            v: sum(|layer| &layer.v)?,
            o: sum(|layer| &layer.o)?,
            mlp_norm: base.mlp_norm.clone(),
            gate: sum(|layer| &layer.gate)?,
            up: sum(|layer| &layer.up)?,
            down: sum(|layer| &layer.down)?,
        })
    }

    fn sum(&self, parts: &[Part], of: fn(&Layer) -> &Linear) -> candle_core::Result<Linear> {
        let scaled = |part: &Part, tensor: &Tensor| match part.weight {
            1 => Ok(tensor.clone()),
            weight => tensor * f64::from(weight),
        };
        let first = of(&self.layers[parts[0].layer]);
        let mut weight = scaled(&parts[0], &first.weight)?;
        let mut bias = first.bias.as_ref().map(|bias| scaled(&parts[0], bias)).transpose()?;
        for part in &parts[1..] {
            let next = of(&self.layers[part.layer]);
            weight = (weight + scaled(part, &next.weight)?)?;
            bias = match (bias, &next.bias) {
                (Some(sum), Some(next)) => Some((sum + scaled(part, next)?)?),
                _ => None,
            };
        }
        Ok(Linear { weight, bias })
    }

    /// What the head reads of the residual stream `x` after the last layer, each row of length 1.
    pub(in crate::elastify) fn final_directions(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let states = self.norm(x, &self.final_norm)?;
        states.broadcast_div(&states.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
    }
}
