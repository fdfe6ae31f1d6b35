//! What a policy is shown: the request, the service and the menu; and afterwards the outcome.

use std::sync::Arc;
use std::time::Duration;

use numpy::PyArray1;
use pliant::outcome::Outcome;
use pliant::policy::{Choices, Forecast, ServiceView};
use pliant::request::{Bounds, Request, RequestView};
use pliant::sim::Asked;
use pliant::units::{Energy, Level, SimTime, millis};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::stage::{Column, Row, Stage, fixed, mask, shown};

/// One question, as Python sees it.
pub struct Question {
    pub request: PyRequest,
    pub service: PyService,
    pub menu: PyMenu,
}

impl Question {
    /// About the request of `kind` that `asked` is about.
    pub fn new(stage: &Arc<Stage>, kind: u32, asked: &Asked) -> Self {
        let Asked { request, service, .. } = *asked;
        let waited = service.now - request.arrival;
        Self {
            request: PyRequest {
                stage: Arc::clone(stage),
                kind,
                id: request.id,
                arrival: request.arrival,
            },
            service: PyService { service, waited },
            menu: PyMenu {
                row: stage.row(kind, service.resident),
                stage: Arc::clone(stage),
                kind,
                resident: service.resident,
                waited,
            },
        }
    }
}

/// A request: what a policy may know of it. Times in ms; what an objective does not state is None.
#[pyclass(name = "Request", module = "pliant", frozen)]
pub struct PyRequest {
    stage: Arc<Stage>,
    kind: u32,
    id: u64,
    arrival: SimTime,
}

impl PyRequest {
    fn view(&self) -> RequestView<'_> {
        self.stage.view(self.kind)
    }

    fn request(&self) -> &Request {
        self.stage.request(self.kind)
    }

    fn bounds(&self) -> Bounds {
        self.stage.bounds(self.kind)
    }
}

#[pymethods]
impl PyRequest {
    /// Its number in the trace.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// When it arrived.
    #[getter]
    fn arrival_ms(&self) -> f64 {
        self.arrival.as_millis_f64()
    }

    /// Name of the app that calls.
    #[getter]
    fn app<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.stage.apps[usize::from(self.view().app().0)].bind(py)
    }

    /// Name of the dataset that its prompt comes from.
    #[getter]
    fn dataset<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.stage.datasets[usize::from(self.view().dataset().0)].bind(py)
    }

    /// Length of the full prompt.
    #[getter]
    fn prompt_tokens(&self) -> u32 {
        self.request().prompt_tokens
    }

    /// Tokens to generate.
    #[getter]
    fn output_tokens(&self) -> u32 {
        self.request().output_tokens
    }

    /// What the run was given of the request's item; None where it was given nothing.
    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
        self.stage.features(self.kind).map(|of| of.bind(py))
    }

    /// Most time from arrival to the first token.
    #[getter]
    fn ttft_bound_ms(&self) -> Option<f64> {
        match self.bounds() {
            Bounds::Latency { ttft, .. } => Some(millis(ttft)),
            _ => None,
        }
    }

    /// Most mean time per token after the first.
    #[getter]
    fn tpot_bound_ms(&self) -> Option<f64> {
        match self.bounds() {
            Bounds::Latency { tpot, .. } => Some(millis(tpot)),
            _ => None,
        }
    }

    /// Most time from arrival to the last token.
    #[getter]
    fn e2e_bound_ms(&self) -> Option<f64> {
        match self.bounds() {
            Bounds::EndToEnd(bound) => Some(millis(bound)),
            _ => None,
        }
    }

    /// Most energy, in mJ, from the start of service to the last token.
    #[getter]
    fn energy_bound_mj(&self) -> Option<f64> {
        match self.bounds() {
            Bounds::Energy(bound) => Some(bound.as_millijoules_f64()),
            _ => None,
        }
    }

    /// The objective as shares (TTFT, TPOT) of the base model's unqueued times.
    #[getter]
    fn objective(&self) -> (f64, f64) {
        self.stage.objective(self.kind)
    }
}

/// The service when it asks.
#[pyclass(name = "Service", module = "pliant", frozen)]
pub struct PyService {
    service: ServiceView,
    waited: Duration,
}

#[pymethods]
impl PyService {
    /// The instant, in ms since the start of the trace.
    #[getter]
    fn now_ms(&self) -> f64 {
        self.service.now.as_millis_f64()
    }

    /// How long the request has waited, in ms.
    #[getter]
    fn waited_ms(&self) -> f64 {
        millis(self.waited)
    }

    /// The level in memory as a share; None before the first request.
    #[getter]
    fn resident(&self) -> Option<f64> {
        self.service.resident.map(|level| level.share().as_f64())
    }

    /// How fast the machine is, as a share of how fast it is when cool.
    #[getter]
    fn speed(&self) -> f64 {
        self.service.speed.as_f64()
    }

    /// Requests that wait behind this one.
    #[getter]
    fn queued(&self) -> usize {
        self.service.queued
    }
}

/// The plans to choose from: arrays of one value a plan, in one order, by rising level, then prompt
/// ratio. Times in ms. Nobody can write to them; what is not known is NaN.
#[pyclass(name = "Menu", module = "pliant", frozen)]
pub struct PyMenu {
    stage: Arc<Stage>,
    row: Arc<Row>,
    kind: u32,
    resident: Option<Level>,
    waited: Duration,
}

impl PyMenu {
    /// The choices under the bounds that are left, where the wait counts.
    fn left(&self) -> Choices<'_> {
        self.stage.choices(self.kind, self.resident, self.waited)
    }
}

