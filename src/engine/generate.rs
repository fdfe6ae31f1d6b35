//! Generation, one step at a time: a sequence reads its prompt in parts, then gets token by token.
//!
//! A [`Sequence`] knows its tokens and how many of them the KV cache has; who picks the next token
//! is up to its driver: the likeliest one here, a [`Sampler`](super::sampler::Sampler) in the
//! service.

use std::time::Duration;

use super::elastic::{Engine, Forward};
use super::graph::Attention;
use super::session::Feed;
use super::stopwatch::timed;
use crate::error::{Error, Result};
use crate::units::Level;

/// What came out, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Generated tokens; the end token, if it came, is the last.
    pub tokens: Vec<u32>,
    /// Reading the prompt, up to and with the first token.
    pub prefill: Duration,
    /// Each later token.
    pub steps: Vec<Duration>,
    /// Whether the context was full before the answer was at its end.
    pub context_full: bool,
}

impl Generation {
    /// Time of all tokens after the first.
    #[must_use]
    pub fn decode(&self) -> Duration {
        self.steps.iter().sum()
    }
}

/// A text in the making: tokens of the prompt, then those that were picked.
#[derive(Debug, Clone)]
pub struct Sequence {
    tokens: Vec<i64>,
    /// How many of them the KV cache has.
    read: usize,
}

impl Sequence {
    /// A sequence that begins with `prompt`, of which the KV cache has the first `cached` tokens.
    ///
    /// # Errors
    /// If the prompt is empty.
    ///
    /// # Panics
    /// If all of the prompt is cached: the last token is read for what follows it.
    pub fn new(prompt: &[u32], cached: usize) -> Result<Self> {
        if prompt.is_empty() {
            return Err(Error::new("prompt", "empty").allowed("at least one token"));
        }
        assert!(cached < prompt.len(), "the last token of a prompt is read");
        Ok(Self { tokens: prompt.iter().map(|&token| i64::from(token)).collect(), read: cached })
    }

    /// All tokens, those of the prompt first.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never: a prompt has a token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many tokens the KV cache has.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.read
    }

    /// The tokens that the KV cache has.
    #[must_use]
    pub fn cached_tokens(&self) -> Vec<u32> {
        self.tokens[..self.read].iter().map(|&token| token as u32).collect()
    }

    /// The KV cache is gone: all is read again in the next steps.
    pub fn forget_cache(&mut self) {
        self.read = 0;
    }

    /// Reads up to `most` of the tokens that are not read yet, with sub-model `level`. Once all
    /// are, says how likely each token of the vocabulary is to follow.
    ///
    /// # Errors
    /// If the context is full, or inference fails.
    pub fn read<'e>(
        &mut self,
        engine: &'e mut Engine,
        level: Level,
        most: usize,
    ) -> Result<Option<&'e Forward>> {
        let until = self.tokens.len().min(self.read.saturating_add(most));
        let tokens = &self.tokens[self.read..until];
        let last = [tokens.len() as i64 - 1];
        let feed = Feed { tokens, past: self.read, logit_rows: &last, forest: None };
        let out = engine.forward(level, &feed)?;
        self.read = until;
        Ok((until == self.tokens.len()).then_some(out))
    }

    /// The sequence goes on with `token`.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(i64::from(token));
    }
}

/// Opens the session of every level and lets it read a little and write a token: the first run of a
/// session pays for what later ones find ready.
///
/// # Errors
/// If a session cannot be opened, or inference fails.
pub fn warm_up(engine: &mut Engine) -> Result<()> {
    let levels: Vec<Level> = engine.ladder().keys().copied().collect();
    levels.into_iter().try_for_each(|level| {
        engine.open(level, Attention::Causal)?;
        generate(engine, level, &[0; 16], 2, None).map(drop)
    })
}

/// Continues `prompt` with the likeliest token, up to `count` tokens or until `end`.
///
/// # Errors
/// If the prompt is empty, prompt and output exceed the context, or inference fails.
pub fn generate(
    engine: &mut Engine,
    level: Level,
    prompt: &[u32],
    count: usize,
    end: Option<u32>,
) -> Result<Generation> {
    generate_in_phases(engine, (level, level), prompt, count, end)
}

/// The same where the first of `levels` reads the prompt and makes the first token, and the second,
/// which is not above it, the later ones; the switch between them counts to the second token's
/// time.
///
/// # Errors
/// As [`generate`].
pub fn generate_in_phases(
    engine: &mut Engine,
    levels: (Level, Level),
    prompt: &[u32],
    count: usize,
    end: Option<u32>,
) -> Result<Generation> {
    let context = engine.context();
    let out = stream_in_phases(engine, levels, prompt, count, end, &mut |_| Ok(()))?;
    if out.context_full {
        return Err(Error::new("prompt and output", "longer than the context")
            .found(format!("{} and {count} tokens", prompt.len()))
            .allowed(format!("{context} tokens")));
    }
    Ok(out)
}

/// The same, each token being `told` as soon as it is there; where the context is full, generation
/// stops and what came out is kept.
///
/// # Errors
/// If the prompt is empty or longer than the context, inference fails, or `told` does.
pub fn stream(
    engine: &mut Engine,
    level: Level,
    prompt: &[u32],
    count: usize,
    end: Option<u32>,
    told: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<Generation> {
    stream_in_phases(engine, (level, level), prompt, count, end, told)
}

fn stream_in_phases(
    engine: &mut Engine,
    (reads, answers): (Level, Level),
    prompt: &[u32],
    count: usize,
    end: Option<u32>,
    told: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<Generation> {
    let mut sequence = Sequence::new(prompt, 0)?;
    let (first, prefill) = timed(|| likeliest_next(&mut sequence, engine, reads));
    let mut last = first?;
    let mut out =
        Generation { tokens: vec![last], prefill, steps: Vec::new(), context_full: false };
    told(last)?;
    while out.tokens.len() < count && Some(last) != end {
        if sequence.cached() == engine.context() {
            out.context_full = true;
            break;
        }
        let switches = out.steps.is_empty() && answers != reads;
        let switch = if switches { engine.switch(answers)? } else { Duration::ZERO };
        let (token, step) = timed(|| likeliest_next(&mut sequence, engine, answers));
        last = token?;
        out.tokens.push(last);
        out.steps.push(switch + step);
        told(last)?;
    }
    Ok(out)
}

/// Reads all that is not read yet and goes on with the likeliest token.
fn likeliest_next(sequence: &mut Sequence, engine: &mut Engine, level: Level) -> Result<u32> {
    let out = sequence.read(engine, level, usize::MAX)?.expect("all is read at once");
    let token = likeliest(&out.logits);
    sequence.push(token);
    Ok(token)
}

/// The token with the highest logit, the first of equals.
#[must_use]
pub fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}
