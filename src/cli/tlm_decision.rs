//! `pliant elastify tlm train-decision` and `decide`: the decision-head and its stored answers.

use std::path::PathBuf;

use serde_json::json;

use pliant::Result;
use pliant::assets::{self, Package};
use pliant::elastify::offline_cost::{self, Meter, OfflineCost};
use pliant::engine::EngineOptions;
use pliant::engine::session::Runtime;
use pliant::files::Lock;
use pliant::heads::decision::hard::HardPlan;
use pliant::heads::decision::labels::LabelRule;
use pliant::heads::decision::soft;
use pliant::heads::decision::{DecidePlan, Learnt, TrainPlan, decide, train};
use pliant::model::decision::Decider;
use pliant::model::decision::reading::Input;
use pliant::model::decision::soft::{SoftRule, Told};
use pliant::model::shipped;
use pliant::model::tlm::graph::Precision;
use pliant::model::tlm::score_file::MANIFEST_FILE;
use pliant::model::tlm::score_head::{self, ScoreHead};
use pliant::origin;
use pliant::profile::{DecisionKind, DeviceProfile, Profiles};
use pliant::profiler::device;
use pliant::profiler::tlm::{self, Heads};
use pliant::prompt::{Compressor, Dataset};

use super::bar::bar;
use super::base_model::BaseModelName;
use super::by_name;
use super::data_args::DataArgs;
use super::engine_args::{EngineArgs, measured_device};
use super::output::{Form, say};

/// Layers of the trunk below a head's own.
const SHARED_LAYERS: usize = 2;

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    of: BaseModelName,
    /// soft (a probability for each plan) or hard (a plan for each objective, as in the study)
    #[arg(long, default_value = "soft", value_parser = by_name::<DecisionKind>)]
    kind: DecisionKind,
    /// Quality table to learn from, its estimate half
    #[arg(long, default_value = "width")]
    table: String,
    /// Folder of the device whose latencies say which plans meet an objective
    #[arg(long, value_name = "DIR", default_value_os_t = measured_device())]
    device: PathBuf,
    /// Family of its latencies
    #[arg(long, default_value = "width")]
    family: String,
    /// Layers of the trunk below the head's own layer
    #[arg(long, default_value_t = SHARED_LAYERS)]
    shared_layers: usize,
    /// Output tokens that objectives are judged at
    #[arg(long, default_value_t = 16)]
    output_tokens: u32,
    /// Batches at most (hard)
    #[arg(long, default_value_t = HardPlan::default().steps)]
    steps: usize,
    /// What is learnt (hard): lightest (the lightest right plan, as the study describes it) or last
    /// (the largest level, there the shortest prompt, as its published code does)
    #[arg(long, default_value = "lightest", value_parser = by_name::<LabelRule>)]
    labels: LabelRule,
    /// What is read of a request: prompt (its own) or template (its dataset's, as the study's
    /// published code does)
    #[arg(long, default_value = "prompt", value_parser = by_name::<Input>)]
    input: Input,
    /// Where probabilities come from (soft): table (the dataset's pooled accuracies, corrected by
    /// what is read), surface (the same with a learnt polynomial of level and ratio) or neighbours
    /// (the most similar training prompts)
    #[arg(long, default_value = "surface", value_parser = by_name::<SoftRule>)]
    rule: SoftRule,
    /// What is told beside the prompt (soft): dataset or nothing
    #[arg(long, default_value = "dataset", value_parser = by_name::<Told>)]
    told: Told,
    /// Step size (hard)
    #[arg(long, default_value_t = HardPlan::default().rate)]
    rate: f64,
    #[command(flatten)]
    data: DataArgs,
    /// What head and decisions are called: TABLE-COMPRESSOR, say
    #[arg(long)]
    name: String,
    /// Power of a busy core, to estimate energy from processor time
    #[arg(long, default_value_t = 5.0, value_name = "W")]
    watts_per_core: f64,
    /// Head to write; default:
    /// device-profiles/elastic/BASE_MODEL/tlm/NAME.decision-head.safetensors
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DecideArgs {
    #[command(flatten)]
    of: BaseModelName,
    /// Name of the decisions, beside the quality tables
    #[arg(long)]
    name: String,
    /// Trained head; default: device-profiles/elastic/BASE_MODEL/tlm/NAME.decision-head.safetensors
    /// or, without it, the project's of that name
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Numbers of the TLM's matrices: f32, int8
    #[arg(long, default_value = "int8", value_parser = by_name::<Precision>)]
    precision: Precision,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = super::threads)]
    threads: usize,
    #[command(flatten)]
    data: DataArgs,
    /// Folder of the tables; default: device-profiles/quality/BASE_MODEL
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Name of the decision-head: NAME.decision-head.safetensors; default: one of the same size
    /// that was not trained, which takes as long
    #[arg(long)]
    name: Option<String>,
    /// The device's name: a folder of device-profiles/
    #[arg(long)]
    device: String,
    /// Folder of the profile; default: device-profiles/DEVICE
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Numbers of the decision-head's matrices: f32, int8
    #[arg(long, default_value = "int8", value_parser = by_name::<Precision>)]
    precision: Precision,
    /// How often each prompt is timed
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    #[command(flatten)]
    data: DataArgs,
}

