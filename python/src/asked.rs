//! What a policy is shown: the request, the service and the menu; and afterwards the outcome.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use numpy::{PyArray1, PyArrayMethods as _};
use pliant::method::Method;
use pliant::outcome::Outcome;
use pliant::policy::{Candidate, Choices, Forecast, Menu, ServiceView};
use pliant::request::{Bounds, Request, RequestView};
use pliant::sim::Asked;
use pliant::trace::Kinds;
use pliant::units::{Energy, Level, SimTime, millis};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// An array that nobody can write to.
pub type Column<T> = Py<PyArray1<T>>;

/// `values` as an array that nobody can write to, without a copy.
pub fn fixed<T: numpy::Element>(py: Python<'_>, values: Vec<T>) -> Column<T> {
    let array = PyArray1::from_vec(py, values);
    array.readwrite().make_nonwriteable();
    array.unbind()
}

/// Forecasts that are kept, over all kinds and resident levels: some 80 MB of them.
const ROWS_KEPT: usize = 20_000;

/// A method on a device, as its questions need it.
#[derive(Debug)]
pub struct Stage {
    /// Over all kinds of requests, whose numbers are the ids there.
    menu: Menu,
    kinds: Arc<Kinds>,
    bounds: Vec<Bounds>,
    /// Whether the time that a request has waited is taken off its bounds.
    counts_wait: bool,
    apps: Vec<Py<PyString>>,
    datasets: Vec<Py<PyString>>,
    level: Column<f64>,
    prompt_ratio: Column<f64>,
    /// By group of the menu.
    expected: Vec<Column<f64>>,
    rows: Mutex<Rows>,
}

/// Forecasts that are kept.
#[derive(Debug, Default)]
struct Rows {
    kept: usize,
    /// By kind: of the levels that were resident.
    by_kind: Vec<Vec<(Option<Level>, Arc<Row>)>>,
}

/// What is forecast of each plan for a kind of request while a level is resident. Times in ms.
#[derive(Debug)]
pub struct Row {
    pub forecasts: Vec<Forecast>,
    pub ttft: Vec<f64>,
    pub tpot: Vec<f64>,
    pub total: Vec<f64>,
    /// Against the bounds as they are.
    pub load: Vec<f64>,
    pub feasible: Vec<bool>,
    /// By the decision-head, where there is one.
    pub probability: Option<Vec<f64>>,
    /// For an environment; made once.
    pub observed: OnceLock<Vec<f32>>,
    arrays: Arrays,
}

impl Row {
    fn new(choices: &Choices<'_>, bounds: Bounds) -> Self {
        let forecasts: Vec<_> =
            choices.candidates().iter().map(|one| choices.forecast(one)).collect();
        let of = |value: &dyn Fn(&Forecast) -> f64| forecasts.iter().map(value).collect();
        Self {
            ttft: of(&|forecast| millis(forecast.ttft)),
            tpot: of(&|forecast| millis(forecast.tpot)),
            total: of(&|forecast| millis(forecast.total())),
            load: of(&|forecast| forecast.load(bounds)),
            feasible: mask(choices),
            probability: choices.decision().map(|decision| {
                let of =
                    |one: &Candidate| decision.probability(one.plan).map_or(f64::NAN, f64::from);
                choices.candidates().iter().map(of).collect()
            }),
            observed: OnceLock::new(),
            arrays: Arrays::default(),
            forecasts,
        }
    }
}

/// Arrays that a policy asked for.
#[derive(Debug, Default)]
struct Arrays {
    ttft: OnceLock<Column<f64>>,
    tpot: OnceLock<Column<f64>>,
    total: OnceLock<Column<f64>>,
    load: OnceLock<Column<f64>>,
    probability: OnceLock<Column<f64>>,
    feasible: OnceLock<Column<bool>>,
}

