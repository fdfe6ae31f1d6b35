//! Qualcomm's AI Hub Models: `perf.yaml` of a model, by precision, component and device.
//!
//! A file has one range of TTFT up to the whole context. Where its longest is a whole number of
//! times its shortest, the shortest is the chunk of tokens that the runtime reads at once, the
//! context by that number, and the longest was computed from it: no second measurement. Else the
//! shortest is a prompt of 128 tokens, as most are. At which context tokens are timed the file does
//! not say; they stand at the shortest prompt's.

use serde_json::Value;

use super::fields::Fields;
use super::found::Found;
use super::yaml;
use crate::error::Result;
use crate::input::Input;
use crate::profile::Phase;
use crate::profile::point::Origin;

const TOOL: &str = "ai-hub-models";
/// Tokens of the shortest prompt where a range does not give them away.
const SHORTEST: u32 = 128;
const RANGE: &str = "time_to_first_token_range_milliseconds";

pub(super) fn read(input: &Input) -> Result<Vec<Found>> {
    let path = input.path();
    let document = yaml::parse(path, input.text())?;
    let file = Fields::of(path, "document 1", &document)?;
    file.is_of(TOOL, &["precisions"])?;
    let mut all = Vec::new();
    for (precision, value) in file.inner("precisions")?.each() {
        let place = format!("precision {precision}");
        let components = Fields::of(path, place, value)?.inner("components")?;
        for (model, value) in components.each() {
            let place = format!("precision {precision}, component {model}");
            let devices = Fields::of(path, place, value)?.inner("performance_metrics")?;
            for (device, value) in devices.each() {
                let place = format!("precision {precision}, component {model}, device {device}");
                for (runtime, value) in Fields::of(path, place.clone(), value)?.each() {
                    let names = [model, device, runtime, precision];
                    all.extend(metrics(input, &place, value, names)?);
                }
            }
        }
    }
    Ok(all)
}

/// What one runtime was timed at.
fn metrics(input: &Input, place: &str, value: &Value, names: [&str; 4]) -> Result<Vec<Found>> {
    let [model, device, runtime, precision] = names.map(|name| Some(name.to_owned()));
    let place = format!("{place}, {}", names[2]);
    let runs = Fields::of(input.path(), place.clone(), value)?;
    let Some(Value::Array(list)) = value.get("llm_metrics") else {
        return Err(runs.wrong("no times of a language model").allowed("key \"llm_metrics\""));
    };
    let source = format!("{}, {place}", super::file_name(input));
    let mut all = Vec::new();
    for run in list {
        let run = Fields::of(input.path(), place.clone(), run)?;
        let mut found = Found { model: model.clone(), device: device.clone(), ..Found::at(&place) };
        (found.runtime, found.precision) = (runtime.clone(), precision.clone());
        let decode_ms = 1000.0 / run.positive("tokens_per_second")?;
        let range = run.inner(RANGE)?;
        let (min, max) = (range.positive("min")?, range.positive("max")?);
        let context = run.tokens("context_length")?;
        let context = context.ok_or_else(|| super::no_lengths(&run, "context_length"))?;
        if min > max {
            return Err(range.wrong_at("max", "below \"min\"").found(max).allowed(min));
        }
        let (shortest, longest) = match whole_times(max / min, context) {
            Some(times) => (context / times, Origin::Computed),
            None => (SHORTEST.min(context), Origin::Measured),
        };
        found.point(Phase::Prefill, shortest, min, Origin::Measured, &source);
        if shortest < context {
            found.point(Phase::Prefill, context, max, longest, &source);
        }
        found.point(Phase::Decode, shortest, decode_ms, Origin::Measured, &source);
        all.push(found);
    }
    Ok(all)
}

/// How many chunks a context has, if `ratio` is a whole number that divides it.
fn whole_times(ratio: f64, context: u32) -> Option<u32> {
    let times = ratio.round();
    let is_whole = (ratio / times - 1.0).abs() < 1e-4;
    (is_whole && context.is_multiple_of(times as u32)).then_some(times as u32)
}
