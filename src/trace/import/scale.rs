//! Scales of time and length.

use std::path::Path;

use super::{Call, ImportSpec, ItemRule, SECONDS_MAX, Trace, Warning};
use crate::error::{Error, Result};
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
    if spec.output_tokens == 0 {
        return wrong("output_tokens", &0, "1 or more");
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
    if scaled as f64 > SECONDS_MAX * 1e9 {
        return Err(Error::new("trace import", "arrivals reach beyond a hundred years")
            .at("time_scale")
            .found(scale));
    }
    Ok(scaled)
}

/// Scales all lengths, to the nearest token.
pub(super) fn lengths(calls: &mut [Call], scale: f64) -> Option<Warning> {
    let mut raised = 0;
    let mut scaled = |tokens: u32| {
        let scaled = (f64::from(tokens) * scale).round() as u32;
        raised += u64::from(scaled == 0);
        scaled.max(1)
    };
    for call in calls {
        call.prompt_tokens = scaled(call.prompt_tokens);
        call.output_tokens = scaled(call.output_tokens);
    }
    (raised > 0).then_some(Warning::RaisedToOneToken { lengths: raised })
}

/// A native trace, replayed faster or slower.
pub(super) fn native(path: &Path, spec: &ImportSpec) -> Result<Trace> {
    if !is_one(spec.length_scale) {
        return Err(Error::new("trace import", "a native trace has its prompts")
            .at("length_scale")
            .found(spec.length_scale)
            .allowed("1"));
    }
    let mut trace = Trace::read(path)?;
    trace.requests.truncate(spec.limit.unwrap_or(usize::MAX));
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
        let mut calls = [Call { nanos: 0, prompt_tokens: 10, output_tokens: 2 }];
        assert_eq!(lengths(&mut calls, 0.5), None);
        assert_eq!((calls[0].prompt_tokens, calls[0].output_tokens), (5, 1));
        let warning = lengths(&mut calls, 0.3);
        assert_eq!(warning, Some(Warning::RaisedToOneToken { lengths: 1 }));
        assert_eq!((calls[0].prompt_tokens, calls[0].output_tokens), (2, 1));
    }
}
