//! What runs are like by the minute: for each device a panel of the machine's speed, of the levels
//! chosen, of attainment and of accuracy@SLO, a line per method.
//!
//! The numbers are those of `over-time.csv`, which the run has written.

use serde::{Deserialize, Serialize};

use super::ACCURACY_AT_SLO;
use super::asked::text_table;
use super::colours::{self, Look};
use super::curves::PANEL_EM;
use super::lines::{Group, Line, Lines, Panel, Point};
use super::sheet::{Press, Sheet};
use crate::error::Result;
use crate::metrics::read_rows;
use crate::report::metrics_table::groups;
use crate::results::OverTimeSpec;

/// A row of `over-time.csv`: what the requests that a method took up in a stretch of time came to,
/// over all seeds. Shares are in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverTimeRow {
    /// Name of the method.
    pub method: String,
    /// Name of the device.
    pub device: String,
    /// Skew of the trace.
    pub alpha: f64,
    /// First minute of the stretch.
    pub minute: u32,
    /// Requests that were taken up in it, or left without an answer.
    pub requests: usize,
    /// The machine's speed when they were taken up, of that of a cool one.
    pub speed_percent: f64,
    /// The level that answered, mean.
    pub level_percent: f64,
    /// Those whose bounds were met.
    pub attainment_percent: f64,
    /// Those that were answered rightly within their bounds.
    pub accuracy_at_slo_percent: f64,
}

/// What a panel shows of a row.
type Shown = (&'static str, fn(&OverTimeRow) -> f64);

const PANELS: [Shown; 4] = [
    ("speed of the machine", |row| row.speed_percent),
    ("level chosen", |row| row.level_percent),
    ("attainment", |row| row.attainment_percent),
    (ACCURACY_AT_SLO, |row| row.accuracy_at_slo_percent),
];

/// Draws `over-time` from the file of that name, and returns its numbers as text: for each device
/// and method the first stretch, and all after it.
///
/// # Errors
/// If the file is missing or bad, or the picture cannot be written.
pub(super) fn draw_over_time(spec: &OverTimeSpec, press: &Press<'_>) -> Result<String> {
    let rows: Vec<OverTimeRow> = read_rows(&press.results.join("over-time.csv"))?;
    let names: Vec<&str> = spec.methods.iter().map(String::as_str).collect();
    let methods: Vec<_> =
        names.iter().copied().zip(colours::of_all(names.iter().copied())).collect();
    let last = rows.iter().map(|row| row.minute).max().unwrap_or(0);
    let lines = Lines {
        x_title: "minutes since the first request".to_owned(),
        y_title: "%",
        x_ticks: ticks(last),
        decades: false,
        bands: true,
        legend: methods.iter().map(|(name, look)| ((*name).to_owned(), *look)).collect(),
        groups: groups(&rows, |row| (&row.device, row.alpha.to_bits()))
            .iter()
            .map(|rows| group(rows, &methods))
            .collect(),
        panel_em: PANEL_EM,
    };
    let sheet = Sheet {
        title: "What a run is like by the minute".to_owned(),
        caption: format!(
            "Each point: requests taken up within {} minutes, all seeds. Speed: of that of a cool \
             device. Level: mean of those that answered. A request that left unanswered missed \
             its bounds.",
            spec.minutes
        ),
        height: lines.height(press.sizes(), press.width()),
    };
    press.print("over-time", &sheet, |area| lines.draw(press.sizes(), area))?;
    Ok(text(&rows, &names))
}

/// At most seven round minutes, up to the `last` or beyond it.
fn ticks(last: u32) -> Vec<(f64, String)> {
    let steps = [1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440];
    let step = steps.into_iter().find(|step| last.div_ceil(*step) <= 6).unwrap_or(last);
    (0..=last.div_ceil(step).max(1))
        .map(|nth| (f64::from(nth * step), (nth * step).to_string()))
        .collect()
}

fn group(rows: &[&OverTimeRow], methods: &[(&str, Look)]) -> Group {
    let line = |(method, look): (&str, Look), value: fn(&OverTimeRow) -> f64| Line {
        look,
        points: rows
            .iter()
            .filter(|row| row.method == method)
            .map(|row| {
                let y = value(row);
                Point { x: f64::from(row.minute), y, lo: y, hi: y }
            })
            .collect(),
    };
    let panel = |&(heading, value): &Shown| Panel {
        heading: heading.to_owned(),
        lines: methods.iter().map(|&method| line(method, value)).collect(),
    };
    Group { heading: rows[0].device.clone(), panels: PANELS.iter().map(panel).collect() }
}

fn text(rows: &[OverTimeRow], methods: &[&str]) -> String {
    let mut table = vec![vec!["by the minute, %".to_owned()]];
    table[0].extend(["from", "speed", "level", "attainment", ACCURACY_AT_SLO].map(str::to_owned));
    for of_device in groups(rows, |row| (&row.device, row.alpha.to_bits())) {
        for &method in methods {
            let of: Vec<_> = of_device.iter().filter(|row| row.method == method).collect();
            let Some((first, later)) = of.split_first() else { continue };
            let from = later.first().map_or(0, |row| row.minute);
            for (stretch, from) in [(std::slice::from_ref(first), first.minute), (later, from)] {
                let requests = stretch.iter().map(|row| row.requests).sum::<usize>().max(1);
                let mean = |value: fn(&OverTimeRow) -> f64| {
                    let sum: f64 = stretch.iter().map(|row| value(row) * row.requests as f64).sum();
                    format!("{:.1}", sum / requests as f64)
                };
                let mut line = vec![format!("{method}, {}", first.device), format!("min {from}")];
                line.extend(PANELS.iter().map(|&(_, value)| mean(value)));
                table.push(line);
            }
        }
    }
    text_table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        let minutes = |last| ticks(last).iter().map(|(at, _)| *at as u32).collect::<Vec<_>>();
        assert_eq!(minutes(0), [0, 1]);
        assert_eq!(minutes(69), [0, 15, 30, 45, 60, 75]);
        assert_eq!(minutes(60), [0, 10, 20, 30, 40, 50, 60]);
        assert_eq!(minutes(100_000).last(), Some(&100_000));
    }

    #[test]
    fn the_first_stretch_stands_beside_the_mean_of_those_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = csv::Writer::from_path(folder.path().join("over-time.csv")).unwrap();
        for (minute, requests, speed) in [(0, 4, 100.0), (5, 1, 60.0), (10, 3, 40.0)] {
            let row = OverTimeRow {
                method: "full".to_owned(),
                device: "phone".to_owned(),
                alpha: 0.0,
                minute,
                requests,
                speed_percent: speed,
                level_percent: 100.0,
                attainment_percent: speed / 2.0,
                accuracy_at_slo_percent: 10.0,
            };
            writer.serialize(row).unwrap();
        }
        writer.flush().unwrap();
        let spec = OverTimeSpec { minutes: 5, methods: vec!["full".to_owned()] };
        let text = draw_over_time(&spec, &press(folder.path(), FigureStyle::default())).unwrap();
        insta::assert_snapshot!(text, @r"
        by the minute, %   from  speed  level  attainment  accuracy@SLO
        full, phone       min 0  100.0  100.0        50.0          10.0
        full, phone       min 5   45.0  100.0        22.5          10.0
        ");
        assert!(folder.path().join("over-time.svg").exists());
    }
}
