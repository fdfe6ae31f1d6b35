//! What the service says of a call: that it is planned, each token, its end; or why there is none.

use std::time::Duration;

use super::backend::Asked;
use crate::error::Error;
use crate::request::{Bounds, Slo, Terms};
use crate::schedule::Reason;
use crate::units::{Level, Ratio, SimTime};

/// What happens to a call, in this order: it is planned, its tokens come, it is finished. At any
/// point it may leave instead, and then nothing more comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was taken up, and this is how it is answered.
    Planned(PlanReport),
    /// A token of the answer.
    Token(Token),
    /// The answer is at its end.
    Finished(Done),
    /// It is gone without its answer, or with a part of it.
    Left(Left),
}

impl Event {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Left(_))
    }
}

/// How a call is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanReport {
    /// Which sub-model answers.
    pub level: Level,
    /// Which share of the prompt's tokens it was asked to read.
    pub prompt_ratio: Ratio,
    /// Tokens of the prompt before cutting.
    pub prompt_tokens_before: u32,
    /// Tokens of the prompt after it.
    pub prompt_tokens_after: u32,
    /// Of these, how many the KV cache already had.
    pub cached_tokens: u32,
    /// What cut the prompt; absent where it is whole.
    pub cut_by: Option<&'static str>,
    /// The objective as quantities; lengths of time count from arrival.
    pub bounds: Bounds,
    /// How long it waited for the server.
    pub queue_wait: Duration,
    /// Predicted time from there to the first token.
    pub predicted_ttft: Duration,
    /// Predicted time per token after it.
    pub predicted_tpot: Duration,
    /// Whether some plan was predicted to meet the objective; otherwise the least late was taken.
    pub feasible: bool,
    /// The device whose profile predicted.
    pub device: String,
    /// Where that profile comes from.
    pub provenance: &'static str,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its number in the model's vocabulary.
    pub id: u32,
    /// What it adds to the text; empty while a letter, or what may become a stop text, is not
    /// complete.
    pub text: String,
    /// Natural logarithm of its probability, if the call asked.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place with theirs, as many as the call asked for.
    pub top: Vec<(String, f32)>,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop text did, or an option was chosen.
    Stop,
    /// It has as many tokens as asked for, or as fit the context.
    Length,
}

impl FinishReason {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A finished answer, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// How it was answered.
    pub plan: PlanReport,
    /// Why it ends.
    pub finish: FinishReason,
    /// Text that was held back as it might have become a stop text, and did not.
    pub rest: String,
    /// Tokens written, that which ended the turn included.
    pub output_tokens: u32,
    /// From arrival to the first token: the wait included.
    pub ttft: Duration,
    /// Mean time per token after the first; absent for one token.
    pub tpot: Option<Duration>,
    /// The longest but one in a hundred of the times between two tokens; absent for one token.
    pub gap_p99: Option<Duration>,
    /// How long it waited between two tokens for calls of a higher class.
    pub paused: Duration,
    /// Whether the objective was met; absent where it is one of energy, which is not measured.
    pub met: Option<bool>,
    /// Options and how likely each is, the likeliest first.
    pub options: Vec<Weighed>,
}

/// An option and how likely it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// Which of the call's.
    pub index: usize,
    /// Probability among the options.
    pub probability: f64,
    /// Natural logarithm of the probability of its tokens after the prompt.
    pub logprob: f64,
}

/// Why a call is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The scheduler refused or dropped it.
    Scheduled(Reason),
    /// Nobody took its events, and as many wait as may.
    SlowClient,
    /// A newer call with the same idempotency key took over its answer.
    TakenOver,
    /// The service ends.
    Draining,
    /// It failed: the input was wrong after all, or the program is.
    Failed(String),
}

impl Left {
    /// A name for logs and files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scheduled(reason) => reason.name(),
            Self::SlowClient => "slow-client",
            Self::TakenOver => "taken-over",
            Self::Draining => "draining",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why a call was not let in.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub why: RefusedFor,
    /// When it may be worth to try again.
    pub retry_after: Option<Duration>,
    /// In words.
    pub message: String,
    /// What is known of the call, where it came as far as the scheduler.
    pub arrived: Option<Box<Arrived>>,
}

/// What is known of a call at its arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    /// Its number in the service.
    pub id: u64,
    /// When, since the service began.
    pub at: SimTime,
    /// Who called.
    pub app: String,
    /// The objective, the app's where the call states none.
    pub slo: Slo,
    /// What else it asks of the service.
    pub terms: Terms,
    /// The length of its prompt and its objective in quantities; unknown while the model loads.
    pub asked: Option<Asked>,
}

/// What is wrong with a call that was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedFor {
    /// The scheduler refuses it.
    Scheduled(Reason),
    /// A field is out of range.
    BadCall,
    /// No app has that name.
    UnknownApp,
    /// The model has no such level.
    UnknownLevel,
    /// The prompt and the answer are longer than the context.
    TooLong,
    /// Its idempotency key belongs to another call.
    KeyInUse,
    /// The service ends.
    Draining,
    /// The model could not be loaded.
    NotLoaded,
}

impl Refusal {
    /// A refusal that trying again does not help.
    pub fn new(why: RefusedFor, message: impl Into<String>) -> Self {
        Self { why, retry_after: None, message: message.into(), arrived: None }
    }

    /// The refusal of a call that is wrong.
    #[must_use]
    pub fn bad(error: &Error) -> Self {
        Self::new(RefusedFor::BadCall, error.to_string())
    }
}
