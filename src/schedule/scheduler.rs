//! The state machine: what happened goes in, what is to be done comes out.

use std::collections::VecDeque;
use std::time::Duration;

use super::discipline::Discipline;
use super::gate::{Admit, Gate, Quota, WhenFull, is_feasible};
use super::options::{Preempt, ServiceOptions};
use super::reason::Reason;
use super::room::Room;
use super::slots::{Slots, Ticket};
use crate::limits::PRIORITY;
use crate::request::AppId;
use crate::units::SimTime;

/// What the scheduler has to know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// What the driver calls it.
    pub id: u64,
    /// Who calls.
    pub app: AppId,
    /// Its class: the higher, the sooner. At most that of [`PRIORITY`](crate::limits::PRIORITY).
    pub priority: u8,
    /// When its first token, or its last, is due; `NEVER` without such a bound.
    pub due: SimTime,
    /// Whether it takes the place of what its app has in the service.
    pub supersedes: bool,
    /// The least that answering takes. Only [`Admit::IfFeasible`] looks at it.
    pub needs: Needs,
}

impl Job {
    /// A request of `app` that asks for nothing: of the lowest class, and never due.
    #[must_use]
    pub fn plain(id: u64, app: AppId) -> Self {
        let needs = Needs::default();
        Self { id, app, priority: 0, due: SimTime::NEVER, supersedes: false, needs }
    }
}

/// The shortest that any plan takes for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// From its start to what is due, of the plans that meet the rest of its objective; `None` if
    /// there is none.
    pub until_due: Option<Duration>,
    /// From its start to its end, of all plans.
    pub whole: Duration,
}

impl Default for Needs {
    /// No time at all.
    fn default() -> Self {
        Self { until_due: Some(Duration::ZERO), whole: Duration::ZERO }
    }
}

/// What a driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Serve it, from its beginning.
    Start(Ticket),
    /// Go on with it after its last token.
    Resume {
        /// Which.
        ticket: Ticket,
        /// Whether its KV cache is gone.
        read_again: bool,
    },
    /// Stop it at its next token, or at one that is out at this very instant, and say
    /// [`stopped`](Scheduler::stopped), or [`finished`](Scheduler::finished) if that was its last.
    Stop(Ticket),
    /// It is gone, without an answer or with a part of it.
    Leave(Ticket, Reason),
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    /// To make way for a higher class, or to leave.
    Stopping(Option<Reason>),
    /// With a KV cache of so many tokens that is kept, or none.
    Paused(Option<u64>),
}

/// A request in the service.
#[derive(Debug, Clone, Copy)]
struct Held {
    job: Job,
    ticket: Ticket,
    stage: Stage,
    /// The class that it has reached.
    class: u8,
    /// When, while it waits, it will be of the next one.
    ages_at: Option<SimTime>,
}

impl Held {
    fn is_in_room(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Paused(_))
    }
}

/// The scheduler of one service. [The module](super) says how it is driven.
#[derive(Debug)]
pub struct Scheduler {
    options: ServiceOptions,
    held: Slots<Held>,
    room: Room,
    gate: Gate,
    /// How many are in the room.
    waiting: usize,
    /// Who has the server, and when it is expected to be free; in ideal isolation nobody has.
    running: Option<(Ticket, SimTime)>,
    /// Those that will time out, in order of that.
    timeouts: VecDeque<(SimTime, Ticket)>,
    /// Tokens of KV caches that are kept.
    kept_tokens: u64,
    /// Decided and not yet said.
    unsaid: VecDeque<Decision>,
    now: SimTime,
}

impl Scheduler {
    /// The scheduler of a service that is empty.
    ///
    /// # Panics
    /// If the options [contradict each other](ServiceOptions::check).
    #[must_use]
    pub fn new(options: ServiceOptions) -> Self {
        assert!(options.check("service").is_ok(), "options are checked: {options:?}");
        Self {
            options,
            held: Slots::new(),
            room: Room::new(options.discipline, options.ageing()),
            gate: Gate::new(options.quota),
            waiting: 0,
            running: None,
            timeouts: VecDeque::new(),
            kept_tokens: 0,
            unsaid: VecDeque::new(),
            now: SimTime::ZERO,
        }
    }

