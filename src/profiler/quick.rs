//! A profile in seconds: which levels are timed while there is time, and what is made of the few
//! samples that there are.
//!
//! The whole model and the smallest level come first, then those between them, so that a slow
//! machine knows both ends. A level that was not reached takes its times from its neighbours, in
//! proportion. Then times are made to rise with level and length, as they do: the isotonic
//! regression of the samples, by pooling neighbours that fall.

use std::time::Duration;

use super::latency::{LatencyPlan, visit_level};
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::profile::{LatencyLog, LatencySample, LevelLatency, Phase, rise};
use crate::units::Level;

/// No visit of a level begins that would end after this.
pub(super) const BUDGET: Duration = Duration::from_secs(20);
/// Visits of each level, if there is time.
const ROUNDS: u32 = 3;

/// Times the levels of `model` into `log` for as long as [`BUDGET`] lasts; `report` gets how many
/// visits of how many were made.
///
/// # Errors
/// If a length exceeds the engine's context, a file cannot be written, or inference fails.
pub(super) fn measure(
    model: &mut ElasticModel,
    plan: &LatencyPlan,
    log: &mut LatencyLog,
    report: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let levels: Vec<Level> = model.engine.ladder().keys().copied().collect();
    let order = ends_first(&levels);
    let planned = order.len() * ROUNDS as usize;
    let (mut spent, mut longest, mut before) = (Duration::ZERO, Duration::ZERO, Level::FULL);
    for visit in 0..planned {
        let (round, level) = (visit / order.len(), order[visit % order.len()]);
        // Both ends are needed, however long they take.
        if visit >= 2 && spent + longest > BUDGET {
            return Ok(());
        }
        let visited = || visit_level(&mut model.engine, plan, log, (level, before), round as u32);
        let (done, took) = timed(visited);
        done?;
        (spent, longest, before) = (spent + took, longest.max(took), level);
        report(visit + 1, planned);
    }
    Ok(())
}

/// `levels`, smallest first, in the order in which they are worth knowing: the last, the first,
/// then the middle of each gap, wide gaps first.
fn ends_first(levels: &[Level]) -> Vec<Level> {
    let Some(last) = levels.len().checked_sub(1) else { return Vec::new() };
    let mut order = vec![last];
    order.extend((last > 0).then_some(0));
    let mut gaps = std::collections::VecDeque::from([(0, last)]);
    while let Some((from, to)) = gaps.pop_front() {
        if to - from > 1 {
            let middle = usize::midpoint(from, to);
            order.push(middle);
            gaps.extend([(from, middle), (middle, to)]);
        }
    }
    order.into_iter().map(|at| levels[at]).collect()
}

/// One sample for each of `levels`, phase and length that any level of `family` was timed at: the
/// medians, filled in between levels, made to rise. Switches stay as they are.
pub(super) fn steadied(
    samples: &[LatencySample],
    family: &str,
    levels: &[Level],
) -> Vec<LatencySample> {
    let mut steady = Vec::new();
    for phase in [Phase::Prefill, Phase::Decode] {
        let mut lengths: Vec<u32> = of(samples, family, phase).map(|one| one.tokens).collect();
        lengths.sort_unstable();
        lengths.dedup();
        // By level, by length.
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); levels.len()];
        for &tokens in &lengths {
            let known = |level| median_ms(samples, family, phase, level, tokens);
            let mut column = between(levels, known);
            rise(&mut column);
            times.iter_mut().zip(column).for_each(|(row, ms)| row.push(ms));
        }
        for (row, &level) in times.iter_mut().zip(levels) {
            rise(row);
            steady.extend(lengths.iter().zip(row).map(|(&tokens, &mut ms)| LatencySample {
                family: family.to_owned(),
                level,
                phase,
                tokens,
                repetition: 0,
                ms,
            }));
        }
    }
    for &level in levels {
        let own = || of(samples, family, Phase::Switch).filter(|one| one.level == level);
        let like = own().next().or_else(|| of(samples, family, Phase::Switch).next());
        steady.extend(like.map(|one| LatencySample { level, ..one.clone() }));
        steady.extend(own().skip(1).cloned());
    }
    steady
}

fn of<'a>(
    samples: &'a [LatencySample],
    family: &'a str,
    phase: Phase,
) -> impl Iterator<Item = &'a LatencySample> {
    samples.iter().filter(move |one| one.family == family && one.phase == phase)
}

fn median_ms(
    samples: &[LatencySample],
    family: &str,
    phase: Phase,
    level: Level,
    tokens: u32,
) -> Option<f64> {
    let is_one = |one: &&LatencySample| one.level == level && one.tokens == tokens;
    let mut times: Vec<f64> = of(samples, family, phase).filter(is_one).map(|one| one.ms).collect();
    crate::metrics::quantile(&mut times, 0.5)
}

/// A time for each of `levels`: the `known` one, or what lies between its known neighbours, in
/// proportion to the level.
///
/// # Panics
/// If none is known.
fn between(levels: &[Level], known: impl Fn(Level) -> Option<f64>) -> Vec<f64> {
    let percent = |level: Level| f64::from(level.as_percent());
    let points: Vec<(f64, f64)> =
        levels.iter().filter_map(|&level| Some((percent(level), known(level)?))).collect();
    let at = |level: Level| {
        let x = percent(level);
        let above = points.partition_point(|(at, _)| *at < x);
        match (above.checked_sub(1).map(|below| points[below]), points.get(above)) {
            (_, Some(&(at, ms))) if at.total_cmp(&x).is_eq() => ms,
            (Some((from, low)), Some(&(to, high))) => low + (high - low) * (x - from) / (to - from),
            (Some((_, ms)), None) | (None, Some(&(_, ms))) => ms,
            (None, None) => unreachable!("a level was timed"),
        }
    };
    levels.iter().map(|&level| at(level)).collect()
}

