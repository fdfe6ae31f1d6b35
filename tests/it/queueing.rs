//! The simulator against queueing theory: mean waits of M/M/1, M/D/1 and a closed loop.

use std::time::Duration;

use pliant::executor::scripted::Scripted;
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, ServiceView};
use pliant::request::{AppId, Bounds, DatasetId, Request, RequestView, Slo, Terms};
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
    (0..REQUESTS as u64)
        .map(|id| {
            arrival = arrival + Duration::from_secs_f64(gaps.sample(&mut rng));
            request(id, arrival)
        })
        .collect()
}

fn request(id: u64, arrival: SimTime) -> Request {
    let bound = Duration::from_secs(1);
    Request {
        id,
        arrival,
        app: AppId(0),
        dataset: DatasetId(0),
        item: 0.into(),
        prompt_tokens: 1,
        output_tokens: 1,
        slo: Slo::Absolute { ttft: bound, tpot: bound },
        terms: Terms::default(),
    }
}

/// Mean wait in s of one replication; services have the lengths in s that `service` draws.
fn mean_wait(load: f64, seed: u64, service: impl FnMut() -> f64 + Send + 'static) -> f64 {
    let waits = waits(&arrivals(load, seed), ServiceOptions::default(), service);
    mean(&waits[REQUESTS / 5..])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Waits in s, in order of service.
fn waits(
    requests: &[Request],
    options: ServiceOptions,
    mut service: impl FnMut() -> f64 + Send + 'static,
) -> Vec<f64> {
    let second = Duration::from_secs(1);
    let bounds = vec![Bounds::Latency { ttft: second, tpot: second }; requests.len()];
    let mut executor = Scripted::by(move |_, _| Execution {
        prefill: Duration::from_secs_f64(service()),
        ..Execution::default()
    });
    let mut outcomes = Vec::new();
    replay(requests, &bounds, &mut Full, &mut executor, &options, &mut outcomes)
        .expect("nothing can fail");
    outcomes.iter().map(|outcome: &Outcome| outcome.queued().as_secs_f64()).collect()
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

/// Three apps that think 2 s and one server that takes 1 s, both exponential: M/M/1//3. With ρ = ½
/// the server idles with probability 1 / (1 + 3ρ + 6ρ² + 6ρ³) = 1/4.75, so the throughput is
/// 3.75/4.75 a second; the response takes 3 / throughput − 2 = 1.8 s (the interactive response time
/// law), of which 0.8 s are the wait. The last tenth is left out: apps run out of requests there.
#[test]
fn mean_waits_in_a_closed_loop_are_within_three_standard_errors() {
    let options = ServiceOptions { closed_loop: true, ..ServiceOptions::default() };
    let waits: Vec<_> = (0..REPLICATIONS)
        .map(|seed| {
            let services = Exp::new(1.0).expect("the rate is positive");
            let mut rng = stream(seed, "test/services");
            let waits = waits(&thinkers(seed), options, move || services.sample(&mut rng));
            mean(&waits[REQUESTS / 5..REQUESTS * 9 / 10])
        })
        .collect();
    assert_mean(&waits, 0.8);
}

/// Requests of three apps whose gaps, the times to think, have a mean of 2 s.
fn thinkers(seed: u64) -> Vec<Request> {
    let thoughts = Exp::new(0.5).expect("the rate is positive");
    let mut requests = Vec::new();
    for app in 0..3 {
        let mut rng = stream(seed, &format!("test/app {app}"));
        let mut arrival = SimTime::ZERO;
        for _ in 0..REQUESTS.div_ceil(3) {
            arrival = arrival + Duration::from_secs_f64(thoughts.sample(&mut rng));
            requests.push(Request { app: AppId(app), ..request(0, arrival) });
        }
    }
    requests.sort_by_key(|request| request.arrival);
    for (id, request) in (0..).zip(&mut requests) {
        request.id = id;
    }
    requests
}
