//! Two drivers, one scheduler, the same log: the simulator, which works out when a token is out,
//! and the service, which writes one token at a time and looks after each whether it is to stop.
//! Its clock is scripted.

use std::time::Duration;

use proptest::prelude::*;

use super::script::{Day, ScriptedModel, Takes, call};
use super::{app_named, ms};
use crate::executor::scripted::Scripted;
use crate::outcome::{Execution, Outcome};
use crate::request::{AppId, Bounds, DatasetId, Request, Slo, Terms};
use crate::schedule::testing::any_options;
use crate::schedule::{Decision, Needs, ServiceOptions};
use crate::service::Options;
use crate::service::apps::ServiceApps;
use crate::sim::{Calls, replay_logged};
use crate::units::SimTime;

type Log = Vec<(SimTime, Decision)>;

/// A request, and what answering it takes: so long for each token read, and for each written.
#[derive(Debug, Clone, Copy)]
struct Work {
    request: Request,
    takes: Takes,
}

impl Work {
    fn new(id: u64, arrival: SimTime, app: u16, terms: Terms, takes: Takes) -> Self {
        let bound = Duration::from_millis(10);
        let request = Request {
            id,
            arrival,
            app: AppId(app),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: takes.prompt_tokens,
            output_tokens: takes.output_tokens,
            slo: Slo::Absolute { ttft: bound, tpot: bound },
            terms,
        };
        Self { request, takes }
    }

    fn execution(&self) -> Execution {
        Execution {
            prefill: self.takes.token * self.takes.prompt_tokens,
            decode: self.takes.token * (self.takes.output_tokens - 1),
            kept_tokens: self.takes.prompt_tokens,
            ..Execution::default()
        }
    }
}

fn simulated(works: &[Work], options: ServiceOptions) -> Log {
    let requests: Vec<_> = works.iter().map(|work| work.request).collect();
    let bounds: Vec<_> = works.iter().map(|work| work.takes.bounds).collect();
    let needs: Vec<_> = works.iter().map(|work| work.takes.needs).collect();
    let executions: Vec<_> = works.iter().map(Work::execution).collect();
    let mut executor = Scripted::by(move |request, _| executions[request.id as usize]);
    let (mut policy, mut outcomes, mut log) = (Same, Vec::<Outcome>::new(), Log::new());
    let calls = Calls { requests: &requests, bounds: &bounds, needs: Some(&needs) };
    let logged = |at, decision| log.push((at, decision));
    replay_logged(calls, &mut policy, &mut executor, options, &mut outcomes, logged).unwrap();
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

fn served(works: &[Work], schedule: ServiceOptions) -> Log {
    let apps = (0..3).map(|app| app_named(&format!("app{app}"))).collect();
    let options = Options { schedule, events_max: 100, paused_bytes_max: None };
    let mut day = Day::new(options, ServiceApps::of(apps));
    let takes = works.iter().map(|work| work.takes).collect();
    day.load(ScriptedModel::new(takes, day.script.clone()));
    for Work { request, .. } in works {
        let Terms { priority, cancel_after, supersedes, .. } = request.terms;
        let mut call = call(&format!("app{}", request.app.0), request.id, request.output_tokens);
        (call.priority, call.supersedes) = (Some(priority), Some(supersedes));
        day.script.call(&day.service, request.arrival, request.id, call, cancel_after);
    }
    day.run()
}

/// Requests whose instants often coincide.
fn works() -> impl Strategy<Value = Vec<Work>> {
    let lengths = (1..4_u32, 1..8_u32, 1..3_u64);
    let patience = prop::option::weighted(0.3, 0..40_u64);
    let terms = (0..3_u8, patience, prop::bool::weighted(0.2));
    let work = (0..12_u64, 0..60_u64, 0..3_u16, lengths, terms);
    prop::collection::vec(work, 0..40).prop_map(|works| {
        let mut arrival = SimTime::ZERO;
        let work = |(id, (gap, due, app, (prompt_tokens, output_tokens, token), terms))| {
            arrival = arrival + ms(gap);
            let (priority, patience, supersedes): (u8, Option<u64>, bool) = terms;
            let terms =
                Terms { priority, cancel_after: patience.map(ms), supersedes, cached_tokens: 0 };
            let token = ms(token);
            let needs = Needs {
                until_due: Some(token * prompt_tokens),
                whole: token * (prompt_tokens + output_tokens - 1),
            };
            let bounds = Bounds::Latency { ttft: ms(due), tpot: ms(10) };
            let takes = Takes { prompt_tokens, output_tokens, token, bounds, needs };
            Work::new(id, arrival, app, terms, takes)
        };
        (0..).zip(works).map(work).collect()
    })
}

proptest! {
    #[test]
    fn the_service_and_the_simulator_have_the_same_log(works in works(), options in any_options()) {
        prop_assert_eq!(served(&works, options), simulated(&works, options));
    }
}

/// A log in which nothing happens would pass the test above.
#[test]
fn a_day_has_every_kind_of_decision() {
    let work = |id: u64, arrival, priority, patience: Option<u64>| {
        let terms =
            Terms { priority, cancel_after: patience.map(ms), supersedes: false, cached_tokens: 0 };
        let bounds = Bounds::Latency { ttft: ms(50), tpot: ms(10) };
        let needs = Needs::default();
        let takes = Takes { prompt_tokens: 2, output_tokens: 5, token: ms(10), bounds, needs };
        Work::new(id, SimTime::ZERO + ms(arrival), 0, terms, takes)
    };
    // Told to stop at 25 ms, 0 does at 30 ms, with its second token. 1 takes 30 to 90 ms; then 0
    // reads four tokens again and writes three. 2 gives up at 26 ms.
    let works = [work(0, 0, 0, None), work(1, 25, 1, None), work(2, 25, 0, Some(1))];
    let options = ServiceOptions {
        discipline: crate::schedule::Discipline::Priority,
        preempt: crate::schedule::Preempt::Token,
        paused_tokens: Some(3),
        ..ServiceOptions::default()
    };
    let log = served(&works, options);
    assert_eq!(log, simulated(&works, options));
    let said = log.iter().map(|(at, decision)| {
        let text = format!("{decision:?}");
        let kind = text.split([' ', '(']).next().unwrap().to_owned();
        (at.as_millis_f64() as u64, kind)
    });
    let expected = [(0, "Start"), (25, "Stop"), (26, "Leave"), (30, "Start"), (90, "Resume")];
    assert_eq!(said.collect::<Vec<_>>(), expected.map(|(at, kind)| (at, kind.to_owned())));
}
