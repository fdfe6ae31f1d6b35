//! `pliant elastify tlm label`, `train-score`, `compare` and `time`: the score-head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use pliant::elastify::offline_cost::{self, Meter, OfflineCost};
use pliant::engine::EngineOptions;
use pliant::engine::session::Runtime;
use pliant::files::Lock;
use pliant::heads::score::compare::{Contender, compare};
use pliant::heads::score::cost::{CostSpec, measure, median};
use pliant::heads::score::items::{Part, items};
use pliant::heads::score::labels::{self, ItemLabels, LabelFile, Unit};
use pliant::heads::score::shots::{self, Shortening};
use pliant::heads::score::targets::Labeling;
use pliant::heads::score::train::{self, Examples, TrainSpec, Trained, train};
use pliant::heads::trainer::Saved;
use pliant::model::ElasticModel;
use pliant::model::recorded::Spent;
use pliant::model::tlm::graph::Precision;
use pliant::model::tlm::score_file::{self, ScoreManifest};
use pliant::model::tlm::score_head::{ScoreHead, folder};
use pliant::model::tlm::tokenizer::WordPieces;
use pliant::model::tlm::trunk::Trunk;
use pliant::prompt::{Compressor, Dataset, Item};
use pliant::units::Ratio;
use pliant::{Error, Result, digest, files};

use super::bar::bar;
use super::base_model::BaseModelName;
use super::by_name;
use super::data_args::DataArgs;
use super::engine_args::EngineArgs;
use super::output::Form;

#[derive(Debug, clap::Args)]
pub struct Data {
    #[command(flatten)]
    paths: DataArgs,
    /// Datasets; default: all of questions
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    datasets: Vec<String>,
}

impl Data {
    fn load(&self) -> Result<Vec<Dataset>> {
        let paths = self.paths.paths();
        let all: Vec<String> = Dataset::names().map(str::to_owned).collect();
        let names = if self.datasets.is_empty() { &all } else { &self.datasets };
        names.iter().map(|name| paths.load(name)).collect()
    }
}

#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    data: Data,
    /// Items with a passage whose spans are labelled, per dataset, both parts together
    #[arg(long, default_value_t = 150)]
    items: usize,
    /// Smallest spans to leave out: sentence, phrase, word; none: list the items only, which is
    /// enough for labeling answer-overlap
    #[arg(long, default_value = "word", value_parser = depth)]
    depth: Depth,
    /// Items that the order of a dataset's shots is learned on; 0: leave shots alone
    #[arg(long, default_value_t = 24)]
    shot_items: usize,
    /// Labels to write, the order of shots beside them in FILE.shots.json; default:
    /// device-profiles/elastic/BASE_MODEL/tlm/labels.jsonl
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,
}

/// `None`: the model is not asked.
#[derive(Debug, Clone, Copy)]
struct Depth(Option<Unit>);

fn depth(name: &str) -> Result<Depth, String> {
    if name == "none" { Ok(Depth(None)) } else { by_name(name).map(|unit| Depth(Some(unit))) }
}

/// Label passages, then shots; both go on where a run stopped.
pub fn run_label(args: &LabelArgs, form: Form) -> Result<()> {
    let datasets = args.data.load()?;
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let ours = || labels_file(&model.identity().base_model);
    let out = args.out.clone().unwrap_or_else(ours);
    let _lock = Lock::acquire(&out, "the labels")?;
    let passages = label_passages(args, &out, &datasets, &mut model)?;
    if args.shot_items > 0 {
        label_shots(args, &out, &datasets, &mut model)?;
    }
    let text = format!("{}: {passages} passages labelled", out.display());
    form.one(&json!({ "labels": out, "passages": passages }), text)
}

/// Labels passages; returns how many the file has then.
fn label_passages(
    args: &LabelArgs,
    out: &Path,
    datasets: &[Dataset],
    model: &mut ElasticModel,
) -> Result<usize> {
    let mut file = LabelFile::open(out)?;
    let validation = args.items / 4;
    for dataset in datasets {
        let parts = [(Part::Train, args.items - validation), (Part::Validation, validation)];
        let planned: Vec<(Part, &Item)> = parts
            .into_iter()
            .flat_map(|(part, count)| {
                items(dataset, part, count).into_iter().map(move |item| (part, item))
            })
            .filter(|(_, item)| item.passage.is_some())
            .collect();
        let bar = bar(dataset.name.clone(), "passages", planned.len() as u64);
        for (part, item) in planned {
            if !file.contains(&dataset.name, item.id) {
                let (engine, tokenizer) = (&mut model.engine, &model.tokenizer);
                let depth = args.depth.0;
                let labels = labels::measure(engine, tokenizer, &dataset.name, item, part, depth)?;
                labels.map_or(Ok(()), |labels| file.append(labels))?;
            }
            bar.inc(1);
        }
        bar.finish();
    }
    Ok(file.rows().len())
}

