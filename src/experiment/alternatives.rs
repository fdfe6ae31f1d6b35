//! What else a request could have been answered with: each candidate as the policy saw it, and what
//! would have come of it (a counterfactual log).

use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::method::Method;
use crate::plan::Plan;
use crate::policy::{Candidate, Choices, Forecast};
use crate::profile::Answer;
use crate::request::{Bounds, Request, RequestView};
use crate::trace::Trace;
use crate::units::{Energy, Grade, Level, millis};

/// One candidate for one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// Which.
    #[serde(flatten)]
    pub plan: Plan,
    /// Predicted, unqueued: deciding, cutting, switching and prefill.
    pub ttft_ms: f64,
    /// Predicted, per output token after the first.
    pub tpot_ms: f64,
    /// Predicted, unqueued, to the last token.
    pub e2e_ms: f64,
    /// Predicted, where the device's power is known.
    pub energy_mj: Option<f64>,
    /// Whether the prediction meets the objective as the method's policy sees it: less its margin,
    /// and less the wait if it counts that.
    pub feasible: bool,
    /// Share of the dataset's estimate items that it answers rightly.
    pub expected_accuracy: Option<f64>,
    /// Probability that it answers this prompt rightly, by the decision-head's stored answer.
    pub head_probability: Option<f32>,
    /// Whether it answers rightly. No policy but an oracle sees this.
    pub correct: Option<Grade>,
    /// Whether it would have met the objective, the wait included. No policy sees this.
    pub in_time: bool,
}

/// The candidates of one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternatives {
    /// By rising level, then prompt ratio.
    pub candidates: Vec<Alternative>,
    /// What an oracle over the same candidates would choose: the lightest that answers rightly and
    /// is predicted to meet the objective. `None` if there is none.
    pub oracle: Option<Plan>,
    /// The lightest that answers rightly in time, the wait included; `None` if nothing helped.
    pub hindsight: Option<Plan>,
    /// The plan that the decision-head's stored answer names for the objective, if it names plans.
    pub head_plan: Option<Plan>,
}

impl Alternatives {
    /// What `request` of `trace` could have been answered with by `method`, under `bounds`, when
    /// `resident` was in memory and it had `waited`.
    ///
    /// # Errors
    /// As [`Method::menu`].
    pub fn of(
        method: &Method,
        trace: &Trace,
        (request, bounds): (&Request, Bounds),
        resident: Option<Level>,
        waited: Duration,
    ) -> Result<Self> {
        let (menu, truth) = (method.menu(trace)?, method.cost_model(trace)?);
        let view = RequestView::new(request, bounds);
        // Waiting draws nothing that counts.
        let waited = if let Bounds::Energy(_) = bounds { Duration::ZERO } else { waited };
        let seen = if method.spec().counts_wait { bounds.after(waited) } else { bounds };
        let choices = menu.choices(view, resident);
        let as_seen = menu.choices(view.with_bounds(seen), resident);
        let feasible: Vec<Plan> =
            as_seen.feasible(menu.candidates()).map(|(candidate, _)| candidate.plan).collect();
        let (mut oracle, mut hindsight) = (None, None);
        let mut alternative = |candidate: &Candidate| {
            let (plan, predicted) = (candidate.plan, choices.forecast(candidate));
            let with_wait = Forecast { ttft: predicted.ttft + waited, ..predicted };
            let in_time = with_wait.meets(bounds);
            let correct = truth.bill(request, plan, resident)?.correct;
            for (is_fit, lightest) in
                [(feasible.contains(&plan), &mut oracle), (in_time, &mut hindsight)]
            {
                if is_fit && correct.is_some_and(Grade::is_right) {
                    *lightest =
                        lightest.take().into_iter().chain([candidate.weight(&predicted)]).min();
                }
            }
            Ok(Alternative {
                plan,
                ttft_ms: millis(predicted.ttft),
                tpot_ms: millis(predicted.tpot),
                e2e_ms: millis(predicted.total()),
                energy_mj: predicted.energy().map(Energy::as_millijoules_f64),
                feasible: feasible.contains(&plan),
                expected_accuracy: choices.expected_accuracy(candidate),
                head_probability: choices.decision().and_then(|known| known.probability(plan)),
                correct,
                in_time,
            })
        };
        let candidates = menu.candidates().iter().map(&mut alternative).collect::<Result<_>>()?;
        // Among the few answers that were asked for, the best is no bound on anything.
        let if_all_are_known = |best: Option<(Duration, Plan)>| {
            best.map(|(_, plan)| plan).filter(|_| !method.is_asked())
        };
        Ok(Self {
            candidates,
            oracle: if_all_are_known(oracle),
            hindsight: if_all_are_known(hindsight),
            head_plan: head_plan(&choices),
        })
    }
}

