//! Why a request was answered as it was: its run is replayed up to it, and what its policy saw is
//! put beside what was chosen, what came of it and what else there was.
//!
//! A simulated run is a function of its inputs, so it is simulated again. A measured run took times
//! that nobody can compute, and an external program may choose otherwise another time: those are
//! replayed from the outcomes that they stored.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::alternatives::Alternatives;
use super::explanation::{ExplainWarning, Explanation, Happened, Source};
use super::grid::{Cell, Grid};
use super::recorded::Recorded;
use super::spec::{Experiment, TraceSource};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::method::PolicySpec;
use crate::metrics::CellLabel;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::policy::{Policy, ReplayKey, Seen, ServiceView};
use crate::request::RequestView;
use crate::results::{InputNow, Manifest, StoredRun};
use crate::sim::{self, Calls, OutcomeSink, ServiceOptions};
use crate::trace::Trace;

/// Which request of which run. What is left open is the experiment's first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Which {
    /// Its id in the trace.
    pub request: u64,
    /// Name of the method.
    pub method: Option<String>,
    /// Name of the device.
    pub device: Option<String>,
    /// Skew of the trace.
    pub alpha: Option<f64>,
    /// Seed of the replication.
    pub seed: Option<u64>,
}

/// Explains one decision of `run`: a results folder, or an experiment file.
///
/// # Errors
/// If the experiment or an input of it cannot be read, `which` names nothing of it, the run fails
/// before the request, or it was measured and did not keep its outcomes.
pub fn explain(run: &Path, which: &Which) -> Result<Explanation> {
    let (experiment, folder) = open(run)?;
    explained(experiment, folder, which)
}

impl Experiment {
    /// Explains one decision of it.
    ///
    /// # Errors
    /// As [`explain`].
    pub fn explain(&self, which: &Which) -> Result<Explanation> {
        explained(self.clone(), None, which)
    }
}

fn explained(
    mut experiment: Experiment,
    folder: Option<Folder>,
    which: &Which,
) -> Result<Explanation> {
    narrow(&mut experiment, which)?;
    let grid = Grid::of(&experiment)?;
    let cell = cell(&experiment, &grid, which)?;
    let trace = grid.trace(cell, 0);
    check_request(trace, which.request)?;
    let replay = Replay {
        cell,
        trace,
        seed: grid.seeds[0],
        service: cell.method.spec().served_by(experiment.spec.service),
        request: which.request,
    };
    let stored = match &folder {
        Some(folder) => folder.stored(&cell.label, grid.seeds[0], trace)?,
        None => None,
    };
    let measured = folder.as_ref().is_some_and(|folder| folder.manifest.is_measured());
    let is_given = measured || cell.method.spec().policy.is_external();
    let mut warnings = folder.map_or(Ok(Vec::new()), |folder| folder.changed_inputs())?;
    let (source, decision) = match stored {
        Some(stored) if is_given => {
            let (mut policy, mut executor) = (stored.clone(), stored);
            (Source::Stored, replay.until_decided(&mut policy, &mut executor)?)
        }
        stored => {
            let mut policy = cell.method.policy(trace, replay.seed)?;
            let executor = cell.method.cost_model(trace)?;
            let mut executor = cell.method.as_it_varies(executor, replay.seed);
            let decision = replay.until_decided(policy.as_mut(), &mut executor)?;
            let Outcome { plan, execution, .. } = decision.outcome;
            let other = stored.map(|stored| stored.get(which.request));
            let other = other.filter(|&other| other != (plan, execution));
            warnings.extend(other.map(|(plan, _)| ExplainWarning::OutcomeDiffers { plan }));
            (Source::Replayed, decision)
        }
    };
    replay.explanation(experiment.name, source, &decision, warnings)
}

/// A results folder.
#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    manifest: Manifest,
}

