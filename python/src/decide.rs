//! Asks policies in Python for the plans of an experiment's runs, step by step, on the thread that
//! called; the runs are then replayed with these plans as those of any other method.

use std::collections::BTreeMap;
use std::sync::Arc;

use numpy::PyReadonlyArray1;
use pliant::experiment::Setting;
use pliant::metrics::CellLabel;
use pliant::policy::RecordedPlans;
use pliant::units::Level;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::asked::{PyOutcome, Question};
use crate::batch::Batch;
use crate::error::{OrRaise as _, raised};
use crate::replay::Run;
use crate::stage::{Features, Stage};

/// Decisions between two looks at whether the user wants to stop.
const DECISIONS_PER_LOOK: u64 = 4096;

/// A policy of the user's.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Policy {
    pub name: String,
    /// The method whose plans it chooses from.
    pub like: String,
    /// By a seed: what to ask, and what to tell.
    pub start: Py<PyAny>,
    /// `kind`, `resident` or `history`.
    pub depends_on: String,
    /// Whether it is asked for many replications at once.
    pub in_batches: bool,
}

/// What a policy planned.
#[derive(Default)]
pub struct Planned {
    pub plans: RecordedPlans,
    /// By replay and request.
    pub reasons: Vec<(CellLabel, u64, BTreeMap<u64, String>)>,
}

/// Why it did not come to its end.
pub struct Failed {
    pub error: PyErr,
}

/// Asks `policy` for the plans of `settings`, which are of its name.
pub fn decide(
    py: Python<'_>,
    policy: &Policy,
    settings: &[Arc<Setting>],
    features: &Features,
) -> Result<Planned, Failed> {
    let mut asking = Asking { py, policy, features, planned: Planned::default(), decisions: 0 };
    let done = settings
        .chunk_by(|a, b| a.label.scene() == b.label.scene())
        .try_for_each(|scene| asking.scene(scene));
    match done {
        Ok(()) => Ok(asking.planned),
        Err(error) => Err(Failed { error }),
    }
}

struct Asking<'a, 'py> {
    py: Python<'py>,
    policy: &'a Policy,
    features: &'a Features,
    planned: Planned,
    decisions: u64,
}

