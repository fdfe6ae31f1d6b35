//! The real engine behind the service: one resident elastic model, many sequences.
//!
//! Each sequence has a KV cache of its own, which is put into the engine when it runs and taken out
//! when another does: nothing is copied, and nothing is shared. A prompt is read in parts, so that
//! who cancels waits for one part and not for all.

mod cached;
mod format;
mod learnt;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::cached::{Conversation, Conversations};
use self::format::EngineFormat;
use self::learnt::Learnt;
use self::sequence::Sequence;
use super::backend::{Backend, Step, Work};
use super::call::{Call, Prompt};
use super::clock::Clock;
use super::event::{PlanReport, Weighed};
use super::handle::Loaded;
use super::reader::{Memory, Reader, Standing};
use crate::engine::generate::warm_up;
use crate::engine::kv_cache::KvCache;
use crate::engine::scorer::{Task, score, softmax};
use crate::engine::session::Runtime;
use crate::error::Result;
use crate::method::one_prompt::{PromptPlanner, Scales};
use crate::model::ElasticModel;
use crate::model::tlm::score_head::ScoreHead;
use crate::profile::Phase;
use crate::prompt::compress::lists::Ranking;
use crate::prompt::{Compressor, Tokenize as _};
use crate::units::Level;

/// Tokens of a prompt that are read in one go.
const PART: usize = 256;

/// What the engine serves with.
#[derive(Debug)]
pub struct EngineModel {
    /// The model.
    pub model: ElasticModel,
    /// Plans on this machine's profile.
    pub planner: PromptPlanner,
    /// Most bytes of KV caches of conversations that are over; 0: none is kept.
    pub cache_bytes: u64,
    /// Where what was learnt of the machine is kept; absent: nowhere.
    pub learnt: Option<PathBuf>,
}

impl EngineModel {
    /// What answers, on `clock`. The score-head cuts prompts where its files are there. No call
    /// pays for the first run of a level, or of the head: both ran before.
    ///
    /// # Errors
    /// If the model's chat template cannot be understood, or inference fails.
    pub fn load(self, clock: Arc<dyn Clock>) -> Result<Loaded> {
        let Self { mut model, planner, cache_bytes, learnt } = self;
        if !model.engine.moves_weights() {
            warm_up(&mut model.engine)?;
        }
        if let Some(scales) = learnt.as_deref().and_then(Scales::load) {
            planner.set_scales(scales);
        }
        let format = Arc::new(EngineFormat::new(model.tokenizer.clone())?);
        let memory = Memory {
            context: model.engine.context() as u32,
            cache_bytes_per_token: model.engine.cache_bytes_per_token(),
        };
        let scorer = Runtime::loaded().and_then(|runtime| {
            let mut head = ScoreHead::of(Compressor::ScoreHead, planner.base_model(), runtime)?;
            head.worth("Ice?", "Heat.\nIce.\n", Ranking::Mean)?;
            Ok(head)
        });
        let learnt = Learnt::new(learnt, planner.scales(), clock.now());
        let ends = model.tokenizer.ends_of_turn();
        let reader = Reader::new(Arc::new(planner), format, memory, "engine");
        let front = Arc::new(reader.clone());
        let backend = EngineBackend {
            reader,
            clock,
            scorer: scorer.ok(),
            ends,
            conversations: Conversations::new(cache_bytes, memory.cache_bytes_per_token),
            model,
            sequences: BTreeMap::new(),
            active: None,
            spare: Vec::new(),
            resident: None,
            learnt,
        };
        Ok((front, Box::new(backend)))
    }
}

#[derive(Debug)]
struct EngineBackend {
    reader: Reader,
    clock: Arc<dyn Clock>,
    model: ElasticModel,
    scorer: Option<ScoreHead>,
    /// Tokens that end the model's turn.
    ends: Vec<u32>,
    sequences: BTreeMap<u64, Sequence>,
    conversations: Conversations,
    /// Whose KV cache is in the engine.
    active: Option<u64>,
    /// KV caches that nobody needs.
    spare: Vec<KvCache>,
    resident: Option<Level>,
    learnt: Learnt,
}

impl EngineBackend {
    /// Puts the KV cache of sequence `id` into the engine, and that of another back to it.
    fn activate(&mut self, id: u64) -> Result<()> {
        let level = self.sequences[&id].level;
        self.model.engine.switch(level)?;
        self.resident = Some(level);
        if self.active == Some(id) {
            return Ok(());
        }
        let sequence = self.sequences.get_mut(&id).expect("it was started");
        let engine = &mut self.model.engine;
        let own = sequence.cache.take().filter(|cache| engine.fits(cache));
        let cache = match own.or_else(|| self.spare.pop().filter(|cache| engine.fits(cache))) {
            Some(cache) => cache,
            None => engine.new_cache()?,
        };
        let before = engine.swap_cache(cache);
        match self.active.replace(id).and_then(|other| self.sequences.get_mut(&other)) {
            Some(other) => other.cache = Some(before),
            None => self.put_aside(before),
        }
        Ok(())
    }

    fn put_aside(&mut self, cache: KvCache) {
        // One is enough: a call that starts takes it.
        if self.spare.is_empty() {
            self.spare.push(cache);
        }
    }

    /// The KV cache of sequence `id`, taken from wherever it is.
    fn take_cache(&mut self, id: u64) -> Result<Option<KvCache>> {
        if self.active == Some(id) {
            self.active = None;
            let empty = match self.spare.pop().filter(|cache| self.model.engine.fits(cache)) {
                Some(cache) => cache,
                None => self.model.engine.new_cache()?,
            };
            return Ok(Some(self.model.engine.swap_cache(empty)));
        }
        Ok(self.sequences.get_mut(&id).and_then(|sequence| sequence.cache.take()))
    }

