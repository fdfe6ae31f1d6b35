//! `pliant policy explain`: what it shows of runs, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;
use snapbox::str;

use crate::bench_files;
use crate::support::{pliant, python};

/// The bench's experiment, run into `out`.
fn results() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    pliant(folder.path()).args(["run", "experiment.toml", "--out", "out"]).assert().success();
    folder
}

fn explain(folder: &Path, arguments: &[&str]) -> Value {
    let command = pliant(folder).args(["policy", "explain"]).args(arguments).arg("--json");
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

/// Cells of the stored outcome of request `id`, by column.
fn stored(folder: &Path, method: &str, alpha: &str, seed: u64, id: u64) -> Vec<(String, String)> {
    let file = format!("out/outcomes/{method}/bench_large_tiny_alpha{alpha}_seed{seed}.csv");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let place = header.iter().position(|name| name == "id").unwrap();
    let row = lines.find(|row| row[place] == id.to_string()).unwrap();
    header.into_iter().zip(row).collect()
}

#[test]
fn every_method_is_shown_to_have_chosen_and_taken_what_its_run_stored() {
    let folder = results();
    for method in ["elastic-profile", "full", "oracle"] {
        for (alpha, seed, id) in [("0", 0, 0), ("0.25", 2, 31)] {
            let (seed_text, id_text) = (seed.to_string(), id.to_string());
            let arguments = ["out", "--request", &id_text, "--method", method, "--alpha", alpha];
            let shown = explain(folder.path(), &[&arguments[..], &["--seed", &seed_text]].concat());
            assert_eq!(shown["warnings"], Value::Array(Vec::new()), "{method} {id}");
            assert_eq!(shown["source"], "replayed");
            let row = stored(folder.path(), method, alpha, seed, id);
            let cell = |name: &str| -> f64 {
                row.iter().find(|(column, _)| column == name).unwrap().1.parse().unwrap()
            };
            let value = |pointer: &str| shown.pointer(pointer).unwrap().as_f64().unwrap();
            for (pointer, expected) in [
                ("/choice/level", cell("level_percent") / 100.0),
                ("/choice/prompt_ratio", cell("prompt_ratio")),
                ("/seen/now_ms", cell("start_ms")),
                ("/seen/bounds/ttft_ms", cell("ttft_bound_ms")),
                ("/happened/ttft_ms", cell("ttft_ms")),
                ("/item", cell("item")),
            ] {
                let shown = value(pointer);
                assert!((shown - expected).abs() < 1e-6, "{pointer}: {shown} {expected}");
            }
            assert_eq!(shown["happened"]["slo_met"].as_bool(), Some(cell("slo_met") > 0.5));
            let candidates = shown["candidates"].as_array().unwrap();
            assert_eq!(candidates.len(), if method == "full" { 3 } else { 30 });
            // What was predicted for the choice is what it took, but for the wait.
            let chosen = candidates.iter().find(|one| {
                one["level"] == shown["choice"]["level"]
                    && one["prompt_ratio"] == shown["choice"]["prompt_ratio"]
            });
            let unqueued = chosen.unwrap()["ttft_ms"].as_f64().unwrap();
            assert!((unqueued + value("/happened/waited_ms") - cell("ttft_ms")).abs() < 1e-6);
            if method == "oracle" && !shown["oracle"].is_null() {
                assert_eq!(shown["oracle"], shown["choice"]);
            }
        }
    }
}

#[test]
fn an_experiment_file_is_explained_without_having_been_run() {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let command = pliant(folder.path());
    // Item 19 of sciq is answered rightly at level 20 % from 80 % of its prompt: see `bench_files`,
    // (19 · 37 + 3 · 11) mod 100 = 36 < 0.4 · 20 + 4 · 8. Times are 20 ms · level a prompt token
    // and 50 ms · level an output token, 1 ms to decide, 0.01 ms a token to cut, 0.5 ms to switch:
    // of 390 tokens 312 take 1 + 3.9 + 0.5 + 1248 = 1253.4 ms.
    let arguments = ["policy", "explain", "experiment.toml", "--request", "1"];
    command.args(arguments).assert().success().stderr_eq("").stdout_eq(str![[r"
experiment: elastic-profile (elastic-profile) on bench, alpha 0, seed 0
latencies of large, answers of tiny; latency modelled, answers of unknown origin

request    1, of XiaoAi: sciq item 19
lengths    390 prompt tokens, 16 output tokens
objective  ⟨20 %, 50 %⟩: TTFT 1560.0 ms, TPOT 25.0 ms
service    taken up after 0.0 ms, 0 waiting, level in memory: 50 %

12 of 30 candidates were predicted to meet the objective
 level  prompt  TTFT ms  TPOT ms  fits  expected %  right  in time
  20 %    10 %    161.4     10.0  yes          6.2  no     yes
  20 %    20 %    317.4     10.0  yes         12.5  no     yes
  20 %    30 %    473.4     10.0  yes         18.8  no     yes
  20 %    40 %    629.4     10.0  yes         25.0  no     yes
  20 %    50 %    785.4     10.0  yes         31.2  no     yes
  20 %    60 %    941.4     10.0  yes         31.2  no     yes
  20 %    70 %   1097.4     10.0  yes         37.5  no     yes
  20 %    80 %   1253.4     10.0  yes         37.5  yes    yes      oracle, best in hindsight
  20 %    90 %   1409.4     10.0  yes         43.8  yes    yes      chosen
  50 %    10 %    394.9     25.0  yes         25.0  no     yes
  50 %    20 %    784.9     25.0  yes         31.2  no     yes
  50 %    30 %   1174.9     25.0  yes         31.2  no     yes

chosen     ⟨level 20 %, prompt 90 %⟩
happened   TTFT 1409.4 ms = 0.0 wait + 1.0 decide + 3.9 compress + 0.5 switch + 1404.0 prefill of 351 tokens
           TPOT 10.0 ms, last token after 1559.4 ms; objective met, answer right (simulated again)
oracle     ⟨level 20 %, prompt 80 %⟩: predicted in time, and right
hindsight  2 of 30 candidates answer rightly in time, the wait included

"]]);
    assert!(!folder.path().join("results").exists());
}

#[test]
fn inputs_and_outcomes_that_are_not_the_runs_are_named() {
    let folder = results();
    let file = folder.path().join("out/outcomes/full/bench_large_tiny_alpha0_seed0.csv");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(",100,1,", ",50,1,")).unwrap();
    let device = folder.path().join("bench/device.toml");
    let text = fs::read_to_string(&device).unwrap();
    fs::write(device, text + "\n").unwrap();
    pliant(folder.path())
        .args(["policy", "explain", "out", "--request", "0", "--method", "full"])
        .assert()
        .success()
        .stderr_eq(str![[r"
pliant: warning: bench/device.toml is not what the run read
pliant: warning: the run stored another outcome, with plan ⟨50 %, 100 %⟩

"]]);
}

#[test]
fn a_measured_run_is_explained_from_what_it_stored_or_not_at_all() {
    let folder = results();
    let manifest = folder.path().join("out/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"cost-model\"", "\"engine\"")).unwrap();
    let outcomes = folder.path().join("out/outcomes/full/bench_large_tiny_alpha0_seed0.csv");
    let row = stored(folder.path(), "full", "0", 0, 0);
    let place = row.iter().position(|(column, _)| column == "prefill_ms").unwrap();
    let text = fs::read_to_string(&outcomes).unwrap();
    let slower = row
        .iter()
        .enumerate()
        .map(|(nth, (_, cell))| if nth == place { "123456.5".to_owned() } else { cell.clone() });
    let old = row.iter().map(|(_, cell)| cell.as_str()).collect::<Vec<_>>().join(",");
    let new = slower.collect::<Vec<_>>().join(",");
    fs::write(&outcomes, text.replace(&old, &new)).unwrap();
    let arguments = ["out", "--request", "0", "--method", "full"];
    let shown = explain(folder.path(), &arguments);
    assert_eq!(shown["source"], "stored");
    assert_eq!(shown["happened"]["prefill_ms"], 123_456.5);
    fs::remove_file(outcomes).unwrap();
    pliant(folder.path()).args(["policy", "explain"]).args(arguments).assert().code(2).stderr_eq(
        "pliant: out/outcomes/full/bench_large_tiny_alpha0_seed0.csv: a measured run without its \
         outcomes; allowed: a run whose outcomes were kept\n",
    );
}

#[test]
fn what_the_run_does_not_have_is_named_with_what_it_has() {
    let folder = results();
    let refused = |arguments: &[&str], message: &str| {
        let command = pliant(folder.path()).args(["policy", "explain", "out"]).args(arguments);
        command.assert().code(2).stdout_eq("").stderr_eq(format!("pliant: {message}\n"));
    };
    refused(&["--request", "60"], "trace: no such request; found 60; allowed: 0 to 59");
    refused(
        &["--request", "0", "--method", "best"],
        "experiment.toml: no such method; found best; allowed: elastic-profile, full, oracle",
    );
    refused(
        &["--request", "0", "--device", "phone"],
        "experiment.toml: no such device; found phone; allowed: bench",
    );
    refused(
        &["--request", "0", "--alpha", "-1"],
        "experiment.toml: no such skew; found -1; allowed: 0, 0.25",
    );
    refused(
        &["--request", "0", "--seed", "3"],
        "experiment.toml: no such seed; found 3; allowed: 0 to 2",
    );
}

/// The program is gone by then: what it chose is in the outcomes.
#[test]
fn an_external_policy_is_explained_without_being_asked_again() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python");
    for (from, to) in [("nominal.py", "mine.py"), ("pliant_policy.py", "pliant_policy.py")] {
        fs::copy(examples.join(from), folder.path().join(to)).unwrap();
    }
    let path = folder.path().join("experiment.toml");
    let method = "\n[[methods]]\nname = \"mine\"\nfamily = \"width\"\ncompressor = \"structured\"\n\
                  policy = { kind = \"external\", command = [\"python3\", \"mine.py\"], timeout_ms = 60000 }\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + method).unwrap();
    pliant(folder.path()).args(["run", "experiment.toml", "--out", "out"]).assert().success();
    fs::remove_file(folder.path().join("mine.py")).unwrap();
    let shown = explain(folder.path(), &["out", "--request", "7", "--method", "mine"]);
    assert_eq!(shown["source"], "stored");
    assert_eq!(shown["warnings"][0]["path"], "mine.py");
    let row = stored(folder.path(), "mine", "0", 0, 7);
    let level = row.iter().find(|(column, _)| column == "level_percent").unwrap();
    let shown = shown.pointer("/choice/level").unwrap().as_f64().unwrap();
    assert_eq!(format!("{:.0}", shown * 100.0), level.1);
}
