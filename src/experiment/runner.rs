//! Runs the grid: each run streams its outcomes, all of them become rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::grid::{Cell, Grid};
use super::manifest::manifest;
use super::over_time::over_time;
use super::replays::{Replay, Replays};
use super::served::{Recorder, served, tally_of};
use super::shards::kept_runs;
use super::spec::{Experiment, ExperimentSpec, KeptOutcomes};
use super::standalone::ask_alone;
use super::tolerance::{RunResult, Tolerance};
use super::witness::Witness;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::files::write_whole;
use crate::input::read_toml;
use crate::method::Method;
use crate::metrics::{
    AskedItems, ClassRow, MetricsRow, PairedRow, RunMeasures, SeedRow, by_class, write_classes_csv,
    write_metrics_csv, write_paired_csv, write_seeds_csv,
};
use crate::policy::LiveHead;
use crate::report::{Form, redraw};
use crate::request::{Request, Slo};
use crate::results::{
    Compared, Draft, Failure, FigureInputs, FigureSpec, Manifest, OutcomeCsv, PredictionErrors,
    SEEDS_FILE, SIMULATED, write_failures_csv, write_predictions_csv,
};
use crate::schedule::Preempt;
use crate::sim::ServiceOptions;
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
    /// The same, on other machines: what is in these folders of shards.
    Shards(&'a [PathBuf]),
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
    /// Whether results of another experiment or executor may be replaced there.
    pub force: bool,
    /// Whether figures are drawn.
    pub draw: bool,
    /// Threads of a simulated run; 0 is one per core.
    pub threads: usize,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// Who is given the outcomes of simulated runs, whatever is kept of them in files.
    pub witness: Option<&'a dyn Witness>,
}

/// Is told how far an experiment is, in requests, or a search, in what it counts.
pub trait Progress: Sync {
    /// `steps` are to be done, over all runs.
    fn start(&self, steps: u64);
    /// So many more were done.
    fn advance(&self, steps: u64);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _steps: u64) {}
    fn advance(&self, _steps: u64) {}
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
    /// Runs that a policy of the user's own ended; their methods have no rows.
    pub failures: Vec<Failure>,
    /// The tables of the results, if figures were drawn.
    pub text: Option<String>,
    /// How many runs of a real engine were at hand from an attempt that ended early.
    pub resumed: usize,
    /// Where the results are: the folder that was asked for, or one beside it if they have failures
    /// and are not to replace whole ones.
    pub place: PathBuf,
}

