//! What is learned in: a method's menu over the traces of an experiment, as numbers.

use std::sync::Arc;

use numpy::PyArrayMethods as _;
use pliant::experiment::Setting;
use pliant::outcome::Outcome;
use pliant::units::millis;
use pyo3::prelude::*;

use crate::asked::reward;
use crate::error::{OrRaise as _, raised};
use crate::experiment::{Narrowed, PyExperiment};
use crate::replay::Run;
use crate::stage::{Row, Stage, mask};

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
pub struct Scenery {
    pub settings: Vec<Arc<Setting>>,
    pub stage: Arc<Stage>,
    has_head: bool,
    /// Whether a reward is the plan's expected accuracy in place of the answer's grade.
    expects: bool,
    /// Whether an episode keeps its outcomes.
    keeps: bool,
}

impl Scenery {
    pub fn new(
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

    pub fn plans(&self) -> usize {
        self.stage.candidates().len()
    }

    pub fn length(&self) -> usize {
        FEATURES.len() + self.plans() * if self.has_head { 3 } else { 2 }
    }

    pub fn begin(&self, py: Python<'_>, nth: usize) -> PyResult<Run> {
        let setting = &self.settings[nth % self.settings.len()];
        Run::begin(Arc::clone(setting), self.keeps).or_raise(py)
    }

    /// Adds what is seen of `run` to `all`; zeros at its end.
    pub fn observe(&self, py: Python<'_>, run: &Run, all: &mut Vec<f32>) {
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
    pub fn mask(&self, run: &Run, all: &mut Vec<i8>) {
        let Some((kind, asked)) = run.asked() else {
            all.resize(all.len() + self.plans(), 1);
            return;
        };
        let waited = asked.service.now - asked.request.arrival;
        let row = self.stage.row(kind, asked.service.resident);
        let choices = || self.stage.choices(kind, asked.service.resident, waited);
        let start = all.len();
        if self.stage.counts_wait() {
            all.extend(mask(&choices()).into_iter().map(i8::from));
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
    pub fn step(&self, py: Python<'_>, run: &mut Run, action: i64) -> PyResult<f64> {
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
    pub fn names(&self) -> Vec<(String, f64)> {
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
