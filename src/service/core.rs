//! Who is in the service and what the scheduler has decided of them: what callers and the worker
//! share, behind one lock that is never held while something is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::backend::{Asked, Front, Step};
use super::entry::{Arrival, Entry};
use super::event::{Event, FinishReason, Left, PlanReport, Refusal, RefusedFor, Weighed};
use super::keyed::Answers;
use super::mailbox::Mailbox;
use super::registry::Registry;
use super::status::Counted;
use super::{Options, refusal};
use crate::request::{Bounds, Slo};
use crate::schedule::{Decision, Job, Needs, Scheduler};
use crate::units::SimTime;

/// How much the newest answer counts in the mean time of one.
const NEWEST: u32 = 8;
/// Decisions that are remembered, for tests and for whoever asks.
pub(super) type Log = Vec<(SimTime, Decision)>;

/// What there is to answer with.
#[derive(Debug, Clone)]
pub(super) enum Model {
    Loading,
    Ready(Arc<dyn Front>),
    Failed(String),
}

/// The call that has the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub id: u64,
    pub phase: Phase,
    /// It is to stop at its next token.
    is_to_stop: bool,
}

/// What the worker does with it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Resume,
    Going,
}

/// What the worker is to tell the backend before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Pause { id: u64, keep: bool },
    Forget(u64),
}

#[derive(Debug)]
pub(super) struct Core {
    pub scheduler: Scheduler,
    pub entries: BTreeMap<u64, Entry>,
    pub running: Option<Running>,
    pub model: Model,
    pub registry: Registry,
    pub is_draining: bool,
    /// Nobody can call any more.
    pub is_closed: bool,
    pub log: Option<Log>,
    answers: Answers,
    /// When calls with a time-out are given up.
    timeouts: BTreeSet<(SimTime, u64)>,
    orders: Vec<Order>,
    events_max: usize,
    paused_bytes_max: Option<u64>,
    /// Most tokens of interrupted calls that stay in memory, whatever their bytes.
    paused_tokens: Option<u64>,
    /// What an answer takes, the last ones above all.
    mean_answer: Option<Duration>,
    next_id: u64,
}

impl Core {
    pub fn new(options: &Options, registry: Registry) -> Self {
        let mut scheduler = Scheduler::new(options.schedule);
        registry.set_quotas(&mut scheduler);
        Self {
            scheduler,
            entries: BTreeMap::new(),
            running: None,
            model: Model::Loading,
            registry,
            is_draining: false,
            is_closed: false,
            log: None,
            answers: Answers::default(),
            timeouts: BTreeSet::new(),
            orders: Vec::new(),
            events_max: options.events_max,
            paused_bytes_max: options.paused_bytes_max,
            paused_tokens: options.schedule.paused_tokens,
            mean_answer: None,
            next_id: 0,
        }
    }

    /// The answer of an earlier call with the same idempotency key, if there is one.
    pub fn taken_over(&mut self, arrival: &Arrival) -> Result<Option<Taken>, Refusal> {
        let Arrival { call, app, .. } = arrival;
        let Some(key) = &call.idempotency_key else { return Ok(None) };
        let in_use = || Err(refusal::key_in_use());
        let same = |entry: &&mut Entry| {
            entry.app == *app && entry.call.idempotency_key.as_ref() == Some(key)
        };
        if let Some(entry) = self.entries.values_mut().find(same) {
            if entry.call != *call {
                return in_use();
            }
            return Ok(Some((entry.ticket.id, entry.hand_over(self.events_max))));
        }
        match self.answers.get(*app, key) {
            Some((of, _)) if of != call => in_use(),
            Some((_, told)) => {
                let told = told.clone();
                Ok(Some((self.number(), Mailbox::new(told, 0))))
            }
            None => Ok(None),
        }
    }

    /// The number of the call that arrives next.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// A call arrives; whether it is refused is known at once.
    pub fn arrive(&mut self, now: SimTime, arrival: Arrival) -> Result<Taken, Refusal> {
        if let Model::Failed(why) = &self.model {
            return Err(Refusal::new(RefusedFor::NotLoaded, why.clone()));
        }
        if self.is_draining || self.is_closed {
            return Err(refusal::draining());
        }
        if let Some(taken) = self.taken_over(&arrival)? {
            return Ok(taken);
        }
        let id = self.number();
        let Arrival { app, priority, supersedes, timeout, .. } = arrival;
        self.registry.count(app, |counted| counted.calls += 1);
        let due = due(&arrival).map_or(SimTime::NEVER, |due| now.saturating_add(due));
        let needs = arrival.asked.map_or_else(Needs::default, |asked| asked.needs);
        let ticket = self.scheduler.arrive(now, Job { id, app, priority, due, supersedes, needs });
        let entry = Entry::new(now, ticket, arrival, self.events_max);
        let mailbox = Arc::clone(&entry.mailbox);
        self.entries.insert(id, entry);
        if let Some(timeout) = timeout {
            self.timeouts.insert((now.saturating_add(timeout), id));
        }
        let mut refused = None;
        while let Some(decision) = self.scheduler.decided() {
            if let Decision::Leave(gone, reason) = decision
                && gone == ticket
            {
                refused = Some(reason);
            }
            self.act(now, decision);
        }
        match refused {
            Some(reason) => Err(refusal::scheduled(reason, self.retry_after())),
            None => Ok((id, mailbox)),
        }
    }

