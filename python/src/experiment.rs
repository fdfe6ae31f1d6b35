//! Experiments: read, narrowed, run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pliant::experiment::{
    Backend, Experiment, KeptOutcomes, RunOptions, Setting, Silent, TraceSource, Which, run,
};
use pliant::method::MethodSpec;
use pliant::metrics::CellLabel;
use pliant::policy::{RecordedPlans, RecordedSpec};
use pliant::results::failed_in_words;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::decide::{Planned, Policy, decide};
use crate::error::{OrRaise as _, raised};
use crate::outcomes::Outcomes;
use crate::stage::Features;

/// Who decides in an environment.
const AGENT: &str = "agent";

/// An experiment file, read and checked.
#[pyclass(name = "Experiment", module = "pliant._native", frozen)]
pub struct PyExperiment {
    pub inner: Experiment,
}

/// What of an experiment is run; None: all of it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Narrowed {
    methods: Option<Vec<String>>,
    devices: Option<Vec<String>>,
    alphas: Option<Vec<f64>>,
    seeds: Option<u32>,
    first_seed: Option<u64>,
    requests: Option<u32>,
}

/// How it is run.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct How {
    /// The results folder.
    out: PathBuf,
    threads: usize,
    /// Whether figures are drawn into it.
    draw: bool,
    /// A folder for the plans of policies; None: they are not written.
    plans: Option<PathBuf>,
    /// What policies are told of items.
    features: Features,
}

impl How {
    /// The plans of a policy, and where they are written if they are.
    fn recorded(&self, name: &str, plans: RecordedPlans) -> pliant::Result<RecordedSpec> {
        let file = format!("{name}.csv");
        let Some(folder) = &self.plans else {
            let at_hand = Some(Arc::new(plans));
            return Ok(RecordedSpec { at_hand, ..RecordedSpec::of(file.into()) });
        };
        let path = folder.join(file);
        pliant::files::write_whole(&path, plans.to_csv().as_bytes())?;
        Ok(RecordedSpec::of(path))
    }
}

#[pymethods]
impl PyExperiment {
    /// Reads the file `path`.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: Experiment::load(&path).or_raise(py)? })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    #[getter]
    fn description(&self) -> &str {
        &self.inner.spec.description
    }

    /// What the file states, as JSON.
    fn to_json(&self) -> String {
        serde_json::to_string(&self.inner.spec).expect("a specification is plain data")
    }

    /// One decision, with all that led to it and came of it, as JSON.
    #[pyo3(signature = (request, method, device, alpha, seed))]
    fn explain(
        &self,
        py: Python<'_>,
        request: u64,
        method: Option<String>,
        device: Option<String>,
        alpha: Option<f64>,
        seed: Option<u64>,
    ) -> PyResult<String> {
        let which = Which { request, method, device, alpha, seed };
        let explanation = py.detach(|| self.inner.explain(&which)).or_raise(py)?;
        Ok(serde_json::to_string(&explanation).expect("an explanation is plain data"))
    }

    /// Runs it with `policies` before its methods, as `how` says. Returns columns of outcomes,
    /// reasons of policies and the errors of those that failed.
    fn run<'py>(
        &self,
        py: Python<'py>,
        narrowed: Narrowed,
        policies: Vec<Policy>,
        how: How,
    ) -> PyResult<Bound<'py, PyDict>> {
        let experiment = self.narrowed(py, &narrowed, &policies)?;
        let likes = self.likes(py, &policies)?;
        let (mut planned, mut failures) = (Vec::new(), Vec::new());
        for (policy, result) in
            policies.iter().zip(asked(py, &experiment, &policies, (&likes, &how.features))?)
        {
            match result {
                Ok(of) => planned.push((policy, of)),
                Err(error) => failures.push((policy.name.clone(), error)),
            }
        }
        let mut spec = experiment.spec.clone();
        let mut methods = Vec::new();
        let mut reasons = Vec::new();
        for (policy, Planned { plans, reasons: of }) in planned {
            let recorded = how.recorded(&policy.name, plans).or_raise(py)?;
            methods.push(likes[&policy.name].recorded(&policy.name, recorded));
            reasons.extend(of);
        }
        methods.append(&mut spec.methods);
        let result = PyDict::new(py);
        result.set_item("failures", failures)?;
        if methods.is_empty() {
            return Ok(result);
        }
        spec.methods = methods;
        spec.against = spec.against.filter(|name| spec.methods.iter().any(|one| one.name == *name));
        let experiment = experiment.with(spec).or_raise(py)?;
        let outcomes = Outcomes::default();
        let options = RunOptions {
            out: &how.out,
            force: true,
            draw: how.draw,
            threads: how.threads,
            progress: &Silent,
            witness: Some(&outcomes),
        };
        let ran = py.detach(|| run(&experiment, Backend::CostModel, &options)).or_raise(py)?;
        let cells: Vec<CellLabel> = ran.rows.iter().map(|row| row.label.clone()).collect();
        result.set_item("outcomes", outcomes.into_columns(py, &cells)?)?;
        result.set_item("reasons", told(reasons))?;
        result.set_item("experiment", Self { inner: experiment.clone() })?;
        result.set_item("failed", failed_in_words(&ran.failures))?;
        Ok(result)
    }
}

