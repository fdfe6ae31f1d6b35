//! When requests arrive: memoryless, more or less regular, by the hour of the day, or in bursts.
//!
//! Every process has the same mean rate, so traces that differ in it alone carry the same load.
//! The closed forms that the tests hold it to stand with each kind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Gamma, Weibull};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma;

use crate::error::{Error, Result};
use crate::units::SimTime;

const DAY_HOURS: f64 = 24.0;

/// The latest arrival: sums of instants fit.
const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

/// Gaps between arrivals, in hours, one after the other.
type Gaps = Box<dyn FnMut(&mut ChaCha8Rng) -> f64>;

/// How arrivals are spread at a mean rate λ. On the command line: `gamma:cv=2`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrivals {
    /// Exponential gaps: mean 1/λ, coefficient of variation 1.
    Poisson {},
    /// Gamma gaps: mean 1/λ, coefficient of variation `cv`; below 1 more regular than Poisson,
    /// above 1 burstier.
    Gamma {
        /// Standard deviation of the gaps over their mean.
        cv: f64,
    },
    /// Weibull gaps of shape k: mean 1/λ, coefficient of variation
    /// √(Γ(1 + 2/k) / Γ(1 + 1/k)² − 1); below k = 1 heavy-tailed.
    Weibull {
        /// The shape k.
        shape: f64,
    },
    /// A Poisson process of rate λ (1 + `amplitude` · cos(2π (t − `peak_hour`) / 24 h)), t from
    /// midnight, when the trace starts. The half of the day around the peak gets a share
    /// 1/2 + `amplitude`/π.
    Diurnal {
        /// Largest departure from the mean rate, as a share of it.
        amplitude: f64,
        /// Hour of the largest rate.
        peak_hour: f64,
    },
    /// Cohorts of `size` requests: the first requests of cohorts are a Poisson process of rate
    /// λ/`size`, the others follow at exponential gaps. Over windows much longer than a burst the
    /// variance of counts is `size` times their mean.
    Bursts {
        /// Requests per cohort.
        size: u32,
        /// Mean gap between the requests of a cohort.
        within_s: f64,
    },
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::Poisson {}
    }
}

impl Arrivals {
    /// Refuses parameters that are out of range.
    ///
    /// # Errors
    /// If one is; the error names it.
    pub fn check(self) -> Result<()> {
        let within = |key: &str, found: f64, range: std::ops::RangeInclusive<f64>| {
            if range.contains(&found) {
                return Ok(());
            }
            let allowed = format!("{} to {}", range.start(), range.end());
            Err(Error::new("arrivals", "out of range").at(key).found(found).allowed(allowed))
        };
        match self {
            Self::Poisson {} => Ok(()),
            Self::Gamma { cv } => within("cv", cv, 0.01..=10.0),
            Self::Weibull { shape } => within("shape", shape, 0.2..=100.0),
            Self::Diurnal { amplitude, peak_hour } => {
                within("amplitude", amplitude, 0.0..=1.0)?;
                within("peak_hour", peak_hour, 0.0..=DAY_HOURS)
            }
            Self::Bursts { size, within_s } => {
                within("size", f64::from(size), 1.0..=10_000.0)?;
                within("within_s", within_s, 0.0..=86_400.0)
            }
        }
    }

    /// The instants of `count` arrivals at a mean rate of `per_hour`, to the nearest nanosecond.
    ///
    /// The first comes after a gap too.
    ///
    /// # Errors
    /// If a parameter is out of range, or the last arrival is later than a hundred years.
    pub fn draw(self, per_hour: f64, count: u32, rng: &mut ChaCha8Rng) -> Result<Vec<SimTime>> {
        let mut clock = self.clock(per_hour)?;
        (0..count).map(|_| clock.next(rng)).collect()
    }

    /// The same, one arrival after the other.
    ///
    /// # Errors
    /// If a parameter is out of range.
    pub(super) fn clock(self, per_hour: f64) -> Result<Clock> {
        self.check()?;
        let gap_hours = self.gaps(per_hour).ok_or_else(|| too_slow(per_hour))?;
        Ok(Clock { per_hour, gap_hours, since_start: Duration::ZERO })
    }

