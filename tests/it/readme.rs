//! The numbers in the README are those of the committed results.

use std::fs;
use std::path::Path;

use pliant::metrics::read_metrics_csv;
use pliant::report::{summary_markdown, with_results};

#[test]
fn the_readme_shows_the_committed_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let results = root.join("results/paper-e2e/metrics.csv");
    let rows = if results.exists() { read_metrics_csv(&results).unwrap() } else { Vec::new() };
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let expected = with_results("README.md", &readme, &summary_markdown(&rows)).unwrap();
    assert!(readme == expected, "README.md is not up to date: run `make readme`");
}
