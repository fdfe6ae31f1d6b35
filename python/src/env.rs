//! Environments to learn in: an episode is a trace, a step a decision.

use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1};
use pliant::experiment::{Setting, Witness as _, Witnessed};
use pliant::policy::RecordedPlans;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::raised;
use crate::experiment::{Narrowed, PyExperiment};
use crate::outcomes::Outcomes;
use crate::replay::Run;
use crate::scenery::Scenery;

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
