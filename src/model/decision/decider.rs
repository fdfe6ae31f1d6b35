//! Asks a trained head about prompts, on ONNX Runtime: the very computation that serves.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::file::{HeadFile, HeadInfo, Numbers, plan_axes};
use super::hard::{HardHead, LEVEL, RATIO};
use super::neighbours::{Neighbours, Remembered};
use super::reading::{Input, Pooling, Reader, unit};
use super::soft::{
    DatasetPart, EstimateBy, Estimator, Prior, SoftHead, SoftRule, Standard, TERMS, Told,
};
use super::{Grid, LEVELS, Objective, RATIOS};
use crate::engine::session::Runtime;
use crate::error::{Error, Result};
use crate::model::tlm::encoder::direction;
use crate::model::tlm::graph::{GraphSpec, Precision};
use crate::model::tlm::head::{Head, ReadOut, Reads};
use crate::model::tlm::runner::{RunInput, Runner};
use crate::model::tlm::tokenizer::WordPieces;
use crate::model::tlm::trunk::{Trunk, failed};
use crate::plan::Plan;
use crate::profile::{Answer, Decision, DecisionKind, PlanGrid, TPOT_TOKENS, TTFT_TOKENS};
use crate::prompt::Dataset;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// A head ready to be asked.
#[derive(Debug)]
pub struct Decider {
    file: HeadFile,
    trunk: Trunk,
    pieces: WordPieces,
    head: Kind,
    runner: Runner,
}

#[derive(Debug)]
enum Kind {
    Soft(Estimator),
    /// The rows of the SLO tokens.
    Hard(Vec<f32>),
}

/// The states that features are made of as a read-out.
const FEATURES: &str = "features";

impl Decider {
    /// Opens the head in the file `path`.
    ///
    /// # Errors
    /// If the file is no decision-head or one of another trunk, or the runtime refuses the graph.
    pub fn open(runtime: &Runtime, path: &Path, precision: Precision) -> Result<Self> {
        let (file, trunk) = (HeadFile::load(path)?, Trunk::of_assets()?);
        file.info.check_trunk(path, trunk.sha256())?;
        let (shared, layers) = (file.info.shared_layers, trunk.layers().len());
        if shared >= layers {
            return Err(Error::file(path, "leaves the head no layer of its own")
                .at("key \"shared_layers\"")
                .found(shared)
                .allowed(format!("less than {layers}")));
        }
        Self::with(runtime, path, file, trunk, precision)
    }

