//! All changes of a run against its baseline, judged together.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::change::{Change, Sides, Verdict};
use super::results::{Point, PointResults, RunResults};
use super::tolerances::Tolerances;
use crate::error::{Error, Result};
use crate::metrics::{Measure, holm, quantile};

/// A run against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the experiment.
    pub experiment: String,
    /// The baseline's `metrics.csv`, or where in git it is.
    pub baseline: String,
    /// The path of that file.
    pub baseline_file: PathBuf,
    /// What was tolerated, and how sure a verdict is.
    pub tolerances: Tolerances,
    /// Inputs whose contents differ between the two runs.
    pub changed_inputs: Vec<String>,
    /// Points of the run that the baseline lacks.
    pub new_points: Vec<Point>,
    /// Points of the baseline that the run lacks.
    pub removed_points: Vec<Point>,
    /// Measures that tolerances name and one side lacks at every point.
    pub not_compared: Vec<Measure>,
    /// Commands that run the comparison again, and that accept its result; empty where nobody
    /// knows.
    pub steps: Vec<(&'static str, String)>,
    /// Every measure at every point of both, in the order of the run's `metrics.csv`.
    pub changes: Vec<Change>,
}

/// Compares `now` with `baseline` at the points that both have.
///
/// # Errors
/// If they are not of one experiment, have no point or measure in common, or a point has too few
/// seeds.
pub fn compare(
    now: &RunResults,
    baseline: &RunResults,
    tolerances: &Tolerances,
) -> Result<Comparison> {
    same_experiment(now, baseline)?;
    let pairs: Vec<(&PointResults, &PointResults)> =
        now.points.iter().filter_map(|point| Some((baseline.find(&point.point)?, point))).collect();
    if pairs.is_empty() {
        return Err(Error::file(&now.path, "no point in common with the baseline")
            .found(now.points[0].point.to_string())
            .allowed(format!(
                "points of {}, such as {}",
                baseline.name, baseline.points[0].point
            )));
    }
    let has = |run: &RunResults, measure| {
        run.points.iter().any(|point| !point.values(measure).is_empty())
    };
    let (compared, not_compared): (Vec<_>, Vec<_>) = tolerances
        .measures()
        .partition(|(measure, _)| has(now, *measure) == has(baseline, *measure));
    if compared.is_empty() {
        return Err(Error::file(&now.path, "no measure in common with the baseline"));
    }
    let sureness = tolerances.sureness().over(pairs.len() * compared.len());
    let mut changes = Vec::new();
    for (was, is) in pairs {
        same_requests(now, is, was)?;
        let files = (baseline.name.as_str(), now.name.as_str());
        let sides = Sides { baseline: was, now: is, files };
        for &(measure, tolerance) in &compared {
            changes.extend(sides.change(measure, tolerance, sureness)?);
        }
    }
    judge(&mut changes, tolerances.significance);
    Ok(Comparison {
        experiment: now.manifest.experiment.clone(),
        baseline: baseline.name.clone(),
        baseline_file: baseline.path.clone(),
        tolerances: tolerances.clone(),
        changed_inputs: changed_inputs(now, baseline),
        new_points: only_in(now, baseline),
        removed_points: only_in(baseline, now),
        not_compared: not_compared.into_iter().map(|(measure, _)| measure).collect(),
        steps: steps(now, baseline),
        changes,
    })
}

/// The points of `run` that the `others` lack.
fn only_in(run: &RunResults, others: &RunResults) -> Vec<Point> {
    let points = run.points.iter().map(|point| &point.point);
    points.filter(|point| others.find(point).is_none()).cloned().collect()
}

/// How to see the same again, and how to accept it, where the experiment's file is known.
fn steps(now: &RunResults, baseline: &RunResults) -> Vec<(&'static str, String)> {
    let is_experiment = |path: &&String| {
        let path = Path::new(path);
        path.extension().is_some_and(|ending| ending == "toml")
            && path.file_stem().is_some_and(|name| name == now.manifest.experiment.as_str())
    };
    let Some(file) = now.manifest.inputs.keys().find(is_experiment) else { return Vec::new() };
    let folder = |path: &Path| path.parent().unwrap_or(Path::new(".")).display().to_string();
    let (run, there) = (folder(&now.path), folder(&baseline.path));
    let argument = baseline.name.strip_suffix("/metrics.csv").filter(|_| baseline.commit.is_some());
    let argument = argument.unwrap_or(&baseline.name);
    let again =
        format!("pliant run {file} --out {run} && pliant check {run} --baseline {argument}");
    let accept = format!("pliant run {file} --out {there} && git add {there} && git commit");
    vec![("to reproduce", again), ("to accept", accept)]
}

/// Adjusts the p-values for being looked at together and draws the verdicts.
fn judge(changes: &mut [Change], significance: f64) {
    let adjusted = |p: fn(&Change) -> f64| holm(&changes.iter().map(p).collect::<Vec<_>>());
    let (worse, better) = (adjusted(|change| change.p_worse), adjusted(|change| change.p_better));
    for ((change, worse), better) in changes.iter_mut().zip(worse).zip(better) {
        (change.p_worse_holm, change.p_better_holm) = (worse, better);
        change.verdict = match (worse < significance, better < significance) {
            (true, _) => Verdict::Worse,
            (_, true) => Verdict::Better,
            _ => Verdict::Within,
        };
    }
}

