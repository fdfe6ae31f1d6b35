//! Sweeps and peaks from file to results folder, what a kill leaves, and messages on bad input.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use pliant::experiment::{Experiment, Progress, Silent};
use pliant::metrics::Measure;
use pliant::search::{
    Combine, PeakSpec, RunCache, RunCounts, SearchOptions, SweepSpec, peak, sweep,
};

use crate::bench_files::{self, EXPERIMENT};
use crate::support::{bench_experiment, pliant};

/// Runs at each point: 1 device × 2 skews × 3 methods × 3 seeds.
const RUNS: usize = 18;

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    folder
}

fn over_rates() -> SweepSpec {
    let set = vec!["trace.arrivals_per_hour=5,50,500".parse().unwrap()];
    SweepSpec { combine: Combine::Grid, set }
}

fn sweep_into(folder: &Path, out: &str, cache: &RunCache, threads: usize, progress: &dyn Progress) {
    let experiment = bench_experiment(folder);
    let options = SearchOptions {
        out: &folder.join(out),
        force: false,
        draw: false,
        threads,
        progress,
        cache,
    };
    sweep(&experiment, &over_rates(), &options).unwrap();
}

fn cache(folder: &Path) -> RunCache {
    RunCache::new(folder.join("cache"), "this build".to_owned())
}

/// Kills the process, as far as a test can: panics from the 20th finished run on.
struct Kill(AtomicUsize);

impl Progress for Kill {
    fn start(&self, steps: u64) {
        assert_eq!(steps as usize, 3 * RUNS);
    }

    fn advance(&self, _steps: u64) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < 19, "killed");
    }
}

#[test]
fn a_killed_sweep_goes_on_where_it_stopped_and_ends_as_if_it_had_not() {
    let folder = bench();
    let killed = cache(folder.path());
    let kill = Kill(AtomicUsize::new(0));
    let sweep = || sweep_into(folder.path(), "out", &killed, 1, &kill);
    assert!(catch_unwind(AssertUnwindSafe(sweep)).is_err());
    let RunCounts { executed: finished, recalled: 0 } = killed.counts() else { panic!() };
    assert!((20..3 * RUNS).contains(&finished), "{finished} runs before the kill");
    assert!(!folder.path().join("out/sweep.csv").exists());

    let restarted = cache(folder.path());
    sweep_into(folder.path(), "out", &restarted, 1, &Silent);
    let counts = RunCounts { executed: 3 * RUNS - finished, recalled: finished };
    assert_eq!(restarted.counts(), counts);

    let none = RunCache::none();
    sweep_into(folder.path(), "whole", &none, 4, &Silent);
    for file in ["sweep.csv", "manifest.toml"] {
        let read = |out: &str| fs::read_to_string(folder.path().join(out).join(file)).unwrap();
        assert_eq!(read("out"), read("whole"), "{file}: cached or not, 1 thread or 4");
    }
}

#[test]
fn a_run_is_repeated_if_anything_that_it_depends_on_changes() {
    let folder = bench();
    let executed = |folder: &Path| {
        let cache = cache(folder);
        sweep_into(folder, "out", &cache, 0, &Silent);
        cache.counts().executed
    };
    assert_eq!(executed(folder.path()), 3 * RUNS);
    assert_eq!(executed(folder.path()), 0);
    let edit = |name: &str, from: &str, to: &str| {
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} lacks {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    };
    edit("bench/device.toml", "switch_ms = 0.5", "switch_ms = 0.6");
    assert_eq!(executed(folder.path()), 3 * RUNS, "another device");
    edit("experiment.toml", "seeds = 3", "seeds = 3\nfirst_seed = 1");
    assert_eq!(executed(folder.path()), 3 * RUNS / 3, "one seed of three is new");
    edit("experiment.toml", "alphas = [0.0, 0.25]", "alphas = [0.25, 0.5]");
    assert_eq!(executed(folder.path()), 3 * RUNS / 2, "one skew of two is new");
}

