//! The service: one model, one server, the level that is resident.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::outcome::{Execution, Outcome};
use crate::policy::{Policy, ServiceView};
use crate::request::{Bounds, Request, RequestView};
use crate::units::{Energy, Level, SimTime};

use super::closed_loop::ClosedLoop;
use super::kernel::{Event, EventQueue};
use super::queue::WaitingQueue;
use super::{OutcomeSink, ServiceOptions};

/// One replay in progress.
#[derive(Debug)]
pub struct Service<'a> {
    requests: &'a [Request],
    bounds: &'a [Bounds],
    policy: &'a mut dyn Policy,
    executor: &'a mut dyn Executor,
    ideal_isolation: bool,
    closed_loop: Option<ClosedLoop>,
    events: EventQueue,
    in_flight: InFlight,
    waiting: WaitingQueue<usize>,
    server: Server,
    resident: Option<Level>,
}

/// What the server does. In ideal isolation it is never busy: each request has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Nobody waits for it.
    Idle,
    /// A start is scheduled for this instant.
    Starting,
    /// A completion is scheduled.
    Busy,
}

impl<'a> Service<'a> {
    pub fn new(
        requests: &'a [Request],
        bounds: &'a [Bounds],
        policy: &'a mut dyn Policy,
        executor: &'a mut dyn Executor,
        options: ServiceOptions,
    ) -> Self {
        Self {
            requests,
            bounds,
            policy,
            executor,
            ideal_isolation: options.ideal_isolation,
            closed_loop: options.closed_loop.then(|| ClosedLoop::new(requests)),
            events: EventQueue::default(),
            in_flight: InFlight::default(),
            waiting: WaitingQueue::new(options.discipline),
            server: Server::Idle,
            resident: None,
        }
    }

    /// Works off all events; every request is recorded once, as soon as its outcome is known.
    pub fn run(mut self, sink: &mut dyn OutcomeSink) -> Result<()> {
        self.expect_first_arrivals();
        while let Some((now, event)) = self.events.next() {
            match event {
                Event::Completion(place) => self.complete(now, place)?,
                Event::Arrival(index) => self.arrive(now, index),
                Event::Start => {
                    let place = self.start(now)?;
                    sink.record(self.in_flight.get(place))?;
                }
            }
        }
        Ok(())
    }

    fn expect_first_arrivals(&mut self) {
        match &self.closed_loop {
            None => self.expect_arrival(0),
            Some(closed_loop) => {
                for &index in &closed_loop.firsts {
                    self.events.schedule(self.requests[index].arrival, Event::Arrival(index));
                }
            }
        }
    }

    /// Open arrivals are chained: each schedules the next, so that the heap stays small.
    fn expect_arrival(&mut self, index: usize) {
        if let Some(request) = self.requests.get(index) {
            self.events.schedule(request.arrival, Event::Arrival(index));
        }
    }

    fn arrive(&mut self, now: SimTime, index: usize) {
        let due = self.bounds[index].first_token_due();
        self.waiting.push(index, due.map_or(SimTime::NEVER, |due| now.saturating_add(due)));
        if self.server == Server::Idle {
            self.schedule_start(now);
        }
        match &mut self.closed_loop {
            None => self.expect_arrival(index + 1),
            Some(closed_loop) => closed_loop.arrive(index, now),
        }
    }

    fn schedule_start(&mut self, now: SimTime) {
        self.server = Server::Starting;
        self.events.schedule(now, Event::Start);
    }

    /// Takes up the next request, and says where it is among those in flight.
    fn start(&mut self, now: SimTime) -> Result<usize> {
        let index = self.waiting.pop(now).expect("a start is scheduled only while a request waits");
        let place = self.serve(now, index)?;
        self.server = Server::Busy;
        if self.ideal_isolation {
            self.release(now);
        }
        Ok(place)
    }

    fn serve(&mut self, now: SimTime, index: usize) -> Result<usize> {
        let (mut request, bounds) = (self.requests[index], self.bounds[index]);
        if let Some(closed_loop) = &mut self.closed_loop {
            request.arrival = closed_loop.take(index);
        }
        let view = ServiceView { now, resident: self.resident, queued: self.waiting.len() };
        let plan = self.policy.plan(RequestView::new(&request, bounds), view);
        let billed = self.policy.settle()?;
        let mut execution = self.executor.execute(&request, &plan)?;
        if let Some(decide) = billed {
            execution.decide = decide;
        }
        let end = end_of(now, request.id, &execution)?;
        self.resident = Some(plan.level);
        let outcome = Outcome { request, bounds, plan, start: now, execution };
        let place = self.in_flight.put(outcome);
        self.events.schedule(end, Event::Completion(place));
        Ok(place)
    }

    fn complete(&mut self, now: SimTime, place: usize) -> Result<()> {
        let outcome = self.in_flight.get(place);
        self.policy.observe(outcome);
        let successor = self.closed_loop.as_ref().and_then(|it| it.successor(outcome.request.id));
        self.in_flight.remove(place);
        if let Some((next, think)) = successor {
            let next_call = now.checked_add(think);
            let next_call = next_call.ok_or_else(|| beyond_time(self.requests[next].id))?;
            self.events.schedule(next_call, Event::Arrival(next));
        }
        if !self.ideal_isolation {
            self.release(now);
        }
        Ok(())
    }

    fn release(&mut self, now: SimTime) {
        self.server = Server::Idle;
        if self.waiting.len() > 0 {
            self.schedule_start(now);
        }
    }
}

/// Requests that are being answered, kept aside so that events are small.
#[derive(Debug, Default)]
struct InFlight {
    outcomes: Vec<Outcome>,
    free: Vec<usize>,
}

impl InFlight {
    fn put(&mut self, outcome: Outcome) -> usize {
        if let Some(place) = self.free.pop() {
            self.outcomes[place] = outcome;
            return place;
        }
        self.outcomes.push(outcome);
        self.outcomes.len() - 1
    }

    fn get(&self, place: usize) -> &Outcome {
        &self.outcomes[place]
    }

    fn remove(&mut self, place: usize) {
        self.free.push(place);
    }
}

/// When a request that is taken up at `start` has its last token.
///
/// # Errors
/// If time or energy are more than can be told.
pub(super) fn end_of(start: SimTime, request: u64, execution: &Execution) -> Result<SimTime> {
    let takes = execution.until_first_token() + execution.decode;
    let end = start.checked_add(takes);
    let end = end.ok_or_else(|| beyond_time(request).found(format!("{takes:?} of work")))?;
    check_energy(request, execution)?;
    Ok(end)
}

/// The error of a replay whose device is so slow that its clock runs over.
pub(super) fn beyond_time(request: u64) -> Error {
    Error::new("replay", "lasts longer than simulated time can say")
        .at(format!("request {request}"))
        .allowed("584 years in all: look at the device's latencies")
}

/// Refuses an execution whose device draws more than its meter can say.
fn check_energy(request: u64, execution: &Execution) -> Result<()> {
    if execution.energy() != Some(Energy::MOST) {
        return Ok(());
    }
    let takes = execution.until_first_token() + execution.decode;
    Err(Error::new("replay", "draws more energy than can be told")
        .at(format!("request {request}"))
        .found(format!("{takes:?} of work"))
        .allowed("18 GJ a request: look at the device's latencies and power"))
}