    /// `None` if `per_hour` is no rate.
    fn gaps(self, per_hour: f64) -> Option<Gaps> {
        let mean_hours = per_hour.recip();
        Some(match self {
            Self::Poisson {} => {
                let gap = Exp::new(per_hour).ok()?;
                Box::new(move |rng| gap.sample(rng))
            }
            Self::Gamma { cv } => {
                let gap = Gamma::new(cv.powi(-2), cv.powi(2) * mean_hours).ok()?;
                Box::new(move |rng| gap.sample(rng))
            }
            Self::Weibull { shape } => {
                let gap = Weibull::new(mean_hours / gamma(1.0 + shape.recip()), shape).ok()?;
                Box::new(move |rng| gap.sample(rng))
            }
            Self::Diurnal { amplitude, peak_hour } => diurnal(per_hour, amplitude, peak_hour)?,
            Self::Bursts { size, within_s } => bursts(per_hour, size, within_s)?,
        })
    }
}

/// Arrivals as they come.
pub(super) struct Clock {
    per_hour: f64,
    gap_hours: Gaps,
    since_start: Duration,
}

impl Clock {
    /// The next arrival.
    ///
    /// # Errors
    /// If it is later than a hundred years.
    pub fn next(&mut self, rng: &mut ChaCha8Rng) -> Result<SimTime> {
        let gap = Duration::try_from_secs_f64((self.gap_hours)(rng) * 3600.0).ok();
        let arrival = gap.and_then(|gap| self.since_start.checked_add(gap));
        let arrival = arrival.filter(|&arrival| arrival <= CENTURY);
        self.since_start = arrival.ok_or_else(|| too_slow(self.per_hour))?;
        Ok(SimTime::ZERO + self.since_start)
    }
}

fn too_slow(per_hour: f64) -> Error {
    Error::new("trace synth", "arrivals reach beyond a hundred years")
        .at("arrivals_per_hour")
        .found(per_hour)
}

/// Thinning (Lewis and Shedler 1979): candidates at the largest rate, each kept with the ratio of
/// the rate at its instant to the largest.
fn diurnal(per_hour: f64, amplitude: f64, peak_hour: f64) -> Option<Gaps> {
    let candidate = Exp::new(per_hour * (1.0 + amplitude)).ok()?;
    let mut hours = 0.0;
    Some(Box::new(move |rng| {
        let last = hours;
        loop {
            hours += candidate.sample(rng);
            let rate = 1.0 + amplitude * (TAU * (hours - peak_hour) / DAY_HOURS).cos();
            if rng.random::<f64>() * (1.0 + amplitude) < rate {
                return hours - last;
            }
        }
    }))
}

/// Cohorts overlap, so the calls of those that have begun wait in a heap, in ns.
fn bursts(per_hour: f64, size: u32, within_s: f64) -> Option<Gaps> {
    const HOUR_NS: f64 = 3.6e12;
    let cohort_gap = Exp::new(per_hour / f64::from(size)).ok()?;
    let call_gap_hours = within_s / 3600.0;
    let (mut pending, mut next_start, mut last) = (BinaryHeap::new(), None, 0.0);
    Some(Box::new(move |rng| {
        let mut start: f64 = next_start.unwrap_or_else(|| cohort_gap.sample(rng));
        let begun = |start: f64, pending: &BinaryHeap<Reverse<u64>>| {
            pending.peek().is_none_or(|&Reverse(first)| (start * HOUR_NS) as u64 <= first)
        };
        while begun(start, &pending) {
            let mut call = start;
            for nth in 0..size {
                if nth > 0 {
                    let exponential: f64 = rand_distr::Exp1.sample(rng);
                    call += exponential * call_gap_hours;
                }
                pending.push(Reverse((call * HOUR_NS) as u64));
            }
            start += cohort_gap.sample(rng);
        }
        next_start = Some(start);
        let Reverse(first) = pending.pop().expect("a cohort has just begun");
        let hours = first as f64 / HOUR_NS;
        let gap = hours - last;
        last = hours;
        gap
    }))
}

