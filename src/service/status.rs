//! What the service is doing: for a page, a program that watches, an app that asks for its place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::ModelCard;
use super::core::{Core, Model};
use super::entry::Entry;
use crate::units::{Level, Ratio, SimTime};

/// What the service is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Whether it answers.
    pub state: State,
    /// What it answers with, once it is loaded.
    pub model: Option<ModelCard>,
    /// The level whose weights are resident.
    pub resident: Option<Level>,
    /// The call that is being answered.
    pub running: Option<InService>,
    /// Those that wait, the next one first.
    pub queue: Vec<InService>,
    /// What each app that called did, by name.
    pub apps: BTreeMap<String, Counted>,
    /// How long the service has been there.
    pub up: Duration,
}

/// Whether the service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The model is being loaded; calls wait.
    Loading,
    /// It answers.
    Ready,
    /// It answers those that are there, and takes no more.
    Draining,
    /// The model could not be loaded.
    Failed(String),
}

/// A call in the service.
#[derive(Debug, Clone, PartialEq)]
pub struct InService {
    /// Its number.
    pub id: u64,
    /// Who called.
    pub app: String,
    /// Its class.
    pub priority: u8,
    /// How many are served before it; 0 for the one that is.
    pub position: usize,
    /// Since its arrival.
    pub age: Duration,
    /// Its plan, once it was taken up.
    pub plan: Option<(Level, Ratio)>,
    /// Tokens that are out.
    pub output_tokens: u32,
}

/// What an app did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls, refused ones included.
    pub calls: u64,
    /// Answered.
    pub finished: u64,
    /// Of these, within their objective.
    pub met: u64,
    /// Of these, not.
    pub missed: u64,
    /// Gone without an answer, by reason.
    pub left: BTreeMap<&'static str, u64>,
    /// Tokens of prompts before cutting.
    pub prompt_tokens_before: u64,
    /// Tokens of prompts after it.
    pub prompt_tokens_after: u64,
    /// Of these, how many a KV cache already had.
    pub cached_tokens: u64,
    /// Tokens of answers that were finished.
    pub output_tokens: u64,
    /// Tokens that were written for calls that then left.
    pub wasted_tokens: u64,
}

impl Status {
    pub(super) fn of(core: &Core, now: SimTime, resident: Option<Level>) -> Self {
        let running = core.running.map(|running| running.id);
        let of = |id: u64, entry: &Entry, position: usize| InService {
            id,
            app: core.registry.name(entry.app).to_owned(),
            priority: entry.priority,
            position,
            age: now - entry.arrival,
            plan: entry.plan.as_ref().map(|plan| (plan.level, plan.prompt_ratio)),
            output_tokens: entry.output_tokens,
        };
        let waits = |(&id, entry): (&u64, &Entry)| {
            let ahead = core.scheduler.ahead_of(entry.ticket)?;
            Some(of(id, entry, ahead + 1))
        };
        let mut queue: Vec<InService> = core.entries.iter().filter_map(waits).collect();
        queue.sort_by_key(|waiting| (waiting.position, waiting.id));
        let (state, model) = match &core.model {
            Model::Failed(why) => (State::Failed(why.clone()), None),
            Model::Loading => (State::Loading, None),
            Model::Ready(front) if core.is_draining => {
                (State::Draining, Some(front.card().clone()))
            }
            Model::Ready(front) => (State::Ready, Some(front.card().clone())),
        };
        Self {
            state,
            model,
            resident,
            running: running.and_then(|id| Some(of(id, core.entries.get(&id)?, 0))),
            queue,
            apps: core.registry.counted(),
            up: now - SimTime::ZERO,
        }
    }
}
