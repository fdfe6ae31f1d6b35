//! Adam over tensors.
//!
//! Reference: Kingma and Ba, *Adam: a method for stochastic optimization*, 2015. Written out because
//! candle's own keeps its moments to itself, and a checkpoint needs them.

use candle_core::{Tensor, Var};

/// Decay of the mean gradient.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean squared gradient.
const SQUARE_DECAY: f64 = 0.999;
/// The same for runs of a few hundred steps.
pub const SHORT_SQUARE_DECAY: f64 = 0.99;
/// Keeps a step finite where gradients vanish.
const EPSILON: f64 = 1e-8;

/// Running means of a variable's gradient and of its square.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean gradient, of the variable's shape.
    pub mean: Tensor,
    /// Mean squared gradient.
    pub square: Tensor,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Steps before it.
    pub index: usize,
    /// Length of a step where gradients agree.
    pub rate: f64,
    /// Decay of the mean squared gradient.
    pub square_decay: f64,
}

impl Moments {
    /// Before the first step of `variable`.
    pub fn zero(variable: &Var) -> candle_core::Result<Self> {
        let zeros = variable.zeros_like()?;
        Ok(Self { mean: zeros.clone(), square: zeros })
    }

    /// Moves `variable` against `gradient`.
    pub fn descend(
        &mut self,
        variable: &Var,
        gradient: &Tensor,
        step: Step,
    ) -> candle_core::Result<()> {
        let decay = step.square_decay;
        let unbias = |decay: f64| 1.0 / (1.0 - decay.powi(step.index as i32 + 1));
        self.mean = ((&self.mean * MEAN_DECAY)? + (gradient * (1.0 - MEAN_DECAY))?)?.detach();
        self.square = ((&self.square * decay)? + (gradient.sqr()? * (1.0 - decay))?)?.detach();
        let scale = ((&self.square * unbias(decay))?.sqrt()? + EPSILON)?;
        let change = ((&self.mean * (step.rate * unbias(MEAN_DECAY)))? / scale)?;
        variable.set(&(variable.as_tensor() - change)?.detach())
    }
}

/// Variables that move together, at one rate.
#[derive(Debug)]
pub struct Adam {
    rate: f64,
    steps: usize,
    variables: Vec<(Var, Moments)>,
}

impl Adam {
    /// Moves `variables` by about `rate` a step.
    pub fn new(variables: Vec<Var>, rate: f64) -> candle_core::Result<Self> {
        let moments = |variable: Var| Moments::zero(&variable).map(|moments| (variable, moments));
        let variables = variables.into_iter().map(moments).collect::<candle_core::Result<_>>()?;
        Ok(Self { rate, steps: 0, variables })
    }

    /// One step against the gradient of `loss`.
    pub fn step(&mut self, loss: &Tensor) -> candle_core::Result<()> {
        let gradients = loss.backward()?;
        let step = Step { index: self.steps, rate: self.rate, square_decay: SQUARE_DECAY };
        for (variable, moments) in &mut self.variables {
            let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
            moments.descend(variable, gradient, step)?;
        }
        self.steps += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// The first step is the rate, whatever the gradient's size; many of them find the minimum.
    #[test]
    fn a_parabola_is_descended() {
        let x = Var::new(&[3f32, -1.0], &Device::Cpu).unwrap();
        let mut adam = Adam::new(vec![x.clone()], 0.1).unwrap();
        let loss = || (x.as_tensor() - 1.0).unwrap().sqr().unwrap().sum_all().unwrap();
        adam.step(&loss()).unwrap();
        let moved = x.as_tensor().to_vec1::<f32>().unwrap();
        assert!((moved[0] - 2.9).abs() < 1e-4 && (moved[1] + 0.9).abs() < 1e-4, "{moved:?}");
        for _ in 0..300 {
            adam.step(&loss()).unwrap();
        }
        assert!(loss().to_scalar::<f32>().unwrap() < 1e-3);
    }
}