    /// How long those take that are in the service: when it may be worth to try again.
    fn retry_after(&self) -> Duration {
        const AT_LEAST: Duration = Duration::from_secs(1);
        let calls = self.entries.len().max(1) as u32;
        (self.mean_answer.unwrap_or_default() * calls).max(AT_LEAST)
    }

    /// Whoever called gives it up, or is too slow; nothing if it is gone.
    pub fn give_up(&mut self, now: SimTime, id: u64, why: Option<Left>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.why.is_none() {
            entry.why = why;
        }
        let ticket = entry.ticket;
        self.scheduler.cancel(now, ticket);
        self.obey_decided(now);
    }

    /// Lets those go whose time is over.
    fn time_out(&mut self, now: SimTime) {
        while let Some(&(at, id)) = self.timeouts.first()
            && at <= now
        {
            self.timeouts.pop_first();
            let why = Left::Scheduled(crate::schedule::Reason::TimedOut);
            self.give_up(now, id, Some(why));
        }
    }

    /// Asks the scheduler while the server is busy: nobody starts, some may have to stop or leave.
    pub fn look(&mut self, now: SimTime) {
        self.time_out(now);
        if self.running.is_none() {
            self.scheduler.time_out(now);
            return self.obey_decided(now);
        }
        while let Some(decision) = self.scheduler.decide(now) {
            self.act(now, decision);
        }
    }

    fn obey_decided(&mut self, now: SimTime) {
        while let Some(decision) = self.scheduler.decided() {
            self.act(now, decision);
        }
    }

    /// Asks the scheduler between two steps, until it has nothing to say. `cached` is the number of
    /// tokens in the KV cache of the running call.
    pub fn decide(&mut self, now: SimTime, cached: impl Fn(u64) -> u64) {
        self.time_out(now);
        loop {
            let decision = self.scheduler.decide(now);
            if let Some(decision) = decision {
                self.act(now, decision);
            }
            if !self.make_way(now, &cached) && decision.is_none() {
                return;
            }
        }
    }

    /// The running call stops, if it was told to; whether it was. Right after a step, before
    /// anything else of that instant, and between two.
    pub fn make_way(&mut self, now: SimTime, cached: impl Fn(u64) -> u64) -> bool {
        let stops = self.running.filter(|running| running.is_to_stop);
        if let Some(running) = stops {
            self.stop(now, running.id, cached(running.id));
        }
        stops.is_some()
    }

    /// When the scheduler has to be asked again though nothing happens.
    pub fn wake(&mut self) -> Option<SimTime> {
        let timeout = self.timeouts.first().map(|&(at, _)| at);
        timeout.into_iter().chain(self.scheduler.wake()).min()
    }

