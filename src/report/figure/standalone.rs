//! accuracy@SLO over objectives, each item asked alone: a panel per dataset with a line per method,
//! or, where those would tangle, a panel per dataset and opponent of the first method.
//!
//! The numbers are those of `standalone.csv`, which the run has written.

use std::fmt::Write as _;

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
use crate::results::StandaloneSpec;
use crate::units::Ratio;

/// From so many lines on, each opponent of the first method has panels of its own.
const TANGLED: usize = 6;

/// Short names for objectives, and what they mean: what all have in common is not repeated.
pub(crate) fn slo_names(slos: &[(Ratio, Ratio)]) -> (String, Vec<String>) {
    let tpot = slos[0].1;
    let one = || slos.iter().map(|(ttft, _)| ttft.as_percent().to_string()).collect();
    if slos.iter().all(|slo| slo.1 == tpot) {
        (format!("ζ of TTFT, %, with {tpot} of TPOT"), one())
    } else if slos.iter().all(|(ttft, tpot)| ttft == tpot) {
        ("ζ of TTFT and of TPOT, %".to_owned(), one())
    } else {
        let both =
            |(ttft, tpot): &(Ratio, Ratio)| format!("{}/{}", ttft.as_percent(), tpot.as_percent());
        ("ζ of TTFT / ζ of TPOT, %".to_owned(), slos.iter().map(both).collect())
    }
}

/// A row of `standalone.csv`: what a method reaches on a dataset, or on the mean of all, under an
/// objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandaloneRow {
    /// Name of the method.
    pub method: String,
    /// The dataset, or what the mean is called.
    pub panel: String,
    /// How many items of it were asked.
    pub items: usize,
    /// Short name of the objective.
    pub slo: String,
    /// Share of items answered rightly within both bounds.
    pub accuracy_at_slo: f64,
    /// Lower end of its 95 % interval over items.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// Share of items answered within both bounds.
    pub attainment: f64,
}

/// Draws `standalone` from the file of that name, and returns its numbers as text.
///
/// # Errors
/// If the file is missing or bad, or the picture cannot be written.
pub(super) fn draw_standalone(spec: &StandaloneSpec, press: &Press<'_>) -> Result<String> {
    let rows: Vec<StandaloneRow> = read_rows(&press.results.join("standalone.csv"))?;
    let (x_title, _) = slo_names(&spec.slos);
    let numbers = Numbers::of(&rows);
    let lines = Lines {
        x_title,
        y_title: "accuracy@SLO, %",
        x_ticks: numbers
            .slos
            .iter()
            .enumerate()
            .map(|(at, slo)| (at as f64, (*slo).to_owned()))
            .collect(),
        decades: false,
        bands: false,
        legend: numbers.methods.iter().map(|(name, look)| ((*name).to_owned(), *look)).collect(),
        groups: numbers.groups(),
        panel_em: if numbers.methods.len() >= TANGLED { 5.8 } else { PANEL_EM },
    };
    let device = spec.device.file_name().unwrap_or_default().to_string_lossy();
    let sheet = Sheet {
        title: format!("{ACCURACY_AT_SLO} by objective, each item asked alone, on {device}"),
        caption: format!(
            "Share of items answered rightly within both bounds; {} output tokens. Nothing waits, \
             no switch is billed. From the most relaxed objective to the tightest. Whiskers: 95 % \
             interval over items (n; bootstrap; the mean's from the datasets' variances). Every \
             method answers the same items. Latencies of {}, answers of {}.",
            spec.output_tokens, spec.latency_of, spec.base_model,
        ),
        height: lines.height(press.sizes(), press.width()),
    };
    press.print("standalone", &sheet, |area| lines.draw(press.sizes(), area))?;
    Ok(numbers.text(&lines.x_title))
}

