//! The examples and the newcomer's path through them: what is told of them is so.

use std::fs;
use std::path::Path;

use crate::support::{pliant, python};

#[path = "../../examples/rust_policy.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod rust_policy;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_policy_in_rust_stands_in_a_table_beside_elastic_profile() {
    let table = rust_policy::compare(root()).unwrap();
    for expected in ["frugal", "elastic-profile", "epyc-zen5-2core", "gain in accuracy@SLO"] {
        assert!(table.contains(expected), "{expected}:\n{table}");
    }
}

/// The README's path for a policy of one's own: the experiment, then one of its decisions.
#[test]
fn a_policy_in_python_is_compared_with_elastilm_and_explained() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own-policy");
    let out = out.to_str().unwrap();
    pliant(root())
        .args(["run", "experiments/own-policy.toml", "--out", out])
        .assert()
        .success()
        .stdout_eq("...\nwait-aware [..]\nelastilm [..]\n...\n");
    let explain = ["policy", "explain", out, "--request", "17"];
    let shown = pliant(root()).args(explain).assert().success().stderr_eq("");
    let text = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(text.contains("own-policy: wait-aware (external)"), "{text}");
    assert!(text.contains("(as stored)"), "{text}");
}

#[test]
fn the_helper_for_policies_in_python_stays_small() {
    let helper = fs::read_to_string(root().join("examples/python/pliant_policy.py")).unwrap();
    assert!(helper.lines().count() <= 70);
}
