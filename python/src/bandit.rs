//! A log for off-policy learning: what was seen, what was done, and what every plan would have come
//! to.

use numpy::{PyArray1, PyArray2, PyArrayMethods as _};
use pliant::executor::CostModel;
use pliant::experiment::Setting;
use pliant::outcome::{Interruptions, Outcome};
use pliant::rng;
use pliant::units::millis;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rand::RngExt as _;

use crate::asked::reward;
use crate::error::OrRaise as _;
use crate::experiment::{Narrowed, PyExperiment};
use crate::replay::Run;
use crate::scenery::Scenery;

/// Columns in the making.
#[derive(Default)]
struct Log {
    context: Vec<f32>,
    valid: Vec<i8>,
    rewards: Vec<f64>,
    actions: Vec<i64>,
    propensities: Vec<f64>,
    waited: Vec<f64>,
    ids: Vec<u64>,
    seeds: Vec<u64>,
    alphas: Vec<f64>,
    datasets: Vec<String>,
    items: Vec<String>,
}

/// Plays every trace with plans drawn evenly, of those that are forecast to be in time if
/// `feasible`, and logs each decision.
#[pyfunction]
pub fn bandit_log<'py>(
    py: Python<'py>,
    experiment: &PyExperiment,
    narrowed: Narrowed,
    like: &str,
    feasible: bool,
    seed: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let scenery = Scenery::new(py, experiment, &narrowed, like, (false, false))?;
    let (mut log, mut draws) = (Log::default(), rng::stream(seed, "python/behaviour"));
    for nth in 0..scenery.settings.len() {
        let mut run = scenery.begin(py, nth)?;
        let truth = run.setting.method.cost_model(&run.setting.trace).or_raise(py)?;
        while run.asked().is_some() {
            let start = log.valid.len();
            scenery.observe(py, &run, &mut log.context);
            scenery.mask(&run, &mut log.valid);
            let drawn_from: Vec<usize> = log.valid[start..]
                .iter()
                .enumerate()
                .filter(|(_, valid)| !feasible || **valid == 1)
                .map(|(place, _)| place)
                .collect();
            let place = drawn_from[draws.random_range(0..drawn_from.len())];
            log.rewards_of_all(py, &scenery, (&run, &truth))?;
            log.actions.push(place as i64);
            log.propensities.push(1.0 / drawn_from.len() as f64);
            scenery.step(py, &mut run, place as i64)?;
        }
    }
    log.into_columns(py, &scenery)
}

impl Log {
    /// Adds what each plan would come to for the request at hand, and which request that is.
    fn rewards_of_all(
        &mut self,
        py: Python<'_>,
        scenery: &Scenery,
        (run, truth): (&Run, &CostModel),
    ) -> PyResult<()> {
        let Setting { label, seed, trace, .. } = &*run.setting;
        let (_, asked) = run.asked().expect("it is logged while it waits");
        let (request, service) = (asked.request, asked.service);
        for candidate in scenery.stage.candidates() {
            let execution = truth.bill(&request, candidate.plan, service.resident);
            let outcome = Outcome {
                request,
                bounds: asked.bounds,
                plan: candidate.plan,
                start: service.now,
                execution: execution.or_raise(py)?,
                interruptions: Interruptions::default(),
            };
            self.rewards.push(reward(&outcome));
        }
        self.waited.push(millis(service.now - request.arrival));
        self.ids.push(request.id);
        self.seeds.push(*seed);
        self.alphas.push(label.alpha);
        self.datasets.push(trace.dataset(request.dataset).to_owned());
        self.items.push(request.item.to_string());
        Ok(())
    }

    fn into_columns<'py>(self, py: Python<'py>, scenery: &Scenery) -> PyResult<Bound<'py, PyDict>> {
        let (rows, plans) = (self.actions.len(), scenery.plans());
        let columns = PyDict::new(py);
        let reward = self.actions.iter().enumerate();
        let reward: Vec<f64> =
            reward.map(|(row, &place)| self.rewards[row * plans + place as usize]).collect();
        let context = PyArray1::from_vec(py, self.context).reshape([rows, scenery.length()])?;
        let rewards: Bound<'_, PyArray2<f64>> =
            PyArray1::from_vec(py, self.rewards).reshape([rows, plans])?;
        columns.set_item("context", context)?;
        columns.set_item("action", PyArray1::from_vec(py, self.actions))?;
        columns.set_item("reward", PyArray1::from_vec(py, reward))?;
        columns.set_item("pscore", PyArray1::from_vec(py, self.propensities))?;
        columns.set_item("expected_reward", rewards)?;
        let valid = PyArray1::from_vec(py, self.valid).reshape([rows, plans])?;
        columns.set_item("action_mask", valid)?;
        columns.set_item("waited_ms", PyArray1::from_vec(py, self.waited))?;
        columns.set_item("id", PyArray1::from_vec(py, self.ids))?;
        columns.set_item("seed", PyArray1::from_vec(py, self.seeds))?;
        columns.set_item("alpha", PyArray1::from_vec(py, self.alphas))?;
        columns.set_item("dataset", self.datasets)?;
        columns.set_item("item", self.items)?;
        let of = |one: &pliant::policy::Candidate| {
            [one.plan.level.share().as_f64(), one.plan.prompt_ratio.as_f64()]
        };
        let shares: Vec<f64> = scenery.stage.candidates().iter().flat_map(of).collect();
        columns.set_item("plans", PyArray1::from_vec(py, shares).reshape([plans, 2])?)?;
        Ok(columns)
    }
}
