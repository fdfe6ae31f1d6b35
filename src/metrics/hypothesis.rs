//! Tests of hypotheses: t tests of means, McNemar's exact test of pairs, Holm's correction.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use super::statistics::{Interval, deviation, mean};

/// Standard errors and distances below this are rounding, not measurements: shares lie in [0, 1]
/// and logarithms of times within ±50.
const ROUNDING: f64 = 1e-12;

/// A mean, or a difference of two, with what a t test needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TEstimate {
    /// The mean, or the difference of the means.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Degrees of freedom, at least 1.
    pub freedom: f64,
}

impl TEstimate {
    /// The mean of paired `differences`; `None` below two.
    #[must_use]
    pub fn paired(differences: &[f64]) -> Option<Self> {
        let count = differences.len() as f64;
        Some(Self {
            mean: mean(differences)?,
            standard_error: deviation(differences)? / count.sqrt(),
            freedom: count - 1.0,
        })
    }

    /// The mean of `values` less that of `against`, two independent samples of possibly unequal
    /// variances (Welch, 1947); `None` if one has below two values.
    #[must_use]
    pub fn welch(values: &[f64], against: &[f64]) -> Option<Self> {
        let squared_error = |sample: &[f64]| Some(deviation(sample)?.powi(2) / sample.len() as f64);
        let (ours, theirs) = (squared_error(values)?, squared_error(against)?);
        let part = |error: f64, sample: &[f64]| error.powi(2) / (sample.len() - 1) as f64;
        let both = ours + theirs;
        let freedom = both.powi(2) / (part(ours, values) + part(theirs, against));
        Some(Self {
            mean: mean(values)? - mean(against)?,
            standard_error: both.sqrt(),
            // Two samples without spread: any number serves, as t is then 0 or infinite.
            freedom: if both > 0.0 { freedom } else { 1.0 },
        })
    }

    /// The chance of a mean this low or lower if the true one were `bound`: a small value says
    /// that the true mean lies below. Without spread it is 0 below the bound and 1 elsewhere; what
    /// rounding leaves of one is none.
    #[must_use]
    pub fn p_below(&self, bound: f64) -> f64 {
        if self.standard_error > ROUNDING {
            self.distribution().cdf((self.mean - bound) / self.standard_error)
        } else {
            f64::from(self.mean > bound - ROUNDING)
        }
    }

    /// The chance of a mean this high or higher if the true one were `bound`.
    #[must_use]
    pub fn p_above(&self, bound: f64) -> f64 {
        Self { mean: -self.mean, ..*self }.p_below(-bound)
    }

    /// The 95 % t interval.
    #[must_use]
    pub fn interval_95(&self) -> Interval {
        let half = self.standard_error * self.distribution().inverse_cdf(0.975);
        Interval { lo: self.mean - half, hi: self.mean + half }
    }

    fn distribution(&self) -> StudentsT {
        StudentsT::new(0.0, 1.0, self.freedom).expect("degrees of freedom are positive")
    }
}

/// How paired answers to the same requests disagree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discordance {
    /// Requests with two answers.
    pub requests: u64,
    /// Of these, those that the first answers better.
    pub only_first: u64,
    /// Those that the second answers better.
    pub only_second: u64,
    /// Whether a grade is neither 0 nor 1: the test is one of right and wrong answers.
    pub graded: bool,
}

impl Discordance {
    /// Counts the grades of `first` against those of `second`, lists over the same requests in the
    /// same order.
    #[must_use]
    pub fn between(first: &[Option<f64>], second: &[Option<f64>]) -> Self {
        let mut counts = Self::default();
        for pair in first.iter().zip(second) {
            let (Some(first), Some(second)) = pair else { continue };
            counts.requests += 1;
            counts.only_first += u64::from(first > second);
            counts.only_second += u64::from(second > first);
            counts.graded |= [first, second].iter().any(|grade| ![0.0, 1.0].contains(*grade));
        }
        counts
    }

    /// Both counts together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            only_first: self.only_first + other.only_first,
            only_second: self.only_second + other.only_second,
            graded: self.graded || other.graded,
        }
    }

    /// The two-sided p-value of McNemar's exact test: were both equally likely to be alone in the
    /// right, the chance of a split of the discordant requests at least as uneven as this one.
    /// `None` without requests, and of grades between right and wrong.
    #[must_use]
    pub fn mcnemar_p(&self) -> Option<f64> {
        if self.requests == 0 || self.graded {
            return None;
        }
        let discordant = self.only_first + self.only_second;
        let fair = Binomial::new(0.5, discordant).ok()?;
        Some((2.0 * fair.cdf(self.only_first.min(self.only_second))).min(1.0))
    }
}

