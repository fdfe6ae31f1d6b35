//! Outcomes of the first seed in columns, for the page's timeline.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::outcome::Outcome;
use crate::report::goodput::slo_name;
use crate::report::metrics_table::groups;
use crate::request::Bounds;
use crate::results::StoredRun;
use crate::trace::index_of;
use crate::units::{Grade, Milliwatts};

/// Most requests of a scene that the page holds: a few hundred bytes each, over all methods.
const REQUESTS_MAX: usize = 5000;

/// The requests of a skew on a device, and how each method answered them.
///
/// A column has a value for each request that all of them answered, in order of their ids.
#[derive(Debug, Serialize)]
pub(super) struct Scene {
    device: String,
    latency_of: String,
    base_model: String,
    alpha: f64,
    seed: u64,
    /// Requests of the run, of which the first are here.
    requests: usize,
    /// What `app` and `slo` number.
    apps: Vec<String>,
    slos: Vec<String>,
    datasets: Vec<String>,
    id: Vec<u64>,
    arrival_ms: Column,
    app: Column,
    slo: Column,
    dataset: Column,
    item: Column<ItemId>,
    prompt_tokens: Column,
    output_tokens: Column,
    /// Bounds, 0 where the objective has none of the kind.
    ttft_bound_us: Column,
    tpot_bound_us: Column,
    e2e_bound_us: Column,
    energy_bound_uj: Column,
    methods: Vec<MethodRun>,
}

/// What one method did. Lengths of time are in µs.
#[derive(Debug, Serialize)]
struct MethodRun {
    name: String,
    /// Where they differ from the scene's: callers that wait for answers call at other times.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival_ms: Option<Column>,
    queue: Column,
    decide: Column,
    compress: Column,
    switch: Column,
    prefill: Column,
    decode: Column,
    level_percent: Column,
    /// That of the answer, where any plan has two levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_percent: Option<Column>,
    prompt_thousandths: Column,
    /// 0 where nobody knows.
    power_mw: Column,
    /// 1 SLO met, 2 judged, 4 right.
    state: Column,
}

/// A value for each request, or one that all share.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Column<T = u64> {
    Same(T),
    Each(Vec<T>),
}

impl<T: Copy + PartialEq> Column<T> {
    fn of(outcomes: &[&Outcome], value: impl Fn(&Outcome) -> T) -> Self {
        let values: Vec<T> = outcomes.iter().map(|outcome| value(outcome)).collect();
        match values.first() {
            Some(first) if values.iter().all(|value| value == first) => Self::Same(*first),
            _ => Self::Each(values),
        }
    }
}

/// The first seed of each cell among `runs`, by device and skew.
///
/// # Errors
/// If two methods of a scene did not meet the same requests.
pub(super) fn scenes(runs: &[StoredRun]) -> Result<Vec<Scene>> {
    let first: Vec<&StoredRun> =
        groups(runs, |run| &run.label).into_iter().map(|cell| cell[0]).collect();
    let scenes = groups(&first, |run| {
        let label = &run.label;
        (&label.device, &label.latency_of, &label.base_model, label.alpha.to_bits())
    });
    scenes.into_iter().map(|scene| Scene::of(&scene)).collect()
}

impl Scene {
    fn of(runs: &[&&StoredRun]) -> Result<Self> {
        let (run, label) = (runs[0], &runs[0].label);
        let asked = asked(run);
        if let Some(other) = runs.iter().find(|other| self::asked(other) != asked) {
            return Err(Error::new("outcomes", "methods did not meet the same requests")
                .found(other.label.run_file(other.seed).display())
                .allowed(format!("those of {}", label.run_file(run.seed).display())));
        }
        let answered = runs.iter().map(|run| answered(run)).reduce(|all, one| &all & &one);
        let answered = answered.unwrap_or_default();
        let outcomes = by_id(run, &answered);
        let mut slos = Vec::new();
        for outcome in &outcomes {
            index_of(&mut slos, &slo_name(outcome.request.slo));
        }
        let slo = |outcome: &Outcome| {
            let name = slo_name(outcome.request.slo);
            slos.iter().position(|known| *known == name).unwrap_or_default() as u64
        };
        let column = |value: fn(&Outcome) -> u64| Column::of(&outcomes, value);
        Ok(Self {
            device: label.device.clone(),
            latency_of: label.latency_of.clone(),
            base_model: label.base_model.clone(),
            alpha: label.alpha,
            seed: run.seed,
            requests: answered.len(),
            apps: run.apps.clone(),
            datasets: run.datasets.clone(),
            arrival_ms: column(arrival_ms),
            app: column(|outcome| outcome.request.app.0.into()),
            slo: Column::of(&outcomes, slo),
            dataset: column(|outcome| outcome.request.dataset.0.into()),
            item: Column::of(&outcomes, |outcome| outcome.request.item),
            prompt_tokens: column(|outcome| outcome.request.prompt_tokens.into()),
            output_tokens: column(|outcome| outcome.request.output_tokens.into()),
            ttft_bound_us: column(|outcome| bounds(outcome)[0]),
            tpot_bound_us: column(|outcome| bounds(outcome)[1]),
            e2e_bound_us: column(|outcome| bounds(outcome)[2]),
            energy_bound_uj: column(|outcome| bounds(outcome)[3]),
            methods: runs
                .iter()
                .map(|run| MethodRun::of(run, &answered, &column(arrival_ms)))
                .collect(),
            slos,
            id: outcomes.iter().map(|outcome| outcome.request.id).collect(),
        })
    }
}

