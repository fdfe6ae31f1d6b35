//! Two ways to run a sub-model, timed in turns, so that a slow minute of the machine falls on both.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Engine;
use crate::engine::generate::generate;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::units::{Level, millis};

/// Tokens of the prompts.
const LENGTHS: [u32; 3] = [32, 128, 512];
/// Tokens that are generated after the one but longest.
const STEPS: usize = 17;
/// How many times a run has: TTFT of each length, and TPOT.
pub(super) const TIMES: usize = LENGTHS.len() + 1;

/// Times of the second way against the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratios {
    /// TTFT, by tokens of the prompt.
    pub ttft: BTreeMap<u32, Ratio>,
    /// TPOT.
    pub tpot: Ratio,
}

/// A time of the second way against that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median of the first.
    pub first_ms_median: f64,
    /// Median of the second over median of the first.
    pub of_medians: f64,
    /// Median over repetitions of second over first.
    pub median_of_pairs: f64,
    /// Least of the second over least of the first.
    pub of_minima: f64,
}

/// Times in ms, a pair per repetition.
#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<[[f64; TIMES]; 2]>);

impl Pairs {
    pub(super) fn push(&mut self, pair: [[f64; TIMES]; 2]) {
        self.0.push(pair);
    }

    pub(super) fn ratios(&self) -> Ratios {
        let ttft = LENGTHS.into_iter().enumerate().map(|(i, tokens)| (tokens, self.ratio(i)));
        Ratios { ttft: ttft.collect(), tpot: self.ratio(LENGTHS.len()) }
    }

    fn ratio(&self, time: usize) -> Ratio {
        let of = |which: usize| self.0.iter().map(|pair| pair[which][time]).collect::<Vec<_>>();
        let min = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
        let [first, second] = [of(0), of(1)];
        let pairs = first.iter().zip(&second).map(|(first, second)| second / first);
        Ratio {
            first_ms_median: median(first.clone()),
            of_medians: median(second.clone()) / median(first.clone()),
            median_of_pairs: median(pairs.collect()),
            of_minima: min(second) / min(first),
        }
    }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What stands above [`Ratios::rows`].
pub(super) fn header(first: &str, ratio: &str) -> String {
    let first = format!("{first} (ms, median)");
    format!("level  phase     {first:>21}  {ratio}: medians, median pair, minima\n")
}

impl Ratios {
    /// A line for each time.
    pub(super) fn rows(&self, level: Level) -> String {
        let row = |phase: &str, ratio: &Ratio| {
            let Ratio { first_ms_median, of_medians, median_of_pairs, of_minima } = ratio;
            let ratios = format!("{of_medians:7.3} {median_of_pairs:7.3} {of_minima:7.3}");
            format!("{level:>5}  {phase:9} {first_ms_median:21.2}  {ratios}\n")
        };
        let ttft = self.ttft.iter().map(|(tokens, ratio)| row(&format!("TTFT {tokens:>4}"), ratio));
        ttft.chain([row("TPOT", &self.tpot)]).collect()
    }
}

/// A level's times in the second family against those in the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FamilyCost {
    /// The level, of both ladders.
    pub level: Level,
    /// Its times.
    #[serde(flatten)]
    pub times: Ratios,
}

/// Times `levels` of two `models`, `repetitions` times each; `report` is told how many of how many
/// pairs are done.
///
/// # Errors
/// If a ladder lacks a level or inference fails.
pub fn compare(
    models: &mut [ElasticModel; 2],
    levels: &[Level],
    repetitions: u32,
    report: &mut dyn FnMut(usize, usize),
) -> Result<Vec<FamilyCost>> {
    let mut costs = Vec::new();
    let planned = levels.len() * repetitions as usize;
    for &level in levels {
        let mut pairs = Pairs::default();
        for repetition in 0..repetitions {
            let mut times = [[0.0; TIMES]; 2];
            for side in if repetition % 2 == 0 { [0, 1] } else { [1, 0] } {
                times[side] = time(&mut models[side].engine, level)?;
            }
            pairs.push(times);
            report(costs.len() * repetitions as usize + repetition as usize + 1, planned);
        }
        costs.push(FamilyCost { level, times: pairs.ratios() });
    }
    Ok(costs)
}

/// `costs` as a table; `families` are the first and the second.
#[must_use]
pub fn table(costs: &[FamilyCost], [first, second]: [&str; 2]) -> String {
    let rows = costs.iter().map(|cost| cost.times.rows(cost.level));
    std::iter::once(header(first, &format!("{second}/{first}"))).chain(rows).collect()
}

/// TTFT at each of [`LENGTHS`], then TPOT after the longest but one, in ms.
pub(super) fn time(engine: &mut Engine, level: Level) -> Result<[f64; TIMES]> {
    let prompt: Vec<u32> = (0..LENGTHS[LENGTHS.len() - 1]).collect();
    // The first run after a switch is not a sample of the steady state.
    generate(engine, level, &prompt[..16], 2, None)?;
    let mut times = [0.0; TIMES];
    for (time, tokens) in times.iter_mut().zip(LENGTHS) {
        let run = generate(engine, level, &prompt[..tokens as usize], 1, None)?;
        *time = millis(run.prefill);
    }
    let run = generate(engine, level, &prompt[..LENGTHS[1] as usize], STEPS, None)?;
    times[LENGTHS.len()] = millis(run.decode()) / (STEPS - 1) as f64;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ratios 3, 0.5 and 1: their median is not the ratio of the medians, 20 over 10.
    #[test]
    fn medians_of_pairs_are_not_ratios_of_medians() {
        let mut pairs = Pairs::default();
        for [first, second] in [[10.0, 30.0], [40.0, 20.0], [8.0, 8.0]] {
            pairs.push([[first; TIMES], [second; TIMES]]);
        }
        let expected =
            Ratio { first_ms_median: 10.0, of_medians: 2.0, median_of_pairs: 1.0, of_minima: 1.0 };
        let ratios = pairs.ratios();
        assert_eq!(ratios.tpot, expected);
        assert_eq!(ratios.ttft.keys().copied().collect::<Vec<_>>(), LENGTHS);
    }
}
