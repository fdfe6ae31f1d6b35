//! `pliant profile`: measure latency or answer quality on the real engine.

use std::path::PathBuf;
use std::process::ExitCode;

use pliant::engine::{EngineOptions, WeightLayout};
use pliant::model::ElasticModel;
use pliant::names;
use pliant::origin;
use pliant::profile::{Memory, Pause, Profiles};
use pliant::profiler::adapters::{self, AdapterPlan};
use pliant::profiler::device::{self, DevicePlan};
use pliant::profiler::layouts;
use pliant::profiler::memory;
use pliant::profiler::pairs;
use pliant::profiler::pauses::{self, PausePlan};
use pliant::profiler::quality::{self, QualityPlan};
use pliant::profiler::quality_run::{self, QualityRun};
use pliant::prompt::Compressor;
use pliant::units::{Level, PROMPT_RATIOS, Ratio};
use pliant::{Error, Result};

use super::bar::bar;
use super::by_name;
use super::data_args::DataArgs;
use super::engine_args::EngineArgs;
use super::output::Form;
use super::profile_asked::{self, AskedArgs, LengthsArgs};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print the results as one JSON document at the end
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Time every level over prompt lengths and contexts, switches and memory; resumes
    Latency(LatencyArgs),
    /// Memory of one family with one level open and with all, in a process of its own, as JSON
    Memory(MemoryArgs),
    /// Time the first answer after a pause, into a device profile; resumes
    Pauses(PausesArgs),
    /// Score items at every level and prompt ratio; resumes
    Quality(QualityArgs),
    /// How long the prompts of further items are, for experiments with `answers = "asked"`
    Lengths(LengthsArgs),
    /// Score the plans that an experiment's methods ask for and no table has an answer to; resumes
    Asked(AskedArgs),
    /// Compare the ways sub-models can share weights, one way per run, `plain` first
    Layouts(LayoutArgs),
    /// Time sub-models with and without an adapter, in turns
    Adapters(AdapterArgs),
    /// Time the same levels of two families, or of one in two layouts, in turns
    Pairs(PairArgs),
}

#[derive(Debug, clap::Args)]
struct LatencyArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// The device's name: a folder of device-profiles/
    #[arg(long)]
    device: String,
    /// Families to time; `width` also times the copies of `width-relayout`, unless that is named
    #[arg(long, value_delimiter = ',', default_value = "width,layer-removal")]
    families: Vec<String>,
    /// How often each length is timed
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// Leave out how much memory families take, which is half a minute each
    #[arg(long)]
    without_memory: bool,
    /// Folder of the profile; default: device-profiles/DEVICE
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct PausesArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// The device's name: a folder of device-profiles/
    #[arg(long)]
    device: String,
    /// Lengths of pauses in seconds; none at all is timed beside them
    #[arg(long, value_delimiter = ',', default_value = "1,10,60",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Vec<u32>,
    /// Levels in percent
    #[arg(long, value_delimiter = ',', default_value = "100",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: Vec<u16>,
    /// How often each is timed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Folder of the profile; default: device-profiles/DEVICE
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct MemoryArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Family of sub-models
    #[arg(long, default_value = "width")]
    family: String,
    /// In this process, whose weights are made
    #[arg(long, hide = true)]
    here: bool,
}

#[derive(Debug, clap::Args)]
struct QualityArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Family of sub-models
    #[arg(long, default_value = "width")]
    family: String,
    /// Levels in percent; default: the family's, largest first
    #[arg(long, value_delimiter = ',')]
    levels: Vec<u16>,
    /// Levels that read the prompt, in percent: `--levels` below each then answer
    #[arg(long, value_delimiter = ',', conflicts_with = "taken_from")]
    prompt_levels: Vec<u16>,
    /// Prompt ratios in percent
    #[arg(long, value_delimiter = ',', default_value = "10,20,30,40,50,60,70,80,90,100")]
    ratios: Vec<u16>,
    /// How prompts are cut: structured, truncate, random, self-information, score-head,
    /// ranked-lists, lingua
    #[arg(long, default_value = "structured", value_parser = by_name::<Compressor>)]
    compressor: Compressor,
    /// Compressor whose answers to the very same prompts are taken over, not measured
    #[arg(long, value_name = "COMPRESSOR", value_parser = by_name::<Compressor>)]
    taken_from: Option<Compressor>,
    /// Datasets; also: api-calling, ui-automation, api-calling-live, api-calling-near
    #[arg(long, value_delimiter = ',', default_value = "arc-easy,openbookqa,piqa,sciq")]
    datasets: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Items per dataset
    #[arg(long, default_value_t = 250)]
    items: usize,
    /// Seed of the random compressor
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the tables; default: device-profiles/quality/BASE_MODEL
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct LayoutArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// in-place (not packed), in-memory (a copy of it in large pages), chunked (packed once and
    /// shared), plain (packed by each session)
    #[arg(long, value_parser = by_name::<WeightLayout>)]
    layout: WeightLayout,
    /// How often each is timed
    #[arg(long, default_value_t = 7)]
    repetitions: u32,
    /// Table to append to
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct AdapterArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Levels in percent
    #[arg(long, value_delimiter = ',', default_value = "20,50,80",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: Vec<u16>,
    /// Rank of the adapters
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    rank: u16,
    /// How often each is timed, with and without
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
}