    /// What the backend is to be told.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    fn act(&mut self, now: SimTime, decision: Decision) {
        if let Some(log) = &mut self.log {
            log.push((now, decision));
        }
        let run = |id, phase| Some(Running { id, phase, is_to_stop: false });
        match decision {
            Decision::Start(ticket) => {
                self.running = run(ticket.id, Phase::Start);
                self.entry(ticket.id).started = Some(now);
            }
            Decision::Resume { ticket, .. } => {
                let entry = self.entry(ticket.id);
                entry.resumes(now);
                // One that made way before it was planned begins anew.
                let phase = if entry.plan.is_some() { Phase::Resume } else { Phase::Start };
                self.running = run(ticket.id, phase);
            }
            Decision::Stop(ticket) => {
                let running = self.running.as_mut().filter(|running| running.id == ticket.id);
                running.expect("who is to stop runs").is_to_stop = true;
            }
            Decision::Leave(ticket, reason) => self.leave(ticket.id, Left::Scheduled(reason)),
        }
    }

    fn entry(&mut self, id: u64) -> &mut Entry {
        self.entries.get_mut(&id).expect("who is served is here")
    }

    fn leave(&mut self, id: u64, left: Left) {
        let mut entry = self.entries.remove(&id).expect("who leaves was here");
        let left = entry.why.take().unwrap_or(left);
        let tokens = u64::from(entry.output_tokens);
        self.registry.count(entry.app, |counted| {
            let of_reason = counted.left.entry(left.name()).or_default();
            *of_reason += 1;
            counted.wasted_tokens += tokens;
        });
        let _ = entry.tell(Event::Left(left));
        if entry.started.is_some() {
            self.orders.push(Order::Forget(id));
        }
    }

    /// The running call stops: it waits for its turn, or leaves.
    fn stop(&mut self, now: SimTime, id: u64, cached: u64) {
        self.running = None;
        let entry = self.entry(id);
        let (ticket, is_planned) = (entry.ticket, entry.plan.is_some());
        entry.paused_at = is_planned.then_some(now);
        self.scheduler.stopped(now, ticket, cached);
        if let Some(keep) = self.scheduler.keeps(ticket).filter(|_| is_planned) {
            self.orders.push(Order::Pause { id, keep });
        }
    }

    /// The running call is planned; it is expected to take so long from now on.
    pub fn planned(&mut self, now: SimTime, id: u64, plan: PlanReport, takes: Duration) {
        let app = self.entry(id).app;
        let tokens = [plan.prompt_tokens_before, plan.prompt_tokens_after, plan.cached_tokens];
        let [before, after, cached] = tokens.map(u64::from);
        self.registry.count(app, |counted| {
            counted.prompt_tokens_before += before;
            counted.prompt_tokens_after += after;
            counted.cached_tokens += cached;
        });
        let entry = self.entry(id);
        entry.plan = Some(plan.clone());
        // The first event always finds room.
        let _ = entry.tell(Event::Planned(plan));
        self.goes_on(now, id, takes);
    }

    /// The running call goes on, for so long as it is expected.
    pub fn goes_on(&mut self, now: SimTime, id: u64, takes: Duration) {
        let ticket = self.entry(id).ticket;
        self.scheduler.expect_until(ticket, now.saturating_add(takes));
        if let Some(running) = &mut self.running {
            running.phase = Phase::Going;
        }
    }

    /// A step of the running call is done.
    pub fn stepped(&mut self, now: SimTime, id: u64, step: Step) {
        match step {
            Step::Reading => {}
            Step::Token(written) => {
                let entry = self.entry(id);
                let (token, finish) = entry.token(now, written);
                let told = entry.tell(Event::Token(token));
                if told.is_err() {
                    self.give_up(now, id, Some(Left::SlowClient));
                } else if let Some(finish) = finish {
                    self.finish(now, id, finish, Vec::new());
                }
            }
            Step::Weighed(options) => {
                self.entry(id).weighed(now);
                self.finish(now, id, FinishReason::Stop, options);
            }
        }
    }

    fn finish(&mut self, now: SimTime, id: u64, finish: FinishReason, options: Vec<Weighed>) {
        self.running = None;
        let mut entry = self.entries.remove(&id).expect("who finishes was here");
        self.scheduler.finished(now, entry.ticket);
        let done = entry.done(finish, options);
        let took = now - entry.started.expect("who finishes was started");
        let before = self.mean_answer.unwrap_or(took);
        self.mean_answer = Some((before * (NEWEST - 1) + took) / NEWEST);
        self.registry.count(entry.app, |counted| counted.finished(&done));
        let _ = entry.tell(Event::Finished(done));
        if let (Some(told), Some(key)) = (entry.take_told(), &entry.call.idempotency_key) {
            self.answers.keep(entry.app, key.clone(), Arc::clone(&entry.call), told);
        }
        self.orders.push(Order::Forget(id));
    }

    /// The running call failed: it leaves at once.
    pub fn failed(&mut self, now: SimTime, id: u64, why: String) {
        let ticket = self.entry(id).ticket;
        self.give_up(now, id, Some(Left::Failed(why)));
        self.running = None;
        self.scheduler.stopped(now, ticket, 0);
    }

    /// All that are here leave.
    pub fn dismiss(&mut self, now: SimTime, why: &Left) {
        let all: Vec<u64> = self.entries.keys().copied().collect();
        for id in all {
            self.give_up(now, id, Some(why.clone()));
        }
    }

    /// The model is there, or will never be.
    pub fn loaded(&mut self, now: SimTime, model: Result<Arc<dyn Front>, String>) {
        match model {
            Ok(front) => {
                self.bound_paused(front.card().cache_bytes_per_token);
                self.model = Model::Ready(front);
            }
            Err(why) => {
                self.dismiss(now, &Left::Failed(why.clone()));
                self.model = Model::Failed(why);
            }
        }
    }
}

impl Core {
    /// Bounds the KV caches of those that are interrupted, now that it is known what a token takes.
    fn bound_paused(&mut self, bytes_per_token: u64) {
        let of_bytes = self.paused_bytes_max.and_then(|most| most.checked_div(bytes_per_token));
        let most = self.paused_tokens.into_iter().chain(of_bytes).min();
        self.scheduler.set_paused_tokens(most);
    }
}

/// A call that was let in: its number, and where its events come.
pub(super) type Taken = (u64, Arc<Mailbox>);

/// How long after its arrival the first token of a call, or its last, is due.
fn due(arrival: &Arrival) -> Option<Duration> {
    match (arrival.asked, arrival.slo) {
        (Some(Asked { bounds, .. }), _) => bounds.first_token_due(),
        (None, Slo::Absolute { ttft, tpot }) => Bounds::Latency { ttft, tpot }.first_token_due(),
        (None, _) => None,
    }
}

impl Counted {
    fn finished(&mut self, done: &super::event::Done) {
        self.finished += 1;
        self.met += u64::from(done.met == Some(true));
        self.missed += u64::from(done.met == Some(false));
        self.output_tokens += u64::from(done.output_tokens);
    }
}
