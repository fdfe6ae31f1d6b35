//! What adapters cost at run time: the same sub-model with and without one, in turns, so that a
//! slow minute of the machine falls on both.
//!
//! The adapters are zero, which takes as long as any other: no kernel looks at values.

use std::fmt::Write;

use serde::Serialize;

use super::pairs::{self, Pairs, Ratios, TIMES, median, time};
use crate::engine::adapter::{Adapter, AdapterTarget};
use crate::engine::graph::Attention;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::units::{Level, millis};

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
    /// Times with it against those without.
    #[serde(flatten)]
    pub times: Ratios,
    /// Making the level resident with its adapter, median.
    pub attach_ms_median: f64,
    /// The same, at least.
    pub attach_ms_min: f64,
    /// Memory of the adapter.
    pub adapter_bytes: usize,
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
        let mut pairs = Pairs::default();
        let mut attach = Vec::new();
        for repetition in 0..plan.repetitions {
            let mut times = [[0.0; TIMES]; 2];
            for side in if repetition % 2 == 0 { [0, 1] } else { [1, 0] } {
                engine.set_adapter(level, (side == 1).then_some(&adapter))?;
                times[side] = time(engine, level)?;
            }
            pairs.push(times);
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
            times: pairs.ratios(),
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
    let mut text = pairs::header("without", "with/without");
    for cost in costs {
        let level = cost.level;
        text += &cost.times.rows(level);
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
