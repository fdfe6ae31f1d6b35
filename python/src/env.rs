//! Environments to learn in: an episode is a trace, a step a decision.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pliant::experiment::{Setting, Witness as _, Witnessed};
use pliant::outcome::Outcome;
use pliant::policy::RecordedPlans;
use pliant::units::millis;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asked::{Row, Stage, reward};
use crate::error::{OrRaise as _, raised};
use crate::experiment::{Narrowed, PyExperiment};
use crate::outcomes::Outcomes;
use crate::replay::Run;

/// What an observation begins with; then each plan's load, expected accuracy and, where there is a
/// decision-head, probability.
const FEATURES: [&str; 10] = [
    "prompt_tokens",
    "output_tokens",
    "ttft_objective",
    "tpot_objective",
    "waited_ms",
    "queued",
    "resident",
    "speed",
    "app",
    "dataset",
];

/// A plan that takes so many times its bound is as bad as any.
const LOAD_MAX: f64 = 10.0;

/// The most of a feature without a bound of its own: 2²⁴, up to which `float32` counts.
const FEATURE_MAX: f64 = 16_777_216.0;

/// What is learned in: a method's menu over the traces of an experiment.
struct Scenery {
    settings: Vec<Arc<Setting>>,
    stage: Arc<Stage>,
    has_head: bool,
    /// Whether a reward is the plan's expected accuracy in place of the answer's grade.
    expects: bool,
    /// Whether an episode keeps its outcomes.
    keeps: bool,
}

impl Scenery {
    fn new(
        py: Python<'_>,
        experiment: &PyExperiment,
        narrowed: &Narrowed,
        like: &str,
        (expects, keeps): (bool, bool),
    ) -> PyResult<Self> {
        let settings = experiment.settings(py, narrowed, like)?;
        let Some(first) = settings.first() else {
            let parts = [Some("experiment"), None, None, Some("a trace and a device")];
            return Err(raised(py, "has nothing to step through", parts));
        };
        let stage = Arc::new(Stage::new(py, &first.method, &first.kinds).or_raise(py)?);
        let has_head = first.method.spec().policy.decisions().is_some();
        Ok(Self { settings, stage, has_head, expects, keeps })
    }

    fn plans(&self) -> usize {
        self.stage.candidates().len()
    }

    fn length(&self) -> usize {
        FEATURES.len() + self.plans() * if self.has_head { 3 } else { 2 }
    }

    fn begin(&self, py: Python<'_>, nth: usize) -> PyResult<Run> {
        let setting = &self.settings[nth % self.settings.len()];
        Run::begin(Arc::clone(setting), self.keeps).or_raise(py)
    }

    /// Adds what is seen of `run` to `all`; zeros at its end.
    fn observe(&self, py: Python<'_>, run: &Run, all: &mut Vec<f32>) {
        let Some((kind, asked)) = run.asked() else {
            all.resize(all.len() + self.length(), 0.0);
            return;
        };
        let (service, waited) = (asked.service, asked.service.now - asked.request.arrival);
        let request = self.stage.request(kind);
        let (ttft, tpot) = self.stage.objective(kind);
        let features = [
            request.prompt_tokens.into(),
            request.output_tokens.into(),
            ttft,
            tpot,
            millis(waited),
            service.queued as f64,
            service.resident.map_or(0.0, |level| level.share().as_f64()),
            service.speed.as_f64(),
            request.app.0.into(),
            request.dataset.0.into(),
        ];
        all.extend(features.map(|value: f64| value.min(FEATURE_MAX) as f32));
        let row = self.stage.row(kind, service.resident);
        if self.stage.counts_wait() {
            let left = self.stage.bounds(kind).after(waited);
            let loads: Vec<f64> =
                row.forecasts.iter().map(|forecast| forecast.load(left)).collect();
            all.extend(self.of_plans(py, kind, &row, &loads));
        } else {
            let made = || self.of_plans(py, kind, &row, &row.load);
            all.extend_from_slice(row.observed.get_or_init(made));
        }
    }

