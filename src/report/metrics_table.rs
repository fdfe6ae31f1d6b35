//! Measures as a table: on the terminal, and in Markdown.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::metrics::MetricsRow;

const HEADER: [&str; 10] = [
    "α",
    "method",
    "accuracy %",
    "accuracy@SLO %",
    "95 % interval",
    "attainment %",
    "TTFT p50",
    "TTFT p95",
    "TPOT p50",
    "switches",
];

/// One table per device, latency model and base model, each under a line that names them and the
/// provenance of their numbers; rows in the given order.
#[must_use]
pub fn metrics_table(rows: &[MetricsRow]) -> String {
    tables(rows, "", UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
}

/// The same in Markdown, for a README.
#[must_use]
pub fn markdown_table(rows: &[MetricsRow]) -> String {
    tables(rows, "**", ASCII_MARKDOWN)
}

fn tables(rows: &[MetricsRow], emphasis: &str, style: TableStyle) -> String {
    let same = |a: &MetricsRow, b: &MetricsRow| {
        (&a.device, &a.latency_of, &a.base_model, &a.provenance)
            == (&b.device, &b.latency_of, &b.base_model, &b.provenance)
    };
    let mut shown: Vec<&MetricsRow> = Vec::new();
    let mut parts = Vec::new();
    for first in rows {
        if shown.iter().any(|row| same(row, first)) {
            continue;
        }
        shown.push(first);
        let group: Vec<&MetricsRow> = rows.iter().filter(|row| same(row, first)).collect();
        let title = format!(
            "{emphasis}{}: latencies of {}, answers of {}{emphasis} ({}; {} replications a row)",
            first.device, first.latency_of, first.base_model, first.provenance, first.replications
        );
        parts.push(format!("{title}\n\n{}\n", table(&group, style)));
    }
    parts.join("\n")
}

fn table(rows: &[&MetricsRow], style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for row in rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(row: &MetricsRow) -> [Cell; 10] {
    let interval = row.accuracy_at_slo_interval();
    [
        Cell::new(row.alpha),
        Cell::new(&row.method),
        Cell::new(percent(row.accuracy)),
        Cell::new(percent(row.accuracy_at_slo)),
        Cell::new(interval.map_or_else(String::new, |interval| {
            format!("{:.1} – {:.1}", 100.0 * interval.lo, 100.0 * interval.hi)
        })),
        Cell::new(percent(row.attainment)),
        Cell::new(time(row.ttft_ms_p50)),
        Cell::new(time(row.ttft_ms_p95)),
        Cell::new(time(row.tpot_ms_p50)),
        Cell::new(row.switches.map_or_else(String::new, |count| format!("{count:.1}"))),
    ]
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:.1}", 100.0 * share))
}

/// Three digits or so, with the unit that suits: `8.31 ms`, `831 ms`, `83.1 s`.
fn time(ms: Option<f64>) -> String {
    match ms {
        None => String::new(),
        Some(ms) if ms < 9.995 => format!("{ms:.2} ms"),
        Some(ms) if ms < 99.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 9_995.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CellLabel, RunMeasures};

    fn row(device: &str, method: &str, measures: RunMeasures) -> MetricsRow {
        let label = CellLabel {
            method: method.to_owned(),
            alpha: -0.25,
            device: device.to_owned(),
            latency_of: "llama-7b".to_owned(),
            base_model: "smollm2-135m".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        };
        MetricsRow::of(&label, &[measures.clone(), measures])
    }

    #[test]
    fn tables_leave_absent_cells_empty_and_name_their_provenance() {
        let known = RunMeasures {
            requests: 600,
            accuracy: Some(0.595),
            accuracy_at_slo: Some(0.551),
            attainment: Some(0.9333),
            ttft_ms_p50: Some(31_234.5),
            ttft_ms_p95: Some(831.2),
            tpot_ms_p50: Some(8.314),
            switches: 12,
        };
        let rows = [
            row("redmi-k60", "elastic-profile", known.clone()),
            row("mi-14", "elastic-profile", known),
            row("redmi-k60", "full", RunMeasures::default()),
        ];
        insta::assert_snapshot!("terminal", metrics_table(&rows));
        insta::assert_snapshot!("markdown", markdown_table(&rows));
    }
}