    /// A request arrives. Whether it is refused, [`decide`](Self::decide) says.
    ///
    /// # Panics
    /// If its class is out of range, or time goes back, here as in all that follows.
    pub fn arrive(&mut self, now: SimTime, job: Job) -> Ticket {
        self.advance(now);
        assert!(u64::from(job.priority) <= PRIORITY.max, "classes are checked");
        if job.supersedes {
            self.supersede(job.app);
        }
        let refused = self.refuses(&job);
        let ticket = self.held.ticket(job.id);
        if let Some(reason) = refused {
            self.unsaid.push_back(Decision::Leave(ticket, reason));
            return ticket;
        }
        self.gate.enter(now, job.app);
        let ages_at = self.room.put(ticket, job.priority, job.due, now);
        let held = Held { job, ticket, stage: Stage::Waiting, class: job.priority, ages_at };
        self.held.put(ticket, held);
        self.waiting += 1;
        if let Some(timeout) = self.options.timeout() {
            self.timeouts.push_back((now.saturating_add(timeout), ticket));
        }
        ticket
    }

    /// The app of `ticket` gives it up; nothing if it is gone.
    pub fn cancel(&mut self, now: SimTime, ticket: Ticket) {
        self.advance(now);
        self.give_up(ticket, Reason::GaveUp);
    }

    /// The server expects to be done with `ticket` at `until`. Who is asked whether a plan is
    /// feasible counts with that.
    pub fn expect_until(&mut self, ticket: Ticket, until: SimTime) {
        if let Some((running, expected)) = &mut self.running
            && *running == ticket
        {
            *expected = until;
        }
    }

    /// The last token of `ticket` is out.
    ///
    /// # Panics
    /// If it was not running.
    pub fn finished(&mut self, now: SimTime, ticket: Ticket) {
        self.advance(now);
        let held = self.remove(ticket).expect("who finishes was there");
        assert!(!held.is_in_room(), "who finishes was running");
        self.release(ticket);
    }

    /// A token of `ticket`, which was told to stop, is out, and it is not the last; its KV cache
    /// has so many tokens.
    ///
    /// # Panics
    /// If it was not told to.
    pub fn stopped(&mut self, now: SimTime, ticket: Ticket, cached_tokens: u64) {
        self.advance(now);
        self.release(ticket);
        let held = self.held.get_mut(ticket).expect("who stops was there");
        let Stage::Stopping(reason) = held.stage else { panic!("who stops was told to") };
        if let Some(reason) = reason {
            self.leave(ticket, reason);
            return;
        }
        let all = self.kept_tokens.saturating_add(cached_tokens);
        let kept = self.options.paused_tokens.is_none_or(|most| all <= most);
        held.stage = Stage::Paused(kept.then_some(cached_tokens));
        self.kept_tokens += if kept { cached_tokens } else { 0 };
        self.waiting += 1;
        held.ages_at = self.room.put(ticket, held.class, held.job.due, now);
    }

    /// What is to be done at `now`, one thing at a time; `None` if nothing more.
    pub fn decide(&mut self, now: SimTime) -> Option<Decision> {
        self.time_out(now);
        if let Some(decision) = self.unsaid.pop_front() {
            return Some(decision);
        }
        match self.running {
            Some((running, _)) => self.interrupt(running),
            None if self.waiting == 0 => None,
            None => self.next().map(|ticket| self.start(ticket)),
        }
    }

    /// Lets those go whose time-out is over; [`decide`](Self::decide) begins with it.
    pub fn time_out(&mut self, now: SimTime) {
        self.advance(now);
        while let Some(&(at, ticket)) = self.timeouts.front()
            && at <= now
        {
            self.timeouts.pop_front();
            self.give_up(ticket, Reason::TimedOut);
        }
    }

    /// What is decided already: what [`decide`](Self::decide) would say first, without looking at
    /// who times out, makes way or is next.
    ///
    /// A server asks it right after a request arrives, to say at once that it is refused.
    pub fn decided(&mut self) -> Option<Decision> {
        self.unsaid.pop_front()
    }