    fn of_plans(&self, py: Python<'_>, kind: u32, row: &Row, loads: &[f64]) -> Vec<f32> {
        let known = |value: &f64| if value.is_nan() { 0.0 } else { *value as f32 };
        let expected = self.stage.expected(kind).bind(py).readonly();
        let expected = expected.as_slice().expect("it is made in one piece");
        let head = row.probability.iter().flatten();
        let loads = loads.iter().map(|load| load.min(LOAD_MAX) as f32);
        loads.chain(expected.iter().map(known)).chain(head.map(known)).collect()
    }

    /// Adds which plans are forecast to meet the objective; where none does, the one that misses it
    /// least.
    fn mask(&self, run: &Run, all: &mut Vec<i8>) {
        let Some((kind, asked)) = run.asked() else {
            all.resize(all.len() + self.plans(), 1);
            return;
        };
        let waited = asked.service.now - asked.request.arrival;
        let row = self.stage.row(kind, asked.service.resident);
        let choices = || self.stage.choices(kind, asked.service.resident, waited);
        let start = all.len();
        if self.stage.counts_wait() {
            all.extend(crate::asked::mask(&choices()).into_iter().map(i8::from));
        } else {
            all.extend(row.feasible.iter().map(|&fits| i8::from(fits)));
        }
        if !all[start..].contains(&1) {
            let choices = choices();
            let plan = choices.least_late(choices.candidates());
            let place = choices.candidates().iter().position(|one| one.plan == plan);
            all[start + place.expect("it is one of them")] = 1;
        }
    }

    /// Takes a step of `run`; returns its reward.
    fn step(&self, py: Python<'_>, run: &mut Run, action: i64) -> PyResult<f64> {
        let Some((_, asked)) = run.asked() else {
            let parts = [Some("environment"), Some("step"), None, Some("a call of reset")];
            return Err(raised(py, "the episode is over, or was not begun", parts));
        };
        let (id, plans) = (asked.request.id, self.plans());
        let place = usize::try_from(action).ok().filter(|&place| place < plans);
        let place = place.ok_or_else(|| {
            let (at, found) = (run.place(id), action.to_string());
            let allowed = format!("0 to {}", plans - 1);
            let parts = [Some("environment"), Some(&*at), Some(&*found), Some(&*allowed)];
            raised(py, "action is no plan", parts)
        })?;
        let known = if self.keeps { run.outcomes.len() } else { 0 };
        run.answer(place, self.stage.candidates()[place].plan).or_raise(py)?;
        let worth = |outcome: &Outcome| {
            if self.expects {
                let chosen = run.chosen(outcome.request.id);
                self.expected(py, chosen.kind, chosen.place)
                    * f64::from(u8::from(outcome.slo_met()))
            } else {
                reward(outcome)
            }
        };
        Ok(run.outcomes[known..].iter().map(worth).sum())
    }

    fn expected(&self, py: Python<'_>, kind: u32, place: usize) -> f64 {
        let expected = self.stage.expected(kind).bind(py).readonly();
        let value = expected.as_slice().expect("it is made in one piece")[place];
        if value.is_nan() { 0.0 } else { value }
    }

    /// Names of the parts of an observation, with the most that each can be.
    fn names(&self) -> Vec<(String, f64)> {
        let most = |name: &str| match name {
            "resident" | "speed" => 1.0,
            _ => FEATURE_MAX,
        };
        let mut names: Vec<_> =
            FEATURES.iter().map(|name| ((*name).to_owned(), most(name))).collect();
        let parts = [("load", LOAD_MAX), ("expected_accuracy", 1.0), ("probability", 1.0)];
        for (part, most) in parts.into_iter().take(if self.has_head { 3 } else { 2 }) {
            for one in self.stage.candidates() {
                let (level, ratio) = (one.plan.level.as_percent(), one.plan.prompt_ratio);
                names.push((format!("{part} {level}/{}", ratio.percents()), most));
            }
        }
        names
    }
}

