//! What a replay costs as work grows: more requests, more methods, more plans to choose from.
//!
//! The numbers are those of `bench.csv`, which `make bench` has written.

use std::path::Path;

use serde::Deserialize;

use super::colours;
use super::lines::{Group, Line, Lines, Panel, Point};
use super::sheet::{Form, Press, Sheet};
use crate::error::{Error, Result};
use crate::metrics::read_rows;
use crate::report::metrics_table::groups;
use crate::results::FigureStyle;

/// What a row of `bench.csv` says of growth; others say nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct GrowthRow {
    /// What grows, after [`PREFIX`].
    case: String,
    /// How much of it there is.
    work: Option<u64>,
    /// Requests of all methods.
    requests: u64,
    seconds: f64,
}

/// What cases of growth begin with.
const PREFIX: &str = "growth: ";

/// Draws `growth` from `bench.csv` of `folder` into it.
///
/// # Errors
/// If the file is missing or bad or has no row of growth, or the picture cannot be written.
pub fn draw_growth(folder: &Path) -> Result<()> {
    let path = folder.join("bench.csv");
    let rows: Vec<GrowthRow> = read_rows(&path)?;
    let rows: Vec<GrowthRow> = rows.into_iter().filter(|row| row.work.is_some()).collect();
    if rows.is_empty() {
        return Err(Error::file(&path, "no row says what a replay costs as work grows"));
    }
    let (form, style) = (Form::Svg, FigureStyle::default());
    draw(&rows, &Press { results: folder, folder, form, style, about: String::new() })
}

fn draw(rows: &[GrowthRow], press: &Press<'_>) -> Result<()> {
    let grown = groups(rows, |row| &row.case);
    let names: Vec<&str> =
        grown.iter().map(|rows| rows[0].case.trim_start_matches(PREFIX)).collect();
    let looks = colours::of_all(names.iter().copied());
    let most = rows.iter().filter_map(|row| row.work).max().unwrap_or(1);
    let lines = Lines {
        x_title: "how many".to_owned(),
        y_title: "ns a request and method",
        x_ticks: decades(most),
        decades: true,
        bands: true,
        legend: names.iter().map(|&name| name.to_owned()).zip(looks.iter().copied()).collect(),
        groups: vec![Group {
            heading: String::new(),
            panels: vec![Panel {
                heading: String::new(),
                lines: grown
                    .iter()
                    .zip(&looks)
                    .map(|(rows, &look)| Line { look, points: points(rows) })
                    .collect(),
            }],
        }],
        panel_em: 30.0,
    };
    let sheet = Sheet {
        title: "What a replay costs as work grows".to_owned(),
        caption: "Processor time, one thread. Requests: elastilm, the ledger filled anew, so that \
                  few requests pay for its lines. Methods: ten million requests each, one after \
                  the other. Plans: elastic-profile with so many to choose from. A flat line is \
                  a cost in proportion."
            .to_owned(),
        height: lines.height(press.sizes(), press.width()),
    };
    press.print("growth", &sheet, |area| lines.draw(press.sizes(), area))
}

/// Powers of ten up to `most`, or beyond it.
fn decades(most: u64) -> Vec<(f64, String)> {
    let last = (most.max(2) - 1).ilog10() + 1;
    let superscript = |digit: u32| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize).expect("a digit");
    (0..=last)
        .map(|power| match power {
            0 => (0.0, "1".to_owned()),
            1 => (1.0, "10".to_owned()),
            _ => (f64::from(power), format!("10{}", superscript(power))),
        })
        .collect()
}

fn points(rows: &[&GrowthRow]) -> Vec<Point> {
    let point = |row: &&GrowthRow| {
        let y = 1e9 * row.seconds / row.requests as f64;
        Some(Point { x: (row.work? as f64).log10(), y, lo: y, hi: y })
    };
    rows.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_growth_are_drawn_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "case,work,requests,seconds,goal\n\
                    \"replay: full, counters\",,1000,0.1,≥ 50 % of the limit\n\
                    growth: methods,1,1000,0.001,\n\
                    growth: methods,32,32000,0.032,\n";
        std::fs::write(folder.path().join("bench.csv"), text).unwrap();
        draw_growth(folder.path()).unwrap();
        let drawn = std::fs::read_to_string(folder.path().join("growth.svg")).unwrap();
        assert!(drawn.contains("methods") && !drawn.contains("counters"), "{drawn}");
    }

    #[test]
    fn without_a_row_of_growth_there_is_nothing_to_draw() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bench.csv"), "case,work,requests,seconds\n").unwrap();
        let error = draw_growth(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("no row says what a replay costs as work grows"), "{error}");
    }

    #[test]
    fn an_axis_of_decades_holds_all_there_is() {
        let last = |most| decades(most).last().unwrap().1.clone();
        assert_eq!([1, 10, 90, 1_000_000_000].map(last), ["10", "10", "10²", "10⁹"]);
    }
}
