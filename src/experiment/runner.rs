//! Runs the grid: each run streams its outcomes, all of them become rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::grid::{Cell, Grid};
use super::manifest::manifest;
use super::spec::{Experiment, ExperimentSpec, KeptOutcomes};
use super::standalone::ask_alone;
use super::tolerance::{RunResult, Tolerance};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::method::Method;
use crate::metrics::{
    AskedItems, MetricsRow, PairedRow, RunMeasures, SeedRow, Tally, write_metrics_csv,
    write_paired_csv, write_seeds_csv,
};
use crate::outcome::Outcome;
use crate::policy::{LiveHead, Policy};
use crate::request::{Request, Slo};
use crate::results::{
    Compared, Failure, FigureSpec, OutcomeCsv, PredictionErrors, SIMULATED, write_failures_csv,
};
use crate::sim::{self, OutcomeSink, ServiceOptions};
use crate::trace::Trace;

/// Who answers and, where the method asks a decision-head, who decides, in one real run.
#[derive(Debug)]
pub struct RealRun {
    /// Answers, and bills what deciding took.
    pub executor: Box<dyn Executor>,
    /// Decides.
    pub head: Option<Box<dyn LiveHead>>,
}

/// Makes what one run needs.
pub type MakeRun<'a> = dyn FnMut(&Method, &Trace) -> Result<RealRun> + 'a;

/// Who answers.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub enum Backend<'a> {
    /// The cost model of each method; runs go in parallel.
    CostModel,
    /// A real engine; runs go one after the other, since they share the machine they are timed on.
    Measured(Measured<'a>),
}

/// A real engine.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Measured<'a> {
    /// Its name in the manifest.
    pub name: &'a str,
    /// What the manifest should say of it: hash of the model, version of the runtime, threads.
    pub runtime: BTreeMap<String, String>,
    /// Makes what a run needs.
    pub make: &'a mut MakeRun<'a>,
}

/// How an experiment is run. Nothing here changes a result, except that measured times vary.
#[expect(missing_debug_implementations, reason = "holds a trait object of the command line")]
pub struct RunOptions<'a> {
    /// The results folder.
    pub out: &'a Path,
    /// Threads of a simulated run; 0 is one per core.
    pub threads: usize,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

/// Is told how far an experiment is, in requests, or a search, in what it counts.
pub trait Progress: Sync {
    /// `steps` are to be done, over all runs.
    fn start(&self, steps: u64);
    /// One more was done.
    fn advance(&self);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _steps: u64) {}
    fn advance(&self) {}
}

/// What an experiment shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// One row per cell.
    pub rows: Vec<MetricsRow>,
    /// The first method against the others, paired by seed.
    pub differences: Vec<PairedRow>,
    /// Measured against predicted times, over all runs of a real engine.
    pub predictions: Option<PredictionErrors>,
    /// Runs that an external policy ended; their methods have no rows.
    pub failures: Vec<Failure>,
}

/// Runs `experiment` and writes its results folder.
///
/// # Errors
/// If an input is missing or wrong, the folder cannot be written, or a run fails that no external
/// policy ended, or if none is left. The folder then has no manifest, and files that were being
/// written keep a name that ends in `.partial`.
pub fn run(
    experiment: &Experiment,
    backend: Backend<'_>,
    options: &RunOptions<'_>,
) -> Result<Results> {
    let threads = pool(options.threads)?;
    let mut grid = threads.install(|| Grid::of(experiment))?;
    prepare_folder(options.out)?;
    options.progress.start(grid.requests());
    let tolerance = Tolerance::default();
    let runner = Runner { grid: &grid, spec: &experiment.spec, options, tolerance: &tolerance };
    let (name, runtime, runs, predictions) = match backend {
        Backend::CostModel => (SIMULATED, BTreeMap::new(), runner.simulate(&threads)?, None),
        Backend::Measured(Measured { name, runtime, make }) => {
            let (measures, predictions) = runner.measure(make)?;
            (name, runtime, measures, Some(predictions))
        }
    };
    let (measures, failures) = without_failed(&mut grid, runs)?;
    let methods = experiment.spec.methods.len() - failed_methods(&failures).len();
    let (rows, differences) = compare(&grid, &measures, methods);
    write_metrics_csv(&options.out.join("metrics.csv"), &rows)?;
    write_seeds_csv(&options.out.join("seeds.csv"), &by_seed(&grid, &measures))?;
    write_paired_csv(&options.out.join("paired.csv"), &differences)?;
    for figure in &experiment.spec.figures {
        if let FigureSpec::Standalone(spec) = figure {
            ask_alone(spec, options.out)?;
        }
    }
    if !failures.is_empty() {
        write_failures_csv(&options.out.join("failures.csv"), &failures)?;
    }
    manifest(experiment, name, runtime, grid.item_counts(), grid.notes)?.save(options.out)?;
    Ok(Results { rows, differences, predictions, failures })
}

