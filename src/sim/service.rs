//! The service: a scheduler driven with virtual time, one model, the level that is resident.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::outcome::{Execution, Interruptions, Outcome};
use crate::plan::Plan;
use crate::policy::{Policy, ServiceView};
use crate::request::{Bounds, Request, RequestView};
use crate::schedule::{Decision, Job, Reason, Scheduler, ServiceOptions, Ticket};
use crate::units::{Energy, Level, SimTime};

use super::closed_loop::ClosedLoop;
use super::kernel::{Event, EventQueue};
use super::legs::Run;
use super::{Calls, Lost, OutcomeSink};

/// What a replay is driven with.
pub struct World<'w> {
    pub calls: Calls<'w>,
    pub executor: &'w mut dyn Executor,
    pub sink: &'w mut dyn OutcomeSink,
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// A plan is to be made for this request.
    Plan(Asked),
    /// This request was completed, which a policy that learns wants to know.
    Observe(Outcome),
}

/// A request that is taken up and has no plan yet.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    ticket: Ticket,
    /// Its place among the calls.
    pub nth: usize,
    /// As it arrived.
    pub request: Request,
    /// Its objective as quantities.
    pub bounds: Bounds,
    /// What a policy may know of the service.
    pub service: ServiceView,
}

impl Asked {
    /// What a policy may know of the request.
    #[must_use]
    pub fn view(&self) -> RequestView<'_> {
        RequestView::new(&self.request, self.bounds)
    }
}

/// One replay in progress.
#[derive(Debug)]
pub struct Service {
    closed_loop: Option<ClosedLoop>,
    events: EventQueue,
    scheduler: Scheduler,
    /// The instant that is being worked off.
    now: Option<SimTime>,
    /// Those that were taken up, by their tickets' places.
    runs: Vec<Option<(Ticket, Run)>>,
    /// Whether what is taken up is served to its end, so that its outcome is known at once.
    is_certain: bool,
    resident: Option<Level>,
}

impl Service {
    pub fn new(calls: Calls<'_>, options: ServiceOptions) -> Self {
        let leaves =
            |request: &Request| request.terms.cancel_after.is_some() || request.terms.supersedes;
        let mut service = Self {
            closed_loop: options.closed_loop.then(|| ClosedLoop::new(calls.requests)),
            events: EventQueue::default(),
            scheduler: Scheduler::new(options),
            now: None,
            runs: Vec::new(),
            is_certain: !options.may_interrupt() && !calls.requests.iter().any(leaves),
            resident: None,
        };
        service.expect_first_arrivals(calls);
        service
    }

    /// Works off all events; every request is recorded once: as soon as its outcome is known, or
    /// as lost.
    pub fn run(
        mut self,
        world: &mut World<'_>,
        policy: &mut dyn Policy,
        mut log: impl FnMut(SimTime, Decision),
    ) -> Result<()> {
        while let Some(turn) = self.next_turn(world, &mut log)? {
            match turn {
                Turn::Plan(asked) => {
                    let plan = policy.plan(asked.view(), asked.service);
                    let billed = policy.settle()?;
                    self.start(world, &asked, plan, billed)?;
                }
                Turn::Observe(outcome) => policy.observe(&outcome),
            }
        }
        Ok(())
    }

    /// Works off events until it is somebody's turn; `None` once nothing is left. Who is asked for
    /// a plan is to [start](Self::start) the request before the next turn.
    pub fn next_turn(
        &mut self,
        world: &mut World<'_>,
        log: &mut impl FnMut(SimTime, Decision),
    ) -> Result<Option<Turn>> {
        while let Some(now) = self.now.or_else(|| self.next_instant()) {
            self.now = Some(now);
            while let Some(event) = self.events.next_at(now) {
                if let Some(outcome) = self.happened(now, event, world)? {
                    return Ok(Some(Turn::Observe(outcome)));
                }
            }
            let Some(decision) = self.scheduler.decide(now) else {
                self.now = None;
                continue;
            };
            log(now, decision);
            if let Decision::Start(ticket) = decision {
                return Ok(Some(Turn::Plan(self.asked(now, ticket, world))));
            }
            self.act(now, decision, world)?;
        }
        Ok(None)
    }

