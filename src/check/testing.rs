//! Results made by a rule, for the tests of the gate.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rand_distr::{Distribution, StandardNormal};

use super::results::RunResults;
use super::{Comparison, Tolerances, compare};
use crate::metrics::{
    AskedItems, CellLabel, Measure, MetricsRow, PerMeasure, RunMeasures, SeedRow,
    write_metrics_csv, write_seeds_csv,
};
use crate::rng;

/// What `change` does to the replication of a method under a seed.
pub(super) type Alter<'a> = &'a dyn Fn(&str, u64, &mut RunMeasures);

/// Two methods at two skews under `seeds`, 600 requests each. Seeds move a share by 2 points and
/// a time by 5 %, both methods alike.
pub(super) fn results(folder: &str, seeds: std::ops::Range<u64>, alter: Alter<'_>) -> RunResults {
    let (mut rows, mut by_seed) = (Vec::new(), Vec::new());
    for method in ["elastic-profile", "full"] {
        for alpha in [0.0, 0.25] {
            let label = label(method, alpha);
            let runs: Vec<(u64, RunMeasures)> = seeds
                .clone()
                .map(|seed| {
                    let mut run = replication(seed, alpha);
                    alter(method, seed, &mut run);
                    (seed, run)
                })
                .collect();
            by_seed.extend(runs.iter().map(|(seed, run)| SeedRow::of(&label, *seed, run)));
            let runs: Vec<RunMeasures> = runs.into_iter().map(|(_, run)| run).collect();
            rows.push(MetricsRow::of(&label, &runs, &AskedItems::default()));
        }
    }
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("metrics.csv");
    write_metrics_csv(&path, &rows).unwrap();
    write_seeds_csv(&files.path().join("seeds.csv.gz"), &by_seed).unwrap();
    let manifest = "experiment = \"curve\"\nexecutor = \"cost-model\"\n";
    std::fs::write(files.path().join("manifest.toml"), manifest).unwrap();
    let mut results = RunResults::load(&path).unwrap();
    results.path = PathBuf::from(folder).join("metrics.csv");
    results.name = results.path.display().to_string();
    let experiment = "experiments/curve.toml".to_owned();
    results.manifest.inputs.insert(experiment, "a".to_owned());
    results
}

fn label(method: &str, alpha: f64) -> CellLabel {
    CellLabel {
        method: method.to_owned(),
        alpha,
        device: "phone".to_owned(),
        latency_of: "large".to_owned(),
        base_model: "small".to_owned(),
        provenance: "latency modelled, answers measured".to_owned(),
    }
}

fn replication(seed: u64, alpha: f64) -> RunMeasures {
    let mut random = rng::stream(seed, &format!("replication at {alpha}"));
    let mut noise = || -> f64 { StandardNormal.sample(&mut random) };
    let time = (0.05 * noise()).exp();
    RunMeasures {
        requests: 600,
        values: PerMeasure::from([
            (Measure::Accuracy, 0.6 + 0.02 * noise()),
            (Measure::AccuracyAtSlo, 0.55 + 0.02 * noise()),
            (Measure::Attainment, 0.95 + 0.005 * noise()),
            (Measure::TtftP50, 31_000.0 * time),
            (Measure::TtftP95, 76_000.0 * time),
            (Measure::TpotP50, 300.0 * time),
        ]),
        ..RunMeasures::default()
    }
}

/// Noise of `method` under `seed` that a changed program brings: `deviation` times a normal value.
pub(super) fn noise(method: &str, seed: u64, stream: u64, deviation: f64) -> f64 {
    let mut random = rng::stream(seed, &format!("noise {stream} of {method}"));
    let value: f64 = StandardNormal.sample(&mut random);
    deviation * value
}

/// Does `change` to a value of `run`.
pub(super) fn alter(run: &mut RunMeasures, measure: Measure, change: impl Fn(f64) -> f64) {
    run.values[measure] = run.values[measure].map(change);
}

/// Twenty seeds against the same seeds, the run altered.
pub(super) fn comparison(change: impl Fn(&str, &mut RunMeasures)) -> Comparison {
    let now = results("fresh", 0..20, &|method, _, run| change(method, run));
    compare(&now, &results("results/curve", 0..20, &|_, _, _| {}), &Tolerances::default()).unwrap()
}

/// `elastic-profile` answers 2 points less and takes 12 % longer at the 95th percentile; `full`
/// meets 2 points more; an input changed.
pub(super) fn fallen() -> Comparison {
    let mut now = results("fresh", 0..20, &|method, seed, run| {
        let wobble = |stream| noise(method, seed, stream, 0.004);
        if method == "full" {
            alter(run, Measure::Attainment, |share| share + 0.02 + wobble(0) / 4.0);
        } else {
            alter(run, Measure::AccuracyAtSlo, |share| share - 0.02 + wobble(1));
            alter(run, Measure::TtftP95, |time| time * (1.12 + wobble(2)));
        }
    });
    let mut baseline = results("results/curve", 0..20, &|_, _, _| {});
    let inputs = |hash: &str| {
        let files = [("device.toml", hash), ("experiments/curve.toml", "a")];
        BTreeMap::from(files.map(|(file, hash)| (file.to_owned(), hash.to_owned())))
    };
    now.manifest.inputs = inputs("b");
    baseline.manifest.inputs = inputs("a");
    compare(&now, &baseline, &Tolerances::default()).unwrap()
}