fn same_experiment(now: &RunResults, baseline: &RunResults) -> Result<()> {
    let manifest = now.path.with_file_name("manifest.toml");
    let theirs = baseline.name.replace("metrics.csv", "manifest.toml");
    let other = |key: &str, found: &str, allowed: &str| {
        Err(Error::file(&manifest, format!("another {key} than the baseline's"))
            .at(format!("key \"{key}\""))
            .found(format!("\"{found}\""))
            .allowed(format!("\"{allowed}\", as in {theirs}")))
    };
    let (ours, was) = (&now.manifest, &baseline.manifest);
    if ours.experiment != was.experiment {
        return other("experiment", &ours.experiment, &was.experiment);
    }
    if ours.executor != was.executor {
        return other("executor", &ours.executor, &was.executor);
    }
    Ok(())
}

fn same_requests(run: &RunResults, point: &PointResults, other: &PointResults) -> Result<()> {
    let (ours, theirs) = (point.requests_a_seed(), other.requests_a_seed());
    if (ours - theirs).abs() <= 1e-9 {
        return Ok(());
    }
    Err(Error::file(&run.path, "another number of requests a seed than on the other side")
        .at(format!("line {}", point.line))
        .found(ours)
        .allowed(theirs))
}

fn changed_inputs(now: &RunResults, baseline: &RunResults) -> Vec<String> {
    let (now, was) = (&now.manifest.inputs, &baseline.manifest.inputs);
    let all = now.keys().chain(was.keys().filter(|path| !now.contains_key(*path)));
    let mut changed: Vec<String> =
        all.filter(|path| now.get(*path) != was.get(*path)).cloned().collect();
    changed.sort();
    changed
}

impl Comparison {
    /// The changes of one verdict, the surest first.
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> Vec<&Change> {
        let mut changes: Vec<&Change> =
            self.changes.iter().filter(|change| change.verdict == verdict).collect();
        let p = |change: &Change| match verdict {
            Verdict::Better => change.p_better,
            _ => change.p_worse,
        };
        changes
            .sort_by(|a, b| p(a).total_cmp(&p(b)).then(b.change.abs().total_cmp(&a.change.abs())));
        changes
    }

