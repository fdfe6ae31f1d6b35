//! How much the times of one plan on one prompt vary: `[noise]` of `device.toml`.
//!
//! A time is the curve's, times a drift, times a factor of the request's own. Drift is slow and the
//! same for both phases: other processes, frequency. Both are drawn from what a profile's own
//! repetitions were off by, whose quantiles are stored; no distribution is believed by its name.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::curve::{DecodeCurve, PrefillCurve};
use super::fit::{fit_decode, fit_prefill, median};
use super::latency_log::{LatencySample, Phase};
use super::provenance::Provenance;
use crate::error::{Error, Result};
use crate::rng::stream;
use crate::units::{Level, SimTime};

/// What shares of the factors the stored ones are not below.
pub const PROBABILITIES: [f64; 11] = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Fewest repetitions of a length that say how much it varies.
const REPETITIONS_MIN: usize = 3;

/// How long one drift lasts where nobody says: of the order of a visit of the profiler's.
const DRIFT_SECONDS: f64 = 60.0;

/// How many factors stand for a distribution where one is worked out.
const STANDING: usize = 200;

/// A distribution of factors on a time: its quantiles at `PROBABILITIES`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factors([f64; PROBABILITIES.len()]);

/// Noise of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// How long a drift lasts before another is drawn.
    pub drift_seconds: f64,
    /// Of both phases at once.
    pub drift: Factors,
    /// Of a request's time to first token, beside the drift.
    pub prefill: Factors,
    /// Of its time per output token, beside the drift.
    pub decode: Factors,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// The factors on the times of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// On all before the first token.
    pub prefill: f64,
    /// On all after it.
    pub decode: f64,
}

impl Factors {
    /// The quantiles of `factors`, of which there is one or more.
    fn of(mut factors: Vec<f64>) -> Self {
        factors.sort_by(f64::total_cmp);
        Self(PROBABILITIES.map(|share| {
            let place = share * (factors.len() - 1) as f64;
            between(factors[place.floor() as usize], factors[place.ceil() as usize], place.fract())
        }))
    }

    /// The factor that a share `share` of all is not above.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let above = PROBABILITIES.iter().position(|&at| share <= at);
        let above = above.unwrap_or(PROBABILITIES.len() - 1).max(1);
        let (low, high) = (PROBABILITIES[above - 1], PROBABILITIES[above]);
        between(self.0[above - 1], self.0[above], (share - low) / (high - low))
    }

    /// The share of factors that are not above `factor`.
    fn share_within(&self, factor: f64) -> f64 {
        match self.0.iter().position(|&at| at > factor) {
            None => 1.0,
            Some(0) => 0.0,
            Some(above) => {
                let (low, high) = (self.0[above - 1], self.0[above]);
                let way = (factor - low) / (high - low);
                between(PROBABILITIES[above - 1], PROBABILITIES[above], way)
            }
        }
    }

    /// Factors that stand for all, each for as many.
    fn evenly(&self) -> impl Iterator<Item = f64> + use<'_> {
        (0..STANDING).map(|nth| self.quantile((nth as f64 + 0.5) / STANDING as f64))
    }

    fn draw(&self, draws: &mut ChaCha8Rng) -> f64 {
        self.quantile(draws.random())
    }

    fn check(&self, path: &Path, key: &str) -> Result<()> {
        let rises = self.0.windows(2).all(|pair| pair[0] <= pair[1]);
        if rises && self.0[0] > 0.0 && self.0.iter().all(|factor| *factor < 1000.0) {
            return Ok(());
        }
        Err(Error::file(path, "no factors on a time")
            .at(format!("noise, key {key:?}"))
            .found(format!("{:?}", self.0))
            .allowed("rising numbers above 0 and below 1000"))
    }
}

fn between(low: f64, high: f64, way: f64) -> f64 {
    low + (high - low) * way
}

/// What a profile of samples foretells, fitted when it is first asked for.
struct Curves<'a> {
    samples: &'a [LatencySample],
    fitted: BTreeMap<(&'a str, Level), Fitted>,
}

/// The curves of one level, as far as they can be fitted.
type Fitted = (Option<PrefillCurve>, Option<DecodeCurve>);

