//! The waiting room: in which order requests are served.

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
    /// requests without one last. Equal deadlines in order of arrival.
    Edf,
}

/// Indices of waiting requests in the order of a [`Discipline`].
#[derive(Debug)]
pub enum WaitingQueue {
    /// First in, first out.
    Fifo(VecDeque<usize>),
    /// Earliest (deadline, index) first.
    Edf(BinaryHeap<Reverse<(SimTime, usize)>>),
}

impl WaitingQueue {
    /// An empty queue.
    pub fn new(discipline: Discipline) -> Self {
        match discipline {
            Discipline::Fifo => Self::Fifo(VecDeque::new()),
            Discipline::Edf => Self::Edf(BinaryHeap::new()),
        }
    }

    /// Adds request `index`, whose first token is due at `deadline`.
    pub fn push(&mut self, index: usize, deadline: SimTime) {
        match self {
            Self::Fifo(queue) => queue.push_back(index),
            Self::Edf(heap) => heap.push(Reverse((deadline, index))),
        }
    }

    /// Takes out the request to serve next.
    pub fn pop(&mut self) -> Option<usize> {
        match self {
            Self::Fifo(queue) => queue.pop_front(),
            Self::Edf(heap) => heap.pop().map(|Reverse((_, index))| index),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        match self {
            Self::Fifo(queue) => queue.len(),
            Self::Edf(heap) => heap.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(discipline: Discipline, deadlines: &[u64]) -> Vec<usize> {
        let mut queue = WaitingQueue::new(discipline);
        for (index, &deadline) in deadlines.iter().enumerate() {
            queue.push(index, SimTime::from_nanos(deadline));
        }
        assert_eq!(queue.len(), deadlines.len());
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn fifo_ignores_deadlines() {
        assert_eq!(served(Discipline::Fifo, &[9, 1, 5]), [0, 1, 2]);
    }

    #[test]
    fn edf_serves_the_most_urgent_and_breaks_ties_by_arrival() {
        assert_eq!(served(Discipline::Edf, &[9, 1, 5, 1]), [1, 3, 2, 0]);
    }
}
