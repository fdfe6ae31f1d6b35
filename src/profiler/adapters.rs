//! What adapters cost at run time: the same sub-model with and without one, in turns, so that a
//! slow minute of the machine falls on both.
//!
//! The adapters are zero, which takes as long as any other: no kernel looks at values.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

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

/// What an adapter costs one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterCost {
    /// The sub-model.
    pub level: Level,
    /// TTFT, by tokens of the prompt.
    pub ttft: BTreeMap<u32, Ratios>,
    /// TPOT.
    pub tpot: Ratios,
    /// Making the level resident with its adapter, median.
    pub attach_ms_median: f64,
    /// The same, at least.
    pub attach_ms_min: f64,
    /// Memory of the adapter.
    pub adapter_bytes: usize,
}

/// Times with an adapter against those without.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Median without.
    pub without_ms_median: f64,
    /// Median with, over median without.
    pub of_medians: f64,
    /// Median over repetitions of with over without.
    pub median_of_pairs: f64,
    /// Least with, over least without.
    pub of_minima: f64,
}

/// Times in ms, a pair per repetition: without an adapter, with one.
#[derive(Debug, Default)]
struct Pairs(Vec<[f64; 2]>);

impl Pairs {
    fn ratios(&self) -> Ratios {
        let of = |which: fn(&[f64; 2]) -> f64| self.0.iter().map(which).collect::<Vec<_>>();
        let min = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
        let [without, with] = [of(|pair| pair[0]), of(|pair| pair[1])];
        Ratios {
            without_ms_median: median(without.clone()),
            of_medians: median(with.clone()) / median(without.clone()),
            median_of_pairs: median(of(|pair| pair[1] / pair[0])),
            of_minima: min(with) / min(without),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times the levels of `plan` with and without adapters.
///
/// # Errors
/// If the ladder lacks a level or inference fails.
pub fn compare(
    model: &mut ElasticModel,
    plan: &AdapterPlan,
    report: &mut dyn FnMut(usize, usize),
) -> Result<Vec<AdapterCost>> {
    let mut costs = Vec::new();
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
        costs.push(AdapterCost {
            level,
            ttft: LENGTHS.into_iter().zip(prefills.iter().map(Pairs::ratios)).collect(),
            tpot: decodes.ratios(),
            attach_ms_min: attach.iter().copied().fold(f64::INFINITY, f64::min),
            attach_ms_median: median(attach),
            adapter_bytes: engine.adapter_bytes(level),
        });
        engine.set_adapter(level, None)?;
    }
    Ok(costs)
}

/// `costs` as a table.
#[must_use]
pub fn table(costs: &[AdapterCost]) -> String {
    let mut text = String::from(
        "level  phase      without (ms, median)  with/without: medians, median pair, minima\n",
    );
    let row = |level: Level, phase: &str, ratios: &Ratios| {
        let Ratios { without_ms_median, of_medians, median_of_pairs, of_minima } = ratios;
        let ratios = format!("{of_medians:7.3} {median_of_pairs:7.3} {of_minima:7.3}");
        format!("{level:>5}  {phase:9} {without_ms_median:9.2} {ratios}\n")
    };
    for cost in costs {
        let level = cost.level;
        for (tokens, ratios) in &cost.ttft {
            text += &row(level, &format!("TTFT {tokens:>4}"), ratios);
        }
        text += &row(level, "TPOT", &cost.tpot);
        let _ = writeln!(
            text,
            "{level:>5}  attach (ms): median {:.4}, least {:.4}; {} bytes in memory",
            cost.attach_ms_median, cost.attach_ms_min, cost.adapter_bytes
        );
    }
    text
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
