//! The simulated executor: times from a profile, answers from a quality table.
//!
//! `docs/cost-model.md` gives the formula and what it cannot capture.

use std::sync::Arc;

use super::{Executor, Repeats};
use crate::error::{Error, Result};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::policy::{Annotations, Candidate, Costs};
use crate::profile::{QualityTable, RowId};
use crate::request::Request;
use crate::units::{Grade, Level, Ratio};

/// Ground truth: how right the answer of each candidate of a method to each item is.
///
/// Executors hold it, and an oracle is told from it; no policy can reach it.
#[derive(Debug)]
pub(crate) struct Truth {
    /// The answers.
    pub(crate) table: QualityTable,
    /// The table's name.
    pub(crate) name: String,
    /// By pair of the method's costs: its place in the table.
    pub(crate) pairs: Vec<usize>,
    /// By prompt ratio of the method's costs likewise; `None` where the table has no answers.
    pub(crate) ratios: Vec<Option<usize>>,
    /// Whether items that lack answers to some plans may be replayed: answers are measured as they
    /// are asked for.
    pub(crate) asked: bool,
}

impl Truth {
    /// How right the answer of `candidate` to the item is; `None` if that was not measured.
    pub(crate) fn correct(&self, candidate: &Candidate, item: RowId) -> Option<Grade> {
        self.table.grade(item, self.pairs[candidate.pair], self.ratios[candidate.ratio]?)
    }
}

/// Bills every phase by the function that forecasts it, and looks the answer up.
///
/// It refuses a plan whose answer was not measured where answers are measured as they are asked
/// for, or pair of levels by pair: an answer that is missing there would bias what is shown. It
/// remembers which level is resident; before the first request none is, and loading the first level
/// is not billed.
#[derive(Debug)]
pub struct CostModel {
    costs: Arc<Costs>,
    truth: Arc<Truth>,
    facts: Arc<Annotations>,
    datasets: Vec<String>,
    resident: Option<Level>,
}

impl CostModel {
    /// An executor for one replay of the trace that `facts` and `datasets` are of.
    pub(crate) fn new(
        costs: Arc<Costs>,
        truth: Arc<Truth>,
        facts: Arc<Annotations>,
        datasets: &[String],
    ) -> Self {
        Self { costs, truth, facts, datasets: datasets.to_vec(), resident: None }
    }

    /// What answering `request` as `plan` says takes when `resident` is in memory, and how right
    /// the answer is; `None` where that was not measured. It is not answered: the same level stays
    /// resident.
    ///
    /// # Errors
    /// If the method lacks the plan, or the request is of another trace.
    pub fn bill(
        &self,
        request: &Request,
        plan: Plan,
        resident: Option<Level>,
    ) -> Result<Execution> {
        let candidate = self.costs.resolve(plan)?;
        let facts = self.facts.get(request.id).ok_or_else(|| {
            Error::new("cost model", "unknown request")
                .found(request.id)
                .allowed("requests of the trace it was made for")
        })?;
        let correct = self.truth.correct(&candidate, facts.row);
        Ok(Execution { correct, ..self.costs.phases(&candidate, facts, resident) })
    }

    /// Answers `request` even where nobody knows whether the answer is right.
    ///
    /// # Errors
    /// As [`bill`](Self::bill).
    pub(crate) fn answer(&mut self, request: &Request, plan: Plan) -> Result<Execution> {
        let execution = self.bill(request, plan, self.resident)?;
        self.resident = Some(plan.resident_after(request.output_tokens));
        Ok(execution)
    }

    /// Level and prompt ratio that the answer to `plan` stands under in the quality table.
    ///
    /// # Errors
    /// If the method lacks the plan.
    pub(crate) fn table_cell(&self, plan: Plan) -> Result<(Level, Ratio)> {
        let candidate = self.costs.resolve(plan)?;
        Ok((plan.level, self.costs.ratios[candidate.ratio]))
    }
}

impl Executor for CostModel {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let execution = self.execution(request, plan, self.resident)?;
        self.resident = Some(plan.resident_after(request.output_tokens));
        Ok(execution)
    }
}

impl Repeats for CostModel {
    fn execution(
        &self,
        request: &Request,
        plan: &Plan,
        resident: Option<Level>,
    ) -> Result<Execution> {
        let execution = self.bill(request, *plan, resident)?;
        let measured_apart = self.truth.asked || plan.smaller_answer_level().is_some();
        if execution.correct.is_none() && measured_apart {
            let dataset = &self.datasets[usize::from(request.dataset.0)];
            return Err(Error::new("answers", "not measured yet")
                .at(format!("{dataset} item {}, quality table {}", request.item, self.truth.name))
                .found(asked(*plan))
                .allowed("plans measured before, or by `pliant profile asked EXPERIMENT.toml`"));
        }
        Ok(execution)
    }
}

