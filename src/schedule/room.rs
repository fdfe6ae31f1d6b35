//! The waiting room: requests by class, each class in the order of the discipline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::discipline::{Discipline, WaitingQueue};
use super::slots::Ticket;
use crate::limits::PRIORITY;
use crate::units::SimTime;

/// Classes that a request can be of.
const CLASSES: usize = PRIORITY.max as usize + 1;

/// Who waits, and who has aged.
///
/// A request that leaves out of turn, or is of another class by now, is not looked for: whoever
/// asks says who is still here.
#[derive(Debug)]
pub(super) struct Room {
    discipline: Discipline,
    ageing: Duration,
    /// From the lowest class on; one for all without classes.
    queues: Vec<WaitingQueue<Ticket>>,
    /// When each will be of the next class.
    ages: BinaryHeap<Reverse<(SimTime, Ticket)>>,
}

impl Room {
    pub fn new(discipline: Discipline, ageing: Duration) -> Self {
        let classes = if discipline.has_classes() { CLASSES } else { 1 };
        let queues = (0..classes).map(|_| WaitingQueue::new(discipline)).collect();
        Self { discipline, ageing, queues, ages: BinaryHeap::new() }
    }

    /// Takes in a request of `class` whose first token is due at `due`, and says when it will be of
    /// the next class, if there is one.
    pub fn put(
        &mut self,
        ticket: Ticket,
        class: u8,
        due: SimTime,
        now: SimTime,
    ) -> Option<SimTime> {
        let by_arrival = self.discipline == Discipline::Priority;
        self.queue(class).push(ticket, if by_arrival { SimTime::ZERO } else { due });
        let ages = self.discipline.has_classes() && usize::from(class) + 1 < CLASSES;
        let at = ages.then(|| now.saturating_add(self.ageing))?;
        self.ages.push(Reverse((at, ticket)));
        Some(at)
    }

    /// One that has waited long enough at `now` to be of the next class, and since when.
    pub fn aged(&mut self, now: SimTime) -> Option<(SimTime, Ticket)> {
        let Reverse((since, _)) = *self.ages.peek()?;
        (since <= now).then(|| self.ages.pop().map(|Reverse(aged)| aged)).flatten()
    }

    /// Who is next at `now`, of those that are `here` in the class given.
    pub fn front(&mut self, now: SimTime, here: impl Fn(Ticket, u8) -> bool) -> Option<Ticket> {
        for (class, queue) in self.queues.iter_mut().enumerate().rev() {
            while let Some(ticket) = queue.front(now) {
                if here(ticket, class as u8) {
                    return Some(ticket);
                }
                queue.pop(now);
            }
        }
        None
    }

    /// Takes the request out that [`front`](Self::front) has just found in `class`.
    pub fn take(&mut self, class: u8, now: SimTime) {
        self.queue(class).pop(now);
    }

    /// Where requests of `class` wait: together, if the discipline knows no classes.
    fn queue(&mut self, class: u8) -> &mut WaitingQueue<Ticket> {
        let last = self.queues.len() - 1;
        &mut self.queues[usize::from(class).min(last)]
    }
}
