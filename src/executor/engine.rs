//! The real executor: every phase is measured, every answer is the model's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Executor;
use super::shared_head::SharedHead;
use crate::engine::generate::{generate_in_phases, warm_up};
use crate::engine::scorer::{self, Task};
use crate::engine::session::Runtime;
use crate::engine::stopwatch::timed;
use crate::error::{Error, Result};
use crate::model::ElasticModel;
use crate::model::tlm::score_head::ScoreHead;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::profile::{Counted, TOP};
use crate::prompt::compress::score_head;
use crate::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use crate::request::Request;
use crate::trace::Trace;
use crate::units::Grade;

/// Answers requests with an elastic model.
///
/// Compressing, switching, reading the prompt and generating are timed; choosing among the item's
/// options is the answer, done afterwards and billed to nobody. `decide` is what a decision-head
/// that the policy asked took; without one it is zero: the policy runs in the simulator, which is
/// not the executor's to time.
#[derive(Debug)]
pub struct EngineExecutor {
    model: Rc<RefCell<ElasticModel>>,
    datasets: Vec<Rc<Dataset>>,
    compressor: Option<Compressor>,
    /// Open if it is the compressor's.
    head: Option<ScoreHead>,
    decider: Option<SharedHead>,
    counted: Counted,
    seed: u64,
}

impl EngineExecutor {
    /// An executor for `trace`, whose datasets are in `datasets` by name. Without a `compressor`
    /// plans must keep the whole prompt; `decider` is the head that the policy asks, if it asks
    /// one; `counted` says which API calls are right. Every session is opened before anything is
    /// timed.
    ///
    /// # Errors
    /// If a dataset of the trace is missing, one of its prompts is cached in part, or a session
    /// cannot be opened.
    pub fn new(
        model: Rc<RefCell<ElasticModel>>,
        datasets: &BTreeMap<String, Rc<Dataset>>,
        compressor: Option<Compressor>,
        decider: Option<SharedHead>,
        counted: Counted,
        trace: &Trace,
    ) -> Result<Self> {
        let datasets = trace_datasets(datasets, trace)?;
        refuse_cached(trace)?;
        warm_up(&mut model.borrow_mut().engine)?;
        let base_model = model.borrow().identity().base_model;
        let open = |compressor| ScoreHead::of(compressor, &base_model, Runtime::loaded()?);
        let head = compressor.filter(|c| c.is_scored()).map(open).transpose()?;
        Ok(Self { model, datasets, compressor, head, decider, counted, seed: 1 })
    }
}

/// Refuses a trace whose prompts go on from earlier turns: each is read here from its beginning.
fn refuse_cached(trace: &Trace) -> Result<()> {
    let cached = trace.requests.iter().find(|request| request.terms.cached_tokens > 0);
    cached.map_or(Ok(()), |request| {
        let tokens = request.terms.cached_tokens;
        Err(Error::new(format!("trace, request {}", request.id), "goes on from an earlier turn")
            .found(format!("{tokens} cached tokens"))
            .allowed("none, under `--executor engine`"))
    })
}

/// The datasets of `trace`, in its order.
pub(super) fn trace_datasets(
    datasets: &BTreeMap<String, Rc<Dataset>>,
    trace: &Trace,
) -> Result<Vec<Rc<Dataset>>> {
    let find = |name: &String| {
        datasets.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = datasets.keys().cloned().collect();
            Error::new("trace", "dataset that the engine does not have")
                .found(name)
                .allowed(known.join(", "))
        })
    };
    trace.datasets.iter().map(find).collect()
}

/// The dataset and item that `request` asks about; `datasets` are its trace's.
pub(super) fn asked<'a>(
    datasets: &'a [Rc<Dataset>],
    request: &Request,
) -> Result<(&'a Dataset, &'a Item)> {
    let dataset = &*datasets[usize::from(request.dataset.0)];
    let item = dataset.items.iter().find(|item| request.item == item.id);
    let item = item.ok_or_else(|| {
        Error::new(format!("trace, request {}", request.id), "no such item")
            .found(format!("{} item {}", dataset.name, request.item))
            .allowed("an item that is scored")
    })?;
    Ok((dataset, item))
}

impl Executor for EngineExecutor {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let (dataset, item) = asked(&self.datasets, request)?;
        let model = &mut *self.model.borrow_mut();
        let full = model.tokenizer.encode(&dataset.render(item));
        let (tokens, cut_time) = match self.compressor {
            Some(compressor) if compressor.is_scored() => {
                let (ratio, tokenizer) = (plan.prompt_ratio, &model.tokenizer);
                let head = self.head.as_mut().expect("opened with the executor");
                let cut = || {
                    let scores = head.scores(dataset, item)?;
                    Ok::<_, Error>(score_head::compress(dataset, item, ratio, tokenizer, &scores))
                };
                let (prompt, time) = timed(cut);
                (prompt?.tokens, time)
            }
            Some(compressor) => {
                let (ratio, tokenizer) = (plan.prompt_ratio, &model.tokenizer);
                let cut = || compress(compressor, dataset, item, ratio, tokenizer, None, self.seed);
                let (prompt, time) = timed(cut);
                (prompt.tokens, time)
            }
            None => (full.clone(), Duration::ZERO),
        };
        let switch = model.engine.switch(plan.level)?;
        let count = request.output_tokens.max(1) as usize;
        let (reads, answers) = (plan.level, plan.answer_level());
        let run = generate_in_phases(&mut model.engine, (reads, answers), &tokens, count, None)?;
        let options = item.options.iter().map(|option| model.tokenizer.encode(option)).collect();
        let kept_tokens = tokens.len() as u32;
        let task = Task { context: tokens, options };
        let scores = if answers == reads {
            scorer::score(&mut model.engine, reads, &[&task])?.swap_remove(0)
        } else {
            let engine = &mut model.engine;
            scorer::score_in_phases(engine, reads, &[answers], &[&task])?
                .swap_remove(0)
                .swap_remove(0)
        };
        let rank = scorer::rank(&scores.by(dataset.scoring), item.gold);
        let counted = match self.counted {
            Counted::FirstFive if dataset.counts_top => TOP,
            _ => 1,
        };
        Ok(Execution {
            decide: self.decider.as_ref().map_or(Duration::ZERO, SharedHead::bill),
            compress: if kept_tokens as usize == full.len() { Duration::ZERO } else { cut_time },
            switch,
            prefill: run.prefill,
            decode: run.decode(),
            kept_tokens,
            correct: Some(Grade::from(rank < counted)),
            power: None,
        })
    }
}
