//! Questions of many replications at once, as arrays of a row each.

use std::sync::Arc;
use std::time::Duration;

use numpy::{PyArray1, PyArray2, PyArrayMethods as _};
use pliant::request::{Bounds, Request};
use pliant::sim::Asked;
use pliant::units::{Level, millis};
use pyo3::prelude::*;

use crate::stage::{Row, Stage, fixed, mask};

/// One of them.
struct Waiting {
    replication: usize,
    kind: u32,
    row: Arc<Row>,
    resident: Option<Level>,
    waited: Duration,
    queued: usize,
}

/// What is asked of a policy for many replications at once: `n` requests, each with the same plans
/// to choose from. Times in ms; what is not known is NaN.
#[pyclass(name = "Batch", module = "pliant", frozen)]
pub struct Batch {
    stage: Arc<Stage>,
    waiting: Vec<Waiting>,
}

impl Batch {
    /// Of replications by number, each with the kind of its request and what is asked.
    pub fn new<'a>(
        stage: &Arc<Stage>,
        questions: impl Iterator<Item = (usize, (u32, &'a Asked))>,
    ) -> Self {
        let waiting = questions.map(|(replication, (kind, asked))| Waiting {
            replication,
            kind,
            row: stage.row(kind, asked.service.resident),
            resident: asked.service.resident,
            waited: asked.service.now - asked.request.arrival,
            queued: asked.service.queued,
        });
        Self { waiting: waiting.collect(), stage: Arc::clone(stage) }
    }

    /// A row of `values` for each of them.
    fn table<'py, T: numpy::Element + Copy>(
        &self,
        py: Python<'py>,
        values: impl Fn(&Waiting, &mut Vec<T>),
    ) -> Bound<'py, PyArray2<T>> {
        let (rows, plans) = (self.waiting.len(), self.stage.candidates().len());
        let mut all = Vec::with_capacity(rows * plans);
        self.waiting.iter().for_each(|one| values(one, &mut all));
        let table = PyArray1::from_vec(py, all).reshape([rows, plans]);
        table.expect("a row has a value for each plan")
    }

    fn column<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        value: impl Fn(&Waiting) -> T,
    ) -> Bound<'py, PyArray1<T>> {
        fixed(py, self.waiting.iter().map(value).collect()).into_bound(py)
    }

    fn request(&self, one: &Waiting) -> &Request {
        self.stage.request(one.kind)
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.waiting.len()
    }

    /// Which replications ask, int64[n]: the same number throughout a run.
    #[getter]
    fn replication<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.column(py, |one| one.replication as i64)
    }

    /// Forecast time to the first token, float64[n, plans].
    #[getter]
    fn ttft_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.table(py, |one, all| all.extend_from_slice(&one.row.ttft))
    }

    /// Forecast time per token after the first, float64[n, plans].
    #[getter]
    fn tpot_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.table(py, |one, all| all.extend_from_slice(&one.row.tpot))
    }

    /// Forecast time to the last token, float64[n, plans].
    #[getter]
    fn total_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.table(py, |one, all| all.extend_from_slice(&one.row.total))
    }

    /// Forecast over bound, float64[n, plans]: above 1 misses the objective.
    #[getter]
    fn load<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.table(py, |one, all| {
            if self.stage.counts_wait() {
                let left = self.stage.bounds(one.kind).after(one.waited);
                all.extend(one.row.forecasts.iter().map(|forecast| forecast.load(left)));
            } else {
                all.extend_from_slice(&one.row.load);
            }
        })
    }

    /// Whether the forecast meets the objective, bool[n, plans].
    #[getter]
    fn feasible<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<bool>> {
        self.table(py, |one, all| {
            if self.stage.counts_wait() {
                all.extend(mask(&self.stage.choices(one.kind, one.resident, one.waited)));
            } else {
                all.extend_from_slice(&one.row.feasible);
            }
        })
    }

    /// Share of the dataset's estimate items that a plan answers rightly, float64[n, plans].
    #[getter]
    fn expected_accuracy<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.table(py, |one, all| {
            let expected = self.stage.expected(one.kind).bind(py).readonly();
            all.extend_from_slice(expected.as_slice().expect("it is made in one piece"));
        })
    }

    /// Probability of a right answer by the decision-head, float64[n, plans]; None for a method
    /// without one.
    #[getter]
    fn probability<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray2<f64>>> {
        let knows = |one: &Waiting| one.row.probability.is_some();
        self.waiting.iter().all(knows).then(|| {
            self.table(py, |one, all| {
                all.extend_from_slice(one.row.probability.as_deref().unwrap_or_default());
            })
        })
    }

    /// Lengths of the prompts, int64[n].
    #[getter]
    fn prompt_tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.column(py, |one| self.request(one).prompt_tokens.into())
    }

    /// Tokens to generate, int64[n].
    #[getter]
    fn output_tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.column(py, |one| self.request(one).output_tokens.into())
    }

    /// What the run was given of the requests' items, a list of n; None where it was given nothing.
    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> Vec<Option<&Bound<'py, PyAny>>> {
        let of = |one: &Waiting| self.stage.features(one.kind).map(|of| of.bind(py));
        self.waiting.iter().map(of).collect()
    }

    /// Most time from arrival to the first token, float64[n].
    #[getter]
    fn ttft_bound_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |one| match self.stage.bounds(one.kind) {
            Bounds::Latency { ttft, .. } => millis(ttft),
            _ => f64::NAN,
        })
    }

    /// Most mean time per token after the first, float64[n].
    #[getter]
    fn tpot_bound_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |one| match self.stage.bounds(one.kind) {
            Bounds::Latency { tpot, .. } => millis(tpot),
            _ => f64::NAN,
        })
    }

    /// How long the requests have waited, float64[n].
    #[getter]
    fn waited_ms<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |one| millis(one.waited))
    }

    /// The levels in memory as shares, NaN before a first request, float64[n].
    #[getter]
    fn resident<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.column(py, |one| one.resident.map_or(f64::NAN, |level| level.share().as_f64()))
    }

    /// Requests that wait behind them, int64[n].
    #[getter]
    fn queued<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.column(py, |one| one.queued as i64)
    }
}
