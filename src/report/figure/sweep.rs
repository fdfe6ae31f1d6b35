//! A sweep over one key: the headline measure over its values, a line per method, a panel per
//! device and skew; and any sweep as a table.

use std::fmt::Write as _;
use std::path::Path;

use super::ACCURACY_AT_SLO;
use super::accuracy_bars::{interval, range, whisker_words};
use super::axis::signed;
use super::colours::{self, Look};
use super::lines::{Group, Line, Lines, Panel, Point};
use super::sheet::{Form, Press, Sheet};
use crate::error::Result;
use crate::metrics::{CellLabel, Measure, MetricsRow, SweepRow, SweepTable, read_sweep_csv};
use crate::report::metrics_table::{groups, terminal_table, with_interval};
use crate::results::{FigureStyle, Manifest, Whiskers, add_figures};

/// Most ticks of an axis.
const TICKS: usize = 8;
/// From this ratio of the largest value to the smallest the axis is logarithmic.
const LOGARITHMIC: f64 = 30.0;

/// Draws `sweep` of the results folder `folder` into it, if one key was swept, and returns its
/// table. Reads `sweep.csv` and, to note what is drawn, `manifest.toml`.
///
/// # Errors
/// If the file is missing or bad, or the figure cannot be written.
pub fn redraw_sweep(folder: &Path, form: Form) -> Result<String> {
    let sweep = read_sweep_csv(&folder.join("sweep.csv"))?;
    add_figures(folder, &Manifest::load(folder)?, |out| {
        if sweep.keys.len() == 1 && !sweep.rows.is_empty() {
            let style = FigureStyle::default();
            let about = String::new();
            draw(&sweep, &Press { results: folder, folder: out, form, style, about })?;
        }
        Ok(table(&sweep))
    })
}

/// What a panel, and a table, is about.
fn scene(row: &SweepRow) -> (&str, &str, &str, u64) {
    let CellLabel { device, latency_of, base_model, alpha, .. } = &row.row.label;
    (device, latency_of, base_model, alpha.to_bits())
}

fn draw(sweep: &SweepTable, press: &Press<'_>) -> Result<()> {
    let scale = Scale::of(sweep.rows.iter().map(|row| row.settings[0]));
    let methods = groups(&sweep.rows, |row| &row.row.label.method);
    let names: Vec<&str> = methods.iter().map(|rows| rows[0].row.label.method.as_str()).collect();
    let looks: Vec<(&str, Look)> =
        names.iter().copied().zip(colours::of_all(names.iter().copied())).collect();
    let whiskers = press.style.whiskers;
    let lines = Lines {
        x_title: sweep.keys[0].clone(),
        y_title: "accuracy@SLO, %",
        x_ticks: scale.ticks(),
        decades: false,
        bands: scale.values.len() > 1,
        legend: looks.iter().map(|(name, look)| ((*name).to_owned(), *look)).collect(),
        groups: vec![Group {
            heading: String::new(),
            panels: groups(&sweep.rows, scene)
                .iter()
                .map(|rows| panel(rows, &scale, &looks, whiskers))
                .collect(),
        }],
        panel_em: 18.0,
    };
    let sheet = Sheet {
        title: format!("{ACCURACY_AT_SLO} over {}", sweep.keys[0]),
        caption: caption(sweep, whiskers),
        height: lines.height(press.sizes(), press.width()),
    };
    press.print("sweep", &sheet, |area| lines.draw(press.sizes(), area))
}

fn panel(rows: &[&SweepRow], scale: &Scale, looks: &[(&str, Look)], whiskers: Whiskers) -> Panel {
    let point = |row: &&&SweepRow| {
        let share = row.row[Measure::AccuracyAtSlo].mean?;
        let (lo, hi) = interval(&row.row, whiskers)
            .map_or((share, share), |interval| (interval.lo, interval.hi));
        let [y, lo, hi] = [share, lo, hi].map(|share| 100.0 * share);
        Some(Point { x: scale.place(row.settings[0]), y, lo, hi })
    };
    let line = |(name, look): &(&str, Look)| {
        let mut points: Vec<Point> = rows
            .iter()
            .filter(|row| row.row.label.method == *name)
            .filter_map(|row| point(&row))
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { look: *look, points }
    };
    Panel {
        heading: format!("{}, α = {}", rows[0].row.label.device, signed(&rows[0].row.label.alpha)),
        lines: looks.iter().map(line).collect(),
    }
}

fn caption(sweep: &SweepTable, whiskers: Whiskers) -> String {
    let provenances = groups(&sweep.rows, |row| (&row.row.label.device, &row.row.label.provenance));
    let provenances = provenances.iter().map(|rows| {
        let CellLabel { device, latency_of, base_model, provenance, .. } = &rows[0].row.label;
        format!("{device}: latencies of {latency_of}, answers of {base_model}, {provenance}")
    });
    let rows: Vec<&MetricsRow> = sweep.rows.iter().map(|row| &row.row).collect();
    format!(
        "Share of arrived requests answered rightly with every bound met; mean over {}.{} {}.",
        counts(&sweep.rows.iter().collect::<Vec<_>>()),
        whisker_words(&rows, whiskers).replace("Whiskers", "Bands"),
        provenances.collect::<Vec<_>>().join("; ")
    )
}