impl<'py> Asking<'_, 'py> {
    fn scene(&mut self, settings: &[Arc<Setting>]) -> PyResult<()> {
        let (method, kinds) = (&settings[0].method, &settings[0].kinds);
        let stage = Stage::new(self.py, method, kinds).or_raise(self.py)?;
        let stage = Arc::new(stage.with_features(self.py, self.features));
        if self.policy.in_batches {
            return self.together(settings, &stage);
        }
        let mut known = BTreeMap::new();
        for setting in settings {
            let mut run = Run::begin(Arc::clone(setting), false).or_raise(self.py)?;
            self.alone(&mut run, &stage, &mut known)?;
            self.keep(run);
        }
        Ok(())
    }

    /// One replay, request by request.
    fn alone(
        &mut self,
        run: &mut Run,
        stage: &Arc<Stage>,
        known: &mut BTreeMap<(u32, Option<Level>), usize>,
    ) -> PyResult<()> {
        let (plan, observe) = self.start(run.setting.seed)?;
        while let Some((kind, asked)) = run.asked() {
            if let Some(observe) = &observe {
                self.tell((0, run), observe)?;
            }
            let key = match self.policy.depends_on.as_str() {
                "kind" => Some((kind, None)),
                "resident" => Some((kind, asked.service.resident)),
                _ => None,
            };
            let seen = key.and_then(|key| known.get(&key).copied());
            let place = match seen {
                Some(place) => place,
                None => self.ask(run, &plan, stage)?,
            };
            if let Some(key) = key {
                known.insert(key, place);
            }
            run.answer(place, stage.candidates()[place].plan).or_raise(self.py)?;
            self.look()?;
        }
        observe.map_or(Ok(()), |observe| self.tell((0, run), &observe))
    }

    fn ask(&self, run: &mut Run, plan: &Bound<'py, PyAny>, stage: &Arc<Stage>) -> PyResult<usize> {
        let (kind, asked) = run.asked().expect("somebody waits");
        let id = asked.request.id;
        let Question { request, service, menu } = Question::new(stage, kind, asked);
        let answer = plan.call1((request, service, menu));
        let answer = answer.map_err(|error| self.raised(run, id, error))?;
        let (index, reason) = match answer.extract::<(Bound<'_, PyAny>, String)>() {
            Ok((index, reason)) => (index, Some(reason)),
            Err(_) => (answer, None),
        };
        let place = index.extract::<i64>().ok().and_then(|index| usize::try_from(index).ok());
        let place = place.filter(|&place| place < stage.candidates().len());
        let place = place.ok_or_else(|| self.nonsense(&run.place(id), &index, stage))?;
        if let Some(reason) = reason {
            run.reason(id, reason);
        }
        Ok(place)
    }

    /// Tells the policy what was completed in a replication since its last decision.
    fn tell(&self, (replication, run): (usize, &Run), observe: &Bound<'py, PyAny>) -> PyResult<()> {
        for outcome in run.completed() {
            let id = outcome.request.id;
            let told = PyOutcome::new(outcome, run.chosen(id).place, replication);
            let told = observe.call1((told,));
            told.map_err(|error| self.raised(run, id, error))?;
        }
        Ok(())
    }

    /// All replays in lock-step: each round asks once, for all that wait, and tells what was
    /// completed.
    fn together(&mut self, settings: &[Arc<Setting>], stage: &Arc<Stage>) -> PyResult<()> {
        let (plan, observe) = self.start(settings[0].seed)?;
        let begun = settings.iter().map(|setting| Run::begin(Arc::clone(setting), false));
        let begun: pliant::Result<Vec<Run>> = begun.collect();
        let mut runs = begun.or_raise(self.py)?;
        loop {
            let waiting: Vec<usize> =
                (0..runs.len()).filter(|&nth| runs[nth].asked().is_some()).collect();
            if waiting.is_empty() {
                break;
            }
            let places = self.round(&runs, &waiting, &plan, stage)?;
            for (&nth, place) in waiting.iter().zip(places) {
                let plan = stage.candidates()[place].plan;
                runs[nth].answer(place, plan).or_raise(self.py)?;
                if let Some(observe) = &observe {
                    self.tell((nth, &runs[nth]), observe)?;
                }
                self.look()?;
            }
        }
        for run in runs {
            self.keep(run);
        }
        Ok(())
    }

    fn round(
        &self,
        runs: &[Run],
        waiting: &[usize],
        plan: &Bound<'py, PyAny>,
        stage: &Arc<Stage>,
    ) -> PyResult<Vec<usize>> {
        let questions = waiting.iter().map(|&nth| (nth, runs[nth].asked().expect("it waits")));
        let batch = Batch::new(stage, questions);
        let first = &runs[waiting[0]];
        let id = first.asked().expect("it waits").1.request.id;
        let answer = plan.call1((batch,)).map_err(|error| self.raised(first, id, error))?;
        let wrong = || {
            let found = answer.repr().map(|text| text.to_string()).unwrap_or_default();
            let allowed = format!("an array int64[{}], an index each", waiting.len());
            let problem = "policy answered other than asked";
            self.error(problem, &first.place(id), &found, &allowed)
        };
        let places = answer.extract::<PyReadonlyArray1<'_, i64>>().map_err(|_| wrong())?;
        let places = places.as_array();
        if places.len() != waiting.len() {
            return Err(wrong());
        }
        let plans = stage.candidates().len();
        let checked = waiting.iter().zip(&places).map(|(&nth, &found)| {
            let place = usize::try_from(found).ok().filter(|&place| place < plans);
            place.ok_or_else(|| {
                let id = runs[nth].asked().expect("it waits").1.request.id;
                self.no_candidate(&runs[nth].place(id), &found.to_string(), stage)
            })
        });
        checked.collect()
    }

    /// Keeps what a replay that came to its end planned.
    fn keep(&mut self, run: Run) {
        let (key, plans) = run.planned();
        self.planned.plans.give_reasons(key.clone(), run.reasons.clone());
        self.planned.plans.insert(key, plans);
        let Setting { label, seed, .. } = &*run.setting;
        if !run.reasons.is_empty() {
            self.planned.reasons.push((label.clone(), *seed, run.reasons));
        }
    }

    /// What to ask, and what to tell, in a replay under `seed`.
    fn start(&self, seed: u64) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
        let started = self.policy.start.bind(self.py).call1((seed,));
        let started = started.map_err(|error| {
            let place = format!("start under seed {seed}");
            self.because(error, &place)
        })?;
        started.extract()
    }

    /// Whether the user wants to stop.
    fn look(&mut self) -> PyResult<()> {
        self.decisions += 1;
        if self.decisions.is_multiple_of(DECISIONS_PER_LOOK) {
            self.py.check_signals()?;
        }
        Ok(())
    }

    fn raised(&self, run: &Run, request: u64, error: PyErr) -> PyErr {
        self.because(error, &run.place(request))
    }

    /// An exception of the policy's, as the cause of one of ours.
    fn because(&self, cause: PyErr, place: &str) -> PyErr {
        if cause.is_instance_of::<PyKeyboardInterrupt>(self.py) {
            return cause;
        }
        let error = self.error("policy raised", place, &cause.to_string(), "an index of the menu");
        error.set_cause(self.py, Some(cause));
        error
    }

    fn nonsense(&self, place: &str, found: &Bound<'_, PyAny>, stage: &Stage) -> PyErr {
        let found = found.repr().map(|text| text.to_string()).unwrap_or_default();
        self.no_candidate(place, &found, stage)
    }

    fn no_candidate(&self, place: &str, found: &str, stage: &Stage) -> PyErr {
        let last = stage.candidates().len() - 1;
        let allowed = format!("an index of the menu, 0 to {last}");
        self.error("policy chose a plan that is no candidate", place, found, &allowed)
    }

    fn error(&self, problem: &str, place: &str, found: &str, allowed: &str) -> PyErr {
        let policy = format!("policy {}", self.policy.name);
        raised(self.py, problem, [Some(&policy), Some(place), Some(found), Some(allowed)])
    }
}