    /// Gives `app` a quota of its own in place of the one that all have; `None`: that one again.
    pub fn set_quota(&mut self, app: AppId, quota: Option<Quota>) {
        self.gate.set_quota(app, quota);
    }

    /// From now on the KV caches of those that are interrupted stay up to so many tokens; `None`:
    /// all of them.
    pub fn set_paused_tokens(&mut self, most: Option<u64>) {
        self.options.paused_tokens = most;
    }

    /// How many of those tokens there may be.
    #[must_use]
    pub fn paused_tokens(&self) -> Option<u64> {
        self.options.paused_tokens
    }

    /// Whether the KV cache of `ticket`, which waits between two tokens, stays; `None` if it does
    /// not wait so.
    #[must_use]
    pub fn keeps(&self, ticket: Ticket) -> Option<bool> {
        match self.held.get(ticket)?.stage {
            Stage::Paused(kept) => Some(kept.is_some()),
            _ => None,
        }
    }

    /// How many of those that wait are served before `ticket`, as things are; `None` if it does not
    /// wait.
    #[must_use]
    pub fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        let own = self.held.get(ticket).filter(|held| held.is_in_room())?;
        let job = Job { priority: own.class, ..own.job };
        let others = self.held.values().filter(|held| held.is_in_room() && held.ticket != ticket);
        let goes_first = |held: &&Held| {
            let before = self.goes_before(held, &job);
            let after = self.goes_before(own, &Job { priority: held.class, ..held.job });
            before && (!after || held.ticket < ticket)
        };
        Some(others.filter(goes_first).count())
    }

    /// When to ask again, though nothing else happens; `None` if there is no need to.
    pub fn wake(&mut self) -> Option<SimTime> {
        while let Some(&(at, ticket)) = self.timeouts.front() {
            if self.held.get(ticket).is_some() {
                return Some(at);
            }
            self.timeouts.pop_front();
        }
        None
    }

    /// How many wait, those that were interrupted included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// It is `now`. Who has aged by then has, however seldom the driver asks.
    fn advance(&mut self, now: SimTime) {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
        self.age();
    }

    fn supersede(&mut self, app: AppId) {
        let older = self.held.values().filter(|held| held.job.app == app);
        let mut older: Vec<Ticket> = older.map(|held| held.ticket).collect();
        older.sort_unstable();
        for ticket in older {
            self.give_up(ticket, Reason::Superseded);
        }
    }

    /// Lets a request go, at its next token if it is running.
    fn give_up(&mut self, ticket: Ticket, reason: Reason) {
        let Some(held) = self.held.get_mut(ticket) else { return };
        match held.stage {
            Stage::Waiting | Stage::Paused(_) => self.leave(ticket, reason),
            Stage::Running => {
                held.stage = Stage::Stopping(Some(reason));
                self.unsaid.push_back(Decision::Stop(ticket));
            }
            Stage::Stopping(None) => held.stage = Stage::Stopping(Some(reason)),
            Stage::Stopping(Some(_)) => {}
        }
    }

    fn leave(&mut self, ticket: Ticket, reason: Reason) {
        self.remove(ticket);
        self.unsaid.push_back(Decision::Leave(ticket, reason));
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Held> {
        let held = self.held.remove(ticket)?;
        self.gate.leave(held.job.app);
        if held.is_in_room() {
            self.waiting -= 1;
        }
        if let Stage::Paused(Some(tokens)) = held.stage {
            self.kept_tokens -= tokens;
        }
        Some(held)
    }

    fn release(&mut self, ticket: Ticket) {
        if self.running.is_some_and(|(running, _)| running == ticket) {
            self.running = None;
        }
    }

    /// Why `job`, which arrives, is refused, if so; someone else may have to go for it.
    fn refuses(&mut self, job: &Job) -> Option<Reason> {
        let refused = self.gate.refuses(self.now, job.app);
        if refused.is_some() {
            return refused;
        }
        let feasible =
            self.options.admit == Admit::All || is_feasible(job, self.now, self.backlog(job));
        if !feasible {
            return Some(Reason::Infeasible);
        }
        let most = self.options.queue_max?;
        if self.held.len() <= most as usize {
            return None;
        }
        let shed = match self.options.when_full {
            WhenFull::Refuse => None,
            WhenFull::ShedLowest => self.lowest_below(job.priority),
        };
        let Some(shed) = shed else { return Some(Reason::QueueFull) };
        self.leave(shed, Reason::Shed);
        None
    }

    /// Of those that were not started, the last of the lowest class below `priority`.
    fn lowest_below(&self, priority: u8) -> Option<Ticket> {
        let lower = self.held.values().filter(|held| held.job.priority < priority);
        let lower = lower.filter(|held| held.stage == Stage::Waiting);
        let last = lower.min_by_key(|held| (held.job.priority, std::cmp::Reverse(held.ticket)));
        last.map(|held| held.ticket)
    }

    /// The least time that passes before `job`, which arrives, would be started.
    fn backlog(&self, job: &Job) -> Duration {
        let running = self.running.and_then(|(ticket, until)| {
            let held = self.held.get(ticket)?;
            let makes_way = self.options.preempt == Preempt::Token && held.class < job.priority;
            let stays = held.stage == Stage::Running && !makes_way;
            stays.then(|| until.max(self.now) - self.now)
        });
        let waiting = self.held.values().filter(|held| held.stage == Stage::Waiting);
        let ahead = waiting.filter(|held| self.goes_before(held, job));
        let needs = ahead.map(|held| held.job.needs.whole);
        needs.fold(running.unwrap_or_default(), Duration::saturating_add)
    }

    /// Whether `held`, which waits, is served before `job`, which arrives.
    fn goes_before(&self, held: &Held, job: &Job) -> bool {
        let due = held.job.due;
        let by_deadline = due <= job.due && (due >= self.now || job.due < self.now);
        match self.options.discipline {
            Discipline::Fifo => true,
            Discipline::Edf => by_deadline,
            Discipline::EdfLateFirst => due <= job.due,
            Discipline::Priority => held.class >= job.priority,
            Discipline::PriorityEdf => {
                held.class > job.priority || held.class == job.priority && by_deadline
            }
        }
    }

    /// Lets those that have waited long enough be of the next class.
    fn age(&mut self) {
        while let Some((since, ticket)) = self.room.aged(self.now) {
            let held = self.held.get_mut(ticket);
            let ages = |held: &&mut Held| held.is_in_room() && held.ages_at == Some(since);
            let Some(held) = held.filter(ages) else { continue };
            held.class += 1;
            held.ages_at = self.room.put(ticket, held.class, held.job.due, since);
        }
    }

    /// Tells the running request to stop if one of a higher class waits.
    fn interrupt(&mut self, running: Ticket) -> Option<Decision> {
        if self.options.preempt == Preempt::None || self.waiting == 0 {
            return None;
        }
        let reached = self.held.get(running).filter(|held| held.stage == Stage::Running)?.class;
        let next = self.next()?;
        if self.held.get(next)?.job.priority <= reached {
            return None;
        }
        self.held.get_mut(running)?.stage = Stage::Stopping(None);
        Some(Decision::Stop(running))
    }

    /// Who is next of those that wait.
    fn next(&mut self) -> Option<Ticket> {
        let (held, classes) = (&self.held, self.options.discipline.has_classes());
        self.room.front(self.now, |ticket, class| {
            let held = held.get(ticket).filter(|held| held.is_in_room());
            held.is_some_and(|held| !classes || held.class == class)
        })
    }

    /// Takes up `ticket`, which is next.
    fn start(&mut self, ticket: Ticket) -> Decision {
        let held = self.held.get_mut(ticket).expect("who is next is here");
        self.room.take(held.class, self.now);
        self.waiting -= 1;
        let before = std::mem::replace(&mut held.stage, Stage::Running);
        if !self.options.ideal_isolation {
            self.running = Some((ticket, self.now));
        }
        match before {
            Stage::Paused(kept) => {
                self.kept_tokens -= kept.unwrap_or(0);
                Decision::Resume { ticket, read_again: kept.is_none() }
            }
            _ => Decision::Start(ticket),
        }
    }
}
