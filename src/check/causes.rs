//! Where a fall comes from: the apps and datasets whose requests got worse.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::baseline::outcomes_at;
use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::results::RunResults;
use crate::error::Result;
use crate::metrics::{Better, CellLabel, Measure, Over, RunMeasures, SeedRow};
use crate::outcome::Outcome;
use crate::results::StoredRun;

/// Falls that are looked into: the surest.
const LOOKED_INTO: usize = 9;

/// A class of requests, by app or dataset, that got worse in the seeds whose outcomes both sides
/// keep.
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

/// Looks for the causes of the falls of `comparison`; whether outcomes of all of them are kept on
/// both sides.
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
        let sides = [baseline, now].map(|side| stored(side, change));
        let [was, is] = sides;
        change.causes = causes(change.measure, &was?, &is?);
    }
    Ok(())
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

/// Apps, then datasets, of the seeds that both sides keep, each with the worst first.
fn causes(measure: Measure, baseline: &[StoredRun], now: &[StoredRun]) -> Vec<Cause> {
    let of_both = |runs: &'_ [StoredRun], others: &[StoredRun]| -> Vec<usize> {
        let kept = |run: &StoredRun| others.iter().any(|other| other.seed == run.seed);
        (0..runs.len()).filter(|&at| kept(&runs[at])).collect()
    };
    let (was, is) = (of_both(baseline, now), of_both(now, baseline));
    let mut causes = Vec::new();
    for class in ["app", "dataset"] {
        let was = by_class(class, was.iter().map(|&at| &baseline[at]));
        let is = by_class(class, is.iter().map(|&at| &now[at]));
        let all: usize = is.values().map(Vec::len).sum();
        let mut found: Vec<(f64, Cause)> = Vec::new();
        for (name, outcomes) in is {
            let Some(before) = was.get(name) else { continue };
            let value =
                |outcomes: &[&Outcome]| RunMeasures::of(outcomes.iter().copied()).values[measure];
            let (Some(baseline), Some(now)) = (value(before), value(&outcomes)) else { continue };
            let worse_by = match measure.definition().better {
                Better::More => baseline - now,
                Better::Less => now - baseline,
            };
            let requests = outcomes.len();
            let cause = Cause { class, name: name.to_owned(), baseline, now, requests };
            found.push((worse_by * requests as f64 / all as f64, cause));
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        causes.extend(found.into_iter().filter(|(worse, _)| *worse > 0.0).map(|(_, cause)| cause));
    }
    causes
}

fn by_class<'a>(
    class: &str,
    runs: impl Iterator<Item = &'a StoredRun>,
) -> BTreeMap<&'a str, Vec<&'a Outcome>> {
    let mut classes: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for run in runs {
        for outcome in &run.outcomes {
            let name = match class {
                "app" => &run.apps[usize::from(outcome.request.app.0)],
                _ => &run.datasets[usize::from(outcome.request.dataset.0)],
            };
            classes.entry(name).or_default().push(outcome);
        }
    }
    classes
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
        let causes = causes(Measure::AccuracyAtSlo, &[run("full", 0)], &[worse]);
        let shown: Vec<_> = causes
            .iter()
            .map(|cause| (cause.class, cause.name.as_str(), cause.baseline, cause.now))
            .collect();
        assert_eq!(shown, [("app", "Mail", 0.5, 0.0), ("dataset", "sciq", 1.0 / 3.0, 0.0)]);
    }

    #[test]
    fn without_a_seed_in_common_nothing_is_said() {
        assert_eq!(causes(Measure::Attainment, &[run("full", 0)], &[run("full", 1)]), []);
    }
}
