//! How adapters are trained: everything that decides the trained values beside model and text.

use crate::error::{Error, Result};
use crate::model::family::lora::Recipe;

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            steps: 120,
            sequences: 4,
            sequence_tokens: 256,
            loss_share: 1.0,
            learning_rate: 2e-3,
            second_ratio: 8.0,
            warmup_steps: 8,
            weight_decay: 0.0,
            gradient_norm_max: 1.0,
            seed: 1,
        }
    }
}

impl Recipe {
    /// What adapters are multiplied with.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// The learning rate of matrices `A` at `step`, from 0.
    #[must_use]
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let left = (self.steps - self.warmup_steps).max(1) as f64;
        let done = (step - self.warmup_steps) as f64 / left;
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    /// Checks every value's range.
    ///
    /// # Errors
    /// If one is out of range.
    pub fn check(&self) -> Result<()> {
        let finite = |value: f64| value.is_finite() && value > 0.0;
        let share = self.loss_share > 0.0 && self.loss_share <= 1.0;
        let checks = [
            ("rank", self.rank > 0, self.rank.to_string(), "1 or more"),
            ("alpha", finite(self.alpha.into()), self.alpha.to_string(), "above 0"),
            ("steps", self.steps > 0, self.steps.to_string(), "1 or more"),
            ("sequences", self.sequences > 0, self.sequences.to_string(), "1 or more"),
            (
                "sequence-tokens",
                (2..=2048).contains(&self.sequence_tokens),
                self.sequence_tokens.to_string(),
                "2 to 2048",
            ),
            ("loss-share", share, self.loss_share.to_string(), "above 0, up to 1"),
            (
                "learning-rate",
                finite(self.learning_rate),
                self.learning_rate.to_string(),
                "above 0",
            ),
            ("second-ratio", finite(self.second_ratio), self.second_ratio.to_string(), "above 0"),
            (
                "warmup-steps",
                self.warmup_steps <= self.steps,
                self.warmup_steps.to_string(),
                "no more than steps",
            ),
            (
                "weight-decay",
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                self.weight_decay.to_string(),
                "0 or more",
            ),
            (
                "gradient-norm-max",
                finite(self.gradient_norm_max),
                self.gradient_norm_max.to_string(),
                "above 0",
            ),
        ];
        match checks.into_iter().find(|(_, fine, ..)| !fine) {
            None => Ok(()),
            Some((name, _, found, allowed)) => {
                Err(Error::new(format!("--{name}"), "out of range").found(found).allowed(allowed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_in_a_line_and_falls_along_a_cosine() {
        let recipe = Recipe { steps: 8, warmup_steps: 4, learning_rate: 4.0, ..Recipe::default() };
        let rates: Vec<f64> = (0..8).map(|step| recipe.learning_rate_at(step)).collect();
        assert_eq!(&rates[..5], [1.0, 2.0, 3.0, 4.0, 4.0]);
        assert!((rates[6] - 2.0).abs() < 1e-12, "half of the way down: {}", rates[6]);
        assert!(rates[7] > 0.0 && rates[7] < 1.0);
    }

    #[test]
    fn values_out_of_range_are_named() {
        Recipe::default().check().unwrap();
        let error = Recipe { loss_share: 1.5, ..Recipe::default() }.check().unwrap_err();
        let expected = "--loss-share: out of range; found 1.5; allowed: above 0, up to 1";
        assert_eq!(error.to_string(), expected);
        let error = Recipe { learning_rate: f64::NAN, ..Recipe::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "--learning-rate: out of range; found NaN; allowed: above 0");
    }
}
