//! Objectives in shares → in times, once and for all methods: a server that has learnt how fast its
//! machine is would put the same share in other times.

use crate::error::{Error, Result};
use crate::profile::DeviceProfile;
use crate::request::{Bounds, FullCost, Limit, Slo};
use crate::trace::Trace;

/// `trace` with each objective in times, those that `base_model` takes on the device of `profile`.
///
/// # Errors
/// If the profile does not have that model, or an objective is one of energy.
pub fn in_times(mut trace: Trace, profile: &DeviceProfile, base_model: &str) -> Result<Trace> {
    let full = profile.base(base_model)?;
    for request in &mut trace.requests {
        let cost = FullCost {
            ttft: full.ttft(request.prompt_tokens),
            tpot: full.tpot(request.prompt_tokens + request.output_tokens / 2),
            gaps: request.output_tokens.saturating_sub(1),
            power: None,
        };
        request.slo = match request.slo.resolve(&cost) {
            Some(Bounds::Latency { ttft, tpot }) => Slo::Absolute { ttft, tpot },
            Some(Bounds::EndToEnd(time)) => Slo::EndToEnd(Limit::Absolute(time)),
            Some(Bounds::Energy(_)) | None => {
                let error =
                    Error::new(format!("trace, request {}", request.id), "not to be served");
                return Err(error.found("an objective of energy").allowed("one of time"));
            }
        };
    }
    let device = &profile.name;
    trace.provenance.push(format!("objectives in times of {base_model} on {device}"));
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::method::testing::{Bench, device};
    use crate::units::Ratio;

    /// The whole model takes 100 ms for the prompt of 100 tokens, 10 for each token.
    #[test]
    fn a_share_is_put_in_the_times_of_the_whole_model() {
        let mut trace = Bench::elastic().trace;
        let shares = Slo::Relative { ttft: Ratio::percent(40), tpot: Ratio::percent(70) };
        trace.requests[0].slo = shares;
        let device = device();
        let base = device.families[0].base_model.clone();
        let timed = in_times(trace, &device, &base).unwrap();
        let ms = Duration::from_millis;
        assert_eq!(timed.requests[0].slo, Slo::Absolute { ttft: ms(40), tpot: ms(7) });
    }
}
