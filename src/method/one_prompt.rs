//! A plan for one prompt that belongs to no dataset: what `pliant ask` and the service plan with.
//!
//! A plan's worth is its mean accuracy over all datasets that were measured. Its latencies are
//! those of the device profile times a *scale* per phase, which starts at 1 and follows what the
//! engine really took ([`PromptPlanner::learn`]): a machine that is busy, or warm, is as slow as it
//! is.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::needs::least;
use crate::error::{Error, Result};
use crate::files;
use crate::plan::Plan;
use crate::policy::Forecast;
use crate::profile::{DeviceProfile, FamilyLatency, LevelLatency, Phase, QualityTable};
use crate::request::{Bounds, FullCost, Slo};
use crate::schedule::Needs;
use crate::units::{Level, Milliwatts, PROMPT_RATIOS, Ratio, duration_from_millis};

/// Ratios that a prompt may be cut to.
const RATIOS: usize = PROMPT_RATIOS.len();

/// How much an outcome counts for the scale of its phase: about the last ten matter.
const LEARNING: f64 = 0.1;
/// A single outcome moves a scale by no more than if it had been so many times as slow or quick.
const OUTLIER: f64 = 4.0;

/// Predicts plans with a device profile and weighs them by their mean accuracy over all datasets.
#[derive(Debug)]
pub struct PromptPlanner {
    device: DeviceProfile,
    family: FamilyLatency,
    full: LevelLatency,
    /// Levels that have both latencies and answers, each with its accuracy at every ratio.
    levels: Vec<(LevelLatency, [Option<f64>; RATIOS])>,
    /// The share of every bound that plans leave free.
    margin: Ratio,
    scales: Mutex<Scales>,
}

/// What the profile's times are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scales {
    /// Reading prompts.
    pub prefill: f64,
    /// Writing tokens.
    pub decode: f64,
}

impl Default for Scales {
    fn default() -> Self {
        Self { prefill: 1.0, decode: 1.0 }
    }
}

impl Scales {
    /// What [`save`](Self::save) wrote; `None` where there is no such file, or one that is no
    /// longer understood.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let scales: Self = toml::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        let is_scale = |scale: f64| scale.is_finite() && scale > 0.0;
        (is_scale(scales.prefill) && is_scale(scales.decode)).then_some(scales)
    }

    /// Keeps them for the next start.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// Never: scales are plain numbers.
    pub fn save(self, path: &Path) -> Result<()> {
        let text = toml::to_string(&self).expect("scales are plain numbers");
        files::write_whole(path, text.as_bytes())
    }
}

/// The answers that the service weighs plans of `family` by, in the folder `dir`: those to prompts
/// that the score-head cut, as the service cuts them; where there are none those of the family
/// alone, which may know whole prompts only.
///
/// # Errors
/// If there are neither, or a file is wrong.
pub fn answers_when_cut(dir: &Path, family: &str) -> Result<QualityTable> {
    match QualityTable::load_if_there(dir, &format!("{family}-score-head"))? {
        Some(table) => Ok(table),
        None => QualityTable::load(dir, family),
    }
}

/// What is to be planned for.
#[derive(Debug, Clone, Copy)]
pub struct PromptRequest {
    /// The prompt's length at each of [`PROMPT_RATIOS`].
    pub kept_tokens: [u32; RATIOS],
    /// Tokens to write, at most.
    pub output_tokens: u32,
    /// What is left of the objective; lengths of time count from now.
    pub bounds: Bounds,
    /// The only level that may answer.
    pub level: Option<Level>,
    /// The only ratio that the prompt may be cut to.
    pub ratio: Option<Ratio>,
    /// The level whose weights are resident.
    pub resident: Option<Level>,
}

/// A plan with what was predicted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanChoice {
    /// The plan.
    pub plan: Plan,
    /// Index of its ratio in [`PROMPT_RATIOS`].
    pub ratio_index: usize,
    /// Predicted time to first token.
    pub ttft: Duration,
    /// Predicted time per output token.
    pub tpot: Duration,
    /// Whether the prediction meets the objective; otherwise no plan does.
    pub feasible: bool,
}

impl PromptPlanner {
    /// Reads the device profile in `device` and the table of `base_model`'s `family`.
    ///
    /// # Errors
    /// If a file is missing or wrong, or the profile has no level that the table has.
    pub fn load(
        device: &Path,
        quality_root: &Path,
        base_model: &str,
        family: &str,
    ) -> Result<Self> {
        let table = QualityTable::load(&quality_root.join(base_model), family)?;
        Self::new(DeviceProfile::load(device)?, &table, base_model, family)
    }

