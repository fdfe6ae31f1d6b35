//! AdamW over lists of values, and over candle's variables.
//!
//! References: Kingma and Ba, *Adam: a method for stochastic optimization*, 2015; Loshchilov and
//! Hutter, *Decoupled weight decay regularization*, 2019. Written out because candle's own keeps
//! its moments to itself, and a checkpoint needs them.

use candle_core::{Tensor, Var};

/// Decay of the mean gradient.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean squared gradient.
pub const SQUARE_DECAY: f64 = 0.999;
/// The same for runs of a few hundred steps.
pub const SHORT_SQUARE_DECAY: f64 = 0.99;
/// Keeps a step finite where gradients vanish.
const EPSILON: f64 = 1e-8;

/// Running means of gradients and of their squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Mean gradient of every value.
    pub mean: Vec<Vec<f32>>,
    /// Mean squared gradient of every value.
    pub square: Vec<Vec<f32>>,
}

/// One step of one list of values.
#[derive(Debug)]
pub struct Update<'a> {
    /// Of the loss.
    pub gradient: &'a [f32],
    /// What `gradient` is multiplied with first.
    pub gradient_scale: f64,
    /// Length of a step where gradients agree.
    pub learning_rate: f64,
    /// Pull to 0 per unit of learning rate.
    pub weight_decay: f64,
    /// Decay of the mean squared gradient.
    pub square_decay: f64,
}

impl Moments {
    /// Before the first step, for values of the shape of `values`.
    #[must_use]
    pub fn zero(values: &[Vec<f32>]) -> Self {
        let zeros: Vec<Vec<f32>> = values.iter().map(|list| vec![0.0; list.len()]).collect();
        Self { mean: zeros.clone(), square: zeros }
    }

    /// Moves the values of list `index` against `gradient`; `step` counts from 0.
    pub fn update(&mut self, index: usize, step: usize, values: &mut [f32], rule: &Update<'_>) {
        let decay = rule.square_decay;
        let power = |decay: f64| 1.0 - decay.powi(step as i32 + 1);
        let (mean_scale, square_scale) = (power(MEAN_DECAY), power(decay));
        let moments = self.mean[index].iter_mut().zip(&mut self.square[index]);
        for ((value, gradient), (mean, square)) in values.iter_mut().zip(rule.gradient).zip(moments)
        {
            let gradient = f64::from(*gradient) * rule.gradient_scale;
            let new_mean = MEAN_DECAY * f64::from(*mean) + (1.0 - MEAN_DECAY) * gradient;
            let new_square = decay * f64::from(*square) + (1.0 - decay) * gradient * gradient;
            let direction = new_mean / mean_scale / ((new_square / square_scale).sqrt() + EPSILON);
            let decay = rule.weight_decay * f64::from(*value);
            *value -= (rule.learning_rate * (direction + decay)) as f32;
            *mean = new_mean as f32;
            *square = new_square as f32;
        }
    }
}

/// Variables that move together, with their moments and the steps that they have taken.
#[derive(Debug)]
pub struct Variables {
    /// In the order of the moments.
    named: Vec<(String, Var)>,
    /// Of the optimiser.
    pub moments: Moments,
    /// Steps taken.
    pub steps: usize,
    square_decay: f64,
}

impl Variables {
    /// Variables by name that have not moved yet.
    #[must_use]
    pub fn new(variables: Vec<(String, Var)>, square_decay: f64) -> Self {
        let zeros = |(_, variable): &(String, Var)| vec![0.0; variable.elem_count()];
        let moments = Moments::zero(&variables.iter().map(zeros).collect::<Vec<_>>());
        Self { named: variables, moments, steps: 0, square_decay }
    }

