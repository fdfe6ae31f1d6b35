//! A mean or a share with its interval.

use statrs::distribution::{ContinuousCDF, Normal};

use super::bootstrap::bootstrap_mean_95;
use super::statistics::{Interval, mean};

/// A value with the ends of its 95 % interval, each absent where nothing defines it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// The mean, or the share.
    pub mean: Option<f64>,
    /// Lower end of the interval.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
}

impl Estimate {
    /// The mean of `measure` over the replications that define it, and its percentile-bootstrap
    /// interval over them.
    #[must_use]
    pub fn over<T>(replications: &[T], measure: impl Fn(&T) -> Option<f64>) -> Self {
        let values: Vec<f64> = replications.iter().filter_map(measure).collect();
        Self::with(mean(&values), bootstrap_mean_95(&values))
    }

    /// The `share` of `whole` requests, and its Wilson interval.
    ///
    /// # Panics
    /// As [`wilson_95`].
    #[must_use]
    pub fn of_share(share: Option<f64>, whole: usize) -> Self {
        Self::with(share, share.and_then(|share| wilson_95(share, whole)))
    }

    /// The same without its interval.
    #[must_use]
    pub fn alone(self) -> Self {
        Self::with(self.mean, None)
    }

    /// The interval, where it has both ends.
    #[must_use]
    pub fn interval(self) -> Option<Interval> {
        Some(Interval { lo: self.lo?, hi: self.hi? })
    }

    pub(super) fn with(mean: Option<f64>, interval: Option<Interval>) -> Self {
        let (lo, hi) = (interval.map(|interval| interval.lo), interval.map(|interval| interval.hi));
        Self { mean, lo, hi }
    }
}

/// The 95 % score interval of a `share` of `whole` independent draws (Wilson, 1927); `None` of
/// nothing.
///
/// With p the share and n the draws: (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n). Unlike
/// the normal approximation it stays within [0, 1] and has a width at 0 and 1. Of a mean of grades
/// in [0, 1], which vary no more than p(1 − p), it is wide enough.
///
/// # Panics
/// If the share is not in [0, 1].
#[must_use]
pub fn wilson_95(share: f64, whole: usize) -> Option<Interval> {
    assert!((0.0..=1.0).contains(&share), "a share is in [0, 1], not {share}");
    if whole == 0 {
        return None;
    }
    let count = whole as f64;
    let z = Normal::standard().inverse_cdf(0.975);
    let square = z * z / count;
    let half = z * (share * (1.0 - share) / count + square / (4.0 * count)).sqrt();
    let end = |half: f64| ((share + square / 2.0 + half) / (1.0 + square)).clamp(0.0, 1.0);
    Some(Interval { lo: end(-half), hi: end(half) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe, *Two-sided confidence intervals for the single proportion* (1998), Table I,
    /// method 3.
    #[test]
    fn wilson_intervals_agree_with_newcombes_table() {
        for (part, whole, lo, hi) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0000, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson_95(f64::from(part) / whole as f64, whole).unwrap();
            assert!((interval.lo - lo).abs() < 5e-5, "{part}/{whole}: {interval:?}");
            assert!((interval.hi - hi).abs() < 5e-5, "{part}/{whole}: {interval:?}");
        }
        assert_eq!(wilson_95(0.0, 0), None);
        assert_eq!(wilson_95(1.0, 7).map(|interval| interval.hi), Some(1.0));
    }

    #[test]
    fn nothing_has_neither_value_nor_interval_and_one_replication_has_no_interval() {
        assert_eq!(Estimate::of_share(None, 0), Estimate::default());
        assert_eq!(Estimate::of_share(Some(0.25), 4).mean, Some(0.25));
        let one = Estimate::over(&[None, Some(0.5)], |value| *value);
        assert_eq!(one, Estimate { mean: Some(0.5), lo: None, hi: None });
    }
}
