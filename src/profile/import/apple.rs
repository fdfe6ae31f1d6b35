//! `apple-silicon-llm-bench`: a JSON object a run, or one a cell of a table.
//!
//! A run says how many tokens its prompt has, when the first token came and at what rate the others
//! did; a cell says the same at a context. A sustained run says what heat does: of it only the
//! first five seconds are of a cool device, and its number of prompt tokens is of many prompts.

use super::fields::{Fields, json_values};
use super::found::Found;
use super::warning::Warning;
use super::{ImportSpec, no_lengths};
use crate::error::Result;
use crate::input::Input;
use crate::profile::Phase;
use crate::profile::heat_fit::{SECONDS_MIN, SpeedSeries};
use crate::profile::point::Origin;

const TOOL: &str = "apple-silicon-llm-bench";
const MB: f64 = 1e6;
/// Values of the series, one a second, that are of a device as it was when the run began.
const COOL_SECONDS: usize = 5;

pub(super) fn read(
    input: &Input,
    spec: &ImportSpec,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for (place, value) in json_values(input)? {
        let record = Fields::of(input.path(), place, &value)?;
        if record.has("metrics") {
            all.push(run(input, &record, spec)?);
            continue;
        }
        record.is_of(TOOL, &["model"])?;
        if record.has("decode_tps") && record.text("task").is_none() {
            all.push(cell(input, &record, spec)?);
        } else {
            let place = format!("{}, {}", super::file_name(input), record.place);
            warnings.push(Warning::WithoutTimes { place });
        }
    }
    Ok(all)
}

/// What a device does when it works without a pause.
#[derive(Debug, Clone, PartialEq)]
pub struct SustainedRun {
    /// Its speeds, one a second.
    pub series: SpeedSeries,
    /// How warm the device said it was at the beginning: `nominal`, `fair`, `serious`, `critical`.
    pub began: String,
}

/// The sustained runs of a file of `apple-silicon-llm-bench`.
///
/// # Errors
/// If the file is of another tool, or has no series.
pub fn sustained_runs(input: &Input) -> Result<Vec<SustainedRun>> {
    let mut runs = Vec::new();
    for (place, value) in json_values(input)? {
        let record = Fields::of(input.path(), place, &value)?;
        record.is_of(TOOL, &["metrics", "device", "model", "runtime", "task"])?;
        let metrics = record.inner("metrics")?;
        let model = record.inner("model")?.text("id").unwrap_or_default();
        let name = format!("{}, {model}", super::file_name(input));
        let rates = metrics.series("decodeRateRollingWindow")?;
        if rates.len() < SECONDS_MIN {
            return Err(metrics
                .wrong_at("decodeRateRollingWindow", "no series of a sustained run")
                .found(format!("{} values", rates.len()))
                .allowed(format!("{SECONDS_MIN} or more, one a second")));
        }
        let began = metrics.text("initialThermalState").unwrap_or_default();
        runs.push(SustainedRun { series: SpeedSeries { name, rates }, began });
    }
    Ok(runs)
}

/// One run.
fn run(input: &Input, record: &Fields<'_>, spec: &ImportSpec) -> Result<Found> {
    record.is_of(TOOL, &["metrics", "device", "model", "runtime", "task"])?;
    let (metrics, device, model) =
        (record.inner("metrics")?, record.inner("device")?, record.inner("model")?);
    let mut found = Found { model: model.text("id"), ..Found::at(&record.place) };
    found.device = device.text("modelIdentifier");
    found.runtime = record.text("runtime");
    found.precision = model.text("quantization");
    found.version = device.text("systemVersion").map(|version| format!("iOS {version}"));
    found.cores = device.count("processorCount")?.map(|cores| cores as u32);
    let bytes = |mb: Option<f64>| mb.map(|mb| (mb * MB) as u64);
    found.memory_bytes = bytes(device.number("physicalMemoryMB")?);
    found.weight_bytes = bytes(model.number("onDiskSizeMB")?);
    let series = metrics.numbers("decodeRateRollingWindow");
    let is_sustained = series.len() > 4 * COOL_SECONDS;
    let stated = if is_sustained { None } else { metrics.tokens("promptTokenCount")? };
    let prompt = spec.facts.prompt_tokens(stated);
    let prompt = prompt.ok_or_else(|| no_lengths(&metrics, "promptTokenCount"))?;
    let by_hand = if stated.is_none() { ", prompt length given by hand" } else { "" };
    let id = record.text("id").unwrap_or_default();
    let source = format!("{}, run {id}{by_hand}", super::file_name(input));
    let ttft = metrics.positive("firstTokenLatencyMS")?;
    found.point(Phase::Prefill, prompt, ttft, Origin::Measured, &source);
    if is_sustained {
        let cool = &series[..COOL_SECONDS];
        let rate = cool.iter().sum::<f64>() / cool.len() as f64;
        let written = (rate * COOL_SECONDS as f64) as u32;
        let source = format!("{source}, mean of the first {COOL_SECONDS} s of its series");
        found.point(Phase::Decode, prompt + written / 2, 1000.0 / rate, Origin::Measured, &source);
        return Ok(found);
    }
    let ms = 1000.0 / metrics.positive("decodeTokensPerSecond")?;
    if let Some(middle) = metrics.number("interTokenLatencyP50MS")? {
        // Some runtimes hand out several tokens at a time: only a wrong unit is that far off.
        metrics.agrees("interTokenLatencyP50MS", middle, ms, 99.0)?;
    }
    let written = metrics.tokens("generatedTokenCount")?.unwrap_or_default();
    found.point(Phase::Decode, prompt + written / 2, ms, Origin::Measured, &source);
    Ok(found)
}

/// One cell of a sweep over contexts.
fn cell(input: &Input, record: &Fields<'_>, spec: &ImportSpec) -> Result<Found> {
    let mut found = Found { model: record.text("model"), ..Found::at(&record.place) };
    found.device = record.text("device");
    found.precision = record.text("quant");
    let runtime = [record.text("runtime"), record.text("framework"), record.text("backend")];
    let runtime: Vec<_> = runtime.into_iter().flatten().collect();
    found.runtime = (!runtime.is_empty()).then(|| runtime.join(" "));
    let stated = record.tokens("context_tokens")?;
    let context = spec.facts.prompt_tokens(stated);
    let context = context.ok_or_else(|| no_lengths(record, "context_tokens"))?;
    let by_hand = if stated.is_none() { ", prompt length given by hand" } else { "" };
    let source = format!("{}, {}{by_hand}", super::file_name(input), record.place);
    if record.has("ttft_ms") {
        let ttft = record.positive("ttft_ms")?;
        if let Some(rate) = record.number("prefill_tps_from_ttft")? {
            let rate_of_ttft = f64::from(context) * 1000.0 / ttft;
            record.agrees("prefill_tps_from_ttft", rate, rate_of_ttft, 0.1)?;
        }
        found.point(Phase::Prefill, context, ttft, Origin::Measured, &source);
    }
    let ms = 1000.0 / record.positive("decode_tps")?;
    found.point(Phase::Decode, context, ms, Origin::Measured, &source);
    Ok(found)
}