/// How many seeds and requests are behind a mean; a sweep may go over either.
fn counts(rows: &[&SweepRow]) -> String {
    let rows = || rows.iter().map(|row| &row.row);
    format!(
        "{} seeds, {} requests a mean",
        range(rows(), |row| row.replications),
        range(rows(), |row| row.requests)
    )
}

/// Where values stand on the axis.
struct Scale {
    values: Vec<f64>,
    logarithmic: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (first, last) = (values[0], values[values.len() - 1]);
        Self { logarithmic: first > 0.0 && last / first >= LOGARITHMIC, values }
    }

    fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }

    /// Values with their names, the first and last among them.
    fn ticks(&self) -> Vec<(f64, String)> {
        let step = (self.values.len() - 1).div_ceil(TICKS).max(1);
        let last = self.values[self.values.len() - 1];
        let before = self.values.iter().step_by(step).filter(|&&value| value < last);
        let ticks = before.chain([&last]);
        ticks.map(|&value| (self.place(value), value.to_string())).collect()
    }
}

/// Accuracy@SLO in percent with its interval: a table per device and skew, a row per method, a
/// column per point.
fn table(sweep: &SweepTable) -> String {
    let mut text = String::new();
    for rows in groups(&sweep.rows, scene) {
        let CellLabel { device, latency_of, base_model, provenance, alpha, .. } =
            &rows[0].row.label;
        let points =
            groups(&rows, |row| row.settings.iter().map(|s| s.to_bits()).collect::<Vec<_>>());
        let heading = |rows: &Vec<&&SweepRow>| {
            let values = rows[0].settings.iter().map(f64::to_string);
            values.collect::<Vec<_>>().join(", ")
        };
        let mut table = terminal_table();
        table.set_header(std::iter::once(sweep.keys.join(", ")).chain(points.iter().map(heading)));
        for of_method in groups(&rows, |row| &row.row.label.method) {
            let cell = |point: &Vec<&&SweepRow>| {
                let row = of_method.iter().find(|row| row.settings == point[0].settings);
                row.map_or_else(String::new, |row| with_interval(&row.row).replacen(" (", "\n(", 1))
            };
            let name = of_method[0].row.label.method.clone();
            table.add_row(std::iter::once(name).chain(points.iter().map(cell)));
        }
        writeln!(
            text,
            "{device}, α = {alpha}: accuracy@SLO %, latencies of {latency_of}, answers of \
             {base_model} ({provenance}; {}, below each its 95 % interval)\n\n{table}\n",
            counts(&rows)
        )
        .expect("a string can always grow");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, PerMeasure, RunMeasures, write_sweep_csv};
    use crate::report::testing::label;

    fn row(method: &str, value: f64, share: f64) -> SweepRow {
        let run = |share| RunMeasures {
            values: PerMeasure::from([(Measure::AccuracyAtSlo, share)]),
            ..RunMeasures::default()
        };
        let row =
            MetricsRow::of(&label(method), &[run(share), run(share + 0.1)], &AskedItems::default());
        SweepRow { settings: vec![value], row }
    }

    #[test]
    fn a_sweep_over_one_key_is_drawn_and_printed_from_its_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [
            row("full", 1.0, 0.5),
            row("oracle", 1.0, 0.8),
            row("full", 50.0, 0.25),
            row("oracle", 50.0, 0.75),
        ];
        let path = folder.path().join("sweep.csv");
        write_sweep_csv(&path, &["trace.arrivals_per_hour"], &rows).unwrap();
        Manifest::default().save(folder.path()).unwrap();
        insta::assert_snapshot!(redraw_sweep(folder.path(), Form::Svg).unwrap(), @r"
        phone, α = 0.25: accuracy@SLO %, latencies of large, answers of small (latency modelled, answers measured; 2 seeds, 0 requests a mean, below each its 95 % interval)

        ─────────────────────────────────────────────────────────
         trace.arrivals_per_hour   1               50            
        ═════════════════════════════════════════════════════════
         full                      55.0            30.0          
                                   (50.0 – 60.0)   (25.0 – 35.0) 
         oracle                    85.0            80.0          
                                   (80.0 – 90.0)   (75.0 – 85.0) 
        ─────────────────────────────────────────────────────────
        ");
        let svg = std::fs::read_to_string(folder.path().join("sweep.svg")).unwrap();
        assert!(svg.contains("trace.arrivals_per_hour") && svg.contains("latency modelled"));
        let first = std::fs::read(folder.path().join("sweep.svg")).unwrap();
        redraw_sweep(folder.path(), Form::Svg).unwrap();
        assert_eq!(std::fs::read(folder.path().join("sweep.svg")).unwrap(), first);
    }

    #[test]
    fn an_axis_shows_its_ends_and_few_values_between_them() {
        let ticks = |values: &[f64]| {
            let ticks = Scale::of(values.iter().copied()).ticks();
            ticks.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(ticks(&[0.2, 0.1, 0.3]), ["0.1", "0.2", "0.3"]);
        assert_eq!(ticks(&[0.5, 5.0, 500.0]), ["0.5", "5", "500"], "logarithmic");
        assert_eq!(ticks(&[3.0]), ["3"]);
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(ticks(&many).last().unwrap(), "99");
        assert!(ticks(&many).len() <= TICKS + 1);
    }
}
