//! How much longer the first answer after a pause takes: `[idle]` of `device.toml`.
//!
//! While nobody asks, clocks fall and pages leave memory. Times of the answer that ends a pause are
//! those of one that follows another at once, times a factor that was measured for some pauses;
//! between them it goes with the logarithm of the pause, beyond the longest it stays.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fit::median;
use super::latency_log::{LatencySample, Phase};
use super::noise::Drawn;
use super::provenance::Provenance;
use crate::error::{Error, Result};

/// First uses of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// Where it comes from.
    pub provenance: Provenance,
    /// By rising seconds.
    #[serde(rename = "pause")]
    pub pauses: Vec<Pause>,
}

/// A pause, and what the answer after it takes of what it would take without one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Its length.
    pub seconds: f64,
    /// Factor on the time before the first token.
    pub prefill: f64,
    /// Factor on the time per token after it, over as many tokens as were timed.
    pub decode: f64,
}

/// The family under which samples of a pause of so many seconds are written.
#[must_use]
pub fn family_of(seconds: u32) -> String {
    format!("after-{seconds}s")
}

fn seconds_of(family: &str) -> Option<u32> {
    family.strip_prefix("after-")?.strip_suffix('s')?.parse().ok()
}

impl Idle {
    /// What `samples` of [`family_of`] some pauses say: of each level the median after a pause over
    /// the one without any, then the median over levels.
    ///
    /// # Errors
    /// If a level lacks samples without a pause, or there are no others.
    pub fn of(samples: &[LatencySample], provenance: Provenance) -> Result<Self> {
        let mut times = BTreeMap::<_, BTreeMap<u32, Vec<f64>>>::new();
        for sample in samples {
            if let Some(seconds) = seconds_of(&sample.family) {
                let of = times.entry((sample.phase, sample.level)).or_default();
                of.entry(seconds).or_default().push(sample.ms);
            }
        }
        let mut factors = BTreeMap::<u32, BTreeMap<Phase, Vec<f64>>>::new();
        for ((phase, level), by_pause) in times {
            let mut medians = by_pause.into_iter().map(|(seconds, ms)| (seconds, median(ms)));
            let Some((0, at_once)) = medians.next() else {
                return Err(Error::new("samples of pauses", "none without a pause")
                    .at(format!("{phase:?} at level {level}"))
                    .allowed(format!("samples of {}", family_of(0))));
            };
            for (seconds, ms) in medians {
                factors.entry(seconds).or_default().entry(phase).or_default().push(ms / at_once);
            }
        }
        let pause = |(seconds, mut by_phase): (u32, BTreeMap<Phase, Vec<f64>>)| {
            let mut of = |phase| by_phase.remove(&phase).map_or(1.0, median);
            let (prefill, decode) = (of(Phase::Prefill), of(Phase::Decode));
            Pause { seconds: f64::from(seconds), prefill, decode }
        };
        let pauses: Vec<_> = factors.into_iter().map(pause).collect();
        if pauses.is_empty() {
            return Err(Error::new("samples of pauses", "none after a pause")
                .allowed("samples of one pause or more"));
        }
        Ok(Self { provenance, pauses })
    }

    /// The factors on an answer after `seconds` without any.
    #[must_use]
    pub fn after(&self, seconds: f64) -> Drawn {
        let at = |seconds: f64| seconds.max(0.0).ln_1p();
        let mut before = (0.0, 1.0, 1.0);
        for pause in &self.pauses {
            let here = (at(pause.seconds), pause.prefill, pause.decode);
            if seconds < pause.seconds {
                let way = (at(seconds) - before.0) / (here.0 - before.0);
                let mix = |from: f64, to: f64| from + (to - from) * way;
                return Drawn { prefill: mix(before.1, here.1), decode: mix(before.2, here.2) };
            }
            before = here;
        }
        Drawn { prefill: before.1, decode: before.2 }
    }

    /// Refuses factors that are none, and pauses that do not rise.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let mut before = 0.0;
        for pause in &self.pauses {
            let factors = [pause.prefill, pause.decode];
            let are_factors = factors.iter().all(|factor| (0.01..1000.0).contains(factor));
            if !(pause.seconds > before && pause.seconds.is_finite() && are_factors) {
                return Err(Error::file(path, "no pause")
                    .at("idle, key \"pause\"")
                    .found(format!("{pause:?}"))
                    .allowed("rising seconds above 0, factors from 0.01 to below 1000"));
            }
            before = pause.seconds;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Level;

    fn published() -> Provenance {
        Provenance::Published { sources: vec!["a test".to_owned()], filled: Vec::new() }
    }

    fn sample(seconds: u32, level: u16, phase: Phase, ms: f64) -> LatencySample {
        let (family, level) = (family_of(seconds), Level::percent(level));
        LatencySample { family, level, phase, tokens: 128, repetition: 0, ms }
    }

    /// After ten seconds level 100 takes 1.2 times as long and level 50 1.4 times.
    #[test]
    fn a_factor_is_the_median_over_levels_of_the_time_after_a_pause_over_that_without() {
        let samples = [
            sample(0, 100, Phase::Prefill, 100.0),
            sample(10, 100, Phase::Prefill, 120.0),
            sample(0, 50, Phase::Prefill, 50.0),
            sample(10, 50, Phase::Prefill, 70.0),
            sample(0, 100, Phase::Decode, 10.0),
            sample(10, 100, Phase::Decode, 11.0),
        ];
        let idle = Idle::of(&samples, published()).unwrap();
        assert_eq!(idle.pauses.len(), 1);
        let Pause { seconds, prefill, decode } = idle.pauses[0];
        assert!((seconds - 10.0).abs() < 1e-12);
        assert!((prefill - 1.3).abs() < 1e-12 && (decode - 1.1).abs() < 1e-12);
        assert!(Idle::of(&samples[1..2], published()).is_err());
        assert!(Idle::of(&samples[..1], published()).is_err());
    }

    #[test]
    fn factors_go_with_the_logarithm_of_the_pause_and_stay_beyond_the_longest() {
        let pause = |seconds, prefill| Pause { seconds, prefill, decode: 1.0 };
        let idle =
            Idle { provenance: published(), pauses: vec![pause(1.0, 1.1), pause(60.0, 1.5)] };
        let prefill = |seconds| idle.after(seconds).prefill;
        assert!((prefill(0.0) - 1.0).abs() < 1e-12 && (prefill(1.0) - 1.1).abs() < 1e-12);
        assert!((prefill(1e6) - 1.5).abs() < 1e-12);
        let half = (2.0_f64.ln() / 2.0 + 61.0_f64.ln() / 2.0).exp() - 1.0;
        assert!((prefill(half) - 1.3).abs() < 1e-9);
    }

    #[test]
    fn pauses_rise_and_factors_are_above_zero() {
        let check = |seconds, prefill| {
            let pauses = vec![Pause { seconds, prefill, decode: 1.0 }];
            Idle { provenance: published(), pauses }.check(Path::new("device.toml"))
        };
        check(1.0, 1.2).unwrap();
        assert!(check(0.0, 1.2).is_err() && check(1.0, -1.0).is_err());
    }
}