    /// Names and shapes.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.named.iter().map(|(name, variable)| (name.as_str(), variable.dims()))
    }

    /// What the variables are now.
    ///
    /// # Errors
    /// If candle refuses.
    pub fn values(&self) -> candle_core::Result<Vec<Vec<f32>>> {
        self.named.iter().map(|(_, variable)| list(variable.as_tensor())).collect()
    }

    /// Makes them `values`.
    ///
    /// # Errors
    /// If they are of other shapes.
    pub fn set(&self, values: &[Vec<f32>]) -> candle_core::Result<()> {
        for ((_, variable), values) in self.named.iter().zip(values) {
            variable.set(&Tensor::from_slice(values, variable.shape(), variable.device())?)?;
        }
        Ok(())
    }

    /// One step of about `rate` against the gradient of `loss`. A variable that the loss does not
    /// depend on stays.
    ///
    /// # Errors
    /// If candle refuses.
    pub fn descend(&mut self, loss: &Tensor, rate: f64) -> candle_core::Result<()> {
        let gradients = loss.backward()?;
        for (index, (_, variable)) in self.named.iter().enumerate() {
            let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
            let mut values = list(variable.as_tensor())?;
            let rule = Update {
                gradient: &list(gradient)?,
                gradient_scale: 1.0,
                learning_rate: rate,
                weight_decay: 0.0,
                square_decay: self.square_decay,
            };
            self.moments.update(index, self.steps, &mut values, &rule);
            variable.set(&Tensor::from_vec(values, variable.shape(), variable.device())?)?;
        }
        self.steps += 1;
        Ok(())
    }
}

fn list(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const RULE: Update<'static> = Update {
        gradient: &[],
        gradient_scale: 1.0,
        learning_rate: 0.1,
        weight_decay: 0.0,
        square_decay: SHORT_SQUARE_DECAY,
    };

    #[test]
    fn the_first_steps_go_by_the_learning_rate_against_the_gradients_sign() {
        // After one step both corrected moments are the gradient's own: direction = sign.
        let mut values = vec![1.0, 1.0, 1.0];
        let mut moments = Moments::zero(&[values.clone()]);
        let rule = Update { gradient: &[4.0, -0.5, 0.0], gradient_scale: 0.5, ..RULE };
        moments.update(0, 0, &mut values, &rule);
        assert_eq!(values, [0.9, 1.1, 1.0]);
        assert_eq!(moments.mean[0], [0.2, -0.025, 0.0]);
        // The same gradient again: the same direction.
        moments.update(0, 1, &mut values, &rule);
        assert!((values[0] - 0.8).abs() < 1e-6 && (values[1] - 1.2).abs() < 1e-6);
    }

    #[test]
    fn weight_decay_pulls_to_zero_without_a_gradient() {
        let mut values = vec![2.0];
        let rule = Update { gradient: &[0.0], weight_decay: 0.5, ..RULE };
        Moments::zero(&[vec![2.0]]).update(0, 0, &mut values, &rule);
        assert!((values[0] - 1.9).abs() < 1e-6);
    }

    /// The first step is the rate, whatever the gradient's size; many of them find the minimum.
    #[test]
    fn a_parabola_is_descended_and_what_the_loss_does_not_know_stays() {
        let x = Var::new(&[3f32, -1.0], &Device::Cpu).unwrap();
        let other = Var::new(&[7f32], &Device::Cpu).unwrap();
        let named = vec![("x".to_owned(), x.clone()), ("other".to_owned(), other)];
        let mut variables = Variables::new(named, SQUARE_DECAY);
        let loss = || (x.as_tensor() - 1.0).unwrap().sqr().unwrap().sum_all().unwrap();
        variables.descend(&loss(), 0.1).unwrap();
        let moved = variables.values().unwrap();
        assert!((moved[0][0] - 2.9).abs() < 1e-4 && (moved[0][1] + 0.9).abs() < 1e-4, "{moved:?}");
        for _ in 0..300 {
            variables.descend(&loss(), 0.1).unwrap();
        }
        assert!(loss().to_scalar::<f32>().unwrap() < 1e-3);
        assert_eq!((&variables.values().unwrap()[1], variables.steps), (&vec![7.0], 301));
    }
}
