//! Adam (Kingma and Ba 2015), for the few variables of a head.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// Variables with their running moments.
#[derive(Debug)]
pub(super) struct Adam {
    rate: f64,
    steps: i32,
    variables: Vec<(Var, Tensor, Tensor)>,
}

impl Adam {
    /// Moves `variables` by about `rate` a step.
    pub fn new(variables: Vec<Var>, rate: f64) -> candle_core::Result<Self> {
        let moments = |variable: Var| {
            let zeros = variable.zeros_like()?;
            Ok((variable, zeros.clone(), zeros))
        };
        let variables = variables.into_iter().map(moments).collect::<candle_core::Result<_>>()?;
        Ok(Self { rate, steps: 0, variables })
    }

    /// One step against the gradient of `loss`.
    pub fn step(&mut self, loss: &Tensor) -> candle_core::Result<()> {
        let gradients: GradStore = loss.backward()?;
        self.steps += 1;
        let unbias = |beta: f64| 1.0 / (1.0 - beta.powi(self.steps));
        for (variable, mean, square) in &mut self.variables {
            let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
            *mean = ((&*mean * BETA.0)? + (gradient * (1.0 - BETA.0))?)?.detach();
            *square = ((&*square * BETA.1)? + (gradient.sqr()? * (1.0 - BETA.1))?)?.detach();
            let scale = ((&*square * unbias(BETA.1))?.sqrt()? + EPSILON)?;
            let change = ((&*mean * (self.rate * unbias(BETA.0)))? / scale)?;
            variable.set(&(variable.as_tensor() - change)?.detach())?;
        }
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
