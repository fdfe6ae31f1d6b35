//! AdamW over lists of values.
//!
//! Reference: Loshchilov and Hutter, *Decoupled weight decay regularization*, 2019. Written out
//! because candle's own keeps its moments to itself, and a checkpoint needs them.

/// Decay of the mean gradient.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean squared gradient: shorter than the usual 0.999, as runs have few hundred steps.
const SQUARE_DECAY: f64 = 0.99;
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

impl Moments {
    /// Before the first step, for values of the shape of `values`.
    pub fn zero(values: &[Vec<f32>]) -> Self {
        let zeros: Vec<Vec<f32>> = values.iter().map(|list| vec![0.0; list.len()]).collect();
        Self { mean: zeros.clone(), square: zeros }
    }

    /// Moves the values of list `index` against `gradient`; `step` counts from 0.
    pub fn update(&mut self, index: usize, step: usize, values: &mut [f32], rule: &Update<'_>) {
        let power = |decay: f64| 1.0 - decay.powi(step as i32 + 1);
        let (mean_scale, square_scale) = (power(MEAN_DECAY), power(SQUARE_DECAY));
        let moments = self.mean[index].iter_mut().zip(&mut self.square[index]);
        for ((value, gradient), (mean, square)) in values.iter_mut().zip(rule.gradient).zip(moments)
        {
            let gradient = f64::from(*gradient) * rule.gradient_scale;
            let new_mean = MEAN_DECAY * f64::from(*mean) + (1.0 - MEAN_DECAY) * gradient;
            let new_square =
                SQUARE_DECAY * f64::from(*square) + (1.0 - SQUARE_DECAY) * gradient * gradient;
            let direction = new_mean / mean_scale / ((new_square / square_scale).sqrt() + EPSILON);
            let decay = rule.weight_decay * f64::from(*value);
            *value -= (rule.learning_rate * (direction + decay)) as f32;
            *mean = new_mean as f32;
            *square = new_square as f32;
        }
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_go_by_the_learning_rate_against_the_gradients_sign() {
        // After one step both corrected moments are the gradient's own: direction = sign.
        let mut values = vec![1.0, 1.0, 1.0];
        let mut moments = Moments::zero(&[values.clone()]);
        let rule = Update {
            gradient: &[4.0, -0.5, 0.0],
            gradient_scale: 0.5,
            learning_rate: 0.1,
            weight_decay: 0.0,
        };
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
        let rule =
            Update { gradient: &[0.0], gradient_scale: 1.0, learning_rate: 0.1, weight_decay: 0.5 };
        Moments::zero(&[vec![2.0]]).update(0, 0, &mut values, &rule);
        assert!((values[0] - 1.9).abs() < 1e-6);
    }
}