/// The experiment of `run` as it was run.
fn open(run: &Path) -> Result<(Experiment, Option<Folder>)> {
    if !run.is_dir() {
        return Ok((Experiment::load(run)?, None));
    }
    let manifest = Manifest::load(run)?;
    let is_experiment = |input: &&Path| {
        input.extension().is_some_and(|ending| ending == "toml")
            && input.file_stem().is_some_and(|name| *name == *manifest.experiment)
    };
    let file = manifest.inputs.keys().map(Path::new).find(is_experiment).ok_or_else(|| {
        Error::file(&Manifest::path(run), "names no experiment file")
            .at("table \"inputs\"")
            .allowed(format!("a file called {}.toml", manifest.experiment))
    })?;
    let mut experiment = Experiment::load(file)?;
    experiment.spec.first_seed = manifest.first_seed;
    experiment.spec.service = manifest.service;
    Ok((experiment, Some(Folder { dir: run.to_owned(), manifest })))
}

impl Folder {
    /// What the run of the cell `label` under `seed` stored, if it was kept.
    fn stored(&self, label: &CellLabel, seed: u64, trace: &Trace) -> Result<Option<Recorded>> {
        let path = self.dir.join("outcomes").join(label.run_file(seed));
        if path.exists() {
            let run = StoredRun::load(&path, label.clone(), seed)?;
            let recorded = Recorded::of(&run, trace).ok_or_else(|| {
                Error::file(&path, "not outcomes of this trace").found("requests that are missing")
            })?;
            return Ok(Some(recorded));
        }
        if self.manifest.is_measured() {
            return Err(Error::file(&path, "a measured run without its outcomes")
                .allowed("a run whose outcomes were kept"));
        }
        Ok(None)
    }

    fn changed_inputs(&self) -> Result<Vec<ExplainWarning>> {
        let inputs = self.manifest.inputs_now()?.into_iter();
        let changed = inputs.filter(|(_, _, now)| *now != InputNow::Same);
        Ok(changed
            .map(|(path, _, _)| ExplainWarning::InputChanged { path: path.to_owned() })
            .collect())
    }
}

/// Leaves one seed and one skew, since no other run depends on them.
fn narrow(experiment: &mut Experiment, which: &Which) -> Result<()> {
    let seeds: Vec<u64> = experiment.seeds().collect();
    let seed = which.seed.unwrap_or(seeds[0]);
    let seed_list = format!("{} to {}", seeds[0], seeds[seeds.len() - 1]);
    check(experiment, "seed", seeds.contains(&seed), seed, seed_list)?;
    let alphas = experiment.spec.trace.alphas().to_vec();
    let alpha = which.alpha.or(alphas.first().copied()).unwrap_or_default();
    let known = alphas.iter().position(|known| (known + 0.0).total_cmp(&(alpha + 0.0)).is_eq());
    let alpha_list: Vec<_> = alphas.iter().map(ToString::to_string).collect();
    check(experiment, "skew", known.is_some(), alpha, alpha_list.join(", "))?;
    let spec = &mut experiment.spec;
    (spec.first_seed, spec.seeds) = (seed, 1);
    if let TraceSource::Synth(synth) = &mut spec.trace {
        synth.alphas = vec![alpha];
    }
    Ok(())
}

/// The cell that was asked for.
fn cell<'a>(experiment: &Experiment, grid: &'a Grid, which: &Which) -> Result<&'a Cell> {
    let mut cells: Vec<&Cell> = grid.cells.iter().collect();
    let mut keep = |asked: &Option<String>, what: &str, of: fn(&Cell) -> &str| {
        let Some(asked) = asked else { return Ok(()) };
        let names: BTreeSet<&str> = cells.iter().map(|cell| of(cell)).collect();
        let list = names.iter().copied().collect::<Vec<_>>().join(", ");
        check(experiment, what, names.contains(asked.as_str()), asked, list)?;
        cells.retain(|cell| of(cell) == asked);
        Ok(())
    };
    keep(&which.method, "method", |cell| &cell.label.method)?;
    keep(&which.device, "device", |cell| &cell.label.device)?;
    Ok(cells[0])
}

fn check(
    experiment: &Experiment,
    what: &str,
    is_known: bool,
    found: impl fmt::Display,
    allowed: String,
) -> Result<()> {
    if is_known {
        return Ok(());
    }
    let error = Error::file(&experiment.path, format!("no such {what}")).found(found);
    Err(error.allowed(if allowed.is_empty() {
        "none: nothing is replayed".into()
    } else {
        allowed
    }))
}

