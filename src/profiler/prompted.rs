//! Items with their prompts cut, and what a sub-model answers to them.

use std::collections::BTreeMap;

use crate::engine::scorer::{self, OptionScores, Task};
use crate::engine::session::Runtime;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::model::tlm::score_head::ScoreHead;
use crate::profile::{Cell, TOP};
use crate::prompt::compress::score_head;
use crate::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// An item with its prompts, cut once for all levels.
#[derive(Debug, Clone)]
pub(super) struct Prompted<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) item: &'a Item,
    options: Vec<Vec<u32>>,
    /// Ratios that prompts were cut to.
    ratios: Vec<Ratio>,
    /// Distinct contexts.
    contexts: Vec<Vec<u32>>,
    /// Which context each ratio reads.
    context_of: Vec<usize>,
}

impl Prompted<'_> {
    /// Tokens that are read at each ratio.
    ///
    /// # Panics
    /// If the prompt was not cut to every ratio.
    pub(super) fn lengths(&self) -> [u32; PROMPT_RATIOS.len()] {
        assert_eq!(self.ratios, PROMPT_RATIOS, "cut to every ratio");
        std::array::from_fn(|ratio| self.contexts[self.context_of[ratio]].len() as u32)
    }

    /// The prompt at `ratio`, if it was cut to it.
    pub(super) fn context(&self, ratio: Ratio) -> Option<&[u32]> {
        let place = self.ratios.iter().position(|cut| *cut == ratio)?;
        Some(&self.contexts[self.context_of[place]])
    }

    /// The same item with its prompts at those of `ratios` alone that it was cut to.
    pub(super) fn at(&self, ratios: impl Fn(Ratio) -> bool) -> Self {
        let mut part = Self {
            ratios: Vec::new(),
            contexts: Vec::new(),
            context_of: Vec::new(),
            options: self.options.clone(),
            ..*self
        };
        for (&ratio, &context) in self.ratios.iter().zip(&self.context_of) {
            if ratios(ratio) {
                part.add(ratio, self.contexts[context].clone());
            }
        }
        part
    }

    fn add(&mut self, ratio: Ratio, tokens: Vec<u32>) {
        let same = self.contexts.iter().position(|context| *context == tokens);
        self.ratios.push(ratio);
        self.context_of.push(same.unwrap_or(self.contexts.len()));
        if same.is_none() {
            self.contexts.push(tokens);
        }
    }
}

/// Cuts prompts with one compressor.
#[derive(Debug)]
pub(super) struct Cutter {
    compressor: Compressor,
    /// Seed of the random compressor.
    seed: u64,
    head: Option<ScoreHead>,
}

impl Cutter {
    /// Opens the head of a compressor that has one for the base model of `model`.
    pub(super) fn open(model: &ElasticModel, compressor: Compressor, seed: u64) -> Result<Self> {
        let base_model = model.identity().base_model;
        let open = |compressor| ScoreHead::of(compressor, &base_model, Runtime::loaded()?);
        let head = Some(compressor).filter(|c| c.is_scored()).map(open).transpose()?;
        Ok(Self { compressor, seed, head })
    }

    /// The prompts of `item` at `ratios`.
    pub(super) fn cut<'a>(
        &mut self,
        model: &mut ElasticModel,
        dataset: &'a Dataset,
        item: &'a Item,
        ratios: &[Ratio],
    ) -> Result<Prompted<'a>> {
        let information = if self.compressor.needs_information() {
            let full = model.tokenizer.encode(&dataset.render(item));
            Some(scorer::information(&mut model.engine, Level::FULL, &full)?)
        } else {
            None
        };
        let scores = self.head.as_mut().map(|head| head.scores(dataset, item)).transpose()?;
        let tokenizer = &model.tokenizer;
        let options = item.options.iter().map(|option| tokenizer.encode(option)).collect();
        let (ratios_cut, contexts, context_of) = Default::default();
        let mut prompted =
            Prompted { dataset, item, options, ratios: ratios_cut, contexts, context_of };
        for &ratio in ratios {
            let information = information.as_deref();
            let prompt = if let Some(scores) = &scores {
                score_head::compress(dataset, item, ratio, tokenizer, scores)
            } else {
                let (compressor, seed) = (self.compressor, self.seed);
                compress(compressor, dataset, item, ratio, tokenizer, information, seed)
            };
            prompted.add(ratio, prompt.tokens);
        }
        Ok(prompted)
    }
}

/// A cell per prompt ratio; those of ratios that were not read are empty.
pub(super) type Cells = [Option<Cell>; PROMPT_RATIOS.len()];

/// The rows of `batch` at each of `levels`, where each reads its prompts or all are `read_by` one.
pub(super) fn score_batch(
    model: &mut ElasticModel,
    read_by: Option<Level>,
    levels: &[Level],
    batch: &[&Prompted<'_>],
) -> Result<Vec<Vec<Cells>>> {
    let tasks: Vec<Task> = batch
        .iter()
        .flat_map(|entry| {
            entry
                .contexts
                .iter()
                .map(|context| Task { context: context.clone(), options: entry.options.clone() })
        })
        .collect();
    let tasks: Vec<&Task> = tasks.iter().collect();
    let scores = match read_by {
        None => scorer::score_at(&mut model.engine, levels, &tasks)?,
        Some(prompt) => scorer::score_in_phases(&mut model.engine, prompt, levels, &tasks)?,
    };
    Ok(scores.iter().map(|scores| rows(batch, scores)).collect())
}

fn rows(batch: &[&Prompted<'_>], scores: &[OptionScores]) -> Vec<Cells> {
    let mut rest = scores;
    let rows = batch.iter().map(|entry| {
        let (own, after) = rest.split_at(entry.contexts.len());
        rest = after;
        row(entry, own)
    });
    rows.collect()
}

fn row(entry: &Prompted<'_>, scores: &[OptionScores]) -> Cells {
    let columns: BTreeMap<Ratio, usize> =
        PROMPT_RATIOS.iter().enumerate().map(|(column, &ratio)| (ratio, column)).collect();
    let mut cells = [None; PROMPT_RATIOS.len()];
    for (ratio, &context) in entry.ratios.iter().zip(&entry.context_of) {
        cells[columns[ratio]] = Some(cell(&scores[context], entry));
    }
    cells
}

fn cell(scores: &OptionScores, entry: &Prompted<'_>) -> Cell {
    let gold = entry.item.gold;
    let headline = scores.by(entry.dataset.scoring);
    Cell {
        correct: scorer::best(&headline) == gold,
        sum_correct: scorer::best(&scores.sums) == gold,
        gold_probability: scorer::softmax(&headline, gold) as f32,
        top_correct: entry.dataset.counts_top.then(|| scorer::rank(&headline, gold) < TOP),
    }
}