/// Runs `experiment` and puts its results folder in place, figures included, once it is whole.
///
/// What was there stays as it was until then. Of a real engine's runs those that came to their end
/// are kept beside the folder, and the same experiment goes on from there.
///
/// # Errors
/// If an input is missing or wrong, the folder cannot be written or is not to be replaced, or a run
/// fails that no policy of the user's own ended, or if none is left.
pub fn run(
    experiment: &Experiment,
    backend: Backend<'_>,
    options: &RunOptions<'_>,
) -> Result<Results> {
    let threads = pool(options.threads)?;
    let (name, runtime) = match &backend {
        Backend::CostModel | Backend::Shards(_) => (SIMULATED, BTreeMap::new()),
        Backend::Measured(Measured { name, runtime, .. }) => {
            refuse_over_time(&experiment.spec.figures)?;
            (*name, runtime.clone())
        }
    };
    let mut manifest = manifest(experiment, name, runtime)?;
    check_figures_inputs(&manifest)?;
    let draft = Draft::start(options.out, &manifest, options.force)?;
    let mut grid = threads.install(|| Grid::of(experiment))?;
    options.progress.start(grid.requests());
    let tolerance = Tolerance::default();
    let spec = &experiment.spec;
    let runner = Runner { grid: &grid, spec, options, draft: &draft, tolerance: &tolerance };
    let (runs, of_engine) = match backend {
        Backend::CostModel => (runner.simulate(&threads)?, None),
        Backend::Shards(folders) => (runner.take(kept_runs(&grid, &manifest, folders)?)?, None),
        Backend::Measured(Measured { make, .. }) => {
            let MeasuredRuns { runs, errors, compared, resumed } = runner.measure(make)?;
            write_predictions_csv(draft.folder(), &compared)?;
            (runs, Some((errors, resumed)))
        }
    };
    let (measures, failures) = without_failed(&mut grid, runs)?;
    let methods = experiment.spec.methods.len() - failed_methods(&failures).len();
    let against = spec.against.as_deref();
    let (rows, differences) = threads.install(|| compare(&grid, &measures, methods, against));
    let folder = draft.folder();
    if !experiment.is_figures_alone() {
        write_metrics_csv(&folder.join("metrics.csv"), &rows)?;
        write_seeds_csv(&folder.join(SEEDS_FILE), &by_seed(&grid, &measures))?;
        write_paired_csv(&folder.join("paired.csv"), &differences)?;
        let classes = class_rows(&grid, &measures);
        if !classes.is_empty() {
            write_classes_csv(&folder.join("classes.csv"), &classes)?;
        }
    }
    for figure in &experiment.spec.figures {
        match figure {
            FigureSpec::Standalone(spec) => ask_alone(spec, folder)?,
            FigureSpec::OverTime(spec) => over_time(&grid, spec, experiment.spec.service, folder)?,
            _ => {}
        }
    }
    if !failures.is_empty() {
        write_failures_csv(&folder.join("failures.csv"), &failures)?;
    }
    (manifest.items, manifest.notes) = (grid.item_counts(), grid.notes);
    manifest.save(folder)?;
    let text = options.draw.then(|| redraw(folder, Form::Svg)).transpose()?;
    let place = draft.finish()?.unwrap_or_else(|| options.out.to_owned());
    let (predictions, resumed) = of_engine.unzip();
    Ok(Results {
        rows,
        differences,
        predictions,
        failures,
        text,
        resumed: resumed.unwrap_or(0),
        place,
    })
}

/// Whether the outcomes of the run at `nth` are kept.
pub(super) fn kept_outcomes(kept: KeptOutcomes, nth: usize) -> bool {
    match kept {
        KeptOutcomes::All => true,
        KeptOutcomes::FirstSeed => nth == 0,
        KeptOutcomes::None => false,
    }
}

/// A real run knows no speed but that of its answers.
fn refuse_over_time(figures: &[FigureSpec]) -> Result<()> {
    if !figures.iter().any(|figure| matches!(figure, FigureSpec::OverTime(_))) {
        return Ok(());
    }
    Err(Error::new("real inference", "does not know how fast the machine is")
        .at("key \"figures\"")
        .found("over-time")
        .allowed("other figures, or --executor cost-model"))
}

/// `work`, any piece of which an idle thread may take: pieces differ so much in length that a share
/// of them, once taken, would keep one thread long after the others.
pub(crate) fn each_by_itself<T: Send>(work: Vec<T>) -> impl IndexedParallelIterator<Item = T> {
    work.into_par_iter().with_max_len(1)
}

/// The `threads` that runs share; 0 is one per core.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::new("threads", "cannot be started").caused_by(error))
}

/// A figure's input that is not there is found before anything runs.
fn check_figures_inputs(manifest: &Manifest) -> Result<()> {
    match manifest.figures.as_ref().and_then(FigureInputs::missing) {
        Some(file) => Err(Error::file(&file, "is not there, and a figure is drawn from it")),
        None => Ok(()),
    }
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
    draft: &'a Draft,
    tolerance: &'a Tolerance,
}

/// What the runs of a real engine showed.
#[derive(Default)]
struct MeasuredRuns {
    runs: Vec<RunResult>,
    errors: PredictionErrors,
    /// Of each run that came to its end, its requests as CSV.
    compared: Vec<String>,
    /// Those of an attempt that ended early.
    resumed: usize,
}

/// A run of a real engine, for the case that the next one is not reached.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptRun {
    measures: RunMeasures,
    predictions: PredictionErrors,
    /// Its requests as CSV, as predicted and as measured.
    compared: String,
}