#[derive(Debug, clap::Args)]
struct PairArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// The two: the second is compared with the first
    #[arg(long, value_delimiter = ',', default_value = "width,width-q4")]
    families: Vec<String>,
    /// How each gets at its weights: in-place, in-memory, chunked, plain; default: in-place
    #[arg(long, value_delimiter = ',', value_parser = by_name::<WeightLayout>)]
    layouts: Vec<WeightLayout>,
    /// Levels in percent
    #[arg(long, value_delimiter = ',', default_value = "20,50,100",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: Vec<u16>,
    /// How often each is timed
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let form = Form::of(args.json);
    match args.command {
        Command::Latency(args) => latency(&args, form)?,
        Command::Memory(args) => {
            let mut model = args.engine.open(&args.family, EngineOptions::default())?;
            let memory = if args.here {
                memory::measure(&mut model)?
            } else {
                // Opening may have made the weights, and a process keeps memory of that.
                drop(model);
                memory_of(&args.engine, &args.family)?
            };
            form.one(&memory, serde_json::to_string(&memory).expect("plain numbers"))?;
        }
        Command::Pauses(args) => pauses(&args, form)?,
        Command::Quality(args) => quality(args, form)?,
        Command::Lengths(args) => profile_asked::lengths(&args, form)?,
        Command::Asked(args) => profile_asked::asked_answers(&args, form)?,
        Command::Layouts(args) => {
            let open = |options| args.engine.open("width", options);
            layouts::measure(open, args.layout, args.repetitions, &args.out)?;
            form.one(&layouts::rows(&args.out)?, layouts::comparison(&args.out)?)?;
        }
        Command::Adapters(args) => adapters(&args, form)?,
        Command::Pairs(args) => pairs(&args, form)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn latency(args: &LatencyArgs, form: Form) -> Result<()> {
    names::check(&args.device, || Error::new("--device", "cannot be part of a file name"))?;
    let default = || Profiles::default().device(&args.device);
    let open = |family: &str, options| args.engine.open(family, options);
    let first = args.families.first().ok_or_else(|| {
        Error::new("argument --families", "names none").allowed("one family or more")
    })?;
    let plan = DevicePlan {
        device: args.device.clone(),
        base_model: open(first, EngineOptions::default())?.identity().base_model,
        families: args.families.clone(),
        threads: args.engine.threads(),
        repetitions: args.repetitions,
        folder: args.out.clone().unwrap_or_else(default),
    };
    let bar = bar("", "visits of a level", 0);
    let mut report = |family: &str, done: usize, planned: usize| {
        bar.set_message(family.to_owned());
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    };
    let memory = |family: &str| {
        if args.without_memory { Ok(None) } else { memory_of(&args.engine, family) }
    };
    let profile = device::measure(&plan, open, memory, &mut report)?;
    bar.finish_and_clear();
    form.one(&profile, device::summary(&profile))
}

fn pauses(args: &PausesArgs, form: Form) -> Result<()> {
    let folder = args.out.clone().unwrap_or_else(|| Profiles::default().device(&args.device));
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let levels = args.levels.iter().map(|&percent| Level::percent(percent)).collect();
    let (seconds, repetitions) = (args.seconds.clone(), args.repetitions);
    let plan = PausePlan { seconds, levels, repetitions };
    let bar = bar("", "pauses", 0);
    let mut report = |done: usize, planned: usize| {
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    };
    let provenance = device::measured_now(pauses::SAMPLES);
    let idle = pauses::measure(&mut model.engine, &plan, &folder, provenance, &mut report)?;
    bar.finish_and_clear();
    let line = |pause: &Pause| {
        let Pause { seconds, prefill, decode } = pause;
        format!("after {seconds:>4.0} s: TTFT x {prefill:.3}, TPOT x {decode:.3}")
    };
    form.one(&idle, idle.pauses.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// What `pliant profile memory` prints for `family`.
fn memory_of(engine: &EngineArgs, family: &str) -> Result<Option<Memory>> {
    let program = super::this_program()?;
    let failed = || Error::new(format!("family {family}"), "memory not measured");
    let output = std::process::Command::new(program)
        .args(["profile", "memory", "--here", "--family", family])
        .args(engine.to_args())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| failed().caused_by(error))?;
    if !output.status.success() {
        return Err(failed().found(output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed().caused_by(error))
}

fn adapters(args: &AdapterArgs, form: Form) -> Result<()> {
    let levels = args.levels.iter().copied().map(Level::percent).collect();
    let (rank, repetitions) = (usize::from(args.rank), args.repetitions);
    let plan = AdapterPlan { levels, rank, repetitions };
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let bar = bar("", "pairs", 0);
    let costs = adapters::compare(&mut model, &plan, &mut |done, planned| {
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    form.one(&costs, adapters::table(&costs))
}

fn pairs(args: &PairArgs, form: Form) -> Result<()> {
    let [first, second] = args.families.as_slice() else {
        return Err(Error::new("argument --families", "not a pair")
            .found(args.families.join(","))
            .allowed("two names, such as width,width-q4"));
    };
    let layouts = match args.layouts.as_slice() {
        [] => [WeightLayout::InPlace; 2],
        &[first, second] => [first, second],
        other => {
            return Err(Error::new("argument --layouts", "not a pair")
                .found(other.iter().map(|layout| layout.name()).collect::<Vec<_>>().join(","))
                .allowed("two names, such as plain,in-place"));
        }
    };
    let open = |family: &str, layout| {
        args.engine.open(family, EngineOptions { layout, ..EngineOptions::default() })
    };
    let mut models = [open(first, layouts[0])?, open(second, layouts[1])?];
    let levels = levels(&args.levels, &models[1])?;
    let bar = bar("", "pairs", 0);
    let costs = pairs::compare(&mut models, &levels, args.repetitions, &mut |done, planned| {
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let names = if args.layouts.is_empty() {
        [first.clone(), second.clone()]
    } else {
        layouts.map(|layout| layout.name().to_owned())
    };
    form.one(&costs, pairs::table(&costs, names.each_ref().map(String::as_str)))
}

/// The columns of `percents`.
fn ratios(percents: &[u16]) -> Result<Vec<Ratio>> {
    let column = |&percent: &u16| {
        let known = PROMPT_RATIOS.into_iter().find(|ratio| ratio.as_percent() == percent);
        known.ok_or_else(|| {
            Error::new("argument --ratios", "no such column")
                .found(percent)
                .allowed("10, 20, … 100")
        })
    };
    percents.iter().map(column).collect()
}

/// The levels of `model` that `percents` asks for; all, largest first, if it is empty.
fn levels(percents: &[u16], model: &ElasticModel) -> Result<Vec<Level>> {
    let ladder = model.engine.ladder();
    if percents.is_empty() {
        return Ok(ladder.keys().rev().copied().collect());
    }
    let known = |&percent: &u16| {
        let level = ladder.keys().find(|level| level.as_percent() == percent).copied();
        level.ok_or_else(|| {
            let levels: Vec<String> = ladder.keys().map(ToString::to_string).collect();
            Error::new("argument --levels", "no such level of the family")
                .found(percent)
                .allowed(levels.join(", "))
        })
    };
    percents.iter().map(known).collect()
}

fn quality(args: QualityArgs, form: Form) -> Result<()> {
    let ratios = ratios(&args.ratios)?;
    let mut model = args.engine.open(&args.family, EngineOptions::default())?;
    let prompt_levels = match args.prompt_levels.as_slice() {
        [] => Vec::new(),
        percents => levels(percents, &model)?,
    };
    let base_model = model.identity().base_model;
    let run = QualityRun {
        datasets: args.datasets,
        data: args.data.paths(),
        folder: args.out.unwrap_or_else(|| Profiles::default().answers(&base_model)),
        base_model,
        plan: QualityPlan {
            family: args.family,
            levels: levels(&args.levels, &model)?,
            prompt_levels,
            ratios,
            compressor: args.compressor,
            taken_from: args.taken_from,
            items: args.items,
            seed: args.seed,
        },
        command: origin::command(),
    };
    let bar = bar("", "rows", 0);
    let mut started = false;
    let manifest =
        quality_run::measure(&mut model, &run, &mut |progress: quality::QualityProgress| {
            if !started {
                bar.set_length(progress.planned as u64);
                bar.reset_eta();
                started = true;
            }
            bar.set_message(format!("{} at {}", progress.dataset, progress.level));
            bar.set_position(progress.done as u64);
        })?;
    bar.finish_and_clear();
    let summary = quality_run::summary(&run, &manifest)?;
    form.one(&summary, &summary)
}