    /// Plans with `device` and the answers of `table`, both of `base_model`'s `family`.
    ///
    /// # Errors
    /// If the profile lacks the family, or has no level that the table has.
    pub fn new(
        device: DeviceProfile,
        table: &QualityTable,
        base_model: &str,
        family: &str,
    ) -> Result<Self> {
        let (full, latency) =
            (device.base(base_model)?.clone(), device.family(base_model, family)?.clone());
        let levels: Vec<_> = table
            .levels()
            .iter()
            .enumerate()
            .filter_map(|(index, &level)| {
                let accuracy = |ratio| mean_accuracy(table, index, ratio);
                Some((latency.level(level).ok()?.clone(), PROMPT_RATIOS.map(accuracy)))
            })
            .collect();
        if levels.iter().all(|(_, accuracies)| accuracies.iter().all(Option::is_none)) {
            return Err(Error::new("quality table", "shares no level with the device profile")
                .found(family));
        }
        let (margin, scales) = (Ratio::percent(0), Mutex::default());
        Ok(Self { device, family: latency, full, levels, margin, scales })
    }

    /// The same, but plans leave the share `margin` of every bound free: on a machine whose times
    /// vary half of those that sit at their bounds are late.
    ///
    /// # Panics
    /// If no time is left.
    #[must_use]
    pub fn with_margin(self, margin: Ratio) -> Self {
        assert!(margin < Ratio::ONE, "a margin leaves time");
        Self { margin, ..self }
    }

    /// The device whose profile predicts.
    #[must_use]
    pub fn device(&self) -> &DeviceProfile {
        &self.device
    }

    /// The base model that is planned for.
    #[must_use]
    pub fn base_model(&self) -> &str {
        &self.family.base_model
    }

