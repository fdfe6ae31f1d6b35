//! One answer of the engine in progress.

use std::time::Duration;

use super::super::backend::Written;
use super::super::call::Call;
use super::super::event::{FinishReason, PlanReport};
use super::super::reader::output_tokens;
use crate::engine::generate::{self, likeliest};
use crate::engine::kv_cache::KvCache;
use crate::engine::sampler::Sampler;
use crate::engine::tokenizer::{TextStream, Tokenizer};
use crate::error::Result;
use crate::model::ElasticModel;
use crate::profile::Phase;
use crate::units::Level;

#[derive(Debug)]
pub(super) struct Sequence {
    pub level: Level,
    pub options: Vec<Vec<u32>>,
    /// Its KV cache, while it is not in the engine.
    pub cache: Option<KvCache>,
    pub cached_at_start: u32,
    text: generate::Sequence,
    prompt: Vec<u32>,
    written: u32,
    output_tokens: u32,
    sampler: Sampler,
    pieces: TextStream,
    top_logprobs: Option<u8>,
    predicted_ttft: Duration,
    predicted_tpot: Duration,
    reading: Duration,
    writing: Duration,
    /// Whether a KV cache was lost: what it took is no measure then.
    was_interrupted: bool,
}

impl Sequence {
    pub fn new(
        call: &Call,
        plan: &PlanReport,
        prompt: &[u32],
        options: Vec<Vec<u32>>,
        seed: u64,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        Ok(Self {
            level: plan.level,
            options,
            cache: None,
            cached_at_start: 0,
            text: generate::Sequence::new(prompt, 0)?,
            prompt: prompt.to_vec(),
            written: 0,
            output_tokens: output_tokens(call),
            sampler: Sampler::new(call.sampling.temperature, call.sampling.top_p, seed),
            pieces: TextStream::new(tokenizer),
            top_logprobs: call.top_logprobs,
            predicted_ttft: plan.predicted_ttft,
            predicted_tpot: plan.predicted_tpot,
            reading: Duration::ZERO,
            writing: Duration::ZERO,
            was_interrupted: false,
        })
    }

    /// It begins with the KV cache of an earlier conversation, which has so many of its tokens.
    pub fn has(&mut self, cache: KvCache, tokens: usize) {
        self.cached_at_start = tokens as u32;
        let text = generate::Sequence::new(&self.prompt, tokens);
        self.text = text.expect("the prompt has a token");
        self.cache = Some(cache);
    }

    pub fn lose_cache(&mut self) {
        self.cache = None;
        self.was_interrupted = true;
        self.text.forget_cache();
    }

    pub fn prompt(&self) -> Vec<u32> {
        self.prompt.clone()
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn cached_tokens(&self) -> Vec<u32> {
        self.text.cached_tokens()
    }

    /// Reads a part of `most` tokens, or all that is left and picks the next token.
    pub fn step(
        &mut self,
        model: &mut ElasticModel,
        most: usize,
        ends: &[u32],
    ) -> Result<Option<Written>> {
        let context = model.engine.context();
        let Some(out) = self.text.read(&mut model.engine, self.level, most)? else {
            return Ok(None);
        };
        let id = self.sampler.pick(&out.logits);
        let (mut logprob, mut top) = (None, Vec::new());
        if let Some(count) = self.top_logprobs {
            logprob = Some(out.log_probs[id as usize]);
            top = likeliest_of(&out.log_probs, count.into());
        }
        let top = top.into_iter().map(|(id, p)| (model.tokenizer.piece(id), p)).collect();
        self.text.push(id);
        self.written += 1;
        let is_end = ends.contains(&id);
        let is_full = self.text.len() > context;
        let is_last = is_end || is_full || self.written >= self.output_tokens;
        let mut text = if is_end { String::new() } else { self.pieces.push(id) };
        if is_last {
            text += &self.pieces.rest();
        }
        let full = is_full.then_some(FinishReason::Length);
        let ends = is_end.then_some(FinishReason::Stop).or(full);
        Ok(Some(Written { id, text, logprob, top, ends }))
    }

    /// A step took so long; which phase is at its end with it, and to be learnt from.
    pub fn took(&mut self, length: Duration, wrote: bool) -> Option<Phase> {
        match (self.written, wrote) {
            (0, _) | (1, true) => self.reading += length,
            _ => self.writing += length,
        }
        let whole = wrote && !self.was_interrupted;
        match self.written {
            1 if whole => Some(Phase::Prefill),
            written if whole && (written % LEARN_EVERY == 0) => Some(Phase::Decode),
            _ => None,
        }
    }

    /// Tokens that were read, of these cached, the mean context of those that were written, and how
    /// long the phase took: reading all of them, or writing one.
    pub fn measured(&self, phase: Phase) -> Option<(u32, u32, u32, Duration)> {
        let kept = self.prompt.len() as u32;
        let context = kept + self.written / 2;
        let took = match phase {
            Phase::Prefill => self.reading,
            Phase::Decode => self.writing.checked_div(self.written.checked_sub(1)?)?,
            Phase::Switch => return None,
        };
        Some((kept, self.cached_at_start, context, took))
    }

    pub fn remaining(&self) -> Duration {
        let left = self.output_tokens.saturating_sub(self.written.max(1));
        let reading = if self.written == 0 { self.predicted_ttft } else { Duration::ZERO };
        reading + self.predicted_tpot * left
    }
}

/// After so many tokens what they took is learnt from.
const LEARN_EVERY: u32 = 16;

/// The `count` likeliest tokens with their logarithms of probabilities, the likeliest first.
fn likeliest_of(log_probs: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut left = log_probs.to_vec();
    let mut best = Vec::with_capacity(count);
    for _ in 0..count.min(log_probs.len()) {
        let token = likeliest(&left);
        best.push((token, left[token as usize]));
        left[token as usize] = f32::NEG_INFINITY;
    }
    best
}
