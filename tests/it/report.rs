//! `pliant report`: what it prints, leaves and refuses.

use std::fs;
use std::path::Path;

use snapbox::str;
use tempfile::TempDir;

use crate::support::pliant;

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
    fs::write(folder.join("results/manifest.toml"), "[figures]\n").unwrap();
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

"]]);
    for ending in ["svg", "png"] {
        let figure = format!("results/accuracy-at-slo-phone-large-small.{ending}");
        assert!(folder.path().join(figure).exists());
    }
}

#[test]
fn a_summary_goes_between_the_marks_of_a_document() {
    let folder = TempDir::new().unwrap();
    results(folder.path(), &format!("{HEADER}\n{ROW}\n"));
    let readme = folder.path().join("README.md");
    fs::write(&readme, "a\n<!-- results:begin -->\n<!-- results:end -->\nb\n").unwrap();
    let arguments = ["report", "results", "--readme", "README.md"];
    pliant(folder.path()).args(arguments).assert().success();
    let text = fs::read_to_string(&readme).unwrap();
    assert!(text.contains("| 0.25 | full   | 25.0 (23.0 – 27.0) |"), "{text}");
    assert!(text.starts_with("a\n") && text.ends_with("\nb\n"), "{text}");
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
pliant: results/metrics.csv: cannot read: No such file or directory (os error 2)

"]]);
}