    /// Where the latencies come from.
    #[must_use]
    pub fn provenance(&self) -> &'static str {
        self.family.provenance.label()
    }

    /// Levels that can be planned, smallest first.
    #[must_use]
    pub fn levels(&self) -> Vec<Level> {
        self.levels.iter().map(|(latency, _)| latency.level).collect()
    }

    /// What the profile's times are multiplied with just now.
    #[must_use]
    pub fn scales(&self) -> Scales {
        *self.lock()
    }

    /// The same, from what was learnt before.
    pub fn set_scales(&self, scales: Scales) {
        *self.lock() = scales;
    }

    fn lock(&self) -> MutexGuard<'_, Scales> {
        self.scales.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `phase` was predicted, and took as long as measured: later predictions move towards that.
    pub fn learn(&self, phase: Phase, predicted: Duration, measured: Duration) {
        let mut scales = self.lock();
        let scale = match phase {
            Phase::Prefill => &mut scales.prefill,
            Phase::Decode => &mut scales.decode,
            Phase::Switch => return,
        };
        if predicted.is_zero() || measured.is_zero() {
            return;
        }
        let off = measured.as_secs_f64() / predicted.as_secs_f64();
        *scale *= 1.0 + LEARNING * (off.clamp(1.0 / OUTLIER, OUTLIER) - 1.0);
    }

    /// The profile that predictions are made with just now: its times, each phase by its scale.
    #[must_use]
    pub fn profile_now(&self) -> DeviceProfile {
        let Scales { prefill, decode } = self.scales();
        let mut profile = self.device.clone();
        for level in profile.families.iter_mut().flat_map(|family| &mut family.levels) {
            level.ttft_ms = level.ttft_ms.times(prefill);
            level.tpot_ms = level.tpot_ms.times(decode);
        }
        profile
    }

    /// What the base model takes, unqueued, for a prompt of that length, read whole.
    #[must_use]
    pub fn full_cost(&self, prompt_tokens: u32, output_tokens: u32) -> FullCost {
        let scales = self.scales();
        let ttft = scaled(self.full.ttft(prompt_tokens), scales.prefill);
        let tpot = self.full.tpot(context(prompt_tokens, output_tokens));
        let tpot = scaled(tpot, scales.decode);
        let gaps = output_tokens.saturating_sub(1);
        FullCost { ttft, tpot, gaps, power: self.power(Level::FULL, ttft, tpot * gaps) }
    }

    /// The objective in quantities.
    ///
    /// # Errors
    /// If it is one of energy and the device's power is not known.
    pub fn bounds(&self, slo: Slo, prompt_tokens: u32, output_tokens: u32) -> Result<Bounds> {
        slo.resolve(&self.full_cost(prompt_tokens, output_tokens)).ok_or_else(|| {
            Error::new(format!("device profile {}", self.device.name), "power is not known")
                .found("an objective of energy")
                .allowed("one of time")
        })
    }

    /// The most accurate plan among those predicted to meet the objective; of equals the quicker
    /// one. If none does, the one that exceeds it by the smallest factor. `cached` says how many
    /// tokens of the prompt a level's KV cache already has at the ratio of that index.
    ///
    /// # Errors
    /// If the request pins a level that cannot be planned.
    pub fn choose(
        &self,
        request: &PromptRequest,
        cached: &dyn Fn(Level, usize) -> u32,
    ) -> Result<PlanChoice> {
        let mut best: Option<(f64, PlanChoice)> = None;
        let bounds = request.bounds.less(self.margin);
        for (accuracy, plan, ratio_index, forecast) in self.candidates(request, cached) {
            let feasible = forecast.meets(bounds);
            let worth = if feasible { accuracy } else { -forecast.load(bounds) };
            let Forecast { ttft, tpot, .. } = forecast;
            let better = best.as_ref().is_none_or(|(best_worth, best)| {
                (feasible, worth, best.ttft + best.tpot) > (best.feasible, *best_worth, ttft + tpot)
            });
            if better {
                best = Some((worth, PlanChoice { plan, ratio_index, ttft, tpot, feasible }));
            }
        }
        best.map(|(_, choice)| choice).ok_or_else(|| {
            let levels: Vec<String> = self.levels().iter().map(ToString::to_string).collect();
            let found = request.level.map_or("none".to_owned(), |level| level.to_string());
            Error::new("plan", "no such level").found(found).allowed(levels.join(", "))
        })
    }

    /// The least that any plan takes, without a switch.
    #[must_use]
    pub fn needs(&self, request: &PromptRequest) -> Needs {
        let nothing = |_, _| 0;
        let all: Vec<Forecast> = self.candidates(request, &nothing).map(|it| it.3).collect();
        least(all.into_iter(), request.bounds)
    }

    /// Every plan that the request allows, with its accuracy and its forecast.
    fn candidates<'a>(
        &'a self,
        request: &'a PromptRequest,
        cached: &'a dyn Fn(Level, usize) -> u32,
    ) -> impl Iterator<Item = (f64, Plan, usize, Forecast)> + 'a {
        let scales = self.scales();
        let allowed = |level| request.level.is_none_or(|only| only == level);
        let levels = self.levels.iter().filter(move |(latency, _)| allowed(latency.level));
        levels.flat_map(move |(latency, accuracies)| {
            let ratios = (0..RATIOS)
                .filter(|&ratio| request.ratio.is_none_or(|only| only == PROMPT_RATIOS[ratio]));
            ratios.filter_map(move |ratio| {
                let accuracy = accuracies[ratio]?;
                let level = latency.level;
                let forecast = self.forecast(latency, request, ratio, cached(level, ratio), scales);
                Some((accuracy, Plan::new(level, PROMPT_RATIOS[ratio]), ratio, forecast))
            })
        })
    }

    fn forecast(
        &self,
        latency: &LevelLatency,
        request: &PromptRequest,
        ratio: usize,
        cached: u32,
        scales: Scales,
    ) -> Forecast {
        let (kept, whole) = (request.kept_tokens[ratio], request.kept_tokens[RATIOS - 1]);
        let cutting = if ratio == RATIOS - 1 || kept == whole {
            Duration::ZERO
        } else {
            let millis = self.family.compress_ms_per_token * f64::from(whole);
            duration_from_millis(millis).unwrap_or_default()
        };
        let switch = match request.resident {
            Some(resident) if resident != latency.level => latency.switch(),
            _ => Duration::ZERO,
        };
        let read = scaled(latency.reading(kept, cached), scales.prefill);
        let ttft = cutting + switch + read;
        let tpot = scaled(latency.tpot(context(kept, request.output_tokens)), scales.decode);
        let gaps = request.output_tokens.saturating_sub(1);
        Forecast { ttft, tpot, gaps, power: self.power(latency.level, ttft, tpot * gaps) }
    }

    fn power(&self, level: Level, before: Duration, after: Duration) -> Option<Milliwatts> {
        let power = self.device.power.as_ref()?;
        Some(power.draw().over((level, level), before, after))
    }

    /// Unscaled times of a plan: to read `kept` tokens of which some are cached, and per token at a
    /// context.
    ///
    /// # Errors
    /// If there is no such level.
    pub fn profiled(
        &self,
        level: Level,
        kept: u32,
        cached: u32,
        context: u32,
    ) -> Result<(Duration, Duration)> {
        let latency = self.family.level(level)?;
        Ok((latency.reading(kept, cached), latency.tpot(context)))
    }
}

/// Tokens in context at the middle of an answer.
fn context(prompt_tokens: u32, output_tokens: u32) -> u32 {
    prompt_tokens + output_tokens / 2
}

fn scaled(length: Duration, scale: f64) -> Duration {
    length.mul_f64(scale)
}