impl<'a> Curves<'a> {
    /// The time of `sample`'s phase, level and length, in ms; none without enough lengths to fit.
    fn at(&mut self, sample: &'a LatencySample) -> Option<f64> {
        let LatencySample { family, level, phase, tokens, .. } = sample;
        let (read, write) = self.fitted.entry((family, *level)).or_insert_with(|| {
            let read = fit_prefill(self.samples, family, *level).ok();
            (read, fit_decode(self.samples, family, *level).ok())
        });
        match phase {
            Phase::Prefill => read.map(|curve| curve.millis(*tokens)),
            Phase::Decode => write.map(|curve| curve.millis(*tokens)),
            Phase::Switch => None,
        }
    }
}

impl Noise {
    /// What times of `samples` are off by from what a profile of them foretells.
    ///
    /// A time over the fitted curve's is a factor; with too few lengths for a curve, over the
    /// median of its length. The median factor of one repetition of one family is a drift: it was
    /// timed within minutes. What is left is the request's own, and how far curves miss is part of
    /// it.
    ///
    /// # Errors
    /// If no length has three repetitions of each phase.
    pub fn of(samples: &[LatencySample], provenance: Provenance) -> Result<Self> {
        let mut lengths = BTreeMap::<_, Vec<&LatencySample>>::new();
        for sample in samples.iter().filter(|sample| sample.phase != Phase::Switch) {
            let key = (&sample.family, sample.level, sample.phase, sample.tokens);
            lengths.entry(key).or_default().push(sample);
        }
        let mut curves = Curves { samples, fitted: BTreeMap::new() };
        let mut rounds = BTreeMap::<_, Vec<(Phase, f64)>>::new();
        for same in lengths.values().filter(|same| same.len() >= REPETITIONS_MIN) {
            let foretold = curves
                .at(same[0])
                .unwrap_or_else(|| median(same.iter().map(|sample| sample.ms).collect()));
            for sample in same {
                let round = (&sample.family, sample.repetition);
                rounds.entry(round).or_default().push((sample.phase, sample.ms / foretold));
            }
        }
        let (mut drifts, mut own) = (Vec::new(), BTreeMap::<Phase, Vec<f64>>::new());
        for factors in rounds.values() {
            let drift = median(factors.iter().map(|factor| factor.1).collect());
            drifts.push(drift);
            for (phase, factor) in factors {
                own.entry(*phase).or_default().push(factor / drift);
            }
        }
        let mut of_phase = |phase| {
            own.remove(&phase).map(Factors::of).ok_or_else(|| {
                Error::new("latency samples", "too few repetitions to say how much times vary")
                    .at(format!("{phase:?}"))
                    .allowed(format!("a length with {REPETITIONS_MIN} or more"))
            })
        };
        let (prefill, decode) = (of_phase(Phase::Prefill)?, of_phase(Phase::Decode)?);
        let drift = Factors::of(drifts);
        Ok(Self { drift_seconds: DRIFT_SECONDS, drift, prefill, decode, provenance })
    }

    /// The factors of request `id`, taken up at `now`, under `seed`.
    ///
    /// They depend on nothing else: methods that are compared meet the same luck, whatever they do.
    #[must_use]
    pub fn draw(&self, seed: u64, id: u64, now: SimTime) -> Drawn {
        let window = (now.as_millis_f64() / 1000.0 / self.drift_seconds) as u64;
        let drift = self.drift.draw(&mut stream(seed, &format!("noise/drift/{window}")));
        let mut draws = stream(seed, &format!("noise/request/{id}"));
        let (prefill, decode) = (self.prefill.draw(&mut draws), self.decode.draw(&mut draws));
        Drawn { prefill: drift * prefill, decode: drift * decode }
    }

    /// Factors that a share `share` of requests is below in both phases, taking their parts for
    /// independent: each phase's own quantile at the root of the share, times the drift's.
    #[must_use]
    pub fn covering(&self, share: f64) -> Drawn {
        // Three independent parts, each within its quantile: the drift and the two phases.
        let each = share.cbrt();
        let drift = self.drift.quantile(each);
        let of = |factors: &Factors| drift * factors.quantile(each);
        Drawn { prefill: of(&self.prefill), decode: of(&self.decode) }
    }

