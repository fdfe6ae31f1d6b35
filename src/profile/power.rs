//! What a device draws: `[power]` of `device.toml`.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::error::{Error, Result};
use crate::units::{Level, Milliwatts};

/// Electrical power of the whole device. The energy of a request is its power before the first
/// token times that time, and the same after it; each is the base model's, times the level's share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// With the service waiting.
    pub idle_watts: f64,
    /// While a request is served by the base model.
    pub active_watts: f64,
    /// The same up to the first token, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_watts: Option<f64>,
    /// The same after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_watts: Option<f64>,
    /// Where the figures come from.
    pub provenance: Provenance,
    /// What smaller levels draw of what the base model does, rising; between them it goes in a
    /// straight line, below the first it stays. Absent: as much.
    #[serde(rename = "level", default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelPower>,
}

/// What a level draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelPower {
    /// Which, in percent.
    pub level_percent: u16,
    /// Of what the base model draws.
    pub share: f64,
}

/// Power by phase and level, made of a checked profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    active: Milliwatts,
    /// mW before the first token and after it; `None` where power is one number.
    phases: Option<[f64; 2]>,
    /// Shares of levels, as shares of the base model's power, the base model last.
    levels: Vec<(f64, f64)>,
}

impl Power {
    /// What serving draws.
    ///
    /// # Panics
    /// If `active_watts` is no power: such a profile is not loaded and not saved.
    #[must_use]
    pub fn draw(&self) -> Draw {
        let active = Milliwatts::from_watts(self.active_watts);
        let is_uniform =
            self.levels.is_empty() && self.prefill_watts.is_none() && self.decode_watts.is_none();
        let watts = |of: Option<f64>| of.unwrap_or(self.active_watts);
        let [before, after] = [watts(self.prefill_watts), watts(self.decode_watts)];
        let stated = self.levels.iter();
        let stated = stated.map(|one| (f64::from(one.level_percent) / 100.0, one.share));
        Draw {
            active: active.expect("a checked profile draws power"),
            phases: (!is_uniform).then_some([1e3 * before, 1e3 * after]),
            levels: stated.filter(|one| one.0 < 1.0).chain([(1.0, 1.0)]).collect(),
        }
    }

    /// Refuses what is no power.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let phases = [("prefill_watts", self.prefill_watts), ("decode_watts", self.decode_watts)];
        let phases = phases.into_iter().filter_map(|(key, watts)| Some((key, watts?)));
        let all = [("idle_watts", self.idle_watts), ("active_watts", self.active_watts)];
        for (key, watts) in all.into_iter().chain(phases) {
            if Milliwatts::from_watts(watts).is_none() {
                return Err(Error::file(path, "not a power")
                    .at(format!("power, key {key:?}"))
                    .found(watts)
                    .allowed("0.001 to 1000000 watts"));
            }
        }
        let mut below = 0;
        for one in &self.levels {
            let is_level = below < one.level_percent && one.level_percent <= 100;
            if !is_level || !(0.001..=1000.0).contains(&one.share) {
                return Err(Error::file(path, "not the power of a level")
                    .at("power, key \"level\"")
                    .found(format!("{one:?}"))
                    .allowed("levels that rise up to 100, shares from 0.001 to 1000"));
            }
            below = one.level_percent;
        }
        Ok(())
    }
}

impl Draw {
    /// While the base model serves, whatever the phase.
    #[must_use]
    pub fn active(&self) -> Milliwatts {
        self.active
    }

    /// Whether it is one number.
    #[must_use]
    pub fn is_uniform(&self) -> bool {
        self.phases.is_none()
    }

    /// Mean power of an answer whose prompt and later tokens are of these levels and take so long,
    /// `before` and `after` the first token.
    #[must_use]
    pub fn over(
        &self,
        (prompt, answer): (Level, Level),
        before: Duration,
        after: Duration,
    ) -> Milliwatts {
        let Some([prefill, decode]) = self.phases else { return self.active };
        let (before, after) = (before.as_secs_f64(), after.as_secs_f64());
        let whole = before + after;
        let share = self.share(prompt.share().as_f64());
        let of_answer =
            if answer == prompt { 1.0 } else { self.share(answer.share().as_f64()) / share };
        let decode = decode * of_answer;
        let mean = if whole > 0.0 { (prefill * before + decode * after) / whole } else { prefill };
        let milliwatts = mean * share;
        Milliwatts::new(milliwatts.round().clamp(1.0, 1e9) as u32)
    }

    fn share(&self, level: f64) -> f64 {
        let above = self.levels.iter().position(|at| level <= at.0).unwrap_or(0);
        let (to, high) = self.levels[above];
        let Some(&(from, low)) = above.checked_sub(1).map(|below| &self.levels[below]) else {
            return high;
        };
        low + (high - low) * (level - from) / (to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(phases: Option<(f64, f64)>, levels: &[(u16, f64)]) -> Power {
        Power {
            idle_watts: 1.0,
            active_watts: 5.0,
            prefill_watts: phases.map(|phases| phases.0),
            decode_watts: phases.map(|phases| phases.1),
            provenance: Provenance::Published { sources: vec!["a test".into()], filled: vec![] },
            levels: levels
                .iter()
                .map(|&(level_percent, share)| LevelPower { level_percent, share })
                .collect(),
        }
    }

    /// Of 8 W before the first token and 2 W after it: one second and three come to 3.5 W on
    /// average. Half way between levels 20 and 60, of shares 0.5 and 0.9, is 0.7.
    #[test]
    fn power_is_a_mean_over_phases_times_the_share_of_the_level() {
        let seconds = Duration::from_secs;
        let of = |power: &Power, level| {
            power
                .draw()
                .over((Level::percent(level), Level::percent(level)), seconds(1), seconds(3))
                .as_milliwatts()
        };
        assert_eq!(of(&power(None, &[]), 20), 5000);
        let phases = power(Some((8.0, 2.0)), &[]);
        assert_eq!(of(&phases, 100), 3500);
        let levels = power(Some((8.0, 2.0)), &[(20, 0.5), (60, 0.9)]);
        assert_eq!(
            [10, 20, 40, 60, 100].map(|level| of(&levels, level)),
            [1750, 1750, 2450, 3150, 3500]
        );
        assert!(power(None, &[]).draw().is_uniform() && !phases.draw().is_uniform());
    }

    #[test]
    fn powers_are_above_nothing_and_levels_rise() {
        let check = |power: Power| power.check(Path::new("device.toml"));
        check(power(Some((8.0, 2.0)), &[(20, 0.5), (100, 1.0)])).unwrap();
        assert!(check(power(Some((0.0, 2.0)), &[])).is_err());
        assert!(check(power(None, &[(60, 0.5), (20, 0.5)])).is_err());
        assert!(check(power(None, &[(120, 0.5)])).is_err());
    }
}