#[test]
fn sweep_prints_a_table_and_leaves_rows_a_figure_and_a_manifest() {
    let folder = bench();
    let command = || {
        let args = ["sweep", "experiment.toml", "--out", "out", "--cache", "cache"];
        pliant(folder.path()).args(args).args(["--set", "trace.arrivals_per_hour=5,500"])
    };
    command()
        .assert()
        .success()
        .stdout_eq(
            "bench, α = 0: accuracy@SLO %, latencies of large, answers of tiny (latency modelled, \
             answers of unknown origin; 3 seeds, 180 requests a mean, below each its 95 % interval)\n\
             ...\n[..]trace.arrivals_per_hour[..]5[..]500[..]\n...\n elastic-profile[..]\n...\n\
             written to out: 36 runs, 0 more from the cache\n",
        )
        .stderr_eq("");
    command().assert().success().stdout_eq("...\nwritten to out: 0 runs, 36 more from the cache\n");
    let figure = folder.path().join("out/sweep.svg");
    let drawn = fs::read(&figure).unwrap();
    fs::remove_file(&figure).unwrap();
    pliant(folder.path())
        .args(["report", "out"])
        .assert()
        .success()
        .stdout_eq("bench, α = 0: [..]\n...\n[..]trace.arrivals_per_hour[..]5[..]500[..]\n...\n");
    assert_eq!(fs::read(&figure).unwrap(), drawn, "redrawn from sweep.csv");
    let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    let csv = read("sweep.csv");
    assert!(csv.starts_with("trace.arrivals_per_hour,method,alpha,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 2 * 6);
    assert!(csv.contains("\n500.0,oracle,0.25,bench,large,tiny,"), "{csv}");
    assert!(read("sweep.svg").contains("trace.arrivals_per_hour"));
    let manifest: toml::Table = toml::from_str(&read("manifest.toml")).unwrap();
    assert_eq!(manifest["sweep"]["combine"].as_str(), Some("grid"));
    assert_eq!(manifest["sweep"]["set"][0]["key"].as_str(), Some("trace.arrivals_per_hour"));
    assert!(manifest["inputs"]["bench/device.toml"].is_str());
}

#[test]
fn a_sweep_over_two_keys_is_a_grid_or_a_list_and_prints_json() {
    let folder = bench();
    let rows = |list: bool| -> Vec<serde_json::Value> {
        let output = pliant(folder.path())
            .args(["sweep", "experiment.toml", "--out", "out", "--no-cache", "--json"])
            .args(["--set", "seeds=1,2", "--set", "methods.oracle.margin=0:0.1:0.1"])
            .args(if list { &["--list"][..] } else { &[] })
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let grid = rows(false);
    assert_eq!(grid.len(), 4 * 6);
    assert_eq!(grid[6]["set"], serde_json::json!({ "seeds": 1.0, "methods.oracle.margin": 0.1 }));
    assert_eq!(grid[6]["replications"], 1);
    let list = rows(true);
    assert_eq!(list.len(), 2 * 6);
    assert_eq!(list[6]["set"], serde_json::json!({ "seeds": 2.0, "methods.oracle.margin": 0.1 }));
    assert!(!folder.path().join("out/sweep.svg").exists(), "two keys have no figure");
}

#[track_caller]
fn assert_refused(args: &[&str], message: &str) {
    let folder = bench();
    let isolated =
        EXPERIMENT.replace("[[devices]]", "[service]\nideal_isolation = true\n[[devices]]");
    fs::write(folder.path().join("isolated.toml"), isolated).unwrap();
    pliant(folder.path())
        .args(args)
        .args(["--out", "out", "--no-cache"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(format!("{message}\n"));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn bad_settings_are_named_before_anything_runs() {
    assert_refused(
        &["sweep", "experiment.toml", "--set", "trace.arrivals_per_hours=1"],
        "pliant: experiment.toml, --set: no such number; found trace.arrivals_per_hours; allowed: \
         trace.arrivals_per_hour, trace.alphas, trace.output_tokens, trace.requests, figure.font_pt: \
         unknown field `arrivals_per_hours`, expected one of `items`, `items_per_dataset`, `without`, \
         `alphas`, `apps`, `requests`, `level_order`, `objective`, `arrivals_per_hour`, `arrivals`, \
         `output_tokens`",
    );
    assert_refused(
        &["sweep", "experiment.toml", "--set", "methods.oracle.margin=2"],
        "pliant: experiment.toml, --set methods.oracle.margin: value not allowed; found 2: [..]",
    );
    assert_refused(
        &["sweep", "experiment.toml", "--set", "seeds=2,0"],
        "pliant: experiment.toml, key \"seeds\": out of range; found 0; allowed: 1 to 10000",
    );
    assert_refused(
        &["sweep", "experiment.toml", "--set", "seeds"],
        "error: invalid value 'seeds' for '--set <KEY=VALUES>': --set: no value; found \"seeds\"; \
         allowed: KEY=V1,V2,… or KEY=from:to:step\n\nFor more information, try '--help'.",
    );
}

#[test]
fn peaks_that_cannot_be_searched_are_refused() {
    assert_refused(
        &["peak", "experiment.toml", "--method", "elastilm"],
        "pliant: --method: not of the experiment; found elastilm; allowed: elastic-profile, full, \
         oracle",
    );
    assert_refused(
        &["peak", "experiment.toml", "--attainment", "90"],
        "pliant: --attainment: out of range; found 90; allowed: a share above 0, up to 1",
    );
    assert_refused(
        &["peak", "experiment.toml", "--from", "10", "--to", "5"],
        "pliant: --to: out of range; found 5; allowed: requests an hour, above 10",
    );
    assert_refused(
        &["peak", "isolated.toml"],
        "pliant: isolated.toml, key \"service.ideal_isolation\": the arrival rate has no peak; found \
         true; allowed: false: requests that queue, whenever they come",
    );
}

/// The whole model fails most objectives, however seldom it is asked; the others serve a request
/// in seconds.
#[test]
fn peak_prints_a_table_and_leaves_rows_and_a_manifest() {
    let folder = bench();
    let args = ["peak", "experiment.toml", "--attainment", "0.7", "--out", "out"];
    pliant(folder.path())
        .args(args)
        .args(["--cache", "cache", "--precision", "0.05"])
        .assert()
        .success()
        .stdout_eq(
            "bench: largest rate with attainment of 70.0 % or more; latencies of large, answers of \
             tiny (latency modelled, answers of unknown origin; 3 seeds of 60 requests)\n\
             ...\n 0 [..] elastic-profile [..]\n 0 [..] full [..]below 1[..]\n...\n\
             written to out: [..] runs, [..] more from the cache\n",
        )
        .stderr_eq("");
    let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    let csv = read("peak.csv");
    assert!(csv.contains("full,0.0,bench,large,tiny,0.7,,,1.0,below,,1.0,16384.0,"), "{csv}");
    assert!(read("manifest.toml").contains("[peak]"));
}

#[test]
fn a_peak_is_between_rates_that_keep_the_share_and_rates_that_do_not() {
    let folder = bench();
    let experiment = bench_experiment(folder.path());
    let cache = cache(folder.path());
    let options = SearchOptions {
        out: &folder.path().join("out"),
        // A sweep takes the place of peaks.
        force: true,
        draw: false,
        threads: 0,
        progress: &Silent,
        cache: &cache,
    };
    let spec = PeakSpec {
        methods: vec!["elastic-profile".to_owned()],
        attainment: 0.8,
        ..PeakSpec::default()
    };
    let found = peak(&experiment, &spec, &options).unwrap();
    assert_eq!(found.rows.len(), 2, "one for each skew");
    for row in found.rows {
        let rate = row.peak_per_hour.unwrap();
        assert!(row.peak_per_hour_lo.unwrap() <= rate && rate <= row.peak_per_hour_hi.unwrap());
        let attainment = |rate: f64| {
            let set = vec![
                format!("trace.arrivals_per_hour={rate}").parse().unwrap(),
                format!("trace.alphas={}", row.label.alpha).parse().unwrap(),
            ];
            let spec = SweepSpec { combine: Combine::Grid, set };
            let rows = sweep(&experiment, &spec, &options).unwrap().rows;
            rows[0].row[Measure::Attainment].mean.unwrap()
        };
        assert!(attainment(0.8 * rate) >= 0.8 && attainment(1.25 * rate) < 0.8, "{rate}");
    }
    let before = cache.counts();
    peak(&experiment, &spec, &options).unwrap();
    assert_eq!(cache.counts().executed, before.executed, "a second search repeats nothing");
}

#[test]
fn an_experiment_of_figures_alone_has_nothing_to_search() {
    let folder = bench();
    let text = "description = \"a\"\nseeds = 1\n[[figures]]\nkind = \"oracle-share\"\n";
    fs::write(folder.path().join("figures.toml"), text).unwrap();
    let experiment = Experiment::load(&folder.path().join("figures.toml")).unwrap();
    let options = SearchOptions {
        out: &folder.path().join("out"),
        force: false,
        draw: false,
        threads: 1,
        progress: &Silent,
        cache: &RunCache::none(),
    };
    let message = sweep(&experiment, &over_rates(), &options).unwrap_err().to_string();
    assert!(message.ends_with("replays nothing; allowed: a trace and methods"), "{message}");
}

#[test]
fn more_threads_than_are_of_any_use_are_capped_and_that_is_said() {
    let folder = bench();
    let args = ["sweep", "experiment.toml", "--set", "seeds=1", "--no-cache", "--out", "out"];
    pliant(folder.path())
        .args(args)
        .args(["--threads", "5000"])
        .assert()
        .success()
        .stderr_eq("pliant: 256 threads instead of 5000: the most that are started\n");
}

/// A limit on the size of files stands for a full disk.
#[test]
#[cfg(unix)]
fn results_that_do_not_fit_are_exit_code_2_and_no_manifest() {
    let program = snapbox::cmd::cargo_bin!("pliant").display().to_string();
    for command in ["sweep experiment.toml --set seeds=1,2", "peak experiment.toml --to 8"] {
        let folder = bench();
        let limited =
            format!("trap '' XFSZ; ulimit -f 1; exec {program} {command} --no-cache --out out");
        let output = std::process::Command::new("sh")
            .args(["-c", &limited])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("cannot write: File too large"), "{command}: {said}");
        assert!(!folder.path().join("out/manifest.toml").exists(), "{command}");
    }
}