impl Runner<'_> {
    /// Cells × seeds, cell by cell.
    fn runs(&self) -> Vec<(&Cell, usize)> {
        let seeds = 0..self.grid.seeds.len();
        self.grid.cells.iter().flat_map(|cell| seeds.clone().map(move |nth| (cell, nth))).collect()
    }

    fn simulate(&self, threads: &ThreadPool) -> Result<Vec<RunResult>> {
        let replays = Replays::new(self.grid.kinds(), self.spec.service);
        let replays = replays.seen_by(self.options.witness);
        let simulate = |(cell, nth): (&Cell, usize)| {
            let seed = self.grid.seeds[nth];
            if let Some(failure) = self.tolerance.given_up(cell, seed) {
                return Ok(Err(failure));
            }
            let (trace, columns) = (self.grid.trace(cell, nth), self.grid.columns(cell, nth));
            let path = self.outcomes(cell, nth);
            let outcomes = path.as_deref();
            let run = replays.measures(&Replay { cell, trace, columns, seed, outcomes });
            self.options.progress.advance(trace.requests.len() as u64);
            self.tolerance.tolerate(cell, seed, run)
        };
        // Runs of one method on one device follow each other: they share what they look up.
        let mut runs: Vec<_> = self.runs().into_iter().enumerate().collect();
        runs.sort_by_key(|(_, (cell, _))| (cell.device, &cell.label.method));
        let simulate = |(place, run)| Ok((place, simulate(run)?));
        let run = || each_by_itself(runs).map(simulate).collect::<Result<Vec<_>>>();
        let mut runs = threads.install(run)?;
        runs.sort_by_key(|&(place, _)| place);
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// Takes over what shards show, and a copy of their outcomes.
    fn take(&self, kept: Vec<(RunMeasures, Option<PathBuf>)>) -> Result<Vec<RunResult>> {
        let mut runs = Vec::with_capacity(kept.len());
        for ((cell, nth), (measures, outcomes)) in self.runs().into_iter().zip(kept) {
            if let (Some(from), Some(to)) = (outcomes, self.outcomes(cell, nth)) {
                let unreadable = |error| Error::io(&from, "cannot read", error);
                write_whole(&to, &std::fs::read(&from).map_err(unreadable)?)?;
            }
            self.options.progress.advance(self.grid.trace(cell, nth).requests.len() as u64);
            runs.push(Ok(measures));
        }
        Ok(runs)
    }

    /// Where the outcomes of a run are kept, if they are.
    fn outcomes(&self, cell: &Cell, nth: usize) -> Option<PathBuf> {
        let kept = kept_outcomes(self.spec.outcomes, nth);
        let folder = self.draft.folder().join("outcomes");
        kept.then(|| folder.join(self.grid.file_name(cell, nth)))
    }

    fn measure(&self, make: &mut MakeRun<'_>) -> Result<MeasuredRuns> {
        let mut measured = MeasuredRuns::default();
        for (cell, nth) in self.runs() {
            if let Some(failure) = self.tolerance.given_up(cell, self.grid.seeds[nth]) {
                measured.runs.push(Err(failure));
                continue;
            }
            let path = self.draft.kept(&self.grid.file_name(cell, nth));
            let run = if path.exists() {
                measured.resumed += 1;
                let requests = self.grid.trace(cell, nth).requests.len();
                self.options.progress.advance(requests as u64);
                Ok(read_toml(&path)?)
            } else {
                self.measure_one(cell, nth, make, &path)?
            };
            measured.runs.push(run.map(|KeptRun { measures, predictions, compared }| {
                measured.errors.extend(predictions);
                measured.compared.push(compared);
                measures
            }));
        }
        Ok(measured)
    }

    /// Measures one run and keeps what it showed in the file `kept`.
    fn measure_one(
        &self,
        cell: &Cell,
        nth: usize,
        make: &mut MakeRun<'_>,
        kept: &Path,
    ) -> Result<Result<KeptRun, Failure>> {
        let trace = self.grid.trace(cell, nth);
        refuse_energy(trace)?;
        let service = cell.method.spec().served_by(self.spec.service);
        refuse_interruptions(&service)?;
        let RealRun { executor: mut engine, head } = make(&cell.method, trace)?;
        let mut predicted = cell.method.cost_model(trace)?;
        let of = (&cell.label, self.grid.seeds[nth]);
        let mut both = Compared::new(engine.as_mut(), &mut predicted, of);
        let run = self.replay(cell, nth, &mut both, head);
        let measures = match self.tolerance.tolerate(cell, self.grid.seeds[nth], run)? {
            Ok(measures) => measures,
            Err(failure) => return Ok(Err(failure)),
        };
        let (predictions, compared) = both.finish();
        let run = KeptRun { measures, predictions, compared };
        let text = toml::to_string(&run)
            .map_err(|cause| Error::file(kept, "cannot be written as TOML").caused_by(cause))?;
        write_whole(kept, text.as_bytes())?;
        Ok(Ok(run))
    }

    /// One run of a real engine.
    fn replay(
        &self,
        cell: &Cell,
        nth: usize,
        executor: &mut dyn Executor,
        head: Option<Box<dyn LiveHead>>,
    ) -> Result<RunMeasures> {
        let trace = self.grid.trace(cell, nth);
        let seed = self.grid.seeds[nth];
        let policy = match head {
            Some(head) => cell.method.live_policy(trace, seed, head)?,
            None => cell.method.policy(trace, seed)?,
        };
        let of = (&cell.label, seed);
        let file = self.outcomes(cell, nth);
        let phases = cell.method.spec().phases;
        let file = file.map(|path| OutcomeCsv::create(&path, of, trace, 1)).transpose()?;
        let file = file.map(|file| file.of(phases));
        let service = cell.method.spec().served_by(self.spec.service);
        let tally = tally_of(trace, &service);
        let recorder = Recorder { tally, file, kept: None, progress: self.options.progress };
        served(&cell.method, trace, policy, executor, service, recorder)
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

/// A real answer is measured whole, before it is known what comes in between.
fn refuse_interruptions(service: &ServiceOptions) -> Result<()> {
    if service.preempt == Preempt::None {
        return Ok(());
    }
    Err(Error::new("real inference", "is not interrupted")
        .at("key \"service.preempt\"")
        .found("\"token\"")
        .allowed("\"none\", or --executor cost-model"))
}

/// Rows, and of each (device, skew) the first method against the `methods − 1` others, or those
/// against the one called `named`.
fn compare(
    grid: &Grid,
    measures: &[RunMeasures],
    methods: usize,
    named: Option<&str>,
) -> (Vec<MetricsRow>, Vec<PairedRow>) {
    let cells: Vec<_> = grid.cells.iter().zip(measures.chunks(grid.seeds.len())).collect();
    let compared = |group: &[(&Cell, &[RunMeasures])]| {
        let asked = AskedItems::of(&grid.asked(group[0].0));
        let row = |&(cell, runs): &(&Cell, &[RunMeasures])| {
            let traced = runs.iter().enumerate().map(|(nth, run)| (grid.trace(cell, nth), run));
            let by_class = by_class(traced);
            MetricsRow { by_class, ..MetricsRow::of(&cell.label, runs, &asked) }
        };
        let is_named = |(cell, _): &&(&Cell, _)| named == Some(cell.label.method.as_str());
        let against = group.iter().find(is_named);
        let centre = against.unwrap_or(&group[0]);
        let others = group.iter().filter(|(cell, _)| cell.label.method != centre.0.label.method);
        let difference = |other| {
            let (ours, theirs) = if against.is_some() { (other, centre) } else { (centre, other) };
            PairedRow::of(&ours.0.label, ours.1, &theirs.0.label.method, theirs.1, &asked)
        };
        (group.iter().map(row).collect::<Vec<_>>(), others.map(difference).collect::<Vec<_>>())
    };
    let (rows, differences): (Vec<_>, Vec<_>) =
        cells.par_chunks(methods.max(1)).map(compared).unzip();
    let mut differences = differences.concat();
    PairedRow::adjust(&mut differences);
    (rows.concat(), differences)
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

/// What each class of requests got, cell by cell.
fn class_rows(grid: &Grid, measures: &[RunMeasures]) -> Vec<ClassRow> {
    let cells = grid.cells.iter().zip(measures.chunks(grid.seeds.len()));
    cells.flat_map(|(cell, runs)| ClassRow::all(&cell.label, runs)).collect()
}
