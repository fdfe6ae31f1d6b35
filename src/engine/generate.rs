//! Greedy generation with the time of each phase.

use std::time::Duration;

use super::elastic::Engine;
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
    let context = engine.context();
    let out = stream(engine, level, prompt, count, end, &mut |_| Ok(()))?;
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
    if prompt.is_empty() {
        return Err(Error::new("prompt", "empty").allowed("at least one token"));
    }
    let tokens: Vec<i64> = prompt.iter().map(|&token| i64::from(token)).collect();
    let (first, prefill) = timed(|| next_token(engine, level, &tokens, 0));
    let mut last = first?;
    let mut out =
        Generation { tokens: vec![last], prefill, steps: Vec::new(), context_full: false };
    told(last)?;
    while out.tokens.len() < count && Some(last) != end {
        let past = prompt.len() + out.tokens.len() - 1;
        if past == engine.context() {
            out.context_full = true;
            break;
        }
        let (token, step) = timed(|| next_token(engine, level, &[i64::from(last)], past));
        last = token?;
        out.tokens.push(last);
        out.steps.push(step);
        told(last)?;
    }
    Ok(out)
}

fn next_token(engine: &mut Engine, level: Level, tokens: &[i64], past: usize) -> Result<u32> {
    let last = [tokens.len() as i64 - 1];
    let out = engine.forward(level, &Feed { tokens, past, logit_rows: &last, forest: None })?;
    let mut best = 0;
    for (token, &logit) in out.logits.iter().enumerate() {
        if logit > out.logits[best] {
            best = token;
        }
    }
    Ok(best as u32)
}
