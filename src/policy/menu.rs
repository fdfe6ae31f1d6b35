//! What a policy may choose from, and all that it may know of it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::costs::{Candidate, Costs, Forecast};
use super::facts::{Annotations, Facts};
use super::preferences::Preferences;
use crate::plan::Plan;
use crate::profile::{Decision, Draw, RowId};
use crate::request::{AppId, Bounds, DatasetId, RequestView, Slo};
use crate::units::{Level, Milliwatts, Ratio};

/// The candidates of a method for the requests of one trace: what each will take, how often it is
/// right on the estimate items of a dataset, and what a decision-head said of the very prompt.
///
/// Whether a candidate answers the request at hand rightly is not here, nor anywhere that a policy
/// can reach from here: the answers are the executor's. A policy asks for the choices of a request:
///
/// ```
/// # use pliant::policy::{Candidate, Choices, Menu};
/// # use pliant::request::RequestView;
/// fn expected(choices: Choices<'_>, candidate: &Candidate) -> Option<f64> {
///     choices.expected_accuracy(candidate)
/// }
/// ```
///
/// and one that asks for the truth does not compile:
///
/// ```compile_fail,E0599
/// # use pliant::policy::{Candidate, Choices, Menu};
/// # use pliant::request::RequestView;
/// fn cheat(choices: Choices<'_>, candidate: &Candidate) -> Option<bool> {
///     choices.correct(candidate)
/// }
/// ```
///
/// ```compile_fail,E0616
/// # use pliant::policy::Menu;
/// fn cheat(menu: &Menu) {
///     let _ = &menu.costs;
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Menu {
    /// Shared with the cost model, so that a forecast and a bill are one function.
    pub(crate) costs: Arc<Costs>,
    pub(crate) candidates: Arc<[Candidate]>,
    /// By dataset or app of the trace; empty for one without estimate items.
    pub(crate) expected: Vec<Expected>,
    /// Which of the two.
    pub(crate) expect_by: ExpectBy,
    /// By item; empty for a method that does not ask a decision-head.
    pub(crate) decisions: Arc<[Option<Decision>]>,
    /// Share of each bound that a forecast must leave unused.
    pub(crate) margin: Option<Ratio>,
    pub(crate) facts: Arc<Annotations>,
}

/// What a service knows of a request that accuracies are expected by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectBy {
    /// Its dataset.
    #[default]
    Dataset,
    /// Its app, which may mix datasets: their mean.
    App,
}

impl ExpectBy {
    /// The place of the group of a request.
    pub(crate) fn group(self, app: AppId, dataset: DatasetId) -> usize {
        match self {
            Self::Dataset => dataset.0.into(),
            Self::App => app.0.into(),
        }
    }
}

/// `[pair][ratio]`: shares of a dataset's estimate items that are answered rightly.
pub(crate) type Expected = Arc<[Option<f64>]>;

impl Menu {
    /// The plans to choose from, by rising level, then prompt ratio; then those of two levels.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// How many groups of requests accuracies are expected of: datasets or apps of the trace.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.expected.len()
    }

    /// The group of a request: the number of its dataset or app.
    #[must_use]
    pub fn group(&self, request: RequestView<'_>) -> usize {
        self.expect_by.group(request.app(), request.dataset())
    }

    /// Share of the whole estimate items of a group that `candidate` answers rightly; `None` if
    /// there is none, or the plan was not measured.
    #[must_use]
    pub fn expected_accuracy(&self, candidate: &Candidate, group: usize) -> Option<f64> {
        let place = candidate.pair * self.costs.ratios.len() + candidate.ratio;
        *self.expected[group].get(place)?
    }

    /// What the device draws while it serves, where known.
    #[must_use]
    pub fn power(&self) -> Option<Milliwatts> {
        self.costs.power.as_ref().map(Draw::active)
    }

    /// Whether what it draws differs by phase or level.
    #[must_use]
    pub fn power_differs(&self) -> bool {
        self.costs.power.as_ref().is_some_and(|draw| !draw.is_uniform())
    }

    /// The menu for `request`, with `resident` in memory.
    ///
    /// # Panics
    /// If the request is not of the trace that the menu was made for.
    #[must_use]
    pub fn choices<'a>(&'a self, request: RequestView<'a>, resident: Option<Level>) -> Choices<'a> {
        let facts = self.facts.get(request.id());
        let facts = facts.expect("a policy is asked about the trace it was made for");
        Choices { menu: self, request, facts, resident }
    }
}

/// A [`Menu`] for one request.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    menu: &'a Menu,
    request: RequestView<'a>,
    facts: &'a Facts,
    resident: Option<Level>,
}