/// Times the decision-head and, where one was trained, the score-head.
pub fn run_profile(args: &ProfileArgs, form: Form) -> Result<()> {
    let model = args.engine.open("width", EngineOptions::default())?;
    let runtime = Runtime::loaded()?;
    let data = args.data.paths();
    let datasets: Vec<Dataset> =
        Dataset::names().map(|name| data.load(name)).collect::<Result<_>>()?;
    let lists = args.data.datasets_of_lists()?;
    let base_model = model.identity().base_model;
    let mut decider = match &args.name {
        Some(name) => Decider::open(runtime, &trained_head(&base_model, name)?, args.precision)?,
        None => Decider::untrained(runtime, &base_model, &datasets, SHARED_LAYERS, args.precision)?,
    };
    let mut scorers = Vec::new();
    for (family, compressor) in [
        (tlm::COMPRESS, Compressor::ScoreHead),
        (tlm::RANKED_LISTS, Compressor::RankedLists),
        (tlm::LINGUA, Compressor::Lingua),
    ] {
        if score_head::folder_of(compressor, &base_model).join(MANIFEST_FILE).exists() {
            scorers.push((family, ScoreHead::of(compressor, &base_model, runtime)?));
        }
    }
    let default = || Profiles::default().device(&args.device);
    let folder = args.out.clone().unwrap_or_else(default);
    let origin = [origin::command(), origin::today(), origin::commit()];
    let heads = Heads { decider: &mut decider, scorers, tokenizer: &model.tokenizer };
    tlm::measure(heads, &datasets, &lists, &folder, args.repetitions, origin)?;
    let profile = DeviceProfile::load(&folder)?;
    form.one(&profile.tlms, device::tlm_summary(&profile))
}

pub fn run_train(args: TrainArgs, form: Form) -> Result<()> {
    let (profiles, base_model) = (Profiles::default(), args.of.base_model);
    let ours = || profiles.decision_head(&base_model, &args.name);
    let out = args.out.unwrap_or_else(ours);
    let plan = TrainPlan {
        kind: args.kind,
        folder: profiles.answers(&base_model),
        base_model,
        table: args.table,
        device: args.device,
        family: args.family,
        output_tokens: args.output_tokens,
        shared_layers: args.shared_layers,
        input: args.input,
        form: soft::Form { rule: args.rule, told: args.told },
        hard: HardPlan {
            steps: args.steps,
            rate: args.rate,
            labels: args.labels,
            ..HardPlan::default()
        },
        data: args.data.paths(),
        checkpoint: out.with_extension("checkpoint.partial"),
        command: origin::command(),
    };
    let _lock = Lock::acquire(&out, "the decision-head")?;
    let bar = bar("", "prompts read", 0);
    let meter = Meter::start();
    let file = train(&plan, &mut |learnt| match learnt {
        Learnt::Read(done, planned) => {
            bar.set_length(planned as u64);
            bar.set_position(done as u64);
        }
        Learnt::Tried(what, accuracy, loss) => {
            bar.suspend(|| say(format!("{accuracy:.4} accuracy, {loss:.4} loss: {what}")));
        }
        Learnt::Validated(round) => bar.suspend(|| {
            let accuracy = -round.validation;
            let (steps, loss) = (round.steps, round.loss);
            say(format!("step {steps}: loss {loss:.4}, accuracy {accuracy:.4}"));
        }),
    })?;
    bar.finish_and_clear();
    let sha256 = file.save(&out)?;
    OfflineCost::new("tlm train-decision", args.name, meter.spent(), 0, args.watts_per_core)
        .record(&out.with_file_name(offline_cost::FILE))?;
    let measures = &file.info.measures;
    for (name, value) in measures {
        form.text(format!("{name}: {value:.4}"))?;
    }
    let text = format!("{}: {sha256}", out.display());
    form.one(&json!({ "head": out, "sha256": sha256, "measures": measures }), text)
}

pub fn run_decide(args: DecideArgs, form: Form) -> Result<()> {
    let runtime = Runtime::load(&assets::main_file(Package::OnnxRuntime)?, args.threads)?;
    let base_model = &args.of.base_model;
    let folder = args.folder.unwrap_or_else(|| Profiles::default().answers(base_model));
    let head = args.head.map_or_else(|| trained_head(base_model, &args.name), Ok)?;
    let mut decider = Decider::open(runtime, &head, args.precision)?;
    let plan = DecidePlan {
        folder,
        name: args.name,
        data: args.data.paths(),
        origin: [origin::command(), origin::today(), origin::commit()],
        precision: args.precision,
    };
    let bar = bar("", "items", 0);
    let decisions = decide(&mut decider, &plan, &mut |done, planned| {
        bar.set_length(planned as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let (name, items) = (&plan.name, decisions.len());
    let text = format!("{name}: decisions for {items} items");
    form.one(&json!({ "decisions": name, "items": items }), text)
}

/// The file of the trained head of `base_model` called `name`.
pub fn trained_head(base_model: &str, name: &str) -> Result<PathBuf> {
    let path = Profiles::default().decision_head(base_model, name);
    shipped::decision_head(&path, base_model, name)
}
