//! `pliant trace`, and its messages on bad traces, verbatim.

use std::fs;

use pliant::trace::Trace;

use crate::support::{pliant, write_lengths};

const HEADER: &str =
    "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_ratio,tpot_ratio";

/// Asserts that `pliant trace show` refuses a file of `text` with exit code 2 and `message`.
#[track_caller]
fn assert_refused(text: &str, message: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trace.csv"), text).unwrap();
    pliant(folder.path())
        .args(["trace", "show", "trace.csv"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(format!("pliant: {message}\n"));
}

#[test]
fn a_missing_column_is_named() {
    assert_refused(
        &format!("# by hand\n{}\n", HEADER.replace(",item", "")),
        "trace.csv, line 2, column \"item\": missing column; allowed: id,arrival_ms,app,dataset,\
         item,prompt_tokens,output_tokens, and ttft_ratio,tpot_ratio or ttft_ms,tpot_ms \
         or e2e_ratio or e2e_ms or energy_ratio or energy_mj; perhaps priority,cancel_after_ms,\
         supersedes,cached_tokens",
    );
}

#[test]
fn a_negative_time_is_named() {
    assert_refused(
        &format!("{HEADER}\n0,-1,GMail,piqa,1,10,16,0.8,0.9\n"),
        "trace.csv, line 2, column \"arrival_ms\": bad value; found \"-1\"; allowed: a number \
         from 0 to 3153600000000, with at most 6 decimals",
    );
}

#[test]
fn an_objective_outside_the_unit_interval_is_named() {
    for share in ["0", "1.001", "-0.2", "inf"] {
        assert_refused(
            &format!(
                "{HEADER}\n0,1,GMail,piqa,1,10,16,0.8,0.9\n1,2,GMail,piqa,1,10,16,{share},1\n"
            ),
            &format!(
                "trace.csv, line 3, column \"ttft_ratio\": bad value; found \"{share}\"; \
                 allowed: a number in (0, 1] with at most 3 decimals"
            ),
        );
    }
}

#[test]
fn a_missing_file_and_a_binary_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("binary.csv"), [0xff, 0xfe, 0]).unwrap();
    for said in [
        "absent.csv: cannot read: No such file or directory (os error 2)",
        "binary.csv, line 1: not UTF-8 text",
    ] {
        let file = &said[..10];
        let assert = pliant(folder.path()).args(["trace", "show", file]).assert();
        assert.code(2).stderr_eq(format!("pliant: {said}\n"));
    }
}

fn folder_with_lengths() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let datasets = ["arc-easy", "openbookqa", "piqa", "sciq"];
    write_lengths(folder.path(), datasets.map(|dataset| (dataset, 100)));
    folder
}

const SYNTH: [&str; 10] = [
    "trace",
    "synth",
    "--alpha",
    "-0.25",
    "--seed",
    "7",
    "--items",
    "structured.tokens.csv",
    "--out",
    "trace.csv",
];

#[test]
fn a_synthesised_trace_is_the_same_twice_and_shows_its_counts() {
    let folder = folder_with_lengths();
    let synth = || {
        pliant(folder.path())
            .args(SYNTH)
            .assert()
            .success()
            .stdout_eq("trace.csv: 600 requests\n")
            .stderr_eq("");
        fs::read(folder.path().join("trace.csv")).unwrap()
    };
    assert_eq!(synth(), synth());
    let trace = Trace::read(&folder.path().join("trace.csv")).unwrap();
    assert_eq!(trace.requests.len(), 600);
    pliant(folder.path()).args(["trace", "show", "trace.csv"]).assert().success().stdout_eq(
        snapbox::str![[r"
# synthesised by pliant [..]
# requests 600, alpha -0.25, level order paper, 5 arrivals per hour (Poisson), seed 7
...
requests       600
...
 GMail       80 %   90 %  arc-easy          63
...
"]],
    );
}

#[test]
fn show_prints_json_for_scripts() {
    let folder = folder_with_lengths();
    pliant(folder.path()).args(SYNTH).assert().success();
    let output =
        pliant(folder.path()).args(["trace", "show", "--json", "trace.csv"]).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["requests"], 600);
}

#[test]
fn a_trace_cannot_be_written_below_a_regular_file() {
    let folder = folder_with_lengths();
    fs::write(folder.path().join("file"), "").unwrap();
    let mut args = SYNTH;
    args[9] = "file/trace.csv";
    pliant(folder.path())
        .args(args)
        .assert()
        .code(2)
        .stderr_eq("pliant: file: cannot create: File exists (os error 17)\n");
}

#[test]
fn the_committed_traces_are_what_the_committed_lengths_give() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for alpha in ["0", "0.25", "-0.25"] {
        let name = format!("paper-alpha{alpha}.csv");
        let out = folder.path().join(&name);
        pliant(root)
            .args(["trace", "synth", &format!("--alpha={alpha}"), "--items"])
            .arg("device-profiles/quality/smollm2-135m-instruct/score-head.tokens.csv")
            .arg("--out")
            .arg(&out)
            .assert()
            .success();
        let committed = fs::read_to_string(root.join("traces").join(&name)).unwrap();
        assert!(fs::read_to_string(&out).unwrap() == committed, "{name}: run `make traces`");
    }
}
