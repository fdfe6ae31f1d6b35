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

/// What may be resident: no level, or one of so many less one. A [`Row`] has no room for more;
/// methods of more levels are replayed by events.
const STATES: usize = 14;

/// Bits of a [`Row`] that say which of these it is.
const STATE_BITS: u32 = 4;

/// In place of a level: nothing is known yet.
const UNKNOWN: u32 = 15;

/// In place of a level: the wait says which.
const BY_WAIT: u32 = 14;

/// Lines, filled as they are needed, for any number of replays over the same kinds of requests.
#[derive(Debug)]
pub struct Ledger<'a> {
    kinds: &'a [Request],
    bounds: Vec<Bounds>,
    /// By kind: [`due_ns`](Self::due_ns).
    dues_ns: Vec<u64>,
    policy: Box<dyn Policy>,
    executor: Box<dyn Repeats + Send + 'a>,
    by_wait: bool,
    /// Levels that were resident, numbered from 1; 0 is none.
    levels: Vec<Level>,
    /// By kind.
    rows: Vec<Row>,
    /// Steps of a policy that depends on the wait, place by place, up to `u64::MAX` each.
    steps: Vec<Steps>,
    lines: Vec<Line>,
    /// What lines say beside.
    entries: Vec<Entry>,
    /// Lines of the replay at hand.
    touched: Vec<u32>,
}

/// What is known of a kind, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Row {
    /// By the number of the resident level, in so many bits each: the number of the level that is
    /// resident afterwards, [`BY_WAIT`] or [`UNKNOWN`].
    ///
    /// Why all in one number? A request waits for the level that the one before it leaves, and for
    /// nothing else of it. From there to the next level is then a shift.
    next: u64,
    /// By the number of the resident level: a line, or the first of some steps.
    numbers: [u32; STATES],
}

impl Row {
    /// Of a kind of which nothing is known yet.
    const EMPTY: Self = Self { next: u64::MAX, numbers: [0; STATES] };

    #[inline]
    fn place(&self, resident: u32) -> Place {
        let level = (self.next >> (resident * STATE_BITS % u64::BITS)) as u32 % (1 << STATE_BITS);
        Place { number: self.numbers[resident as usize], level }
    }

    fn set(&mut self, resident: u32, place: Place) {
        let known = u64::from(place.level ^ self.place(resident).level);
        self.next ^= known << (resident * STATE_BITS);
        self.numbers[resident as usize] = place.number;
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Of the line, or of the first of some steps.
    pub number: u32,
    /// Number of the level that is resident afterwards, or [`BY_WAIT`] or [`UNKNOWN`].
    pub level: u32,
}

impl Place {
    const EMPTY: Self = Self { number: 0, level: UNKNOWN };
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
    /// How right the answer is, if it was judged; one that misses a bound whatever it waits is
    /// wrong.
    pub worth: Option<Grade>,
    /// Requests of the replay at hand. It and the next one wrap, after more than anybody replays.
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
    /// Whether another level is resident afterwards than before.
    pub switched: bool,
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

/// So many steps are looked at at once.
const STEPS: usize = 8;

/// Steps of a place, from the shortest wait on; the last are filled up with `u64::MAX`.
///
/// Why this many at once? A search among a known number has no jump that depends on the wait.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Steps {
    until_ns: [u64; STEPS],
    places: [Place; STEPS],
    said: Vec<Step>,
}

impl Steps {
    fn new(steps: &[Step]) -> Self {
        let mut until_ns = [u64::MAX; STEPS];
        for (until, step) in until_ns.iter_mut().zip(steps) {
            *until = step.until_ns;
        }
        Self { until_ns, places: [Place::EMPTY; STEPS], said: steps.to_vec() }
    }