    /// Options of `call` as tokens: words after a text, whole turns in a chat.
    fn options(&self, call: &Call) -> Vec<Vec<u32>> {
        let is_text = matches!(call.prompt, Prompt::Text(_));
        let space = if is_text { " " } else { "" };
        let option = |option: &String| format!("{space}{}", option.trim_start());
        let options = call.options.iter().map(option);
        options.map(|option| self.model.tokenizer.encode(&option)).collect()
    }

    fn weigh(&mut self, id: u64) -> Result<Step> {
        let sequence = &self.sequences[&id];
        let (context, options) = (sequence.prompt(), sequence.options.clone());
        let (task, level) = (Task { context, options }, sequence.level);
        let scores = score(&mut self.model.engine, level, &[&task])?.swap_remove(0);
        let means = scores.per_token();
        let weigh = |(index, &logprob): (usize, &f64)| Weighed {
            index,
            probability: softmax(&means, index),
            logprob,
        };
        let mut weighed: Vec<Weighed> = scores.sums.iter().enumerate().map(weigh).collect();
        weighed.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        // The scorer left its own tokens in the KV cache.
        self.sequences.get_mut(&id).expect("it runs").lose_cache();
        Ok(Step::Weighed(weighed))
    }

    /// What a phase of sequence `id` was predicted to take, and took.
    fn learn(&mut self, id: u64, phase: Phase) {
        let sequence = &self.sequences[&id];
        let planner = &self.reader.planner;
        let Some((kept, cached, context, measured)) = sequence.measured(phase) else { return };
        let Ok((read, each)) = planner.profiled(sequence.level, kept, cached, context) else {
            return;
        };
        let scales = planner.scales();
        let predicted = match phase {
            Phase::Decode => each.mul_f64(scales.decode),
            _ => read.mul_f64(scales.prefill),
        };
        planner.learn(phase, predicted, measured);
        if phase == Phase::Prefill {
            self.learnt.see(self.clock.now(), planner.scales());
        }
    }
}

/// What the score-head gives for `units`, one number each; `None` where it fails.
fn scores(head: &mut ScoreHead, question: &str, units: &[&str]) -> Option<Vec<f32>> {
    // A text of several lines is a list, one entry a line: so units stay as they are.
    let passage = units.join("\n") + "\n";
    let scores = head.worth(question, &passage, Ranking::Mean).ok()?;
    (scores.len() == units.len()).then_some(scores)
}

impl Backend for EngineBackend {
    fn start(&mut self, work: &Work<'_>) -> Result<PlanReport> {
        let Self { reader, scorer: head, conversations, resident, .. } = self;
        let cached = |level: Level, tokens: &[u32]| conversations.shared(level, tokens) as u32;
        let mut scorer = |question: &str, units: &[&str]| scores(head.as_mut()?, question, units);
        let standing = Standing {
            resident: *resident,
            cached: &cached,
            scorer: Some(("score-head", &mut scorer)),
        };
        let (mut plan, tokens) = reader.plan(work, standing)?;
        let taken = self.conversations.take(plan.level, &tokens);
        let options = self.options(work.call);
        let seed = work.call.sampling.seed.unwrap_or(work.id);
        let tokenizer = &self.model.tokenizer;
        let mut sequence = Sequence::new(work.call, &plan, &tokens, options, seed, tokenizer)?;
        if let Some(Conversation { cache, tokens }) = taken {
            sequence.has(cache, tokens.len());
            plan.cached_tokens = sequence.cached_at_start;
        }
        self.sequences.insert(work.id, sequence);
        self.activate(work.id)?;
        Ok(plan)
    }

    fn step(&mut self, id: u64) -> Result<Step> {
        self.activate(id)?;
        if !self.sequences[&id].options.is_empty() {
            return self.weigh(id);
        }
        let before = self.clock.now();
        let sequence = self.sequences.get_mut(&id).expect("it was started");
        let written = sequence.step(&mut self.model, PART, &self.ends)?;
        let took = self.clock.now() - before;
        let phase = sequence.took(took, written.is_some());
        if let Some(phase) = phase {
            self.learn(id, phase);
        }
        Ok(written.map_or(Step::Reading, Step::Token))
    }

    fn pause(&mut self, id: u64, keep: bool) {
        if !keep && let Ok(cache) = self.take_cache(id) {
            if let Some(cache) = cache {
                self.put_aside(cache);
            }
            if let Some(sequence) = self.sequences.get_mut(&id) {
                sequence.lose_cache();
            }
        }
    }

    fn resume(&mut self, id: u64) -> Result<()> {
        self.activate(id)
    }

    fn cached_tokens(&self, id: u64) -> u64 {
        self.sequences.get(&id).map_or(0, |sequence| sequence.len() as u64)
    }

    fn remaining(&self, id: u64) -> Duration {
        self.sequences.get(&id).map_or(Duration::ZERO, Sequence::remaining)
    }

    fn forget(&mut self, id: u64) {
        if self.sequences.contains_key(&id)
            && let Ok(Some(cache)) = self.take_cache(id)
        {
            let sequence = &self.sequences[&id];
            let (level, tokens) = (sequence.level, sequence.cached_tokens());
            if let Some(cache) = self.conversations.keep(level, Conversation { cache, tokens }) {
                self.put_aside(cache);
            }
        }
        self.sequences.remove(&id);
    }

    fn resident(&self) -> Option<Level> {
        self.resident
    }
}

impl Drop for EngineBackend {
    fn drop(&mut self) {
        self.learnt.save(self.clock.now(), self.reader.planner.scales());
    }
}
