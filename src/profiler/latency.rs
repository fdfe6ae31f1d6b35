//! Latency samples of an elastic model: prefill over prompt lengths, decode over contexts,
//! switches.
//!
//! Repetitions are the outer loop, so that a slow minute of the machine is spread over all levels
//! and lengths instead of bending one of them. Within one, levels and lengths come in a drawn order
//! where switching moves no weights, and level by level where it does.

use rand::seq::SliceRandom as _;

use crate::engine::Engine;
use crate::engine::generate::{generate, warm_up};
use crate::engine::graph::Attention;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::profile::{LatencyLog, LatencySample, Phase};
use crate::rng::stream;
use crate::units::{Level, millis};

/// What to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyPlan {
    /// Name of the family in the samples.
    pub family: String,
    /// Prompt lengths, also the contexts that are decoded at.
    pub lengths: Vec<u32>,
    /// How often each is timed.
    pub repetitions: u32,
    /// Decode steps whose mean is one sample.
    pub steps: usize,
}

impl LatencyPlan {
    /// Lengths 16, 32, …, 1024, decode samples of 8 steps.
    #[must_use]
    pub fn new(family: &str, repetitions: u32) -> Self {
        let lengths = (4..=10).map(|power| 1 << power).collect();
        Self { family: family.to_owned(), lengths, repetitions, steps: 8 }
    }

    /// Every one of `levels` at every length, in an order drawn for the family and `repetition`.
    fn shuffled(&self, levels: &[Level], repetition: u32) -> Vec<(Level, u32)> {
        let at = |&level: &Level| self.lengths.iter().map(move |&tokens| (level, tokens));
        let mut visits: Vec<_> = levels.iter().flat_map(at).collect();
        visits.shuffle(&mut stream(repetition.into(), &format!("latency/{}", self.family)));
        visits
    }

    /// A sample that has no time yet.
    fn sample(&self, level: Level, phase: Phase, tokens: u32, repetition: u32) -> LatencySample {
        LatencySample { family: self.family.clone(), level, phase, tokens, repetition, ms: 0.0 }
    }
}

/// Takes the samples of `plan` that `log` lacks; `report` gets (done, planned) runs.
///
/// # Errors
/// If a length exceeds the engine's context, a file cannot be written, or inference fails.
pub fn measure(
    model: &mut ElasticModel,
    plan: &LatencyPlan,
    log: &mut LatencyLog,
    report: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let engine = &mut model.engine;
    let levels: Vec<Level> = engine.ladder().keys().copied().collect();
    let per_level = plan.lengths.len();
    let planned = levels.len() * per_level * plan.repetitions as usize;
    let mut done = 0;
    for repetition in 0..plan.repetitions {
        if levels.len() > 1 && !engine.moves_weights() {
            visit_shuffled(engine, plan, log, repetition, &mut |more| {
                report(done + more, planned);
            })?;
            done += levels.len() * per_level;
            continue;
        }
        let mut before = levels.last().copied().unwrap_or(Level::FULL);
        for &level in &levels {
            visit_level(engine, plan, log, (level, before), repetition)?;
            (before, done) = (level, done + per_level);
            report(done, planned);
        }
    }
    Ok(())
}

/// Takes the samples of all levels in one repetition as a service comes upon them: another level
/// and another length each time. What a level needs is then out of the processor's caches, as it is
/// when a request comes.
fn visit_shuffled(
    engine: &mut Engine,
    plan: &LatencyPlan,
    log: &mut LatencyLog,
    repetition: u32,
    report: &mut dyn FnMut(usize),
) -> Result<()> {
    let levels: Vec<Level> = engine.ladder().keys().copied().collect();
    let visits = plan.shuffled(&levels, repetition);
    let sample = |level, phase, tokens| plan.sample(level, phase, tokens, repetition);
    if visits.iter().all(|&(level, tokens)| log.contains(&sample(level, Phase::Decode, tokens))) {
        return Ok(());
    }
    warm_up(engine)?;
    let mut before = levels[levels.len() - 1];
    for (nth, (level, tokens)) in visits.into_iter().enumerate() {
        let switch = LatencySample {
            ms: millis(engine.switch(level)?),
            ..sample(level, Phase::Switch, u32::from(before.as_percent()))
        };
        if before != level && !log.contains(&switch) {
            log.append(&switch)?;
        }
        if !log.contains(&sample(level, Phase::Decode, tokens)) {
            time_length(engine, plan, log, sample(level, Phase::Prefill, tokens))?;
        }
        before = level;
        report(nth + 1);
    }
    Ok(())
}

/// Times the level, length and repetition of `of`, both phases.
fn time_length(
    engine: &mut Engine,
    plan: &LatencyPlan,
    log: &mut LatencyLog,
    of: LatencySample,
) -> Result<()> {
    let prompt = prompt(engine, of.tokens);
    let run = generate(engine, of.level, &prompt, plan.steps + 1, None)?;
    let decode_ms = millis(run.decode()) / plan.steps as f64;
    let prefill = LatencySample { ms: millis(run.prefill), ..of };
    let decode = LatencySample { phase: Phase::Decode, ms: decode_ms, ..prefill.clone() };
    for sample in [prefill, decode] {
        if !log.contains(&sample) {
            log.append(&sample)?;
        }
    }
    Ok(())
}

/// Takes the samples of one level in one repetition.
pub(super) fn visit_level(
    engine: &mut Engine,
    plan: &LatencyPlan,
    log: &mut LatencyLog,
    (level, before): (Level, Level),
    repetition: u32,
) -> Result<()> {
    let sample = |phase, tokens| plan.sample(level, phase, tokens, repetition);
    let missing: Vec<u32> = plan
        .lengths
        .iter()
        .copied()
        .filter(|&tokens| !log.contains(&sample(Phase::Decode, tokens)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    engine.open(level, Attention::Causal)?;
    engine.open(before, Attention::Causal)?;
    generate(engine, before, &prompt(engine, 16), 1, None)?;
    if before == level {
        // The only level of its family: it comes from nowhere.
        engine.release();
    }
    let switch = engine.switch(level)?;
    let switch = LatencySample {
        ms: millis(switch),
        ..sample(Phase::Switch, u32::from(before.as_percent()))
    };
    if !log.contains(&switch) {
        log.append(&switch)?;
    }
    // The first run of a level after another is not a sample of its steady state.
    generate(engine, level, &prompt(engine, 16), 2, None)?;
    for tokens in missing {
        time_length(engine, plan, log, sample(Phase::Prefill, tokens))?;
    }
    Ok(())
}

/// Some tokens: their values do not matter to the time.
pub(super) fn prompt(engine: &Engine, tokens: u32) -> Vec<u32> {
    let vocab = engine.config().vocab as u32;
    (0..tokens).map(|i| i.wrapping_mul(2_654_435_761) % vocab).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_timed_at_every_length_in_an_order_of_the_repetitions_own() {
        let plan = LatencyPlan::new("width", 2);
        let levels = [20, 60, 100].map(Level::percent);
        let first = plan.shuffled(&levels, 0);
        assert_eq!(first, plan.shuffled(&levels, 0), "the same whenever it is resumed");
        assert_ne!(first, plan.shuffled(&levels, 1));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        let all = levels.iter().flat_map(|&level| plan.lengths.iter().map(move |&n| (level, n)));
        assert_eq!(sorted, all.collect::<Vec<_>>());
        let stays = first.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
        assert!(stays < first.len() / 2, "{stays} of {} keep the level", first.len());
    }
}
