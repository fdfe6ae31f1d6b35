//! `pliant report`: what it prints, leaves and refuses.

use std::fs;
use std::path::Path;

use snapbox::str;
use tempfile::TempDir;

use crate::bench_files;
use crate::support::{pliant, skipped};

const HEADER: &str = "method,alpha,device,latency_of,base_model,accuracy,accuracy_lo,accuracy_hi,\
accuracy_at_slo,accuracy_at_slo_lo,accuracy_at_slo_hi,attainment,attainment_lo,attainment_hi,\
ttft_ms_p50,ttft_ms_p50_lo,ttft_ms_p50_hi,ttft_ms_p95,ttft_ms_p95_lo,ttft_ms_p95_hi,tpot_ms_p50,\
tpot_ms_p50_lo,tpot_ms_p50_hi,switches,switches_lo,switches_hi,\
fallbacks,fallbacks_lo,fallbacks_hi,provenance,replications,requests";

const ROW: &str = "full,0.25,phone,large,small,0.61,,,0.25,0.23,0.27,0.4,,,31000,,,76000,,,321,,,0.0,,,,,,\
\"latency modelled, answers measured\",20,12000";

fn results(folder: &Path, metrics: &str) {
    fs::create_dir(folder.join("results")).unwrap();
    fs::write(folder.join("results/metrics.csv"), metrics).unwrap();
    fs::write(
        folder.join("results/manifest.toml"),
        "experiment = \"results\"\nexecutor = \"cost-model\"\n",
    )
    .unwrap();
}

