//! Any policy, on a machine whose times vary: method keys `meet` and `adaptive`.
//!
//! Knows what the policy inside knows, how much the device's times vary, and how fast the machine
//! is at present: told by the service, or learnt from how long its last answers took. Where plans
//! take `k` times their forecast, a bound is met by those whose forecast is within a `k`-th of it:
//! the policy inside is told of bounds that much tighter. `k` is the machine's scale, times the
//! factor that a share `meet` of requests is within. A bound on the whole answer, or on energy, is
//! divided by the larger `k`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DependsOn, Forecast, Menu, Policy, ServiceView};
use crate::error::Result;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::RequestView;
use crate::units::SimTime;

/// How a method knows the machine's present speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adaptive {
    /// Not at all: forecasts are of a cool device.
    #[default]
    None,
    /// The service tells it.
    Told,
    /// It learns it from how long its answers took.
    Learnt,
}

/// How long an outcome counts: after this time its weight is 1/e.
const FORGET_SECONDS: f64 = 120.0;
/// Weight of the forecast as it stands, against that of one outcome just seen.
const PRIOR: f64 = 0.25;

/// What a phase's times were of their forecasts, those long ago forgotten.
#[derive(Debug, Clone, Copy, Default)]
struct Scale {
    sum: f64,
    weight: f64,
    at: SimTime,
}

impl Scale {
    fn forget(&mut self, now: SimTime) {
        let seconds = now.saturating_since(self.at).as_secs_f64();
        let kept = (-seconds / FORGET_SECONDS).exp();
        (self.sum, self.weight, self.at) = (self.sum * kept, self.weight * kept, now.max(self.at));
    }

    fn learn(&mut self, now: SimTime, ratio: f64) {
        self.forget(now);
        self.sum += ratio;
        self.weight += 1.0;
    }

    fn at(mut self, now: SimTime) -> f64 {
        self.forget(now);
        (PRIOR + self.sum) / (PRIOR + self.weight)
    }
}

/// The decorator; see the module.
#[derive(Debug)]
pub(crate) struct Forecasts {
    inner: Box<dyn Policy>,
    menu: Menu,
    adaptive: Adaptive,
    /// Factors on the times before and after the first token that are to be covered.
    covered: (f64, f64),
    scales: (Scale, Scale),
    /// What was forecast for the request that is being served, by its id.
    last: Option<(u64, Forecast)>,
}

impl Forecasts {
    /// `inner`, which chooses from `menu`.
    pub fn new(
        inner: Box<dyn Policy>,
        menu: Menu,
        adaptive: Adaptive,
        covered: (f64, f64),
    ) -> Self {
        let scales = (Scale::default(), Scale::default());
        Self { inner, menu, adaptive, covered, scales, last: None }
    }

    /// What times before and after the first token are expected to be of their forecasts.
    fn scales(&self, service: ServiceView) -> (f64, f64) {
        match self.adaptive {
            Adaptive::None => (1.0, 1.0),
            Adaptive::Told => {
                let scale = 1.0 / service.speed.as_f64().max(1e-3);
                (scale, scale)
            }
            Adaptive::Learnt => (self.scales.0.at(service.now), self.scales.1.at(service.now)),
        }
    }
}

