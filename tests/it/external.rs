//! Experiments with policies in Python: results, and what a hostile one leaves whole.

use std::fs;
use std::path::Path;

use std::process::{Command, Stdio};
use std::time::Duration;

use snapbox::cmd::cargo_bin;

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

/// The bench's experiment with the method `mine` that runs `script` with the helper beside it.
fn with_helper(script: &str) -> Option<tempfile::TempDir> {
    let folder = folder(&["-B", "mine.py"])?;
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/pliant_policy.py");
    fs::copy(helper, folder.path().join("pliant_policy.py")).unwrap();
    fs::write(folder.path().join("mine.py"), script).unwrap();
    Some(folder)
}

/// What the run says on standard error, which exits with 1.
fn failing(script: &str) -> Option<String> {
    let folder = with_helper(script)?;
    let failed = pliant(folder.path()).args(["run", "experiment.toml"]).assert().code(1);
    Some(String::from_utf8(failed.get_output().stderr.clone()).unwrap())
}

#[test]
fn a_failed_program_says_its_cause_once_and_last_with_the_users_line() {
    let script = "from pliant_policy import serve


def plan(request, service, candidates):
    return candidates[request[\"sl0\"]]


serve(plan)
";
    let Some(said) = failing(script) else { return };
    assert_eq!(said.matches("Traceback").count(), 1, "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("pliant: alpha 0, device bench, seed "), "{said}");
    let cause = "it ended: exit status: 1: ";
    let user =
        "mine.py, line 5, in plan: KeyError: 'sl0' (5 more of its runs failed or were not run)";
    assert!(last.contains(cause) && last.ends_with(user), "{said}");
    assert!(said.lines().count() < 20, "{said}");
}

#[test]
fn a_plan_that_returns_none_is_named_with_its_line() {
    let script = "from pliant_policy import serve


def plan(request, service, candidates):
    max(candidates, key=lambda one: one.level)


serve(plan)
";
    let Some(said) = failing(script) else { return };
    let last = said.lines().last().unwrap();
    assert!(last.contains("TypeError: plan ("), "{said}");
    assert!(last.contains("mine.py, line 4) returned None, not one of the candidates"), "{said}");
}

/// Whether the process of this number runs: one that is dead but not waited for does not.
fn runs(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_and_what_it_started_die_with_a_killed_pliant() {
    let script = "import json, os, subprocess, sys, time
child = subprocess.Popen(['sleep', '1000'])
open('pids', 'w').write(f'{os.getpid()} {child.pid}\\n')
time.sleep(1000)
";
    let Some(folder) = with_helper(script) else { return };
    let mut killed = Command::new(cargo_bin!("pliant"))
        .args(["run", "experiment.toml", "--threads", "1"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pids = String::new();
    wait_until("the program does not start", || {
        pids = fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
        pids.ends_with('\n')
    });
    assert!(pids.split_whitespace().all(runs));
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("it outlives Pliant", || !pids.split_whitespace().any(runs));
}

#[test]
fn a_sweep_repeats_the_runs_of_a_program_whose_import_was_edited_and_says_what_it_looks_at() {
    let script = "from pliant_policy import serve
from rule import plan

serve(plan)
";
    let Some(folder) = with_helper(script) else { return };
    let rule = |which: &str| {
        let text =
            format!("def plan(request, service, candidates):\n    return candidates[{which}]\n");
        fs::write(folder.path().join("rule.py"), text).unwrap();
    };
    let swept = || {
        let args = ["sweep", "experiment.toml", "--set", "seeds=1", "--cache", "cache"];
        let done = pliant(folder.path()).args(args).args(["--out", "out"]).assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    };
    rule("0");
    let first = swept();
    let covered = "runs of mine are kept as long as these stay: 3 files: *.py\n";
    assert!(
        first.contains("8 runs, 0 more from the cache\n") && first.ends_with(covered),
        "{first}"
    );
    assert!(swept().contains("0 runs, 8 more from the cache"));
    rule("-1");
    let third = swept();
    assert!(third.contains("2 runs, 6 more from the cache"), "{third}");
    let csv = fs::read_to_string(folder.path().join("out/sweep.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 8);
}
