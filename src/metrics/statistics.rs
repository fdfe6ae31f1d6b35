//! Means, spreads and quantiles.

use statrs::statistics::{Data, OrderStatistics};

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

/// Standard deviation of a sample, with divisor n − 1; `None` below two values.
///
/// Equal values have a deviation of exactly 0, whatever rounding does to their mean.
#[must_use]
pub fn deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values).filter(|_| values.len() > 1)?;
    if values.iter().all(|value| value.total_cmp(&values[0]).is_eq()) {
        return Some(0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
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

/// The same of `count` sorted values, the one at each place as `value` gives it.
pub(super) fn interpolated(count: usize, share: f64, value: impl Fn(usize) -> f64) -> Option<f64> {
    let last = count.checked_sub(1)?;
    let place = (count as f64 + 1.0 / 3.0) * share + 1.0 / 3.0;
    let below = place as usize;
    Some(if below == 0 {
        value(0)
    } else if below > last {
        value(last)
    } else {
        let low = value(below - 1);
        low + (place - below as f64) * (value(below) - low)
    })
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
    fn quantiles_of_sorted_values_are_the_same() {
        for count in 1..40_usize {
            let sorted: Vec<f64> = (0..count).map(|n| (n * n) as f64 / 7.0).collect();
            for share in [0.0, 0.02, 0.3, 0.5, 0.95, 0.99, 1.0] {
                let found = interpolated(count, share, |place| sorted[place]);
                assert_eq!(found, quantile(&mut sorted.clone(), share), "{share} of {count}");
            }
        }
        assert_eq!(interpolated(0, 0.5, |_| 0.0), None);
    }

    /// Squares around 5: 9, 1, 1, 1, 0, 0, 4, 16; their sum 32 over 7.
    #[test]
    fn the_deviation_of_eight_values_by_hand() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(deviation(&values), Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!(deviation(&[0.1; 3]), Some(0.0));
    }

    #[test]
    fn nothing_has_no_quantile_mean_or_deviation() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(deviation(&[0.5]), None);
    }
}
