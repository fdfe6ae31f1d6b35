//! The least that a method takes for a request: what admission goes by.

use super::assemble::Method;
use crate::error::Result;
use crate::policy::{Candidate, Forecast};
use crate::request::{Bounds, RequestView};
use crate::schedule::{Admit, Needs, ServiceOptions};
use crate::trace::Trace;

impl Method {
    /// What the requests of `trace`, each under its bounds, need at least where the service admits
    /// what is feasible; `None` where it asks for no such thing.
    ///
    /// The plans are those of the method's menu, that one alone for a method that always has
    /// the same, without a switch: a request that is refused could not have been met.
    ///
    /// # Errors
    /// As [`menu`](Self::menu).
    pub fn needs(
        &self,
        trace: &Trace,
        bounds: &[Bounds],
        service: ServiceOptions,
    ) -> Result<Option<Vec<Needs>>> {
        if service.admit == Admit::All {
            return Ok(None);
        }
        let menu = self.menu(trace)?;
        let always = self.spec().policy.always();
        let may_be = |candidate: &&Candidate| always.is_none_or(|plan| candidate.plan == plan);
        let needs = trace.requests.iter().zip(bounds).map(|(request, &bounds)| {
            let choices = menu.choices(RequestView::new(request, bounds), None);
            let candidates = choices.candidates().iter().filter(may_be);
            least(candidates.map(|candidate| choices.forecast(candidate)), bounds)
        });
        Ok(Some(needs.collect()))
    }
}

/// The least of `forecasts`, of plans for a request under `bounds`.
pub(super) fn least(forecasts: impl Iterator<Item = Forecast> + Clone, bounds: Bounds) -> Needs {
    let until_due = |forecast: Forecast| match bounds {
        Bounds::Latency { tpot, .. } => {
            (forecast.gaps == 0 || forecast.tpot <= tpot).then_some(forecast.ttft)
        }
        Bounds::EndToEnd(_) => Some(forecast.total()),
        Bounds::Energy(_) => forecast.meets(bounds).then_some(forecast.ttft),
    };
    Needs {
        until_due: forecasts.clone().filter_map(until_due).min(),
        whole: forecasts.map(|forecast| forecast.total()).min().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// TTFTs of 30 and 20 ms, whole answers of 50 and 60 ms: the second plan writes more slowly, at
    /// 10 ms a token.
    #[test]
    fn the_least_is_that_of_the_plans_that_meet_the_rest() {
        let ms = Duration::from_millis;
        let forecast =
            |ttft, tpot| Forecast { ttft: ms(ttft), tpot: ms(tpot), gaps: 4, power: None };
        let needs = |bounds| least([forecast(30, 5), forecast(20, 10)].into_iter(), bounds);
        let pair = |tpot| Bounds::Latency { ttft: ms(1), tpot: ms(tpot) };
        let found = [10, 9, 4].map(|tpot| needs(pair(tpot)).until_due);
        assert_eq!(found, [Some(ms(20)), Some(ms(30)), None]);
        let end_to_end = needs(Bounds::EndToEnd(ms(1)));
        assert_eq!((end_to_end.until_due, end_to_end.whole), (Some(ms(50)), ms(50)));
    }
}
