//! Means, quantiles and bootstrap intervals.

use rand::RngExt;
use statrs::statistics::{Data, OrderStatistics};

use crate::rng;

/// Bootstrap resamples behind an interval: its ends then wander by about 0.03 standard errors.
const RESAMPLES: usize = 4000;

/// The seed of every interval: the same values give the same interval, wherever it is computed.
const BOOTSTRAP_SEED: u64 = 0;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// Arithmetic mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value below which a `share` of `values` lies; `None` of nothing. Reorders `values`.
///
/// Interpolates linearly between order statistics at (n + ⅓)·share + ⅓, the median-unbiased rule
/// (definition 8 of Hyndman and Fan, 1996); beyond the first and last, these.
///
/// # Panics
/// If `share` is not in [0, 1].
#[must_use]
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    assert!((0.0..=1.0).contains(&share), "a quantile's share is in [0, 1], not {share}");
    (!values.is_empty()).then(|| Data::new(values).quantile(share))
}

/// The 95 % percentile-bootstrap interval of the mean of `values`; `None` below two of them.
///
/// Values are resampled with replacement; the interval spans the 2.5 % and 97.5 % quantiles of the
/// resampled means. With few values it is somewhat too narrow (the t interval of 20 normal values
/// is 9 % wider), but it stays inside the range of what was seen and needs no normality.
#[must_use]
pub fn bootstrap_mean_95(values: &[f64]) -> Option<Interval> {
    let count = values.len();
    if count < 2 {
        return None;
    }
    let mut random = rng::stream(BOOTSTRAP_SEED, "metrics/bootstrap");
    let mut resampled_mean = || {
        let sum: f64 = (0..count).map(|_| values[random.random_range(0..count)]).sum();
        sum / count as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resampled_mean()).collect();
    Some(Interval { lo: quantile(&mut means, 0.025)?, hi: quantile(&mut means, 0.975)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_five_values_by_hand() {
        let mut values = [50.0, 10.0, 40.0, 20.0, 30.0];
        assert_eq!(quantile(&mut values, 0.5), Some(30.0));
        assert_eq!(quantile(&mut values, 0.0), Some(10.0));
        assert_eq!(quantile(&mut values, 1.0), Some(50.0));
        // (5 + 1/3) * 0.25 + 1/3 = 5/3: two thirds of the way from the first to the second.
        let quarter = quantile(&mut values, 0.25).unwrap();
        assert!((quarter - (10.0 + 10.0 * 2.0 / 3.0)).abs() < 1e-9, "{quarter}");
    }

    #[test]
    fn nothing_has_no_quantile_mean_or_interval() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(bootstrap_mean_95(&[0.5]), None);
    }

    #[test]
    fn equal_values_have_an_interval_without_width() {
        assert_eq!(bootstrap_mean_95(&[0.5; 20]), Some(Interval { lo: 0.5, hi: 0.5 }));
    }

    /// The means of two resampled values are 0, ½ and 1 with weights ¼, ½, ¼.
    #[test]
    fn two_values_span_their_range() {
        assert_eq!(bootstrap_mean_95(&[0.0, 1.0]), Some(Interval { lo: 0.0, hi: 1.0 }));
    }

    /// By the central limit theorem the interval tends to mean ± 1.96 s/√n (s with divisor n).
    #[test]
    fn a_large_sample_has_the_normal_interval() {
        let mut random = rng::stream(7, "test");
        let values: Vec<f64> = (0..400).map(|_| random.random::<f64>()).collect();
        let centre = mean(&values).unwrap();
        let squares: Vec<f64> = values.iter().map(|value| (value - centre).powi(2)).collect();
        let half = 1.959_964 * (mean(&squares).unwrap() / values.len() as f64).sqrt();
        let Interval { lo, hi } = bootstrap_mean_95(&values).unwrap();
        assert!((lo - (centre - half)).abs() < 0.08 * half, "{lo} against {}", centre - half);
        assert!((hi - (centre + half)).abs() < 0.08 * half, "{hi} against {}", centre + half);
    }
}
