//! Measures as a table: on the terminal, and in Markdown.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};

use crate::escape::markdown;
use crate::metrics::{CellLabel, Estimate, Interval, Measure, MetricsRow, PairedRow, Unit};

/// The measures of a table for people; files and pages have all.
const SHOWN: [Measure; 8] = [
    Measure::Accuracy,
    Measure::AccuracyAtSlo,
    Measure::Attainment,
    Measure::TtftP50,
    Measure::TtftP95,
    Measure::TtftP99,
    Measure::TpotP50,
    Measure::Switches,
];

/// One table per device, latency model and base model, each under a line that names them and the
/// provenance of their numbers; rows in the given order.
#[must_use]
pub fn metrics_table(rows: &[MetricsRow]) -> String {
    let of_scene = groups(rows, |row| (row.label.scene(), row.label.provenance.as_str()));
    let parts = of_scene.into_iter().map(|group| {
        let CellLabel { device, latency_of, base_model, provenance, .. } = &group[0].label;
        format!(
            "{device}: latencies of {latency_of}, answers of {base_model} ({provenance}; \
             {})\n\n{}\n",
            sample(group[0].replications, group[0].traces),
            table(&group)
        )
    });
    parts.collect::<Vec<_>>().join("\n")
}

/// What the means of a row are over, and what its intervals speak of.
fn sample(replications: usize, traces: Option<usize>) -> String {
    match (replications, traces) {
        (1, _) => "1 replication a row: no intervals".to_owned(),
        (seeds, Some(1)) => {
            format!("{seeds} replications of one trace a row: no intervals over traces")
        }
        (seeds, _) => format!("{seeds} replications a row, below each mean its 95 % interval"),
    }
}

/// What a method gains over others under the same seeds, in points of accuracy@SLO: one row per
/// skew and pair of methods, one column per device, latency model and base model. Empty without
/// rows.
#[must_use]
pub fn differences_table(rows: &[PairedRow]) -> String {
    match differences(rows, terminal_table(), "\n", str::to_owned) {
        Some(table) => format!("{DIFFERENCES}\n\n{table}\n"),
        None => String::new(),
    }
}

/// [`differences_table`] in Markdown.
#[must_use]
pub fn differences_markdown(rows: &[PairedRow]) -> String {
    match differences(rows, markdown_table(), "; ", markdown) {
        Some(table) => format!("{table}\n\n{DIFFERENCES}.\n"),
        None => String::new(),
    }
}

const DIFFERENCES: &str = "gain in accuracy@SLO, points: mean over seeds, 95 % interval of the \
    paired differences over seeds, and over items; seeds won, McNemar's exact p adjusted for all \
    pairs";

/// Gains put into `table`, their two lines `apart`; `None` without rows.
fn differences(
    rows: &[PairedRow],
    mut table: Table,
    apart: &str,
    name: fn(&str) -> String,
) -> Option<Table> {
    let scenes = groups(rows, |row| row.label.scene());
    if scenes.is_empty() {
        return None;
    }
    let devices = scenes.iter().map(|group| name(&group[0].label.device));
    table.set_header(["α", "method", "against"].map(str::to_owned).into_iter().chain(devices));
    for line in groups(rows, |row| (row.label.alpha.to_bits(), &row.label.method, &row.against)) {
        let cell = |group: &Vec<&PairedRow>| {
            let row = line.iter().find(|row| row.label.scene() == group[0].label.scene());
            row.map_or_else(String::new, |row| gain(row, apart))
        };
        let CellLabel { alpha, method, .. } = &line[0].label;
        let names = [alpha.to_string(), name(method), name(&line[0].against)];
        table.add_row(names.into_iter().chain(scenes.iter().map(cell)));
    }
    Some(table)
}

/// `+3.4 (+2.1 – +4.7)`, and `apart` from it `116 items (-1.0 – +7.8)`, and from that `20/20 seeds,
/// p 0.012`.
fn gain(row: &PairedRow, apart: &str) -> String {
    let Some(gain) = row.gain.mean else { return String::new() };
    let interval = |interval: Interval| {
        format!(" ({:+.1} – {:+.1})", 100.0 * interval.lo, 100.0 * interval.hi)
    };
    let over_seeds = row.gain.interval().map(interval).unwrap_or_default();
    let over_items = row
        .over_items
        .map(|over_items| format!("{} items{}{apart}", row.items, interval(over_items)))
        .unwrap_or_default();
    let p = match row.mcnemar_p_holm {
        Some(p) if p < 0.001 => ", p < 0.001".to_owned(),
        Some(p) => format!(", p {p:.3}"),
        None => String::new(),
    };
    let seeds = match row.traces {
        Some(1) if row.replications > 1 => "1 trace".to_owned(),
        _ => format!("{}/{} seeds", row.wins, row.replications),
    };
    format!("{:+.1}{over_seeds}{apart}{over_items}{seeds}{p}", 100.0 * gain)
}

