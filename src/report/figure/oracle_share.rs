//! How much of the oracle's accuracy each method reaches.

use std::fmt::Write as _;

use super::asked::text_table;
use crate::metrics::{Measure, MetricsRow};

/// The name of the method that the others are measured by.
const ORACLE: &str = "oracle";

/// (text, CSV): per device, skew and method the accuracy@SLO, and its share of the oracle's.
pub(super) fn oracle_share(rows: &[MetricsRow]) -> (String, String) {
    let mut csv = "device,alpha,method,accuracy_at_slo,share_of_oracle\n".to_owned();
    let mut table = vec![
        ["device", "α", "method", "accuracy@SLO %", "of the oracle's %"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for row in rows {
        let of_cell = |other: &&MetricsRow| {
            other.label.method == ORACLE
                && other.label.scene() == row.label.scene()
                && other.label.alpha.total_cmp(&row.label.alpha).is_eq()
        };
        let oracle =
            rows.iter().find(of_cell).and_then(|oracle| oracle[Measure::AccuracyAtSlo].mean);
        let share = row[Measure::AccuracyAtSlo].mean.zip(oracle).map(|(own, oracle)| own / oracle);
        let share = share.filter(|share| share.is_finite());
        let cell = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
        let (own, share_cell) = (cell(row[Measure::AccuracyAtSlo].mean), cell(share));
        writeln!(
            csv,
            "{},{},{},{own},{share_cell}",
            row.label.device, row.label.alpha, row.label.method
        )
        .expect("a string can always grow");
        let percent = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value))
        };
        table.push(vec![
            row.label.device.clone(),
            row.label.alpha.to_string(),
            row.label.method.clone(),
            percent(row[Measure::AccuracyAtSlo].mean),
            percent(share),
        ]);
    }
    (text_table(&table), csv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, CellLabel, PerMeasure, RunMeasures};

    fn row(device: &str, method: &str, accuracy: f64) -> MetricsRow {
        let label = CellLabel {
            method: method.into(),
            alpha: 0.0,
            device: device.into(),
            latency_of: "large".into(),
            base_model: "small".into(),
            provenance: String::new(),
        };
        let run = RunMeasures {
            values: PerMeasure::from([(Measure::AccuracyAtSlo, accuracy)]),
            ..RunMeasures::default()
        };
        MetricsRow::of(&label, &[run], &AskedItems::default())
    }

    #[test]
    fn shares_are_of_the_oracle_in_the_same_cell() {
        let rows = [row("a", "table", 0.6), row("a", "oracle", 0.75), row("b", "table", 0.6)];
        let (text, csv) = oracle_share(&rows);
        assert_eq!(
            csv,
            "device,alpha,method,accuracy_at_slo,share_of_oracle\na,0,table,0.6000,0.8000\n\
             a,0,oracle,0.7500,1.0000\nb,0,table,0.6000,\n"
        );
        assert!(text.contains("80.0") && text.ends_with("–\n"), "{text}");
    }
}
