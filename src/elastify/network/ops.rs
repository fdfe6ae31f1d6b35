//! Operations of the training network whose derivative is written out: candle's own would also
//! compute the gradients of frozen weights, and takes many passes over memory for what is one here.
//!
//! All work on f32 on the CPU. Rows are tokens.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Storage, Tensor, bail,
};

/// `x · weight`, the weight being frozen: `[tokens, inputs] → [tokens, outputs]`.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// `[inputs, outputs]`, in any memory order.
    pub weight: Tensor,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-product"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        let (storage, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*storage else { bail!("the weights are not on the CPU") };
        let outputs = weight_layout.dims()[1];
        let product = x.matmul(weight, (1, rows, outputs, inputs), layout, weight_layout)?;
        Ok((product, Shape::from((rows, outputs))))
    }

    fn bwd(&self, _x: &Tensor, _product: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.matmul(&self.weight.t()?)?))
    }
}

/// RMS norm with a frozen scale: `[tokens, features]`.
#[derive(Debug, Clone)]
pub(super) struct RmsNorm {
    /// `[features]`.
    pub scale: Arc<Vec<f32>>,
    pub epsilon: f32,
}

impl RmsNorm {
    /// One over the root mean square of `row`.
    fn factor(&self, row: &[f32]) -> f32 {
        let square: f32 = row.iter().map(|x| x * x).sum();
        1.0 / (square / row.len() as f32 + self.epsilon).sqrt()
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(self.scale.len()) {
            let factor = self.factor(row);
            out.extend(row.iter().zip(&*self.scale).map(|(x, scale)| x * factor * scale));
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// With `f` the factor and `s` the scale, `∂y_j/∂x_i = f·s_j·(δ_ij − f²·x_i·x_j / features)`.
    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let features = self.scale.len();
        let below = combine(x, gradient, |x, gradient| {
            let mut below = Vec::with_capacity(x.len());
            let rows = x.chunks_exact(features).zip(gradient.chunks_exact(features));
            for (x, gradient) in rows {
                let factor = self.factor(x);
                let terms = x.iter().zip(gradient).zip(&*self.scale);
                let dot: f32 = terms.clone().map(|((x, g), s)| x * g * s).sum();
                let pull = dot * factor * factor / features as f32;
                below.extend(terms.map(|((x, g), s)| factor * (g * s - x * pull)));
            }
            below
        })?;
        Ok(Some(Tensor::from_vec(below, x.shape(), &Device::Cpu)?))
    }
}

/// Rotary positions on `[tokens, heads · 2 · half]`, element `i` of a head being turned with
/// element `i + half`.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    /// `[positions, half]`: cosine and sine of each angle.
    pub angles: Arc<Vec<(f32, f32)>>,
    pub half: usize,
}

impl Rotary {
    fn turn(&self, x: &[f32], features: usize, direction: f32) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        let rows = x.chunks_exact(features).zip(out.chunks_exact_mut(features));
        for ((from, to), angles) in rows.zip(self.angles.chunks_exact(self.half)) {
            let heads = from.chunks_exact(2 * self.half).zip(to.chunks_exact_mut(2 * self.half));
            for (from, to) in heads {
                for (i, &(cosine, sine)) in angles.iter().enumerate() {
                    let (a, b, sine) = (from[i], from[i + self.half], direction * sine);
                    to[i] = a * cosine - b * sine;
                    to[i + self.half] = b * cosine + a * sine;
                }
            }
        }
        out
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, features) = layout.shape().dims2()?;
        let out = self.turn(contiguous(x, layout)?, features, 1.0);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let features = x.dim(1)?;
        let below = read(gradient, |gradient| self.turn(gradient, features, -1.0))?;
        Ok(Some(Tensor::from_vec(below, x.shape(), &Device::Cpu)?))
    }
}

/// Softmax of `factor · x` over the places a token may look at; 0 at the others.
///
/// `[.., tokens, tokens]`; the rows' positions repeat every `tokens` rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct CausalSoftmax {
    pub factor: f32,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let tokens = *layout.dims().last().expect("scores have places");
        let x = contiguous(x, layout)?;
        let mut out = vec![0.0; x.len()];
        let rows = x.chunks_exact(tokens).zip(out.chunks_exact_mut(tokens));
        for (row, (x, out)) in rows.enumerate() {
            let (x, out) = (&x[..=row % tokens], &mut out[..=row % tokens]);
            let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (x, out) in x.iter().zip(&mut *out) {
                *out = ((x - max) * self.factor).exp();
            }
            let total: f32 = out.iter().sum();
            for share in out {
                *share /= total;
            }
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, shares: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let tokens = x.dim(candle_core::D::Minus1)?;
        let below = combine(shares, gradient, |shares, gradient| {
            let mut below = vec![0.0; shares.len()];
            let rows = shares.chunks_exact(tokens).zip(gradient.chunks_exact(tokens));
            let rows = rows.zip(below.chunks_exact_mut(tokens));
            for (row, ((shares, gradient), below)) in rows.enumerate() {
                let seen = row % tokens + 1;
                let terms = shares[..seen].iter().zip(&gradient[..seen]);
                let mean: f32 = terms.clone().map(|(share, g)| share * g).sum();
                for (below, (share, g)) in below.iter_mut().zip(terms) {
                    *below = self.factor * share * (g - mean);
                }
            }
            below
        })?;
        Ok(Some(Tensor::from_vec(below, x.shape(), &Device::Cpu)?))
    }
}

/// `silu(gate) · up`, element by element.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatedSilu;

