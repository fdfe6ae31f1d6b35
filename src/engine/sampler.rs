//! Draws the next token: temperature, then the nucleus (Holtzman et al., ICLR 2020, arXiv
//! 1904.09751).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::generate::likeliest;
use crate::rng;

/// Picks tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    draws: ChaCha8Rng,
}

impl Sampler {
    /// Divides logits by `temperature` (0: the likeliest token, always) and draws from the
    /// likeliest tokens that have a share `top_p` of the probability, in the stream of `seed`.
    #[must_use]
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Self {
        Self { temperature, top_p, draws: rng::stream(seed, "tokens of an answer") }
    }

    /// The next token where the vocabulary has these `logits`.
    pub fn pick(&mut self, logits: &[f32]) -> u32 {
        if self.temperature <= 0.0 {
            return likeliest(logits);
        }
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from((logit - most) / self.temperature).exp();
        let mut tokens: Vec<(u32, f64)> =
            (0..).zip(logits.iter().map(|&logit| weight(logit))).collect();
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
        let total: f64 = tokens.iter().map(|&(_, weight)| weight).sum();
        let enough = total * f64::from(self.top_p);
        let mut nucleus = 0.0;
        let mut size = 0;
        while size < tokens.len() && (size == 0 || nucleus < enough) {
            nucleus += tokens[size].1;
            size += 1;
        }
        let mut drawn = self.draws.random::<f64>() * nucleus;
        for &(token, weight) in &tokens[..size] {
            drawn -= weight;
            if drawn < 0.0 {
                return token;
            }
        }
        tokens[size - 1].0
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use super::*;

    /// Probabilities 1/2, 1/4, 1/8, 1/8, out of order.
    const LOGITS: [f32; 4] = [0.0, 2.0 * LN_2, LN_2, 0.0];

    fn drawn(temperature: f32, top_p: f32, seed: u64) -> [u32; 4] {
        let mut sampler = Sampler::new(temperature, top_p, seed);
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[sampler.pick(&LOGITS) as usize] += 1;
        }
        counts
    }

    /// Of 4000 draws the counts have standard deviations of at most 32; five of them are allowed.
    #[test]
    fn tokens_come_as_often_as_their_probability_says() {
        let near = |counts: [u32; 4], expected: [u32; 4]| {
            let off = counts.iter().zip(expected).map(|(&a, b)| a.abs_diff(b));
            assert!(off.max() < Some(160), "{counts:?}");
        };
        near(drawn(1.0, 1.0, 1), [500, 2000, 1000, 500]);
        // Half the temperature squares the probabilities: 16, 4, 1, 1 of 22.
        near(drawn(0.5, 1.0, 1), [182, 2909, 727, 182]);
    }

    #[test]
    fn the_nucleus_is_the_fewest_tokens_with_that_share() {
        let counts = drawn(1.0, 0.7, 2);
        assert_eq!((counts[0], counts[3], counts[1] + counts[2]), (0, 0, 4000));
        assert_eq!(drawn(1.0, 0.4, 2), [0, 4000, 0, 0]);
        assert_eq!(drawn(1.0, 1e-9, 2), [0, 4000, 0, 0]);
    }

    #[test]
    fn without_temperature_it_is_the_likeliest_and_a_seed_repeats() {
        assert_eq!(drawn(0.0, 1.0, 1), [0, 4000, 0, 0]);
        let text = |seed| {
            let mut sampler = Sampler::new(1.0, 1.0, seed);
            (0..20).map(|_| sampler.pick(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }
}