#[pymethods]
impl PyMenu {
    fn __len__(&self) -> usize {
        self.stage.candidates().len()
    }

    /// Share of the base model, float64[plans].
    #[getter]
    fn level<'py>(&self, py: Python<'py>) -> &Bound<'py, PyArray1<f64>> {
        self.stage.level.bind(py)
    }

    /// Share of the prompt that is read, float64[plans].
    #[getter]
    fn prompt_ratio<'py>(&self, py: Python<'py>) -> &Bound<'py, PyArray1<f64>> {
        self.stage.prompt_ratio.bind(py)
    }

    /// Forecast time to the first token, unqueued, a switch included, float64[plans].
    #[getter]
    fn ttft_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        shown(py, &self.row.arrays.ttft, &self.row.ttft)
    }

    /// Forecast time per token after the first, float64[plans].
    #[getter]
    fn tpot_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        shown(py, &self.row.arrays.tpot, &self.row.tpot)
    }

    /// Forecast time to the last token, unqueued, float64[plans].
    #[getter]
    fn total_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        shown(py, &self.row.arrays.total, &self.row.total)
    }

    /// Forecast energy in mJ, float64[plans]; None where the device's power is not known.
    #[getter]
    fn energy_mj(&self, py: Python<'_>) -> Option<Column<f64>> {
        let energy = |forecast: &Forecast| forecast.energy().map(Energy::as_millijoules_f64);
        let all: Option<Vec<f64>> = self.row.forecasts.iter().map(energy).collect();
        all.map(|all| fixed(py, all))
    }

    /// Forecast over bound, the larger of two, float64[plans]: above 1 misses the objective.
    #[getter]
    fn load<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        if self.stage.counts_wait() {
            let left = self.stage.bounds(self.kind).after(self.waited);
            let load = self.row.forecasts.iter().map(|forecast| forecast.load(left));
            return fixed(py, load.collect()).into_bound(py);
        }
        shown(py, &self.row.arrays.load, &self.row.load)
    }

    /// Whether the forecast meets the objective, the method's margin kept, bool[plans].
    #[getter]
    fn feasible<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        if self.stage.counts_wait() {
            return fixed(py, mask(&self.left())).into_bound(py);
        }
        shown(py, &self.row.arrays.feasible, &self.row.feasible)
    }

    /// Share of the dataset's estimate items that a plan answers rightly, float64[plans].
    #[getter]
    fn expected_accuracy<'py>(&self, py: Python<'py>) -> &Bound<'py, PyArray1<f64>> {
        self.stage.expected(self.kind).bind(py)
    }

    /// Probability of a right answer to this prompt by the decision-head, float64[plans]; None for
    /// a method without one.
    #[getter]
    fn probability<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        let values = self.row.probability.as_ref()?;
        Some(shown(py, &self.row.arrays.probability, values))
    }

    /// The plan that misses the objective least, for where none meets it: what built-in policies
    /// fall back to.
    fn least_late(&self) -> usize {
        let choices = self.left();
        let plan = choices.least_late(choices.candidates());
        let place = choices.candidates().iter().position(|one| one.plan == plan);
        place.expect("it is one of them")
    }
}

/// What became of a plan, for a policy that learns. Times in ms.
#[pyclass(name = "Outcome", module = "pliant", frozen)]
pub struct PyOutcome {
    outcome: Outcome,
    /// The place of the plan in the menu.
    #[pyo3(get)]
    index: usize,
    /// Of a policy that is asked in batches: which replication it was; 0 for others.
    #[pyo3(get)]
    replication: usize,
}

impl PyOutcome {
    pub fn new(outcome: &Outcome, index: usize, replication: usize) -> Self {
        Self { outcome: *outcome, index, replication }
    }
}

#[pymethods]
impl PyOutcome {
    /// The request's number.
    #[getter]
    fn id(&self) -> u64 {
        self.outcome.request.id
    }

    /// How right the answer was, 0 to 1; None where nobody knows.
    #[getter]
    fn correct(&self) -> Option<f64> {
        self.outcome.execution.correct.map(f64::from)
    }

    /// Whether every bound was met.
    #[getter]
    fn slo_met(&self) -> bool {
        self.outcome.slo_met()
    }

    /// How right the answer was, 0 if late: what accuracy@SLO is the mean of.
    #[getter]
    fn reward(&self) -> f64 {
        reward(&self.outcome)
    }

    /// From arrival to the first token.
    #[getter]
    fn ttft_ms(&self) -> f64 {
        millis(self.outcome.ttft())
    }

    /// Per token after the first; None of a single one.
    #[getter]
    fn tpot_ms(&self) -> Option<f64> {
        self.outcome.tpot().map(millis)
    }

    /// From arrival to the last token.
    #[getter]
    fn e2e_ms(&self) -> f64 {
        millis(self.outcome.end_to_end())
    }

    /// How long the request waited.
    #[getter]
    fn waited_ms(&self) -> f64 {
        millis(self.outcome.queued())
    }

    /// What serving drew, in mJ; None where the power is not known.
    #[getter]
    fn energy_mj(&self) -> Option<f64> {
        self.outcome.energy().map(Energy::as_millijoules_f64)
    }
}

/// How right the answer was, 0 if a bound was missed or nobody knows.
pub fn reward(outcome: &Outcome) -> f64 {
    if outcome.slo_met() { outcome.execution.correct.map_or(0.0, f64::from) } else { 0.0 }
}
