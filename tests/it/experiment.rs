//! Experiments from file to results folder, and `pliant run`'s messages on bad input, verbatim.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pliant::experiment::{
    Backend, Experiment, Measured, RealRun, Results, RunOptions, Silent, TraceSource, run,
};
use pliant::profile::Split;

use crate::bench_files::{self, EXPERIMENT};
use crate::support::{bench_experiment, files_below, pliant};

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    folder
}

fn simulate(experiment: &Experiment, out: &Path, threads: usize) -> Results {
    let options =
        RunOptions { out, force: false, draw: false, threads, progress: &Silent, witness: None };
    run(experiment, Backend::CostModel, &options).unwrap()
}

#[test]
fn the_same_experiment_gives_the_same_bytes_on_one_and_four_threads() {
    let folder = bench();
    let experiment = bench_experiment(folder.path());
    let out = |name: &str| folder.path().join(name);
    simulate(&experiment, &out("one"), 1);
    simulate(&experiment, &out("four"), 4);
    simulate(&experiment, &out("four"), 4);
    let (one, four) = (files_below(&out("one")), files_below(&out("four")));
    assert!(one == four, "{:?} and {:?}", one.keys(), four.keys());
    // 1 device × 2 skews × 3 methods × 3 seeds of outcomes, and the four files of the folder.
    assert_eq!(one.len(), 18 + 4);
}

#[test]
fn items_without_an_answer_under_some_plan_are_not_drawn() {
    let folder = bench();
    let table = folder.path().join("quality/tiny/structured.csv");
    let text = fs::read_to_string(&table).unwrap();
    // Item 2 of sciq is of the replay half; one cell of it was not measured.
    let row = text.split_inclusive('\n').find(|line| line.starts_with("width,sciq,2,50,100,"));
    fs::write(&table, text.replace(row.unwrap(), "")).unwrap();
    let out = folder.path().join("out");
    simulate(&bench_experiment(folder.path()), &out, 1);
    for (path, bytes) in files_below(&out.join("outcomes")) {
        let drawn = String::from_utf8(bytes).unwrap();
        assert!(!drawn.contains(",sciq,2,"), "{}", path.display());
    }
    let manifest = fs::read_to_string(out.join("manifest.toml")).unwrap();
    let items: toml::Table = toml::from_str(&manifest).unwrap();
    let replayed = (0..40).filter(|&item| Split::of("sciq", item) == Split::Replay).count() as i64;
    assert_eq!(items["items"]["sciq"].as_integer(), Some(replayed - 1));
}

#[test]
fn lengths_of_an_agent_app_s_items_without_answers_change_nothing_but_a_note() {
    let folder = bench();
    let mut experiment = bench_experiment(folder.path());
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    simulate(&experiment, &before, 1);
    let TraceSource::Synth(source) = &mut experiment.spec.trace else { panic!("synthesised") };
    let mut text = fs::read_to_string(&source.items).unwrap();
    text.extend((0..9).map(|item| format!("api-calling,{item},,9,9,9,9,9,9,9,9,9,9\n")));
    fs::write(&source.items, text).unwrap();
    simulate(&experiment, &after, 1);
    let notes = |out: &Path| {
        let manifest = fs::read_to_string(out.join("manifest.toml")).unwrap();
        toml::from_str::<toml::Table>(&manifest).unwrap()["notes"].as_array().unwrap().clone()
    };
    assert_eq!(notes(&before).len(), 2, "of Octopus and Shortcuts");
    let note = notes(&after)[0].as_str().unwrap().to_owned();
    assert!(note.starts_with("dataset api-calling is left out: the answers of "), "{note}");
    assert_eq!(notes(&after)[1..], notes(&before));
    let without_manifest = |out| {
        let mut files = files_below(out);
        files.remove(Path::new("manifest.toml"));
        files
    };
    assert!(without_manifest(&before) == without_manifest(&after));
}

#[test]
fn another_first_seed_gives_other_results() {
    let folder = bench();
    let mut experiment = bench_experiment(folder.path());
    let first = simulate(&experiment, &folder.path().join("a"), 1);
    experiment.spec.first_seed = 3;
    assert_ne!(first, simulate(&experiment, &folder.path().join("b"), 1));
}

#[test]
fn without_queueing_the_oracle_is_at_least_as_good_as_every_method_under_every_seed() {
    let folder = bench();
    let mut experiment = bench_experiment(folder.path());
    experiment.spec.service.ideal_isolation = true;
    experiment.spec.methods.rotate_right(1);
    let results = simulate(&experiment, &folder.path().join("out"), 0);
    assert_eq!(results.differences.len(), 4);
    for difference in &results.differences {
        assert_eq!(difference.label.method, "oracle");
        assert!(difference.gain.lo.unwrap() >= 0.0, "{difference:?}");
    }
}

