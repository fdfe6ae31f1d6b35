//! Scales of time and length.

use super::{Call, Format, ImportSpec, ItemRule, Trace, Warning};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::limits::{TIME_MS, TOKENS};
use crate::request::Request;
use crate::units::SimTime;

/// Refuses a spec that is out of range.
pub(super) fn check(spec: &ImportSpec) -> Result<()> {
    let wrong = |key: &str, found: &dyn std::fmt::Display, allowed: &str| {
        Err(Error::new("trace import", "bad value").at(key).found(found).allowed(allowed))
    };
    let positive = |scale: f64| scale > 0.0 && scale.is_finite();
    if !positive(spec.time_scale) {
        return wrong("time_scale", &spec.time_scale, "a number above 0");
    }
    if !positive(spec.length_scale) {
        return wrong("length_scale", &spec.length_scale, "a number above 0");
    }
    if !positive(spec.arrivals_per_hour) {
        return wrong("arrivals_per_hour", &spec.arrivals_per_hour, "a number above 0");
    }
    if !spec.alpha.is_finite() {
        return wrong("alpha", &spec.alpha, "a finite number");
    }
    TOKENS.check("trace import", "output_tokens", spec.output_tokens.into())?;
    if matches!(spec.format, Format::ElastilmJson | Format::Native) && !spec.columns.is_default() {
        return wrong("columns", &spec.format.name(), "a format whose columns can be named");
    }
    if spec.cache_tokens > 0 && !matches!(spec.format, Format::Burstgpt | Format::Mooncake) {
        return wrong(
            "cache_tokens",
            &spec.format.name(),
            "burstgpt or mooncake, which say what \
             prompts go on from",
        );
    }
    let bounded = spec.part.to.is_some() || !spec.part.from.is_zero();
    if spec.format == Format::ElastilmJson && bounded {
        return wrong("from, to", &spec.format.name(), "a format with times");
    }
    if spec.items == (ItemRule::NearestLength { neighbours: 0 }) {
        return wrong("neighbours", &0, "1 or more");
    }
    Ok(())
}

fn is_one(scale: f64) -> bool {
    scale.total_cmp(&1.0).is_eq()
}

/// `nanos` times `scale`, to the nearest nanosecond.
pub(super) fn time(nanos: u64, scale: f64) -> Result<u64> {
    // Unscaled times stay exact beyond the 53 bits of a float.
    let scaled = if is_one(scale) { nanos } else { (nanos as f64 * scale).round() as u64 };
    if scaled > TIME_MS.max * 1_000_000 {
        return Err(Error::new("trace import", "arrivals reach beyond a hundred years")
            .at("time_scale")
            .found(scale));
    }
    Ok(scaled)
}

/// Scales all lengths, to the nearest token.
pub(super) fn lengths(calls: &mut [Call], scale: f64) -> Result<Option<Warning>> {
    let mut raised = 0;
    let mut scaled = |tokens: u32| {
        let scaled = (f64::from(tokens) * scale).round();
        if scaled > TOKENS.max as f64 {
            return Err(Error::new("trace import", "a length is out of range")
                .at("length_scale")
                .found(format!("{tokens} tokens · {scale}"))
                .allowed(format!("at most {} tokens", TOKENS.max)));
        }
        raised += u64::from(scaled < 1.0);
        Ok((scaled as u32).max(1))
    };
    for call in calls {
        call.prompt_tokens = scaled(call.prompt_tokens)?;
        call.output_tokens = scaled(call.output_tokens)?;
    }
    Ok((raised > 0).then_some(Warning::RaisedToOneToken { lengths: raised }))
}

/// A native trace, or a part of it, replayed faster or slower.
pub(super) fn native(input: &Input, spec: &ImportSpec) -> Result<Trace> {
    if !is_one(spec.length_scale) {
        return Err(Error::new("trace import", "a native trace has its prompts")
            .at("length_scale")
            .found(spec.length_scale)
            .allowed("1"));
    }
    let mut trace = Trace::of_input(input)?;
    if trace.requests.is_empty() {
        return Err(Error::file(input.path(), "no request to import"));
    }
    let since = |request: &Request| request.arrival.as_nanos();
    trace.requests = spec.part.of(trace.requests, since, spec.seed)?;
    for request in &mut trace.requests {
        request.arrival = SimTime::from_nanos(spec.part.since_from(request.arrival.as_nanos()));
    }
    trace.scale_time(spec.time_scale)?;
    Ok(trace)
}

impl Trace {
    /// Multiplies all arrivals with `scale`, to the nearest nanosecond: 0.5 doubles the load.
    ///
    /// # Errors
    /// If an arrival is then later than a hundred years.
    ///
    /// # Panics
    /// If `scale` is not positive.
    pub fn scale_time(&mut self, scale: f64) -> Result<()> {
        assert!(scale > 0.0, "a time scale is positive");
        for request in &mut self.requests {
            request.arrival = SimTime::from_nanos(time(request.arrival.as_nanos(), scale)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lengths_scale_to_the_nearest_and_say_when_nothing_is_left() {
        assert_eq!(time(3, 0.5).unwrap(), 2);
        assert_eq!(time((1 << 60) + 1, 1.0).unwrap(), (1 << 60) + 1);
        assert!(time(u64::MAX / 8, 4.0).unwrap_err().to_string().contains("hundred years"));
        let mut calls = [Call { nanos: 0, prompt_tokens: 10, output_tokens: 2, turn: None }];
        assert_eq!(lengths(&mut calls, 0.5).unwrap(), None);
        assert_eq!((calls[0].prompt_tokens, calls[0].output_tokens), (5, 1));
        let warning = lengths(&mut calls, 0.3).unwrap();
        assert_eq!(warning, Some(Warning::RaisedToOneToken { lengths: 1 }));
        assert_eq!((calls[0].prompt_tokens, calls[0].output_tokens), (2, 1));
        assert_eq!(
            lengths(&mut calls, 1e10).unwrap_err().to_string(),
            "trace import, length_scale: a length is out of range; found 2 tokens · 10000000000; \
             allowed: at most 10000000 tokens"
        );
    }
}
