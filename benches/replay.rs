//! Simulated requests per second through the general path: trace, policy, cost model, sink.
//!
//! The floor is the event kernel with an executor and a policy that do nothing; what a policy and
//! the cost model add is the distance from it.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use pliant::Result;
use pliant::executor::scripted::Scripted;
use pliant::experiment::{Experiment, TraceSource, item_pools};
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, Scene, ServiceView};
use pliant::profile::DeviceProfile;
use pliant::request::RequestView;
use pliant::sim::{OutcomeSink, ServiceOptions, replay};
use pliant::trace::{SynthSpec, Trace, synthesize};

#[path = "../tests/it/bench_files.rs"]
mod bench_files;

const REQUESTS: u32 = 100_000;

/// Counts answers, so that nothing is optimised away.
#[derive(Debug, Default)]
struct Counting {
    right: u64,
}

impl OutcomeSink for Counting {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.right += u64::from(outcome.slo_met() && outcome.execution.correct == Some(true));
        Ok(())
    }
}

#[derive(Debug)]
struct Nothing;

impl Policy for Nothing {
    fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
        Plan::FULL
    }
}

/// A trace and the scene of each method of the bench experiment.
fn setting() -> Result<(Trace, Vec<Scene>)> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    bench_files::write(folder.path());
    let within = |path: &PathBuf| folder.path().join(path);
    let spec = Experiment::load(&folder.path().join("experiment.toml"))?.spec;
    let TraceSource::Synth(source) = &spec.trace else { panic!("the bench synthesises") };
    let synth = SynthSpec { requests: REQUESTS, arrivals_per_hour: 500.0, ..source.spec(0.0, 1) };
    let trace = synthesize(&synth, &item_pools(&within(&source.items))?)?;
    let device = &spec.devices[0];
    let profile = DeviceProfile::load(&within(&device.dir))?;
    let external = format!(
        "name = \"external, in Python\"\nfamily = \"width\"\ncompressor = \"structured\"\n\
         policy = {{ kind = \"external\", command = [\"python3\", \"{}/examples/python/nominal.py\"] }}",
        env!("CARGO_MANIFEST_DIR")
    );
    let external = toml::from_str(&external).expect("the method is sound");
    let methods: Vec<_> = spec.methods.into_iter().chain([external]).collect();
    let scenes = methods.iter().map(|method| {
        let (answers_of, latency_of) = (&device.base_model, &device.latency_of);
        Scene::new(&profile, answers_of, latency_of, &within(&spec.quality), method)
    });
    let scenes = scenes.collect::<Result<_>>()?;
    Ok((trace, scenes))
}

fn replays(criterion: &mut Criterion) {
    let (trace, scenes) = setting().expect("the bench's files are sound");
    let bounds = scenes[0].bounds(&trace).expect("the bench's trace is sound");
    let service = ServiceOptions::default();
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(u64::from(REQUESTS)));
    group.bench_function("kernel alone", |bencher| {
        bencher.iter(|| {
            let execution = Execution { prefill: Duration::from_secs(1), ..Execution::default() };
            let mut executor = Scripted::by(move |_, _| execution);
            let mut sink = Counting::default();
            replay(&trace.requests, &bounds, &mut Nothing, &mut executor, &service, &mut sink)
                .expect("a script never fails");
            sink.right
        });
    });
    for scene in &scenes {
        // Seven seconds a pass, against less than a tenth of one.
        let external = scene.method().policy.is_external();
        group.sample_size(if external { 10 } else { 100 });
        group.bench_function(scene.method().name.as_str(), |bencher| {
            let players =
                || Ok::<_, pliant::Error>((scene.policy(&trace, 1)?, scene.executor(&trace)?));
            bencher.iter_batched(
                || players().expect("the scene fits the trace"),
                |(mut policy, mut executor)| {
                    let mut sink = Counting::default();
                    let (policy, executor) = (policy.as_mut(), executor.as_mut());
                    replay(&trace.requests, &bounds, policy, executor, &service, &mut sink)
                        .expect("the cost model knows every plan");
                    sink.right
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, replays);
criterion_main!(benches);