/// The `threads` that runs share; 0 is one per core.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::new("threads", "cannot be started").caused_by(error))
}

/// Makes the folder and takes away what an earlier, complete experiment left in it.
fn prepare_folder(out: &Path) -> Result<()> {
    fs::create_dir_all(out).map_err(|error| Error::io(out, "cannot create", error))?;
    let remove = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(path, "cannot remove", error))
        }
        _ => Ok(()),
    };
    let manifest = out.join("manifest.toml");
    if manifest.exists() {
        for folder in ["outcomes", "predictions"].map(|name| out.join(name)) {
            remove(&folder, fs::remove_dir_all(&folder))?;
        }
    }
    let files = ["metrics.csv", "seeds.csv", "paired.csv", "failures.csv", "manifest.toml"];
    for file in files.map(|name| out.join(name)) {
        remove(&file, fs::remove_file(&file))?;
    }
    Ok(())
}

/// Takes the methods of failed runs out of `grid`; returns what the others show, cell by cell.
pub(crate) fn without_failed(
    grid: &mut Grid,
    runs: Vec<RunResult>,
) -> Result<(Vec<RunMeasures>, Vec<Failure>)> {
    let failures: Vec<_> = runs.iter().filter_map(|run| run.as_ref().err()).cloned().collect();
    let failed = failed_methods(&failures);
    let has_failed = |cell: &Cell| failed.contains(cell.label.method.as_str());
    let of_cells = grid.cells.iter().flat_map(|cell| std::iter::repeat_n(cell, grid.seeds.len()));
    let kept = of_cells.zip(runs).filter(|(cell, _)| !has_failed(cell));
    let measures: Vec<_> = kept.filter_map(|(_, run)| run.ok()).collect();
    grid.cells.retain(|cell| !has_failed(cell));
    match failures.first() {
        Some(first) if measures.is_empty() => {
            Err(Error::new("experiment", "no method ran to its end").found(first))
        }
        _ => Ok((measures, failures)),
    }
}

fn failed_methods(failures: &[Failure]) -> BTreeSet<&str> {
    failures.iter().map(|failure| failure.method.as_str()).collect()
}

/// What every run sees.
#[derive(Clone, Copy)]
struct Runner<'a> {
    grid: &'a Grid,
    spec: &'a ExperimentSpec,
    options: &'a RunOptions<'a>,
    tolerance: &'a Tolerance,
}

impl Runner<'_> {
    /// Cells × seeds, cell by cell.
    fn runs(&self) -> Vec<(&Cell, usize)> {
        let seeds = 0..self.grid.seeds.len();
        self.grid.cells.iter().flat_map(|cell| seeds.clone().map(move |nth| (cell, nth))).collect()
    }

    fn simulate(&self, threads: &ThreadPool) -> Result<Vec<RunResult>> {
        let simulate = |(cell, nth): (&Cell, usize)| {
            if let Some(failure) = self.tolerance.given_up(cell, self.grid.seeds[nth]) {
                return Ok(Err(failure));
            }
            let mut executor = cell.method.cost_model(self.grid.trace(cell, nth))?;
            let run = self.replay(cell, nth, &mut executor, None, 1024);
            self.tolerance.tolerate(cell, self.grid.seeds[nth], run)
        };
        threads.install(|| self.runs().into_par_iter().map(simulate).collect())
    }

    fn measure(&self, make: &mut MakeRun<'_>) -> Result<(Vec<RunResult>, PredictionErrors)> {
        let (mut runs, mut errors) = (Vec::new(), PredictionErrors::default());
        for (cell, nth) in self.runs() {
            if let Some(failure) = self.tolerance.given_up(cell, self.grid.seeds[nth]) {
                runs.push(Err(failure));
                continue;
            }
            let trace = self.grid.trace(cell, nth);
            refuse_energy(trace)?;
            let RealRun { executor: mut measured, head } = make(&cell.method, trace)?;
            let mut predicted = cell.method.cost_model(trace)?;
            let path = self.options.out.join("predictions").join(self.grid.file_name(cell, nth));
            let mut both = Compared::create(measured.as_mut(), &mut predicted, &path)?;
            let run = self.replay(cell, nth, &mut both, head, 1);
            let run = self.tolerance.tolerate(cell, self.grid.seeds[nth], run)?;
            if run.is_ok() {
                errors.extend(both.finish()?);
            }
            runs.push(run);
        }
        Ok((runs, errors))
    }

    /// One run.
    fn replay(
        &self,
        cell: &Cell,
        nth: usize,
        executor: &mut dyn Executor,
        head: Option<Box<dyn LiveHead>>,
        rows_per_flush: u32,
    ) -> Result<RunMeasures> {
        let trace = self.grid.trace(cell, nth);
        let seed = self.grid.seeds[nth];
        let policy = match head {
            Some(head) => cell.method.live_policy(trace, seed, head)?,
            None => cell.method.policy(trace, seed)?,
        };
        let kept = match self.spec.outcomes {
            KeptOutcomes::All => true,
            KeptOutcomes::FirstSeed => nth == 0,
            KeptOutcomes::None => false,
        };
        let path = self.options.out.join("outcomes").join(self.grid.file_name(cell, nth));
        let file = kept.then(|| OutcomeCsv::create(&path, trace, rows_per_flush)).transpose()?;
        let recorder = Recorder { tally: Tally::default(), file, progress: self.options.progress };
        served(&cell.method, trace, policy, executor, self.spec.service, recorder)
    }
}