/// What one episode after the other is learned in.
#[pyclass(name = "EnvCore", module = "pliant._native", subclass)]
pub struct EnvCore {
    scenery: Scenery,
    run: Option<Run>,
    /// Episodes that came to their end, if they are kept.
    finished: Option<Vec<Run>>,
}

#[pymethods]
impl EnvCore {
    #[new]
    #[pyo3(signature = (experiment, narrowed, like, expects, record, **_rest))]
    fn new(
        py: Python<'_>,
        experiment: &PyExperiment,
        narrowed: Narrowed,
        like: &str,
        expects: bool,
        record: bool,
        _rest: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let scenery = Scenery::new(py, experiment, &narrowed, like, (expects, true))?;
        Ok(Self { scenery, run: None, finished: record.then(Vec::new) })
    }

    /// How many traces there are, hence different episodes.
    #[getter]
    fn traces(&self) -> usize {
        self.scenery.settings.len()
    }

    /// How many plans.
    #[getter]
    fn plans(&self) -> usize {
        self.scenery.plans()
    }

    /// Names of the parts of an observation, in order, with the most that each can be.
    fn parts(&self) -> Vec<(String, f64)> {
        self.scenery.names()
    }

    /// Begins the episode of the trace at `nth`.
    fn begin<'py>(
        &mut self,
        py: Python<'py>,
        nth: usize,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, Bound<'py, PyDict>)> {
        self.put_away();
        self.run = Some(self.scenery.begin(py, nth)?);
        Ok((self.observation(py), self.info(py)?))
    }

    /// Answers the request at hand with the plan at `action`: observation, reward, whether the
    /// trace is at its end, False, and what else there is to know.
    #[expect(clippy::type_complexity, reason = "Gymnasium's five values")]
    fn step<'py>(
        &mut self,
        py: Python<'py>,
        action: i64,
    ) -> PyResult<(Bound<'py, PyArray1<f32>>, f64, bool, bool, Bound<'py, PyDict>)> {
        let Some(run) = &mut self.run else {
            let parts = [Some("environment"), Some("step"), None, Some("a call of reset first")];
            return Err(raised(py, "no episode was begun", parts));
        };
        let reward = self.scenery.step(py, run, action)?;
        let is_over = run.asked().is_none();
        Ok((self.observation(py), reward, is_over, false, self.info(py)?))
    }

    /// Which plans are forecast to meet the objective, bool[plans]; where none is, the one that
    /// misses it least.
    fn action_masks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        let valid = self.mask().into_iter().map(|valid| valid == 1).collect();
        PyArray1::from_vec(py, valid)
    }

    /// The plans of the episodes that came to their end, as a file of method kind `recorded`.
    fn planned(&self) -> String {
        let mut plans = RecordedPlans::default();
        for run in self.finished.iter().flatten().chain(&self.run) {
            let (key, of) = run.planned();
            plans.insert(key, of);
        }
        plans.to_csv()
    }

    /// What became of their requests, as columns.
    fn log<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (outcomes, mut cells) = (Outcomes::default(), Vec::new());
        for run in self.finished.iter().flatten().chain(&self.run) {
            let Setting { label, seed, trace, .. } = &*run.setting;
            cells.push(label.clone());
            let (seed, outcomes_of, lost) = (*seed, run.outcomes.clone(), Vec::new());
            outcomes.take(Witnessed { label, seed, trace, outcomes: outcomes_of, lost });
        }
        outcomes.into_columns(py, &cells)
    }
}

impl EnvCore {
    fn put_away(&mut self) {
        if let (Some(finished), Some(run)) = (&mut self.finished, self.run.take()) {
            finished.push(run);
        }
    }

    fn observation<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        let mut all = Vec::with_capacity(self.scenery.length());
        match &self.run {
            Some(run) => self.scenery.observe(py, run, &mut all),
            None => all.resize(self.scenery.length(), 0.0),
        }
        PyArray1::from_vec(py, all)
    }

    fn mask(&self) -> Vec<i8> {
        let mut mask = Vec::with_capacity(self.scenery.plans());
        match &self.run {
            Some(run) => self.scenery.mask(run, &mut mask),
            None => mask.resize(self.scenery.plans(), 1),
        }
        mask
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let info = PyDict::new(py);
        info.set_item(pyo3::intern!(py, "action_mask"), PyArray1::from_vec(py, self.mask()))?;
        Ok(info)
    }
}

