//! Measures as a table: on the terminal, and in Markdown.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table};

use crate::metrics::{MetricsRow, PairedRow};

const HEADER: [&str; 9] = [
    "α",
    "method",
    "accuracy %",
    "accuracy@SLO %",
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
    let parts = groups(rows, |row| (scene(row), &row.provenance)).into_iter().map(|group| {
        let first = group[0];
        format!(
            "{}: latencies of {}, answers of {} ({}; {} replications a row, below each mean its 95 % \
             interval)\n\n{}\n",
            first.device,
            first.latency_of,
            first.base_model,
            first.provenance,
            first.replications,
            table(&group)
        )
    });
    parts.collect::<Vec<_>>().join("\n")
}

/// What a method gains over others under the same seeds, in points of accuracy@SLO: one row per
/// skew and pair of methods, one column per device, latency model and base model. Empty without
/// rows.
#[must_use]
pub fn differences_table(rows: &[PairedRow]) -> String {
    match differences(rows, terminal_table(), "\n") {
        Some(table) => format!("{DIFFERENCES}\n\n{table}\n"),
        None => String::new(),
    }
}

/// [`differences_table`] in Markdown.
#[must_use]
pub fn differences_markdown(rows: &[PairedRow]) -> String {
    match differences(rows, markdown_table(), "; ") {
        Some(table) => format!("{table}\n\n{DIFFERENCES}.\n"),
        None => String::new(),
    }
}

const DIFFERENCES: &str = "gain in accuracy@SLO, points: mean over seeds, 95 % interval of the paired \
    differences over seeds, and over items; seeds won, McNemar's exact p adjusted for all pairs";

/// Gains put into `table`, their two lines `apart`; `None` without rows.
fn differences(rows: &[PairedRow], mut table: Table, apart: &str) -> Option<Table> {
    let scene =
        |row: &PairedRow| (row.device.clone(), row.latency_of.clone(), row.base_model.clone());
    let scenes = groups(rows, scene);
    if scenes.is_empty() {
        return None;
    }
    let devices = scenes.iter().map(|group| group[0].device.clone());
    table.set_header(["α", "method", "against"].map(str::to_owned).into_iter().chain(devices));
    for line in groups(rows, |row| (row.alpha.to_bits(), &row.method, &row.against)) {
        let cell = |group: &Vec<&PairedRow>| {
            let row = line.iter().find(|row| scene(row) == scene(group[0]));
            row.map_or_else(String::new, |row| gain(row, apart))
        };
        let first = line[0];
        let names = [first.alpha.to_string(), first.method.clone(), first.against.clone()];
        table.add_row(names.into_iter().chain(scenes.iter().map(cell)));
    }
    Some(table)
}

/// `+3.4 (+2.1 – +4.7)`, and `apart` from it `116 items (-1.0 – +7.8)`, and from that `20/20 seeds, p
/// 0.012`.
fn gain(row: &PairedRow, apart: &str) -> String {
    let Some(gain) = row.gain else { return String::new() };
    let interval = |lo: Option<f64>, hi: Option<f64>| {
        let (lo, hi) = (100.0 * lo?, 100.0 * hi?);
        Some(format!(" ({lo:+.1} – {hi:+.1})"))
    };
    let over_seeds = interval(row.gain_lo, row.gain_hi).unwrap_or_default();
    let over_items = interval(row.gain_items_lo, row.gain_items_hi)
        .map(|interval| format!("{} items{interval}{apart}", row.items))
        .unwrap_or_default();
    let p = match row.mcnemar_p_holm {
        Some(p) if p < 0.001 => ", p < 0.001".to_owned(),
        Some(p) => format!(", p {p:.3}"),
        None => String::new(),
    };
    let seeds = format!("{}/{} seeds{p}", row.wins, row.replications);
    format!("{:+.1}{over_seeds}{apart}{over_items}{seeds}", 100.0 * gain)
}

/// Accuracy@SLO in percent with its 95 % interval in Markdown, for a README: one row per skew and
/// method, one column per device, latency model and base model. Empty without rows.
#[must_use]
pub fn summary_markdown(rows: &[MetricsRow]) -> String {
    let scenes = groups(rows, scene);
    if scenes.is_empty() {
        return String::new();
    }
    let mut table = markdown_table();
    let devices = scenes.iter().map(|group| group[0].device.clone());
    table.set_header(["α", "method"].map(str::to_owned).into_iter().chain(devices));
    for line in groups(rows, |row| (row.alpha.to_bits(), &row.method)) {
        let cell = |group: &Vec<&MetricsRow>| {
            let row = line.iter().find(|row| scene(row) == scene(group[0]));
            row.map_or_else(String::new, |row| with_interval(row))
        };
        let names = [line[0].alpha.to_string(), line[0].method.clone()];
        table.add_row(names.into_iter().chain(scenes.iter().map(cell)));
    }
    let sources = scenes.iter().map(|group| {
        let row = group[0];
        format!(
            "- {}: latencies of {}, answers of {}; {}.",
            row.device, row.latency_of, row.base_model, row.provenance
        )
    });
    format!("{table}\n\n{}\n", sources.collect::<Vec<_>>().join("\n"))
}

