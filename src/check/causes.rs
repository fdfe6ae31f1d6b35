//! Where a fall comes from: the apps and datasets whose requests got worse.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::baseline::outcomes_at;
use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::results::RunResults;
use crate::error::Result;
use crate::metrics::{Better, CellLabel, Class, ClassAnswers, Measure, Over, RunMeasures, SeedRow};
use crate::outcome::Outcome;
use crate::results::StoredRun;

/// Falls that are looked into: the surest.
const LOOKED_INTO: usize = 9;

/// A class of requests, by app or dataset, that got worse: over all seeds where `metrics.csv` says
/// it, else in those whose outcomes both sides keep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// `app` or `dataset`.
    pub class: &'static str,
    /// Which.
    pub name: String,
    /// The measure over its requests in the baseline.
    pub baseline: f64,
    /// The same now.
    pub now: f64,
    /// Its requests now.
    pub requests: usize,
}

/// A measure over the requests of each class, and how many they are.
type Shares = BTreeMap<Class, (f64, usize)>;

/// Looks for the causes of the falls of `comparison`.
///
/// # Errors
/// If a file of outcomes is bad.
pub fn explain(comparison: &mut Comparison, now: &RunResults, baseline: &RunResults) -> Result<()> {
    let mut falls: Vec<(f64, &mut Change)> = comparison
        .changes
        .iter_mut()
        .filter(|change| change.verdict == Verdict::Worse)
        .filter(|change| change.measure.definition().over != Over::Run)
        .map(|change| (change.p_worse, change))
        .collect();
    falls.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, change) in falls.into_iter().take(LOOKED_INTO) {
        let told = counted(baseline, change).zip(counted(now, change));
        let (was, is) = match told {
            Some(told) => told,
            None => of_outcomes(change.measure, &stored(baseline, change)?, &stored(now, change)?),
        };
        change.causes = causes(change.measure, &was, &is);
    }
    Ok(())
}

/// What `metrics.csv` of `side` says by class: of accuracy@SLO alone, unless it is an older file.
fn counted(side: &RunResults, change: &Change) -> Option<Shares> {
    let classes = &side.find(&change.point)?.row.by_class;
    let share = |(class, answers): (&Class, &ClassAnswers)| {
        (class.clone(), (answers.right_in_time / answers.judged as f64, answers.judged))
    };
    let is_counted = change.measure == Measure::AccuracyAtSlo && !classes.is_empty();
    is_counted.then(|| classes.iter().map(share).collect())
}

/// The runs of a change's point that `side` keeps. A commit seldom keeps outcomes; its folder in
/// the working tree may still have those of the very run that was committed.
fn stored(side: &RunResults, change: &Change) -> Result<Vec<StoredRun>> {
    let Some(results) = side.find(&change.point) else { return Ok(Vec::new()) };
    let label: &CellLabel = &results.row.label;
    let folder = side.path.parent().unwrap_or(Path::new(""));
    let outcomes = folder.join("outcomes");
    let Some(commit) = &side.commit else { return StoredRun::load_all(&outcomes, label) };
    let committed = outcomes_at(commit, folder, label)?;
    if !committed.is_empty() {
        return Ok(committed);
    }
    let mut here = StoredRun::load_all(&outcomes, label).unwrap_or_default();
    here.retain(|run| results.seeds.get(&run.seed).is_some_and(|row| is_of(run, row)));
    Ok(here)
}

/// Whether the outcomes of `run` are those that `row` is about: all that they measure is the same.
fn is_of(run: &StoredRun, row: &SeedRow) -> bool {
    let measured = RunMeasures::of(&run.outcomes);
    let of_requests = |measure: &Measure| measure.definition().over != Over::Run;
    measured.requests == row.requests
        && Measure::ALL.into_iter().filter(of_requests).all(|measure| {
            match (measured.values[measure], row.values[measure]) {
                (Some(ours), Some(theirs)) => {
                    (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs())
                }
                // An older file of seeds lacks measures that came later.
                (_, theirs) => theirs.is_none(),
            }
        })
}

/// The measure by class in the seeds that both sides keep.
fn of_outcomes(measure: Measure, baseline: &[StoredRun], now: &[StoredRun]) -> (Shares, Shares) {
    let shares = |runs: &[StoredRun], others: &[StoredRun]| -> Shares {
        let kept = |run: &&StoredRun| others.iter().any(|other| other.seed == run.seed);
        let classes = by_class(runs.iter().filter(kept)).into_iter();
        let share = |(class, outcomes): (Class, Vec<&Outcome>)| {
            let value = RunMeasures::of(outcomes.iter().copied()).values[measure]?;
            Some((class, (value, outcomes.len())))
        };
        classes.filter_map(share).collect()
    };
    (shares(baseline, now), shares(now, baseline))
}

fn by_class<'a>(runs: impl Iterator<Item = &'a StoredRun>) -> BTreeMap<Class, Vec<&'a Outcome>> {
    let mut classes: BTreeMap<Class, Vec<&Outcome>> = BTreeMap::new();
    for run in runs {
        for outcome in &run.outcomes {
            let app = run.apps[usize::from(outcome.request.app.0)].clone();
            let dataset = run.datasets[usize::from(outcome.request.dataset.0)].clone();
            for class in [Class::App(app), Class::Dataset(dataset)] {
                classes.entry(class).or_default().push(outcome);
            }
        }
    }
    classes
}

/// Apps, then datasets, each with the worst first: what a class makes of the whole is its own fall
/// times its share of the requests.
fn causes(measure: Measure, was: &Shares, is: &Shares) -> Vec<Cause> {
    let mut found: Vec<(f64, Cause)> = Vec::new();
    for (class, &(now, requests)) in is {
        let Some(&(baseline, _)) = was.get(class) else { continue };
        let worse_by = match measure.definition().better {
            Better::More => baseline - now,
            Better::Less => now - baseline,
        };
        let (name, class) = (class.name().to_owned(), class.kind());
        let cause = Cause { class, name, baseline, now, requests };
        found.push((worse_by * requests as f64, cause));
    }
    found.retain(|(worse, _)| *worse > 0.0);
    found.sort_by(|a, b| a.1.class.cmp(b.1.class).then(b.0.total_cmp(&a.0)));
    found.into_iter().map(|(_, cause)| cause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::run;

    /// By hand: of Mail's two requests one was right and in time, of Keys's two none. Now Mail's is
    /// wrong: from ½ to 0. Keys is as it was, and so no cause; both draw from one dataset, of whose
    /// three judged answers one was right.
    #[test]
    fn an_app_that_answers_less_is_named_with_its_dataset() {
        let mut worse = run("full", 0);
        worse.outcomes[0].execution.correct = Some(false.into());
        let (was, is) = of_outcomes(Measure::AccuracyAtSlo, &[run("full", 0)], &[worse]);
        let causes = causes(Measure::AccuracyAtSlo, &was, &is);
        let shown: Vec<_> = causes
            .iter()
            .map(|cause| (cause.class, cause.name.as_str(), cause.baseline, cause.now))
            .collect();
        assert_eq!(shown, [("app", "Mail", 0.5, 0.0), ("dataset", "sciq", 1.0 / 3.0, 0.0)]);
    }

    #[test]
    fn without_a_seed_in_common_nothing_is_said() {
        let (was, is) = of_outcomes(Measure::Attainment, &[run("full", 0)], &[run("full", 1)]);
        assert_eq!(causes(Measure::Attainment, &was, &is), []);
    }
}