impl PyExperiment {
    /// The experiment with what is asked of it alone.
    fn narrowed(
        &self,
        py: Python<'_>,
        narrowed: &Narrowed,
        policies: &[Policy],
    ) -> PyResult<Experiment> {
        let mut spec = self.inner.spec.clone();
        if let Some(names) = &narrowed.methods {
            let known: Vec<&str> = spec.methods.iter().map(|one| one.name.as_str()).collect();
            check_known(py, &self.inner.path, "methods", names, &known)?;
            spec.methods.retain(|one| names.contains(&one.name));
        }
        if let Some(names) = &narrowed.devices {
            let name =
                |dir: &Path| dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let known: Vec<String> = spec.devices.iter().map(|one| name(&one.dir)).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            check_known(py, &self.inner.path, "devices", names, &known)?;
            spec.devices.retain(|one| names.contains(&name(&one.dir)));
        }
        spec.seeds = narrowed.seeds.unwrap_or(spec.seeds);
        spec.first_seed = narrowed.first_seed.unwrap_or(spec.first_seed);
        spec.outcomes = KeptOutcomes::None;
        if let TraceSource::Synth(synth) = &mut spec.trace {
            synth.requests = narrowed.requests.unwrap_or(synth.requests);
            if let Some(alphas) = &narrowed.alphas {
                synth.alphas.clone_from(alphas);
            }
        }
        let own: Vec<MethodSpec> = self
            .likes(py, policies)?
            .into_iter()
            .map(|(name, like)| like.to_be_asked(&name))
            .collect();
        let own = policies.iter().map(|policy| {
            own.iter().find(|one| one.name == policy.name).expect("each has its own").clone()
        });
        spec.methods = own.chain(spec.methods).collect();
        spec.against = None;
        let checked = self.inner.with(spec).or_raise(py)?;
        let mut spec = checked.spec.clone();
        spec.methods.drain(..policies.len());
        spec.against.clone_from(&self.inner.spec.against);
        Ok(Experiment { spec, ..checked })
    }

    /// The runs of a method that nobody of ours decides in, over the plans of the method `like`;
    /// empty: the first. All methods that are asked for are at hand, so that traces are those that
    /// they meet.
    pub fn settings(
        &self,
        py: Python<'_>,
        narrowed: &Narrowed,
        like: &str,
    ) -> PyResult<Vec<Arc<Setting>>> {
        let agent = Policy {
            name: AGENT.to_owned(),
            like: like.to_owned(),
            start: py.None(),
            depends_on: String::new(),
            in_batches: false,
        };
        let policies = [agent];
        let experiment = self.narrowed(py, narrowed, &policies)?;
        let mut spec = experiment.spec.clone();
        spec.methods.insert(0, self.likes(py, &policies)?[AGENT].to_be_asked(AGENT));
        spec.against = None;
        let experiment = experiment.with(spec).or_raise(py)?;
        let settings = py.detach(|| Setting::all(&experiment, |name| name == AGENT));
        Ok(settings.or_raise(py)?.into_iter().map(Arc::new).collect())
    }

    /// By policy: the method whose plans it chooses from.
    fn likes(&self, py: Python<'_>, policies: &[Policy]) -> PyResult<BTreeMap<String, MethodSpec>> {
        let methods = &self.inner.spec.methods;
        let of = |policy: &Policy| {
            let like = match &*policy.like {
                "" => methods.first(),
                name => methods.iter().find(|one| one.name == name),
            };
            let known: Vec<_> = methods.iter().map(|one| one.name.as_str()).collect();
            let missing = || no_such(py, &self.inner.path, "like", &policy.like, &known);
            Ok((policy.name.clone(), like.ok_or_else(missing)?.clone()))
        };
        policies.iter().map(of).collect()
    }
}

/// What each policy planned in the runs of `experiment`, whose methods are the others'.
fn asked(
    py: Python<'_>,
    experiment: &Experiment,
    policies: &[Policy],
    (likes, features): (&BTreeMap<String, MethodSpec>, &Features),
) -> PyResult<Vec<PyResult<Planned>>> {
    if policies.is_empty() {
        return Ok(Vec::new());
    }
    let mut spec = experiment.spec.clone();
    let own = policies.iter().map(|policy| likes[&policy.name].to_be_asked(&policy.name));
    spec.methods = own.chain(spec.methods).collect();
    spec.against = None;
    let experiment = experiment.with(spec).or_raise(py)?;
    let is_own = |name: &str| likes.contains_key(name);
    let settings = py.detach(|| Setting::all(&experiment, is_own)).or_raise(py)?;
    let ask = |policy: &Policy| {
        let own = settings.iter().filter(|setting| setting.label.method == policy.name);
        let of_policy: Vec<Arc<Setting>> = own.cloned().map(Arc::new).collect();
        decide(py, policy, &of_policy, features).map_err(|failed| failed.error)
    };
    Ok(policies.iter().map(ask).collect())
}

/// Reasons as `(method, device, alpha, seed, {id: reason})`.
type Told = (String, String, f64, u64, BTreeMap<u64, String>);

fn told(reasons: Vec<(CellLabel, u64, BTreeMap<u64, String>)>) -> Vec<Told> {
    let flat = |(label, seed, by_id): (CellLabel, u64, _)| {
        (label.method, label.device, label.alpha, seed, by_id)
    };
    reasons.into_iter().map(flat).collect()
}

fn check_known(
    py: Python<'_>,
    path: &Path,
    what: &str,
    names: &[String],
    known: &[&str],
) -> PyResult<()> {
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(no_such(py, path, what, name, known)),
        None => Ok(()),
    }
}

fn no_such(py: Python<'_>, path: &Path, what: &str, found: &str, known: &[&str]) -> PyErr {
    let (file, place, allowed) =
        (path.display().to_string(), format!("argument {what}"), known.join(", "));
    let parts = [Some(&*file), Some(&*place), Some(found), Some(&*allowed)];
    raised(py, "has no such name", parts)
}