fn mean_accuracy(table: &QualityTable, level: usize, ratio: Ratio) -> Option<f64> {
    let ratio = table.ratio_index(ratio)?;
    let of = |name: &str| table.expected_accuracy(name, level, ratio);
    let accuracies: Vec<f64> = table.datasets().filter_map(of).collect();
    let count = accuracies.len() as f64;
    (count > 0.0).then(|| accuracies.iter().sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{answers, device};

    /// Full: n ms to read n tokens, 10 ms a token; half: n/2 ms, 5 ms; accuracies of the tables of
    /// `method::testing`.
    fn planner() -> PromptPlanner {
        let device = device();
        let base = device.families[0].base_model.clone();
        PromptPlanner::new(device, &answers(), &base, "width").unwrap()
    }

    fn request(ttft: u64, tpot: u64) -> PromptRequest {
        let ms = Duration::from_millis;
        let mut kept_tokens = [100; RATIOS];
        for (kept, ratio) in kept_tokens.iter_mut().zip(PROMPT_RATIOS) {
            *kept = u32::from(ratio.as_percent());
        }
        PromptRequest {
            kept_tokens,
            output_tokens: 5,
            bounds: Bounds::Latency { ttft: ms(ttft), tpot: ms(tpot) },
            level: None,
            ratio: None,
            resident: None,
        }
    }

    fn chosen(planner: &PromptPlanner, request: &PromptRequest) -> (u16, u16, bool) {
        let choice = planner.choose(request, &|_, _| 0).unwrap();
        let Plan { level, prompt_ratio, .. } = choice.plan;
        (level.as_percent(), prompt_ratio.as_percent(), choice.feasible)
    }

    #[test]
    fn the_most_accurate_plan_within_the_bounds_is_taken() {
        let planner = planner();
        assert_eq!(chosen(&planner, &request(100, 10)), (100, 100, true));
        assert_eq!(chosen(&planner, &request(99, 9)), (50, 100, true));
        assert_eq!(chosen(&planner, &request(30, 10)), (50, 50, true));
        assert_eq!(chosen(&planner, &request(20, 10)), (50, 50, false));
        let pinned = PromptRequest { level: Some(Level::FULL), ..request(30, 10) };
        assert_eq!(chosen(&planner, &pinned), (100, 50, false));
        let whole = PromptRequest { ratio: Some(Ratio::ONE), ..request(30, 10) };
        assert_eq!(chosen(&planner, &whole), (50, 100, false));
    }

    /// A tenth of 55 ms and of 11 leaves 49.5 and 9.9.
    #[test]
    fn a_margin_is_left_of_both_bounds() {
        let planner = planner();
        assert_eq!(chosen(&planner, &request(55, 11)), (50, 100, true));
        let planner = planner.with_margin(Ratio::percent(10));
        assert_eq!(chosen(&planner, &request(55, 11)), (50, 50, true));
        assert_eq!(chosen(&planner, &request(112, 12)), (100, 100, true));
    }

    /// The study's adapters were asked about cut prompts under the score-head's name only.
    #[test]
    fn the_service_weighs_plans_by_answers_to_prompts_that_were_cut() {
        let profiles =
            crate::profile::Profiles::at(concat!(env!("CARGO_MANIFEST_DIR"), "/device-profiles"));
        let folder = profiles.answers("smollm2-135m-instruct");
        let measured = |table: &QualityTable| table.ratios_measured().count();
        assert_eq!(measured(&answers_when_cut(&folder, "width-lora").unwrap()), RATIOS);
        assert_eq!(measured(&QualityTable::load(&folder, "width-lora").unwrap()), 1);
        assert!(answers_when_cut(&folder, "none").is_err());
    }

    /// Of 100 tokens 80 are cached: 20 ms are left to read, and 100 % is in time.
    #[test]
    fn what_the_cache_has_need_not_be_read() {
        let planner = planner();
        let cached = |level, ratio| u32::from(level == Level::FULL && ratio == RATIOS - 1) * 80;
        let choice = planner.choose(&request(30, 10), &cached).unwrap();
        assert_eq!((choice.plan, choice.ttft), (Plan::FULL, Duration::from_millis(20)));
    }

    /// Twice as slow as predicted, ten times over: 1.1^10 = 2.594.
    #[test]
    fn predictions_follow_what_was_measured_and_an_outlier_moves_them_little() {
        let planner = planner();
        let ms = Duration::from_millis;
        planner.learn(Phase::Decode, ms(10), ms(20));
        assert!((planner.scales().decode - 1.1).abs() < 1e-12);
        planner.learn(Phase::Prefill, ms(1), ms(1000));
        assert!((planner.scales().prefill - 1.3).abs() < 1e-12);
        // The full model now takes 130 ms and 11 ms a token.
        assert_eq!(planner.full_cost(100, 5).ttft, ms(130));
        assert_eq!(chosen(&planner, &request(100, 20)), (50, 100, true));
        for _ in 0..200 {
            planner.learn(Phase::Decode, scaled(ms(10), planner.scales().decode), ms(20));
        }
        assert!((planner.scales().decode - 2.0).abs() < 1e-6, "{:?}", planner.scales());
    }
}
