//! When each request is sent: at its arrival, or once an app or a user has the answer to its last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::client::{Client, Streamed};
use super::prompts::Prompts;
use super::question::{Pinned, Question};
use super::row::Played;
use crate::error::{Error, Result};
use crate::experiment::Progress;
use crate::request::{AppId, Request};
use crate::trace::Trace;
use crate::units::{Level, Ratio, SimTime};

/// When requests are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sending {
    /// At their arrivals, whatever became of those before.
    #[default]
    Open,
    /// By apps that wait for their answer, and then think as long as the trace has between two of
    /// their requests: a `closed_loop` of the simulator.
    Closed,
    /// By so many users who take turns and ask again once they have their answer.
    Users(usize),
}

/// How a trace is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlayOptions {
    /// When requests are sent.
    pub sending: Sending,
    /// Nothing is sent after so long; absent: the whole trace is.
    pub most: Option<Duration>,
    /// The level that answers every prompt, whole; absent: the service chooses.
    pub pinned: Option<Level>,
}

impl PlayOptions {
    fn plan(&self) -> Pinned {
        Pinned { level: self.pinned, prompt_ratio: self.pinned.map(|_| Ratio::ONE) }
    }
}

/// Plays `trace` against the server of `client`, and waits for all answers. Rows are in order of
/// sending.
///
/// # Errors
/// If the server cannot be reached, a request cannot be put to it, or none was sent.
///
/// # Panics
/// Never, unless a thread that calls does.
pub fn play(
    trace: &Trace,
    prompts: &Prompts,
    client: &Client,
    options: &PlayOptions,
    progress: &dyn Progress,
) -> Result<Vec<Played>> {
    let base = client.base_model()?;
    let question = |request| Question::of(trace, request, prompts, &base, options.plan());
    let streamed = |request| Ok((request, question(request)?.streamed()));
    let questions = trace.requests.iter().map(streamed).collect::<Result<Vec<_>>>()?;
    progress.start(questions.len() as u64);
    let stage = Stage {
        trace,
        client,
        progress,
        questions,
        began: client.now(),
        most: options.most,
        played: Mutex::default(),
    };
    match options.sending {
        Sending::Open => stage.open(),
        Sending::Closed => stage.closed(),
        Sending::Users(users) => stage.users(users),
    }
    let mut played = stage.played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by(|a, b| a.sent_ms.total_cmp(&b.sent_ms).then(a.id.cmp(&b.id)));
    if played.is_empty() {
        return Err(Error::new("trace", "no request is sent in that time")
            .found(format!("{:?}", options.most.unwrap_or_default()))
            .allowed("longer than until the first arrival"));
    }
    Ok(played)
}

/// What all threads of a play share.
struct Stage<'a> {
    trace: &'a Trace,
    client: &'a Client,
    progress: &'a dyn Progress,
    questions: Vec<(&'a Request, Question)>,
    began: SimTime,
    most: Option<Duration>,
    played: Mutex<Vec<Played>>,
}

impl Stage<'_> {
    /// A thread for each request, at its arrival.
    fn open(&self) {
        let first = self.first();
        thread::scope(|scope| {
            for (request, question) in &self.questions {
                let due = request.arrival - first;
                if !self.wait_until(due) {
                    break;
                }
                scope.spawn(move || self.send(request, question));
            }
        });
    }

    /// A thread for each app.
    fn closed(&self) {
        let mut by_app = BTreeMap::<AppId, Vec<&(&Request, Question)>>::new();
        for question in &self.questions {
            by_app.entry(question.0.app).or_default().push(question);
        }
        let first = self.first();
        thread::scope(|scope| {
            for questions in by_app.values() {
                scope.spawn(move || {
                    let mut thinks_until = questions[0].0.arrival - first;
                    for (nth, (request, question)) in questions.iter().enumerate() {
                        if !self.wait_until(thinks_until) {
                            return;
                        }
                        self.send(request, question);
                        if let Some((next, _)) = questions.get(nth + 1) {
                            thinks_until = self.age() + (next.arrival - request.arrival);
                        }
                    }
                });
            }
        });
    }

    /// A thread for each user.
    fn users(&self, users: usize) {
        thread::scope(|scope| {
            for user in 0..users {
                scope.spawn(move || {
                    for (request, question) in self.questions.iter().skip(user).step_by(users) {
                        if !self.wait_until(Duration::ZERO) {
                            return;
                        }
                        self.send(request, question);
                    }
                });
            }
        });
    }

    /// When the first request of the trace arrives.
    fn first(&self) -> SimTime {
        self.questions.first().map_or(SimTime::ZERO, |(request, _)| request.arrival)
    }

    /// The time since the play began.
    fn age(&self) -> Duration {
        self.client.now() - self.began
    }

    /// Waits until the play is so old; `false`, at once, if nothing is sent any more by then.
    fn wait_until(&self, due: Duration) -> bool {
        let age = self.age();
        let may_send = self.most.is_none_or(|most| due.max(age) <= most);
        if may_send {
            thread::sleep(due.saturating_sub(age));
        }
        may_send
    }

    fn send(&self, request: &Request, question: &Question) {
        let sent = self.age();
        let came = self.client.follow(question).unwrap_or_else(|error| Streamed {
            refused: Some(format!("no-answer: {error}")),
            ..Streamed::default()
        });
        let row = Played::of(self.trace, request, sent, &came);
        self.played.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        self.progress.advance(1);
    }
}
