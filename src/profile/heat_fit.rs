//! Heat from series of speeds, one value a second, of devices that work without a pause.
//!
//! The model of [`Heat`] is simulated over each series' seconds; the fit minimises the mean of
//! |simulated − measured| / measured, each series counting as much. Values are shares of the first
//! five seconds' mean, so a series has to begin cool. Sought are both time constants, their shares,
//! where speed begins to fall, its floor, and a throttling step: draws of a named stream first, the
//! best of them improved coordinate by coordinate. How far off the fit is where it was not fitted
//! is told by leaving one series out at a time.

use rand::RngExt as _;

use super::heat::{Heat, HeatPart, HeatStep};
use super::provenance::Provenance;
use crate::error::{Error, Result};
use crate::rng::stream;

/// Seconds at the start of a series that are of a cool device.
const COOL_SECONDS: usize = 5;
/// Fewest seconds of a series that say how it warms.
pub const SECONDS_MIN: usize = 60;
/// Draws that a search starts from.
const DRAWS: usize = 400;
/// Coordinates: two time constants, the first's share, `from`, `floor`; `above`, `below`, `speed`.
const LOW: [f64; 8] = [2.0, 20.0, 0.0, 0.0, 0.2, 0.1, 0.05, 0.3];
const HIGH: [f64; 8] = [60.0, 1200.0, 0.95, 0.8, 1.0, 1.0, 1.0, 1.0];
/// How far a coordinate is moved at first and at last, as a share of it.
const MOVES: (f64, f64) = (0.3, 0.01);

/// A series of speeds, one a second.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeedSeries {
    /// Where it is from.
    pub name: String,
    /// Tokens per second.
    pub rates: Vec<f64>,
}

/// A fit, and how far off it is.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatFit {
    /// The heat.
    pub heat: Heat,
    /// Mean relative error of each series that it was fitted to.
    pub errors: Vec<(String, f64)>,
    /// Of each series, the error of a fit to the others; empty for one series alone.
    pub held_out: Vec<(String, f64)>,
}

/// Fits the heat of one device.
///
/// # Errors
/// If there is no series, or one is too short or stands still.
pub fn fit_heat(series: &[SpeedSeries], provenance: &Provenance) -> Result<HeatFit> {
    if series.is_empty() {
        return Err(Error::new("series of speeds", "none").allowed("one or more"));
    }
    let speeds: Vec<Vec<f64>> = series.iter().map(shares).collect::<Result<_>>()?;
    let all: Vec<&[f64]> = speeds.iter().map(Vec::as_slice).collect();
    let heat = best(&all, provenance);
    let named = |nth: usize, heat: &Heat| (series[nth].name.clone(), error(heat, all[nth]));
    let errors = (0..all.len()).map(|nth| named(nth, &heat)).collect();
    let others = |nth: usize| {
        let rest = all.iter().enumerate().filter(|(other, _)| *other != nth);
        rest.map(|(_, series)| *series).collect::<Vec<_>>()
    };
    let held_out = if all.len() == 1 {
        Vec::new()
    } else {
        (0..all.len()).map(|nth| named(nth, &best(&others(nth), provenance))).collect()
    };
    Ok(HeatFit { heat, errors, held_out })
}

/// A series as shares of its first seconds' mean.
fn shares(series: &SpeedSeries) -> Result<Vec<f64>> {
    let wrong = |problem: &str| Error::new(series.name.clone(), problem);
    if series.rates.len() < SECONDS_MIN {
        let error = wrong("too short to say how the device warms").found(series.rates.len());
        return Err(error.allowed(format!("{SECONDS_MIN} seconds or more, one value each")));
    }
    if let Some(second) = series.rates.iter().position(|rate| !(*rate > 0.0 && rate.is_finite())) {
        return Err(wrong("a gap in the series")
            .at(format!("second {second}"))
            .found(series.rates[second])
            .allowed("tokens per second above 0"));
    }
    let cool = series.rates[..COOL_SECONDS].iter().sum::<f64>() / COOL_SECONDS as f64;
    Ok(series.rates.iter().map(|rate| rate / cool).collect())
}

