//! Closed loops: an app sends its next request only once the last one is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::request::{AppId, Request};
use crate::units::SimTime;

/// Who follows whom, and when the requests that wait arrived.
#[derive(Debug)]
pub struct ClosedLoop {
    /// The first request of every app, in the order of the trace.
    pub firsts: Vec<usize>,
    /// By a request's id: the app's next request and the time to think before it.
    successors: BTreeMap<u64, (usize, Duration)>,
    arrived: BTreeMap<usize, SimTime>,
}

impl ClosedLoop {
    /// Thinking takes as long as the trace has between two requests of an app.
    pub fn new(requests: &[Request]) -> Self {
        let mut last = BTreeMap::<AppId, &Request>::new();
        let (mut firsts, mut successors) = (Vec::new(), BTreeMap::new());
        for (index, request) in requests.iter().enumerate() {
            match last.insert(request.app, request) {
                None => firsts.push(index),
                Some(before) => {
                    successors.insert(before.id, (index, request.arrival - before.arrival));
                }
            }
        }
        Self { firsts, successors, arrived: BTreeMap::new() }
    }

    /// The request that follows the one of this `id`, and after how long.
    pub fn successor(&self, id: u64) -> Option<(usize, Duration)> {
        self.successors.get(&id).copied()
    }

    /// The request with this index calls.
    pub fn arrive(&mut self, index: usize, now: SimTime) {
        self.arrived.insert(index, now);
    }

    /// When the request with this index, which is now taken up, arrived.
    pub fn take(&mut self, index: usize) -> SimTime {
        self.arrived.remove(&index).expect("a request that is taken up has arrived")
    }
}
