//! Experiments with policies in Python: results, and what a hostile one leaves whole.

use std::fs;
use std::path::Path;

use crate::bench_files;
use crate::support::{pliant, python};

/// The bench's experiment with one more method, called `mine`, that runs `arguments` under Python.
fn folder(arguments: &[&str]) -> Option<tempfile::TempDir> {
    if !python() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let path = folder.path().join("experiment.toml");
    let experiment = fs::read_to_string(&path).unwrap();
    let command: Vec<_> = std::iter::once(&"python3").chain(arguments).collect();
    let method = format!(
        "\n[[methods]]\nname = \"mine\"\nfamily = \"width\"\ncompressor = \"structured\"\n\
         policy = {{ kind = \"external\", command = {command:?}, timeout_ms = 60000 }}\n"
    );
    fs::write(path, experiment + &method).unwrap();
    Some(folder)
}

fn metrics(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("results/experiment/metrics.csv")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Its rule is that of `elastic-profile`, so its rows are too.
#[test]
fn the_python_example_reaches_what_its_rule_reaches_in_rust() {
    let example =
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/accuracy_first.py").to_owned();
    let Some(folder) = folder(&["-B", &example]) else { return };
    pliant(folder.path()).args(["run", "experiment.toml"]).assert().success().stderr_eq("");
    let rows = metrics(folder.path());
    let of = |method: &str| -> Vec<_> {
        let prefix = format!("{method},");
        rows.iter().filter_map(|row| row.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    assert_eq!(of("mine").len(), 2);
    assert_eq!(of("mine"), of("elastic-profile"));
    let manifest = fs::read_to_string(folder.path().join("results/experiment/manifest.toml"));
    assert!(manifest.unwrap().contains("accuracy_first.py"), "the program's hash is recorded");
}

/// It hangs up at its fourth request; the others' rows are those of a run without it.
#[test]
fn a_policy_that_ends_early_leaves_the_other_methods_whole() {
    let script = "import json, sys
hello = json.loads(sys.stdin.readline())
print('{\"type\": \"ready\", \"protocol\": 1}', flush=True)
for n in range(3):
    request = json.loads(sys.stdin.readline())
    print(json.dumps({'id': request['id'], **hello['candidates'][0]}), flush=True)
";
    let Some(folder) = folder(&["-c", script]) else { return };
    pliant(folder.path())
        .args(["run", "experiment.toml", "--threads", "1"])
        .assert()
        .code(1)
        .stderr_eq(snapbox::str![[r"
pliant: alpha 0, device bench, seed 0: method mine, request 3: policy did not decide; found it ended: exit status: 0 (5 more of its runs failed or were not run)
"]]);
    let with = metrics(folder.path());
    let failures = folder.path().join("results/experiment/failures.csv");
    assert_eq!(fs::read_to_string(&failures).unwrap().lines().count(), 1 + 6);

    bench_files::write(folder.path());
    pliant(folder.path()).args(["run", "experiment.toml"]).assert().success();
    assert_eq!(metrics(folder.path()), with);
    assert!(!failures.exists());
}

#[test]
fn a_method_without_a_program_is_refused_before_anything_runs() {
    let Some(folder) = folder(&[]) else { return };
    let path = folder.path().join("experiment.toml");
    let text = fs::read_to_string(&path).unwrap().replace("[\"python3\"]", "[]");
    fs::write(path, text).unwrap();
    pliant(folder.path()).args(["run", "experiment.toml"]).assert().code(2).stderr_eq(
        "pliant: method mine, key \"command\": names no program; allowed: [\"python3\", \
         \"my_policy.py\"], say\n",
    );
}