    /// Whether nothing got worse.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.of(Verdict::Worse).is_empty()
    }

    /// The smallest fall of `measure` that is found with the chosen power: the median over points,
    /// and that of the worst point. `None` where it is not compared.
    #[must_use]
    pub fn detectable(&self, measure: Measure) -> Option<(f64, f64)> {
        let of_measure = self.changes.iter().filter(|change| change.measure == measure);
        let mut sizes: Vec<f64> = of_measure.map(|change| change.detectable).collect();
        Some((quantile(&mut sizes, 0.5)?, quantile(&mut sizes, 1.0)?))
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::check::testing::{alter, comparison, fallen, noise, results};
    use crate::metrics::{RunMeasures, TEstimate};
    use crate::rng;

    fn named(changes: &[&Change]) -> Vec<String> {
        let name = |change: &&Change| {
            format!(
                "{} of {} at {}",
                change.measure.column(),
                change.point.method,
                change.point.alpha
            )
        };
        let mut names: Vec<String> = changes.iter().map(name).collect();
        names.sort();
        names
    }

    fn add(run: &mut RunMeasures, measure: Measure, points: f64) {
        alter(run, measure, |share| share + points / 100.0);
    }

    #[test]
    fn a_planted_fall_of_two_points_is_found_where_it_was_planted_and_nowhere_else() {
        let comparison = fallen();
        assert_eq!(
            named(&comparison.of(Verdict::Worse)),
            [
                "accuracy_at_slo of elastic-profile at 0",
                "accuracy_at_slo of elastic-profile at 0.25",
                "ttft_ms_p95 of elastic-profile at 0",
                "ttft_ms_p95 of elastic-profile at 0.25"
            ]
        );
        assert_eq!(
            named(&comparison.of(Verdict::Better)),
            ["attainment of full at 0", "attainment of full at 0.25"]
        );
        assert!(!comparison.passed());
        let fall =
            comparison.of(Verdict::Worse).into_iter().find(|c| c.measure.is_share()).unwrap();
        assert!(fall.lo < -0.02 && -0.02 < fall.hi && fall.hi < -0.015, "{fall:?}");
        assert_eq!((fall.paired, fall.seeds, fall.requests), (true, 20, 12_000));
        assert_eq!(comparison.changed_inputs, ["device.toml"]);
    }

    /// Other seeds: nothing but noise, of 2 points a seed, between two runs of one program.
    #[test]
    fn noise_passes_and_a_fall_is_found_without_common_seeds_if_it_is_large_enough() {
        let baseline = results("results/curve", 0..20, &|_, _, _| {});
        let against = |points: f64| {
            let now = results("fresh", 20..40, &|_, _, run| {
                add(run, Measure::AccuracyAtSlo, points);
            });
            compare(&now, &baseline, &Tolerances::default()).unwrap()
        };
        let noise = against(0.0);
        assert!(noise.passed() && noise.of(Verdict::Better).is_empty(), "{:?}", noise.changes);
        assert!(noise.changes.iter().all(|change| !change.paired));
        let detectable = noise.detectable(Measure::AccuracyAtSlo).unwrap().1;
        assert!((0.02..0.05).contains(&detectable), "{detectable}");
        assert_eq!(against(-100.0 * detectable - 2.0).of(Verdict::Worse).len(), 4);
    }

    #[test]
    fn paired_noise_passes() {
        let now = results("fresh", 0..20, &|method, seed, run| {
            add(run, Measure::AccuracyAtSlo, noise(method, seed, 0, 1.0));
            add(run, Measure::Attainment, noise(method, seed, 1, 0.5));
        });
        let baseline = results("results/curve", 0..20, &|_, _, _| {});
        let comparison = compare(&now, &baseline, &Tolerances::default()).unwrap();
        assert!(comparison.passed(), "{:?}", comparison.of(Verdict::Worse));
    }

    #[test]
    fn a_fall_within_its_tolerance_passes_however_sure_it_is() {
        let comparison = comparison(|_, run| add(run, Measure::Accuracy, -0.4));
        assert!(comparison.passed());
        let surely = |change: &&Change| change.measure == Measure::Accuracy;
        let change = comparison.changes.iter().find(surely).unwrap();
        assert!((change.change + 0.004).abs() < 1e-12 && change.hi < -0.003, "{change:?}");
    }

    /// 24 tests without a difference, 20 seeds each, 1000 times over: at most one comparison in
    /// twenty alarms, and not many fewer.
    #[test]
    fn a_whole_comparison_without_a_difference_alarms_as_often_as_its_significance_says() {
        let mut random = rng::stream(5, "false alarms");
        let mut alarms = 0;
        for _ in 0..1000 {
            let mut p = || {
                let gains: Vec<f64> = (0..20).map(|_| StandardNormal.sample(&mut random)).collect();
                TEstimate::paired(&gains).unwrap().p_below(0.0)
            };
            let tests: Vec<f64> = (0..24).map(|_| p()).collect();
            alarms += u32::from(holm(&tests).into_iter().any(|p| p < 0.05));
        }
        eprintln!("false alarms: {alarms} of 1000 comparisons");
        assert!((30..70).contains(&alarms), "{alarms} of 1000");
    }

    #[test]
    fn measures_that_a_side_lacks_are_left_out_and_said_and_those_of_some_points_are_refused() {
        let without = |_: &str, _: u64, run: &mut RunMeasures| run.values[Measure::TpotP50] = None;
        let (with, without) = (results("a", 0..3, &|_, _, _| {}), results("b", 0..3, &without));
        let tolerances = Tolerances::default();
        let comparison = compare(&without, &without, &tolerances).unwrap();
        assert_eq!((comparison.changes.len(), comparison.not_compared), (4 * 5, vec![]));
        let comparison = compare(&without, &with, &tolerances).unwrap();
        assert_eq!(comparison.changes.len(), 4 * 5);
        assert_eq!(comparison.not_compared, [Measure::TpotP50]);
        let partly = results("b", 0..3, &|method, _, run| {
            if method == "full" {
                run.values[Measure::TpotP50] = None;
            }
        });
        let message = compare(&partly, &with, &tolerances).unwrap_err().to_string();
        assert_eq!(
            message,
            "b/metrics.csv, line 4, column \"tpot_ms_p50\": measure is absent here and present on \
             the other side; allowed: the same measures on both sides"
        );
    }

    #[test]
    fn methods_of_one_side_are_told_and_the_others_are_compared() {
        let all = results("a", 0..3, &|_, _, _| {});
        let mut fewer = all.clone();
        fewer.points.retain(|point| point.point.method == "full");
        let comparison = compare(&fewer, &all, &Tolerances::default()).unwrap();
        assert!(comparison.passed() && comparison.changes.len() == 2 * 6);
        assert_eq!((comparison.new_points.len(), comparison.removed_points.len()), (0, 2));
        let comparison = compare(&all, &fewer, &Tolerances::default()).unwrap();
        assert_eq!((comparison.new_points.len(), comparison.removed_points.len()), (2, 0));
        let mut others = all.clone();
        others.points.retain(|point| point.point.method != "full");
        let message = compare(&others, &fewer, &Tolerances::default()).unwrap_err().to_string();
        assert!(message.contains("no point in common with the baseline"), "{message}");
    }

    #[test]
    fn one_seed_is_too_few() {
        let one = results("a", 0..1, &|_, _, _| {});
        let message = compare(&one, &one, &Tolerances::default()).unwrap_err().to_string();
        assert_eq!(
            message,
            "a/metrics.csv, line 2, column \"accuracy\": too few seeds to tell a change from \
             noise; found 1; allowed: 2 or more; 20 or more serve well"
        );
    }
}