impl MethodRun {
    fn of(run: &StoredRun, answered: &BTreeSet<u64>, arrivals: &Column) -> Self {
        let outcomes = by_id(run, answered);
        let column = |value: fn(&Outcome) -> u64| Column::of(&outcomes, value);
        Self {
            name: run.label.method.clone(),
            arrival_ms: Some(column(arrival_ms)).filter(|own| own != arrivals),
            queue: column(|outcome| micros(outcome.queued())),
            decide: column(|outcome| micros(outcome.execution.decide)),
            compress: column(|outcome| micros(outcome.execution.compress)),
            switch: column(|outcome| micros(outcome.execution.switch)),
            prefill: column(|outcome| micros(outcome.execution.prefill)),
            decode: column(|outcome| micros(outcome.after_first_token())),
            level_percent: column(|outcome| outcome.plan.level.as_percent().into()),
            answer_percent: outcomes
                .iter()
                .any(|outcome| outcome.plan.smaller_answer_level().is_some())
                .then(|| column(|outcome| outcome.plan.answer_level().as_percent().into())),
            prompt_thousandths: column(|outcome| outcome.plan.prompt_ratio.thousandths().into()),
            power_mw: column(|outcome| {
                outcome.execution.power.map_or(0, Milliwatts::as_milliwatts).into()
            }),
            state: column(state),
        }
    }
}

/// The ids of what was asked of a run, answered or not.
fn asked(run: &StoredRun) -> BTreeSet<u64> {
    answered(run).into_iter().chain(run.lost.iter().map(|lost| lost.request.id)).collect()
}

fn answered(run: &StoredRun) -> BTreeSet<u64> {
    run.outcomes.iter().map(|outcome| outcome.request.id).collect()
}

/// The first of those that are `answered` by all.
fn by_id<'a>(run: &'a StoredRun, answered: &BTreeSet<u64>) -> Vec<&'a Outcome> {
    let of_all = |outcome: &&Outcome| answered.contains(&outcome.request.id);
    let mut outcomes: Vec<&Outcome> = run.outcomes.iter().filter(of_all).collect();
    outcomes.sort_by_key(|outcome| outcome.request.id);
    outcomes.truncate(REQUESTS_MAX);
    outcomes
}

fn arrival_ms(outcome: &Outcome) -> u64 {
    outcome.request.arrival.as_nanos() / 1_000_000
}

fn state(outcome: &Outcome) -> u64 {
    let correct = outcome.execution.correct;
    u64::from(outcome.slo_met())
        | u64::from(correct.is_some()) << 1
        | u64::from(correct.is_some_and(Grade::is_right)) << 2
}

/// Of TTFT, TPOT and the time to the last token in µs, of energy in µJ.
fn bounds(outcome: &Outcome) -> [u64; 4] {
    match outcome.bounds {
        Bounds::Latency { ttft, tpot } => [micros(ttft), micros(tpot), 0, 0],
        Bounds::EndToEnd(bound) => [0, 0, micros(bound), 0],
        Bounds::Energy(bound) => [0, 0, 0, bound.as_nanojoules() / 1000],
    }
}

/// To the nearest µs.
fn micros(length: Duration) -> u64 {
    ((length.as_nanos() + 500) / 1000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::run;
    use crate::units::SimTime;

    /// The second request waits 20 ms and is late; the last is not judged.
    #[test]
    fn a_scene_has_a_column_of_each_phase_and_what_all_requests_share_is_one_number() {
        let scenes = scenes(&[run("full", 0), run("full", 1), run("oracle", 0)]).unwrap();
        assert_eq!(scenes.len(), 1);
        let scene = &scenes[0];
        assert_eq!(scene.slos, ["⟨80 %, 90 %⟩", "⟨20 %, 60 %⟩"]);
        assert_eq!(scene.slo, Column::Each(vec![0, 0, 1, 1]));
        assert_eq!(scene.ttft_bound_us, Column::Same(50_000));
        let [full, _oracle] = &scene.methods[..] else { panic!("two methods") };
        assert_eq!(full.queue, Column::Each(vec![0, 20_000, 0, 0]));
        assert_eq!(full.prefill, Column::Same(34_000));
        assert_eq!(scene.arrival_ms, Column::Each(vec![0, 30, 200, 300]));
        assert_eq!(full.arrival_ms, None);
        assert_eq!(full.state, Column::Each(vec![7, 6, 3, 1]));
        assert_eq!((&full.power_mw, &scene.e2e_bound_us), (&Column::Same(2000), &Column::Same(0)));
    }

    #[test]
    fn a_method_whose_callers_called_at_other_times_has_arrivals_of_its_own() {
        let mut later = run("oracle", 0);
        later.outcomes[3].start = SimTime::from_nanos(310_000_000);
        later.outcomes[3].request.arrival = SimTime::from_nanos(310_000_000);
        let scenes = scenes(&[run("full", 0), later]).unwrap();
        let own = Column::Each(vec![0, 30, 200, 310]);
        assert_eq!(scenes[0].methods[1].arrival_ms, Some(own));
    }

    #[test]
    fn methods_that_met_other_requests_are_refused() {
        let mut other = run("oracle", 0);
        other.outcomes.pop();
        let message = scenes(&[run("full", 0), other]).unwrap_err().to_string();
        assert!(
            message.contains("found oracle/phone_large_small_alpha0.25_seed0.csv"),
            "{message}"
        );
    }
}