/// `kind` or `kind:key=value,key=value`, with the names that files use.
impl FromStr for Arrivals {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |cause: String| {
            Error::new("arrivals", cause).found(text).allowed(
                "poisson, gamma:cv=2, weibull:shape=0.7, diurnal:amplitude=0.8,peak_hour=14, \
                 bursts:size=5,within_s=2",
            )
        };
        let (kind, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut object = serde_json::Map::from_iter([("kind".to_owned(), kind.into())]);
        for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
            let pair = parameter.split_once('=');
            let (key, value) = pair.ok_or_else(|| wrong(format!("no value for {parameter}")))?;
            let number = serde_json::from_str::<serde_json::Number>(value)
                .map_err(|_| wrong(format!("{key} is not a number")))?;
            if object.insert(key.to_owned(), number.into()).is_some() {
                return Err(wrong(format!("{key} appears twice")));
            }
        }
        let arrivals: Self =
            serde_json::from_value(object.into()).map_err(|error| wrong(error.to_string()))?;
        arrivals.check()?;
        Ok(arrivals)
    }
}

/// As a trace's header says it.
impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisson {} => write!(f, "Poisson"),
            Self::Gamma { cv } => write!(f, "Gamma gaps, coefficient of variation {cv}"),
            Self::Weibull { shape } => write!(f, "Weibull gaps, shape {shape}"),
            Self::Diurnal { amplitude, peak_hour } => {
                write!(f, "diurnal, amplitude {amplitude}, peak at hour {peak_hour}")
            }
            Self::Bursts { size, within_s } => {
                write!(f, "bursts of {size}, mean gap within one {within_s} s")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    const N: u32 = 20_000;

    fn hours(arrivals: &str, per_hour: f64, count: u32) -> Vec<f64> {
        let arrivals: Arrivals = arrivals.parse().unwrap();
        let drawn = arrivals.draw(per_hour, count, &mut stream(0, "test/arrivals")).unwrap();
        assert!(drawn.is_sorted());
        drawn.iter().map(|instant| instant.as_nanos() as f64 / 3.6e12).collect()
    }

    /// Mean and coefficient of variation of the gaps.
    fn moments(hours: &[f64]) -> (f64, f64) {
        let n = hours.len() as f64;
        let mean = hours[hours.len() - 1] / n;
        let starts = std::iter::once(&0.0).chain(hours);
        let squares: f64 = hours.iter().zip(starts).map(|(b, a)| (b - a - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0)).sqrt() / mean)
    }

    /// The standard error of a coefficient of variation c of n draws is, by the delta method,
    /// c √(((κ − 1)/4 + c² − γ c) / n) with skewness γ and kurtosis κ.
    fn assert_gaps(arrivals: &str, cv: f64, skewness: f64, kurtosis: f64) {
        let (mean, measured) = moments(&hours(arrivals, 4.0, N));
        let n = f64::from(N);
        let mean_se = 0.25 * cv / n.sqrt();
        assert!((mean - 0.25).abs() < 3.0 * mean_se, "{arrivals}: mean {mean} h");
        let spread = (kurtosis - 1.0) / 4.0 + cv * cv - skewness * cv;
        let cv_se = cv * (spread / n).sqrt();
        assert!((measured - cv).abs() < 3.0 * cv_se, "{arrivals}: cv {measured}, not {cv}");
    }

    /// Of a Gamma: γ = 2c, κ = 3 + 6c². An exponential is the case c = 1.
    #[test]
    fn poisson_and_gamma_gaps_have_the_mean_and_variation_asked_for() {
        assert_gaps("poisson", 1.0, 2.0, 9.0);
        for cv in [0.25, 1.0, 2.0] {
            assert_gaps(&format!("gamma:cv={cv}"), cv, 2.0 * cv, 3.0 + 6.0 * cv * cv);
        }
    }

    /// Raw moments of a Weibull of scale 1 are `m_r` = Γ(1 + r/k).
    #[test]
    fn weibull_gaps_have_the_mean_and_variation_of_their_shape() {
        for shape in [0.7, 1.0, 2.5] {
            let [m1, m2, m3, m4] = [1.0, 2.0, 3.0, 4.0].map(|r| gamma(1.0 + r / shape));
            let sd = (m2 - m1 * m1).sqrt();
            let skewness = (m3 - 3.0 * m1 * m2 + 2.0 * m1.powi(3)) / sd.powi(3);
            let fourth = m4 - 4.0 * m1 * m3 + 6.0 * m1 * m1 * m2 - 3.0 * m1.powi(4);
            assert_gaps(&format!("weibull:shape={shape}"), sd / m1, skewness, fourth / sd.powi(4));
        }
        // Shape 1 is the exponential: variation 1.
        let (m1, m2) = (gamma(2.0), gamma(3.0));
        assert!(((m2 - m1 * m1).sqrt() / m1 - 1.0).abs() < 1e-12);
    }

    /// Over 8 whole days at 100 an hour: 19200 arrivals, of which a share 1/2 + 0.8/π = 0.7546
    /// from 8 to 20 h.
    #[test]
    fn a_diurnal_day_has_its_mean_rate_and_its_peak() {
        let drawn = hours("diurnal:amplitude=0.8,peak_hour=14", 100.0, N);
        let whole: Vec<_> = drawn.into_iter().take_while(|hour| *hour < 192.0).collect();
        let n = whole.len() as f64;
        assert!((n - 19_200.0).abs() < 3.0 * 19_200_f64.sqrt(), "{n} in 8 days");
        let peak = whole.iter().filter(|hour| (8.0..20.0).contains(&(*hour % 24.0))).count() as f64;
        let share = 0.5 + 0.8 / std::f64::consts::PI;
        let se = (share * (1.0 - share) / n).sqrt();
        assert!((peak / n - share).abs() < 3.0 * se, "share {}", peak / n);
    }

    /// At 60 an hour in cohorts of 5, hourly counts have mean 60 and variance 300; the variance of
    /// 300 windows has a relative standard error of √(2/299).
    #[test]
    fn bursts_keep_the_mean_rate_and_multiply_the_variance_of_counts_by_their_size() {
        let mut counts = [0.0; 300];
        for hour in hours("bursts:size=5,within_s=1", 60.0, N) {
            if let Some(count) = counts.get_mut(hour as usize) {
                *count += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / 300.0;
        assert!((mean - 60.0).abs() < 3.0 * (300.0_f64 / 300.0).sqrt(), "mean {mean}");
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 299.0;
        assert!((variance / 300.0 - 1.0).abs() < 3.0 * (2.0_f64 / 299.0).sqrt(), "{variance}");
    }

    #[test]
    fn the_first_draws_of_every_kind_are_golden() {
        let kinds = [
            "poisson",
            "gamma:cv=2",
            "weibull:shape=0.7",
            "diurnal:amplitude=0.8,peak_hour=14",
            "bursts:size=3,within_s=2",
        ];
        let first = kinds.map(|kind| {
            let arrivals: Arrivals = kind.parse().unwrap();
            let drawn = arrivals.draw(5.0, 4, &mut stream(0, "test/golden")).unwrap();
            (kind, drawn.iter().map(|instant| instant.as_nanos()).collect::<Vec<_>>())
        });
        insta::assert_debug_snapshot!(first);
    }

    #[test]
    fn what_is_no_arrival_process_is_refused() {
        let message = |text: &str| text.parse::<Arrivals>().unwrap_err().to_string();
        assert!(message("gamma").contains("missing field `cv`; found gamma; allowed: poisson, "));
        assert!(message("gamma:cv").contains("no value for cv"));
        assert!(message("gamma:cv=x").contains("cv is not a number"));
        assert!(message("gamma:cv=1,cv=2").contains("cv appears twice"));
        assert!(message("poisson:cv=1").contains("unknown field `cv`"));
        assert!(message("daily").contains("unknown variant `daily`"));
        assert_eq!(
            message("gamma:cv=0"),
            "arrivals, cv: out of range; found 0; allowed: 0.01 to 10"
        );
        assert!(message("bursts:size=0,within_s=1").contains("size: out of range"));
    }
}
