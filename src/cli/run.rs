//! `pliant run`: replay an experiment, print its table, draw its figures.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

#[cfg(not(feature = "engine"))]
use pliant::Error;
use pliant::Result;
#[cfg(feature = "engine")]
use pliant::experiment::Measured;
use pliant::experiment::{
    Backend, Experiment, Results, RunOptions, Shard, ShardDone, Working, run as run_experiment,
    run_shard,
};
#[cfg(feature = "engine")]
use pliant::prompt::DataPaths;
use pliant::report::{screen, summary};
use pliant::results::{
    AnswerCount, PredictionErrors, RatioSummary, ResultsFolder, failed_in_words,
};

use super::bar::Bar;
use super::output::{print_json, print_line, say};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Args {
    /// The experiment file
    #[arg(required_unless_present = "demo")]
    experiment: Option<PathBuf>,
    /// The study's comparison in small, laid out in the folder pliant-demo: needs nothing else
    #[arg(long, conflicts_with_all = ["experiment", "executor"])]
    demo: bool,
    /// Who answers: the cost model, or real inference on this machine
    #[arg(long, value_enum, default_value_t = ExecutorKind::CostModel)]
    executor: ExecutorKind,
    /// Results folder [default: results/<name of the experiment file>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace results of another experiment or executor, too
    #[arg(long)]
    force: bool,
    /// Threads of a simulated run; 0 is one per core
    #[arg(long, default_value_t = 0, value_parser = super::threads)]
    threads: usize,
    /// Seed of the first replication, instead of the experiment's
    #[arg(long)]
    seed: Option<u64>,
    /// Work off one of several shards only: 2/8, into results/<name>.shards by default
    #[arg(long, value_name = "I/N", conflicts_with_all = ["demo", "executor", "force", "seed",
          "ideal_isolation", "json"])]
    shard: Option<Shard>,
    /// Start every request at its arrival, without queueing
    #[arg(long)]
    ideal_isolation: bool,
    /// With --executor engine: DroidTask steps, JSON lines, if the trace asks about ui-automation
    #[cfg(feature = "engine")]
    #[arg(long, value_name = "FILE")]
    droidtask: Option<PathBuf>,
    /// Print the rows as JSON and draw nothing
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExecutorKind {
    CostModel,
    Engine,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let file = args.experiment.map_or_else(super::demo::enter, Ok)?;
    let mut experiment = Experiment::load(&file)?;
    if let Some(seed) = args.seed {
        experiment.spec.first_seed = seed;
    }
    let of_methods = experiment.spec.methods.iter_mut().filter_map(|one| one.service.as_mut());
    for service in of_methods.chain([&mut experiment.spec.service]) {
        service.ideal_isolation |= args.ideal_isolation;
    }
    let experiment = experiment.with(experiment.spec.clone())?;
    let bar = Bar::new("requests");
    if let Some(shard) = args.shard {
        let default = || Path::new("results").join(format!("{}.shards", experiment.name));
        let out = args.out.unwrap_or_else(default);
        let working = Working { out: &out, threads: args.threads, commit: None, progress: &bar };
        let done = run_shard(&experiment, shard, working)?;
        bar.clear();
        return shard_done(shard, done, &out);
    }
    let out = args.out.unwrap_or_else(|| Path::new("results").join(&experiment.name));
    let (force, draw, threads) = (args.force, !args.json, args.threads);
    let options = RunOptions { out: &out, force, draw, threads, progress: &bar, witness: None };
    let results = match args.executor {
        ExecutorKind::CostModel => run_experiment(&experiment, Backend::CostModel, &options)?,
        #[cfg(feature = "engine")]
        ExecutorKind::Engine => on_engine(&experiment, &options, args.droidtask)?,
        #[cfg(not(feature = "engine"))]
        ExecutorKind::Engine => return Err(no_engine()),
    };
    bar.clear();
    print_results(&results, &out)?;
    for failure in failed_in_words(&results.failures) {
        say(format!("pliant: {failure}"));
    }
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Replays with real inference.
#[cfg(feature = "engine")]
fn on_engine(
    experiment: &Experiment,
    options: &RunOptions<'_>,
    droidtask: Option<PathBuf>,
) -> Result<Results> {
    let data = DataPaths { droidtask, ..DataPaths::default() };
    let mut engines = super::engine_runs::EngineRuns::new(experiment, options.threads, data)?;
    let runtime = engines.describe();
    let mut make = |method: &_, trace: &_| engines.run(method, trace);
    let measured = Measured { name: "engine", runtime, make: &mut make };
    run_experiment(experiment, Backend::Measured(measured), options)
}

#[cfg(not(feature = "engine"))]
fn no_engine() -> Error {
    Error::new("--executor", "not part of this build")
        .found("engine")
        .allowed("cost-model, or a build with `--features engine`")
}

fn shard_done(shard: Shard, done: ShardDone, out: &Path) -> Result<ExitCode> {
    let ShardDone { runs, were_there } = done;
    print_line(format!(
        "shard {shard}: {runs} runs in {}, {were_there} of them there already",
        out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_results(results: &Results, out: &Path) -> Result<()> {
    let Some(text) = &results.text else {
        return print_json(&results.rows);
    };
    let summary = summary(&ResultsFolder::load(&results.place)?);
    let summary = if summary.is_empty() { screen(text, &results.place) } else { summary };
    print_line(summary.trim_end())?;
    if let Some(predictions) = &results.predictions {
        print_line(describe_predictions(predictions).trim_end())?;
    }
    if results.resumed > 0 {
        let runs = results.resumed;
        print_line(format!("{runs} runs were measured before, by an attempt that ended early"))?;
    }
    let place = results.place.display();
    print_line(if results.place == out {
        format!("written to {place}")
    } else {
        format!("{} holds whole results and is as it was: written to {place}", out.display())
    })
}

/// How far the cost model was off; the requests themselves are in `predictions.csv`.
fn describe_predictions(errors: &PredictionErrors) -> String {
    let line = |name: &str, summary: Option<RatioSummary>| match summary {
        Some(RatioSummary { requests, p5, p50, p95 }) => format!(
            "{name}: measured / predicted {p50:.2} (5 % to 95 %: {p5:.2} to {p95:.2}) over \
             {requests} requests\n"
        ),
        None => format!("{name}: nothing to compare\n"),
    };
    let AnswerCount { requests, alike } = errors.answers();
    let answers = format!("answers: {alike} of {requests} as in the quality tables\n");
    line("unqueued TTFT", errors.ttft()) + &line("TPOT", errors.tpot()) + &answers
}
