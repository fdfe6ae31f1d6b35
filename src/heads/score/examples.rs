//! What the score-head learns from: the frozen layers' output and soft targets, per window of a
//! passage, for both parts of the labelled items.

use candle_core::{Device, Tensor};

use super::items::Part;
use super::labels::ItemLabels;
use super::targets::Labeling;
use super::train::TrainSpec;
use crate::error::{Error, Result};
use crate::model::tlm::score_head::windows;
use crate::model::tlm::tokenizer::WordPieces;
use crate::model::tlm::trunk::{Trunk, failed};
use crate::prompt::Dataset;

/// An item ready to be learned from.
#[derive(Debug)]
pub(super) struct Example {
    /// The frozen layers' output, `[1, tokens, hidden]`.
    pub x: Tensor,
    /// Index of the first piece.
    pub first: usize,
    /// `[pieces]`.
    pub targets: Tensor,
}

/// Examples of both parts.
#[derive(Debug)]
pub struct Examples {
    pub(super) train: Vec<Example>,
    pub(super) validation: Vec<Example>,
}

impl Examples {
    /// Reads the items of `rows` with the frozen layers.
    ///
    /// # Errors
    /// If an item is not among those of `datasets` that are never scored, a part has no item, or
    /// candle refuses.
    pub fn new(
        trunk: &Trunk,
        tokenizer: &WordPieces,
        spec: &TrainSpec,
        datasets: &[Dataset],
        rows: &[ItemLabels],
    ) -> Result<Self> {
        let mut examples = Self { train: Vec::new(), validation: Vec::new() };
        for row in rows {
            let dataset = datasets.iter().find(|dataset| dataset.name == row.dataset);
            let item = dataset.and_then(|d| d.training.iter().find(|item| item.id == row.item));
            let item = item.ok_or_else(|| {
                Error::new("labels", "item that may not be learned from")
                    .found(format!("{} item {}", row.dataset, row.item))
                    .allowed("items that are never scored")
            })?;
            if row.spans.is_empty() && spec.labeling != Labeling::AnswerOverlap {
                return Err(Error::new("labels", "the base model was not asked")
                    .at(format!("{} item {}", row.dataset, row.item))
                    .allowed("labeling answer-overlap, or labels of depth sentence or deeper"));
            }
            let passage = item.passage.as_deref().unwrap_or_default();
            for window in windows(tokenizer, &item.question, passage, trunk.config().positions) {
                let targets = spec.labeling.targets(item, row, &window.pieces);
                let part = match row.part {
                    Part::Train => &mut examples.train,
                    Part::Validation => &mut examples.validation,
                };
                let x = trunk.embed(std::slice::from_ref(&window.places), None)?;
                let x = trunk.forward(&x, None, spec.shared_layers)?.detach();
                let targets = Tensor::new(targets, &Device::Cpu).map_err(failed)?;
                part.push(Example { x, first: window.first, targets });
            }
        }
        if examples.train.is_empty() || examples.validation.is_empty() {
            let (train, validation) = (examples.train.len(), examples.validation.len());
            return Err(Error::new("labels", "too few")
                .found(format!("{train} to learn from, {validation} for validation"))
                .allowed("one or more of each"));
        }
        Ok(examples)
    }

    /// Mean of the targets to learn from, kept off 0 and 1.
    pub(super) fn mean_target(&self) -> Result<f32> {
        let mut sum = 0.0;
        for example in &self.train {
            let mean = example.targets.mean_all().and_then(|m| m.to_scalar::<f32>());
            sum += mean.map_err(failed)?;
        }
        Ok((sum / self.train.len() as f32).clamp(0.01, 0.99))
    }
}
