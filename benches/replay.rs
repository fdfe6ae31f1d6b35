//! Simulated requests per second through the general path: trace, policy, cost model, sink.
//!
//! The floor is the event kernel with an executor and a policy that do nothing; what a policy and
//! the cost model add is the distance from it.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use pliant::Result;
use pliant::executor::scripted::Scripted;
use pliant::experiment::{Experiment, TraceSource, item_pools};
use pliant::method::{Method, Replayed};
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, ServiceView};
use pliant::profile::DeviceProfile;
use pliant::request::{Bounds, RequestView};
use pliant::sim::{OutcomeSink, ServiceOptions, replay};
use pliant::trace::{SynthSpec, Trace, synthesize};
use pliant::units::Grade;

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
        self.right +=
            u64::from(outcome.slo_met() && outcome.execution.correct.is_some_and(Grade::is_right));
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

/// A trace and each method of the bench experiment.
fn setting() -> Result<(Trace, Vec<Method>)> {
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
         policy = {{ kind = \"external\", command = [\"python3\", \"-B\", \"{}/examples/python/nominal.py\"], \
         share_core = true }}",
        env!("CARGO_MANIFEST_DIR")
    );
    let external = toml::from_str(&external).expect("the method is sound");
    let methods: Vec<_> = spec.methods.into_iter().chain([external]).collect();
    let methods = methods.iter().map(|method| {
        let (answers_of, latency_of) = (&device.base_model, &device.latency_of);
        let (quality, counted) = (within(&spec.quality), spec.api_calls);
        Method::new(&profile, answers_of, latency_of, &quality, counted, method, Replayed::Whole)
    });
    let methods = methods.collect::<Result<_>>()?;
    Ok((trace, methods))
}

fn replays(criterion: &mut Criterion) {
    let (trace, methods) = setting().expect("the bench's files are sound");
    let bounds = methods[0].bounds(&trace).expect("the bench's trace is sound");
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
    for method in &methods {
        // Seconds a pass, against less than a tenth of one.
        let external = method.spec().policy.is_external();
        group.sample_size(if external { 10 } else { 100 });
        let batch = if external { BatchSize::PerIteration } else { BatchSize::LargeInput };
        group.bench_function(method.spec().name.as_str(), |bencher| {
            let players =
                || Ok::<_, pliant::Error>((method.policy(&trace, 1)?, method.cost_model(&trace)?));
            bencher.iter_batched(
                || players().expect("the method fits the trace"),
                |(mut policy, mut executor)| {
                    let mut sink = Counting::default();
                    let (policy, executor) = (policy.as_mut(), &mut executor);
                    replay(&trace.requests, &bounds, policy, executor, &service, &mut sink)
                        .expect("the cost model knows every plan");
                    sink.right
                },
                batch,
            );
        });
    }
    group.finish();
}

/// The external policy in as many replications at a time as there are cores, as an experiment runs
/// them.
fn replications(criterion: &mut Criterion) {
    let (trace, methods) = setting().expect("the bench's files are sound");
    let method = methods.iter().find(|method| method.spec().policy.is_external());
    let method = method.expect("the bench has an external method");
    let bounds = method.bounds(&trace).expect("the bench's trace is sound");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut group = criterion.benchmark_group("replications");
    group.throughput(Throughput::Elements(u64::from(REQUESTS) * cores as u64));
    group.sample_size(10);
    group.bench_function("external, in Python, one on every core", |bencher| {
        bencher.iter_custom(|passes| {
            let started = Barrier::new(cores + 1);
            (0..passes).map(|_| all_at_once(cores, &started, method, &trace, &bounds)).sum()
        });
    });
    group.finish();
}

/// The time from when all programs have started to when the last one is asked no more.
fn all_at_once(
    cores: usize,
    started: &Barrier,
    method: &Method,
    trace: &Trace,
    bounds: &[Bounds],
) -> Duration {
    let one = || {
        let mut policy = method.policy(trace, 1).expect("the method fits the trace");
        let mut executor = method.cost_model(trace).expect("the method fits the trace");
        started.wait();
        let (mut sink, service) = (Counting::default(), ServiceOptions::default());
        let (policy, executor) = (policy.as_mut(), &mut executor);
        replay(&trace.requests, bounds, policy, executor, &service, &mut sink)
            .expect("the cost model knows every plan");
        black_box(sink.right);
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        started.wait();
        #[expect(clippy::disallowed_methods, reason = "what a benchmark measures")]
        let asked = Instant::now();
        for thread in threads {
            thread.join().expect("no replication panics");
        }
        asked.elapsed()
    })
}

criterion_group!(benches, replays, replications);
criterion_main!(benches);
