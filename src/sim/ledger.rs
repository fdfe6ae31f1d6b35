//! The lines of a fast replay: what becomes of a request of each kind while each level is resident.
//!
//! A policy that depends on no more than that, and on the wait, and an executor that repeats itself
//! are asked when a line is first needed, once; from then on a request is a look-up.

use std::time::Duration;

use super::service::end_of;
use crate::error::{Error, Result};
use crate::executor::Repeats;
use crate::outcome::{Interruptions, Outcome, Standing};
use crate::plan::Plan;
use crate::policy::{DependsOn, Policy, ServiceView, Step};
use crate::request::{Bounds, Request, RequestView};
use crate::units::{Grade, Level, SimTime};

/// Marks a place whose line is not yet there.
const EMPTY: u32 = u32::MAX;

/// Lines, filled as they are needed, for any number of replays over the same kinds of requests.
#[derive(Debug)]
pub struct Ledger<'a> {
    kinds: &'a [Request],
    bounds: Vec<Bounds>,
    policy: Box<dyn Policy>,
    executor: Box<dyn Repeats + Send + 'a>,
    by_wait: bool,
    /// Levels that were resident, numbered from 1; 0 is none.
    levels: Vec<Level>,
    /// By kind, then number of the resident level: a line, or the first of some steps.
    places: Vec<u32>,
    /// Numbers of levels that `places` has room for.
    room: usize,
    /// Steps of a policy that depends on the wait, place by place, up to `u64::MAX` each.
    steps: Vec<StepLine>,
    lines: Vec<Line>,
    /// What lines say beside.
    entries: Vec<Entry>,
    /// Lines of the replay at hand.
    touched: Vec<u32>,
}

/// What the loop needs of a line, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line {
    /// From the start of service to its end, in ns.
    pub takes: u64,
    /// From the start of service to the first token, in ns.
    pub first_token: u64,
    /// The first wait, in ns, that is too long.
    pub late_from: u64,
    /// Number of the level that is resident afterwards.
    pub level: u32,
    /// How right the answer is, if it was judged; one that misses a bound whatever it waits is
    /// wrong.
    pub worth: Option<Grade>,
    /// Requests of the replay at hand.
    requests: u64,
    /// Of these, those that waited too long.
    late: u64,
}

/// What became of requests of one kind that were planned alike.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Such a request that did not wait. Its instants and its id are not those of the trace.
    pub outcome: Outcome,
    /// What waiting does to it.
    pub standing: Standing,
    /// Whether the policy counted it among its fallbacks.
    pub fell_back: bool,
}

/// How many requests of a replay had an entry.
#[derive(Debug, Clone, Copy)]
pub struct Entered<'a> {
    /// What they had in common.
    pub entry: &'a Entry,
    /// Those that did not wait too long.
    pub in_time: u64,
    /// Those that did.
    pub late: u64,
}

#[derive(Debug, Clone, Copy)]
struct StepLine {
    step: Step,
    line: u32,
}

impl<'a> Ledger<'a> {
    /// An empty ledger for requests of these `kinds`, each under its bounds; `None` if the plans of
    /// `policy` depend on more than a ledger knows.
    ///
    /// A kind's id, by which policy and executor may know it, is any that they were made for.
    ///
    /// # Panics
    /// If there are not as many bounds as kinds.
    #[must_use]
    pub fn new(
        kinds: &'a [Request],
        bounds: Vec<Bounds>,
        policy: Box<dyn Policy>,
        executor: Box<dyn Repeats + Send + 'a>,
    ) -> Option<Self> {
        assert_eq!(kinds.len(), bounds.len(), "every kind has its bounds");
        let by_wait = match policy.depends_on() {
            DependsOn::Kind | DependsOn::Resident => false,
            DependsOn::Wait => true,
            DependsOn::History => return None,
        };
        let room = 4;
        Some(Self {
            kinds,
            bounds,
            policy,
            executor,
            by_wait,
            levels: Vec::new(),
            places: vec![EMPTY; kinds.len() * room],
            room,
            steps: Vec::new(),
            lines: Vec::new(),
            entries: Vec::new(),
            touched: Vec::new(),
        })
    }

    /// Forgets the counts of the replay before.
    pub(super) fn begin(&mut self) {
        for line in self.touched.drain(..) {
            let Line { requests, late, .. } = &mut self.lines[line as usize];
            (*requests, *late) = (0, 0);
        }
    }