/// The rows in the order of the figure.
struct Numbers<'a> {
    rows: &'a [StandaloneRow],
    methods: Vec<(&'a str, Look)>,
    /// Datasets with their items; the mean of all is last.
    panels: Vec<(&'a str, usize)>,
    /// From the most relaxed to the tightest.
    slos: Vec<&'a str>,
}

impl<'a> Numbers<'a> {
    fn of(rows: &'a [StandaloneRow]) -> Self {
        let firsts = |rows: Vec<Vec<&'a StandaloneRow>>| {
            rows.into_iter().map(|rows| rows[0]).collect::<Vec<_>>()
        };
        let methods: Vec<&str> =
            firsts(groups(rows, |row| &row.method)).iter().map(|row| row.method.as_str()).collect();
        let panels = firsts(groups(rows, |row| &row.panel));
        let mut slos: Vec<&str> =
            firsts(groups(rows, |row| &row.slo)).iter().map(|row| row.slo.as_str()).collect();
        let percents = |slo: &str| -> Vec<u32> {
            slo.split('/').map(|percent| percent.parse().unwrap_or(0)).collect()
        };
        slos.sort_by_key(|slo| std::cmp::Reverse(percents(slo)));
        Self {
            rows,
            methods: methods
                .iter()
                .copied()
                .zip(colours::of_all(methods.iter().copied()))
                .collect(),
            panels: panels.iter().map(|row| (row.panel.as_str(), row.items)).collect(),
            slos,
        }
    }

    fn row(&self, method: &str, panel: &str, slo: &str) -> Option<&StandaloneRow> {
        self.rows.iter().find(|row| {
            (row.method.as_str(), row.panel.as_str(), row.slo.as_str()) == (method, panel, slo)
        })
    }

    fn line(&self, (method, look): (&str, Look), panel: &str) -> Line {
        let point = |(at, slo): (usize, &&str)| {
            let row = self.row(method, panel, slo)?;
            let [y, lo, hi] = [row.accuracy_at_slo, row.lo, row.hi].map(|share| 100.0 * share);
            Some(Point { x: at as f64, y, lo, hi })
        };
        Line { look, points: self.slos.iter().enumerate().filter_map(point).collect() }
    }

    fn groups(&self) -> Vec<Group> {
        let heading = |(panel, items): &(&str, usize)| format!("{panel} (n = {items})");
        if self.methods.len() < TANGLED {
            let panel = |of: &(&str, usize)| Panel {
                heading: heading(of),
                lines: self.methods.iter().map(|&method| self.line(method, of.0)).collect(),
            };
            return vec![Group {
                heading: String::new(),
                panels: self.panels.iter().map(panel).collect(),
            }];
        }
        let group = |of: &(&str, usize)| {
            let panel = |&other: &(&str, Look)| Panel {
                heading: other.0.to_owned(),
                lines: [other, self.methods[0]].map(|method| self.line(method, of.0)).to_vec(),
            };
            Group { heading: heading(of), panels: self.methods[1..].iter().map(panel).collect() }
        };
        self.panels.iter().map(group).collect()
    }

    /// The mean, a row per method, and in how many cells the first is ahead.
    fn text(&self, slo_title: &str) -> String {
        let Some(((mean, _), datasets)) = self.panels.split_last() else { return String::new() };
        let mut rows = vec![vec![format!("{ACCURACY_AT_SLO}, %; {slo_title}")]];
        rows[0].extend(self.slos.iter().map(|&slo| slo.to_owned()));
        let share = |method: &str, panel: &str, slo: &str| {
            self.row(method, panel, slo).map(|row| row.accuracy_at_slo)
        };
        for (method, _) in &self.methods {
            let cell = |slo: &&str| {
                let share = share(method, mean, slo);
                share.map_or_else(|| "–".to_owned(), |share| format!("{:.1}", 100.0 * share))
            };
            rows.push(
                std::iter::once((*method).to_owned()).chain(self.slos.iter().map(cell)).collect(),
            );
        }
        let mut text = text_table(&rows);
        let (first, _) = self.methods[0];
        for (other, _) in &self.methods[1..] {
            let cells = datasets
                .iter()
                .flat_map(|(panel, _)| self.slos.iter().map(move |slo| (panel, slo)));
            let gains: Vec<f64> = cells
                .filter_map(|(panel, slo)| {
                    Some(share(first, panel, slo)? - share(other, panel, slo)?)
                })
                .collect();
            let ahead = gains.iter().filter(|&&gain| gain > 0.0).count();
            let behind = gains.iter().filter(|&&gain| gain < 0.0).count();
            writeln!(
                text,
                "{first} is ahead of {other} in {ahead} of {} cells (dataset × SLO), behind in \
                 {behind}",
                gains.len()
            )
            .expect("a string can always grow");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_objectives_share_is_said_once() {
        let names = |slos: &[(u16, u16)]| {
            let percent = Ratio::percent;
            let slos: Vec<_> = slos.iter().map(|&(a, b)| (percent(a), percent(b))).collect();
            let (title, names) = slo_names(&slos);
            format!("{title}: {}", names.join(" "))
        };
        assert_eq!(names(&[(20, 80), (30, 80)]), "ζ of TTFT, %, with 80 % of TPOT: 20 30");
        assert_eq!(names(&[(20, 20), (30, 30)]), "ζ of TTFT and of TPOT, %: 20 30");
        assert_eq!(names(&[(20, 50), (30, 80)]), "ζ of TTFT / ζ of TPOT, %: 20/50 30/80");
    }

    fn row(method: &str, panel: &str, slo: &str, share: f64) -> StandaloneRow {
        StandaloneRow {
            method: method.to_owned(),
            panel: panel.to_owned(),
            items: 30,
            slo: slo.to_owned(),
            accuracy_at_slo: share,
            lo: share,
            hi: share,
            attainment: share,
        }
    }

    #[test]
    fn cells_in_which_the_first_method_is_ahead_are_counted() {
        let rows = [("a", [0.4, 0.6, 0.5]), ("b", [0.2, 0.7, 0.45])].map(|(method, shares)| {
            ["piqa", "sciq", "mean"]
                .into_iter()
                .zip(shares)
                .map(move |(panel, share)| row(method, panel, "50/80", share))
        });
        let rows: Vec<StandaloneRow> = rows.into_iter().flatten().collect();
        insta::assert_snapshot!(Numbers::of(&rows).text("ζ").trim_end(), @r"
        accuracy@SLO, %; ζ  50/80
        a                    50.0
        b                    45.0
        a is ahead of b in 1 of 2 cells (dataset × SLO), behind in 1
        ");
    }

    #[test]
    fn objectives_go_from_relaxed_to_tight_whatever_the_order_of_the_rows() {
        let rows = ["20/50", "20/60", "100/100", "80/90"].map(|slo| row("a", "mean", slo, 0.5));
        assert_eq!(Numbers::of(&rows).slos, ["100/100", "80/90", "20/60", "20/50"]);
    }

    #[test]
    fn where_lines_would_tangle_each_opponent_has_panels_of_its_own() {
        let rows = |count: usize| -> Vec<StandaloneRow> {
            (0..count).map(|nth| row(&format!("m{nth}"), "mean", "50", 0.5)).collect()
        };
        let (few, many) = (rows(5), rows(6));
        let panels = |rows: &[StandaloneRow]| -> Vec<usize> {
            Numbers::of(rows).groups()[0].panels.iter().map(|panel| panel.lines.len()).collect()
        };
        assert_eq!(panels(&few), [5]);
        assert_eq!(panels(&many), [2; 5]);
    }
}
