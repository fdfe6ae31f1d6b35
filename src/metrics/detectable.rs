//! The smallest change that a comparison is likely to find.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::hypothesis::TEstimate;

/// How sure a comparison is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sureness {
    /// The chance of a false alarm, in (0, ½).
    pub significance: f64,
    /// The chance to find a change that is there, in (½, 1).
    pub power: f64,
}

impl Sureness {
    /// The same with the chance of a false alarm shared out over `tests` tests (Bonferroni): what
    /// a change in one point alone has to overcome under Holm's correction.
    #[must_use]
    pub fn over(self, tests: usize) -> Self {
        Self { significance: self.significance / tests.max(1) as f64, ..self }
    }
}

/// The smallest change of a mean that a one-sided t test finds with the given power, beyond the
/// bound that it tests against: (t₁₋α + t₁₋β)·s/√n at a power of 1 − β, with the
/// degrees of freedom of `estimate`.
///
/// # Panics
/// If these are not positive.
#[must_use]
pub fn detectable_mean(estimate: &TEstimate, sureness: Sureness) -> f64 {
    let t = StudentsT::new(0.0, 1.0, estimate.freedom).expect("degrees of freedom are positive");
    let quantiles = t.inverse_cdf(1.0 - sureness.significance) + t.inverse_cdf(sureness.power);
    estimate.standard_error * quantiles
}

/// The smallest change of a share that two runs of as many independent `requests` each could show
/// if they had no requests in common: (z₁₋α + z₁₋β)·√(2p(1 − p)/n) at a power of 1 − β.
#[must_use]
pub fn detectable_share(share: f64, requests: usize, sureness: Sureness) -> f64 {
    let normal = Normal::standard();
    let quantiles =
        normal.inverse_cdf(1.0 - sureness.significance) + normal.inverse_cdf(sureness.power);
    quantiles * (2.0 * share * (1.0 - share) / requests as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal};

    use super::*;
    use crate::rng;

    const USUAL: Sureness = Sureness { significance: 0.05, power: 0.8 };

    /// 1.644854 + 0.841621 = 2.486475 standard errors; √(2·¼/12000) is 0.645497 points.
    #[test]
    fn a_share_of_a_half_over_twelve_thousand_requests_by_hand() {
        let found = detectable_share(0.5, 12_000, USUAL);
        assert!((found - 2.486_475 * 0.006_454_97).abs() < 1e-7, "{found}");
    }

    /// t₀.₉₅(19) = 1.729133 and t₀.₈(19) = 0.860951, of any table.
    #[test]
    fn a_mean_over_twenty_seeds_by_hand() {
        let estimate = TEstimate { mean: 0.0, standard_error: 0.01, freedom: 19.0 };
        let found = detectable_mean(&estimate, USUAL);
        assert!((found - 0.01 * (1.729_133 + 0.860_951)).abs() < 1e-8, "{found}");
        assert!((USUAL.over(10).significance - 0.005).abs() < 1e-15);
        assert!(detectable_mean(&estimate, USUAL.over(10)) > found);
    }

    /// Twenty differences with a known spread and a true fall of just the detectable size: the
    /// test finds it about four times in five. A share of 2000 trials has a standard error of 0.9
    /// points; the formula, which leaves out that t is not central under a fall, errs by some more.
    #[test]
    fn a_fall_of_the_detectable_size_is_found_as_often_as_promised() {
        for sureness in [USUAL, USUAL.over(20)] {
            let known = TEstimate { mean: 0.0, standard_error: 1.0 / 20_f64.sqrt(), freedom: 19.0 };
            let fall = Normal::new(-detectable_mean(&known, sureness), 1.0).unwrap();
            let mut random = rng::stream(3, "power");
            let mut found = 0;
            for _ in 0..2000 {
                let seen: Vec<f64> = (0..20).map(|_| fall.sample(&mut random)).collect();
                let p = TEstimate::paired(&seen).unwrap().p_below(0.0);
                found += u32::from(p < sureness.significance);
            }
            let power = f64::from(found) / 2000.0;
            eprintln!("power at the detectable fall: {power}");
            assert!((0.77..0.85).contains(&power), "{power} at {sureness:?}");
        }
    }
}
