//! Disciplines: in which order requests are served.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::units::SimTime;

/// Which waiting request is served next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discipline {
    /// First in, first out.
    #[default]
    Fifo,
    /// The earliest deadline of the first token first: arrival + TTFT bound, or end-to-end bound;
    /// after them requests without one, last those whose deadline has passed: serving them sooner
    /// would make others late, too. Equal deadlines in order of arrival.
    Edf,
    /// The same, a passed deadline being a deadline like others: the earliest of all.
    EdfLateFirst,
    /// The highest class first, of one class the first in. Classes age.
    Priority,
    /// The highest class first, of one class as `edf`. Classes age.
    PriorityEdf,
}

impl Discipline {
    /// Whether it looks at classes.
    #[must_use]
    pub fn has_classes(self) -> bool {
        matches!(self, Self::Priority | Self::PriorityEdf)
    }
}

/// Waiting requests of one class in the order of a [`Discipline`]; requests rise in their order of
/// arrival.
#[derive(Debug)]
pub enum WaitingQueue<T> {
    /// First in, first out.
    Fifo(VecDeque<T>),
    /// Earliest deadline first.
    Edf {
        /// Those in time.
        waiting: ByDeadline<T>,
        /// Those whose deadline has passed; `None` where it makes no difference.
        late: Option<ByDeadline<T>>,
    },
}

/// Earliest deadline first, of equals the earliest request.
type ByDeadline<T> = BinaryHeap<Reverse<(SimTime, T)>>;

impl<T: Ord + Copy> WaitingQueue<T> {
    /// An empty queue. One of classes takes requests in any order: those of a class that aged or
    /// were stopped come back to it.
    pub fn new(discipline: Discipline) -> Self {
        let waiting = ByDeadline::new();
        match discipline {
            Discipline::Fifo => Self::Fifo(VecDeque::new()),
            Discipline::Edf | Discipline::PriorityEdf => {
                Self::Edf { waiting, late: Some(ByDeadline::new()) }
            }
            Discipline::EdfLateFirst | Discipline::Priority => Self::Edf { waiting, late: None },
        }
    }

    /// Adds `request`, whose first token is due at `deadline`.
    #[inline]
    pub fn push(&mut self, request: T, deadline: SimTime) {
        match self {
            Self::Fifo(queue) => queue.push_back(request),
            Self::Edf { waiting, .. } => waiting.push(Reverse((deadline, request))),
        }
    }

    /// Takes out the request to serve next, at the instant `now`.
    #[inline]
    pub fn pop(&mut self, now: SimTime) -> Option<T> {
        match self {
            Self::Fifo(queue) => queue.pop_front(),
            Self::Edf { waiting, late: None } => waiting.pop().map(|Reverse((_, request))| request),
            Self::Edf { waiting, late: Some(late) } => {
                put_late_aside(waiting, late, now);
                waiting.pop().or_else(|| late.pop()).map(|Reverse((_, request))| request)
            }
        }
    }

    /// The request that [`pop`](Self::pop) would take out.
    pub fn front(&mut self, now: SimTime) -> Option<T> {
        let of = |first: Option<&Reverse<(SimTime, T)>>| first.map(|Reverse((_, it))| *it);
        match self {
            Self::Fifo(queue) => queue.front().copied(),
            Self::Edf { waiting, late: None } => of(waiting.peek()),
            Self::Edf { waiting, late: Some(late) } => {
                put_late_aside(waiting, late, now);
                of(waiting.peek().or_else(|| late.peek()))
            }
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        match self {
            Self::Fifo(queue) => queue.len(),
            Self::Edf { waiting, late } => waiting.len() + late.as_ref().map_or(0, BinaryHeap::len),
        }
    }
}

/// Moves requests whose deadline has passed at `now` from those `waiting` to those that are `late`.
#[inline]
fn put_late_aside<T: Ord>(waiting: &mut ByDeadline<T>, late: &mut ByDeadline<T>, now: SimTime) {
    while waiting.peek().is_some_and(|Reverse((deadline, _))| *deadline < now) {
        late.extend(waiting.pop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which order requests with these deadlines are served at the instant `now`.
    fn served(discipline: Discipline, deadlines: &[u64], now: u64) -> Vec<usize> {
        let mut queue = WaitingQueue::new(discipline);
        for (index, &deadline) in deadlines.iter().enumerate() {
            queue.push(index, SimTime::from_nanos(deadline));
        }
        assert_eq!(queue.len(), deadlines.len());
        let now = SimTime::from_nanos(now);
        let served = std::iter::from_fn(|| {
            let front = queue.front(now);
            assert_eq!(queue.pop(now), front);
            front
        });
        let served = served.collect();
        assert_eq!(queue.len(), 0);
        served
    }

    #[test]
    fn fifo_ignores_deadlines() {
        assert_eq!(served(Discipline::Fifo, &[9, 1, 5], 3), [0, 1, 2]);
    }

    #[test]
    fn edf_serves_the_most_urgent_and_breaks_ties_by_arrival() {
        assert_eq!(served(Discipline::Edf, &[9, 1, 5, 1], 0), [1, 3, 2, 0]);
    }

    /// At 5 the deadlines 1 and 3 have passed, 5 has not.
    #[test]
    fn a_request_that_is_too_late_makes_no_other_late() {
        let never = SimTime::NEVER.as_nanos();
        assert_eq!(served(Discipline::Edf, &[3, never, 9, 1, 5], 5), [4, 2, 1, 3, 0]);
        assert_eq!(served(Discipline::EdfLateFirst, &[3, never, 9, 1, 5], 5), [3, 0, 4, 2, 1]);
    }

    #[test]
    fn a_late_request_waits_behind_one_that_comes_later() {
        let mut queue = WaitingQueue::new(Discipline::Edf);
        let at = SimTime::from_nanos;
        queue.push(0, at(1));
        queue.push(1, at(2));
        assert_eq!(queue.pop(at(3)), Some(0), "all are late");
        queue.push(2, at(9));
        assert_eq!(queue.pop(at(4)), Some(2));
        assert_eq!((queue.pop(at(5)), queue.len()), (Some(1), 0));
    }
}