/// p-values adjusted for being looked at together, in the given order (Holm, 1979).
///
/// Rejecting every hypothesis whose adjusted value is below α rejects a true one, if there is any,
/// with a chance of at most α, whatever the dependence between the tests. Adjusted values are
/// max over j ≤ i of (m − j + 1)·p₍ⱼ₎, at most 1, p₍ⱼ₎ being the j-th smallest of m.
#[must_use]
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut adjusted = vec![0.0; values.len()];
    let mut largest = 0.0_f64;
    for (smaller, place) in order.into_iter().enumerate() {
        largest = largest.max((values.len() - smaller) as f64 * values[place]).min(1.0);
        adjusted[place] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours of sleep gained with two drugs by ten patients (Student, 1908), R's data set `sleep`.
    const FIRST: [f64; 10] = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
    const SECOND: [f64; 10] = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-4 * expected.abs(), "{found} against {expected}");
    }

    /// R's `t.test(extra ~ group, paired = TRUE)`: t = −4.0621, 9 degrees of freedom, two-sided
    /// p = 0.002833, interval (−2.4598858, −0.7001142).
    #[test]
    fn students_sleep_data_have_the_published_paired_t_test() {
        let differences: Vec<f64> = FIRST.iter().zip(SECOND).map(|(a, b)| a - b).collect();
        let estimate = TEstimate::paired(&differences).unwrap();
        assert_near(estimate.mean / estimate.standard_error, -4.0621);
        assert_near(2.0 * estimate.p_below(0.0), 0.002_833);
        assert_near(1.0 - estimate.p_above(0.0), 0.002_833 / 2.0);
        assert_near(estimate.interval_95().lo, -2.459_885_8);
        assert_near(estimate.interval_95().hi, -0.700_114_2);
    }

    /// R's `t.test(extra ~ group)`: t = −1.8608, 17.776 degrees of freedom, two-sided p = 0.07939,
    /// interval (−3.3654832, 0.2054832).
    #[test]
    fn students_sleep_data_have_the_published_welch_test() {
        let estimate = TEstimate::welch(&FIRST, &SECOND).unwrap();
        assert_near(estimate.mean / estimate.standard_error, -1.8608);
        assert_near(estimate.freedom, 17.776);
        assert_near(2.0 * estimate.p_below(0.0), 0.07939);
        assert_near(estimate.interval_95().lo, -3.365_483_2);
        assert_near(estimate.interval_95().hi, 0.205_483_2);
    }

    #[test]
    fn without_spread_the_mean_decides_alone() {
        let fall = TEstimate::paired(&[-0.02; 20]).unwrap();
        assert_eq!((fall.p_below(-0.01), fall.p_below(-0.02), fall.p_above(0.0)), (0.0, 1.0, 1.0));
        let rounded: Vec<f64> = [0.05, 0.3, 0.9].map(|share| (share - 0.005) - share).to_vec();
        let rounded = TEstimate::paired(&rounded).unwrap();
        assert!(rounded.standard_error > 0.0);
        assert_eq!((rounded.p_below(-0.005), rounded.p_below(-0.004)), (1.0, 0.0));
        let welch = TEstimate::welch(&[0.5; 3], &[0.5; 4]).unwrap();
        assert_eq!((welch.mean, welch.p_below(0.0)), (0.0, 1.0));
        assert_eq!(TEstimate::paired(&[0.1]), None);
    }

    fn p(only_first: u64, only_second: u64) -> f64 {
        let requests = only_first + only_second + 1;
        Discordance { requests, only_first, only_second, graded: false }.mcnemar_p().unwrap()
    }

    /// Approval of a president's performance in two surveys, 150 and 86 of 1600 having changed
    /// their minds (Agresti, *Categorical Data Analysis*, 1990, p. 350): `mcnemar.exact` of R's
    /// package exact2x2 gives p = 3.716e−05.
    #[test]
    fn approval_ratings_have_the_published_exact_p_value() {
        assert_near(p(86, 150), 3.716e-5);
        assert_near(p(150, 86), 3.716e-5);
    }

    /// Six of six on one side: 2·½⁶. One of ten on the other: 2·(1 + 10)·½¹⁰. An even split: 1.
    #[test]
    fn small_tables_have_their_binomial_p_values() {
        assert_near(p(0, 6), 1.0 / 32.0);
        assert_near(p(9, 1), 22.0 / 1024.0);
        assert!(p(5, 5) >= 1.0 && p(0, 0) >= 1.0);
        assert_eq!(Discordance::default().mcnemar_p(), None);
    }

    #[test]
    fn only_requests_with_two_answers_are_counted() {
        let first = [Some(1.0), Some(1.0), Some(0.0), None, Some(1.0)];
        let second = [Some(1.0), Some(0.0), Some(1.0), Some(1.0), None];
        let counts = Discordance::between(&first, &second);
        let expected = Discordance { requests: 3, only_first: 1, only_second: 1, graded: false };
        assert_eq!(counts, expected);
        assert_eq!(counts.and(counts).requests, 6);
    }

    #[test]
    fn grades_between_right_and_wrong_have_no_mcnemar_test() {
        let counts = Discordance::between(&[Some(0.5), Some(1.0)], &[Some(0.25), Some(1.0)]);
        assert_eq!((counts.only_first, counts.mcnemar_p()), (1, None));
        let right_or_wrong = Discordance::between(&[Some(1.0)], &[Some(1.0)]);
        assert_eq!(right_or_wrong.and(counts).mcnemar_p(), None);
    }

    /// The example of pingouin's documentation of `holm`.
    #[test]
    fn five_p_values_have_the_published_adjustment() {
        let adjusted = holm(&[0.50, 0.003, 0.32, 0.054, 0.0003]);
        for (found, expected) in adjusted.into_iter().zip([0.64, 0.012, 0.64, 0.162, 0.0015]) {
            assert_near(found, expected);
        }
        assert!(holm(&[]).is_empty());
    }
}
