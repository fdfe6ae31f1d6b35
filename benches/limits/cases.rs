//! The cases: replays of one trace, ever more of what a comparison needs.

use std::hint::black_box;
use std::time::Duration;

use pliant::Result;
use pliant::executor::scripted::Scripted;
use pliant::method::Method;
use pliant::metrics::Tally;
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, ServiceView};
use pliant::request::{Bounds, RequestView};
use pliant::sim::{
    Discipline, Ledger, OutcomeSink, Ran, Served, ServedSink, ServiceOptions, replay,
    replay_columns,
};
use pliant::trace::{Columns, SynthSpec, Trace, synthesize};

use crate::clock::on_the_wall;
use crate::record::{Goal, Line};
use crate::scene::Scene;

/// Something that replays `requests` when it is run.
pub struct Case<'s> {
    pub name: String,
    pub goal: Goal,
    pub requests: u64,
    pub run: Box<dyn FnMut() + 's>,
}

/// Requests that are replayed by events.
const BY_EVENTS: u32 = 1_000_000;

/// What `metrics.csv` needs of a request.
pub struct Measures(pub Tally);

impl ServedSink for Measures {
    #[inline]
    fn served(&mut self, served: Served<'_, '_>) -> Result<()> {
        self.0.served(served.nth, &served);
        Ok(())
    }
}

/// Replays `columns` with all measures.
pub fn measured(ledger: &mut Ledger<'_>, columns: &Columns, options: ServiceOptions) {
    let mut sink = Measures(Tally::of_measures_alone());
    let ran = replay_columns(ledger, columns.calls(), &options, &mut sink);
    black_box(sink.0.finish_with(ledger, ran.expect("every plan has an answer")));
}

pub fn all(scene: &Scene) -> Vec<Case<'_>> {
    let requests = scene.columns.len() as u64;
    let fifo = ServiceOptions::default();
    let mut cases = Vec::new();
    let mut ledger = scene.ledger(scene.method("full"));
    cases.push(Case {
        name: "replay: full, counters".into(),
        goal: Goal::OfLimit(0.5),
        requests,
        run: Box::new(move || {
            let ran: Ran = replay_columns(&mut ledger, scene.columns.calls(), &fifo, &mut ())
                .expect("every plan has an answer");
            black_box(ran);
        }),
    });
    let study = scene.methods.iter().map(|method| method.spec().name.as_str());
    for name in study {
        let (goal, what) = match name {
            "full" => (Goal::OfLimit(0.25), ", all measures"),
            _ if name.ends_with("+wait") => (Goal::PerSecond(40e6), ", all measures"),
            _ => (Goal::OfLimit(0.2), ", all measures"),
        };
        cases.push(case(scene, format!("replay: {name}{what}"), goal, scene.method(name), fifo));
    }
    let edf = ServiceOptions { discipline: Discipline::Edf, ..fifo };
    for name in ["full", "elastilm"] {
        let title = format!("replay: {name}, EDF, all measures");
        cases.push(case(scene, title, Goal::PerSecond(40e6), scene.method(name), edf));
    }
    cases.extend(by_events(scene));
    cases
}

fn case<'s>(
    scene: &'s Scene,
    name: String,
    goal: Goal,
    method: &Method,
    options: ServiceOptions,
) -> Case<'s> {
    let mut ledger = scene.ledger(method);
    let run = Box::new(move || measured(&mut ledger, &scene.columns, options));
    Case { name, goal, requests: scene.columns.len() as u64, run }
}

#[derive(Debug)]
struct Nothing;

impl Policy for Nothing {
    fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
        Plan::FULL
    }
}

/// Counts, so that nothing is left out.
#[derive(Debug, Default)]
struct Counting(u64);

impl OutcomeSink for Counting {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.0 += u64::from(outcome.slo_met());
        Ok(())
    }
}

/// The reference, with nothing to decide and with the study's methods.
fn by_events(scene: &Scene) -> Vec<Case<'_>> {
    let spec = SynthSpec { requests: BY_EVENTS.min(scene.synth.requests), ..scene.synth.clone() };
    let trace = synthesize(&spec, &scene.pools).expect("the scene's trace is sound");
    let trace: &Trace = Box::leak(Box::new(trace));
    let bounds = scene.method("full").bounds(trace).expect("no objective is on energy");
    let bounds: &[Bounds] = Box::leak(bounds.into());
    let options = ServiceOptions::default();
    let requests = trace.requests.len() as u64;
    let nothing = Case {
        name: "events: nothing to decide".into(),
        goal: Goal::PerSecond(20e6),
        requests,
        run: Box::new(move || {
            let execution =
                Execution { prefill: Duration::from_millis(200), ..Execution::default() };
            let mut executor = Scripted::by(move |_, _| execution);
            let mut sink = Counting::default();
            replay(&trace.requests, bounds, &mut Nothing, &mut executor, &options, &mut sink)
                .expect("a script never fails");
            black_box(sink.0);
        }),
    };
    let method = move |name: &str| {
        let method = scene.method(name);
        Case {
            name: format!("events: {name}"),
            goal: Goal::None,
            requests,
            run: Box::new(move || {
                let (mut policy, mut executor) = method.players(trace, 1).expect("known items");
                let mut sink = Counting::default();
                let policy = policy.as_mut();
                replay(&trace.requests, bounds, policy, &mut executor, &options, &mut sink)
                    .expect("every plan has an answer");
                black_box(sink.0);
            }),
        }
    };
    vec![nothing, method("full"), method("elastic-profile+lora"), method("elastilm")]
}

/// Eight methods on two threads.
pub fn together(scene: &Scene) -> Vec<Line> {
    let names: Vec<_> = scene.methods.iter().take(8).collect();
    let options = ServiceOptions::default();
    let mut ledgers: Vec<_> = names.iter().map(|method| scene.ledger(method)).collect();
    let requests = 8 * scene.columns.len() as u64;
    let mut pass = || {
        std::thread::scope(|scope| {
            for half in ledgers.chunks_mut(4) {
                scope.spawn(|| {
                    for ledger in half {
                        measured(ledger, &scene.columns, options);
                    }
                });
            }
        });
    };
    pass();
    let took = on_the_wall(&mut pass).min(on_the_wall(&mut pass));
    let name = "replay: eight methods, two threads, all measures";
    vec![Line::new(name, Goal::Seconds(1.0), requests, took)]
}