#[test]
fn a_measured_run_puts_each_prediction_beside_its_measurement() {
    let folder = bench();
    let experiment = bench_experiment(folder.path());
    let out = folder.path().join("measured");
    let runtime = BTreeMap::from([("threads".to_owned(), "2".to_owned())]);
    // The cost model stands in for an engine that takes exactly as long as predicted.
    let mut make = |method: &pliant::method::Method, trace: &pliant::trace::Trace| {
        Ok(RealRun { executor: Box::new(method.cost_model(trace)?), head: None })
    };
    let backend = Backend::Measured(Measured { name: "engine", runtime, make: &mut make });
    let results = run(
        &experiment,
        backend,
        &RunOptions {
            out: &out,
            force: false,
            draw: false,
            threads: 0,
            progress: &Silent,
            witness: None,
        },
    )
    .unwrap();
    let simulated = simulate(&experiment, &folder.path().join("simulated"), 0);
    assert_eq!(results.rows, simulated.rows);
    let ttft = results.predictions.unwrap().ttft().unwrap();
    assert_eq!(
        (ttft.requests, ttft.p5.to_bits(), ttft.p95.to_bits()),
        (1080, 1_f64.to_bits(), 1_f64.to_bits())
    );
    let rows = fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + 1080);
    let of_one_run = |row: &&str| row.starts_with("oracle,bench,0.25,2,");
    assert_eq!(rows.lines().filter(of_one_run).count(), 60);
    assert!(fs::read_to_string(out.join("manifest.toml")).unwrap().contains("threads = \"2\""));
}

#[test]
fn run_prints_a_table_and_leaves_figures() {
    let folder = bench();
    pliant(folder.path())
        .args(["run", "experiment.toml", "--out", "out", "--threads", "1"])
        .assert()
        .success()
        .stdout_eq("...\n[..]elastic-profile[..]\n...\nwritten to out\n")
        .stderr_eq("");
    let out = files_below(&folder.path().join("out"));
    let figures = out.keys().filter(|path| path.extension().is_some_and(|ending| ending == "svg"));
    assert_eq!(figures.count(), 1, "{:?}", out.keys());
}