    /// How many of the steps are passed after a wait.
    #[inline]
    fn passed(&self, wait: u64) -> usize {
        self.until_ns.partition_point(|&until| until < wait)
    }
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
        let due_ns = |bounds: &Bounds| {
            let due = bounds.first_token_due().map(|due| u64::try_from(due.as_nanos()));
            due.map_or(u64::MAX, |due| due.unwrap_or(u64::MAX))
        };
        Some(Self {
            kinds,
            dues_ns: bounds.iter().map(due_ns).collect(),
            bounds,
            policy,
            executor,
            by_wait,
            levels: Vec::new(),
            rows: vec![Row::EMPTY; kinds.len()],
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

    /// When, after its arrival, the first token of a request of `kind` is due, in ns; `u64::MAX` if
    /// never.
    #[inline]
    pub(super) fn due_ns(&self, kind: u32) -> u64 {
        self.dues_ns[kind as usize]
    }

    /// The place of a request of `kind` that has waited `wait` ns while the level numbered
    /// `resident` is in memory.
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    pub(super) fn place_of(&mut self, kind: u32, resident: u32, wait: u64) -> Result<Place> {
        let mut place = self.rows[kind as usize].place(resident);
        // Once or twice. Why a loop? In an innermost loop the later of two instants becomes a jump.
        while place.level as usize >= STATES {
            place = match place.level {
                BY_WAIT => self.stepped(place.number, wait),
                _ => self.fill(kind, resident, wait)?,
            };
        }
        Ok(place)
    }

    /// The place, of those in the steps from the number `first` on, after a wait of `wait` ns.
    #[inline]
    fn stepped(&self, first: u32, wait: u64) -> Place {
        let (steps, passed) = self.step(first, wait);
        self.steps[steps].places[passed]
    }

    #[inline]
    fn step(&self, first: u32, wait: u64) -> (usize, usize) {
        let mut number = first as usize;
        loop {
            let passed = self.steps[number].passed(wait);
            if passed < STEPS {
                return (number, passed);
            }
            number += 1;
        }
    }

    /// The line with this number.
    #[inline]
    pub(super) fn line(&self, number: u32) -> &Line {
        &self.lines[number as usize]
    }

    /// The line with this number, a request that has waited `wait` ns counted in.
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    pub(super) fn enter(&mut self, number: u32, wait: u64) -> Line {
        let line = &mut self.lines[number as usize];
        let is_first = line.requests == 0;
        line.requests = line.requests.wrapping_add(1);
        line.late = line.late.wrapping_add(u64::from(wait >= line.late_from));
        let entered = *line;
        if is_first {
            self.touch(number);
        }
        entered
    }

    #[cold]
    #[inline(never)]
    fn touch(&mut self, number: u32) {
        self.touched.push(number);
    }

    /// How often the level changed in the last replay.
    pub(super) fn switches(&self) -> u64 {
        let switched = self.entered().filter(|entered| entered.entry.switched);
        switched.map(|Entered { in_time, late, .. }| in_time + late).sum()
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, kind: u32, resident: u32, wait: u64) -> Result<Place> {
        let level = resident.checked_sub(1).map(|number| self.levels[number as usize]);
        if self.by_wait {
            self.fill_step(kind, resident, level, wait)
        } else {
            self.fill_place(kind, resident, level)
        }
    }

    fn fill_place(&mut self, kind: u32, resident: u32, level: Option<Level>) -> Result<Place> {
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
        let place = self.add(kind, level, plan, billed, fell_back)?;
        self.rows[kind as usize].set(resident, place);
        Ok(place)
    }

    fn fill_step(
        &mut self,
        kind: u32,
        resident: u32,
        level: Option<Level>,
        wait: u64,
    ) -> Result<Place> {
        if self.rows[kind as usize].place(resident).level == UNKNOWN {
            let (request, bounds) = (&self.kinds[kind as usize], self.bounds[kind as usize]);
            let steps = self.policy.by_wait(RequestView::new(request, bounds), level);
            let steps = steps.ok_or_else(|| {
                Error::new("policy", "says that it depends on the wait, and not how")
            })?;
            let number = self.steps.len() as u32;
            self.rows[kind as usize].set(resident, Place { number, level: BY_WAIT });
            self.steps.extend(steps.chunks(STEPS).map(Steps::new));
        }
        let first = self.rows[kind as usize].place(resident).number;
        let (steps, passed) = self.step(first, wait);
        let Step { plan, fits, .. } = self.steps[steps].said[passed];
        let place = self.add(kind, level, plan, None, !fits)?;
        self.steps[steps].places[passed] = place;
        Ok(place)
    }

    /// A new line.
    fn add(
        &mut self,
        kind: u32,
        resident: Option<Level>,
        plan: Plan,
        billed: Option<Duration>,
        fell_back: bool,
    ) -> Result<Place> {
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
        let after = plan.resident_after(request.output_tokens);
        let level = self.number(after)?;
        self.lines.push(Line {
            takes: end.as_nanos(),
            first_token: end.as_nanos() - execution.decode.as_nanos() as u64,
            late_from: standing.longest_wait.map_or(0, late_from),
            worth: execution.correct.map(met),
            requests: 0,
            late: 0,
        });
        let switched = resident.is_some_and(|resident| resident != after);
        self.entries.push(Entry { outcome, standing, fell_back, switched });
        Ok(Place { number: self.lines.len() as u32 - 1, level })
    }

    /// The number of `level`, new if it is.
    fn number(&mut self, level: Level) -> Result<u32> {
        let known = self.levels.iter().position(|&known| known == level);
        let place = known.unwrap_or(self.levels.len());
        if place + 1 == STATES {
            let error = Error::new("replay by columns", "too many levels");
            return Err(error.found(level.to_string()).allowed(format!("{} in all", STATES - 1)));
        }
        if known.is_none() {
            self.levels.push(level);
        }
        Ok(place as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::contract::stage::{Parts, random_trace};
    use crate::method::standard_methods;

    #[test]
    fn more_levels_than_a_row_tells_apart_are_an_error() {
        let (spec, trace) = (&standard_methods()[1], random_trace(1, 3));
        let method = Parts::random(spec, 1, &Level::LADDER).method(spec);
        let (policy, executor) = method.players(&trace, 1).unwrap();
        let bounds = method.bounds(&trace).unwrap();
        let ledger = Ledger::new(&trace.requests, bounds, policy, Box::new(executor));
        let mut ledger = ledger.expect("the method draws nothing");
        for number in 1..=13 {
            assert_eq!(ledger.number(Level::percent(number)).unwrap(), u32::from(number));
        }
        let message = ledger.number(Level::percent(14)).unwrap_err().to_string();
        assert_eq!(message, "replay by columns: too many levels; found 14 %; allowed: 13 in all");
        assert_eq!(ledger.number(Level::percent(13)).unwrap(), 13);
    }
}