fn scene(row: &MetricsRow) -> (&str, &str, &str) {
    (&row.device, &row.latency_of, &row.base_model)
}

/// `rows` by equal keys, groups and their rows in the order in which they appear.
pub(super) fn groups<'a, R, K: PartialEq>(
    rows: &'a [R],
    key: impl Fn(&'a R) -> K,
) -> Vec<Vec<&'a R>> {
    let mut groups: Vec<Vec<&R>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| key(group[0]) == key(row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

pub(super) fn with_interval(row: &MetricsRow) -> String {
    let value = percent(row.accuracy_at_slo);
    match row.accuracy_at_slo_interval() {
        Some(interval) => {
            format!("{value} ({:.1} – {:.1})", 100.0 * interval.lo, 100.0 * interval.hi)
        }
        None => value,
    }
}

fn table(rows: &[&MetricsRow]) -> Table {
    let mut table = terminal_table();
    table.set_header(HEADER);
    for row in rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub(super) fn markdown_table() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table
}

pub(super) fn terminal_table() -> Table {
    let mut table = Table::new();
    let style = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn cells(row: &MetricsRow) -> [Cell; 9] {
    let over = |show: fn(Option<f64>) -> String, mean, lo: Option<f64>, hi: Option<f64>| {
        let interval = match (lo, hi) {
            (Some(_), Some(_)) => format!("\n{} – {}", show(lo), show(hi)),
            _ => String::new(),
        };
        Cell::new(show(mean) + &interval)
    };
    [
        Cell::new(row.alpha),
        Cell::new(&row.method),
        over(percent, row.accuracy, row.accuracy_lo, row.accuracy_hi),
        over(percent, row.accuracy_at_slo, row.accuracy_at_slo_lo, row.accuracy_at_slo_hi),
        over(percent, row.attainment, row.attainment_lo, row.attainment_hi),
        over(time, row.ttft_ms_p50, row.ttft_ms_p50_lo, row.ttft_ms_p50_hi),
        over(time, row.ttft_ms_p95, row.ttft_ms_p95_lo, row.ttft_ms_p95_hi),
        over(time, row.tpot_ms_p50, row.tpot_ms_p50_lo, row.tpot_ms_p50_hi),
        over(count, row.switches, row.switches_lo, row.switches_hi),
    ]
}

fn count(count: Option<f64>) -> String {
    count.map_or_else(String::new, |count| format!("{count:.1}"))
}

/// One decimal, without the sign.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:.1}", 100.0 * share))
}

/// Three digits or so, with the unit that suits: `8.31 ms`, `831 ms`, `83.1 s`.
pub(crate) fn time(ms: Option<f64>) -> String {
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
            fallbacks: None,
            answers: vec![Some(true); 12],
        };
        let rows = [
            row("redmi-k60", "elastic-profile", known.clone()),
            row("mi-14", "elastic-profile", known),
            row("redmi-k60", "full", RunMeasures::default()),
        ];
        let label = |device: &str| CellLabel {
            method: "elastic-profile".to_owned(),
            alpha: 0.0,
            device: device.to_owned(),
            latency_of: "llama-7b".to_owned(),
            base_model: "smollm2-135m".to_owned(),
            provenance: String::new(),
        };
        let run = |accuracy_at_slo: Option<f64>| RunMeasures {
            accuracy_at_slo,
            answers: vec![Some(accuracy_at_slo > Some(0.3)); 4],
            ..RunMeasures::default()
        };
        let better = [run(Some(0.5)), run(Some(0.25))];
        let worse = [run(Some(0.25)), run(Some(0.5))];
        let asked = vec![(0..4).map(|item| ("piqa", item)).collect(); 2];
        let pairs = [
            PairedRow::of(&label("redmi-k60"), &better, "full", &worse, &asked),
            PairedRow::of(&label("redmi-k60"), &better, "lpruner", &better, &asked),
            PairedRow::of(&label("mi-14"), &better[..1], "full", &worse[..1], &asked[..1]),
        ];
        insta::assert_snapshot!("differences", differences_table(&pairs));
        assert_eq!(differences_table(&[]), "");
        insta::assert_snapshot!("terminal", metrics_table(&rows));
        insta::assert_snapshot!("markdown", summary_markdown(&rows));
        assert_eq!(summary_markdown(&[]), "");
    }
}