/// Accuracy@SLO in percent with its 95 % interval in Markdown, for a README: one row per skew and
/// method, one column per device, latency model and base model. Empty without rows.
#[must_use]
pub fn summary_markdown(rows: &[MetricsRow]) -> String {
    let scenes = groups(rows, |row| row.label.scene());
    if scenes.is_empty() {
        return String::new();
    }
    let mut table = markdown_table();
    let devices = scenes.iter().map(|group| markdown(&group[0].label.device));
    table.set_header(["α", "method"].map(str::to_owned).into_iter().chain(devices));
    for line in groups(rows, |row| (row.label.alpha.to_bits(), &row.label.method)) {
        let cell = |group: &Vec<&MetricsRow>| {
            let row = line.iter().find(|row| row.label.scene() == group[0].label.scene());
            row.map_or_else(String::new, |row| with_interval(row))
        };
        let CellLabel { alpha, method, .. } = &line[0].label;
        table.add_row(
            [alpha.to_string(), markdown(method)].into_iter().chain(scenes.iter().map(cell)),
        );
    }
    let sources = scenes.iter().map(|group| {
        let [device, latency_of, base_model] = group[0].label.scene().map(markdown);
        let provenance = markdown(&group[0].label.provenance);
        format!("- {device}: latencies of {latency_of}, answers of {base_model}; {provenance}.")
    });
    format!("{table}\n\n{}\n", sources.collect::<Vec<_>>().join("\n"))
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
    shown(Unit::Share, row[Measure::AccuracyAtSlo], " (", ")")
}

/// A mean and, between `before` and `after`, its interval.
pub(super) fn shown(unit: Unit, estimate: Estimate, before: &str, after: &str) -> String {
    let show = |value| show(unit, Some(value));
    let mean = estimate.mean.map(show).unwrap_or_default();
    match estimate.interval() {
        Some(Interval { lo, hi }) => format!("{mean}{before}{} – {}{after}", show(lo), show(hi)),
        None => mean,
    }
}

