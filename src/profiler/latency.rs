//! Latency samples of an elastic model: prefill over prompt lengths, decode over contexts,
//! switches.
//!
//! Repetitions are the outer loop, so that a slow minute of the machine is spread over all levels
//! and lengths instead of bending one of them.

use crate::engine::Engine;
use crate::engine::generate::generate;
use crate::engine::graph::Attention;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::profile::{LatencyLog, LatencySample, Phase};
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
}

/// Takes the samples of `plan` that `log` lacks; `report` gets (done, planned) visits of a level.
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
    let planned = levels.len() * plan.repetitions as usize;
    let mut before = Level::FULL;
    for (visit, repetition, level) in (0..plan.repetitions)
        .flat_map(|repetition| levels.iter().map(move |&level| (repetition, level)))
        .enumerate()
        .map(|(visit, (repetition, level))| (visit, repetition, level))
    {
        visit_level(engine, plan, log, (level, before), repetition)?;
        before = level;
        report(visit + 1, planned);
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
    let sample = |phase, tokens, ms| LatencySample {
        family: plan.family.clone(),
        level,
        phase,
        tokens,
        repetition,
        ms,
    };
    let missing: Vec<u32> = plan
        .lengths
        .iter()
        .copied()
        .filter(|&tokens| !log.contains(&sample(Phase::Decode, tokens, 0.0)))
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
    let switch = sample(Phase::Switch, u32::from(before.as_percent()), millis(switch));
    if !log.contains(&switch) {
        log.append(&switch)?;
    }
    // The first run of a level after another is not a sample of its steady state.
    generate(engine, level, &prompt(engine, 16), 2, None)?;
    for tokens in missing {
        let run = generate(engine, level, &prompt(engine, tokens), plan.steps + 1, None)?;
        let decode = millis(run.decode()) / plan.steps as f64;
        for sample in [
            sample(Phase::Prefill, tokens, millis(run.prefill)),
            sample(Phase::Decode, tokens, decode),
        ] {
            if !log.contains(&sample) {
                log.append(&sample)?;
            }
        }
    }
    Ok(())
}

/// Some tokens: their values do not matter to the time.
pub(super) fn prompt(engine: &Engine, tokens: u32) -> Vec<u32> {
    let vocab = engine.config().vocab as u32;
    (0..tokens).map(|i| i.wrapping_mul(2_654_435_761) % vocab).collect()
}
