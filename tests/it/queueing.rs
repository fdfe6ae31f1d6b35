//! The simulator against queueing theory: mean waits of M/M/1 and M/D/1.

use std::time::Duration;

use pliant::executor::scripted::Scripted;
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, ServiceView};
use pliant::request::{AppId, Bounds, DatasetId, Request, RequestView, Slo};
use pliant::rng::stream;
use pliant::sim::{ServiceOptions, replay};
use pliant::units::SimTime;
use rand_distr::{Distribution, Exp};

/// Independent replications of one queue, and how many requests each has. The first fifth of a
/// replication is left out of its mean: it starts with an empty queue.
const REPLICATIONS: u64 = 30;
const REQUESTS: usize = 10_000;

#[derive(Debug)]
struct Full;

impl Policy for Full {
    fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
        Plan::FULL
    }
}

fn arrivals(load: f64, seed: u64) -> Vec<Request> {
    let gaps = Exp::new(load).expect("the load is positive");
    let mut rng = stream(seed, "test/arrivals");
    let mut arrival = SimTime::ZERO;
    let bound = Duration::from_secs(1);
    (0..REQUESTS as u64)
        .map(|id| {
            arrival = arrival + Duration::from_secs_f64(gaps.sample(&mut rng));
            Request {
                id,
                arrival,
                app: AppId(0),
                dataset: DatasetId(0),
                item: 0,
                prompt_tokens: 1,
                output_tokens: 1,
                slo: Slo::Absolute { ttft: bound, tpot: bound },
            }
        })
        .collect()
}

/// Mean wait in s of one replication; services have the lengths in s that `service` draws.
fn mean_wait(load: f64, seed: u64, mut service: impl FnMut() -> f64 + Send + 'static) -> f64 {
    let requests = arrivals(load, seed);
    let second = Duration::from_secs(1);
    let bounds = vec![Bounds { ttft: second, tpot: second }; requests.len()];
    let mut executor = Scripted::by(move |_, _| Execution {
        prefill: Duration::from_secs_f64(service()),
        ..Execution::default()
    });
    let mut outcomes = Vec::new();
    let options = ServiceOptions::default();
    replay(&requests, &bounds, &mut Full, &mut executor, &options, &mut outcomes)
        .expect("nothing can fail");
    let settled = &outcomes[REQUESTS / 5..];
    settled.iter().map(|outcome: &Outcome| outcome.queued().as_secs_f64()).sum::<f64>()
        / settled.len() as f64
}

/// Asserts that `waits`, one per replication, have a mean within 3 standard errors of `theory`,
/// and that they can tell it from a value 10 % off.
fn assert_mean(waits: &[f64], theory: f64) {
    let n = waits.len() as f64;
    let mean = waits.iter().sum::<f64>() / n;
    let variance = waits.iter().map(|wait| (wait - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let standard_error = (variance / n).sqrt();
    assert!(
        (mean - theory).abs() <= 3.0 * standard_error,
        "mean wait {mean} s ± {standard_error} s, theory {theory} s"
    );
    assert!(3.0 * standard_error < 0.1 * theory, "{standard_error} s is too coarse a test");
}

/// Pollaczek–Khinchine for service time S of mean 1 s: load · E[S²] / (2 (1 − load)); E[S²] is 2
/// for exponential and 1 for constant service.
fn theory(load: f64, second_moment: f64) -> f64 {
    load * second_moment / (2.0 * (1.0 - load))
}

#[test]
fn mean_waits_of_an_mm1_queue_are_within_three_standard_errors() {
    for load in [0.5, 0.7] {
        let waits: Vec<_> = (0..REPLICATIONS)
            .map(|seed| {
                let services = Exp::new(1.0).expect("the rate is positive");
                let mut rng = stream(seed, "test/services");
                mean_wait(load, seed, move || services.sample(&mut rng))
            })
            .collect();
        assert_mean(&waits, theory(load, 2.0));
    }
}

#[test]
fn mean_waits_of_an_md1_queue_are_within_three_standard_errors() {
    for load in [0.5, 0.7] {
        let waits: Vec<_> = (0..REPLICATIONS).map(|seed| mean_wait(load, seed, || 1.0)).collect();
        assert_mean(&waits, theory(load, 1.0));
    }
}
