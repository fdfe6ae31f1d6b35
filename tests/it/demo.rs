//! `pliant run --demo`: a whole comparison in a folder that holds nothing.

use std::fs;

use crate::support::pliant;

#[test]
fn the_demo_runs_in_an_empty_folder_and_again_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    pliant(folder.path()).args(["run", "--demo"]).assert().success();
    let demo = folder.path().join("pliant-demo");
    let metrics = fs::read_to_string(demo.join("results/demo/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 17, "eight methods on two devices:\n{metrics}");

    let experiment = demo.join("experiments/demo.toml");
    let text = fs::read_to_string(&experiment).unwrap();
    fs::write(&experiment, text.replace("seeds = 5", "seeds = 2")).unwrap();
    pliant(folder.path()).args(["run", "--demo"]).assert().success();
    let metrics = fs::read_to_string(demo.join("results/demo/metrics.csv")).unwrap();
    assert!(metrics.contains(",2,1200"), "the changed experiment was run:\n{metrics}");
}