fn head_plan(choices: &Choices<'_>) -> Option<Plan> {
    let decision = choices.decision()?;
    if let Answer::Soft(_) = decision.answer {
        return None;
    }
    let (ttft, tpot) = choices.objective_shares();
    decision.plan(ttft, tpot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::{Bench, hard, plan, soft};
    use crate::request::Slo;

    // The bench (see `testing`): ⟨100, 100⟩ takes 100 ms and 10 ms, ⟨50, 100⟩ 50 and 5, ⟨100, 50⟩
    // 50 and 10, ⟨50, 50⟩ 25 and 5; a switch takes 4 ms; the item is answered rightly on the full
    // prompt only.

    fn alternatives(bench: &Bench, ttft_ms: u64, waited_ms: u64) -> Alternatives {
        let request = bench.request(ttft_ms, 10);
        let Slo::Absolute { ttft, tpot } = request.slo else { unreachable!() };
        let asked = (&request, Bounds::Latency { ttft, tpot });
        let (half, waited) = (Some(Level::percent(50)), Duration::from_millis(waited_ms));
        Alternatives::of(&bench.method, &bench.trace, asked, half, waited).unwrap()
    }

    #[test]
    fn each_candidate_has_what_was_predicted_and_what_would_have_come_of_it() {
        let seen = alternatives(&Bench::elastic(), 54, 0);
        let rows = seen.candidates.iter().map(|one| {
            (one.plan, one.ttft_ms, one.tpot_ms, one.feasible, one.expected_accuracy, one.correct)
        });
        // With 50 % resident a plan of 100 % switches for 4 ms.
        let expected = [
            (plan(50, 50), 25.0, 5.0, true, Some(0.25), Some(Grade::WRONG)),
            (plan(50, 100), 50.0, 5.0, true, Some(0.5), Some(Grade::RIGHT)),
            (plan(100, 50), 54.0, 10.0, true, Some(0.5), Some(Grade::WRONG)),
            (plan(100, 100), 104.0, 10.0, false, Some(0.75), Some(Grade::RIGHT)),
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
        assert_eq!((seen.oracle, seen.hindsight), (Some(plan(50, 100)), Some(plan(50, 100))));
        assert_eq!(seen.head_plan, None);
    }

    #[test]
    fn a_wait_that_no_policy_counts_makes_the_difference_between_oracle_and_hindsight() {
        let seen = alternatives(&Bench::elastic(), 54, 5);
        let in_time: Vec<_> = seen.candidates.iter().map(|one| one.in_time).collect();
        assert_eq!(in_time, [true, false, false, false]);
        assert!(seen.candidates[1].feasible, "it was predicted to meet the objective");
        assert_eq!((seen.oracle, seen.hindsight), (Some(plan(50, 100)), None));
        // Where both full-prompt plans are in time the lighter is enough.
        assert_eq!(alternatives(&Bench::elastic(), 200, 5).hindsight, Some(plan(50, 100)));
    }

    #[test]
    fn the_stored_answer_of_the_decision_head_is_shown() {
        let seen = alternatives(&Bench::decided(soft(&[(plan(50, 100), 0.25)])), 54, 0);
        let probabilities: Vec<_> =
            seen.candidates.iter().map(|one| one.head_probability).collect();
        assert_eq!(probabilities, [Some(0.0), Some(0.25), Some(0.0), Some(0.0)]);
        // Bounds of 54 and 10 ms are ⟨54 %, 100 %⟩ of the full model's 100 and 10: token 50.
        let head = hard(&[(50, 100, plan(100, 50))]);
        assert_eq!(alternatives(&Bench::decided(head), 54, 0).head_plan, Some(plan(100, 50)));
    }
}