/// Many episodes at a time, in lock-step.
#[pyclass(name = "VectorCore", module = "pliant._native", subclass)]
pub struct VectorCore {
    scenery: Scenery,
    runs: Vec<Run>,
    /// By environment: the trace that is next.
    next: Vec<usize>,
}

#[pymethods]
impl VectorCore {
    #[new]
    #[pyo3(signature = (experiment, narrowed, like, expects, **_rest))]
    fn new(
        py: Python<'_>,
        experiment: &PyExperiment,
        narrowed: Narrowed,
        like: &str,
        expects: bool,
        _rest: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let scenery = Scenery::new(py, experiment, &narrowed, like, (expects, true))?;
        Ok(Self { scenery, runs: Vec::new(), next: Vec::new() })
    }

    #[getter]
    fn traces(&self) -> usize {
        self.scenery.settings.len()
    }

    #[getter]
    fn plans(&self) -> usize {
        self.scenery.plans()
    }

    fn parts(&self) -> Vec<(String, f64)> {
        self.scenery.names()
    }

    /// Begins an episode in each environment, of the traces at these places.
    fn begin<'py>(
        &mut self,
        py: Python<'py>,
        traces: Vec<usize>,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, Bound<'py, PyDict>)> {
        let runs = traces.iter().map(|&nth| self.scenery.begin(py, nth));
        self.runs = runs.collect::<PyResult<_>>()?;
        let count = traces.len();
        self.next = traces.into_iter().map(|nth| nth + count).collect();
        Ok((self.observations(py), self.info(py)?))
    }

    /// A step in each environment; one whose episode was at its end begins the next, whatever its
    /// action is, for a reward of 0.
    #[expect(clippy::type_complexity, reason = "Gymnasium's five values")]
    fn step<'py>(
        &mut self,
        py: Python<'py>,
        actions: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<(
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray1<bool>>,
        Bound<'py, PyArray1<bool>>,
        Bound<'py, PyDict>,
    )> {
        let actions = actions.as_array();
        if actions.len() != self.runs.len() {
            let (found, allowed) = (actions.len().to_string(), self.runs.len().to_string());
            let parts = [Some("environments"), Some("step"), Some(&*found), Some(&*allowed)];
            return Err(raised(py, "other than an action for each", parts));
        }
        let (count, mut rewards) = (self.runs.len(), Vec::with_capacity(self.runs.len()));
        for (nth, &action) in actions.iter().enumerate() {
            if self.runs[nth].asked().is_none() {
                self.runs[nth] = self.scenery.begin(py, self.next[nth])?;
                self.next[nth] += count;
                rewards.push(0.0);
            } else {
                rewards.push(self.scenery.step(py, &mut self.runs[nth], action)?);
            }
        }
        let over = self.runs.iter().map(|run| run.asked().is_none()).collect();
        Ok((
            self.observations(py),
            PyArray1::from_vec(py, rewards),
            PyArray1::from_vec(py, over),
            PyArray1::from_vec(py, vec![false; count]),
            self.info(py)?,
        ))
    }
}

impl VectorCore {
    fn observations<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        let shape = [self.runs.len(), self.scenery.length()];
        let mut all = Vec::with_capacity(shape[0] * shape[1]);
        self.runs.iter().for_each(|run| self.scenery.observe(py, run, &mut all));
        PyArray1::from_vec(py, all).reshape(shape).expect("each has its row")
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let shape = [self.runs.len(), self.scenery.plans()];
        let mut all = Vec::with_capacity(shape[0] * shape[1]);
        self.runs.iter().for_each(|run| self.scenery.mask(run, &mut all));
        let mask = PyArray1::from_vec(py, all).reshape(shape).expect("each has its row");
        let info = PyDict::new(py);
        info.set_item(pyo3::intern!(py, "action_mask"), mask)?;
        Ok(info)
    }
}
