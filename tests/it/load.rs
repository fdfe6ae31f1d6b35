//! `pliant load` and `pliant serve-load`: traces played against servers of canned text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::pliant;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut rows = csv::Reader::from_path(path).unwrap();
    rows.deserialize().map(Result::unwrap).collect()
}

/// Three methods in two loops for two seconds each, at twenty times the predicted speed. Every
/// row has its numbers, real and simulated; the recorded days name the items that were asked.
#[test]
fn three_methods_are_served_under_load_and_their_days_simulated() {
    let folder = TempDir::new().unwrap();
    let experiment = fs::read_to_string(root().join("experiments/serve-load.toml")).unwrap();
    let faster = experiment.replace("arrivals_per_hour = 1800.0", "arrivals_per_hour = 18000.0");
    let path = folder.path().join("serve-load.toml");
    fs::write(&path, faster).unwrap();
    let out = folder.path().join("out");
    let args = ["serve-load", path.to_str().unwrap(), "--executor", "cost-model"];
    let more = ["--seconds", "2", "--speed", "20", "--out", out.to_str().unwrap()];
    pliant(root()).args(args).args(more).assert().success();
    let table = rows(&out.join("serve-load.csv"));
    let cells = table.iter().map(|row| format!("{} {}", row["loop"], row["method"]));
    let wanted = ["elastilm", "full", "fast"];
    let wanted =
        ["open", "closed"].iter().flat_map(|how| wanted.map(|name| format!("{how} {name}")));
    assert_eq!(cells.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    for row in &table {
        for name in ["requests", "finished", "ttft_ms_p50", "ttft_ms_p50_simulated", "tpot_ms_p50"]
        {
            assert!(row[name].parse::<f64>().unwrap() > 0.0, "{name} of {row:?}");
        }
        for name in ["attainment_simulated", "accuracy_stored", "accuracy_stored_simulated_learnt"]
        {
            assert!((0.0..=1.0).contains(&row[name].parse::<f64>().unwrap()), "{name} of {row:?}");
        }
        assert_eq!(row["requests"], row["requests_simulated"], "{row:?}");
    }
    let full = rows(&out.join("open-full.played.csv"));
    assert!(full.iter().all(|row| row["level"] == "100" && row["prompt_ratio"] == "1.0"));
    assert!(rows(&out.join("closed-fast.played.csv")).iter().all(|row| row["level"] == "20"));
    let elastic = rows(&out.join("open-elastilm.played.csv"));
    assert!(elastic.iter().any(|row| row["prompt_ratio"] != "1.0"), "prompts are cut");
    let day = fs::read_to_string(out.join("open-elastilm.day.csv")).unwrap();
    for row in &elastic {
        assert!(day.contains(&format!(",{},{},{},", row["app"], row["dataset"], row["item"])));
    }
    // Days that are simulated once more come to the same.
    let before = fs::read(out.join("serve-load.csv")).unwrap();
    pliant(root()).args(args).args(more).arg("--simulate").assert().success();
    assert_eq!(fs::read(out.join("serve-load.csv")).unwrap(), before);
    // The experiments beside the days are those that were run.
    let simulate = ["run", "open-full.toml", "--out", "simulated", "--json"];
    let path = out.join("open-full.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("device-profiles", root().join("device-profiles").to_str().unwrap()),
    )
    .unwrap();
    pliant(&out).args(simulate).assert().success();
    let again = ["serve-load", "--executor", "cost-model", "--out", out.to_str().unwrap()];
    let refused = pliant(root()).args(again).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("has files already; allowed: a new folder, or --force"), "{said}");
}

#[test]
fn a_trace_for_a_server_that_is_not_there_is_a_clear_error() {
    let args = ["load", "traces/paper-alpha0.csv", "--filler", "--url", "http://127.0.0.1:9"];
    let refused = pliant(root()).args(args).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    let wanted = "pliant: http://127.0.0.1:9/v1/models: no answer to be had";
    assert!(said.starts_with(wanted), "{said}");
}