    /// A soft head of real size for `datasets` that knows nothing yet: how long deciding takes does
    /// not depend on its weights.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn untrained(
        runtime: &Runtime,
        base_model: &str,
        datasets: &[Dataset],
        shared_layers: usize,
        precision: Precision,
    ) -> Result<Self> {
        let trunk = Trunk::of_assets()?;
        let width = trunk.config().hidden;
        let (levels, ratios) = plan_axes();
        let info = HeadInfo {
            schema: 1,
            kind: DecisionKind::Soft,
            base_model: base_model.to_owned(),
            table: String::new(),
            table_sha256: String::new(),
            compressor: String::new(),
            device: String::new(),
            trunk_sha256: trunk.sha256().to_owned(),
            shared_layers,
            input: Input::Prompt,
            rule: SoftRule::Surface,
            pooling: Pooling::Mean,
            told: Told::Dataset,
            datasets: datasets.iter().map(|dataset| dataset.name.clone()).collect(),
            trained_on: BTreeMap::new(),
            validated_on: BTreeMap::new(),
            levels,
            ratios,
            measures: BTreeMap::new(),
            command: String::new(),
        };
        let all = |shape: &[usize], value: f32| Numbers {
            shape: shape.to_vec(),
            values: vec![value; shape.iter().product()],
        };
        let tensors = [
            ("coefficients", all(&[datasets.len(), TERMS], 0.0)),
            ("means", all(&[datasets.len(), width], 0.0)),
            ("item", all(&[TERMS, width], 0.0)),
            ("mean", all(&[width], 0.0)),
            ("deviation", all(&[width], 1.0)),
        ];
        let tensors = tensors.map(|(name, numbers)| (name.to_owned(), numbers)).into();
        let file = HeadFile { info, tensors, sha256: String::new() };
        Self::with(runtime, Path::new("untrained head"), file, trunk, precision)
    }

    fn with(
        runtime: &Runtime,
        path: &Path,
        file: HeadFile,
        trunk: Trunk,
        precision: Precision,
    ) -> Result<Self> {
        let pieces = WordPieces::of_assets()?;
        let (graph_head, head) = match file.info.kind {
            DecisionKind::Soft => {
                let own = trunk.layers()[file.info.shared_layers].clone();
                let width = trunk.config().hidden;
                let identity = Tensor::eye(width, candle_core::DType::F32, &Device::Cpu);
                let bias = Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu);
                let read_out = ReadOut {
                    name: FEATURES,
                    weight: identity.map_err(failed)?,
                    bias: bias.map_err(failed)?,
                };
                let reads = match file.info.pooling {
                    Pooling::Start => Reads::Rows(1),
                    Pooling::Mean => Reads::EveryToken,
                };
                let graph = Head { reads, layers: vec![own], read_outs: vec![read_out] };
                (graph, Kind::Soft(estimator(&file, path, width)?))
            }
            DecisionKind::Hard => {
                let tensor =
                    |name: &str, shape: &[usize]| Ok(file.tensor(path, name, shape)?.to_vec());
                let HardHead { slo_rows, head } = HardHead::from_tensors(&trunk, tensor)?;
                let rows =
                    slo_rows.flatten_all().and_then(|rows| rows.to_vec1()).map_err(failed)?;
                (head, Kind::Hard(rows))
            }
        };
        let spec = GraphSpec {
            trunk: &trunk,
            shared_layers: file.info.shared_layers,
            heads: &[&graph_head],
            precision,
            masked: false,
        };
        let runner = Runner::open(runtime, &spec)?;
        Ok(Self { file, trunk, pieces, head, runner })
    }

    /// What the head was trained on.
    #[must_use]
    pub fn info(&self) -> &super::file::HeadInfo {
        &self.file.info
    }

    /// SHA-256 of the head's file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.file.sha256
    }

    /// The answer to `prompt` under one objective, as a service asks for a request: a hard head's
    /// plan stands in every cell of its grid.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn decide_for(
        &mut self,
        dataset: &str,
        prompt: &str,
        objective: Objective,
    ) -> Result<Decision> {
        if let Kind::Soft(_) = self.head {
            return self.decide(dataset, prompt);
        }
        let (plan, tlm_tokens) = self.plan(prompt, objective)?;
        let grid = [[plan; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];
        Ok(Decision { answer: Answer::Hard(Box::new(grid)), tlm_tokens })
    }

    /// The plan that a hard head names for an objective, and the tokens that it read.
    fn plan(&mut self, prompt: &str, objective: Objective) -> Result<(Plan, u32)> {
        let Kind::Hard(slo_rows) = &self.head else { unreachable!("asked of hard heads only") };
        let reader = Reader {
            trunk: &self.trunk,
            pieces: &self.pieces,
            shared_layers: self.file.info.shared_layers,
        };
        let places = reader.sequence(prompt, Some(objective));
        let embedded = self.trunk.embeddings().sum(&places, slo_rows);
        let input = RunInput { embedded: &embedded, mask: None, rows: Some(&[0, 1, 2]) };
        let outputs = self.runner.run(&input)?;
        let plan = Plan::new(
            Level::LADDER[largest::<LEVELS>(&outputs[LEVEL])],
            PROMPT_RATIOS[largest::<RATIOS>(&outputs[RATIO])],
        );
        Ok((plan, places.len() as u32))
    }

    /// The answer to `prompt`, of a dataset or app that demonstrations tell apart.
    ///
    /// # Errors
    /// If inference fails or the head never saw the dataset.
    ///
    /// # Panics
    /// Never: the graph has the read-outs that it was built with.
    pub fn decide(&mut self, dataset: &str, prompt: &str) -> Result<Decision> {
        let info = &self.file.info;
        let reader =
            Reader { trunk: &self.trunk, pieces: &self.pieces, shared_layers: info.shared_layers };
        match &self.head {
            Kind::Soft(head) => {
                let places = reader.sequence(prompt, None);
                let embedded = self.trunk.embeddings().sum(&places, &[]);
                let rows = (info.pooling == Pooling::Start).then_some(&[0][..]);
                let input = RunInput { embedded: &embedded, mask: None, rows };
                let mut outputs = self.runner.run(&input)?;
                let states = outputs.remove(FEATURES).expect("the graph's read-out");
                let features = match info.pooling {
                    Pooling::Start => unit(states),
                    Pooling::Mean => direction(&states, self.trunk.config().hidden),
                };
                let grid = head.probabilities(dataset, &features).ok_or_else(|| {
                    Error::new("decision-head", "never saw such prompts")
                        .found(dataset)
                        .allowed(info.datasets.join(", "))
                })?;
                let tlm_tokens = places.len() as u32;
                Ok(Decision { answer: Answer::Soft(Box::new(grid)), tlm_tokens })
            }
            Kind::Hard(_) => {
                let mut grid: PlanGrid = [[Plan::FULL; TPOT_TOKENS.len()]; TTFT_TOKENS.len()];
                let mut tlm_tokens = 0;
                for (ttft, cells) in TTFT_TOKENS.into_iter().zip(&mut grid) {
                    for (tpot, cell) in TPOT_TOKENS.into_iter().zip(cells) {
                        let objective = (Ratio::percent(ttft), Ratio::percent(tpot));
                        (*cell, tlm_tokens) = self.plan(prompt, objective)?;
                    }
                }
                Ok(Decision { answer: Answer::Hard(Box::new(grid)), tlm_tokens })
            }
        }
    }
}