    /// The chance that times are within `room` times their forecast, before and after the first
    /// token; without the latter there is one token.
    #[must_use]
    pub fn chance(&self, room: (f64, Option<f64>)) -> f64 {
        let under = |drift: f64| {
            let after = room.1.map_or(1.0, |room| self.decode.share_within(room / drift));
            self.prefill.share_within(room.0 / drift) * after
        };
        self.drift.evenly().map(under).sum::<f64>() / STANDING as f64
    }

    /// Factors between which a share `share` of times lies, as many below as above: of the times
    /// before and after the first token.
    #[must_use]
    pub fn interval(&self, share: f64) -> [(f64, f64); 2] {
        [&self.prefill, &self.decode].map(|own| {
            let products =
                self.drift.evenly().flat_map(|drift| own.evenly().map(move |it| drift * it));
            let mut all: Vec<f64> = products.collect();
            all.sort_by(f64::total_cmp);
            let at = |share: f64| all[(share * (all.len() - 1) as f64).round() as usize];
            (at((1.0 - share) / 2.0), at(f64::midpoint(1.0, share)))
        })
    }

    /// Refuses factors that are none.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        if !(self.drift_seconds > 0.0 && self.drift_seconds.is_finite()) {
            return Err(Error::file(path, "not a length of time")
                .at("noise, key \"drift_seconds\"")
                .found(self.drift_seconds)
                .allowed("seconds above 0"));
        }
        self.drift.check(path, "drift")?;
        self.prefill.check(path, "prefill")?;
        self.decode.check(path, "decode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(phase: Phase, tokens: u32, repetition: u32, ms: f64) -> LatencySample {
        let (family, level) = ("width".to_owned(), Level::FULL);
        LatencySample { family, level, phase, tokens, repetition, ms }
    }

    fn published() -> Provenance {
        Provenance::Published { sources: vec!["a test".to_owned()], filled: Vec::new() }
    }

    #[test]
    fn a_repetition_that_is_slow_throughout_drifts_and_the_rest_is_the_requests_own() {
        // Medians 10 and 20 ms. The third repetition is 10 % slow at both lengths; the second takes
        // 12 ms for the first length alone. Its drift is the median of 1.2 and 1, 1.1.
        let samples = [
            sample(Phase::Prefill, 100, 0, 10.0),
            sample(Phase::Prefill, 100, 1, 9.0),
            sample(Phase::Prefill, 100, 2, 11.0),
            sample(Phase::Decode, 100, 0, 20.0),
            sample(Phase::Decode, 100, 1, 18.0),
            sample(Phase::Decode, 100, 2, 22.0),
        ];
        let noise = Noise::of(&samples, published()).unwrap();
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        assert!(close(noise.drift.quantile(0.0), 0.9) && close(noise.drift.quantile(1.0), 1.1));
        assert!(close(noise.drift.quantile(0.5), 1.0));
        for factors in [&noise.prefill, &noise.decode] {
            assert!(close(factors.quantile(0.0), 1.0) && close(factors.quantile(1.0), 1.0));
        }
    }

    /// Of four lengths three take 10 ms a 100 tokens; the fourth takes a tenth more, so that no curve
    /// passes through all. Each repetition is as slow throughout as it is.
    #[test]
    fn what_a_curve_misses_is_noise_too() {
        let times = [(100, 10.0), (200, 20.0), (400, 44.0), (800, 80.0)];
        let at = |repetition, factor: f64| {
            times.map(|(tokens, ms)| sample(Phase::Prefill, tokens, repetition, ms * factor))
        };
        let flat = |repetition, factor: f64| {
            times.map(|(tokens, _)| sample(Phase::Decode, tokens, repetition, 5.0 * factor))
        };
        let samples: Vec<_> = [(0, 0.9), (1, 1.0), (2, 1.1)]
            .into_iter()
            .flat_map(|(nth, factor)| at(nth, factor).into_iter().chain(flat(nth, factor)))
            .collect();
        let noise = Noise::of(&samples, published()).unwrap();
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert!(close(noise.drift.quantile(1.0) / noise.drift.quantile(0.5), 1.1), "{noise:?}");
        assert!(close(noise.decode.quantile(0.0), noise.decode.quantile(1.0)), "on its line");
        let (low, high) = (noise.prefill.quantile(0.0), noise.prefill.quantile(1.0));
        let fit = fit_prefill(&samples, "width", Level::FULL).unwrap().fit_error.unwrap();
        assert!(fit.max_relative > 0.01, "{fit:?}");
        assert!(low < 0.99 && high > 1.01, "{low} {high}");
    }

    #[test]
    fn quantiles_lie_on_straight_lines_between_those_that_are_stored() {
        let factors = Factors::of((0..=100).map(|nth| 1.0 + f64::from(nth) / 100.0).collect());
        for share in [0.0, 0.3, 0.5, 0.77, 0.95, 1.0] {
            assert!((factors.quantile(share) - 1.0 - share).abs() < 1e-12, "{share}");
        }
    }

    #[test]
    fn a_draw_depends_on_seed_request_and_window_alone() {
        let spread = Factors::of(vec![0.5, 1.0, 2.0]);
        let (drift_seconds, provenance) = (60.0, published());
        let noise =
            Noise { drift_seconds, drift: spread, prefill: spread, decode: spread, provenance };
        let at = |seconds: u64| SimTime::from_nanos(seconds * 1_000_000_000);
        assert_eq!(noise.draw(1, 7, at(3)), noise.draw(1, 7, at(59)));
        assert_ne!(noise.draw(1, 7, at(3)), noise.draw(1, 7, at(61)), "another drift");
        assert_ne!(noise.draw(1, 7, at(3)), noise.draw(1, 8, at(3)), "another request");
        assert_ne!(noise.draw(1, 7, at(3)), noise.draw(2, 7, at(3)), "another seed");
    }

    #[test]
    fn a_share_of_requests_is_within_the_factors_that_cover_it() {
        let spread = Factors::of((0..=100).map(|nth| 0.8 + f64::from(nth) / 200.0).collect());
        let (drift_seconds, provenance) = (60.0, published());
        let noise =
            Noise { drift_seconds, drift: spread, prefill: spread, decode: spread, provenance };
        let bound = noise.covering(0.9);
        let within = (0..4000)
            .filter(|&id| {
                let drawn = noise.draw(3, id, SimTime::from_nanos(id * 61_000_000_000));
                drawn.prefill <= bound.prefill && drawn.decode <= bound.decode
            })
            .count();
        assert!(within >= 3600, "at least the share that was asked for: {within} of 4000");
    }

    /// Drift is 1 half the time, 2 a fourth of it, and evenly between them for the rest; times before
    /// the first token vary evenly from 1 to 2 beside it, those after it not.
    ///
    /// Within twice the forecast are all of drift 1, and of drift d between 1 and 2 the share
    /// 2 / d − 1, which is 2 · ln 2 − 1 on average: ½ + ¼ · 0.386. Above 3.64 is one in twenty: of
    /// drift 2 the share 0.18, and a few of those a little below it.
    #[test]
    fn chances_and_intervals_are_those_of_the_product() {
        let even = Factors::of((0..=100).map(|nth| 1.0 + f64::from(nth) / 100.0).collect());
        let mut drift = [1.0; PROBABILITIES.len()];
        drift[6..].fill(2.0);
        let (drift, decode) = (Factors(drift), Factors::of(vec![1.0]));
        let (drift_seconds, provenance) = (60.0, published());
        let noise = Noise { drift_seconds, drift, prefill: even, decode, provenance };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found}");
        near(noise.chance((4.0, None)), 1.0);
        near(noise.chance((0.9, None)), 0.0);
        near(noise.chance((2.0, None)), 0.5966);
        near(noise.chance((2.0, Some(1.0))), 0.5);
        near(noise.chance((4.0, Some(1.0))), 0.5);
        let [(low, high), after] = noise.interval(0.9);
        near(low, 1.1);
        near(high, 3.64);
        assert_eq!(after, (1.0, 2.0));
    }

    #[test]
    fn repetitions_have_to_be_enough() {
        let samples = [sample(Phase::Prefill, 100, 0, 10.0), sample(Phase::Prefill, 100, 1, 9.0)];
        assert_eq!(
            Noise::of(&samples, published()).unwrap_err().to_string(),
            "latency samples, Prefill: too few repetitions to say how much times vary; allowed: a \
             length with 3 or more"
        );
    }
}