fn check_request(trace: &Trace, id: u64) -> Result<()> {
    let ids = || trace.requests.iter().map(|request| request.id);
    if ids().any(|known| known == id) {
        return Ok(());
    }
    let range = ids().min().zip(ids().max());
    let allowed = range.map_or("none: it is empty".into(), |(a, z)| format!("{a} to {z}"));
    Err(Error::new("trace", "no such request").found(id).allowed(allowed))
}

/// One run, up to one request of it.
struct Replay<'a> {
    cell: &'a Cell,
    trace: &'a Trace,
    seed: u64,
    service: ServiceOptions,
    request: u64,
}

/// What was decided for the request.
struct Decision {
    service: ServiceView,
    put_aside: Option<bool>,
    outcome: Outcome,
}

impl Replay<'_> {
    fn until_decided(
        &self,
        policy: &mut dyn Policy,
        executor: &mut dyn Executor,
    ) -> Result<Decision> {
        let bounds = self.cell.method.bounds(self.trace)?;
        let needs = self.cell.method.needs(self.trace, &bounds, self.service)?;
        let mut watched = Watched { policy, request: self.request, seen: None };
        let mut kept = Kept { request: self.request, outcome: None };
        let requests = &self.trace.requests;
        let calls = Calls { requests, bounds: &bounds, needs: needs.as_deref() };
        let ended = sim::replay_calls(calls, &mut watched, executor, &self.service, &mut kept);
        match (watched.seen, kept.outcome) {
            (Some((service, put_aside)), Some(outcome)) => {
                Ok(Decision { service, put_aside, outcome })
            }
            _ => ended.and_then(|()| {
                Err(Error::new("replay", "the request has no answer")
                    .at(format!("request {}", self.request))
                    .found("refused, or cancelled")
                    .allowed("requests that were answered"))
            }),
        }
    }

    /// Why the plan was made, where it was recorded with its reason.
    fn reason(&self) -> Result<Option<String>> {
        let Cell { label, method, .. } = self.cell;
        let PolicySpec::Recorded(recorded) = &method.spec().policy else { return Ok(None) };
        let (device, trace) = (label.device.clone(), self.trace.fingerprint());
        let key = ReplayKey { device, seed: self.seed, trace };
        Ok(recorded.plans()?.reason(&key, self.request).map(str::to_owned))
    }

    fn explanation(
        &self,
        experiment: String,
        source: Source,
        decision: &Decision,
        warnings: Vec<ExplainWarning>,
    ) -> Result<Explanation> {
        let Decision { service, put_aside, outcome } = decision;
        let Cell { label, method, .. } = self.cell;
        let request = &outcome.request;
        let names = [self.trace.app(request.app), self.trace.dataset(request.dataset)];
        let view = RequestView::new(request, outcome.bounds);
        let (bounded, waited) = ((request, outcome.bounds), outcome.queued());
        let alternatives = Alternatives::of(method, self.trace, bounded, service.resident, waited)?;
        Ok(Explanation {
            experiment,
            method: label.method.clone(),
            policy: method.spec().policy.kind(),
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            provenance: label.provenance.clone(),
            alpha: label.alpha,
            seed: self.seed,
            source,
            seen: Seen::new(view, *service, request.output_tokens, names).into_owned(),
            item: request.item,
            choice: outcome.plan,
            put_aside: *put_aside,
            reason: self.reason()?,
            happened: Happened::of(outcome),
            alternatives,
            warnings,
        })
    }
}

/// A policy that is watched while it plans for one request.
#[derive(Debug)]
struct Watched<'a> {
    policy: &'a mut dyn Policy,
    request: u64,
    /// The service then, and whether a check put the decision aside.
    seen: Option<(ServiceView, Option<bool>)>,
}

impl Policy for Watched<'_> {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        let before = self.policy.fallbacks();
        let plan = self.policy.plan(request, service);
        if request.id() == self.request {
            let put_aside = before.zip(self.policy.fallbacks()).map(|(before, now)| now > before);
            self.seen = Some((service, put_aside));
        }
        plan
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        self.policy.settle()
    }

    fn observe(&mut self, outcome: &Outcome) {
        self.policy.observe(outcome);
    }
}

/// A sink of one outcome.
struct Kept {
    request: u64,
    outcome: Option<Outcome>,
}

impl OutcomeSink for Kept {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        if outcome.request.id == self.request {
            self.outcome = Some(*outcome);
        }
        Ok(())
    }
}