fn label_shots(
    args: &LabelArgs,
    out: &Path,
    datasets: &[Dataset],
    model: &mut ElasticModel,
) -> Result<()> {
    let path = shots_path(out);
    let mut orders = read_shots(&path)?;
    for dataset in datasets {
        if orders.contains_key(&dataset.name) {
            continue;
        }
        let items = items(dataset, Part::Train, args.shot_items);
        let bar = bar(dataset.name.clone(), "shots", 0);
        let (engine, tokenizer) = (&mut model.engine, &model.tokenizer);
        let order = shots::order(engine, tokenizer, dataset, &items, &mut || bar.inc(1))?;
        bar.finish();
        orders.insert(dataset.name.clone(), order);
        let json = serde_json::to_vec_pretty(&orders).expect("orders are plain data");
        files::write_whole(&path, &json)?;
    }
    Ok(())
}

/// Labels of `base_model` in a checkout of the project.
fn labels_file(base_model: &str) -> PathBuf {
    folder(base_model).join("labels.jsonl")
}

fn shots_path(labels: &Path) -> PathBuf {
    labels.with_extension("shots.json")
}

fn read_shots(path: &Path) -> Result<BTreeMap<String, Shortening>> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let json = std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::file(path, "not an order of shots").caused_by(error))
}

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    of: BaseModelName,
    #[command(flatten)]
    data: DataArgs,
    /// Labels, as `pliant elastify tlm label` writes them; default: the base model's
    #[arg(long, value_name = "FILE.jsonl")]
    labels: Option<PathBuf>,
    /// What to learn from them: leave-one-out, answer-overlap, blend
    #[arg(long, default_value = "leave-one-out", value_parser = by_name::<Labeling>)]
    labeling: Labeling,
    /// Frozen layers of the trunk
    #[arg(long, default_value_t = 2)]
    shared_layers: usize,
    /// Numbers that the head runs with: f32, int8
    #[arg(long, default_value = "int8", value_parser = by_name::<Precision>)]
    precision: Precision,
    /// Passes over the items
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    epochs: u16,
    /// Items per step
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Length of the first steps
    #[arg(long, default_value_t = 2e-4)]
    rate: f64,
    /// Seed of the order of items
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Power of a busy core, to estimate energy from processor time
    #[arg(long, default_value_t = 5.0, value_name = "W")]
    watts_per_core: f64,
    /// Folder to write the head to; default: device-profiles/elastic/BASE_MODEL/tlm
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Train, and write the head, its manifest and its loss curve.
pub fn run_train(args: &TrainArgs, form: Form) -> Result<()> {
    let base_model = &args.of.base_model;
    let out = args.out.clone().unwrap_or_else(|| folder(base_model));
    let labels = &args.labels.clone().unwrap_or_else(|| labels_file(base_model));
    let file = read_labels(labels)?;
    let data = Data { paths: args.data.clone(), datasets: Vec::new() };
    let datasets: Vec<Dataset> = data
        .load()?
        .into_iter()
        .filter(|dataset| labels::datasets(&file).contains(dataset.name.as_str()))
        .collect();
    let (trunk, tokenizer) = (Trunk::of_assets()?, WordPieces::of_assets()?);
    let spec = TrainSpec {
        labeling: args.labeling,
        shared_layers: args.shared_layers,
        epochs: usize::from(args.epochs),
        batch: usize::from(args.batch),
        learning_rate: args.rate,
        seed: args.seed,
        trunk_sha256: trunk.sha256().to_owned(),
        labels_sha256: digest::sha256_file(labels)?,
    };
    let _lock = Lock::acquire(&out.join(score_file::MANIFEST_FILE), "the score-head")?;
    let checkpoint = out.join("score-head.checkpoint.safetensors");
    let run = spec.identity();
    let saved = Saved { path: &checkpoint, run: &run };
    saved.check()?;
    let examples = Examples::new(&trunk, &tokenizer, &spec, &datasets, &file)?;
    let meter = Meter::start();
    let bar = bar("", "epochs", spec.epochs as u64);
    let trained = train(&trunk, &spec, &examples, &checkpoint, &mut |epoch| {
        bar.inc(1);
        let (loss, validation) = (epoch.loss, epoch.validation);
        bar.println(format!("step {}: loss {loss:.4}, validation {validation:.4}", epoch.steps));
    })?;
    bar.finish();
    let shots = read_shots(&shots_path(labels))?;
    let manifest = manifest(args, &spec, &file, &datasets, &shots, &trained);
    let manifest = score_file::save(&out, &trained.head, manifest)?;
    write_curve(&out, &trained)?;
    record_costs(&out, args.watts_per_core, &file, meter.spent(), trained.tokens)?;
    saved.remove();
    let text = format!(
        "{}: {} labels, validation loss {:.4} after {} steps",
        out.join(score_file::MANIFEST_FILE).display(),
        manifest.labeling,
        manifest.validation_loss,
        manifest.steps
    );
    form.one(&manifest, text)
}

