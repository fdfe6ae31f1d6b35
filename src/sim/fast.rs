//! The fast way through a trace: instants by recursion, everything else looked up.
//!
//! With one server and first in, first out, a request starts at the later of its arrival and the
//! completion before it (Lindley, 1952). By deadline the waiting room is a heap, and the server,
//! whenever it is free, takes who is due first. Nothing else happens in between: a
//! [`Ledger`] knows what becomes of a request once its kind, the resident level and its wait are
//! known.

use self::waiting::Waiting;
use super::ServiceOptions;
use super::ledger::{Entry, Ledger, Line, Place};
use super::service::beyond_time;
use crate::error::Result;
use crate::schedule::Discipline;
use crate::units::{Grade, SimTime};

/// Is told of every request, in order of service.
pub trait ServedSink {
    /// A request was served.
    ///
    /// # Errors
    /// If that cannot be stored; the replay stops.
    fn served(&mut self, served: Served<'_, '_>) -> Result<()>;
}

/// Nothing is noted of a request, beyond what the ledger counts.
impl ServedSink for () {
    #[inline]
    fn served(&mut self, _served: Served<'_, '_>) -> Result<()> {
        Ok(())
    }
}

/// One served request.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a, 'k> {
    /// Its place in the trace.
    pub nth: u64,
    /// When it was taken up.
    pub start: SimTime,
    /// From its arrival to its first token, in ns.
    pub ttft_ns: u64,
    wait_ns: u64,
    ledger: &'a Ledger<'k>,
    number: u32,
}

impl Served<'_, '_> {
    /// How right the answer was, 0 where a bound was missed; `None` where nobody knows.
    #[must_use]
    #[inline]
    pub fn worth(&self) -> Option<Grade> {
        let &Line { worth, late_from, .. } = self.ledger.line(self.number);
        worth.map(|grade| if self.wait_ns >= late_from { Grade::WRONG } else { grade })
    }

    /// What it has in common with others of its kind.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        self.ledger.entry(self.number)
    }
}

/// What a replay comes to, beyond what its ledger counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Requests served.
    pub requests: u64,
    /// How often the level changed from one request to the next.
    pub switches: u64,
}

/// Replays `calls`, each an arrival and a kind of `ledger`'s, which are sorted by arrival.
///
/// # Errors
/// The first error of policy, executor or sink. Where there is no error, [`replay`](super::replay)
/// gives the same outcomes in the same order; where there is one it has the last word: it knows
/// requests by their ids.
///
/// # Panics
/// If the calls are not sorted, a kind is none of the ledger's, or the service does more than to
/// serve all [in turn](ServiceOptions::serves_all_in_turn).
pub fn replay_columns(
    ledger: &mut Ledger<'_>,
    calls: impl Iterator<Item = (SimTime, u32)>,
    options: &ServiceOptions,
    sink: &mut impl ServedSink,
) -> Result<Ran> {
    assert!(options.serves_all_in_turn(), "by columns requests are served in turn, and all are");
    ledger.begin();
    let mut calls = Calls { left: calls, nth: 0, last: 0 };
    let mut server = Server { ledger, sink, resident: 0 };
    match options.discipline {
        Discipline::Fifo if options.ideal_isolation => server.alone(&mut calls)?,
        Discipline::Fifo => server.in_turn(&mut calls)?,
        discipline => {
            let waiting = Waiting::new(discipline == Discipline::Edf);
            server.by_deadline(&mut calls, waiting, options.ideal_isolation)?;
        }
    }
    Ok(Ran { requests: calls.nth, switches: server.ledger.switches() })
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Call {
    nth: u64,
    arrival: u64,
    kind: u32,
}

/// The calls that are left.
struct Calls<I> {
    left: I,
    nth: u64,
    last: u64,
}

impl<I: Iterator<Item = (SimTime, u32)>> Calls<I> {
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    fn next(&mut self) -> Option<Call> {
        let (arrival, kind) = self.left.next()?;
        let call = Call { nth: self.nth, arrival: arrival.as_nanos(), kind };
        assert!(call.arrival >= self.last, "requests are sorted by arrival");
        (self.nth, self.last) = (call.nth + 1, call.arrival);
        Some(call)
    }
}

struct Server<'a, 'k, S> {
    ledger: &'a mut Ledger<'k>,
    sink: &'a mut S,
    /// Number of the resident level.
    resident: u32,
}

impl<S: ServedSink> Server<'_, '_, S> {
    fn in_turn(&mut self, calls: &mut Calls<impl Iterator<Item = (SimTime, u32)>>) -> Result<()> {
        let mut free = 0;
        while let Some(call) = calls.next() {
            free = self.serve(call, call.arrival.max(free))?;
        }
        Ok(())
    }

    /// Every request has a server to itself.
    fn alone(&mut self, calls: &mut Calls<impl Iterator<Item = (SimTime, u32)>>) -> Result<()> {
        while let Some(call) = calls.next() {
            self.serve(call, call.arrival)?;
        }
        Ok(())
    }

    /// Where all are `alone`, the server is free as the last request is taken up, and those that
    /// arrive at one instant go by their deadlines.
    fn by_deadline(
        &mut self,
        calls: &mut Calls<impl Iterator<Item = (SimTime, u32)>>,
        mut waiting: Waiting,
        alone: bool,
    ) -> Result<()> {
        let mut next = calls.next();
        let mut free = 0;
        loop {
            let mut now = free;
            if waiting.is_empty() {
                let Some(call) = next else { return Ok(()) };
                now = now.max(call.arrival);
                next = calls.next();
                if next.is_none_or(|other| other.arrival > now) {
                    // Nobody else is there to choose from.
                    let end = self.serve(call, now)?;
                    free = if alone { now } else { end };
                    continue;
                }
                self.wait(call, &mut waiting);
            }
            while let Some(call) = next.filter(|call| call.arrival <= now) {
                self.wait(call, &mut waiting);
                next = calls.next();
            }
            let call = waiting.pop(now).expect("one waits");
            let end = self.serve(call, now)?;
            free = if alone { now } else { end };
        }
    }

    #[inline]
    fn wait(&self, call: Call, waiting: &mut Waiting) {
        waiting.push(call, call.arrival.saturating_add(self.ledger.due_ns(call.kind)));
    }

    /// Serves `call` from `start` on, and says until when.
    #[expect(clippy::inline_always, reason = "in the loop of every request")]
    #[inline(always)]
    fn serve(&mut self, call: Call, start: u64) -> Result<u64> {
        let wait = start - call.arrival;
        let Place { number, level } = self.ledger.place_of(call.kind, self.resident, wait)?;
        let Line { takes, first_token, .. } = self.ledger.enter(number, wait);
        let end = start.checked_add(takes).ok_or_else(|| beyond_time(call.nth))?;
        self.resident = level;
        self.sink.served(Served {
            nth: call.nth,
            start: SimTime::from_nanos(start),
            // No later than the end, which is no overflow.
            ttft_ns: wait.wrapping_add(first_token),
            wait_ns: wait,
            ledger: self.ledger,
            number,
        })?;
        Ok(end)
    }
}

mod waiting;

#[cfg(test)]
mod tests;
