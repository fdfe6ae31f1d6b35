//! What policies share: forecasting the candidates of one request, and breaking ties.

use crate::plan::Plan;
use crate::request::{Bounds, RequestView};
use crate::units::Level;

use super::costs::{Candidate, Forecast};
use super::facts::{Annotations, Facts};
use super::scene::Scene;

/// A scene, the facts of a trace, and nothing of the right answers.
#[derive(Debug)]
pub(super) struct Forecaster {
    pub(super) scene: Scene,
    pub(super) facts: Annotations,
}

impl Forecaster {
    /// The facts of a request of the trace that this policy was made for.
    pub(super) fn facts(&self, request: RequestView<'_>) -> &Facts {
        self.facts.get(request.id()).expect("a policy is asked about the trace it was made for")
    }

    /// `candidates` with their forecasts, those only that meet `bounds` and leave the method's
    /// margin of them unused.
    pub(super) fn feasible<'a>(
        &'a self,
        candidates: impl Iterator<Item = &'a Candidate> + 'a,
        facts: &'a Facts,
        resident: Option<Level>,
        bounds: Bounds,
    ) -> impl Iterator<Item = (&'a Candidate, Forecast)> + 'a {
        let costs = self.scene.costs();
        let bounds = self.scene.method().margin.map_or(bounds, |margin| bounds.less(margin));
        candidates
            .filter(move |candidate| {
                let due = bounds.first_token_due();
                due.is_none_or(|due| costs.ttft(candidate, facts, resident) <= due)
            })
            .map(move |candidate| (candidate, costs.forecast(candidate, facts, resident)))
            .filter(move |(_, forecast)| forecast.meets(bounds))
    }

    /// The plan that misses `bounds` least, for requests that no candidate can serve in time: the
    /// smallest [`Forecast::load`]; ties: the lighter plan.
    pub(super) fn least_late<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Candidate>,
        facts: &Facts,
        resident: Option<Level>,
        bounds: Bounds,
    ) -> Plan {
        candidates
            .map(|candidate| {
                let forecast = self.scene.forecast(candidate, facts, resident);
                (forecast.load(bounds), candidate, forecast)
            })
            .min_by(|(a_load, a, a_forecast), (b_load, b, b_forecast)| {
                let by_load = a_load.total_cmp(b_load);
                by_load.then_with(|| weight(a, a_forecast).cmp(&weight(b, b_forecast)))
            })
            .expect("a scene has at least the base model")
            .1
            .plan
    }
}

/// What "lighter" means: shorter to the last token; of equals the lower level, then ratio.
pub(super) fn weight(candidate: &Candidate, forecast: &Forecast) -> (std::time::Duration, Plan) {
    (forecast.total(), candidate.plan)
}
