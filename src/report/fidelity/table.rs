//! The comparison as CSV and as tables for a terminal.

use std::fmt::Write as _;

use super::{Fidelity, FidelityRow, INTERVAL, PhaseFit};
use crate::report::figure::text_table;

const COLUMNS: [&str; 16] = [
    "by",
    "name",
    "answers",
    "ttft_bias_percent",
    "ttft_error_percent",
    "ttft_floor_percent",
    "ttft_covered_percent",
    "tpot_bias_percent",
    "tpot_error_percent",
    "tpot_floor_percent",
    "tpot_covered_percent",
    "attainment_as_forecast_percent",
    "attainment_predicted_percent",
    "attainment_measured_percent",
    "accuracy_at_slo_predicted_percent",
    "accuracy_at_slo_measured_percent",
];

fn numbers(row: &FidelityRow) -> Vec<f64> {
    let phase = |of: &PhaseFit| [of.bias, of.error, of.floor, of.covered];
    let objectives = [
        row.attainment_as_forecast,
        row.attainment_predicted,
        row.attainment_measured,
        row.accuracy_predicted,
        row.accuracy_measured,
    ];
    [&row.ttft, &row.tpot].into_iter().flat_map(phase).chain(objectives).collect()
}

/// All rows as CSV, with their header.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "memory can be written, rows are text")]
pub fn fidelity_csv(fidelity: &Fidelity) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).expect("memory can be written");
    for row in &fidelity.rows {
        let mut cells = vec![row.by.to_owned(), row.name.clone(), row.answers.to_string()];
        cells.extend(numbers(row).iter().map(|number| format!("{number:.2}")));
        writer.write_record(cells).expect("memory can be written");
    }
    String::from_utf8(writer.into_inner().expect("memory is flushed")).expect("rows are text")
}

/// Two tables, of times and of objectives, and the order of methods.
#[must_use]
pub fn fidelity_text(fidelity: &Fidelity) -> String {
    let heading = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let covered = format!("in {:.0} %", 100.0 * INTERVAL);
    let mut times = vec![heading(&["times, %", "answers"])];
    for phase in ["TTFT", "TPOT"] {
        times[0].extend(["bias", "error", "floor", &covered].map(|name| format!("{phase} {name}")));
    }
    let mut objectives = vec![heading(&[
        "objectives, %",
        "answers",
        "met as forecast",
        "predicted",
        "measured",
        "accuracy@SLO predicted",
        "measured",
    ])];
    for row in &fidelity.rows {
        let name =
            if row.by == "all" { "all".to_owned() } else { format!("{} {}", row.by, row.name) };
        let all: Vec<_> = numbers(row).iter().map(|number| format!("{number:.1}")).collect();
        let line =
            |numbers: &[String]| [&[name.clone(), row.answers.to_string()], numbers].concat();
        times.push(line(&all[..8]));
        objectives.push(line(&all[8..]));
    }
    let mut text = format!("{}\n{}\n", text_table(&times), text_table(&objectives));
    for (order, name) in fidelity.orders.iter().zip(["predicted", "measured"]) {
        let _ = writeln!(text, "order by accuracy@SLO, {name}: {}", order.join(", "));
    }
    if let Some(tau) = fidelity.kendall {
        let _ = writeln!(text, "Kendall's tau of the two: {tau:.2}");
    }
    text
}
