//! A thermal state that work drives, and speed as a function of it: `[heat]` of `device.toml`.
//!
//! ```text
//! state h = h₁ + h₂,  dhᵢ/dt = (shareᵢ · p − hᵢ) / secondsᵢ      p = power over that of a cool
//! speed   = curve(h) · step                                          device at work; 0 at rest
//! curve   = 1 up to `from`, then a straight line to `floor` at h = 1
//! step    = `step.speed` from h > `above` until h < `below`, else 1
//! ```
//!
//! A device that works at full power for ever would come to h = 1. One that is throttled draws
//! less: `p = speed`, which is what lets it cool and come back. Times are those of a cool device
//! over the speed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::error::{Error, Result};

/// Most parts of a state.
const PARTS_MAX: usize = 2;

/// How a device warms and what that costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heat {
    /// State up to which nothing is slower.
    pub from: f64,
    /// Speed at state 1, of that of a cool device.
    pub floor: f64,
    /// What the device draws at rest, of what it draws at work.
    pub rest: f64,
    /// A throttling step, with hysteresis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<HeatStep>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// One or two, the quick one first: chip, then case.
    #[serde(rename = "part")]
    pub parts: Vec<HeatPart>,
}

/// A part of the state, with its time constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatPart {
    /// Of the way to where power drives it, it goes 63 % in this time.
    pub seconds: f64,
    /// Of the whole state at full power; all parts' come to 1.
    pub share: f64,
}

/// Throttling that sets in at one state and ends at a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatStep {
    /// It sets in above this state.
    pub above: f64,
    /// It ends below this one.
    pub below: f64,
    /// Speed meanwhile, of what the curve says.
    pub speed: f64,
}

/// How warm a device is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeatState {
    parts: [f64; PARTS_MAX],
    is_throttled: bool,
}

impl HeatState {
    /// The state: 0 is cool, 1 is what full power for ever comes to.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// Longest time over which speed is taken to stay what it is, in seconds.
const STEP_SECONDS: f64 = 1.0;

impl Heat {
    /// Speed in `state`, of that of a cool device.
    #[must_use]
    pub fn speed(&self, state: &HeatState) -> f64 {
        let over = (state.level() - self.from) / (1.0 - self.from);
        let curve = (1.0 - (1.0 - self.floor) * over.max(0.0)).max(self.floor);
        match self.step {
            Some(step) if state.is_throttled => curve * step.speed,
            _ => curve,
        }
    }

    /// The device draws `power` of full power for `seconds`.
    fn drive(&self, state: &mut HeatState, power: f64, seconds: f64) {
        for (part, of) in state.parts.iter_mut().zip(&self.parts) {
            let goal = of.share * power;
            *part = goal + (*part - goal) * (-seconds / of.seconds).exp();
        }
        if let Some(step) = self.step {
            let level = state.level();
            let stays = state.is_throttled && level >= step.below;
            state.is_throttled = stays || level > step.above;
        }
    }

    /// The device rests for `seconds`.
    pub fn rest(&self, state: &mut HeatState, seconds: f64) {
        self.drive(state, self.rest, seconds);
    }

    /// The device does what takes a cool one `seconds`; returns how long it takes now.
    pub fn work(&self, state: &mut HeatState, seconds: f64) -> f64 {
        let (mut left, mut took) = (seconds, 0.0);
        while left > 0.0 {
            let speed = self.speed(state);
            let step = (left / speed).min(STEP_SECONDS);
            self.drive(state, speed, step);
            left = if step < STEP_SECONDS { 0.0 } else { left - step * speed };
            took += step;
        }
        took
    }

    /// Speeds of a cool device that works without a pause, one a second.
    #[must_use]
    pub fn sustained(&self, seconds: usize) -> Vec<f64> {
        let mut state = HeatState::default();
        let second = |_| {
            let speed = self.speed(&state);
            self.drive(&mut state, speed, 1.0);
            speed
        };
        (0..seconds).map(second).collect()
    }

