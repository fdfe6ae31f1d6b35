//! Canned text at predicted times: the service without a model, for whoever writes an app.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::backend::{Backend, Step, Work, Written};
use super::clock::Clock;
use super::cut::Turn;
use super::event::{FinishReason, PlanReport, Weighed};
use super::handle::Loaded;
use super::reader::{Format, Memory, Reader, Standing, output_tokens};
use crate::error::{Error, Result};
use crate::method::one_prompt::PromptPlanner;
use crate::units::Level;

/// What is written, word by word, over and over.
const TEXT: &str = "This text is canned. No model wrote it, but it came when one would have.";

/// The longest that reading goes on without a look at who cancels.
const SLICE: Duration = Duration::from_millis(20);

/// A model that writes the same text whatever it is asked, as fast as a profile predicts.
#[derive(Debug)]
pub struct CannedModel {
    planner: PromptPlanner,
    context: u32,
    speed: u32,
}

impl CannedModel {
    /// Answers as `planner` predicts, with room for `context` tokens.
    ///
    /// # Errors
    /// If the context has no room for a prompt and an answer.
    pub fn new(planner: PromptPlanner, context: u32) -> Result<Self> {
        if context < 2 {
            let error = Error::new("context", "no room for prompt and answer");
            return Err(error.found(context).allowed("2 tokens or more"));
        }
        Ok(Self { planner, context, speed: 1 })
    }

    /// The same, but time passes so many times as fast as predicted: for tests of apps.
    ///
    /// # Panics
    /// If `times` is 0.
    #[must_use]
    pub fn sped_up(self, times: u32) -> Self {
        assert!(times > 0, "time passes");
        Self { speed: times, ..self }
    }

    /// What answers, on `clock`.
    ///
    /// # Errors
    /// Never; a real model may fail to load.
    pub fn load(self, clock: Arc<dyn Clock>) -> Result<Loaded> {
        let planner = Arc::new(self.planner);
        let memory = Memory { context: self.context, cache_bytes_per_token: 0 };
        let reader = Reader::new(planner, Arc::new(FourBytes), memory, "canned text");
        let front = Arc::new(reader.clone());
        let speed = self.speed;
        let backend = Canned { reader, clock, speed, sequences: BTreeMap::new(), resident: None };
        Ok((front, Box::new(backend)))
    }
}

/// Turns as plain lines; four bytes are a token, as they are of English on the whole.
#[derive(Debug)]
struct FourBytes;

impl Format for FourBytes {
    fn tokens(&self, turns: &[Turn<'_>], _is_chat: bool) -> Result<Vec<u32>> {
        let bytes = turns.iter().flat_map(|turn| turn.content.bytes().chain(*b"\n"));
        let bytes: Vec<u8> = bytes.collect();
        let token =
            |four: &[u8]| four.iter().fold(0, |token, &byte| (token << 8) | u32::from(byte));
        Ok(bytes.chunks(4).map(token).collect())
    }

    fn count(&self, text: &str) -> u32 {
        text.len().div_ceil(4) as u32
    }
}

/// An answer in progress.
#[derive(Debug)]
struct Sequence {
    level: Level,
    prompt_tokens: u32,
    written: u32,
    output_tokens: u32,
    options: usize,
    /// To be read before the next token.
    reading: Duration,
    each: Duration,
    is_kept: bool,
}

#[derive(Debug)]
struct Canned {
    reader: Reader,
    clock: Arc<dyn Clock>,
    speed: u32,
    sequences: BTreeMap<u64, Sequence>,
    resident: Option<Level>,
}

impl Canned {
    fn sequence(&mut self, id: u64) -> &mut Sequence {
        self.sequences.get_mut(&id).expect("the sequence was started")
    }
}

impl Backend for Canned {
    fn start(&mut self, work: &Work<'_>) -> Result<PlanReport> {
        let cached = |_: Level, _: &[u32]| 0;
        let standing = Standing { resident: self.resident, cached: &cached, scorer: None };
        let (plan, tokens) = self.reader.plan(work, standing)?;
        self.resident = Some(plan.level);
        let sequence = Sequence {
            level: plan.level,
            prompt_tokens: tokens.len() as u32,
            written: 0,
            output_tokens: output_tokens(work.call),
            options: work.call.options.len(),
            reading: plan.predicted_ttft / self.speed,
            each: plan.predicted_tpot / self.speed,
            is_kept: true,
        };
        self.sequences.insert(work.id, sequence);
        Ok(plan)
    }

    fn step(&mut self, id: u64) -> Result<Step> {
        let context = self.reader.context();
        let clock = Arc::clone(&self.clock);
        let sequence = self.sequence(id);
        let part = sequence.reading.min(SLICE);
        if part.is_zero() {
            clock.pass(sequence.each);
        } else {
            sequence.reading -= part;
            clock.pass(part);
            if !sequence.reading.is_zero() {
                return Ok(Step::Reading);
            }
        }
        if sequence.options > 0 {
            return Ok(Step::Weighed(evenly(sequence.options)));
        }
        let words: Vec<&str> = TEXT.split(' ').collect();
        let word = words[sequence.written as usize % words.len()];
        let space = if sequence.written == 0 { "" } else { " " };
        sequence.written += 1;
        let is_full = sequence.prompt_tokens + sequence.written >= context;
        let ends = is_full.then_some(FinishReason::Length);
        let (id, text) = (sequence.written, format!("{space}{word}"));
        Ok(Step::Token(Written { id, text, ends, ..Written::default() }))
    }

    fn pause(&mut self, id: u64, keep: bool) {
        self.sequence(id).is_kept = keep;
    }

    fn resume(&mut self, id: u64) -> Result<()> {
        let planner = Arc::clone(&self.reader.planner);
        let speed = self.speed;
        let sequence = self.sequence(id);
        if !std::mem::replace(&mut sequence.is_kept, true) {
            let had = sequence.prompt_tokens + sequence.written;
            sequence.reading += planner.profiled(sequence.level, had, 0, had)?.0 / speed;
        }
        self.resident = Some(self.sequences[&id].level);
        Ok(())
    }

    fn cached_tokens(&self, id: u64) -> u64 {
        let sequence = self.sequences.get(&id);
        sequence.map_or(0, |it| u64::from(it.prompt_tokens + it.written))
    }

    fn remaining(&self, id: u64) -> Duration {
        let Some(sequence) = self.sequences.get(&id) else { return Duration::ZERO };
        let reads = !sequence.reading.is_zero();
        let left = sequence.output_tokens - sequence.written;
        sequence.reading + sequence.each * left.saturating_sub(u32::from(reads))
    }

    fn forget(&mut self, id: u64) {
        self.sequences.remove(&id);
    }

    fn resident(&self) -> Option<Level> {
        self.resident
    }
}

/// Options that are as likely as each other.
fn evenly(options: usize) -> Vec<Weighed> {
    let probability = 1.0 / options as f64;
    let logprob = probability.ln();
    (0..options).map(|index| Weighed { index, probability, logprob }).collect()
}
