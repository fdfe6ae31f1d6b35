//! Bootstrap intervals: percentile, and BCa (bias-corrected and accelerated).
//!
//! Values are resampled with replacement from a fixed random stream, so the same values give the
//! same interval wherever it is computed. What is drawn depends on the number of values alone and
//! is kept, since an experiment asks for thousands of intervals of as many values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use statrs::distribution::{ContinuousCDF, Normal};

use super::statistics::{Interval, mean, quantile};
use crate::rng;

/// Resamples behind an interval: its ends then wander by about 0.03 standard errors.
const RESAMPLES: usize = 4000;

/// The seed of every interval.
const BOOTSTRAP_SEED: u64 = 0;

/// Draws of more values than this are not kept, nor those of more than [`KEPT_SIZES`] sizes.
const KEPT_VALUES: usize = 2048;
const KEPT_SIZES: usize = 8;

/// The 95 % percentile interval of the mean of `values`; `None` below two of them.
///
/// It spans the 2.5 % and 97.5 % quantiles of the resampled means. With few values it is somewhat
/// too narrow (the t interval of 20 normal values is 9 % wider), but it stays inside the range of
/// what was seen and needs no normality.
#[must_use]
pub fn bootstrap_mean_95(values: &[f64]) -> Option<Interval> {
    if values.len() > 1 && values.iter().all(|value| value.total_cmp(&values[0]).is_eq()) {
        let mean = average(values);
        return Some(Interval { lo: mean, hi: mean });
    }
    let count = values.len() as f64;
    interval_95(values.len(), |places| {
        places.iter().map(|&place| values[place as usize]).sum::<f64>() / count
    })
}

/// The 95 % percentile interval of a `statistic` of `values`; `None` below two of them.
#[must_use]
pub fn bootstrap_95<T: Copy>(values: &[T], statistic: impl Fn(&[T]) -> f64) -> Option<Interval> {
    let mut resample = values.to_vec();
    interval_95(values.len(), |places| {
        fill(&mut resample, values, places);
        statistic(&resample)
    })
}

/// The same of the ratio of the sums of pairs' second parts to those of their first.
#[must_use]
pub(super) fn bootstrap_ratio_95(pairs: &[(f64, f64)]) -> Option<Interval> {
    if let Some([first, second]) = small_numbers(pairs) {
        let counts = kept_counts(pairs.len());
        let ratio =
            |counts: &[i16]| f64::from(dot(counts, &second)) / f64::from(dot(counts, &first));
        return interval_of(counts.chunks_exact(pairs.len()).map(ratio).collect());
    }
    interval_95(pairs.len(), |places| {
        // Four sums side by side, so that none waits for the addition before it.
        let mut sums = [(0.0, 0.0); 4];
        for four in places.chunks(4) {
            for (sum, &place) in sums.iter_mut().zip(four) {
                let pair = pairs[place as usize];
                *sum = (sum.0 + pair.0, sum.1 + pair.1);
            }
        }
        let [a, b, c, d] = sums;
        ((a.1 + b.1) + (c.1 + d.1)) / ((a.0 + b.0) + (c.0 + d.0))
    })
}

fn interval_95(count: usize, statistic: impl FnMut(&[u32]) -> f64) -> Option<Interval> {
    if count < 2 { None } else { interval_of(resampled(count, statistic)) }
}

fn interval_of(mut resampled: Vec<f64>) -> Option<Interval> {
    Some(Interval { lo: quantile(&mut resampled, 0.025)?, hi: quantile(&mut resampled, 0.975)? })
}

/// The 95 % BCa interval of the mean of `values`; `None` below two of them.
#[must_use]
pub fn bca_mean_95(values: &[f64]) -> Option<Interval> {
    bca(values, average, 0.95)
}

/// The BCa interval of `statistic` over `values` at a confidence of `level`; `None` below two
/// values (Efron, *Better bootstrap confidence intervals*, 1987).
///
/// The ends are quantiles of the resampled statistics, moved from α and 1 − α to
/// Φ(z₀ + (z₀ + z) / (1 − a·(z₀ + z))), z being Φ⁻¹ of α and 1 − α. The bias correction z₀ is Φ⁻¹
/// of the share of resampled statistics below the one seen, ties counted by half; the acceleration
/// a is a sixth of the skewness of the jackknife. Its coverage is off by O(1/n) where the
/// percentile interval's is off by O(1/√n).
fn bca(values: &[f64], statistic: impl Fn(&[f64]) -> f64, level: f64) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let mut resampled = resampled_values(values, &statistic);
    let (bias, acceleration) =
        (bias_correction(&resampled, statistic(values)), acceleration(values, &statistic));
    let mut end = |share: f64| {
        let z = bias + Normal::standard().inverse_cdf(share);
        let moved = Normal::standard().cdf(bias + z / (1.0 - acceleration * z));
        quantile(&mut resampled, moved)
    };
    Some(Interval { lo: end((1.0 - level) / 2.0)?, hi: end(f64::midpoint(1.0, level))? })
}

