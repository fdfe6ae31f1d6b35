//! One layer of a BERT encoder, differentiable: `x + attention`, norm, `+ MLP`, norm.
//!
//! Only composed operations are used, since candle's fused ones have no backward.

use std::collections::BTreeMap;

use candle_core::{D, Tensor, Var};

/// Names of a layer's tensors, as MiniLM's file has them after `encoder.layer.N.`.
const NAMES: [&str; 16] = [
    "attention.self.query.weight",
    "attention.self.query.bias",
    "attention.self.key.weight",
    "attention.self.key.bias",
    "attention.self.value.weight",
    "attention.self.value.bias",
    "attention.output.dense.weight",
    "attention.output.dense.bias",
    "attention.output.LayerNorm.weight",
    "attention.output.LayerNorm.bias",
    "intermediate.dense.weight",
    "intermediate.dense.bias",
    "output.dense.weight",
    "output.dense.bias",
    "output.LayerNorm.weight",
    "output.LayerNorm.bias",
];

/// The tensors of one layer, by their names in MiniLM's file (`attention.self.query.weight`, …):
/// matrices are `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub struct EncoderLayer {
    heads: usize,
    epsilon: f64,
    tensors: BTreeMap<&'static str, Tensor>,
}

impl EncoderLayer {
    /// Takes what `tensor` returns for each name.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn new<E>(
        heads: usize,
        epsilon: f64,
        mut tensor: impl FnMut(&'static str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let tensors =
            NAMES.into_iter().map(|name| Ok((name, tensor(name)?))).collect::<Result<_, E>>()?;
        Ok(Self { heads, epsilon, tensors })
    }

    /// The tensors by name, sorted.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.tensors.iter().map(|(&name, tensor)| (name, tensor))
    }

    /// One tensor.
    ///
    /// # Panics
    /// If a layer has no tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> &Tensor {
        &self.tensors[name]
    }

    /// Attention heads.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// A copy with weights of its own, and these as variables to train, by name.
    ///
    /// # Errors
    /// If candle refuses.
    pub fn trainable(&self) -> candle_core::Result<(Self, BTreeMap<&'static str, Var>)> {
        let copy = |(&name, tensor): (&&'static str, &Tensor)| {
            Ok((name, Var::from_tensor(&tensor.copy()?)?))
        };
        let vars: BTreeMap<_, _> =
            self.tensors.iter().map(copy).collect::<Result<_, candle_core::Error>>()?;
        let tensors = vars.iter().map(|(&name, var)| (name, var.as_tensor().clone())).collect();
        Ok((Self { heads: self.heads, epsilon: self.epsilon, tensors }, vars))
    }

    /// The layer's output for rows `rows` of `x`, or all of them: `[batch, rows, hidden]`.
    ///
    /// `x` is `[batch, tokens, hidden]`; `mask`, added to the attention scores, broadcasts to
    /// `[batch, 1, tokens, tokens]` (its third dimension already has only the rows asked for).
    /// Every row may look at all that the mask allows, before it and after it.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        rows: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let queries = match rows {
            Some(rows) => x.index_select(rows, 1)?,
            None => x.clone(),
        };
        let mixed = self.attention(&queries, x, mask)?;
        let mixed = self.linear(&mixed, "attention.output.dense")?;
        let x = self.norm(&(queries + mixed)?, "attention.output.LayerNorm")?;
        let inner = self.linear(&x, "intermediate.dense")?.gelu_erf()?;
        let outer = self.linear(&inner, "output.dense")?;
        self.norm(&(x + outer)?, "output.LayerNorm")
    }

    fn attention(
        &self,
        queries: &Tensor,
        x: &Tensor,
        mask: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let (batch, rows, hidden) = queries.dims3()?;
        let width = hidden / self.heads;
        let split = |x: &Tensor, name| {
            let tokens = x.dim(1)?;
            self.linear(x, name)?
                .reshape((batch, tokens, self.heads, width))?
                .transpose(1, 2)?
                .contiguous()
        };
        let q = split(queries, "attention.self.query")?;
        let k = split(x, "attention.self.key")?;
        let v = split(x, "attention.self.value")?;
        let mut scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        softmax(&scores)?.matmul(&v)?.transpose(1, 2)?.reshape((batch, rows, hidden))
    }

    fn linear(&self, x: &Tensor, name: &str) -> candle_core::Result<Tensor> {
        let (batch, rows, columns) = x.dims3()?;
        let weight = self.tensor(&format!("{name}.weight"));
        let flat = x.reshape((batch * rows, columns))?.matmul(&weight.t()?)?;
        flat.broadcast_add(self.tensor(&format!("{name}.bias")))?.reshape((batch, rows, ()))
    }

    fn norm(&self, x: &Tensor, name: &str) -> candle_core::Result<Tensor> {
        let [scale, shift] = ["weight", "bias"].map(|part| self.tensor(&format!("{name}.{part}")));
        layer_norm(x, scale, shift, self.epsilon)
    }
}

/// `(x − mean) / √(variance + ε) · scale + shift` over the last dimension.
pub(super) fn layer_norm(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    epsilon: f64,
) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normed.broadcast_mul(scale)?.broadcast_add(shift)
}

/// Softmax over the last dimension. The maximum cancels, so it is kept out of the gradient.
fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let max = x.max_keepdim(D::Minus1)?.detach();
    let powers = x.broadcast_sub(&max)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::tlm::testing::layer;

    #[test]
    fn norm_of_one_and_three_is_minus_one_and_one() {
        // Mean 2, variance 1: (1 − 2)/1 · 2 + 5 = 3 and (3 − 2)/1 · 2 + 5 = 7.
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let x = tensor(&[1.0, 3.0]).unsqueeze(0).unwrap();
        let normed = layer_norm(&x, &tensor(&[2.0, 2.0]), &tensor(&[5.0, 5.0]), 1e-12).unwrap();
        assert_eq!(normed.to_vec2::<f32>().unwrap(), [[3.0, 7.0]]);
    }

    #[test]
    fn chosen_rows_are_the_rows_of_the_whole() {
        let layer = layer(3);
        let x = Tensor::randn(0f32, 1.0, (1, 5, 8), &Device::Cpu).unwrap();
        let rows = Tensor::new(&[4u32, 1], &Device::Cpu).unwrap();
        let whole = layer.forward(&x, None, None).unwrap().index_select(&rows, 1).unwrap();
        let some = layer.forward(&x, None, Some(&rows)).unwrap();
        let apart = (whole - some).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
    }

    #[test]
    fn a_masked_token_changes_nothing_and_every_weight_has_a_gradient() {
        let (layer, vars) = layer(4).trainable().unwrap();
        let x = Tensor::randn(0f32, 1.0, (1, 3, 8), &Device::Cpu).unwrap();
        let mask = Tensor::new(&[0f32, 0.0, f32::NEG_INFINITY], &Device::Cpu).unwrap();
        let mask = mask.reshape((1, 1, 1, 3)).unwrap();
        let masked = layer.forward(&x, Some(&mask), None).unwrap().narrow(1, 0, 2).unwrap();
        let short = layer.forward(&x.narrow(1, 0, 2).unwrap(), None, None).unwrap();
        let apart = (&masked - short).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
        let gradients = masked.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(vars.len(), NAMES.len());
        assert!(vars.values().all(|var| gradients.get(var.as_tensor()).is_some()));
    }
}
