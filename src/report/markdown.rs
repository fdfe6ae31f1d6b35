//! A results folder's summary in Markdown: for a step summary, a comment or an issue.

use std::fmt::Write as _;

use super::goodput::{Class, GoodputRow, goodput};
use super::metrics_table::{differences_markdown, groups, markdown_table, shown, summary_markdown};
use crate::error::Result;
use crate::escape::markdown;
use crate::metrics::{CellLabel, Measure, Unit};
use crate::results::ResultsFolder;

/// Accuracy@SLO, paired gains and, where outcomes were kept, goodput by app.
///
/// # Errors
/// If a file of outcomes is bad.
pub fn report_markdown(folder: &ResultsFolder) -> Result<String> {
    let grows = "a string can always grow";
    let mut text = format!("## {}\n", markdown(&folder.manifest.experiment));
    let tables = [
        ("Accuracy@SLO, %", summary_markdown(&folder.rows)),
        ("Paired gains", differences_markdown(&folder.pairs)),
        ("Goodput by app: accuracy@SLO, %", goodput_markdown(&goodput(&folder.runs()?))),
    ];
    for (heading, table) in tables.iter().filter(|(_, table)| !table.is_empty()) {
        write!(text, "\n### {heading}\n\n{table}").expect(grows);
    }
    for run in &folder.failures {
        let place = format!("α {}, {}, seed {}", run.alpha, run.device, run.seed);
        let line = [&run.method, &place, &run.error].map(|text| markdown(text));
        let [method, place, error] = line;
        write!(text, "\n- **{method} did not finish**: {place}: {error}\n").expect(grows);
    }
    Ok(text)
}

/// One row per cell, one column per app, accuracy@SLO in each. Empty without rows.
fn goodput_markdown(rows: &[GoodputRow]) -> String {
    let apps: Vec<&GoodputRow> = rows.iter().filter(|row| row.class == Class::App).collect();
    let Some(first) = apps.first() else { return String::new() };
    let columns: Vec<&str> =
        groups(&apps, |row| &row.name).iter().map(|group| group[0].name.as_str()).collect();
    let mut table = markdown_table();
    let heads = ["α", "device", "method"].into_iter().chain(columns.iter().copied());
    table.set_header(heads.map(markdown));
    let cells =
        groups(&apps, |row| (&row.label.method, row.label.alpha.to_bits(), row.label.scene()));
    for line in cells {
        let of_app = |name: &&str| {
            let row = line.iter().find(|row| row.name == *name);
            row.map_or_else(String::new, |row| at_slo(row))
        };
        let CellLabel { alpha, device, method, .. } = &line[0].label;
        let names = [alpha.to_string(), markdown(device), markdown(method)];
        table.add_row(names.into_iter().chain(columns.iter().map(of_app)));
    }
    let interval = match first.seeds {
        1 => "of one seed's requests, with Wilson's 95 % interval".to_owned(),
        seeds => format!("mean over {seeds} seeds, with its 95 % interval"),
    };
    format!("{table}\n\n{interval}.\n")
}

fn at_slo(row: &GoodputRow) -> String {
    shown(Unit::Share, row.values[Measure::AccuracyAtSlo], " (", ")")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::run;

    /// Of Mail's two answers one is right and in time; of Keys's, none of the one that was judged.
    #[test]
    fn goodput_is_a_table_of_cells_and_apps() {
        let text = goodput_markdown(&goodput(&[run("full", 0), run("a|b", 0)]));
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["|", "α", "|", "device", "|", "method", "|", "Mail", "|", "Keys", "|"]
        );
        let first = lines.nth(1).unwrap();
        assert!(first.contains("| full   | 50.0 (9.5 – 90.5) | 0.0 (0.0 – 79.3) |"), "{first}");
        assert!(lines.next().unwrap().contains("| a\\|b   |"));
        assert!(text.ends_with("of one seed's requests, with Wilson's 95 % interval.\n"), "{text}");
        assert_eq!(goodput_markdown(&[]), "");
    }
}