    fn next_instant(&mut self) -> Option<SimTime> {
        let (event, wake) = (self.events.next_instant(), self.scheduler.wake());
        event.into_iter().chain(wake).min()
    }

    /// Returns what was completed, if anything was.
    fn happened(
        &mut self,
        now: SimTime,
        event: Event,
        world: &mut World<'_>,
    ) -> Result<Option<Outcome>> {
        match event {
            Event::Completion(ticket, leg) => return self.complete(now, ticket, leg, world),
            Event::Stop(ticket) => {
                let cached = self.run_of(ticket).stop(now);
                self.scheduler.stopped(now, ticket, cached);
            }
            Event::Cancel(ticket) => self.scheduler.cancel(now, ticket),
            Event::Arrival(index) => self.arrive(now, index, world.calls),
        }
        Ok(None)
    }

    fn act(&mut self, now: SimTime, decision: Decision, world: &mut World<'_>) -> Result<()> {
        match decision {
            Decision::Start(_) => unreachable!("a request that is taken up is asked about"),
            Decision::Resume { ticket, read_again } => self.resume(now, ticket, read_again, world),
            Decision::Stop(ticket) => {
                if let Some(at) = self.run_of(ticket).stop_at(now) {
                    self.events.schedule(at, Event::Stop(ticket));
                }
                Ok(())
            }
            Decision::Leave(ticket, reason) => self.lose(now, ticket, reason, world),
        }
    }

    fn expect_first_arrivals(&mut self, calls: Calls<'_>) {
        match &self.closed_loop {
            None => self.expect_arrival(0, calls),
            Some(closed_loop) => {
                for &index in &closed_loop.firsts {
                    self.events.schedule(calls.requests[index].arrival, Event::Arrival(index));
                }
            }
        }
    }

    /// Open arrivals are chained: each schedules the next, so that the heap stays small.
    fn expect_arrival(&mut self, index: usize, calls: Calls<'_>) {
        if let Some(request) = calls.requests.get(index) {
            self.events.schedule(request.arrival, Event::Arrival(index));
        }
    }

    fn arrive(&mut self, now: SimTime, index: usize, calls: Calls<'_>) {
        let request = &calls.requests[index];
        let due = calls.bounds[index].first_token_due();
        let job = Job {
            id: index as u64,
            app: request.app,
            priority: request.terms.priority,
            due: due.map_or(SimTime::NEVER, |due| now.saturating_add(due)),
            supersedes: request.terms.supersedes,
            needs: calls.needs.map(|needs| needs[index]).unwrap_or_default(),
        };
        let ticket = self.scheduler.arrive(now, job);
        if let Some(patience) = request.terms.cancel_after {
            self.events.schedule(now.saturating_add(patience), Event::Cancel(ticket));
        }
        match &mut self.closed_loop {
            None => self.expect_arrival(index + 1, calls),
            Some(closed_loop) => closed_loop.arrive(index, now),
        }
    }

    /// The request of `ticket` as it arrived, which is now taken up or lost for good.
    fn take(&mut self, ticket: Ticket, calls: Calls<'_>) -> (Request, Bounds) {
        let index = ticket.id as usize;
        let mut request = calls.requests[index];
        if let Some(closed_loop) = &mut self.closed_loop {
            request.arrival = closed_loop.take(index);
        }
        (request, calls.bounds[index])
    }

    fn asked(&mut self, now: SimTime, ticket: Ticket, world: &mut World<'_>) -> Asked {
        let (request, bounds) = self.take(ticket, world.calls);
        let queued = self.scheduler.waiting();
        let speed = world.executor.begin(now);
        let service = ServiceView { now, resident: self.resident, queued, speed };
        Asked { ticket, nth: ticket.id as usize, request, bounds, service }
    }

