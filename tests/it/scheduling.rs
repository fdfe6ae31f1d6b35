//! The scheduler against queueing theory: two classes with and without interruption, a bounded
//! queue, and the conservation law with what breaks it; then from an experiment to its files.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use pliant::Error;
use pliant::executor::scripted::Scripted;
use pliant::outcome::{Execution, Outcome};
use pliant::plan::Plan;
use pliant::policy::{Policy, ServiceView};
use pliant::request::{AppId, Bounds, DatasetId, Request, RequestView, Slo, Terms};
use pliant::rng::stream;
use pliant::schedule::{Discipline, Preempt, Reason, ServiceOptions};
use pliant::sim::{Lost, OutcomeSink, replay};
use pliant::units::{Level, Ratio, SimTime};
use rand::RngExt;
use rand_distr::{Distribution, Exp};

use crate::bench_files;
use crate::support::{files_below, pliant};

/// Independent replications of one queue, and how many requests each has. The first fifth of a
/// replication is left out of its mean: it starts with an empty queue.
const REPLICATIONS: u64 = 40;
const REQUESTS: usize = 20_000;

/// Arrivals per second of the low class and the high one; services take 1 s on average.
const RATES: [f64; 2] = [0.4, 0.3];

/// Tokens after the first: so many that an interruption waits for next to nothing.
const GAPS: u32 = 2000;

#[derive(Debug)]
struct Full;

impl Policy for Full {
    fn plan(&mut self, _: RequestView<'_>, _: ServiceView) -> Plan {
        Plan::FULL
    }
}

/// Plans half the model while others wait.
#[derive(Debug)]
struct Hurried;

impl Policy for Hurried {
    fn plan(&mut self, _: RequestView<'_>, service: ServiceView) -> Plan {
        let level = if service.queued > 0 { Level::percent(50) } else { Level::FULL };
        Plan::new(level, Ratio::ONE)
    }
}

/// One replication: requests, and how long each is served, in s.
struct Day {
    requests: Vec<Request>,
    services: Vec<f64>,
}

/// Requests that arrive at `rate` a second, of the high class with its share of [`RATES`].
fn day(rate: f64, seed: u64, mut service: impl FnMut() -> f64) -> Day {
    let gaps = Exp::new(rate).expect("the rate is positive");
    let high = RATES[1] / (RATES[0] + RATES[1]);
    let [mut arrivals, mut classes] = ["test/arrivals", "test/classes"].map(|of| stream(seed, of));
    let mut arrival = SimTime::ZERO;
    let bound = Duration::from_secs(1);
    let requests = (0..REQUESTS as u64).map(|id| {
        arrival = arrival + Duration::from_secs_f64(gaps.sample(&mut arrivals));
        let priority = u8::from(classes.random_bool(high));
        Request {
            id,
            arrival,
            app: AppId(priority.into()),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 1,
            output_tokens: GAPS + 1,
            slo: Slo::Absolute { ttft: bound, tpot: bound },
            terms: Terms { priority, ..Terms::default() },
        }
    });
    let requests = requests.collect();
    Day { requests, services: (0..REQUESTS).map(|_| service()).collect() }
}

fn exponential(seed: u64) -> impl FnMut() -> f64 {
    let (services, mut rng) =
        (Exp::new(1.0).expect("1 is positive"), stream(seed, "test/services"));
    move || services.sample(&mut rng)
}

/// What became of a day.
#[derive(Debug, Default)]
struct Kept {
    outcomes: Vec<Outcome>,
    lost: Vec<Lost>,
}

impl OutcomeSink for Kept {
    fn record(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.outcomes.push(*outcome);
        Ok(())
    }

    fn lose(&mut self, lost: &Lost) -> Result<(), Error> {
        self.lost.push(*lost);
        Ok(())
    }
}

/// Serves a day; the whole of a service is decoding, and in proportion to the level.
fn served(day: Day, options: ServiceOptions, policy: &mut dyn Policy) -> Kept {
    let Day { requests, services } = day;
    let second = Duration::from_secs(1);
    let bounds = vec![Bounds::Latency { ttft: second, tpot: second }; requests.len()];
    let mut executor = Scripted::by(move |request, plan| Execution {
        decode: Duration::from_secs_f64(
            services[request.id as usize] * plan.level.share().as_f64(),
        ),
        ..Execution::default()
    });
    let mut kept = Kept::default();
    replay(&requests, &bounds, policy, &mut executor, &options, &mut kept)
        .expect("nothing can fail");
    kept
}