fn average(values: &[f64]) -> f64 {
    mean(values).expect("a resample has as many values as the sample")
}

/// `statistic` of each of [`RESAMPLES`] resamples of `values`.
fn resampled_values(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut resample = values.to_vec();
    resampled(values.len(), |places| {
        fill(&mut resample, values, places);
        statistic(&resample)
    })
}

fn fill<T: Copy>(resample: &mut [T], values: &[T], places: &[u32]) {
    for (slot, &place) in resample.iter_mut().zip(places) {
        *slot = values[place as usize];
    }
}

/// `statistic` of the places drawn for each of [`RESAMPLES`] resamples of `count` values.
fn resampled(count: usize, mut statistic: impl FnMut(&[u32]) -> f64) -> Vec<f64> {
    if count <= KEPT_VALUES {
        return kept_draws(count).chunks_exact(count).map(statistic).collect();
    }
    let (mut places, mut draw) = (vec![0; count], draw(count));
    let mut resample = || {
        places.fill_with(&mut draw);
        statistic(&places)
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// The parts of `pairs` where all are whole and small: sums of those are exact in any order, so
/// that how often a pair is drawn says all. `None` of others, of many and of fewer than two pairs.
fn small_numbers(pairs: &[(f64, f64)]) -> Option<[Vec<i16>; 2]> {
    let small =
        |value: f64| (value.fract() == 0.0 && value.abs() <= 8192.0).then_some(value as i16);
    let numbers = |part: fn(&(f64, f64)) -> f64| {
        pairs.iter().map(part).map(small).collect::<Option<Vec<_>>>()
    };
    if !(2..=KEPT_VALUES).contains(&pairs.len()) {
        return None;
    }
    Some([numbers(|pair| pair.0)?, numbers(|pair| pair.1)?])
}

/// Σ counts · numbers. It fits: counts add up to at most [`KEPT_VALUES`], numbers are small.
fn dot(counts: &[i16], numbers: &[i16]) -> i32 {
    let products = counts.iter().zip(numbers).map(|(&a, &b)| i32::from(a) * i32::from(b));
    products.fold(0, i32::wrapping_add)
}

/// What was made for a number of values.
type Kept<T> = Mutex<BTreeMap<usize, Arc<[T]>>>;

/// What is `kept` for `count`, made first where need be.
fn kept<T>(kept: &Kept<T>, count: usize, make: impl FnOnce() -> Arc<[T]>) -> Arc<[T]> {
    let mut kept = kept.lock().expect("drawing does not panic");
    if !kept.contains_key(&count) && kept.len() == KEPT_SIZES {
        kept.clear();
    }
    Arc::clone(kept.entry(count).or_insert_with(make))
}

/// The places of all resamples of `count` values, one resample after the other.
fn kept_draws(count: usize) -> Arc<[u32]> {
    static KEPT: Kept<u32> = Mutex::new(BTreeMap::new());
    kept(&KEPT, count, || {
        let mut draw = draw(count);
        (0..RESAMPLES * count).map(|_| draw()).collect()
    })
}

/// How often each of `count` values is in each of these resamples.
fn kept_counts(count: usize) -> Arc<[i16]> {
    static KEPT: Kept<i16> = Mutex::new(BTreeMap::new());
    kept(&KEPT, count, || {
        let mut counts = vec![0; RESAMPLES * count];
        let draws = kept_draws(count);
        for (counts, places) in counts.chunks_exact_mut(count).zip(draws.chunks_exact(count)) {
            for &place in places {
                counts[place as usize] += 1;
            }
        }
        counts.into()
    })
}

fn draw(count: usize) -> impl FnMut() -> u32 {
    let mut random = rng::stream(BOOTSTRAP_SEED, "metrics/bootstrap");
    move || random.random_range(0..count) as u32
}

/// z₀; finite even where every resample lies on one side.
fn bias_correction(resampled: &[f64], seen: f64) -> f64 {
    let count = |holds: fn(&f64, &f64) -> bool| {
        resampled.iter().filter(|value| holds(value, &seen)).count() as f64
    };
    let all = resampled.len() as f64;
    let below = (count(f64::lt) + 0.5 * count(f64::eq)) / all;
    let margin = 0.5 / all;
    Normal::standard().inverse_cdf(below.clamp(margin, 1.0 - margin))
}

/// Σd³ / (6·(Σd²)^1.5), d being how far each leave-one-out statistic lies below their mean; 0
/// where they are equal.
fn acceleration(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> f64 {
    let without = |left_out: usize| {
        let others = values.iter().enumerate().filter(|(place, _)| *place != left_out);
        statistic(&others.map(|(_, &value)| value).collect::<Vec<_>>())
    };
    let jackknife: Vec<f64> = (0..values.len()).map(without).collect();
    let centre = average(&jackknife);
    let sum = |power| jackknife.iter().map(|value| (centre - value).powi(power)).sum::<f64>();
    let spread = sum(2).powf(1.5);
    if spread > 0.0 { sum(3) / (6.0 * spread) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Exp1, StandardNormal};

    /// Scores A of Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), Table 14.1.
    const SPATIAL_TEST: [f64; 26] = [
        48.0, 36.0, 20.0, 29.0, 42.0, 42.0, 20.0, 42.0, 22.0, 41.0, 45.0, 14.0, 6.0, 0.0, 33.0,
        28.0, 34.0, 4.0, 32.0, 24.0, 47.0, 41.0, 24.0, 26.0, 30.0, 41.0,
    ];

    /// The same book's law school data, Table 3.1: LSAT and GPA of 15 schools.
    const LAW_SCHOOLS: [(f64, f64); 15] = [
        (576.0, 3.39),
        (635.0, 3.30),
        (558.0, 2.81),
        (578.0, 3.03),
        (666.0, 3.44),
        (580.0, 3.07),
        (555.0, 3.00),
        (661.0, 3.43),
        (651.0, 3.36),
        (605.0, 3.13),
        (653.0, 3.12),
        (575.0, 2.74),
        (545.0, 2.76),
        (572.0, 2.88),
        (594.0, 2.96),
    ];

    fn variance(values: &[f64]) -> f64 {
        let centre = average(values);
        average(&values.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>())
    }

    /// Correlation of the law schools whose places are given.
    fn correlation(places: &[f64]) -> f64 {
        let schools: Vec<_> = places.iter().map(|&place| LAW_SCHOOLS[place as usize]).collect();
        let lsat = average(&schools.iter().map(|school| school.0).collect::<Vec<_>>());
        let gpa = average(&schools.iter().map(|school| school.1).collect::<Vec<_>>());
        let sum = |term: &dyn Fn(f64, f64) -> f64| {
            schools.iter().map(|school| term(school.0 - lsat, school.1 - gpa)).sum::<f64>()
        };
        sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
    }

    /// The book's Section 14.3 and Table 14.2: θ̂ = 171.5, â = 0.061, ẑ₀ = 0.146 and a 90 %
    /// interval of (115.8, 259.6) from 2000 resamples, while the percentile interval is (100.8,
    /// 233.9). Ends from as many resamples wander by some 3 units.
    #[test]
    fn the_spatial_test_data_have_the_published_bca_interval() {
        assert!((variance(&SPATIAL_TEST) - 171.5).abs() < 0.05);
        let found = acceleration(&SPATIAL_TEST, variance);
        assert!((found - 0.061).abs() < 5e-4, "{found}");
        let bias =
            bias_correction(&resampled_values(&SPATIAL_TEST, variance), variance(&SPATIAL_TEST));
        assert!((bias - 0.146).abs() < 0.06, "{bias}");
        let Interval { lo, hi } = bca(&SPATIAL_TEST, variance, 0.90).unwrap();
        eprintln!("spatial test data: bias {bias:.3}, 90 % {lo:.1} to {hi:.1}");
        assert!((lo - 115.8).abs() < 3.0 && (hi - 259.6).abs() < 6.0, "{lo} to {hi}");
    }

    /// The correlation 0.776 is the book's. The acceleration and the interval (0.425, 0.926), from
    /// 20 000 resamples, are those of an independent program.
    #[test]
    fn the_law_school_correlation_is_skewed_to_the_left_and_so_is_its_interval() {
        let places: Vec<f64> = (0..15).map(f64::from).collect();
        assert!((correlation(&places) - 0.776).abs() < 5e-4);
        assert!((acceleration(&places, correlation) + 0.0757).abs() < 5e-5);
        let Interval { lo, hi } = bca(&places, correlation, 0.90).unwrap();
        eprintln!("law schools: 90 % {lo:.3} to {hi:.3}");
        assert!((lo - 0.425).abs() < 0.025 && (hi - 0.926).abs() < 0.01, "{lo} to {hi}");
    }

    /// Kept or not, the same places are drawn, and every way to take a mean gives the same
    /// interval.
    #[test]
    fn an_interval_does_not_depend_on_what_is_kept() {
        let values: Vec<f64> = (0..=KEPT_VALUES).map(|n| (n as f64 * 0.37).sin()).collect();
        for count in [2, 3, 20, KEPT_VALUES, KEPT_VALUES + 1] {
            let values = &values[..count];
            let expected = bootstrap_95(values, average);
            assert_eq!(bootstrap_mean_95(values), expected, "{count}");
            let mut fresh = draw(count);
            let first: Vec<u32> = (0..count).map(|_| fresh()).collect();
            let mut seen = Vec::new();
            resampled(count, |places| {
                seen = if seen.is_empty() { places.to_vec() } else { std::mem::take(&mut seen) };
                0.0
            });
            assert_eq!(seen, first, "{count}");
        }
        let pairs: Vec<(f64, f64)> = (0..50).map(|n| (1.0, f64::from(n % 3))).collect();
        let of_values: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
        assert_eq!(bootstrap_ratio_95(&pairs), bootstrap_mean_95(&of_values));
    }

    /// Halves are not whole, so they are added up one by one, and exactly, too; twice the value
    /// over twice the weight is the same ratio.
    #[test]
    fn whole_numbers_are_counted_and_others_added_up_to_the_same_interval() {
        let whole: Vec<(f64, f64)> =
            (0..300).map(|n| (f64::from(1 + n % 4), f64::from(n % 7 - 3))).collect();
        let halves: Vec<_> = whole.iter().map(|pair| (pair.0 / 2.0, pair.1 / 2.0)).collect();
        assert!(small_numbers(&whole).is_some() && small_numbers(&halves).is_none());
        assert_eq!(bootstrap_ratio_95(&whole), bootstrap_ratio_95(&halves));
        assert_eq!(bootstrap_ratio_95(&whole[..1]), None);
    }

    #[test]
    fn one_value_has_no_interval_and_equal_values_have_one_without_width() {
        let point = Some(Interval { lo: 0.5, hi: 0.5 });
        for interval in [bootstrap_mean_95, bca_mean_95] {
            assert_eq!(interval(&[0.5]), None);
            assert_eq!(interval(&[0.5; 20]), point);
        }
    }

    /// The means of two resampled values are 0, ½ and 1 with weights ¼, ½, ¼.
    #[test]
    fn two_values_span_their_range() {
        assert_eq!(bootstrap_mean_95(&[0.0, 1.0]), Some(Interval { lo: 0.0, hi: 1.0 }));
        assert_eq!(bca_mean_95(&[0.0, 1.0]), Some(Interval { lo: 0.0, hi: 1.0 }));
    }

    /// By the central limit theorem both tend to mean ± 1.96 s/√n (s with divisor n).
    #[test]
    fn a_large_sample_has_the_normal_interval() {
        let mut random = rng::stream(7, "test");
        let values: Vec<f64> = (0..400).map(|_| random.random::<f64>()).collect();
        let half = 1.959_964 * (variance(&values) / values.len() as f64).sqrt();
        for interval in [bootstrap_mean_95, bca_mean_95] {
            let Interval { lo, hi } = interval(&values).unwrap();
            let centre = average(&values);
            assert!((lo - (centre - half)).abs() < 0.08 * half, "{lo} against {}", centre - half);
            assert!((hi - (centre + half)).abs() < 0.08 * half, "{hi} against {}", centre + half);
        }
    }

    /// Samples of a simulation: few where code is slow, 2000 in an optimised build (`make soak`),
    /// where a share then has a standard error of half a point.
    const SAMPLES: u32 = if cfg!(debug_assertions) { 40 } else { 2000 };

    /// Share of samples of 20, drawn by `draw`, whose interval holds the true mean.
    fn coverage(
        interval: fn(&[f64]) -> Option<Interval>,
        truth: f64,
        draw: fn(&mut rand_chacha::ChaCha8Rng) -> f64,
    ) -> f64 {
        let mut random = rng::stream(11, "coverage");
        let mut held = 0;
        for _ in 0..SAMPLES {
            let values: Vec<f64> = (0..20).map(|_| draw(&mut random)).collect();
            let Interval { lo, hi } = interval(&values).unwrap();
            held += u32::from(lo <= truth && truth <= hi);
        }
        f64::from(held) / f64::from(SAMPLES)
    }

    /// What docs/statistics.md says of 20 seeds.
    #[test]
    fn intervals_of_twenty_values_hold_the_mean_nearly_as_often_as_they_say() {
        let margin = 3.0 * (0.1 * 0.9 / f64::from(SAMPLES)).sqrt();
        for (name, interval) in
            [("percentile", bootstrap_mean_95 as fn(&[f64]) -> _), ("BCa", bca_mean_95)]
        {
            let normal = coverage(interval, 0.0, |random| StandardNormal.sample(random));
            let skewed = coverage(interval, 1.0, |random| Exp1.sample(random));
            eprintln!("coverage of 95 %, {name}: normal {normal}, exponential {skewed}");
            assert!((0.92 - margin..0.97 + margin).contains(&normal), "{normal}");
            assert!((0.89 - margin..0.97 + margin).contains(&skewed), "{skewed}");
        }
    }
}
