//! The event queue: what happens next, in a total and reproducible order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::units::SimTime;

/// Something that happens at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The last token is out of the request at this place of those in flight.
    Completion(usize),
    /// The request with this index calls.
    Arrival(usize),
    /// The free server takes up a waiting request.
    Start,
}

impl Event {
    /// Which goes first among simultaneous events: lower ranks do.
    fn rank(&self) -> u8 {
        match self {
            Self::Completion(_) => 0,
            Self::Arrival(_) => 1,
            Self::Start => 2,
        }
    }
}

/// Events by (time, rank, order of scheduling).
#[derive(Debug, Default)]
pub struct EventQueue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    now: SimTime,
    scheduled: u64,
}

impl EventQueue {
    /// Lets `event` happen at `time`.
    ///
    /// # Panics
    /// If `time` is in the past.
    pub fn schedule(&mut self, time: SimTime, event: Event) {
        assert!(time >= self.now, "an event is never scheduled into the past");
        self.heap.push(Reverse(Scheduled { key: (time, event.rank(), self.scheduled), event }));
        self.scheduled += 1;
    }

    /// Advances to the next event.
    pub fn next(&mut self) -> Option<(SimTime, Event)> {
        let Reverse(Scheduled { key: (time, ..), event }) = self.heap.pop()?;
        self.now = time;
        Some((time, event))
    }
}

#[derive(Debug)]
struct Scheduled {
    key: (SimTime, u8, u64),
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Scheduled {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_pop_by_time_then_rank_then_order_of_scheduling() {
        let mut events = EventQueue::default();
        let at = SimTime::from_nanos;
        for (time, event) in [
            (at(2), Event::Arrival(0)),
            (at(1), Event::Start),
            (at(2), Event::Start),
            (at(1), Event::Arrival(1)),
            (at(2), Event::Arrival(2)),
            (at(1), Event::Arrival(3)),
        ] {
            events.schedule(time, event);
        }
        assert_eq!(events.next(), Some((at(1), Event::Arrival(1))));
        // Scheduled while its instant is being worked off: still before the start of that instant.
        events.schedule(at(1), Event::Arrival(4));
        let rest: Vec<_> = std::iter::from_fn(|| events.next()).collect();
        assert_eq!(
            rest,
            [
                (at(1), Event::Arrival(3)),
                (at(1), Event::Arrival(4)),
                (at(1), Event::Start),
                (at(2), Event::Arrival(0)),
                (at(2), Event::Arrival(2)),
                (at(2), Event::Start),
            ]
        );
    }

    #[test]
    #[should_panic(expected = "never scheduled into the past")]
    fn the_past_is_closed() {
        let mut events = EventQueue::default();
        events.schedule(SimTime::from_nanos(5), Event::Start);
        events.next();
        events.schedule(SimTime::from_nanos(4), Event::Start);
    }
}