/// Costs of labels and training; those of a training that was resumed count from there.
fn record_costs(
    folder: &Path,
    watts: f64,
    rows: &[ItemLabels],
    training: Spent,
    pieces: u64,
) -> Result<()> {
    let path = folder.join(offline_cost::FILE);
    let labels = rows.iter().fold(Spent::default(), |sum, row| Spent {
        wall_s: sum.wall_s + row.spent.wall_s,
        cpu_s: Some(sum.cpu_s.unwrap_or(0.0) + row.spent.cpu_s.unwrap_or(0.0)),
    });
    let tokens = rows.iter().map(|row| row.tokens as u64).sum();
    OfflineCost::new("tlm label", String::new(), labels, tokens, watts).record(&path)?;
    OfflineCost::new("tlm train-score", String::new(), training, pieces, watts).record(&path)
}

fn read_labels(path: &Path) -> Result<Vec<ItemLabels>> {
    if !path.exists() {
        return Err(Error::file(path, "no labels").allowed("run `pliant elastify tlm label`"));
    }
    let rows = LabelFile::open(path)?.rows().to_vec();
    if rows.is_empty() {
        return Err(Error::file(path, "no labels in it").allowed("run `pliant elastify tlm label`"));
    }
    Ok(rows)
}

fn manifest(
    args: &TrainArgs,
    spec: &TrainSpec,
    rows: &[ItemLabels],
    datasets: &[Dataset],
    shots: &BTreeMap<String, Shortening>,
    trained: &Trained,
) -> ScoreManifest {
    ScoreManifest {
        schema: ScoreManifest::SCHEMA,
        trunk_sha256: spec.trunk_sha256.clone(),
        shared_layers: spec.shared_layers,
        own_layers: trained.head.layers.len(),
        precision: args.precision,
        weights_sha256: String::new(),
        labeling: spec.labeling.name().to_owned(),
        labels_sha256: spec.labels_sha256.clone(),
        corpus_sha256: datasets.iter().map(|d| (d.name.clone(), d.sha256.clone())).collect(),
        trained_on: train::ids(rows, Part::Train),
        validated_on: train::ids(rows, Part::Validation),
        steps: trained.best.steps,
        loss: trained.best.loss,
        validation_loss: trained.best.validation,
        seed: spec.seed,
        shots: shots.iter().map(|(name, order)| (name.clone(), order.order())).collect(),
        command: command(),
    }
}

fn command() -> String {
    format!("pliant {}", std::env::args().skip(1).collect::<Vec<_>>().join(" "))
}

fn write_curve(folder: &Path, trained: &Trained) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let header = ["epoch", "steps", "loss", "validation_loss"].map(str::to_owned);
    let rows = trained.curve.iter().enumerate().map(|(index, row)| {
        let losses = [row.loss, row.validation].map(|loss| format!("{loss:.5}"));
        let [loss, validation] = losses;
        [(index + 1).to_string(), row.steps.to_string(), loss, validation]
    });
    for row in std::iter::once(header).chain(rows) {
        csv.write_record(row).expect("memory can be written");
    }
    let csv = csv.into_inner().expect("memory can be flushed");
    files::write_whole(&folder.join("score-head.loss.csv"), &csv)
}

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    data: Data,
    /// Compressors: structured, truncate, random, self-information
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "structured",
        value_parser = by_name::<Compressor>
    )]
    compressors: Vec<Compressor>,
    /// Folders of score-heads
    #[arg(long, value_delimiter = ',', value_name = "DIR,…")]
    heads: Vec<PathBuf>,
    /// Prompt ratios in percent
    #[arg(long, value_delimiter = ',', default_value = "20,30,40,50,60,80")]
    ratios: Vec<u16>,
    /// Items per dataset
    #[arg(long, default_value_t = 37)]
    items: usize,
    /// Which items: validation, train
    #[arg(long, default_value = "validation", value_parser = by_name::<Part>)]
    part: Part,
}

