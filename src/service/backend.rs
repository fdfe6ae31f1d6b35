//! What answers: the model, real or not, behind two faces.
//!
//! [`Front`] is asked in the thread of whoever calls: how long is this prompt, what does its
//! objective come to, can it be met. [`Backend`] is asked in the service's one thread: plan, read,
//! write the next token. It has one sequence for each call that was taken up; several may be
//! paused.

use std::fmt::Debug;
use std::time::Duration;

use super::call::Call;
use super::event::{FinishReason, PlanReport, Refusal, Weighed};
use crate::error::Result;
use crate::profile::DeviceProfile;
use crate::request::{Bounds, Slo};
use crate::schedule::Needs;
use crate::units::Level;

/// What the service can say of its model before anything is computed. Asked by many threads.
pub trait Front: Debug + Send + Sync {
    /// Which model it is.
    fn card(&self) -> &ModelCard;

    /// The profile that plans are made with just now, with what was learnt of the machine.
    fn profile(&self) -> DeviceProfile;

    /// The length of the call's prompt, and its objective in quantities.
    ///
    /// # Errors
    /// If the prompt does not fit the context, the call asks for a level that there is not, or the
    /// objective cannot be put in quantities.
    fn ask(&self, call: &Call, slo: Slo) -> Result<Asked, Refusal>;
}

/// What serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    /// Name of the base model.
    pub base_model: String,
    /// Sub-models, smallest first.
    pub levels: Vec<Level>,
    /// Most tokens of prompt and answer.
    pub context: u32,
    /// The device whose profile predicts.
    pub device: String,
    /// Where that profile comes from.
    pub provenance: &'static str,
    /// Memory that a token in a KV cache takes; 0 where there are none.
    pub cache_bytes_per_token: u64,
    /// What answers, in words: an engine, canned text.
    pub executor: &'static str,
}

/// A call, measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// The objective as quantities.
    pub bounds: Bounds,
    /// The least that answering takes.
    pub needs: Needs,
}

/// A call that is taken up.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Its number in the service: the name of its sequence.
    pub id: u64,
    /// What is asked.
    pub call: &'a Call,
    /// What was found of it at its arrival.
    pub asked: Asked,
    /// How long it waited.
    pub waited: Duration,
}

/// What a step led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A part of the prompt is read.
    Reading,
    /// A token is out.
    Token(Written),
    /// The options are weighed, the likeliest first; there is nothing to write.
    Weighed(Vec<Weighed>),
}

/// A token as the model wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What it adds to the text.
    pub text: String,
    /// Natural logarithm of its probability, if asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place, as many as asked for.
    pub top: Vec<(String, f32)>,
    /// Why it is the last, if the model says so: it ended its turn, or the context is full.
    pub ends: Option<FinishReason>,
}

/// Computes answers, a step at a time.
pub trait Backend: Debug + Send {
    /// Plans the answer, cuts the prompt and makes the level resident.
    ///
    /// # Errors
    /// If the prompt cannot be put into the model's format, or inference fails.
    fn start(&mut self, work: &Work<'_>) -> Result<PlanReport>;

    /// Reads the next part of the prompt of sequence `id`, or writes its next token.
    ///
    /// # Errors
    /// If inference fails.
    fn step(&mut self, id: u64) -> Result<Step>;

    /// Sequence `id` waits; `keep` says whether its KV cache stays.
    fn pause(&mut self, id: u64, keep: bool);

    /// Goes on with sequence `id` in the next step: its level is made resident, and what its KV
    /// cache had is read again unless it was kept.
    ///
    /// # Errors
    /// If inference fails.
    fn resume(&mut self, id: u64) -> Result<()>;

    /// Tokens in the KV cache of sequence `id`.
    fn cached_tokens(&self, id: u64) -> u64;

    /// The predicted time from now to the last token of sequence `id`.
    fn remaining(&self, id: u64) -> Duration;

    /// Sequence `id` is done, or gone. Nothing if there is none.
    fn forget(&mut self, id: u64);

    /// The level whose weights are resident.
    fn resident(&self) -> Option<Level>;
}