/// Makes curves that were fitted level by level rise with the level up to `context` tokens: one
/// that falls below the level before it becomes that level's, as many times as long as it is on the
/// whole.
pub(super) fn raise(levels: &mut [LevelLatency], context: u32) {
    let tokens = || (0..=16).map(|share| (context * share / 16).max(1));
    for at in 1..levels.len() {
        let (below, own) = (&levels[at - 1], &levels[at]);
        let ratios = |of: fn(&LevelLatency, u32) -> f64| -> Vec<f64> {
            tokens().map(|n| of(own, n) / of(below, n)).collect()
        };
        let factor = |ratios: &[f64]| {
            let falls = ratios.iter().any(|ratio| *ratio < 1.0);
            falls.then(|| (ratios.iter().sum::<f64>() / ratios.len() as f64).max(1.0))
        };
        let read = factor(&ratios(|level, n| level.ttft_ms.millis(n)));
        let write = factor(&ratios(|level, n| level.tpot_ms.millis(n)));
        let (ttft, tpot) = (below.ttft_ms, below.tpot_ms);
        if let Some(factor) = read {
            levels[at].ttft_ms = ttft.times(factor);
        }
        if let Some(factor) = write {
            levels[at].tpot_ms = tpot.times(factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::ladder_device;

    fn levels(percents: &[u16]) -> Vec<Level> {
        percents.iter().map(|&percent| Level::percent(percent)).collect()
    }

    #[test]
    fn both_ends_come_first_and_then_the_middles_of_wide_gaps() {
        let order = ends_first(&levels(&[20, 30, 40, 50, 60, 70, 80, 90, 100]));
        assert_eq!(order, levels(&[100, 20, 60, 40, 80, 30, 50, 70, 90]));
        assert_eq!(ends_first(&levels(&[100])), levels(&[100]));
        assert_eq!(ends_first(&[]), []);
    }

    fn sample(level: u16, phase: Phase, tokens: u32, repetition: u32, ms: f64) -> LatencySample {
        let level = Level::percent(level);
        LatencySample { family: "width".into(), level, phase, tokens, repetition, ms }
    }

    fn ms_of(samples: &[LatencySample], level: u16, phase: Phase) -> Vec<f64> {
        let level = Level::percent(level);
        let is_one = |one: &&LatencySample| one.level == level && one.phase == phase;
        samples.iter().filter(is_one).map(|one| one.ms).collect()
    }

    /// Level 90 took 72 ms a token and level 100 took 50, as on a busy machine: both are 61. Level
    /// 55 was not timed: half the way from 10 to 72 it takes 41. Of three repetitions the median
    /// counts.
    #[test]
    fn times_rise_with_the_level_and_levels_that_were_not_reached_lie_between() {
        let decode = |level, repetition, ms| sample(level, Phase::Decode, 32, repetition, ms);
        let samples = [
            decode(20, 0, 10.0),
            decode(20, 1, 90.0),
            decode(20, 2, 9.0),
            decode(90, 0, 72.0),
            decode(100, 0, 50.0),
            sample(100, Phase::Switch, 20, 0, 0.5),
        ];
        let steady = steadied(&samples, "width", &levels(&[20, 55, 90, 100]));
        let decoded = |level| ms_of(&steady, level, Phase::Decode);
        assert_eq!((decoded(20), decoded(55)), (vec![10.0], vec![41.0]));
        assert_eq!((decoded(90), decoded(100)), (vec![61.0], vec![61.0]));
        assert_eq!(ms_of(&steady, 55, Phase::Switch), [0.5], "as that of another level");
        assert_eq!(steady.iter().filter(|one| one.phase == Phase::Prefill).count(), 0);
    }

    #[test]
    fn times_rise_with_the_length() {
        let prefill = |tokens, ms| sample(100, Phase::Prefill, tokens, 0, ms);
        let samples = [prefill(32, 40.0), prefill(128, 30.0), prefill(512, 200.0)];
        let steady = steadied(&samples, "width", &levels(&[100]));
        assert_eq!(ms_of(&steady, 100, Phase::Prefill), [35.0, 35.0, 200.0]);
    }

    #[test]
    fn fitted_curves_rise_with_the_level_at_every_length() {
        let mut levels = ladder_device().families.remove(0).levels;
        let last = levels.len() - 1;
        levels[last].ttft_ms = levels[last - 1].ttft_ms.times(0.5);
        levels[last].tpot_ms = levels[last - 1].tpot_ms.times(1.5);
        let (written, before) = (levels[last].tpot_ms, levels[last - 1].ttft_ms);
        raise(&mut levels, 512);
        assert_eq!(levels[last].tpot_ms, written, "what rises stays");
        for n in [1, 64, 512] {
            let (own, below) = (levels[last].ttft_ms.millis(n), before.millis(n));
            assert!((own - below).abs() < 1e-9, "{own} {below}");
        }
    }
}