impl Stage {
    pub fn new(py: Python<'_>, method: &Method, kinds: &Arc<Kinds>) -> pliant::Result<Self> {
        let all = kinds.as_trace();
        let (menu, bounds) = (method.menu(all)?, method.bounds(all)?);
        let names = |names: &[String]| {
            names.iter().map(|name| PyString::new(py, name).unbind()).collect::<Vec<_>>()
        };
        let of =
            |value: fn(&Candidate) -> f64| fixed(py, menu.candidates().iter().map(value).collect());
        let expected = |group| {
            let of = |one| menu.expected_accuracy(one, group).unwrap_or(f64::NAN);
            fixed(py, menu.candidates().iter().map(of).collect())
        };
        Ok(Self {
            counts_wait: method.spec().counts_wait,
            apps: names(&all.apps),
            datasets: names(&all.datasets),
            level: of(|one| one.plan.level.share().as_f64()),
            prompt_ratio: of(|one| one.plan.prompt_ratio.as_f64()),
            expected: (0..menu.groups()).map(expected).collect(),
            rows: Mutex::new(Rows { kept: 0, by_kind: vec![Vec::new(); all.requests.len()] }),
            kinds: Arc::clone(kinds),
            bounds,
            menu,
        })
    }

    pub fn candidates(&self) -> &[Candidate] {
        self.menu.candidates()
    }

    pub fn counts_wait(&self) -> bool {
        self.counts_wait
    }

    /// Expected accuracies for a request of `kind`.
    pub fn expected(&self, kind: u32) -> &Column<f64> {
        &self.expected[self.menu.group(self.view(kind))]
    }

    /// The request of this kind.
    pub fn request(&self, kind: u32) -> &Request {
        &self.kinds.as_trace().requests[kind as usize]
    }

    /// Its objective as shares of the base model's times.
    pub fn objective(&self, kind: u32) -> (f64, f64) {
        self.menu.choices(self.view(kind), None).objective_shares()
    }

    pub fn bounds(&self, kind: u32) -> Bounds {
        self.bounds[kind as usize]
    }

    /// The choices for it, what it has `waited` being taken off its bounds where that counts.
    pub fn choices(&self, kind: u32, resident: Option<Level>, waited: Duration) -> Choices<'_> {
        let view = self.view(kind);
        let left = if self.counts_wait { view.bounds().after(waited) } else { view.bounds() };
        self.menu.choices(view.with_bounds(left), resident)
    }

    fn view(&self, kind: u32) -> RequestView<'_> {
        let request = &self.kinds.as_trace().requests[kind as usize];
        RequestView::new(request, self.bounds[kind as usize])
    }

    /// The forecasts for a request of `kind`, kept if there is room.
    pub fn row(&self, kind: u32, resident: Option<Level>) -> Arc<Row> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rows.by_kind[kind as usize].iter().find(|(level, _)| *level == resident);
        if let Some((_, row)) = known {
            return Arc::clone(row);
        }
        let choices = self.menu.choices(self.view(kind), resident);
        let row = Arc::new(Row::new(&choices, self.bounds[kind as usize]));
        if rows.kept < ROWS_KEPT {
            rows.kept += 1;
            rows.by_kind[kind as usize].push((resident, Arc::clone(&row)));
        }
        row
    }
}

/// `values` as the array that is made of them once.
fn shown<'py, T: numpy::Element + Copy>(
    py: Python<'py>,
    place: &OnceLock<Column<T>>,
    values: &[T],
) -> Bound<'py, PyArray1<T>> {
    place.get_or_init(|| fixed(py, values.to_vec())).bind(py).clone()
}

/// Whether each plan is forecast to meet the objective.
pub fn mask(choices: &Choices<'_>) -> Vec<bool> {
    let candidates = choices.candidates();
    let (mut mask, mut place) = (vec![false; candidates.len()], 0);
    for (one, _) in choices.feasible(candidates) {
        while candidates[place] != *one {
            place += 1;
        }
        mask[place] = true;
    }
    mask
}

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
        &self.stage.kinds.as_trace().requests[self.kind as usize]
    }

    fn bounds(&self) -> Bounds {
        self.stage.bounds[self.kind as usize]
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
        if self.stage.counts_wait {
            let left = self.stage.bounds(self.kind).after(self.waited);
            let load = self.row.forecasts.iter().map(|forecast| forecast.load(left));
            return fixed(py, load.collect()).into_bound(py);
        }
        shown(py, &self.row.arrays.load, &self.row.load)
    }

    /// Whether the forecast meets the objective, the method's margin kept, bool[plans].
    #[getter]
    fn feasible<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        if self.stage.counts_wait {
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
}

impl PyOutcome {
    pub fn new(outcome: &Outcome, index: usize) -> Self {
        Self { outcome: *outcome, index }
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