impl CustomOp2 for GatedSilu {
    fn name(&self) -> &'static str {
        "gated-silu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (contiguous(gate, gate_layout)?, contiguous(up, up_layout)?);
        let out = gate.iter().zip(up).map(|(gate, up)| gate * sigmoid(*gate) * up).collect();
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut below_gate, mut below_up) = (Vec::new(), Vec::new());
        read(gradient, |gradient| {
            combine(gate, up, |gate, up| {
                below_gate.reserve_exact(gate.len());
                below_up.reserve_exact(gate.len());
                for ((gate, up), gradient) in gate.iter().zip(up).zip(gradient) {
                    let open = sigmoid(*gate);
                    below_gate.push(gradient * up * open * (1.0 + gate * (1.0 - open)));
                    below_up.push(gradient * gate * open);
                }
            })
        })??;
        let tensor = |values| Tensor::from_vec(values, gate.shape(), &Device::Cpu);
        Ok((Some(tensor(below_gate)?), Some(tensor(below_up)?)))
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the input is not contiguous"),
    }
}

/// Applies `function` to the values of `tensor`, row by row.
pub(super) fn read<T>(tensor: &Tensor, function: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("the values are not on the CPU") };
    Ok(function(contiguous(storage, layout)?))
}

fn combine<T>(a: &Tensor, b: &Tensor, function: impl FnOnce(&[f32], &[f32]) -> T) -> Result<T> {
    read(a, |a| read(b, |b| function(a, b)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Var};
    use rand::RngExt;

    fn random(shape: &[usize], purpose: &str) -> Var {
        let mut random = crate::rng::stream(1, purpose);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| random.random::<f32>() * 2.0 - 1.0).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Asserts that `found` and `expected` agree, and so do their gradients at `inputs`.
    fn assert_same(found: &Tensor, expected: &Tensor, inputs: &[&Var]) {
        let weights = random(found.dims(), "weights").detach();
        let gradients = [found, expected]
            .map(|y| (y * &weights).unwrap().sum_all().unwrap().backward().unwrap());
        assert_near(found, expected);
        for input in inputs {
            let [found, expected] = [0, 1].map(|which| gradients[which].get(input).unwrap());
            assert_near(found, expected);
        }
    }

    fn assert_near(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        let gap = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
        let gap = gap.to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}\n{found}\n{expected}");
    }

    #[test]
    fn frozen_product_equals_the_composed_one_for_both_memory_orders() {
        let x = random(&[5, 3], "x");
        let rows = random(&[4, 3], "w").detach();
        for weight in [rows.t().unwrap(), rows.t().unwrap().contiguous().unwrap()] {
            let found = x.apply_op1(Frozen { weight: weight.clone() }).unwrap();
            assert_same(&found, &x.matmul(&weight).unwrap(), &[&x]);
        }
    }

    #[test]
    fn rms_norm_equals_the_composed_one() {
        let (x, scale) = (random(&[5, 6], "x"), random(&[6], "scale").detach());
        let norm = RmsNorm { scale: Arc::new(scale.to_vec1().unwrap()), epsilon: 1e-5 };
        let mean = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let expected = x.broadcast_div(&(mean + 1e-5).unwrap().sqrt().unwrap()).unwrap();
        let expected = expected.broadcast_mul(&scale).unwrap();
        assert_same(&x.apply_op1(norm).unwrap(), &expected, &[&x]);
    }

    #[test]
    fn a_quarter_turn_swaps_the_halves_of_a_head_and_the_gradient_turns_back() {
        // Two positions, one head of width 4: no turn at position 0, a quarter at position 1.
        let angles = vec![(1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)];
        let rotary = Rotary { angles: Arc::new(angles), half: 2 };
        let x = Var::new(&[[1f32, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]], &Device::Cpu).unwrap();
        let out = x.apply_op1(rotary).unwrap();
        let expected = [[1.0, 2.0, 3.0, 4.0], [-3.0, -4.0, 1.0, 2.0]];
        assert_eq!(out.to_vec2::<f32>().unwrap(), expected);
        let gradients = (&out * &out.detach()).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(
            gradients.get(&x).unwrap().to_vec2::<f32>().unwrap(),
            x.to_vec2::<f32>().unwrap()
        );
    }

    #[test]
    fn causal_softmax_equals_the_composed_one() {
        let x = random(&[2, 8, 4], "x");
        let hidden =
            |row: usize, place: usize| if place <= row % 4 { 0.0 } else { f32::NEG_INFINITY };
        let mask: Vec<f32> = (0..8).flat_map(|r| (0..4).map(move |p| hidden(r, p))).collect();
        let mask = Tensor::from_vec(mask, (1, 8, 4), &Device::Cpu).unwrap();
        let powers = (x.as_tensor() * 0.5).unwrap().broadcast_add(&mask).unwrap().exp().unwrap();
        let expected = powers.broadcast_div(&powers.sum_keepdim(D::Minus1).unwrap()).unwrap();
        assert_same(&x.apply_op1(CausalSoftmax { factor: 0.5 }).unwrap(), &expected, &[&x]);
    }

    #[test]
    fn gated_silu_equals_the_composed_one() {
        let (gate, up) = (random(&[5, 3], "gate"), random(&[5, 3], "up"));
        let found = gate.apply_op2(&up, GatedSilu).unwrap();
        let expected = (gate.silu().unwrap() * up.as_tensor()).unwrap();
        assert_same(&found, &expected, &[&gate, &up]);
    }
}
