//! The fast way through a trace: instants by recursion, everything else looked up.
//!
//! With one server and first in, first out, a request starts at the later of its arrival and the
//! completion before it (Lindley, 1952). By deadline the waiting room is a heap, and the server,
//! whenever it is free, takes who is due first. Nothing else happens in between: a
//! [`Ledger`] knows what becomes of a request once its kind, the resident level and its wait are
//! known.

use super::ServiceOptions;
use super::ledger::{Entry, Ledger, Line};
use super::queue::{Discipline, WaitingQueue};
use super::service::beyond_time;
use crate::error::Result;
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
    ledger: &'a Ledger<'k>,
    number: u32,
    line: &'a Line,
    late: bool,
}

impl Served<'_, '_> {
    /// What it has in common with others of its kind.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        self.ledger.entry(self.number)
    }

    /// How right the answer was, 0 where a bound was missed; `None` where nobody knows.
    #[must_use]
    pub fn worth(&self) -> Option<Grade> {
        self.line.worth.map(|grade| if self.late { Grade::WRONG } else { grade })
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
/// If the calls are not sorted, a kind is none of the ledger's, or the loop is closed.
pub fn replay_columns(
    ledger: &mut Ledger<'_>,
    calls: impl Iterator<Item = (SimTime, u32)>,
    options: &ServiceOptions,
    sink: &mut impl ServedSink,
) -> Result<Ran> {
    assert!(!options.closed_loop, "in a closed loop arrivals are events");
    ledger.begin();
    let mut server = Server {
        ledger,
        sink,
        alone: options.ideal_isolation,
        free: 0,
        resident: 0,
        ran: Ran::default(),
    };
    let mut last = SimTime::ZERO;
    let calls = calls.enumerate().map(|(nth, (arrival, kind))| {
        assert!(arrival >= last, "requests are sorted by arrival");
        last = arrival;
        Call { nth: nth as u64, arrival: arrival.as_nanos(), kind }
    });
    match options.discipline {
        Discipline::Fifo => server.in_turn(calls)?,
        Discipline::Edf | Discipline::EdfLateFirst => {
            server.by_deadline(calls, WaitingQueue::new(options.discipline))?;
        }
    }
    Ok(server.ran)
}

/// A request on its way; calls rise in the order of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    nth: u64,
    arrival: u64,
    kind: u32,
}

struct Server<'a, 'k, S> {
    ledger: &'a mut Ledger<'k>,
    sink: &'a mut S,
    /// Whether every request has a server to itself.
    alone: bool,
    /// From when on a request can be taken up.
    free: u64,
    /// Number of the resident level.
    resident: u32,
    ran: Ran,
}

impl<S: ServedSink> Server<'_, '_, S> {
    fn in_turn(&mut self, calls: impl Iterator<Item = Call>) -> Result<()> {
        for call in calls {
            // Alone, the server is free as the last request is taken up: never after this arrival.
            self.serve(call, self.free.max(call.arrival))?;
        }
        Ok(())
    }

    fn by_deadline(
        &mut self,
        calls: impl Iterator<Item = Call>,
        mut waiting: WaitingQueue<Call>,
    ) -> Result<()> {
        let mut calls = calls.peekable();
        loop {
            let now = match calls.peek() {
                Some(next) if waiting.len() == 0 => self.free.max(next.arrival),
                None if waiting.len() == 0 => return Ok(()),
                _ => self.free,
            };
            while let Some(call) = calls.next_if(|call| call.arrival <= now) {
                let arrival = SimTime::from_nanos(call.arrival);
                let due = self.ledger.due(call.kind);
                waiting.push(call, due.map_or(SimTime::NEVER, |due| arrival.saturating_add(due)));
            }
            let call = waiting.pop(SimTime::from_nanos(now)).expect("one waits, or has just come");
            self.serve(call, now)?;
        }
    }

    #[inline]
    fn serve(&mut self, call: Call, start: u64) -> Result<()> {
        let wait = start - call.arrival;
        let (number, line) = self.ledger.enter(call.kind, self.resident, wait)?;
        let end = start.checked_add(line.takes).ok_or_else(|| beyond_time(call.nth))?;
        self.free = if self.alone { start } else { end };
        self.ran.requests += 1;
        self.ran.switches += u64::from(line.level != self.resident && self.resident != 0);
        self.resident = line.level;
        self.sink.served(Served {
            nth: call.nth,
            start: SimTime::from_nanos(start),
            ttft_ns: wait + line.first_token,
            ledger: self.ledger,
            number,
            line: &line,
            late: wait >= line.late_from,
        })
    }
}

#[cfg(test)]
mod tests;
