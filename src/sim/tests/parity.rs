//! Two drivers, one scheduler, the same log: the simulator, which works out when a token is out,
//! and a server as it will be, which writes one token at a time and looks after each whether it is
//! to stop. Its clock is scripted.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::service::Service;
use super::ms;
use crate::executor::scripted::Scripted;
use crate::outcome::{Execution, Outcome};
use crate::request::{AppId, Bounds, Request, Terms};
use crate::schedule::testing::any_options;
use crate::schedule::{Decision, Job, Needs, Scheduler, ServiceOptions, Ticket};
use crate::sim::Calls;
use crate::units::SimTime;

type Log = Vec<(SimTime, Decision)>;

/// A request, and what answering it takes: so long for each token read, and for each written.
#[derive(Debug, Clone, Copy)]
struct Work {
    request: Request,
    bounds: Bounds,
    needs: Needs,
    token: Duration,
}

impl Work {
    fn execution(&self) -> Execution {
        Execution {
            prefill: self.token * self.request.prompt_tokens,
            decode: self.token * (self.request.output_tokens - 1),
            kept_tokens: self.request.prompt_tokens,
            ..Execution::default()
        }
    }

    fn job(&self, id: u64) -> Job {
        let Request { app, terms, .. } = self.request;
        let due = self.request.arrival + self.bounds.first_token_due().unwrap();
        let Terms { priority, supersedes, .. } = terms;
        Job { id, app, priority, due, supersedes, needs: self.needs }
    }
}

fn simulated(works: &[Work], options: ServiceOptions) -> Log {
    let requests: Vec<_> = works.iter().map(|work| work.request).collect();
    let bounds: Vec<_> = works.iter().map(|work| work.bounds).collect();
    let needs: Vec<_> = works.iter().map(|work| work.needs).collect();
    let executions: Vec<_> = works.iter().map(Work::execution).collect();
    let mut executor = Scripted::by(move |request, _| executions[request.id as usize]);
    let (mut policy, mut outcomes, mut log) = (Same, Vec::<Outcome>::new(), Log::new());
    let calls = Calls { requests: &requests, bounds: &bounds, needs: Some(&needs) };
    let service = Service::new(calls, &mut policy, &mut executor, options);
    service.run(&mut outcomes, |at, decision| log.push((at, decision))).unwrap();
    log
}

/// A policy that keeps one level.
#[derive(Debug)]
struct Same;

impl crate::policy::Policy for Same {
    fn plan(
        &mut self,
        _: crate::request::RequestView<'_>,
        _: crate::policy::ServiceView,
    ) -> crate::plan::Plan {
        crate::plan::Plan::FULL
    }
}

/// A server that writes one token at a time.
struct Server<'a> {
    works: &'a [Work],
    scheduler: Scheduler,
    answering: Option<Answering>,
    /// By id: the tokens that those who wait have written.
    written: BTreeMap<u64, u32>,
    /// When apps give up, in that order; of one instant in the order of their calls.
    patience: BTreeMap<(SimTime, u64), Ticket>,
    log: Log,
}

struct Answering {
    ticket: Ticket,
    /// Tokens written, once the step at hand is done.
    will_be: u32,
    /// When it is.
    step_ends: SimTime,
    /// When the last one was.
    step_ended: SimTime,
    is_to_stop: bool,
}

impl<'a> Server<'a> {
    fn day(works: &'a [Work], options: ServiceOptions) -> Log {
        let mut server = Self {
            works,
            scheduler: Scheduler::new(options),
            answering: None,
            written: BTreeMap::new(),
            patience: BTreeMap::new(),
            log: Log::new(),
        };
        let mut calls = (0..).zip(works).peekable();
        loop {
            let arrives = calls.peek().map(|(_, work)| work.request.arrival);
            let gives_up = server.patience.first_key_value().map(|((at, _), _)| *at);
            let token = server.answering.as_ref().map(|answering| answering.step_ends);
            let instants = [arrives, gives_up, token, server.scheduler.wake()];
            let Some(now) = instants.into_iter().flatten().min() else { return server.log };
            server.token(now);
            server.lose_patience(now);
            while let Some((id, work)) = calls.next_if(|(_, work)| work.request.arrival == now) {
                let ticket = server.scheduler.arrive(now, work.job(id));
                if let Some(patience) = work.request.terms.cancel_after {
                    server.patience.insert((now + patience, id), ticket);
                    server.lose_patience(now);
                }
            }
            while let Some(decision) = server.scheduler.decide(now) {
                server.log.push((now, decision));
                server.obey(now, decision);
            }
        }
    }

    fn lose_patience(&mut self, now: SimTime) {
        while let Some(entry) = self.patience.first_entry().filter(|entry| entry.key().0 == now) {
            let ticket = entry.remove();
            self.scheduler.cancel(now, ticket);
        }
    }

    /// A step is done: perhaps that was all, perhaps it is to stop.
    fn token(&mut self, now: SimTime) {
        let works = self.works;
        let Some(mut answering) = self.answering.take_if(|it| it.step_ends == now) else { return };
        let work = &works[answering.ticket.id as usize];
        if answering.will_be == work.request.output_tokens {
            self.scheduler.finished(now, answering.ticket);
        } else if answering.is_to_stop {
            self.stop(now, answering.ticket, answering.will_be);
        } else {
            answering.will_be += 1;
            (answering.step_ended, answering.step_ends) = (now, now + work.token);
            self.answering = Some(answering);
        }
    }

