//! Every item of the replay half asked alone, under every objective, with the plan's level resident
//! already: `standalone.csv`.
//!
//! So nothing waits and no switch is billed: what is left is what a method answers under an
//! objective. Methods answer the same items, those that all of them have answers to.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::method::{Method, MethodSpec, Replayed};
use crate::outcome::{Interruptions, Outcome};
use crate::policy::ServiceView;
use crate::profile::{Counted, DeviceProfile, PromptLengths, Split};
use crate::report::{StandaloneRow, mean_line, point, slo_names};
use crate::request::{AppId, DatasetId, Request, RequestView, Slo, Terms};
use crate::results::StandaloneSpec;
use crate::trace::Trace;
use crate::units::{Ratio, SimTime};

/// What the mean over datasets is called.
const MEAN: &str = "mean of datasets";
/// Replays of a policy that draws, each under a seed of its own.
const DRAWS: u64 = 20;

/// Asks what `spec` states and writes `standalone.csv` into `out`.
///
/// # Errors
/// If a profile or table is missing or broken, or the file cannot be written.
pub(super) fn ask_alone(spec: &StandaloneSpec, out: &Path) -> Result<()> {
    let device = DeviceProfile::load(&spec.device)?;
    let method = |method: &MethodSpec| {
        Method::new(
            &device,
            &spec.base_model,
            &spec.latency_of,
            &spec.quality,
            Counted::default(),
            method,
            Replayed::Whole,
        )
    };
    let methods: Vec<Method> = spec.methods.iter().map(method).collect::<Result<_>>()?;
    let trace = trace(spec, &methods)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    for method in &methods {
        for row in rows(spec, method, &trace)? {
            writer.serialize(row).expect("memory takes every row");
        }
    }
    let csv = writer.into_inner().expect("memory is flushed");
    write_whole(&out.join("standalone.csv"), &csv)
}

/// Items of the replay half that every method knows, as requests of a trace.
fn trace(spec: &StandaloneSpec, methods: &[Method]) -> Result<Trace> {
    let folder = spec.quality.join(&spec.base_model);
    let lengths = PromptLengths::load(&folder, &spec.lengths)?;
    let mut trace = Trace { apps: vec!["standalone".to_owned()], ..Trace::default() };
    for (dataset, item, tokens) in lengths.iter() {
        let asked = Split::of(dataset, item) == Split::Replay
            && methods.iter().all(|method| method.knows(dataset, item));
        if !asked {
            continue;
        }
        if trace.datasets.last().is_none_or(|last| last != dataset) {
            trace.datasets.push(dataset.to_owned());
        }
        trace.requests.push(Request {
            id: trace.requests.len() as u64,
            arrival: SimTime::ZERO,
            app: AppId(0),
            dataset: DatasetId(trace.datasets.len() as u16 - 1),
            item,
            prompt_tokens: tokens[tokens.len() - 1],
            output_tokens: spec.output_tokens,
            slo: Slo::Relative { ttft: Ratio::ONE, tpot: Ratio::ONE },
            terms: Terms::default(),
        });
    }
    if trace.requests.is_empty() {
        return Err(Error::file(&folder, "no item has all answers of every method"));
    }
    Ok(trace)
}

/// What `method` reaches: by dataset, then for their mean, a row per objective.
fn rows(spec: &StandaloneSpec, method: &Method, trace: &Trace) -> Result<Vec<StandaloneRow>> {
    let datasets = trace.datasets.len();
    let (mut right, mut met) = (vec![Vec::new(); datasets], vec![Vec::new(); datasets]);
    let mut items = vec![0; datasets];
    for (nth, &slo) in spec.slos.iter().enumerate() {
        for (dataset, answers) in ask(method, trace, slo)?.iter().enumerate() {
            let (correct, in_time): (Vec<f64>, Vec<f64>) = answers.iter().copied().unzip();
            items[dataset] = answers.len();
            right[dataset].extend(point(nth as u16, &correct));
            met[dataset].extend(point(nth as u16, &in_time));
        }
    }
    for line in [&mut right, &mut met] {
        line.push(mean_line(line));
    }
    items.push(items.iter().sum());
    let (_, slos) = slo_names(&spec.slos);
    let mut rows = Vec::new();
    for (panel, dataset) in trace.datasets.iter().map(String::as_str).chain([MEAN]).enumerate() {
        for ((slo, right), met) in slos.iter().zip(&right[panel]).zip(&met[panel]) {
            let share = |percent: f64| (100.0 * percent).round() / 10_000.0;
            rows.push(StandaloneRow {
                method: method.spec().name.clone(),
                panel: dataset.to_owned(),
                items: items[panel],
                slo: slo.clone(),
                accuracy_at_slo: share(right.y),
                lo: share(right.lo),
                hi: share(right.hi),
                attainment: share(met.y),
            });
        }
    }
    Ok(rows)
}

/// By dataset and item: the shares of draws in which the answer was right in time, and in time.
fn ask(
    method: &Method,
    trace: &Trace,
    (ttft, tpot): (Ratio, Ratio),
) -> Result<Vec<Vec<(f64, f64)>>> {
    let mut trace = trace.clone();
    for request in &mut trace.requests {
        request.slo = Slo::Relative { ttft, tpot };
    }
    let (bounds, executor) = (method.bounds(&trace)?, method.cost_model(&trace)?);
    let service = ServiceView {
        now: SimTime::ZERO,
        resident: None,
        queued: 0,
        speed: crate::units::Ratio::ONE,
    };
    let mut sums = vec![(0.0, 0.0); trace.requests.len()];
    for seed in 0..DRAWS {
        let mut policy = method.policy(&trace, seed)?;
        for ((request, &bounds), sum) in trace.requests.iter().zip(&bounds).zip(&mut sums) {
            let plan = policy.plan(RequestView::new(request, bounds), service);
            policy.settle()?;
            let execution = executor.bill(request, plan, None)?;
            let outcome = Outcome {
                request: *request,
                bounds,
                plan,
                start: request.arrival,
                execution,
                interruptions: Interruptions::default(),
            };
            let grade = execution.correct.map_or(0.0, f64::from);
            sum.0 += if outcome.slo_met() { grade } else { 0.0 };
            sum.1 += f64::from(u8::from(outcome.slo_met()));
        }
    }
    let mut shares = vec![Vec::new(); trace.datasets.len()];
    for (request, (right, met)) in trace.requests.iter().zip(sums) {
        let draws = DRAWS as f64;
        shares[usize::from(request.dataset.0)].push((right / draws, met / draws));
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::Bench;

    /// The bench's item is right on the full prompt only, where level 50 % takes 50 ms of the base
    /// model's 100. Under 40 % of its TTFT a half prompt is the only plan in time, and wrong.
    #[test]
    fn an_item_counts_where_it_is_right_in_time() {
        let bench = Bench::elastic();
        let share = |percent| Ratio::percent(percent);
        let ask =
            |ttft, tpot| ask(&bench.method, &bench.trace, (share(ttft), share(tpot))).unwrap();
        assert_eq!(ask(100, 100), [[(1.0, 1.0)]]);
        assert_eq!(ask(50, 50), [[(1.0, 1.0)]]);
        assert_eq!(ask(40, 100), [[(0.0, 1.0)]]);
        assert_eq!(ask(10, 10), [[(0.0, 0.0)]]);
    }
}