/// Print a table of accuracy and ln p(gold) by contender and ratio.
pub fn run_compare(args: &CompareArgs, form: Form) -> Result<()> {
    let datasets = args.data.load()?;
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let mut contenders: Vec<Contender> =
        args.compressors.iter().copied().filter(|c| !c.is_scored()).map(Contender::Plain).collect();
    for folder in &args.heads {
        let head = ScoreHead::open(folder, Runtime::loaded()?)?;
        contenders.push(Contender::Head(folder.display().to_string(), Box::new(head)));
    }
    let ratios: Vec<Ratio> = args.ratios.iter().map(|&percent| Ratio::percent(percent)).collect();
    form.text("dataset,compressor,ratio,items,reached,accuracy,ln_p_gold")?;
    let mut table = form.rows();
    for dataset in &datasets {
        let items = items(dataset, args.part, args.items);
        for contender in &mut contenders {
            let rows = compare(&mut model, contender, dataset, &items, &ratios)?;
            for (ratio, row) in ratios.iter().zip(rows) {
                let right = row.correct.iter().filter(|&&right| right).count();
                let accuracy = right as f64 / items.len() as f64;
                let (name, compressor, items) = (&dataset.name, contender.name(), items.len());
                let (percent, reached, gold) = (ratio.as_percent(), row.reached, row.gold);
                table.add(
                    json!({
                        "dataset": name, "compressor": compressor, "ratio": ratio, "items": items,
                        "reached": reached, "accuracy": accuracy, "ln_p_gold": gold,
                    }),
                    format!(
                        "{name},{compressor},{percent},{items},{reached:.3},{accuracy:.3},\
                         {gold:.4}"
                    ),
                )?;
            }
        }
    }
    table.end()
}

#[derive(Debug, clap::Args)]
pub struct TimeArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Layers that both heads share, under one of its own each
    #[arg(long, value_delimiter = ',', default_value = "2")]
    shared_layers: Vec<usize>,
    /// Numbers of the matrices: f32, int8
    #[arg(long, value_delimiter = ',', default_value = "int8", value_parser = by_name::<Precision>)]
    precisions: Vec<Precision>,
    /// Tokens of the full prompt
    #[arg(long, value_delimiter = ',', default_value = "128,512")]
    lengths: Vec<usize>,
    /// Pairs of measurements
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
}

/// Print a table of times.
pub fn run_time(args: &TimeArgs, form: Form) -> Result<()> {
    let data = Data { paths: args.data.clone(), datasets: vec!["sciq".to_owned()] };
    let datasets = data.load()?;
    let mut model = args.engine.open("width", EngineOptions::default())?;
    form.text(
        "shared_layers,precision,tokens,pieces,prefill_ms_median,tlm_ms_median,ratio_median",
    )?;
    let mut table = form.rows();
    for &shared_layers in &args.shared_layers {
        for &precision in &args.precisions {
            let repetitions = usize::from(args.repetitions);
            let spec = CostSpec { shared_layers, precision, repetitions };
            for cost in measure(&mut model, &datasets[0], spec, &args.lengths)? {
                let (tokens, pieces, ratio) = (cost.tokens, cost.pieces, cost.ratio());
                let [prefill, tlm] = [cost.prefill_ms, cost.tlm_ms].map(median);
                table.add(
                    json!({
                        "shared_layers": shared_layers, "precision": precision, "tokens": tokens,
                        "pieces": pieces, "prefill_ms_median": prefill, "tlm_ms_median": tlm,
                        "ratio_median": ratio,
                    }),
                    format!(
                        "{shared_layers},{},{tokens},{pieces},{prefill:.2},{tlm:.2},{ratio:.4}",
                        precision.name()
                    ),
                )?;
            }
        }
    }
    table.end()
}
