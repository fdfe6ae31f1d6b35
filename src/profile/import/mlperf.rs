//! MLPerf Client: `results.json`, one object a run, with times by category of prompts.
//!
//! A category has a mean time to the first token in seconds, a mean number of tokens in and out,
//! and a rate of the tokens after the first. Where a file has only a rate of all tokens, as the
//! mobile app of MLPerf writes it, that rate counts the first token's time: it is taken out, and
//! the point is computed.

use super::fields::{Fields, json_values};
use super::found::Found;
use super::{Facts, no_lengths};
use crate::error::Result;
use crate::input::Input;
use crate::profile::Phase;
use crate::profile::point::Origin;

const TOOL: &str = "MLPerf Client";
const TTFT_S: &str = "Avg Time to First Token";
const LATER_RATE: &str = "Avg 2nd+ Token Generation Rate";
const WHOLE_RATE: &str = "Avg Token Generation Rate";
const TOKENS_IN: &str = "Avg Input Tokens";
const TOKENS_OUT: &str = "Avg Generated Tokens";

pub(super) fn read(input: &Input, facts: &Facts) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for (place, value) in json_values(input)? {
        let run = Fields::of(input.path(), place, &value)?;
        run.is_of(TOOL, &["category_results"])?;
        let first = |keys: &[&str]| keys.iter().find_map(|key| run.text(key));
        let mut found = Found::at(&run.place);
        found.model = first(&["Model Name", "Model", "Scenario Name"]);
        found.device = first(&["Device Name", "Device", "Device Type"]);
        found.runtime = first(&["Execution Provider Name", "Execution Provider"]);
        found.version = first(&["MLPerf Client Version", "Version"]);
        found.precision = first(&["Precision", "Quantization"]);
        for (name, value) in run.inner("category_results")?.each().filter(|it| it.0 != "Overall") {
            let place = format!("{}, category {name}", run.place);
            category(input, &Fields::of(input.path(), place, value)?, facts, &mut found)?;
        }
        all.push(found);
    }
    Ok(all)
}

fn category(input: &Input, of: &Fields<'_>, facts: &Facts, found: &mut Found) -> Result<()> {
    let source = format!("{}, {}", super::file_name(input), of.place);
    let prompt = of.number(TOKENS_IN)?.map(|mean| mean.round() as u32).filter(|&mean| mean > 0);
    let prompt = facts.prompt_tokens(prompt).ok_or_else(|| no_lengths(of, TOKENS_IN))?;
    let ttft_s = of.positive(TTFT_S)?;
    found.point(Phase::Prefill, prompt, ttft_s * 1000.0, Origin::Measured, &source);
    let written = of.number(TOKENS_OUT)?.unwrap_or_default();
    let context = prompt + (written / 2.0) as u32;
    if of.has(LATER_RATE) {
        let ms = 1000.0 / of.positive(LATER_RATE)?;
        found.point(Phase::Decode, context, ms, Origin::Measured, &source);
        return Ok(());
    }
    let (rate, written) = (of.positive(WHOLE_RATE)?, of.positive(TOKENS_OUT)?);
    let decode_s = written / rate - ttft_s;
    if written <= 1.0 || decode_s <= 0.0 {
        return Err(of
            .wrong_at(WHOLE_RATE, "contradicts what stands beside it")
            .found(rate)
            .allowed(format!("a rate at which {written} tokens take more than {ttft_s} s")));
    }
    let ms = decode_s * 1000.0 / (written - 1.0);
    found.point(Phase::Decode, context, ms, Origin::Computed, &source);
    Ok(())
}