/// By class, the mean over its requests of what `of` says, in s.
fn means(kept: &Kept, of: impl Fn(&Outcome) -> Duration) -> [f64; 2] {
    [0, 1].map(|class| {
        let settled = kept.outcomes.iter().filter(|one| one.request.id >= REQUESTS as u64 / 5);
        let of_class = settled.filter(|one| one.request.terms.priority == class);
        let values: Vec<f64> = of_class.map(|one| of(one).as_secs_f64()).collect();
        mean(&values)
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How many standard errors the mean of `values`, one per replication, is off `theory`.
fn standard_errors_off(values: &[f64], theory: f64) -> f64 {
    let (n, mean) = (values.len() as f64, mean(values));
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let standard_error = (variance / n).sqrt();
    assert!(3.0 * standard_error < 0.1 * theory, "{standard_error} is too coarse for {theory}");
    (mean - theory) / standard_error
}

/// Asserts that `values` have a mean within 3 standard errors of `theory`, and can tell it from one
/// 10 % off.
fn assert_mean(values: &[f64], theory: f64) {
    let off = standard_errors_off(values, theory);
    assert!(off.abs() <= 3.0, "mean {}, theory {theory}: {off} standard errors", mean(values));
}

fn strict(discipline: Discipline) -> ServiceOptions {
    ServiceOptions { discipline, ageing_ms: ServiceOptions::STRICT, ..ServiceOptions::default() }
}

/// Of each replication, the means of both classes.
fn replications(one: impl Fn(u64) -> [f64; 2]) -> [Vec<f64>; 2] {
    let of_seeds: Vec<[f64; 2]> = (0..REPLICATIONS).map(one).collect();
    [0, 1].map(|class| of_seeds.iter().map(|of_seed| of_seed[class]).collect())
}

/// Cobham (1954): of the high class W₀/(1 − ρ₁), of the low one W₀/((1 − ρ₁)(1 − ρ)), where W₀ =
/// λ·E[S²]/2 is what is left of the service at hand. E[S²] is 2 for exponential services, 1 for
/// constant ones.
#[test]
fn waits_of_two_classes_are_cobhams() {
    let load = RATES[0] + RATES[1];
    let check = |second_moment: f64, service: fn(u64) -> Box<dyn FnMut() -> f64>| {
        let waits = replications(|seed| {
            let day = day(load, seed, service(seed));
            means(&served(day, strict(Discipline::Priority), &mut Full), Outcome::queued)
        });
        let left = load * second_moment / 2.0;
        assert_mean(&waits[1], left / (1.0 - RATES[1]));
        assert_mean(&waits[0], left / ((1.0 - RATES[1]) * (1.0 - load)));
    };
    check(2.0, |seed| Box::new(exponential(seed)));
    check(1.0, |_| Box::new(|| 1.0));
}

/// Preemptive resume, exponential services of mean 1 s: the high class does not see the low one, 1/(1
/// − ρ₁) from arrival to end; the low one takes 1/((1 − ρ₁)(1 − ρ)).
#[test]
fn a_class_that_interrupts_does_not_see_the_one_below() {
    let load = RATES[0] + RATES[1];
    let options = ServiceOptions { preempt: Preempt::Token, ..strict(Discipline::Priority) };
    let responses = replications(|seed| {
        let kept = served(day(load, seed, exponential(seed)), options, &mut Full);
        assert!(kept.outcomes.iter().any(|one| one.interruptions.times > 0));
        assert!(kept.outcomes.iter().all(|one| one.interruptions.again.is_zero()));
        means(&kept, Outcome::end_to_end)
    });
    assert_mean(&responses[1], 1.0 / (1.0 - RATES[1]));
    assert_mean(&responses[0], 1.0 / ((1.0 - RATES[1]) * (1.0 - load)));
}

/// M/M/1/K: an arrival finds K in the service with probability (1 − ρ)ρᴷ/(1 − ρᴷ⁺¹). Above load 1,
/// too.
#[test]
fn a_bounded_queue_refuses_as_often_as_erlang_says() {
    for (load, waiting) in [(0.9_f64, 3), (1.5, 4)] {
        let options = ServiceOptions { queue_max: Some(waiting), ..ServiceOptions::default() };
        let shares: Vec<f64> = (0..REPLICATIONS)
            .map(|seed| {
                let kept = served(day(load, seed, exponential(seed)), options, &mut Full);
                assert!(kept.lost.iter().all(|lost| lost.reason == Reason::QueueFull));
                assert_eq!(kept.lost.len() + kept.outcomes.len(), REQUESTS);
                kept.lost.len() as f64 / REQUESTS as f64
            })
            .collect();
        let k = waiting as i32 + 1;
        assert_mean(&shares, (1.0 - load) * load.powi(k) / (1.0 - load.powi(k + 1)));
    }
}

/// Kleinrock: whoever is served first, Σ ρᵢ·Wᵢ = ρ·W₀/(1 − ρ), as long as the server neither idles
/// in vain nor looks at how long a service takes. A policy that hurries while others wait shortens
/// services, and breaks it: that the law can be broken is what makes the test one.
#[test]
fn what_one_class_gains_another_pays_unless_the_policy_looks_at_the_queue() {
    let load = RATES[0] + RATES[1];
    let theory = load * load / (1.0 - load);
    let sums = |options: ServiceOptions, hurried: bool| -> Vec<f64> {
        let sum = |seed| {
            let day = day(load, seed, exponential(seed));
            let policy: &mut dyn Policy = if hurried { &mut Hurried } else { &mut Full };
            let waits = means(&served(day, options, policy), Outcome::queued);
            RATES[0] * waits[0] + RATES[1] * waits[1]
        };
        (0..REPLICATIONS).map(sum).collect()
    };
    for discipline in [Discipline::Fifo, Discipline::Priority] {
        assert_mean(&sums(strict(discipline), false), theory);
    }
    let off = standard_errors_off(&sums(strict(Discipline::Priority), true), theory);
    assert!(off < -10.0, "a policy that looks at the queue is {off} standard errors off");
}

/// Files of a bench whose service, at this rate, has more to do than it can.
fn managed_bench(service: &str, of_first_method: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let apps = ["Mail", "Keys"].map(|name| {
        let more = if name == "Keys" { "priority = 2\nsupersedes = true\n" } else { "" };
        format!(
            "[[trace.apps]]\nname = \"{name}\"\nslo = {{ ttft_ms = 9000, tpot_ms = 90 }}\n\
             draws_from_any = true\n{more}"
        )
    });
    let text = fs::read_to_string(folder.path().join("experiment.toml")).unwrap();
    let text = text
        .replace("[[devices]]", &format!("{}[service]\n{service}\n[[devices]]", apps.concat()))
        .replace("requests = 60", "requests = 60\narrivals_per_hour = 900")
        .replacen("\npolicy", &format!("\n{of_first_method}\npolicy"), 1);
    fs::write(folder.path().join("managed.toml"), text).unwrap();
    folder
}

/// Every file and column of what a service does beside serving is there, adds up, and is read back
/// by the report.
#[test]
fn a_managed_service_shows_what_it_refused_dropped_and_interrupted() {
    let service = "discipline = \"priority\"\npreempt = \"token\"\nqueue_max = 2\n\
                   when_full = \"shed-lowest\"\ntimeout_ms = 20000\npaused_tokens = 0";
    let folder = managed_bench(service, "");
    let of = |name: &str| folder.path().join("out").join(name);
    pliant(folder.path()).args(["run", "managed.toml", "--out", "out"]).assert().success();
    let mut rows = csv::Reader::from_path(of("metrics.csv")).unwrap();
    let rows: Vec<BTreeMap<String, String>> = rows.deserialize().map(Result::unwrap).collect();
    let of_row = |row: &BTreeMap<String, String>, column: &str| row[column].parse().unwrap_or(0.0);
    for row in &rows {
        let parts = ["attainment", "missed_ttft", "missed_tpot", "missed_both"];
        let parts = parts.iter().chain(&["refused", "cancelled"]);
        let sum: f64 = parts.map(|column| of_row(row, column)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{row:?}");
    }
    for column in ["refused", "cancelled", "preempted", "wasted", "fairness", "busy"] {
        assert!(rows.iter().any(|row| of_row(row, column) > 0.0), "no {column}: {rows:?}");
    }
    let classes = fs::read_to_string(of("classes.csv")).unwrap();
    assert_eq!(classes.lines().count(), 1 + 2 * rows.len(), "two classes a row");
    let beside = files_below(&of("outcomes"));
    let fates = beside.iter().filter(|(path, _)| path.to_string_lossy().ends_with("service.csv"));
    let fates: String = fates.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
    for fate in ["superseded", "interrupted", "shed", "timed-out"] {
        assert!(fates.contains(&format!(",{fate},")), "no {fate}");
    }
    let report = ["report", "out", "--format", "html"];
    pliant(folder.path()).args(report).assert().success();
}

/// The same requests, first come first served and all of them: as by columns, and no word of
/// classes.
#[test]
fn a_method_may_have_a_service_of_its_own() {
    let folder = managed_bench("discipline = \"priority\"\nqueue_max = 1", "service = {}");
    let out = ["run", "managed.toml", "--out", "out"];
    pliant(folder.path()).args(out).assert().success();
    let mut rows = csv::Reader::from_path(folder.path().join("out/metrics.csv")).unwrap();
    let rows: Vec<BTreeMap<String, String>> = rows.deserialize().map(Result::unwrap).collect();
    let refused = |row: &BTreeMap<String, String>| row["refused"].parse::<f64>().unwrap() > 0.0;
    assert!(!refused(&rows[0]) && refused(&rows[1]), "{rows:?}");
}

#[test]
fn a_service_that_contradicts_itself_is_refused_with_its_place() {
    let refusal = |service: &str, of_method: &str, message: &str| {
        pliant(managed_bench(service, of_method).path())
            .args(["run", "managed.toml"])
            .assert()
            .code(2)
            .stderr_eq(format!("pliant: managed.toml, key \"service.{message}\n"));
    };
    refusal(
        "preempt = \"token\"",
        "",
        "preempt\": keys contradict each other; found \"token\" and no classes; allowed: discipline \
         = \"priority\" or \"priority-edf\"",
    );
    refusal(
        "",
        "service = { quota = { at_once = 0 } }",
        "quota.at_once\": out of range; found 0; allowed: 1 to 1000000000",
    );
}
