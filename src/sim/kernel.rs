//! The event queue: what happens next, in a total and reproducible order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::schedule::Ticket;
use crate::units::SimTime;

/// Something that happens at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The last token of a request is out, unless it was stopped since: this is its leg of the
    /// number given.
    Completion(Ticket, u32),
    /// A token of a request that was told to stop is out.
    Stop(Ticket),
    /// The app of a request gives it up.
    Cancel(Ticket),
    /// The request with this index calls.
    Arrival(usize),
}

impl Event {
    /// Which goes first among simultaneous events: lower ranks do.
    fn rank(&self) -> u8 {
        match self {
            Self::Completion(..) | Self::Stop(_) => 0,
            Self::Cancel(_) => 1,
            Self::Arrival(_) => 2,
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

    /// When the next event is.
    pub fn next_instant(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse(Scheduled { key: (time, ..), .. })| *time)
    }

    /// The next event of the instant `now`; `None` once there is none left.
    pub fn next_at(&mut self, now: SimTime) -> Option<Event> {
        self.now = now;
        let first = self.heap.peek_mut().filter(|first| first.0.key.0 <= now)?;
        let Reverse(Scheduled { event, .. }) = PeekMut::pop(first);
        Some(event)
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
    use crate::request::AppId;
    use crate::schedule::{Job, Scheduler, ServiceOptions};

    /// All events, by instant, in the order in which they are worked off.
    fn worked_off(events: &mut EventQueue) -> Vec<(u64, Event)> {
        let mut all = Vec::new();
        while let Some(now) = events.next_instant() {
            while let Some(event) = events.next_at(now) {
                all.push((now.as_nanos(), event));
                // Scheduled while its instant is being worked off: still at that instant.
                if event == Event::Arrival(1) {
                    events.schedule(now, Event::Arrival(4));
                }
            }
        }
        all
    }

    #[test]
    fn events_pop_by_time_then_rank_then_order_of_scheduling() {
        let mut scheduler = Scheduler::new(ServiceOptions::default());
        let ticket = scheduler.arrive(SimTime::ZERO, Job::plain(0, AppId(0)));
        let mut events = EventQueue::default();
        let at = SimTime::from_nanos;
        for (time, event) in [
            (at(2), Event::Arrival(0)),
            (at(1), Event::Completion(ticket, 0)),
            (at(2), Event::Cancel(ticket)),
            (at(1), Event::Arrival(1)),
            (at(2), Event::Stop(ticket)),
            (at(2), Event::Arrival(2)),
            (at(1), Event::Arrival(3)),
        ] {
            events.schedule(time, event);
        }
        assert_eq!(
            worked_off(&mut events),
            [
                (1, Event::Completion(ticket, 0)),
                (1, Event::Arrival(1)),
                (1, Event::Arrival(3)),
                (1, Event::Arrival(4)),
                (2, Event::Stop(ticket)),
                (2, Event::Cancel(ticket)),
                (2, Event::Arrival(0)),
                (2, Event::Arrival(2)),
            ]
        );
    }

    #[test]
    #[should_panic(expected = "never scheduled into the past")]
    fn the_past_is_closed() {
        let mut events = EventQueue::default();
        let at = SimTime::from_nanos;
        events.schedule(at(5), Event::Arrival(0));
        events.next_at(at(5));
        events.schedule(at(4), Event::Arrival(0));
    }
}