#[test]
fn a_folder_is_redrawn_and_its_table_printed() {
    let folder = TempDir::new().unwrap();
    results(folder.path(), &format!("{HEADER}\n{ROW}\n"));
    pliant(folder.path()).args(["report", "results"]).assert().success().stdout_eq(str![[r"
phone: latencies of large, answers of small (latency modelled, answers measured; 20 replications a row, below each mean its 95 % interval)

────────────────────────────────────────────────────────────────────────────────────────────────────────
 α      method   accuracy %   accuracy@SLO %   attainment %   TTFT p50   TTFT p95   TPOT p50   switches 
════════════════════════════════════════════════════════════════════════════════════════════════════════
 0.25   full           61.0             25.0           40.0     31.0 s     76.0 s     321 ms        0.0 
                                 23.0 – 27.0                                                            
────────────────────────────────────────────────────────────────────────────────────────────────────────

results (cost-model): 1 method, 1 device, 1 skew; 20 seeds, 12000 requests a row
on phone at α 0.25; accuracy@SLO, in brackets its 95 % interval over seeds

method    accuracy@SLO %  accuracy %  attainment %  TTFT p50  TTFT p95  TPOT p50
full    25.0 (23.0–27.0)        61.0          40.0    31.0 s    76.0 s    321 ms

all measures with their intervals: pliant report results

"]]);
    assert!(folder.path().join("results/accuracy-at-slo.svg").exists());
    assert!(!folder.path().join("results/accuracy-at-slo.png").exists(), "one form is enough");
    for ending in ["pdf", "png"] {
        assert_eq!(printed(folder.path(), ending), "figures written to results\n");
        assert!(folder.path().join(format!("results/accuracy-at-slo.{ending}")).exists());
    }
}

#[test]
fn a_cell_out_of_range_is_named() {
    let folder = TempDir::new().unwrap();
    results(folder.path(), &format!("{HEADER}\n{}\n", ROW.replace("0.61", "61")));
    pliant(folder.path()).args(["report", "results"]).assert().code(2).stdout_eq("").stderr_eq(str![[r#"
pliant: results/metrics.csv, line 2, column "accuracy": out of range; found 61; allowed: a number from 0 to 1, or nothing

"#]]);
}

#[test]
fn a_folder_without_results_is_named() {
    let folder = TempDir::new().unwrap();
    pliant(folder.path()).args(["report", "results"]).assert().code(2).stderr_eq(str![[r"
pliant: results/manifest.toml: cannot read: No such file or directory (os error 2)

"]]);
}

/// Standard output of `pliant report results --format FORMAT`.
fn printed(folder: &Path, format: &str) -> String {
    let report = pliant(folder).args(["report", "results", "--format", format]).assert().success();
    String::from_utf8(report.get_output().stdout.clone()).unwrap()
}

#[test]
fn rows_are_printed_as_csv_json_markdown_and_junit() {
    let folder = TempDir::new().unwrap();
    let metrics = format!("{HEADER}\n{ROW}\n");
    results(folder.path(), &metrics);
    assert_eq!(printed(folder.path(), "csv"), metrics);
    let json = pliant(folder.path()).args(["report", "results", "--json"]).output().unwrap();
    assert_eq!(printed(folder.path(), "json").into_bytes(), json.stdout);
    let markdown = printed(folder.path(), "md");
    let start = "## results\n\n### Accuracy@SLO, %\n\n| α    | method | phone              |\n";
    assert!(markdown.starts_with(start), "{markdown}");
    assert!(markdown.contains("| 0.25 | full   | 25.0 (23.0 – 27.0) |"), "{markdown}");
    let junit = printed(folder.path(), "junit");
    assert!(junit.contains("<testsuite name=\"phone/large/small\" tests=\"1\""), "{junit}");
    let output = "accuracy: 61.0 %\naccuracy@SLO: 25.0 (23.0 – 27.0) %\nattainment: 40.0 %\n\
        TTFT p50: 31.0 s\nTTFT p95: 76.0 s\nTPOT p50: 321 ms\nswitches: 0.0\n\
        20 seeds, 12000 requests; latency";
    assert!(junit.contains(output), "{junit}");
    assert!(!folder.path().join("results/accuracy-at-slo.svg").exists());
}

#[test]
fn any_method_is_compared_with_any_other_and_tables_are_printed_in_latex() {
    let folder = bench_results();
    let against = |method: &str, format: &str| {
        let args = ["report", "results", "--against", method, "--format", format];
        pliant(folder.path()).args(args).assert()
    };
    let text = |assert: snapbox::cmd::OutputAssert| {
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let csv = text(against("full", "csv").success());
    let rows: Vec<&str> = csv.lines().skip(1).filter(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 2 * 2, "{csv}");
    assert!(rows.iter().all(|row| row.split(',').nth(1) == Some("full")), "{csv}");
    // The run compared its first method with full: the same numbers, but for Holm's, of other rows.
    let paired = fs::read_to_string(folder.path().join("results/paired.csv")).unwrap();
    let run = paired.lines().find(|line| line.starts_with("elastic-profile,full,0.0")).unwrap();
    let own = rows.iter().find(|line| line.starts_with("elastic-profile,full,0.0")).unwrap();
    let cells = |line: &str| line.split(',').take(18).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(own), cells(run));
    // An experiment that names its method compares so from the start.
    let file = folder.path().join("experiment.toml");
    let experiment = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("against = \"full\"\n{experiment}")).unwrap();
    let again = ["run", "experiment.toml", "--out", "against"];
    let said = text(pliant(folder.path()).args(again).assert().success());
    assert!(said.contains("gain over full"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("against/paired.csv")).unwrap(), csv);

    assert!(text(against("oracle", "text").success()).contains(" items ("));
    let latex = text(against("oracle", "latex").success());
    assert!(latex.contains("\\toprule") && latex.contains("full & oracle"), "{latex}");
    assert!(printed(folder.path(), "latex").contains("elastic-profile & "));
    against("nobody", "text").code(2).stderr_eq(str![[r"
pliant: --against: no such method; found nobody; allowed: elastic-profile, full, oracle

"]]);
    against("full", "html").code(2);
}

#[test]
fn a_run_that_a_policy_ended_is_an_error_of_the_junit_report_and_is_named_in_markdown() {
    let folder = TempDir::new().unwrap();
    results(folder.path(), &format!("{HEADER}\n{ROW}\n"));
    let failures = "method,alpha,device,seed,error\nmine,0.25,phone,3,\"request 7: no answer\"\n";
    fs::write(folder.path().join("results/failures.csv"), failures).unwrap();
    let junit = printed(folder.path(), "junit");
    assert!(junit.contains("tests=\"2\" skipped=\"0\" failures=\"0\" errors=\"1\""), "{junit}");
    assert!(junit.contains("<error message=\"request 7: no answer\""), "{junit}");
    let line = "- **mine did not finish**: α 0.25, phone, seed 3: request 7: no answer\n";
    assert!(printed(folder.path(), "md").ends_with(line));
}

#[test]
fn a_folder_without_outcomes_has_a_page_and_no_trace_events() {
    let folder = TempDir::new().unwrap();
    results(folder.path(), &format!("{HEADER}\n{ROW}\n"));
    assert_eq!(printed(folder.path(), "html"), "written to results/report.html\n");
    let page = fs::read_to_string(folder.path().join("results/report.html")).unwrap();
    assert!(page.contains("\"goodput\":[],\"timeline\":[]"));
    let trace = pliant(folder.path()).args(["report", "results", "--format", "perfetto"]);
    trace.assert().code(2).stdout_eq("").stderr_eq(str![[r"
pliant: results/outcomes: no outcomes of any row; allowed: a folder that `pliant run` wrote, with `outcomes` kept

"]]);
}

/// The bench's experiment, run into `results`: three methods, two skews, three seeds, 60 requests.
fn bench_results() -> TempDir {
    let folder = TempDir::new().unwrap();
    bench_files::write(folder.path());
    pliant(folder.path()).args(["run", "experiment.toml", "--out", "results"]).assert().success();
    folder
}

#[test]
fn a_run_becomes_trace_events_and_goodput_over_its_seeds() {
    let folder = bench_results();
    let trace: serde_json::Value =
        serde_json::from_str(&printed(folder.path(), "perfetto")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |is: &dyn Fn(&serde_json::Value) -> bool| events.iter().filter(|e| is(e)).count();
    assert_eq!(count(&|event| event["name"] == "process_name"), 3 * 2);
    assert_eq!(count(&|event| event["name"] == "decode"), 3 * 2 * 60);
    let by = |format: &str, by: &str| {
        let args = ["report", "results", "--format", format, "--by", by];
        let output = pliant(folder.path()).args(args).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&by("json", "slo")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3 * 2 * 6);
    assert_eq!((&json[0]["class"], &json[0]["name"]), (&"slo".into(), &"⟨100 %, 100 %⟩".into()));
    assert_eq!((&json[0]["seeds"], &json[0]["requests"]), (&3.into(), &30.into()));
    let csv = by("csv", "app");
    assert!(csv.starts_with("method,alpha,device,latency_of,base_model,class,name,slo,seeds,"));
    assert_eq!(csv.lines().count(), 1 + 3 * 2 * 6);
    let refused = pliant(folder.path()).args(["report", "results", "--by", "app"]);
    refused.assert().code(2).stderr_eq(
        "pliant: --by: only for rows; found app; allowed: --format json or --format csv beside it\n",
    );
    let markdown = printed(folder.path(), "md");
    assert!(markdown.contains("### Goodput by app: accuracy@SLO, %"), "{markdown}");
    assert!(markdown.ends_with("mean over 3 seeds, with its 95 % interval.\n"), "{markdown}");
}

/// Opens the page of a run at a phone's width, with a method that is called `<b>oracle</b>`, and
/// uses it: `report_page.js` says what did not work.
#[test]
fn the_page_works_in_a_browser_without_a_request() {
    let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        std::process::Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|it| it.status.success())
    });
    let Some(browser) = browser else { return skipped("chromium on the path") };
    let folder = bench_results();
    for file in ["metrics.csv", "paired.csv"] {
        let path = folder.path().join("results").join(file);
        let text = fs::read_to_string(&path).unwrap().replace("oracle", "<b>oracle</b>");
        fs::write(path, text).unwrap();
    }
    printed(folder.path(), "html");
    let page = fs::read_to_string(folder.path().join("results/report.html")).unwrap();
    assert!(!page.contains("<b>oracle"));
    let (watch, drive) =
        include_str!("report_page.js").split_once("// Then: uses the page.\n").unwrap();
    let page = page.replacen("<head>", &format!("<head><script>{watch}</script>"), 1).replacen(
        "</body>",
        &format!("<script>{drive}</script></body>"),
        1,
    );
    let path = folder.path().join("driven.html");
    fs::write(&path, page).unwrap();
    let shown = std::process::Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--window-size=500,900", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("browser").display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let (_, found) = shown.split_once("<pre id=\"found\">").expect("the page was driven");
    let (found, _) = found.split_once("</pre>").unwrap();
    assert_eq!(found, "nothing wrong");
}
