//! The queue as a model of NeXosim.

use std::collections::VecDeque;
use std::time::Duration;

use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::{EventSinkReader, EventSource, Output, SinkState, event_queue};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::Load;

#[derive(Serialize, Deserialize)]
pub struct Station {
    /// The sum of waits in ns, once all is done.
    pub done: Output<u64>,
    load: Load,
    left: u64,
    waiting: VecDeque<(MonotonicTime, u64)>,
    busy: bool,
    waited: u64,
}

/// An event has to be in the future: what takes no time takes a nanosecond here.
const SOON: Duration = Duration::from_nanos(1);

#[Model]
impl Station {
    fn new() -> Self {
        Self {
            done: Output::default(),
            load: Load::default(),
            left: 0,
            waiting: VecDeque::new(),
            busy: false,
            waited: 0,
        }
    }

    pub async fn begin(&mut self, requests: u64, cx: &Context<Self>) {
        self.left = requests;
        self.arrive((), cx).await;
    }

    #[nexosim(schedulable)]
    async fn arrive(&mut self, _: (), cx: &Context<Self>) {
        let (gap, takes) = self.load.next_request();
        self.waiting.push_back((cx.time(), takes));
        if !self.busy {
            self.start(cx);
        }
        self.left -= 1;
        if self.left > 0 {
            let gap = Duration::from_nanos(gap).max(SOON);
            cx.schedule_event(gap, schedulable!(Self::arrive), ()).unwrap();
        }
    }

    #[nexosim(schedulable)]
    async fn complete(&mut self, _: (), cx: &Context<Self>) {
        self.start(cx);
        if !self.busy && self.left == 0 {
            self.done.send(self.waited).await;
        }
    }

    fn start(&mut self, cx: &Context<Self>) {
        self.busy = false;
        if let Some((arrived, takes)) = self.waiting.pop_front() {
            self.waited += cx.time().duration_since(arrived).as_nanos() as u64;
            self.busy = true;
            let takes = Duration::from_nanos(takes).max(SOON);
            cx.schedule_event(takes, schedulable!(Self::complete), ()).unwrap();
        }
    }
}

pub fn run(requests: u64) -> u64 {
    let (mailbox, mut station) = (Mailbox::new(), Station::new());
    let mut bench = SimInit::with_num_threads(1);
    let begin = EventSource::new().connect(Station::begin, &mailbox).register(&mut bench);
    let (sink, mut done) = event_queue(SinkState::Enabled);
    station.done.connect_sink(sink);
    let mut sim =
        bench.add_model(station, mailbox, "station").init(MonotonicTime::EPOCH).expect("it starts");
    sim.process_event(&begin, requests).expect("it begins");
    sim.run().expect("it runs");
    done.try_read().expect("it ends")
}