#[test]
fn run_prints_json_for_scripts_and_takes_a_seed() {
    let folder = bench();
    let rows = |seed: &str| -> serde_json::Value {
        let args = ["run", "experiment.toml", "--json", "--out", "out", "--seed", seed];
        let output = pliant(folder.path()).args(args).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = rows("5");
    assert_eq!(first.as_array().unwrap().len(), 6);
    assert_eq!(first, rows("5"));
    assert_ne!(first, rows("6"));
}

/// Asserts that `pliant run` refuses the bench's experiment with `from` replaced by `to`.
#[track_caller]
fn assert_refused(from: &str, to: &str, message: &str) {
    let folder = bench();
    assert!(EXPERIMENT.contains(from), "{from}");
    fs::write(folder.path().join("experiment.toml"), EXPERIMENT.replacen(from, to, 1)).unwrap();
    pliant(folder.path())
        .args(["run", "experiment.toml", "--out", "out"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(format!("pliant: {message}\n"));
    assert!(!folder.path().join("out/metrics.csv").exists());
}

#[test]
fn an_unknown_key_is_named_with_what_is_allowed() {
    assert_refused(
        "seeds = 3",
        "seedz = 3",
        "experiment.toml, line 3: unknown field `seedz`, expected one of `description`, \
         `first_seed`, `seeds`, `outcomes`, `quality`, `answers`, `api_calls`, `trace`, `service`, `devices`, `draw_profiles`, `figure`, `against`, `methods`, \
         `figures`",
    );
    assert_refused(
        "requests = 60",
        "request = 60",
        "experiment.toml, line 10, key \"trace.request\": unknown field `request`, expected one of \
         `items`, `items_per_dataset`, `without`, `alphas`, `apps`, `requests`, `level_order`, `objective`, `arrivals_per_hour`, `arrivals`, `output_tokens`",
    );
    assert_refused(
        "{ kind = \"full\" }",
        "{ kind = \"full\", level = 50 }",
        "experiment.toml, line 26, key \"methods.1.policy.level\": unknown field `level`, there are \
         no fields",
    );
}

#[test]
fn values_out_of_range_and_double_names_are_named() {
    assert_refused(
        "seeds = 3",
        "seeds = 0",
        "experiment.toml, key \"seeds\": out of range; found 0; allowed: 1 to 10000",
    );
    assert_refused(
        "name = \"full\"",
        "name = \"oracle\"",
        "experiment.toml, key \"methods\": appears twice; found \"oracle\"",
    );
    assert_refused(
        "name = \"full\"",
        "name = \"../full\"",
        "experiment.toml, key \"methods\": name cannot be part of a file name; found \"../full\"; \
         allowed: 1 to 50 characters that can name a file: no slash, backslash or any of : * ? \" < > \
         |, no dot or space at an end",
    );
    assert_refused(
        "alphas = [0.0, 0.25]",
        "alphas = []",
        "experiment.toml, key \"trace\": none given; allowed: one or more",
    );
    assert_refused(
        "seeds = 3",
        "seeds = 3\nagainst = \"fullest\"",
        "experiment.toml, key \"against\": no such method; found \"fullest\"; allowed: \
         elastic-profile, full, oracle",
    );
}

/// A profile may state an hour a token and a megawatt: what then does not fit the clock or the meter
/// is one error, and nothing wraps around.
#[test]
fn a_device_of_times_and_energies_that_cannot_be_told_is_one_error() {
    let folder = bench();
    let device = folder.path().join("bench/device.toml");
    let text = fs::read_to_string(&device).unwrap();
    let refused = |power: &str, tokens: u32, message: &str| {
        let slow = text.replace("tpot_ms = { intercept = 50,", "tpot_ms = { intercept = 3600000,");
        assert_ne!(slow, text);
        fs::write(&device, format!("{slow}{power}")).unwrap();
        let long = EXPERIMENT
            .replace("requests = 60", &format!("requests = 60\noutput_tokens = {tokens}"));
        fs::write(folder.path().join("experiment.toml"), long).unwrap();
        let run = pliant(folder.path()).args(["run", "experiment.toml", "--out", "out"]).assert();
        let output = run.code(2).get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.lines().count() == 1 && said.contains(message), "{said}");
        assert!(!folder.path().join("out").exists());
    };
    // Half a million hours are 57 years, and sixty requests wait for one another.
    let clock = "allowed: 584 years in all: look at the device's latencies";
    refused("", 500_000, clock);
    let power = "[power]\nidle_watts = 1\nactive_watts = 1e6\n\
                 provenance = { kind = \"published\", sources = [\"none\"] }\n";
    let meter = "allowed: 18 GJ a request: look at the device's latencies and power";
    refused(power, 24, meter);
}

#[test]
fn a_device_without_the_model_and_a_missing_profile_are_named() {
    assert_refused(
        "dir = \"bench\"",
        "dir = \"phone\"",
        "phone/device.toml: cannot read: No such file or directory (os error 2)",
    );
    assert_refused(
        "latency_of = \"large\"",
        "latency_of = \"huge\"",
        "device profile bench: no such family; found huge/width; allowed: large/width",
    );
}

#[test]
fn answers_without_the_base_model_are_refused() {
    let folder = bench();
    let path = folder.path().join("quality/tiny/structured.csv");
    let table = fs::read_to_string(&path).unwrap();
    let is_full = |line: &&str| line.split(',').nth(3) == Some("100");
    let kept: Vec<_> = table.lines().filter(|line| !is_full(line)).collect();
    fs::write(&path, kept.join("\n") + "\n").unwrap();
    pliant(folder.path())
        .args(["run", "experiment.toml", "--out", "out"])
        .assert()
        .code(2)
        .stderr_eq(
            "pliant: method elastic-profile, quality table width: answers lack the base model; \
             found 20 %, 50 %; allowed: a table with rows of level 100 %\n",
        );
}

#[test]
fn an_unwritable_results_folder_is_named() {
    let folder = bench();
    fs::write(folder.path().join("file"), "").unwrap();
    pliant(folder.path())
        .args(["run", "experiment.toml", "--out", "file/out"])
        .assert()
        .code(2)
        .stderr_eq("pliant: file/out: cannot create: Not a directory (os error 20)\n");
}

#[test]
#[cfg(not(feature = "engine"))]
fn the_engine_is_refused_where_it_was_not_built_in() {
    let folder = bench();
    pliant(folder.path())
        .args(["run", "experiment.toml", "--executor", "engine"])
        .assert()
        .code(2)
        .stderr_eq(
            "pliant: --executor: not part of this build; found engine; allowed: cost-model, or a \
             build with `--features engine`\n",
        );
}

#[test]
fn every_committed_experiment_and_trace_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, ending) in [("experiments", "toml"), ("traces", "csv")] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|found| found == ending) {
                match ending {
                    "toml" => drop(Experiment::load(&path).unwrap()),
                    _ => drop(pliant::trace::Trace::read(&path).unwrap()),
                }
            }
        }
    }
}
