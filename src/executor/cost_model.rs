//! The simulated executor: times from a profile, answers from a quality table.
//!
//! `docs/cost-model.md` gives the formula and what it cannot capture.

use super::Executor;
use crate::error::{Error, Result};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::policy::{Annotations, Scene};
use crate::request::Request;
use crate::trace::Trace;
use crate::units::Level;

/// Bills every phase by [`Scene::phases`] and looks the answer up.
///
/// It refuses a plan whose answer was not measured where answers are measured as they are asked for:
/// an answer that is missing there would bias what is shown. It remembers which level is resident; before the first request none is, and loading the first
/// level is not billed.
#[derive(Debug)]
pub struct CostModel {
    scene: Scene,
    facts: Annotations,
    datasets: Vec<String>,
    resident: Option<Level>,
}

impl CostModel {
    /// An executor for one replay of `trace`.
    ///
    /// # Errors
    /// As [`Scene::annotate`].
    pub fn new(scene: &Scene, trace: &Trace) -> Result<Self> {
        let facts = scene.annotate(trace)?;
        Ok(Self { scene: scene.clone(), facts, datasets: trace.datasets.clone(), resident: None })
    }
}

impl Scene {
    /// The cost model of this scene for one replay of `trace`.
    ///
    /// # Errors
    /// As [`annotate`](Self::annotate).
    pub fn executor(&self, trace: &Trace) -> Result<Box<dyn Executor>> {
        Ok(Box::new(CostModel::new(self, trace)?))
    }
}

impl Executor for CostModel {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let candidate = self.scene.resolve(*plan)?;
        let facts = self.facts.get(request.id).ok_or_else(|| {
            Error::new("cost model", "unknown request")
                .found(request.id)
                .allowed("requests of the trace it was made for")
        })?;
        let mut execution = self.scene.phases(&candidate, facts, self.resident);
        execution.correct = self.scene.correct(&candidate, facts.row);
        if execution.correct.is_none() && self.scene.is_asked() {
            let dataset = &self.datasets[usize::from(request.dataset.0)];
            let table = self.scene.method().quality_family();
            return Err(Error::new("answers", "not measured yet")
                .at(format!("{dataset} item {}, quality table {table}", request.item))
                .found(format!("level {}, prompt {}", plan.level, plan.prompt_ratio))
                .allowed("plans measured before, or by `pliant profile asked EXPERIMENT.toml`"));
        }
        self.resident = Some(plan.level);
        Ok(execution)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::testing::{Bench, plan};

    #[test]
    fn phases_and_answers_are_those_of_the_profile_and_the_table() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        let mut executor = bench.scene.executor(&bench.trace).unwrap();
        // The first level is there for free; 5 output tokens are 4 gaps of 10 · 0.5 ms.
        let first = executor.execute(&request, &plan(50, 50)).unwrap();
        let expected = Execution {
            prefill: Duration::from_millis(25),
            decode: Duration::from_millis(20),
            kept_tokens: 50,
            correct: Some(false),
            ..Execution::default()
        };
        assert_eq!(first, expected);
        let second = executor.execute(&request, &plan(100, 100)).unwrap();
        let expected = Execution {
            switch: Duration::from_millis(4),
            prefill: Duration::from_millis(100),
            decode: Duration::from_millis(40),
            kept_tokens: 100,
            correct: Some(true),
            ..Execution::default()
        };
        assert_eq!(second, expected);
        let third = executor.execute(&request, &plan(100, 60)).unwrap();
        assert_eq!(third.switch, Duration::ZERO, "the level stays");
        assert_eq!(third.correct, None, "60 % was not measured");
    }

    #[test]
    fn plans_and_requests_that_it_does_not_have_are_errors() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        let mut executor = bench.scene.executor(&bench.trace).unwrap();
        let mut refusal = |request: &Request, plan: Plan| {
            executor.execute(request, &plan).unwrap_err().to_string()
        };
        let full_prompt = Bench::full_prompt();
        let mut uncut = full_prompt.scene.executor(&full_prompt.trace).unwrap();
        let refusals = [
            refusal(&request, plan(30, 100)),
            refusal(&request, plan(50, 55)),
            refusal(&Request { id: 8, ..request }, plan(50, 50)),
            uncut.execute(&request, &plan(50, 50)).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
