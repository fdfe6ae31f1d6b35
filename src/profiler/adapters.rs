//! What adapters cost at run time: the same sub-model with and without one, in turns, so that a
//! slow minute of the machine falls on both.
//!
//! The adapters are zero, which takes as long as any other: no kernel looks at values.

use std::fmt::Write;

use crate::engine::Engine;
use crate::engine::adapter::{Adapter, AdapterTarget};
use crate::engine::generate::generate;
use crate::engine::graph::Attention;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::units::{Level, millis};

const LENGTHS: [u32; 3] = [32, 128, 512];
const STEPS: usize = 17;

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterPlan {
    /// Sub-models.
    pub levels: Vec<Level>,
    /// Rank of the adapters.
    pub rank: usize,
    /// How often each is timed, with and without.
    pub repetitions: u32,
}

/// Times in ms, a pair per repetition: without an adapter, with one.
#[derive(Debug, Default)]
struct Pairs(Vec<[f64; 2]>);

impl Pairs {
    fn median(&self, which: impl Fn(&[f64; 2]) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(which).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Without: median; ratio of medians; median of the pairs' ratios; ratio of minima.
    fn row(&self) -> String {
        let min = |side: usize| self.0.iter().map(|pair| pair[side]).fold(f64::INFINITY, f64::min);
        format!(
            "{:9.2} {:7.3} {:7.3} {:7.3}",
            self.median(|pair| pair[0]),
            self.median(|pair| pair[1]) / self.median(|pair| pair[0]),
            self.median(|pair| pair[1] / pair[0]),
            min(1) / min(0)
        )
    }
}

/// Times the levels of `plan` with and without adapters; the result is a table.
///
/// # Errors
/// If the ladder lacks a level or inference fails.
pub fn compare(
    model: &mut ElasticModel,
    plan: &AdapterPlan,
    report: &mut dyn FnMut(usize, usize),
) -> Result<String> {
    let mut text = String::from(
        "level  phase      without (ms, median)  with/without: medians, median pair, minima\n",
    );
    let mut done = 0;
    for &level in &plan.levels {
        let adapter = zero(model, level, plan.rank)?;
        let engine = &mut model.engine;
        let mut prefills: [Pairs; LENGTHS.len()] = std::array::from_fn(|_| Pairs::default());
        let mut decodes = Pairs::default();
        let mut attach = Vec::new();
        for repetition in 0..plan.repetitions {
            let mut times = [[0.0; LENGTHS.len() + 1]; 2];
            for side in if repetition % 2 == 0 { [0, 1] } else { [1, 0] } {
                engine.set_adapter(level, (side == 1).then_some(&adapter))?;
                times[side] = time(engine, level)?;
            }
            for (index, pairs) in prefills.iter_mut().chain([&mut decodes]).enumerate() {
                pairs.0.push([times[0][index], times[1][index]]);
            }
            engine.set_adapter(level, Some(&adapter))?;
            engine.open(Level::FULL, Attention::Causal)?;
            let (opened, switch) = timed(|| engine.open(level, Attention::Causal));
            opened?;
            attach.push(millis(switch));
            done += 1;
            report(done, plan.levels.len() * plan.repetitions as usize);
        }
        for (tokens, pairs) in LENGTHS.iter().zip(&prefills) {
            let _ = writeln!(text, "{level:>5}  TTFT {tokens:>4} {}", pairs.row());
        }
        let _ = writeln!(text, "{level:>5}  TPOT      {}", decodes.row());
        attach.sort_by(f64::total_cmp);
        let _ = writeln!(
            text,
            "{level:>5}  attach (ms): median {:.4}, least {:.4}; {} bytes in memory",
            attach[attach.len() / 2],
            attach[0],
            engine.adapter_bytes(level)
        );
        engine.set_adapter(level, None)?;
    }
    Ok(text)
}

fn zero(model: &ElasticModel, level: Level, rank: usize) -> Result<Adapter> {
    let manifest = model.manifest.ladder()?;
    let sub_model = manifest.level(level).ok_or_else(|| {
        let levels: Vec<String> =
            manifest.levels.iter().map(|model| model.level.to_string()).collect();
        crate::Error::new("elastic manifest", "no such level")
            .found(level)
            .allowed(levels.join(", "))
    })?;
    Ok(Adapter::zero(&AdapterTarget {
        base_model_sha256: &manifest.model.model_sha256,
        order_sha256: &manifest.order_sha256(),
        config: &manifest.model.config,
        sub_model,
        rank,
    }))
}

/// TTFT at each of [`LENGTHS`], then TPOT after the longest but one, in ms.
fn time(engine: &mut Engine, level: Level) -> Result<[f64; LENGTHS.len() + 1]> {
    let prompt: Vec<u32> = (0..LENGTHS[LENGTHS.len() - 1]).collect();
    // The first run after a switch is not a sample of the steady state.
    generate(engine, level, &prompt[..16], 2, None)?;
    let mut times = [0.0; LENGTHS.len() + 1];
    for (time, tokens) in times.iter_mut().zip(LENGTHS) {
        let run = generate(engine, level, &prompt[..tokens as usize], 1, None)?;
        *time = millis(run.prefill);
    }
    let run = generate(engine, level, &prompt[..LENGTHS[1] as usize], STEPS, None)?;
    times[LENGTHS.len()] = millis(run.decode()) / (STEPS - 1) as f64;
    Ok(times)
}
