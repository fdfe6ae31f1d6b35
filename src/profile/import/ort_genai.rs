//! onnxruntime-genai's `benchmark_e2e.py`: a list of records, each one length of prompt and answer.
//!
//! A record's times are means over its repetitions; of several sequences at a time it says nothing
//! of one alone, so such records are refused.

use super::fields::{Fields, json_values};
use super::found::Found;
use super::no_lengths;
use crate::error::Result;
use crate::input::Input;
use crate::profile::Phase;
use crate::profile::point::Origin;

const TOOL: &str = "onnxruntime-genai's benchmark";

pub(super) fn read(input: &Input) -> Result<Vec<Found>> {
    let values = json_values(input)?;
    values
        .iter()
        .map(|(place, value)| record(input, &Fields::of(input.path(), place.clone(), value)?))
        .collect()
}

fn record(input: &Input, record: &Fields<'_>) -> Result<Found> {
    record.is_of(TOOL, &["config", "metadata", "metrics"])?;
    let (config, about) = (record.inner("config")?, record.inner("metadata")?);
    let metrics = record.inner("metrics")?;
    if let Some(batch) = config.count("batch_size")?.filter(|&batch| batch > 1) {
        let wrong = config.wrong_at("batch_size", "several sequences at a time");
        return Err(wrong.found(batch).allowed(1));
    }
    let mut found = Found::at(&record.place);
    found.model = config.inner("model_info")?.text("full_name");
    found.runtime = config.text("backend").or_else(|| about.text("package_name"));
    found.version = about.text("package_version");
    found.device = about.text("device");
    found.precision = config.text("precision");
    let prompt = config.tokens("prompt_length")?;
    let prompt = prompt.ok_or_else(|| no_lengths(&config, "prompt_length"))?;
    let written = config.tokens("tokens_generated")?.unwrap_or_default();
    let source = format!("{}, {}", super::file_name(input), record.place);
    let ttft = metrics.positive("prompt_processing_latency_ms")?;
    if let Some(rate) = metrics.number("prompt_processing_throughput_tps")? {
        let rate_of_ttft = f64::from(prompt) * 1000.0 / ttft;
        metrics.agrees("prompt_processing_throughput_tps", rate, rate_of_ttft, 0.1)?;
    }
    found.point(Phase::Prefill, prompt, ttft, Origin::Measured, &source);
    if metrics.has("token_generation_latency_ms") {
        let ms = metrics.positive("token_generation_latency_ms")?;
        if let Some(rate) = metrics.number("token_generation_throughput_tps")? {
            metrics.agrees("token_generation_throughput_tps", rate, 1000.0 / ms, 0.1)?;
        }
        found.point(Phase::Decode, prompt + written / 2, ms, Origin::Measured, &source);
    }
    Ok(found)
}
