//! Peak rates as a table.

use std::fmt::Write as _;

use comfy_table::CellAlignment;

use super::metrics_table::{groups, percent, terminal_table};
use crate::metrics::{CellLabel, PeakRow, Reach};

/// One table per device, latency model and base model, each under a line that names them, the
/// attainment that is kept and the provenance of the numbers.
#[must_use]
pub fn peak_table(rows: &[PeakRow]) -> String {
    let mut text = String::new();
    for rows in groups(rows, |row| (row.label.scene(), row.label.provenance.as_str())) {
        let first = rows[0];
        let mut table = terminal_table();
        let at = |rate: f64| format!("attainment %\nat {rate}");
        table.set_header([
            "α".to_owned(),
            "method".to_owned(),
            "peak,\nrequests/h".to_owned(),
            "95 % interval".to_owned(),
            at(first.from_per_hour),
            at(first.to_per_hour),
            "kept again\nfrom".to_owned(),
        ]);
        for row in &rows {
            table.add_row([
                row.label.alpha.to_string(),
                row.label.method.clone(),
                peak(row),
                interval(row),
                percent(Some(row.attainment_at_from)),
                percent(Some(row.attainment_at_to)),
                row.again_per_hour.map_or_else(String::new, rate),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let CellLabel { device, latency_of, base_model, provenance, .. } = &first.label;
        let PeakRow { attainment, replications, requests, .. } = first;
        writeln!(
            text,
            "{device}: largest rate with attainment of {} % or more; latencies of {latency_of}, \
             answers of {base_model} ({provenance}; {replications} seeds of {requests} \
             requests)\n\n\
             {table}\n",
            percent(Some(*attainment)),
        )
        .expect("a string can always grow");
    }
    text
}

fn peak(row: &PeakRow) -> String {
    match (row.peak_per_hour, row.reach) {
        (Some(peak), _) => rate(peak),
        (None, Reach::Below) => format!("below {}", row.from_per_hour),
        (None, _) => format!("beyond {}", row.to_per_hour),
    }
}

/// Open ends are named; a single seed has none.
fn interval(row: &PeakRow) -> String {
    if row.replications < 2 {
        return String::new();
    }
    let lo = row.peak_per_hour_lo.map_or_else(|| format!("below {}", row.from_per_hour), rate);
    let hi = row.peak_per_hour_hi.map_or_else(|| format!("beyond {}", row.to_per_hour), rate);
    format!("{lo} – {hi}")
}

/// Three digits.
fn rate(rate: f64) -> String {
    let decimals = (2.0 - rate.abs().log10().floor()).clamp(0.0, 3.0) as usize;
    format!("{rate:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::label;

    fn row(method: &str, peak: Option<f64>, reach: Reach) -> PeakRow {
        PeakRow {
            label: CellLabel { alpha: 0.0, ..label(method) },
            attainment: 0.9,
            peak_per_hour: peak,
            peak_per_hour_lo: peak.map(|peak| 0.9 * peak),
            peak_per_hour_hi: Some(peak.map_or(1.0, |peak| 1.1 * peak)),
            reach,
            again_per_hour: None,
            from_per_hour: 1.0,
            to_per_hour: 1024.0,
            attainment_at_from: 0.95,
            attainment_at_to: 0.125,
            replications: 20,
            requests: 600,
        }
    }

    #[test]
    fn peaks_have_three_digits_and_open_ends_are_named() {
        insta::assert_snapshot!(peak_table(&[
            row("elastic-profile", Some(123.456), Reach::Within),
            row("full", None, Reach::Below),
            PeakRow {
                again_per_hour: Some(64.0),
                peak_per_hour_lo: None,
                ..row("lpruner", Some(1.234), Reach::Within)
            },
            PeakRow {
                peak_per_hour_lo: Some(900.0),
                peak_per_hour_hi: None,
                ..row("oracle", None, Reach::Beyond)
            },
            PeakRow { replications: 1, ..row("once", Some(12.0), Reach::Within) },
        ]), @r"
        phone: largest rate with attainment of 90.0 % or more; latencies of large, answers of small (latency modelled, answers measured; 20 seeds of 600 requests)

        ──────────────────────────────────────────────────────────────────────────────────────────────────
         α   method                  peak,       95 % interval   attainment %   attainment %   kept again 
                                requests/h                               at 1        at 1024         from 
        ══════════════════════════════════════════════════════════════════════════════════════════════════
         0   elastic-profile           123           111 – 136           95.0           12.5              
         0   full                  below 1      below 1 – 1.00           95.0           12.5              
         0   lpruner                  1.23      below 1 – 1.36           95.0           12.5         64.0 
         0   oracle            beyond 1024   900 – beyond 1024           95.0           12.5              
         0   once                     12.0                               95.0           12.5              
        ──────────────────────────────────────────────────────────────────────────────────────────────────
        ");
        assert_eq!(peak_table(&[]), "");
    }
}