/// A plan in the words of a message.
fn asked(plan: Plan) -> String {
    let one = format!("level {}, prompt {}", plan.level, plan.prompt_ratio);
    plan.smaller_answer_level().map_or(one.clone(), |answer| format!("{one}, answer {answer}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::method::testing::{Bench, in_phases, plan};
    use crate::trace::Trace;

    #[test]
    fn phases_and_answers_are_those_of_the_profile_and_the_table() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        let mut executor = bench.method.cost_model(&bench.trace).unwrap();
        // The first level is there for free; 5 output tokens are 4 gaps of 10 · 0.5 ms.
        let first = executor.execute(&request, &plan(50, 50)).unwrap();
        let expected = Execution {
            prefill: Duration::from_millis(25),
            decode: Duration::from_millis(20),
            kept_tokens: 50,
            correct: Some(Grade::WRONG),
            ..Execution::default()
        };
        assert_eq!(first, expected);
        let second = executor.execute(&request, &plan(100, 100)).unwrap();
        let expected = Execution {
            switch: Duration::from_millis(4),
            prefill: Duration::from_millis(100),
            decode: Duration::from_millis(40),
            kept_tokens: 100,
            correct: Some(Grade::RIGHT),
            ..Execution::default()
        };
        assert_eq!(second, expected);
        let third = executor.execute(&request, &plan(100, 60)).unwrap();
        assert_eq!(third.switch, Duration::ZERO, "the level stays");
        assert_eq!(third.correct, None, "60 % was not measured");
    }

    /// ⟨100 %, 100 %, 50 %⟩ reads for 100 ms and writes 4 tokens in 20 ms, after a switch of 4 ms that
    /// TPOT bears, 1 ms a token.
    #[test]
    fn the_switch_between_prompt_and_answer_is_billed_and_the_answers_level_stays() {
        let bench = Bench::in_phases();
        let request = bench.request(1, 1);
        let mut executor = bench.method.cost_model(&bench.trace).unwrap();
        let first = executor.execute(&request, &in_phases()).unwrap();
        let expected = Execution {
            prefill: Duration::from_millis(100),
            decode: Duration::from_millis(24),
            kept_tokens: 100,
            correct: Some(Grade::RIGHT),
            ..Execution::default()
        };
        assert_eq!(first, expected);
        let again = executor.execute(&request, &in_phases()).unwrap();
        assert_eq!(again, Execution { switch: Duration::from_millis(4), ..expected });
        let small = executor.execute(&request, &plan(50, 50)).unwrap();
        assert_eq!(small.switch, Duration::ZERO, "level 50 % answered last");
    }

    /// With one output token nothing is left for the smaller level.
    #[test]
    fn a_single_token_is_the_prompts_level_and_so_is_what_stays_in_memory() {
        let bench = Bench::in_phases();
        let request = Request { output_tokens: 1, ..bench.request(1, 1) };
        let trace = Trace { requests: vec![request], ..bench.trace.clone() };
        let mut executor = bench.method.cost_model(&trace).unwrap();
        let first = executor.execute(&request, &in_phases()).unwrap();
        assert_eq!(first, executor.execute(&request, &Plan::FULL).unwrap(), "nothing is switched");
    }

    #[test]
    fn plans_and_requests_that_it_does_not_have_are_errors() {
        let bench = Bench::elastic();
        let request = bench.request(1, 1);
        let mut executor = bench.method.cost_model(&bench.trace).unwrap();
        let mut refusal = |request: &Request, plan: Plan| {
            executor.execute(request, &plan).unwrap_err().to_string()
        };
        let full_prompt = Bench::full_prompt();
        let mut uncut = full_prompt.method.cost_model(&full_prompt.trace).unwrap();
        let refusals = [
            refusal(&request, plan(30, 100)),
            refusal(&request, plan(50, 55)),
            refusal(&request, in_phases()),
            refusal(&Request { id: 8, ..request }, plan(50, 50)),
            uncut.execute(&request, &plan(50, 50)).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r"
        method elastic-profile: no such level; found 30 %; allowed: 50 %, 100 %
        method elastic-profile: no such prompt ratio; found 55 %; allowed: 10 %, 20 %, 30 %, 40 %, 50 %, 60 %, 70 %, 80 %, 90 %, 100 %
        method elastic-profile: no such plan of two levels; found ⟨100 %, 100 %, 50 %⟩; allowed: plans of one level
        cost model: unknown request; found 8; allowed: requests of the trace it was made for
        method lpruner: no such prompt ratio; found 50 %; allowed: 100 %
        ");
    }
}
