//! An experiment on many machines: what is merged has the bytes of one machine's results.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench_files;
use crate::support::{pliant, tree};

const SHARDS: u32 = 3;

fn run(folder: &Path, arguments: &[&str]) {
    pliant(folder).args(arguments).assert().success();
}

fn shard(folder: &Path, nth: u32, out: &str) {
    let shard = format!("{nth}/{SHARDS}");
    run(folder, &["run", "experiment.toml", "--shard", &shard, "--out", out]);
}

/// A folder with an experiment and, in `one`, its results on one machine.
fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    run(folder.path(), &["run", "experiment.toml", "--out", "one"]);
    folder
}

/// A file of a run in the folder of shards `shards`.
fn a_run(shards: &Path) -> PathBuf {
    let is_run = |path: &&PathBuf| path.starts_with("runs");
    shards.join(tree(shards).keys().find(is_run).expect("it has runs"))
}

#[test]
fn shards_of_several_machines_merge_in_any_order_to_the_bytes_of_one() {
    let folder = bench();
    let at = folder.path();
    shard(at, 3, "here");
    shard(at, 1, "here");
    shard(at, 2, "there");
    // A node that joins late does what another did: nothing changes.
    shard(at, 1, "there");
    run(at, &["merge", "here", "there", "--out", "merged"]);
    run(at, &["merge", "there", "here", "--out", "again"]);
    let one = tree(&at.join("one"));
    assert!(one.len() > 3, "{:?}", one.keys());
    assert_eq!(tree(&at.join("merged")), one);
    assert_eq!(tree(&at.join("again")), one);
}

#[test]
fn a_plan_has_every_run_once() {
    let folder = bench();
    let output = pliant(folder.path())
        .args(["plan", "experiment.toml", "--shards", "3", "--json"])
        .output()
        .unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sizes = plan["shards"].as_array().unwrap();
    let runs: Vec<u64> = sizes.iter().map(|size| size["runs"].as_u64().unwrap()).collect();
    (1..=SHARDS).for_each(|nth| shard(folder.path(), nth, "shards"));
    let files = tree(&folder.path().join("shards"));
    let kept = files.keys().filter(|path| path.starts_with("runs")).count() as u64;
    assert_eq!((runs.len(), runs.iter().sum::<u64>()), (3, kept));
    let most = runs.iter().max().unwrap() - runs.iter().min().unwrap();
    assert!(most <= 1, "runs of one size are spread evenly: {runs:?}");
}

#[test]
fn a_broken_run_is_named_and_its_shard_mends_it() {
    let folder = bench();
    let at = folder.path();
    (1..=SHARDS).for_each(|nth| shard(at, nth, "shards"));
    let broken = a_run(&at.join("shards"));
    let whole = fs::read_to_string(&broken).unwrap();
    fs::write(&broken, whole.replace("requests = ", "requests = 1")).unwrap();
    let name = broken.strip_prefix(at).unwrap().display().to_string();
    pliant(at).args(["merge", "shards"]).assert().code(2).stderr_eq(format!(
        "pliant: {name}: is not as it was written; found another hash than its first line states; \
         allowed: a whole run; `pliant run … --shard` works off again what is broken in its \
         folder\n"
    ));
    (1..=SHARDS).for_each(|nth| shard(at, nth, "shards"));
    assert_eq!(fs::read_to_string(&broken).unwrap(), whole);
    run(at, &["merge", "shards", "--out", "merged"]);
    assert_eq!(tree(&at.join("merged")), tree(&at.join("one")));
}

#[test]
fn a_missing_run_and_shards_of_another_plan_are_refused() {
    let folder = bench();
    let at = folder.path();
    (1..=SHARDS).for_each(|nth| shard(at, nth, "shards"));
    let missing = a_run(&at.join("shards"));
    fs::remove_file(&missing).unwrap();
    let message = |arguments: &[&str]| {
        let output = pliant(at).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = message(&["merge", "shards"]);
    assert!(said.contains("shards, shards: runs are missing; found nothing of "), "{said}");
    assert!(!at.join("results/experiment").exists(), "nothing was written");
    let text = fs::read_to_string(at.join("experiment.toml")).unwrap();
    fs::write(at.join("experiment.toml"), format!("{text}\n# edited\n")).unwrap();
    let said = message(&["run", "experiment.toml", "--shard", "1/3", "--out", "shards"]);
    assert!(said.contains("plan.toml: shards of another plan"), "{said}");
    let said = message(&["merge", "shards"]);
    assert!(said.contains("is another experiment than its shards are of"), "{said}");
    let said = message(&["run", "experiment.toml", "--shard", "4/3"]);
    assert!(said.contains("I from 1 to N"), "{said}");
    let said = message(&["run", "experiment.toml", "--shard", "1/3", "--out", "one"]);
    assert!(said.contains("holds files and no shards"), "{said}");
}
