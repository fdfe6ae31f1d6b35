//! A plan for one prompt that belongs to no dataset: `pliant ask`.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::policy::Forecast;
use crate::profile::{DeviceProfile, FamilyLatency, QualityTable};
use crate::request::Bounds;
use crate::units::{PROMPT_RATIOS, Ratio};

/// Predicts plans with a device profile and weighs them by their mean accuracy over all datasets.
#[derive(Debug)]
pub struct PromptPlanner {
    device: DeviceProfile,
    base_model: String,
    family: String,
    table: QualityTable,
}

/// A plan with what was predicted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanChoice {
    /// The plan.
    pub plan: Plan,
    /// Index of its ratio in [`PROMPT_RATIOS`].
    pub ratio_index: usize,
    /// Most time to first token that the objective allows.
    pub ttft_bound: Duration,
    /// Most time per output token that it allows.
    pub tpot_bound: Duration,
    /// Predicted time to first token.
    pub ttft: Duration,
    /// Predicted time per output token.
    pub tpot: Duration,
    /// Whether the prediction meets the objective; otherwise no plan does.
    pub feasible: bool,
    /// Whose latencies.
    pub device: String,
    /// Where they come from.
    pub provenance: &'static str,
}

impl PromptPlanner {
    /// Reads the device profile in `device` and the table of `base_model`'s `family`.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub fn load(
        device: &Path,
        quality_root: &Path,
        base_model: &str,
        family: &str,
    ) -> Result<Self> {
        Ok(Self {
            device: DeviceProfile::load(device)?,
            base_model: base_model.to_owned(),
            family: family.to_owned(),
            table: QualityTable::load(&quality_root.join(base_model), family)?,
        })
    }

    /// The most accurate plan among those predicted to meet `slo`; of equals the quicker one. If
    /// none does, the one that exceeds it by the smallest factor.
    ///
    /// `kept_tokens` is the prompt's length at each of [`PROMPT_RATIOS`].
    ///
    /// # Errors
    /// If the profile has no level that the table has.
    pub fn choose(
        &self,
        slo: (Ratio, Ratio),
        kept_tokens: &[u32; PROMPT_RATIOS.len()],
        output_tokens: u32,
    ) -> Result<PlanChoice> {
        let family = self.device.family(&self.base_model, &self.family)?;
        let prompt = kept_tokens[PROMPT_RATIOS.len() - 1];
        let context = |tokens: u32| tokens + output_tokens / 2;
        let full = self.device.base(&self.base_model)?;
        let most = (slo.0.of(full.ttft(prompt)), slo.1.of(full.tpot(context(prompt))));
        let bounds = Bounds::Latency { ttft: most.0, tpot: most.1 };
        let mut best: Option<(f64, PlanChoice)> = None;
        for (level_index, &level) in self.table.levels().iter().enumerate() {
            let Ok(latency) = family.level(level) else { continue };
            for (ratio_index, &prompt_ratio) in PROMPT_RATIOS.iter().enumerate() {
                let Some(accuracy) = self.mean_accuracy(level_index, prompt_ratio) else {
                    continue;
                };
                let kept = kept_tokens[ratio_index];
                let (ttft, tpot) = (latency.ttft(kept), latency.tpot(context(kept)));
                let gaps = output_tokens.saturating_sub(1);
                let forecast = Forecast { ttft, tpot, gaps, power: None };
                let feasible = forecast.meets(bounds);
                let plan = Plan { level, prompt_ratio };
                let worth = if feasible { accuracy } else { -forecast.load(bounds) };
                let better = best.as_ref().is_none_or(|(best_worth, best)| {
                    (feasible, worth, best.ttft + best.tpot)
                        > (best.feasible, *best_worth, ttft + tpot)
                });
                if better {
                    best = Some((
                        worth,
                        self.describe(family, plan, ratio_index, most, (ttft, tpot, feasible)),
                    ));
                }
            }
        }
        best.map(|(_, choice)| choice).ok_or_else(|| {
            Error::new("quality table", "shares no level with the device profile")
                .found(&self.family)
        })
    }

    fn describe(
        &self,
        family: &FamilyLatency,
        plan: Plan,
        ratio_index: usize,
        bounds: (Duration, Duration),
        (ttft, tpot, feasible): (Duration, Duration, bool),
    ) -> PlanChoice {
        PlanChoice {
            plan,
            ratio_index,
            ttft_bound: bounds.0,
            tpot_bound: bounds.1,
            ttft,
            tpot,
            feasible,
            device: self.device.name.clone(),
            provenance: family.provenance.label(),
        }
    }

    fn mean_accuracy(&self, level: usize, ratio: Ratio) -> Option<f64> {
        let ratio = self.table.ratio_index(ratio)?;
        let of = |name: &str| self.table.expected_accuracy(name, level, ratio);
        let accuracies: Vec<f64> = self.table.datasets().filter_map(of).collect();
        let count = accuracies.len() as f64;
        (count > 0.0).then(|| accuracies.iter().sum::<f64>() / count)
    }
}
