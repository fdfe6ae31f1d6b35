//! The cost model on a machine whose times vary: noise, pauses and heat over another executor's
//! phases.
//!
//! What is decided, compressed, read and written takes the noise of the request's own and of the
//! time, times what a pause before it costs, over the speed that heat leaves; a switch moves bytes
//! and takes as long as ever. Speed changes while a request is served: its phases are worked off by
//! the second. Answers do not change.

use std::time::Duration;

use super::Executor;
use crate::error::Result;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{Drawn, Heat, HeatState, Idle, Noise};
use crate::request::Request;
use crate::units::{Ratio, SimTime};

/// What makes times vary.
#[derive(Debug, Clone, Default)]
pub struct Varies {
    /// How much one plan on one prompt does.
    pub noise: Option<Noise>,
    /// What the first answer after a pause takes longer.
    pub idle: Option<Idle>,
    /// How the device warms.
    pub heat: Option<Heat>,
}

/// The decorator; see the module.
///
/// An answer that is interrupted has warmed the device as if it had not been.
#[derive(Debug)]
pub struct Varying<E> {
    inner: E,
    varies: Varies,
    /// Of the noise.
    seed: u64,
    state: HeatState,
    /// How long nothing was done before the next request is taken up.
    rested: Duration,
    /// The instant up to which `state` is worked out.
    until: SimTime,
    /// The instant at which the next request is taken up.
    now: SimTime,
}

impl<E: Executor> Varying<E> {
    /// `inner` as it varies under `seed`, on a device that begins cool and has rested until the
    /// first request.
    pub fn new(inner: E, varies: Varies, seed: u64) -> Self {
        let (state, until, now) = (HeatState::default(), SimTime::ZERO, SimTime::ZERO);
        Self { inner, varies, seed, state, rested: Duration::ZERO, until, now }
    }

    /// Factors on the times before and after the first token of request `id`.
    fn factors(&self, id: u64) -> Drawn {
        let one = Drawn { prefill: 1.0, decode: 1.0 };
        let Varies { noise, idle, .. } = &self.varies;
        let noise = noise.as_ref().map_or(one, |noise| noise.draw(self.seed, id, self.now));
        let first = idle.as_ref().map_or(one, |idle| idle.after(self.rested.as_secs_f64()));
        Drawn { prefill: noise.prefill * first.prefill, decode: noise.decode * first.decode }
    }

    /// How long phases really take that a cool device without noise does in these times.
    fn slowed(&mut self, phases: [Duration; 4]) -> [Duration; 4] {
        let Some(heat) = &self.varies.heat else { return phases };
        let state = &mut self.state;
        phases.map(|phase| Duration::from_secs_f64(heat.work(state, phase.as_secs_f64())))
    }
}

impl<E: Executor> Executor for Varying<E> {
    fn begin(&mut self, now: SimTime) -> Ratio {
        (self.now, self.rested) = (now, now.saturating_since(self.until));
        self.until = self.until.max(now);
        let Some(heat) = &self.varies.heat else { return self.inner.begin(now) };
        heat.rest(&mut self.state, self.rested.as_secs_f64());
        Ratio::at_most(heat.speed(&self.state))
    }

    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let mut execution = self.inner.execute(request, plan)?;
        let Execution { decide, compress, prefill, decode, .. } = execution;
        let mut phases = [decide, compress, prefill, decode];
        if self.varies.noise.is_some() || self.varies.idle.is_some() {
            let Drawn { prefill: before, decode: after } = self.factors(request.id);
            let factors = [before, before, before, after];
            phases = std::array::from_fn(|phase| phases[phase].mul_f64(factors[phase]));
        }
        let [decide, compress, prefill, answer] = self.slowed(phases);
        execution = Execution { decide, compress, prefill, decode: answer, ..execution };
        let busy = execution.until_first_token() + execution.decode;
        self.until = self.until.max(self.now.saturating_add(busy));
        Ok(execution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::scripted::Scripted;
    use crate::method::testing::{Bench, plan};
    use crate::profile::{HeatPart, Pause, Provenance};

    fn published() -> Provenance {
        Provenance::Published { sources: vec!["a test".to_owned()], filled: Vec::new() }
    }

    fn scripted() -> Scripted {
        let (switch, prefill) = (Duration::from_secs(3), Duration::from_secs(10));
        let decode = Duration::from_secs(10);
        Scripted::by(move |_, _| Execution { switch, prefill, decode, ..Execution::default() })
    }

    fn at(seconds: u64) -> SimTime {
        SimTime::ZERO + Duration::from_secs(seconds)
    }

    /// Speed is a half from the first moment on, whatever the state.
    fn half() -> Heat {
        let parts = vec![HeatPart { seconds: 1.0, share: 1.0 }];
        Heat { from: 0.0, floor: 0.5, rest: 0.0, step: None, provenance: published(), parts }
    }

    #[test]
    fn heat_slows_work_and_no_switch_and_a_rest_cools() {
        let request = Bench::elastic().request(1, 1);
        let mut executor =
            Varying::new(scripted(), Varies { heat: Some(half()), ..Varies::default() }, 0);
        assert_eq!(executor.begin(at(0)), Ratio::ONE, "it begins cool");
        let first = executor.execute(&request, &plan(100, 100)).unwrap();
        assert_eq!(first.switch, Duration::from_secs(3));
        // The state settles where speed and power agree: h = p = s and s = 1 − h/2, so 2/3.
        assert!(first.prefill > Duration::from_secs(13) && first.prefill < Duration::from_secs(16));
        assert!((first.decode.as_secs_f64() - 15.0).abs() < 0.2, "{:?}", first.decode);
        let busy = first.until_first_token() + first.decode;
        let warm = executor.begin(SimTime::ZERO + busy);
        assert!((warm.as_f64() - 2.0 / 3.0).abs() < 0.01, "{warm}");
        assert_eq!(executor.begin(at(1000)), Ratio::ONE);
    }

    /// Requests at 0, 23 and 123 seconds, each of 23: the second follows at once, the third after
    /// a pause of 77.
    #[test]
    fn the_first_answer_after_a_pause_takes_longer_and_the_next_does_not() {
        let request = Bench::elastic().request(1, 1);
        let pauses = vec![Pause { seconds: 60.0, prefill: 1.5, decode: 1.2 }];
        let idle = Some(Idle { provenance: published(), pauses });
        let mut executor = Varying::new(scripted(), Varies { idle, ..Varies::default() }, 0);
        let mut at = |seconds: u64| {
            executor.begin(SimTime::ZERO + Duration::from_secs(seconds));
            let execution = executor.execute(&request, &plan(100, 100)).unwrap();
            [execution.switch, execution.prefill, execution.decode].map(|phase| phase.as_secs())
        };
        assert_eq!(at(0), [3, 10, 10]);
        assert_eq!(at(23), [3, 10, 10]);
        assert_eq!(at(123), [3, 15, 12]);
    }

    #[test]
    fn without_noise_and_heat_it_is_the_executor_within() {
        let request = Bench::elastic().request(1, 1);
        let mut executor = Varying::new(scripted(), Varies::default(), 0);
        assert_eq!(executor.begin(at(5)), Ratio::ONE);
        let execution = executor.execute(&request, &plan(100, 100)).unwrap();
        assert_eq!(execution, scripted().execute(&request, &plan(100, 100)).unwrap());
    }
}
