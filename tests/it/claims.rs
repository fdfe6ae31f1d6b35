//! `pliant claims`: what the study states, looked up in the committed results.

use std::fs;
use std::path::Path;

use crate::support::pliant;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_of_claims_shows_the_committed_results() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("claims.md");
    fs::copy(root().join("docs/claims.md"), &page).unwrap();
    pliant(root()).args(["claims", "--write"]).arg(&page).assert().success();
    let (old, new) = (root().join("docs/claims.md"), page);
    let same = fs::read_to_string(old).unwrap() == fs::read_to_string(new).unwrap();
    assert!(same, "docs/claims.md is not up to date: run `make readme`");
}

#[test]
fn every_experiment_of_a_claim_has_its_file() {
    let output = pliant(root()).args(["claims", "--experiments"]).assert().success();
    let names = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(names.lines().count() > 5, "{names}");
    for name in names.lines() {
        assert!(root().join(format!("experiments/{name}.toml")).exists(), "{name}");
    }
}

#[test]
fn a_number_that_is_not_the_committed_one_makes_the_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    for (name, gain) in [("new", "0.10"), ("old", "0.12")] {
        let results = folder.path().join(name).join("run");
        fs::create_dir_all(&results).unwrap();
        fs::write(results.join("paired.csv"), format!("method,gain\na,{gain}\n")).unwrap();
    }
    let claim = "[[claims]]\nstudy = \"s\"\nfigure = \"1\"\nhere = \"h\"\nexperiment = \"run\"\n\
                 minutes = 1\ntolerance = 0.1\nfile = \"paired.csv\"\ncolumn = \"gain\"\n\
                 unit = \"points\"\nrows = { method = [\"a\"] }\nat_least = 5.0\n";
    fs::write(folder.path().join("claims.toml"), claim).unwrap();
    let run = |committed: &str| {
        let arguments = ["claims", "claims.toml", "--results", "new", "--committed", committed];
        pliant(folder.path()).args(arguments).assert()
    };
    let same = run("new").success();
    let text = String::from_utf8(same.get_output().stdout.clone()).unwrap();
    assert_eq!(
        text,
        "holds         +10.0 points, committed 10.0: h\n1 of 1 numbers as committed; 1 of 1 claims \
         hold\n"
    );
    run("old").code(1);
}