    /// Refuses what is no heat.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let wrong = |key: &str, found: &dyn std::fmt::Display, allowed: &str| {
            let error = Error::file(path, "no heat").at(format!("heat, key {key:?}"));
            Err(error.found(found).allowed(allowed))
        };
        if self.parts.is_empty() || self.parts.len() > PARTS_MAX {
            return wrong("part", &self.parts.len(), "one or two parts");
        }
        for part in &self.parts {
            if !(part.seconds > 0.0 && part.seconds < 1e6) {
                return wrong(
                    "part.seconds",
                    &part.seconds,
                    "seconds above 0: heat has a capacity",
                );
            }
            if !(0.0..=1.0).contains(&part.share) {
                return wrong("part.share", &part.share, "0 to 1");
            }
        }
        let shares: f64 = self.parts.iter().map(|part| part.share).sum();
        if (shares - 1.0).abs() > 1e-6 {
            return wrong("part.share", &shares, "shares that come to 1");
        }
        if !(0.0..1.0).contains(&self.from) {
            return wrong("from", &self.from, "0 or more and below 1");
        }
        if !(self.floor > 0.0 && self.floor <= 1.0) {
            return wrong("floor", &self.floor, "above 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.rest) {
            return wrong("rest", &self.rest, "0 to 1");
        }
        match self.step {
            Some(step) if step.below > step.above => {
                wrong("step.below", &step.below, "at most \"above\"")
            }
            Some(step) if !(step.speed > 0.0 && step.speed <= 1.0) => {
                wrong("step.speed", &step.speed, "above 0, at most 1")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(from: f64, floor: f64, step: Option<HeatStep>) -> Heat {
        Heat {
            from,
            floor,
            rest: 0.0,
            step,
            provenance: Provenance::Published { sources: Vec::new(), filled: Vec::new() },
            parts: vec![HeatPart { seconds: 10.0, share: 1.0 }],
        }
    }

    #[test]
    fn a_part_goes_63_percent_of_its_way_in_its_time_and_cools_as_it_warmed() {
        let heat = heat(0.9, 1.0, None);
        let mut state = HeatState::default();
        // Speed stays 1: ten seconds of work take ten.
        assert!((heat.work(&mut state, 10.0) - 10.0).abs() < 1e-9);
        let warm = 1.0 - (-1.0_f64).exp();
        assert!((state.level() - warm).abs() < 1e-9);
        heat.rest(&mut state, 10.0);
        assert!((state.level() - warm * (-1.0_f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn work_takes_longer_the_warmer_it_is() {
        // From state 0.5 speed falls to a half at 1.
        let heat = heat(0.5, 0.5, None);
        let at = |level: f64| HeatState { parts: [level, 0.0], is_throttled: false };
        assert!((heat.speed(&at(0.4)) - 1.0).abs() < 1e-12);
        assert!((heat.speed(&at(0.75)) - 0.75).abs() < 1e-12);
        assert!((heat.speed(&at(2.0)) - 0.5).abs() < 1e-12);
        let mut state = at(0.75);
        // Half a second of work at a speed of 0.75: two thirds of a second.
        assert!((heat.work(&mut state, 0.5) - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn throttling_ends_lower_than_it_sets_in() {
        let step = HeatStep { above: 0.6, below: 0.4, speed: 0.5 };
        let heat = heat(0.9, 1.0, Some(step));
        let mut state = HeatState { parts: [0.59, 0.0], is_throttled: false };
        assert!((heat.speed(&state) - 1.0).abs() < 1e-12);
        heat.work(&mut state, 1.0);
        assert!(state.level() > 0.6 && (heat.speed(&state) - 0.5).abs() < 1e-12);
        // At 0.5 it goes on; below 0.4 it is over.
        let to_half = 10.0 * (state.level() / 0.5).ln();
        heat.rest(&mut state, to_half);
        assert!((state.level() - 0.5).abs() < 1e-9 && (heat.speed(&state) - 0.5).abs() < 1e-12);
        heat.rest(&mut state, 10.0 * (0.5_f64 / 0.39).ln());
        assert!((heat.speed(&state) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn negative_capacities_and_hysteresis_the_wrong_way_are_refused() {
        let path = Path::new("device.toml");
        let mut backwards = heat(0.5, 0.5, None);
        backwards.parts[0].seconds = -3.0;
        assert_eq!(
            backwards.check(path).unwrap_err().to_string(),
            "device.toml, heat, key \"part.seconds\": no heat; found -3; allowed: seconds above 0: \
             heat has a capacity"
        );
        let step = HeatStep { above: 0.3, below: 0.4, speed: 0.5 };
        assert_eq!(
            heat(0.5, 0.5, Some(step)).check(path).unwrap_err().to_string(),
            "device.toml, heat, key \"step.below\": no heat; found 0.4; allowed: at most \"above\""
        );
        assert!(heat(0.5, 0.5, None).check(path).is_ok());
    }
}
