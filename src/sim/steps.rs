//! A replay that stops at each decision and goes on when it is told the plan.

use super::service::{Asked, Service, Turn, World};
use super::{Calls, OutcomeSink};
use crate::error::Result;
use crate::executor::Executor;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::schedule::ServiceOptions;

/// One replay, worked off by events, decision by decision.
///
/// It holds no requests and no executor: both are handed in with each call, and are to be the same
/// each time.
#[derive(Debug)]
pub struct Steps {
    service: Service,
    asked: Option<Asked>,
    completed: Vec<Outcome>,
}

impl Steps {
    /// The replay of `calls` up to its first decision.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn begin(
        calls: Calls<'_>,
        executor: &mut dyn Executor,
        options: ServiceOptions,
        sink: &mut dyn OutcomeSink,
    ) -> Result<Self> {
        let mut steps =
            Self { service: Service::new(calls, options), asked: None, completed: Vec::new() };
        steps.go_on(&mut World { calls, executor, sink })?;
        Ok(steps)
    }

    /// The request that is to be planned for; `None` once the replay has come to its end.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// The requests that were completed since the last decision, of which a policy that learns is
    /// told.
    #[must_use]
    pub fn completed(&self) -> &[Outcome] {
        &self.completed
    }

    /// Answers the request as `plan` says and goes on up to the next decision. Outcomes reach
    /// `sink` as soon as they are known.
    ///
    /// # Errors
    /// The first error of the executor or the sink; the replay is then over.
    ///
    /// # Panics
    /// If nothing is [asked](Self::asked).
    pub fn answer(
        &mut self,
        plan: Plan,
        calls: Calls<'_>,
        executor: &mut dyn Executor,
        sink: &mut dyn OutcomeSink,
    ) -> Result<()> {
        let asked = self.asked.take().expect("a plan is for a request that was asked about");
        let mut world = World { calls, executor, sink };
        self.service.start(&mut world, &asked, plan, None)?;
        self.go_on(&mut world)
    }

    fn go_on(&mut self, world: &mut World<'_>) -> Result<()> {
        self.completed.clear();
        while let Some(turn) = self.service.next_turn(world, &mut |_, _| {})? {
            match turn {
                Turn::Plan(asked) => {
                    self.asked = Some(asked);
                    break;
                }
                Turn::Observe(outcome) => self.completed.push(outcome),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::Bench;
    use crate::sim::{Discipline, replay};

    /// Each service option that changes what is asked when, over random traces: who is told to plan
    /// as a policy does comes to the policy's outcomes.
    #[test]
    fn stepping_comes_to_what_a_policy_that_is_called_comes_to() {
        let usual = ServiceOptions::default();
        let services = [
            usual,
            ServiceOptions { discipline: Discipline::Edf, ..usual },
            ServiceOptions { ideal_isolation: true, ..usual },
            ServiceOptions { closed_loop: true, ..usual },
            ServiceOptions { timeout_ms: Some(60_000), ..usual },
        ];
        for (seed, options) in (0..).zip(services) {
            let bench = Bench::random(seed, 60);
            let bounds = bench.method.bounds(&bench.trace).unwrap();
            let requests = &bench.trace.requests;
            let mut expected = Vec::new();
            let (mut policy, mut executor) = bench.method.players(&bench.trace, 1).unwrap();
            let replayed =
                replay(requests, &bounds, &mut *policy, &mut executor, &options, &mut expected);
            replayed.unwrap();

            let calls = Calls { requests, bounds: &bounds, needs: None };
            let (mut policy, mut executor) = bench.method.players(&bench.trace, 1).unwrap();
            let (mut outcomes, mut completed) = (Vec::new(), 0);
            let mut steps = Steps::begin(calls, &mut executor, options, &mut outcomes).unwrap();
            while let Some(asked) = steps.asked() {
                let plan = policy.plan(asked.view(), asked.service);
                steps.answer(plan, calls, &mut executor, &mut outcomes).unwrap();
                completed += steps.completed().len();
            }
            assert_eq!(completed, expected.len());
            assert_eq!(outcomes, expected, "{options:?}");
            assert!(!outcomes.is_empty());
        }
    }
}
