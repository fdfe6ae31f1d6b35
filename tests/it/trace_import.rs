//! `pliant trace import` and `export`: other projects' traces, and their defects by name.

use std::fs;
use std::path::Path;

use pliant::input::Input;
use pliant::trace::Trace;
use pliant::trace::import::{Format, ImportSpec, Imported, Warning, import};
use pliant::trace::{Apps, ItemPool, PooledItem};

use crate::support::{pliant, shared_data, write_lengths};

/// Own numbers in each format.
const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2024-05-10 00:00:01.5+00:00,101,44\n2024-05-10 00:00:00+00:00,95,0\n\
    2024-05-10 00:00:03+00:00,4000,12\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let shortest = [("arc-easy", 90), ("openbookqa", 190), ("piqa", 290), ("sciq", 790)];
    write_lengths(folder.path(), shortest);
    fs::write(folder.path().join("azure.csv"), AZURE).unwrap();
    folder
}

const IMPORT: [&str; 9] = [
    "trace",
    "import",
    "azure.csv",
    "--format",
    "azure",
    "--items",
    "structured.tokens.csv",
    "--out",
    "trace.csv",
];

#[test]
fn warnings_follow_the_result_and_stay_in_the_header() {
    let folder = folder();
    pliant(folder.path()).args(IMPORT).assert().success().stdout_eq("trace.csv: 2 requests\n").stderr_eq(
        "warning: 1 requests without prompt or output tokens are left out, the first on line 3\n\
         warning: 1 of 2 prompts are items more than 10 % longer or shorter than the file says: \
         its longest has 4000 tokens, the longest item 828\n",
    );
    let trace = Trace::read(&folder.path().join("trace.csv")).unwrap();
    assert_eq!(trace.requests[1].arrival.as_nanos(), 1_500_000_000);
    assert_eq!(trace.requests[1].output_tokens, 12);
    pliant(folder.path())
        .args(["trace", "show", "trace.csv"])
        .assert()
        .success()
        .stdout_eq(snapbox::str![[r"
# imported by pliant [..] from azure.csv (azure, sha256 [..])
# time scale 1, length scale 1
# items: evenly one of the 10 nearest in length; the prompt's length is the item's
# apps and objectives: of those that draw from the item's dataset, by their share of its requests; alpha 0, level order paper, seed 0
# time 0 is the first arrival
# warning: 1 requests without prompt or output tokens are left out, the first on line 3
# warning: 1 of 2 prompts are items more than 10 % longer or shorter than the file says: [..]
requests       2
...
"]]);
}

#[test]
fn json_carries_typed_warnings() {
    let folder = folder();
    let output = pliant(folder.path()).args(IMPORT).arg("--json").output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["requests"], 2);
    assert_eq!(result["warnings"][0]["kind"], "without-tokens");
    assert_eq!(result["warnings"][0]["first_line"], 3);
}

#[track_caller]
fn assert_refused(text: &str, options: &[&str], message: &str) {
    let folder = folder();
    fs::write(folder.path().join("azure.csv"), text).unwrap();
    pliant(folder.path())
        .args(IMPORT)
        .args(options)
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(format!("pliant: {message}\n"));
    assert!(!folder.path().join("trace.csv").exists());
}

#[test]
fn bad_files_and_options_are_named() {
    assert_refused(
        &AZURE.replace("4000", "many"),
        &[],
        "azure.csv, line 4, column \"ContextTokens\": bad value; found \"many\"; allowed: a whole \
         number from 0, of 32 bits",
    );
    assert_refused(
        &AZURE.replace("TIMESTAMP", "time"),
        &[],
        "azure.csv, line 1, column \"TIMESTAMP\": missing column; found \
         time,ContextTokens,GeneratedTokens; allowed: a header with \
         TIMESTAMP,ContextTokens,GeneratedTokens",
    );
    assert_refused(
        AZURE,
        &["--rate-per-hour", "5"],
        "--rate-per-hour: only for a file without times and lengths; found --format azure; \
         allowed: --format elastilm-json",
    );
    assert_refused(
        AZURE,
        &["--time-scale", "0"],
        "trace import, time_scale: bad value; found 0; allowed: a number above 0",
    );
}

#[test]
fn a_trace_goes_out_as_mooncake_and_comes_back_and_packed_it_stays_itself() {
    let folder = folder();
    let run = |args: &str| {
        let output = pliant(folder.path()).args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("trace synth --items structured.tokens.csv --out trace.csv.gz --arrivals gamma:cv=2");
    run("trace export trace.csv.gz --format native --out trace.csv");
    run("trace export trace.csv.gz --format mooncake --out trace.jsonl");
    run("trace import trace.jsonl --format mooncake --items structured.tokens.csv --neighbours 1 \
         --out back.csv");
    let read = |name: &str| Trace::read(&folder.path().join(name)).unwrap();
    assert_eq!(read("trace.csv.gz"), read("trace.csv"));
    let (sent, back) = (read("trace.csv"), read("back.csv"));
    assert!(sent.provenance[1].contains("(Gamma gaps, coefficient of variation 2)"));
    assert_eq!(back.requests.len(), 600);
    for (sent, back) in sent.requests.iter().zip(&back.requests) {
        assert_eq!(back.prompt_tokens, sent.prompt_tokens);
        let drift = back.arrival.as_millis_f64() - sent.arrival.as_millis_f64();
        assert!(drift.abs() <= 0.5);
    }
}

fn pools() -> Vec<ItemPool> {
    ["openbookqa", "arc-easy", "piqa", "sciq"]
        .map(|dataset| ItemPool {
            dataset: dataset.to_owned(),
            items: (0..100)
                .map(|item| PooledItem { item: item.into(), prompt_tokens: 12 * (item + 1) })
                .collect(),
        })
        .into()
}

/// The trace of the study's authors called `name`: kinds of its warnings, and requests per app in
/// the order of Table 3. `None` where the file is not at hand.
fn authors_trace(name: &str) -> Option<(Vec<String>, [usize; 6])> {
    let path = shared_data(&Path::new("elastilm-artifact").join(name))?;
    let spec = ImportSpec::new(Format::ElastilmJson);
    let Imported { trace, warnings } =
        import(&Input::read(&path).unwrap(), &spec, &pools()).unwrap();
    let apps = Apps::default();
    let app = |index: usize| {
        let name = &apps.all()[index].name;
        trace.requests.iter().filter(|request| trace.app(request.app) == name).count()
    };
    let warnings = warnings.iter().map(Warning::to_string).collect();
    Some((warnings, std::array::from_fn(app)))
}

/// Octopus asks one thing, LlamaTouch gives the answer away, `SciQ`'s answers are all the last.
#[test]
fn the_authors_unskewed_trace_is_imported_with_its_defects() {
    let Some((warnings, requests)) = authors_trace("trace_0.json") else { return };
    assert_eq!(requests, [100; 6]);
    assert_eq!(
        warnings,
        [
            "the place of a time holds a counter over 600 requests, dataset by dataset: the order \
             before they were shuffled; arrivals are drawn, in the order of the file",
            "octopus: all 100 prompts are \"take a photo\"",
            "llamatouch: 100 requests have 41 different prompts",
            "llamatouch: 100 of 100 prompts are the right answer itself",
            "SCIQ: the right answer of all 100 requests is number 3",
        ]
    );
}

#[test]
fn the_authors_skewed_traces_have_four_requests_less() {
    let Some((warnings, requests)) = authors_trace("trace_0.25.json") else { return };
    assert_eq!(requests, [48, 62, 80, 103, 133, 170]);
    assert_eq!(warnings[0], "596 requests, where the study states 600");
    assert!(warnings.iter().any(|text| text == "PIQA: 133 requests have 132 different prompts"));

    let Some((warnings, requests)) = authors_trace("trace_-0.25.json") else { return };
    assert_eq!(requests, [170, 133, 103, 80, 62, 48]);
    assert_eq!(warnings[0], "596 requests, where the study states 600");
    assert_eq!(warnings[3], "llamatouch: 80 requests have 38 different prompts");
}

/// Facts of the file: 19366 calls in 58 minutes, in order, the first and the last of them.
#[test]
fn azures_trace_of_2023_is_read_whole() {
    let file = Path::new("azure-llm-2023/AzureLLMInferenceTrace_conv.csv");
    let Some(path) = shared_data(file) else { return };
    let Imported { trace, warnings } =
        import(&Input::read(&path).unwrap(), &ImportSpec::new(Format::Azure), &pools()).unwrap();
    assert_eq!(trace.requests.len(), 19_366);
    let last = trace.requests.last().unwrap();
    // 19:14:08.4025270 − 18:15:46.6805900 = 3501.721937 s.
    assert_eq!((last.arrival.as_nanos(), last.output_tokens), (3_501_721_937_000, 183));
    let [Warning::PromptsOfOtherLength { of: 19_366, longest_item: 1200, .. }] = warnings[..]
    else {
        panic!("{warnings:?}");
    };
}