/// The place of the largest logit.
fn largest<const COUNT: usize>(logits: &[f32]) -> usize {
    assert_eq!(logits.len(), COUNT, "a logit per choice");
    (0..COUNT).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("there are choices")
}

fn estimator(file: &HeadFile, path: &Path, width: usize) -> Result<Estimator> {
    let standard = match file.info.pooling {
        Pooling::Start => None,
        Pooling::Mean => {
            let row = |name| Ok::<_, Error>(file.tensor(path, name, &[width])?.to_vec());
            Some(Standard { mean: row("mean")?, deviation: row("deviation")? })
        }
    };
    let reader = match file.info.rule {
        SoftRule::Neighbours => EstimateBy::Neighbours(neighbours(file, path, width)?),
        SoftRule::Surface | SoftRule::Table => EstimateBy::Formula(soft_head(file, path, width)?),
    };
    Ok(Estimator { standard, reader })
}

fn neighbours(file: &HeadFile, path: &Path, width: usize) -> Result<Neighbours> {
    let datasets = &file.info.datasets;
    let features = file.tensor(path, "features", &[datasets.len(), width])?;
    let right = grids(file, path, "right", datasets.len())?;
    let known = datasets.iter().zip(features.chunks(width)).zip(right);
    let remembered = known.map(|((dataset, features), right)| Remembered {
        dataset: dataset.clone(),
        features: features.to_vec(),
        right: right.map(|row| row.map(|cell| cell.map(|value| value > 0.5))),
    });
    let k = file.tensor(path, "k", &[1])?[0] as usize;
    Ok(Neighbours { k, told: file.info.told, remembered: remembered.collect() })
}

/// The tensor `name`, `[count, plans]`, without the cells that `measured` says are empty.
fn grids(file: &HeadFile, path: &Path, name: &str, count: usize) -> Result<Vec<Grid<Option<f32>>>> {
    let shape = [count, LEVELS * RATIOS];
    let cells = file.tensor(path, name, &shape)?.iter().zip(file.tensor(path, "measured", &shape)?);
    let cells: Vec<Option<f32>> =
        cells.map(|(value, measured)| (*measured > 0.5).then_some(*value)).collect();
    let grid = |row: &[Option<f32>]| {
        let mut grid = Grid::default();
        grid.as_flattened_mut().copy_from_slice(row);
        grid
    };
    Ok(cells.chunks(LEVELS * RATIOS).map(grid).collect())
}

fn soft_head(file: &HeadFile, path: &Path, width: usize) -> Result<SoftHead> {
    let count = file.info.datasets.len();
    let means = file.tensor(path, "means", &[count, width])?;
    let parts = priors(file, path, count)?.into_iter().zip(means.chunks(width));
    let part = |(name, (prior, mean)): (&String, (Prior, &[f32]))| {
        (name.clone(), DatasetPart { prior, mean: mean.to_vec() })
    };
    let item = if file.tensors.contains_key("item") {
        Some(file.tensor(path, "item", &[TERMS, width])?)
    } else {
        None
    };
    let rows = |item: &[f32]| item.chunks(width).map(<[f32]>::to_vec).collect();
    Ok(SoftHead {
        datasets: file.info.datasets.iter().zip(parts).map(part).collect(),
        item: item.map(rows),
    })
}

/// What the head of `file` expects of each of its datasets before it reads a prompt.
fn priors(file: &HeadFile, path: &Path, count: usize) -> Result<Vec<Prior>> {
    if file.info.rule == SoftRule::Table {
        let tables = grids(file, path, "logits", count)?.into_iter();
        return Ok(tables.map(|logits| Prior::Table(Box::new(logits))).collect());
    }
    let rows = file.tensor(path, "coefficients", &[count, TERMS])?.chunks(TERMS);
    let surface = |row: &[f32]| Prior::Surface(row.try_into().expect("a coefficient per term"));
    Ok(rows.map(surface).collect())
}