    /// What the requests of the last replay had entered, in order of first need.
    pub fn entered(&self) -> impl Iterator<Item = Entered<'_>> {
        self.touched.iter().map(|&place| {
            let (entry, line) = (&self.entries[place as usize], &self.lines[place as usize]);
            Entered { entry, in_time: line.requests - line.late, late: line.late }
        })
    }

    /// The entry with this number.
    #[must_use]
    pub fn entry(&self, number: u32) -> &Entry {
        &self.entries[number as usize]
    }

    /// Whether the policy counts fallbacks.
    #[must_use]
    pub fn counts_fallbacks(&self) -> bool {
        self.policy.fallbacks().is_some()
    }

    /// When, after its arrival, the first token of a request of `kind` is due; `None` if never.
    pub(super) fn due(&self, kind: u32) -> Option<Duration> {
        self.bounds[kind as usize].first_token_due()
    }

    /// The number of the line of a request of `kind` that has waited `wait` ns while the level
    /// numbered `resident` is in memory.
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    pub(super) fn number_of(&mut self, kind: u32, resident: u32, wait: u64) -> Result<u32> {
        let mut number = self.places[kind as usize * self.room + resident as usize];
        if self.by_wait && number != EMPTY {
            number = self.steps[self.step(number, wait)].line;
        }
        if number == EMPTY { self.fill(kind, resident, wait) } else { Ok(number) }
    }

    /// The line with this number, a request that has waited `wait` ns counted in.
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    pub(super) fn enter(&mut self, number: u32, wait: u64) -> &Line {
        if self.lines[number as usize].requests == 0 {
            self.touched.push(number);
        }
        let line = &mut self.lines[number as usize];
        line.requests += 1;
        line.late += u64::from(wait >= line.late_from);
        line
    }

    /// The step, of those from `place` on, of a request that has waited `wait` ns.
    #[inline]
    fn step(&self, place: u32, wait: u64) -> usize {
        let mut step = place as usize;
        while self.steps[step].step.until_ns < wait {
            step += 1;
        }
        step
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, kind: u32, resident: u32, wait: u64) -> Result<u32> {
        let level = resident.checked_sub(1).map(|number| self.levels[number as usize]);
        let at = |room: usize| kind as usize * room + resident as usize;
        if !self.by_wait {
            let before = self.policy.fallbacks();
            let (request, bounds) = (&self.kinds[kind as usize], self.bounds[kind as usize]);
            let service = ServiceView {
                now: request.arrival,
                resident: level,
                queued: 0,
                speed: crate::units::Ratio::ONE,
            };
            let plan = self.policy.plan(RequestView::new(request, bounds), service);
            let billed = self.policy.settle()?;
            let fell_back = self.policy.fallbacks() > before;
            let line = self.add(kind, level, plan, billed, fell_back)?;
            self.places[at(self.room)] = line;
            return Ok(line);
        }
        if self.places[at(self.room)] == EMPTY {
            let (request, bounds) = (&self.kinds[kind as usize], self.bounds[kind as usize]);
            let steps = self.policy.by_wait(RequestView::new(request, bounds), level);
            let steps = steps.ok_or_else(|| {
                Error::new("policy", "says that it depends on the wait, and not how")
            })?;
            self.places[at(self.room)] = self.steps.len() as u32;
            self.steps.extend(steps.into_iter().map(|step| StepLine { step, line: EMPTY }));
        }
        let step = self.step(self.places[at(self.room)], wait);
        let Step { plan, fits, .. } = self.steps[step].step;
        let line = self.add(kind, level, plan, None, !fits)?;
        self.steps[step].line = line;
        Ok(line)
    }

    /// A new line.
    fn add(
        &mut self,
        kind: u32,
        resident: Option<Level>,
        plan: Plan,
        billed: Option<Duration>,
        fell_back: bool,
    ) -> Result<u32> {
        let (request, bounds) = (self.kinds[kind as usize], self.bounds[kind as usize]);
        let mut execution = self.executor.execution(&request, &plan, resident)?;
        if let Some(decide) = billed {
            execution.decide = decide;
        }
        let end = end_of(SimTime::ZERO, request.id, &execution)?;
        let outcome = Outcome {
            request,
            bounds,
            plan,
            start: request.arrival,
            execution,
            interruptions: Interruptions::default(),
        };
        let standing = outcome.standing();
        let late_from = |wait: Duration| {
            u64::try_from(wait.as_nanos()).map_or(u64::MAX, |wait| wait.saturating_add(1))
        };
        let met = |grade| if standing.in_time.is_none() { grade } else { Grade::WRONG };
        let level = self.number(plan.resident_after(request.output_tokens));
        self.lines.push(Line {
            takes: end.as_nanos(),
            first_token: end.as_nanos() - execution.decode.as_nanos() as u64,
            late_from: standing.longest_wait.map_or(0, late_from),
            level,
            worth: execution.correct.map(met),
            requests: 0,
            late: 0,
        });
        self.entries.push(Entry { outcome, standing, fell_back });
        Ok(self.lines.len() as u32 - 1)
    }

    /// The number of `level`, new if it is.
    fn number(&mut self, level: Level) -> u32 {
        let known = self.levels.iter().position(|&known| known == level);
        let place = known.unwrap_or(self.levels.len());
        if known.is_none() {
            self.levels.push(level);
            if self.levels.len() == self.room {
                self.make_room();
            }
        }
        place as u32 + 1
    }

    /// Twice as many numbers of levels in every kind's places.
    fn make_room(&mut self) {
        let mut places = vec![EMPTY; 2 * self.places.len()];
        for (to, from) in
            places.chunks_exact_mut(2 * self.room).zip(self.places.chunks_exact(self.room))
        {
            to[..self.room].copy_from_slice(from);
        }
        (self.places, self.room) = (places, 2 * self.room);
    }
}
