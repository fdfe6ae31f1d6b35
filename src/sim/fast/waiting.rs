//! Those that wait for a server that takes who is due first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::Call;

/// Calls in the order of [`Discipline::Edf`](crate::schedule::Discipline::Edf) or of
/// [`Discipline::EdfLateFirst`](crate::schedule::Discipline::EdfLateFirst).
///
/// The queue of the scheduler has the same order for whatever waits. Here a call is known by one
/// number, its deadline and its place in the trace, so that which of two goes first is no jump.
#[derive(Debug)]
pub(super) struct Waiting {
    in_time: BinaryHeap<Due>,
    /// Those whose deadline has passed, and that go last. Why no heap? Deadlines pass in their
    /// order, and none that comes later has passed before those that are here.
    late: VecDeque<Due>,
    /// Whether those whose deadline has passed go last.
    puts_late_aside: bool,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    /// Deadline in the upper half, place in the trace in the lower: the least goes first.
    key: u128,
    arrival: u64,
    kind: u32,
}

impl Due {
    fn deadline(&self) -> u64 {
        (self.key >> 64) as u64
    }

    fn call(self) -> Call {
        Call { nth: self.key as u64, arrival: self.arrival, kind: self.kind }
    }
}

impl Waiting {
    pub fn new(puts_late_aside: bool) -> Self {
        Self { in_time: BinaryHeap::new(), late: VecDeque::new(), puts_late_aside }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.in_time.is_empty() && self.late.is_empty()
    }

    #[inline]
    pub fn push(&mut self, call: Call, deadline: u64) {
        let Call { nth, arrival, kind } = call;
        let key = u128::from(deadline) << 64 | u128::from(nth);
        self.in_time.push(Due { key, arrival, kind });
    }

    /// Who is next at `now`, which does not go back; all that arrived by then were pushed before.
    #[inline]
    pub fn pop(&mut self, now: u64) -> Option<Call> {
        if self.puts_late_aside {
            while let Some(first) = self.in_time.peek().filter(|first| first.deadline() < now) {
                debug_assert!(self.late.back().is_none_or(|last| last.key < first.key));
                self.late.extend(self.in_time.pop());
            }
        }
        self.in_time.pop().or_else(|| self.late.pop_front()).map(Due::call)
    }
}

/// The greatest of a heap is at its top.
impl Ord for Due {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for Due {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        other.key <= self.key
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Due {}
