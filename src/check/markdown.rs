//! A comparison as Markdown: for a comment or a step summary.

use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{ContentArrangement, Table};

use super::comparison::Comparison;
use super::words::{HEADER, causes, cells, headline, moved, notes};
use crate::escape::markdown;

/// A headline, a table of what moved, and the notes.
#[must_use]
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let mark = if comparison.passed() { "passed" } else { "FAILED" };
    let mut text = format!("### Curves {mark}\n\n{}\n", markdown(&headline(comparison)));
    let grows = "a string can always grow";
    let moved = moved(comparison);
    if !moved.is_empty() {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(HEADER);
        for change in moved {
            let mut cells = cells(change);
            for name in [1, 3] {
                cells[name] = markdown(&cells[name]);
            }
            table.add_row(cells);
        }
        write!(text, "\n{table}\n").expect(grows);
    }
    text.push('\n');
    for note in [causes(comparison), notes(comparison)].concat() {
        writeln!(text, "- {}", markdown(&note)).expect(grows);
    }
    for (what, command) in &comparison.steps {
        writeln!(text, "- {what}: `{}`", command.replace('`', "'")).expect(grows);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::fallen;

    #[test]
    fn a_fall_is_a_row_of_a_markdown_table() {
        insta::assert_snapshot!(comparison_markdown(&fallen()), @r"
        ### Curves FAILED

        curve against results/curve/metrics.csv: 4 worse, 2 better, 18 within tolerance (18 of them equal under every seed)

        |        | method          | α    | device        | measure         | baseline | now    | change (95 % interval)    | p, seeds, requests                         |
        |--------|-----------------|------|---------------|-----------------|----------|--------|---------------------------|--------------------------------------------|
        | worse  | elastic-profile | 0.25 | phone (large) | ttft_ms_p95     | 75.6 s   | 84.7 s | +12.0 % (+11.9 – +12.2)   | p < 0.001, 20 seeds paired, 12000 requests |
        | worse  | elastic-profile | 0    | phone (large) | ttft_ms_p95     | 76.1 s   | 85.2 s | +12.0 % (+11.9 – +12.2)   | p < 0.001, 20 seeds paired, 12000 requests |
        | worse  | elastic-profile | 0    | phone (large) | accuracy_at_slo | 54.4     | 52.4   | -2.0 points (-2.2 – -1.8) | p < 0.001, 20 seeds paired, 12000 requests |
        | worse  | elastic-profile | 0.25 | phone (large) | accuracy_at_slo | 55.1     | 53.1   | -2.0 points (-2.2 – -1.8) | p < 0.001, 20 seeds paired, 12000 requests |
        | better | full            | 0    | phone (large) | attainment      | 95.2     | 97.2   | +2.0 points (+2.0 – +2.0) | p < 0.001, 20 seeds paired, 12000 requests |
        | better | full            | 0.25 | phone (large) | attainment      | 95.1     | 97.1   | +2.0 points (+2.0 – +2.0) | p < 0.001, 20 seeds paired, 12000 requests |

        - falls by app and dataset: those of accuracy_at_slo are told by metrics.csv, unless it is older, others where both sides keep outcomes/ of a seed; run the baseline's commit into a folder and name its metrics.csv
        - inputs that changed: device.toml
        - verdicts: worse by more than the tolerance, one-sided t test, Holm-adjusted p &lt; 0.05 over 24 tests
        - smallest change for the worse of accuracy found 80 times in 100: 0.50 points (median point), 0.50 points (worst), of 20 seeds paired; 2.85 points if both sides were 12000 independent requests
        - smallest change for the worse of accuracy_at_slo found 80 times in 100: 0.71 points (median point), 0.91 points (worst), of 20 seeds paired; 2.88 points if both sides were 12000 independent requests
        - smallest change for the worse of attainment found 80 times in 100: 0.54 points (median point), 0.58 points (worst), of 20 seeds paired; 1.53 points if both sides were 12000 independent requests
        - smallest change for the worse of ttft_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        - smallest change for the worse of ttft_ms_p95 found 80 times in 100: 5.2 % (median point), 5.3 % (worst), of 20 seeds paired
        - smallest change for the worse of tpot_ms_p50 found 80 times in 100: 5.0 % (median point), 5.0 % (worst), of 20 seeds paired
        - to reproduce: `pliant run experiments/curve.toml --out fresh && pliant check fresh --baseline results/curve/metrics.csv`
        - to accept: `pliant run experiments/curve.toml --out results/curve && git add results/curve && git commit`
        ");
    }
}
