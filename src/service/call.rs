//! What an app asks of the service: a prompt, an objective, terms.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::{PRIORITY, TOKENS};
use crate::request::Slo;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// One call of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who calls, by the name in [`apps`](super::apps::ServiceApps); empty: nobody in particular.
    pub app: String,
    /// What to answer.
    pub prompt: Prompt,
    /// Texts that the answer may draw on. They stand before the question, and may be cut.
    pub documents: Vec<String>,
    /// Answers to choose among; with some the model weighs them and writes nothing of its own.
    pub options: Vec<String>,
    /// How soon.
    pub objective: Objective,
    /// The sub-model to answer with; absent: the service chooses.
    pub level: Option<Level>,
    /// The share of the prompt's tokens to read, one of [`PROMPT_RATIOS`]; absent: the service
    /// chooses.
    pub prompt_ratio: Option<Ratio>,
    /// The class: the higher, the sooner; absent: the app's.
    pub priority: Option<u8>,
    /// Most tokens to write.
    pub max_tokens: u32,
    /// How many it is expected to write, where that is less: what plans are made for; absent: as
    /// many as the app's answers are said to have.
    pub expected_tokens: Option<u32>,
    /// Texts at which the answer ends; they are not part of it.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many of the likeliest tokens to tell beside each; absent: no probabilities at all.
    pub top_logprobs: Option<u8>,
    /// After how long from its arrival the call is given up; absent: the app's, or never.
    pub timeout: Option<Duration>,
    /// Whether it takes the place of what its app has in the service; absent: as the app says.
    pub supersedes: Option<bool>,
    /// Two calls of an app with one key are one: the later takes over the answer of the earlier.
    pub idempotency_key: Option<String>,
    /// Whether nothing of the prompt may be cut, as where tools are described in JSON.
    pub keep_whole: bool,
}

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Turns of a conversation, put into the model's format; the model writes the next.
    Chat(Vec<Message>),
    /// A text that the model goes on with, as it stands.
    Text(String),
}

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose.
    pub role: Role,
    /// What was said.
    pub content: String,
    /// Whether it may be cut.
    pub cut: Cut,
}

impl Message {
    /// A turn without marks.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), cut: Cut::AsUsual }
    }
}

/// Whether a message may be cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// Unless it is the last of the user.
    #[default]
    AsUsual,
    /// Even then: it is a document.
    Document,
    /// Never.
    Never,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What the model is to be.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name in chat templates and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// How soon an answer is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Objective {
    /// As the app's entry says.
    #[default]
    AppDefault,
    /// As said here.
    Stated(Slo),
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0: the likeliest token, always.
    pub temperature: f32,
    /// The likeliest tokens that have this share of the probability are drawn from; in (0, 1].
    pub top_p: f32,
    /// Of the draws; absent: one of the call's own.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    /// The likeliest token, always.
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, seed: None }
    }
}

/// Most stop texts of a call.
const STOPS_MAX: usize = 16;
/// Most of the likeliest tokens that can be told.
const TOP_LOGPROBS_MAX: u8 = 20;
const TEMPERATURE_MAX: f32 = 2.0;
/// Most answers to choose among.
const OPTIONS_MAX: usize = 64;

impl Call {
    /// A call of `app` that asks `question` in a conversation of one turn, for up to 256 tokens.
    pub fn ask(app: impl Into<String>, question: impl Into<String>) -> Self {
        Self::new(app, Prompt::Chat(vec![Message::new(Role::User, question)]))
    }

    /// A call of `app` with `prompt`, for up to 256 tokens.
    pub fn new(app: impl Into<String>, prompt: Prompt) -> Self {
        Self {
            app: app.into(),
            prompt,
            documents: Vec::new(),
            options: Vec::new(),
            objective: Objective::AppDefault,
            level: None,
            prompt_ratio: None,
            priority: None,
            max_tokens: 256,
            expected_tokens: None,
            stop: Vec::new(),
            sampling: Sampling::default(),
            top_logprobs: None,
            timeout: None,
            supersedes: None,
            idempotency_key: None,
            keep_whole: false,
        }
    }

    /// Refuses what is out of range, or makes no sense together.
    ///
    /// # Errors
    /// Names the field, what it is and what is allowed.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, found: String, allowed: &str| {
            Err(Error::new("call", "out of range").at(key).found(found).allowed(allowed))
        };
        TOKENS.check("call", "max_tokens", self.max_tokens.into())?;
        PRIORITY.check("call", "priority", self.priority.unwrap_or(0).into())?;
        let Sampling { temperature, top_p, .. } = self.sampling;
        if !(0.0..=TEMPERATURE_MAX).contains(&temperature) {
            return wrong("temperature", temperature.to_string(), "a number from 0 to 2");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return wrong("top_p", top_p.to_string(), "a number in (0, 1]");
        }
        if let Some(ratio) = self.prompt_ratio
            && !PROMPT_RATIOS.contains(&ratio)
        {
            return wrong("prompt_ratio", ratio.to_string(), "0.1, 0.2, … 1");
        }
        if self.top_logprobs.is_some_and(|count| count > TOP_LOGPROBS_MAX) {
            return wrong("top_logprobs", format!("{:?}", self.top_logprobs), "0 to 20");
        }
        if self.stop.len() > STOPS_MAX || self.stop.iter().any(String::is_empty) {
            return wrong("stop", format!("{:?}", self.stop), "up to 16 texts, none empty");
        }
        let options = self.options.len();
        if options == 1 || options > OPTIONS_MAX || self.options.iter().any(String::is_empty) {
            return wrong("options", format!("{options}"), "none, or 2 to 64, none empty");
        }
        self.check_prompt()
    }

    fn check_prompt(&self) -> Result<()> {
        let wrong = |found: &str, allowed: &str| {
            let error = Error::new("call", "nothing to answer").at("prompt");
            Err(error.found(found).allowed(allowed))
        };
        match &self.prompt {
            Prompt::Text(text) if text.is_empty() => wrong("an empty text", "at least one letter"),
            Prompt::Chat(messages) if messages.is_empty() => wrong("no message", "one or more"),
            _ => Ok(()),
        }
    }
}