impl<'a> Choices<'a> {
    /// As [`Menu::candidates`].
    #[must_use]
    pub fn candidates(&self) -> &'a [Candidate] {
        &self.menu.candidates
    }

    /// Which item the prompt is, for those who know more of it.
    pub(super) fn item(&self) -> RowId {
        self.facts.row
    }

    /// Tokens to generate.
    #[must_use]
    pub fn output_tokens(&self) -> u32 {
        self.facts.output_tokens
    }

    /// Predicted latencies of `candidate`, unqueued: the sums of what the cost model bills,
    /// exactly.
    #[must_use]
    pub fn forecast(&self, candidate: &Candidate) -> Forecast {
        self.menu.costs.forecast(candidate, self.facts, self.resident)
    }

    /// `candidate` with its forecast.
    pub(super) fn forecasted(&self, candidate: &Candidate) -> (Candidate, Forecast) {
        (*candidate, self.forecast(candidate))
    }

    /// That `wanted` plans, best first, are preferred in their order.
    pub(super) fn prefer(&self, wanted: Vec<(Candidate, Forecast)>) -> Preferences {
        let offered = wanted.into_iter().filter(|(one, _)| self.offers(one));
        Preferences::new(offered.collect(), self.menu.margin)
    }

    /// As [`Menu::expected_accuracy`], for the request's group.
    #[must_use]
    pub fn expected_accuracy(&self, candidate: &Candidate) -> Option<f64> {
        self.menu.expected_accuracy(candidate, self.menu.group(self.request))
    }

    /// Whether `candidate` may be chosen: one of two levels, where it was measured on estimate
    /// items of the request's group. Pairs of levels are measured dataset by dataset.
    fn offers(&self, candidate: &Candidate) -> bool {
        let two_levels = candidate.plan.smaller_answer_level().is_some();
        !two_levels || self.expected_accuracy(candidate).is_some()
    }

    /// What the decision-head said of the request's own prompt, if the method asks one.
    #[must_use]
    pub fn decision(&self) -> Option<&'a Decision> {
        self.menu.decisions.get(self.facts.row.index())?.as_ref()
    }

    /// Those of `candidates`, with their forecasts, that meet the request's bounds and leave the
    /// method's margin of them unused.
    pub fn feasible(
        self,
        candidates: impl IntoIterator<Item = &'a Candidate>,
    ) -> impl Iterator<Item = (&'a Candidate, Forecast)> {
        let Self { menu: Menu { costs, margin, .. }, facts, resident, .. } = self;
        let bounds = self.request.bounds();
        let bounds = margin.map_or(bounds, |margin| bounds.less(margin));
        let due = bounds.first_token_due();
        candidates
            .into_iter()
            .filter(move |one| self.offers(one))
            .filter(move |one| due.is_none_or(|due| costs.ttft(one, facts, resident) <= due))
            .map(move |one| (one, costs.forecast(one, facts, resident)))
            .filter(move |(_, forecast)| forecast.meets(bounds))
    }

    /// The plan that misses the request's bounds least, where no candidate can serve it in time:
    /// the smallest [`Forecast::load`]; ties: the lighter plan.
    ///
    /// # Panics
    /// If there are no `candidates`.
    #[must_use]
    pub fn least_late(self, candidates: impl IntoIterator<Item = &'a Candidate>) -> Plan {
        let offered = candidates.into_iter().filter(|candidate| self.offers(candidate));
        let forecasted = offered.map(|candidate| self.forecasted(candidate));
        least_late(forecasted, self.request.bounds())
    }

    /// The objective as shares of the base model's unqueued TTFT and TPOT on the full prompt: as
    /// stated, or what a stated bound comes to. A bound on the whole answer is the same share of
    /// both.
    ///
    /// # Panics
    /// Never: bounds on energy come with a known power.
    #[must_use]
    pub fn objective_shares(&self) -> (f64, f64) {
        if let Slo::Relative { ttft, tpot } = self.request.slo() {
            return (ttft.as_f64(), tpot.as_f64());
        }
        let full = self.menu.costs.full(self.facts.prompt_tokens, self.facts.output_tokens);
        let share = |bound: Duration, full: Duration| bound.as_secs_f64() / full.as_secs_f64();
        let of_both = match self.request.bounds() {
            Bounds::Latency { ttft, tpot } => {
                return (share(ttft, full.ttft), share(tpot, full.tpot));
            }
            Bounds::EndToEnd(bound) => share(bound, full.end_to_end()),
            Bounds::Energy(bound) => {
                let of_full = full.energy().expect("bounds on energy come with a known power");
                bound.as_millijoules_f64() / of_full.as_millijoules_f64()
            }
        };
        (of_both, of_both)
    }

    /// The same, no share above 1 and none rounded up.
    #[must_use]
    pub fn objective_ratios(&self) -> (Ratio, Ratio) {
        let (ttft, tpot) = self.objective_shares();
        (Ratio::at_most(ttft), Ratio::at_most(tpot))
    }
}

/// See [`Choices::least_late`].
pub(super) fn least_late(
    candidates: impl IntoIterator<Item = (Candidate, Forecast)>,
    bounds: Bounds,
) -> Plan {
    let late = candidates
        .into_iter()
        .map(|(candidate, forecast)| (forecast.load(bounds), candidate.weight(&forecast)));
    let least =
        late.min_by(|(a, weight), (b, other)| a.total_cmp(b).then_with(|| weight.cmp(other)));
    least.expect("a menu has at least the base model").1.1
}

impl Candidate {
    /// What "lighter" means, smallest first: shorter to the last token; of equals the lower level,
    /// then ratio.
    #[must_use]
    pub fn weight(&self, forecast: &Forecast) -> (Duration, Plan) {
        (forecast.total(), self.plan)
    }
}