impl Policy for Forecasts {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let scales = self.scales(service);
        let (before, after) = (scales.0 * self.covered.0, scales.1 * self.covered.1);
        let bounds = request.bounds().over(before, after);
        let plan = self.inner.plan(request.with_bounds(bounds), service);
        if self.adaptive == Adaptive::Learnt {
            let choices = self.menu.choices(request, service.resident);
            let chosen = choices.candidates().iter().find(|candidate| candidate.plan == plan);
            self.last = chosen.map(|candidate| (request.id(), choices.forecast(candidate)));
        }
        plan
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        self.inner.settle()
    }

    fn depends_on(&self) -> DependsOn {
        DependsOn::History
    }

    fn observe(&mut self, outcome: &Outcome) {
        if let Some((id, forecast)) = self.last
            && id == outcome.request.id
        {
            let ratio = |took: Duration, of: Duration| took.as_secs_f64() / of.as_secs_f64();
            let now = outcome.completion();
            let took = outcome.execution.until_first_token();
            if !forecast.ttft.is_zero() {
                self.scales.0.learn(now, ratio(took, forecast.ttft));
            }
            if !forecast.decode().is_zero() {
                self.scales.1.learn(now, ratio(outcome.execution.decode, forecast.decode()));
            }
        }
        self.inner.observe(outcome);
    }

    fn fallbacks(&self) -> Option<usize> {
        self.inner.fallbacks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, plan};
    use crate::outcome::{Execution, Interruptions};
    use crate::request::Bounds;
    use crate::units::Ratio;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// ⟨100, 100⟩ takes 100 and 10 ms, ⟨50, 100⟩ 50 and 5, ⟨100, 50⟩ 50 and 10, ⟨50, 50⟩ 25 and 5.
    struct Asked {
        bench: Bench,
        policy: Forecasts,
    }

    fn asked(adaptive: Adaptive, covered: (f64, f64)) -> Asked {
        let bench = Bench::elastic();
        let menu = bench.method.menu(&bench.trace).unwrap();
        let policy = Forecasts::new(bench.own_policy(), menu, adaptive, covered);
        Asked { bench, policy }
    }

    impl Asked {
        fn plan(&mut self, seconds: u64, speed: u16) -> Plan {
            let request = self.bench.request(100, 10);
            let now = SimTime::ZERO + Duration::from_secs(seconds);
            let bounds = Bounds::Latency { ttft: ms(100), tpot: ms(10) };
            let service =
                ServiceView { now, resident: None, queued: 0, speed: Ratio::percent(speed) };
            self.policy.plan(RequestView::new(&request, bounds), service)
        }

        /// The last answer was `late` times what was forecast.
        fn took(&mut self, seconds: u64, late: f64) {
            let (_, forecast) = self.policy.last.unwrap();
            let execution = Execution {
                prefill: forecast.ttft.mul_f64(late),
                decode: forecast.decode().mul_f64(late),
                ..Execution::default()
            };
            let start = SimTime::ZERO + Duration::from_secs(seconds);
            let request = self.bench.request(100, 10);
            let bounds = Bounds::Latency { ttft: ms(100), tpot: ms(10) };
            let (plan, interruptions) = (Plan::FULL, Interruptions::default());
            let outcome = Outcome { request, bounds, plan, start, execution, interruptions };
            self.policy.observe(&outcome);
        }
    }

    #[test]
    fn factors_that_are_to_be_covered_tighten_the_bounds() {
        assert_eq!(asked(Adaptive::None, (1.0, 1.0)).plan(0, 100), plan(100, 100));
        // 100 ms over 1.1: only plans of 50 ms and less are sure; so with 10 ms a token.
        assert_eq!(asked(Adaptive::None, (1.1, 1.1)).plan(0, 100), plan(50, 100));
        assert_eq!(asked(Adaptive::None, (2.1, 1.0)).plan(0, 100), plan(50, 50));
    }

    #[test]
    fn a_policy_that_is_told_plans_by_the_speed_that_there_is() {
        assert_eq!(asked(Adaptive::Told, (1.0, 1.0)).plan(0, 100), plan(100, 100));
        assert_eq!(asked(Adaptive::Told, (1.0, 1.0)).plan(0, 60), plan(50, 100));
        assert_eq!(asked(Adaptive::None, (1.0, 1.0)).plan(0, 60), plan(100, 100));
    }

    #[test]
    fn a_policy_that_learns_follows_its_outcomes_and_forgets_them() {
        let mut asked = asked(Adaptive::Learnt, (1.0, 1.0));
        assert_eq!(asked.plan(0, 100), plan(100, 100));
        // Twice as slow: (0.25 + 2) / 1.25 = 1.8 times its forecast.
        asked.took(0, 2.0);
        assert_eq!(asked.plan(1, 100), plan(50, 100));
        // An hour later nothing of it is left.
        assert_eq!(asked.plan(3600, 100), plan(100, 100));
    }

    #[test]
    fn a_scale_is_the_mean_of_what_was_seen_and_of_the_forecast() {
        let at = |seconds: f64| SimTime::ZERO + Duration::from_secs_f64(seconds);
        let mut scale = Scale::default();
        assert!((scale.at(at(0.0)) - 1.0).abs() < 1e-12);
        scale.learn(at(0.0), 2.0);
        assert!((scale.at(at(0.0)) - 2.25 / 1.25).abs() < 1e-9);
        scale.learn(at(FORGET_SECONDS), 1.5);
        let old = (-1.0_f64).exp();
        let expected = (0.25 + 2.0 * old + 1.5) / (0.25 + old + 1.0);
        assert!((scale.at(at(FORGET_SECONDS)) - expected).abs() < 1e-9);
    }
}