fn table(rows: &[&MetricsRow]) -> Table {
    let measures = measures_of(rows);
    let mut table = terminal_table();
    let names = ["α", "method"].map(str::to_owned);
    table.set_header(names.into_iter().chain(measures.iter().copied().map(head)));
    for row in rows {
        let names = [row.label.alpha.to_string(), row.label.method.clone()];
        let cell = |&measure: &Measure| shown(measure.unit(), row[measure], "\n", "");
        table.add_row(names.into_iter().chain(measures.iter().map(cell)));
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

/// Those of [`SHOWN`] that one of `rows` has.
pub(super) fn measures_of(rows: &[&MetricsRow]) -> Vec<Measure> {
    let is_known = |measure: &Measure| rows.iter().any(|row| row[*measure].mean.is_some());
    SHOWN.into_iter().filter(is_known).collect()
}

/// The head of a column of `measure`.
pub(super) fn head(measure: Measure) -> String {
    let percent = if measure.is_share() { " %" } else { "" };
    format!("{}{percent}", measure.name())
}

/// A value as people read it; nothing where it is absent.
pub(crate) fn show(unit: Unit, value: Option<f64>) -> String {
    match unit {
        Unit::Share => percent(value),
        Unit::Ms => time(value),
        Unit::Mj => energy(value),
        Unit::Count => value.map_or_else(String::new, |count| format!("{count:.1}")),
    }
}

/// One decimal, without the sign.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:.1}", 100.0 * share))
}

/// Three digits or so, with the unit that suits: `8.31 ms`, `831 ms`, `83.1 s`.
pub(super) fn time(ms: Option<f64>) -> String {
    match ms {
        None => String::new(),
        Some(ms) if ms < 9.995 => format!("{ms:.2} ms"),
        Some(ms) if ms < 99.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 9_995.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

/// Three digits or so, with the unit that suits: `8.31 mJ`, `831 mJ`, `83.1 J`.
fn energy(mj: Option<f64>) -> String {
    time(mj).replace("ms", "mJ").replace('s', "J")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, PerMeasure, RunMeasures};

    fn row(device: &str, method: &str, measures: RunMeasures) -> MetricsRow {
        let label = CellLabel {
            method: method.to_owned(),
            alpha: -0.25,
            device: device.to_owned(),
            latency_of: "llama-7b".to_owned(),
            base_model: "smollm2-135m".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        };
        MetricsRow::of(&label, &[measures.clone(), measures], &AskedItems::default())
    }

    #[test]
    fn tables_leave_absent_cells_empty_and_name_their_provenance() {
        let known = RunMeasures {
            classes: Vec::new(),
            requests: 600,
            answers: vec![Some(1.0); 12],
            values: PerMeasure::from([
                (Measure::Accuracy, 0.595),
                (Measure::AccuracyAtSlo, 0.551),
                (Measure::Attainment, 0.9333),
                (Measure::TtftP50, 831.2),
                (Measure::TtftP95, 31_234.5),
                (Measure::TpotP50, 8.314),
                (Measure::Switches, 12.0),
            ]),
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
        let run = |accuracy_at_slo: f64| RunMeasures {
            classes: Vec::new(),
            requests: 4,
            answers: vec![Some(f64::from(accuracy_at_slo > 0.3)); 4],
            values: PerMeasure::from([(Measure::AccuracyAtSlo, accuracy_at_slo)]),
        };
        let better = [run(0.5), run(0.25)];
        let worse = [run(0.25), run(0.5)];
        let asked = AskedItems::of(&[0, 1].map(|_| (0..4).map(|item| ("piqa", item)).collect()));
        let pairs = [
            PairedRow::of(&label("redmi-k60"), &better, "full", &worse, &asked),
            PairedRow::of(&label("redmi-k60"), &better, "lpruner", &better, &asked),
            PairedRow::of(&label("mi-14"), &better[..1], "full", &worse[..1], &asked),
        ];
        insta::assert_snapshot!(differences_table(&pairs), @r"
        gain in accuracy@SLO, points: mean over seeds, 95 % interval of the paired differences over seeds, and over items; seeds won, McNemar's exact p adjusted for all pairs

        ───────────────────────────────────────────────────────────────────────────────────
         α   method            against   redmi-k60               mi-14                     
        ═══════════════════════════════════════════════════════════════════════════════════
         0   elastic-profile   full      +0.0 (-25.0 – +25.0)    +25.0                     
                                         4 items (+0.0 – +0.0)   4 items (+100.0 – +100.0) 
                                         1/2 seeds, p 1.000      1/1 seeds, p 0.125        
         0   elastic-profile   lpruner   +0.0 (+0.0 – +0.0)                                
                                         4 items (+0.0 – +0.0)                             
                                         0/2 seeds, p 1.000                                
        ───────────────────────────────────────────────────────────────────────────────────
        ");
        assert_eq!(differences_table(&[]), "");
        assert_eq!([12.34, 43_210.0].map(|mj| show(Unit::Mj, Some(mj))), ["12.3 mJ", "43.2 J"]);
        insta::assert_snapshot!(metrics_table(&rows), @r"
        redmi-k60: latencies of llama-7b, answers of smollm2-135m (latency modelled, answers measured; 2 replications a row, below each mean its 95 % interval)

        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
         α       method             accuracy %   accuracy@SLO %   attainment %          TTFT p50          TTFT p95            TPOT p50      switches 
        ═════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════
         -0.25   elastic-profile          59.5             55.1           93.3            831 ms            31.2 s             8.31 ms          12.0 
                                   59.5 – 59.5      55.1 – 55.1    93.3 – 93.3   831 ms – 831 ms   31.2 s – 31.2 s   8.31 ms – 8.31 ms   12.0 – 12.0 
         -0.25   full                                                                                                                                
        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

        mi-14: latencies of llama-7b, answers of smollm2-135m (latency modelled, answers measured; 2 replications a row, below each mean its 95 % interval)

        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
         α       method             accuracy %   accuracy@SLO %   attainment %          TTFT p50          TTFT p95            TPOT p50      switches 
        ═════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════
         -0.25   elastic-profile          59.5             55.1           93.3            831 ms            31.2 s             8.31 ms          12.0 
                                   59.5 – 59.5      55.1 – 55.1    93.3 – 93.3   831 ms – 831 ms   31.2 s – 31.2 s   8.31 ms – 8.31 ms   12.0 – 12.0 
        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        ");
        insta::assert_snapshot!(summary_markdown(&rows), @r"
        | α     | method          | redmi-k60          | mi-14              |
        |-------|-----------------|--------------------|--------------------|
        | -0.25 | elastic-profile | 55.1 (55.1 – 55.1) | 55.1 (55.1 – 55.1) |
        | -0.25 | full            |                    |                    |

        - redmi-k60: latencies of llama-7b, answers of smollm2-135m; latency modelled, answers measured.
        - mi-14: latencies of llama-7b, answers of smollm2-135m; latency modelled, answers measured.
        ");
        assert_eq!(summary_markdown(&[]), "");
    }
}