    fn stop(&mut self, now: SimTime, ticket: Ticket, written: u32) {
        self.written.insert(ticket.id, written);
        let cached = self.works[ticket.id as usize].request.prompt_tokens + written;
        self.scheduler.stopped(now, ticket, cached.into());
    }

    fn obey(&mut self, now: SimTime, decision: Decision) {
        match decision {
            Decision::Start(ticket) => self.step(now, ticket, 1, |work| work.request.prompt_tokens),
            Decision::Resume { ticket, read_again } => {
                let written = self.written[&ticket.id];
                if read_again {
                    let all = |work: &Work| work.request.prompt_tokens + written;
                    self.step(now, ticket, written, all);
                } else {
                    self.step(now, ticket, written + 1, |_| 1);
                }
            }
            Decision::Stop(_) => {
                let answering = self.answering.as_mut().expect("who stops is answering");
                answering.is_to_stop = true;
                if answering.step_ended == now {
                    let Answering { ticket, will_be, .. } = self.answering.take().unwrap();
                    self.stop(now, ticket, will_be - 1);
                }
            }
            Decision::Leave(..) => {}
        }
    }

    /// Begins a step of `tokens`, after which so many are written.
    fn step(&mut self, now: SimTime, ticket: Ticket, will_be: u32, tokens: impl Fn(&Work) -> u32) {
        let work = &self.works[ticket.id as usize];
        let step_ends = now + work.token * tokens(work);
        let left = work.request.output_tokens - will_be;
        self.scheduler.expect_until(ticket, step_ends + work.token * left);
        let step_ended = SimTime::NEVER;
        let is_to_stop = false;
        self.answering = Some(Answering { ticket, will_be, step_ends, step_ended, is_to_stop });
    }
}

/// Requests whose instants often coincide.
fn works() -> impl Strategy<Value = Vec<Work>> {
    let lengths = (1..4_u32, 1..8_u32, 1..3_u64);
    let patience = prop::option::weighted(0.3, 0..40_u64);
    let terms = (0..3_u8, patience, prop::bool::weighted(0.2));
    let work = (0..12_u64, 0..60_u64, 0..3_u16, lengths, terms);
    prop::collection::vec(work, 0..40).prop_map(|works| {
        let mut arrival = SimTime::ZERO;
        let work = |(id, (gap, due, app, (prompt, output, token), terms))| {
            arrival = arrival + ms(gap);
            let (mut request, _) = super::request(id, 0, 0);
            request.arrival = arrival;
            (request.app, request.prompt_tokens, request.output_tokens) =
                (AppId(app), prompt, output);
            let (priority, patience, supersedes): (u8, Option<u64>, bool) = terms;
            let cancel_after = patience.map(ms);
            request.terms = Terms { priority, cancel_after, supersedes };
            let bounds = Bounds::Latency { ttft: ms(due), tpot: ms(10) };
            let token = ms(token);
            let needs =
                Needs { until_due: Some(token * prompt), whole: token * (prompt + output - 1) };
            Work { request, bounds, needs, token }
        };
        (0..).zip(works).map(work).collect()
    })
}

proptest! {
    #[test]
    fn a_server_and_the_simulator_have_the_same_log(works in works(), options in any_options()) {
        prop_assert_eq!(Server::day(&works, options), simulated(&works, options));
    }
}

/// A log in which nothing happens would pass the test above.
#[test]
fn a_day_has_every_kind_of_decision() {
    let work = |id: u64, arrival, priority, cancel_after| {
        let (mut request, bounds) = super::request(id, arrival, 50);
        request.terms = Terms { priority, cancel_after, supersedes: false };
        (request.prompt_tokens, request.output_tokens) = (2, 5);
        Work { request, bounds, needs: Needs::default(), token: ms(10) }
    };
    // Told to stop at 25 ms, 0 does at 30 ms, with its second token. 1 takes 30 to 90 ms; then 0
    // reads four tokens again and writes three. 2 gives up at 26 ms.
    let works = [work(0, 0, 0, None), work(1, 25, 1, None), work(2, 25, 0, Some(ms(1)))];
    let options = ServiceOptions {
        discipline: crate::schedule::Discipline::Priority,
        preempt: crate::schedule::Preempt::Token,
        paused_tokens: Some(3),
        ..ServiceOptions::default()
    };
    let log = simulated(&works, options);
    assert_eq!(log, Server::day(&works, options));
    let said = log.iter().map(|(at, decision)| {
        let text = format!("{decision:?}");
        let kind = text.split([' ', '(']).next().unwrap().to_owned();
        (at.as_millis_f64() as u64, kind)
    });
    let expected = [(0, "Start"), (25, "Stop"), (26, "Leave"), (30, "Start"), (90, "Resume")];
    assert_eq!(said.collect::<Vec<_>>(), expected.map(|(at, kind)| (at, kind.to_owned())));
}