    /// Goes on with the request that was last asked about: it is answered as `plan` says, whose
    /// choice took what is `billed`, if that counts.
    pub fn start(
        &mut self,
        world: &mut World<'_>,
        asked: &Asked,
        plan: Plan,
        billed: Option<Duration>,
    ) -> Result<()> {
        let Asked { ticket, request, bounds, service: ServiceView { now, .. }, .. } = *asked;
        let mut execution = world.executor.execute(&request, &plan)?;
        if let Some(decide) = billed {
            execution.decide = decide;
        }
        let end = end_of(now, request.id, &execution)?;
        self.resident = Some(plan.resident_after(request.output_tokens));
        let interruptions = Interruptions::default();
        let run =
            Run::new(&Outcome { request, bounds, plan, start: now, execution, interruptions });
        self.events.schedule(end, Event::Completion(ticket, run.leg));
        self.scheduler.expect_until(ticket, end);
        if self.is_certain {
            world.sink.record(&run.outcome)?;
        }
        if self.runs.len() <= ticket.place() {
            self.runs.resize_with(ticket.place() + 1, || None);
        }
        self.runs[ticket.place()] = Some((ticket, run));
        Ok(())
    }

    /// Goes on with a request: its level has to be resident, and its KV cache there.
    fn resume(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        read_again: bool,
        world: &mut World<'_>,
    ) -> Result<()> {
        let Outcome { request, plan, .. } = self.run_of(ticket).outcome;
        let answers = plan.resident_after(request.output_tokens);
        let switch = if self.resident == Some(answers) {
            Duration::ZERO
        } else {
            world.executor.execute(&request, &plan)?.switch
        };
        self.resident = Some(answers);
        let run = self.run_of(ticket);
        let read = if read_again { run.reading_again() } else { Duration::ZERO };
        run.resume(now, switch + read);
        let (left, leg) = (run.left(), run.leg);
        let end = now.checked_add(left).ok_or_else(|| beyond_time(request.id))?;
        self.events.schedule(end, Event::Completion(ticket, leg));
        self.scheduler.expect_until(ticket, end);
        Ok(())
    }

    /// A request leaves without its answer.
    fn lose(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        reason: Reason,
        world: &mut World<'_>,
    ) -> Result<()> {
        let run = self.remove_run(ticket, |_| true);
        let (request, bounds) = match &run {
            Some(run) => (run.outcome.request, run.outcome.bounds),
            None => self.take(ticket, world.calls),
        };
        let worked = run.as_ref().map_or(Duration::ZERO, Run::worked);
        let started = run.map(|run| run.outcome.start);
        world.sink.lose(&Lost { request, bounds, at: now, reason, started, worked })?;
        self.expect_successor(now, request.id, world.calls)
    }

    fn complete(
        &mut self,
        now: SimTime,
        ticket: Ticket,
        leg: u32,
        world: &mut World<'_>,
    ) -> Result<Option<Outcome>> {
        let Some(run) = self.remove_run(ticket, |run| run.leg == leg) else { return Ok(None) };
        if !self.is_certain {
            world.sink.record(&run.outcome)?;
        }
        self.scheduler.finished(now, ticket);
        self.expect_successor(now, run.outcome.request.id, world.calls)?;
        Ok(Some(run.outcome))
    }

    /// The request of `ticket`, which was taken up.
    fn run_of(&mut self, ticket: Ticket) -> &mut Run {
        let run = self.runs[ticket.place()].as_mut().filter(|(of, _)| *of == ticket);
        run.map(|(_, run)| run).expect("it was taken up and is not done")
    }

    /// Takes the request of `ticket` out, if it was taken up and is as `wanted`.
    fn remove_run(&mut self, ticket: Ticket, wanted: impl Fn(&Run) -> bool) -> Option<Run> {
        let run = self.runs.get_mut(ticket.place())?;
        let run = run.take_if(|(of, run)| *of == ticket && wanted(run));
        run.map(|(_, run)| run)
    }

    /// In a closed loop the app thinks, and calls again.
    fn expect_successor(&mut self, now: SimTime, id: u64, calls: Calls<'_>) -> Result<()> {
        let successor = self.closed_loop.as_ref().and_then(|it| it.successor(id));
        if let Some((next, think)) = successor {
            let next_call = now.checked_add(think);
            let next_call = next_call.ok_or_else(|| beyond_time(calls.requests[next].id))?;
            self.events.schedule(next_call, Event::Arrival(next));
        }
        Ok(())
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