/// A real run has no meter.
fn refuse_energy(trace: &Trace) -> Result<()> {
    let bounds_energy = |request: &&Request| matches!(request.slo, Slo::Energy(_));
    trace.requests.iter().find(bounds_energy).map_or(Ok(()), |request| {
        Err(Error::new("real inference", "energy is not measured")
            .at(format!("request {} of the trace", request.id))
            .found("an objective on energy")
            .allowed("objectives on time, or --executor cost-model"))
    })
}

/// What `method` shows on `trace` under `seed` on the cost model; outcomes are not kept.
pub(crate) fn simulate_run(
    method: &Method,
    trace: &Trace,
    seed: u64,
    service: ServiceOptions,
) -> Result<RunMeasures> {
    let policy = method.policy(trace, seed)?;
    let mut executor = method.cost_model(trace)?;
    let recorder = Recorder { tally: Tally::default(), file: None, progress: &Silent };
    served(method, trace, policy, &mut executor, service, recorder)
}

fn served(
    method: &Method,
    trace: &Trace,
    mut policy: Box<dyn Policy>,
    executor: &mut dyn Executor,
    service: ServiceOptions,
    mut recorder: Recorder<'_>,
) -> Result<RunMeasures> {
    let bounds = method.bounds(trace)?;
    sim::replay(&trace.requests, &bounds, policy.as_mut(), executor, &service, &mut recorder)?;
    recorder.finish(policy.fallbacks())
}

/// Counts, writes and tells.
struct Recorder<'a> {
    tally: Tally,
    file: Option<OutcomeCsv<'a>>,
    progress: &'a dyn Progress,
}

impl OutcomeSink for Recorder<'_> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.tally.record(outcome);
        self.progress.advance();
        self.file.as_mut().map_or(Ok(()), |file| file.record(outcome))
    }
}

impl Recorder<'_> {
    fn finish(self, fallbacks: Option<usize>) -> Result<RunMeasures> {
        self.file.map_or(Ok(()), OutcomeCsv::finish)?;
        Ok(self.tally.finish(fallbacks))
    }
}

/// Rows, and the first method of each (device, skew) against the `methods − 1` others.
fn compare(
    grid: &Grid,
    measures: &[RunMeasures],
    methods: usize,
) -> (Vec<MetricsRow>, Vec<PairedRow>) {
    let cells: Vec<_> = grid.cells.iter().zip(measures.chunks(grid.seeds.len())).collect();
    let (mut rows, mut differences) = (Vec::new(), Vec::new());
    for group in cells.chunks(methods.max(1)) {
        let (first, runs) = group[0];
        let asked = AskedItems::of(&grid.asked(first));
        rows.extend(group.iter().map(|(cell, runs)| MetricsRow::of(&cell.label, runs, &asked)));
        for (other, other_runs) in &group[1..] {
            let against = &other.label.method;
            differences.push(PairedRow::of(&first.label, runs, against, other_runs, &asked));
        }
    }
    PairedRow::adjust(&mut differences);
    (rows, differences)
}

/// What each run of the grid shows, cell by cell.
fn by_seed(grid: &Grid, measures: &[RunMeasures]) -> Vec<SeedRow> {
    let cells = grid.cells.iter().zip(measures.chunks(grid.seeds.len()));
    let rows = |(cell, runs): (&Cell, &[RunMeasures])| {
        let seeds = grid.seeds.iter().zip(runs);
        seeds.map(|(&seed, run)| SeedRow::of(&cell.label, seed, run)).collect::<Vec<_>>()
    };
    cells.flat_map(rows).collect()
}