/// Mean relative error of `heat` over a series of shares.
fn error(heat: &Heat, series: &[f64]) -> f64 {
    let simulated = heat.sustained(series.len());
    let off = simulated.iter().zip(series).map(|(ours, theirs)| (ours - theirs).abs() / theirs);
    off.sum::<f64>() / series.len() as f64
}

fn cost(at: &[f64; 8], series: &[&[f64]], provenance: &Provenance) -> f64 {
    let heat = heat_of(at, provenance);
    series.iter().map(|one| error(&heat, one)).sum::<f64>() / series.len() as f64
}

fn heat_of(at: &[f64; 8], provenance: &Provenance) -> Heat {
    let [quick, slow, share, from, floor, above, below, speed] = *at;
    let step = HeatStep { above, below: below.min(above), speed };
    let parts = vec![
        HeatPart { seconds: quick, share },
        HeatPart { seconds: slow.max(quick), share: 1.0 - share },
    ];
    // At rest a phone draws a fraction of what it draws at work; a series without pauses says
    // nothing of it, so it cools to nothing.
    Heat { from, floor, rest: 0.0, step: Some(step), provenance: provenance.clone(), parts }
}

/// The best heat of a search.
fn best(series: &[&[f64]], provenance: &Provenance) -> Heat {
    let mut random = stream(0, "fit-heat");
    let mut start = || -> [f64; 8] {
        let mut at = [0.0; 8];
        for (place, value) in at.iter_mut().enumerate() {
            let (low, high, way) = (LOW[place], HIGH[place], random.random::<f64>());
            // Time constants are drawn evenly in their logarithms.
            *value =
                if place < 2 { low * (high / low).powf(way) } else { low + (high - low) * way };
        }
        at
    };
    let of = |at: &[f64; 8]| cost(at, series, provenance);
    let starts = (0..DRAWS).map(|_| start()).map(|at| (of(&at), at));
    let (mut least, mut at) = starts.min_by(|a, b| a.0.total_cmp(&b.0)).expect("some are drawn");
    let mut by = MOVES.0;
    while by > MOVES.1 {
        let before = least;
        for place in 0..at.len() {
            for factor in [1.0 + by, 1.0 - by] {
                let mut moved = at;
                moved[place] = (at[place] * factor).clamp(LOW[place], HIGH[place]);
                let found = of(&moved);
                if found < least {
                    (least, at) = (found, moved);
                }
            }
        }
        if before - least < 1e-6 {
            by /= 2.0;
        }
    }
    heat_of(&at, provenance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> Provenance {
        Provenance::Published { sources: vec!["a test".to_owned()], filled: Vec::new() }
    }

    /// A device that loses 40 % within a few minutes, and has a step.
    fn truth() -> Heat {
        heat_of(&[10.0, 150.0, 0.3, 0.2, 0.6, 0.7, 0.5, 0.8], &published())
    }

    #[test]
    fn a_series_that_the_model_made_is_met_and_one_that_was_left_out_too() {
        let rates = |factor: f64, seconds: usize| -> Vec<f64> {
            truth().sustained(seconds).iter().map(|speed| factor * speed).collect()
        };
        let series = [(30.0, 300), (80.0, 240)].map(|(factor, seconds)| SpeedSeries {
            name: format!("{seconds} s"),
            rates: rates(factor, seconds),
        });
        let fit = fit_heat(&series, &published()).unwrap();
        assert!(fit.errors.iter().all(|(_, error)| *error < 0.03), "{:?}", fit.errors);
        assert!(fit.held_out.iter().all(|(_, error)| *error < 0.05), "{:?}", fit.held_out);
    }

    #[test]
    fn a_series_with_a_gap_or_of_seconds_is_refused_by_place() {
        let mut series = [SpeedSeries { name: "run".to_owned(), rates: vec![30.0; 100] }];
        series[0].rates[57] = 0.0;
        assert_eq!(
            fit_heat(&series, &published()).unwrap_err().to_string(),
            "run, second 57: a gap in the series; found 0; allowed: tokens per second above 0"
        );
        series[0].rates.truncate(20);
        assert_eq!(
            fit_heat(&series, &published()).unwrap_err().to_string(),
            "run: too short to say how the device warms; found 20; allowed: 60 seconds or more, \
             one value each"
        );
    }
}
