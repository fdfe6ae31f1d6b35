//! The last screen of a run: what matters of any results folder, in [`LINES`] lines of [`COLUMNS`]
//! columns.
//!
//! One table of accuracy@SLO: methods against devices where there are several, else against skews,
//! else against measures. What does not fit is counted, and the command that shows it is named.

use std::cmp::Ordering;
use std::path::Path;

use super::metrics_table::{groups, head, shown};
use crate::metrics::{CellLabel, Interval, Measure, MetricsRow, PairedRow, Unit};
use crate::results::ResultsFolder;

/// Most lines of a screen, four of which are left for what a command says after the summary.
pub const LINES: usize = 24;
/// Most columns.
pub const COLUMNS: usize = 100;

/// Rows of the table.
const METHODS: usize = 11;
/// Columns that a name takes at most.
const NAME: usize = 26;
/// Notes that are shown.
const NOTES: usize = 1;
/// The method that knows the answers, and no opponent.
const ORACLE: &str = "oracle";

/// The summary of `folder`, without a line break at its end. Empty without rows.
#[must_use]
pub fn summary(folder: &ResultsFolder) -> String {
    let Some(first) = folder.rows.first() else { return String::new() };
    let view = View::of(folder);
    let mut lines = vec![headline(folder), view.caption(first), String::new()];
    lines.extend(view.table());
    lines.push(String::new());
    let all = folder.rows.len();
    let seen = view.seen();
    let rest = if seen < all {
        format!("{seen} of {all} rows; all measures of all rows: ")
    } else {
        "all measures with their intervals: ".to_owned()
    };
    lines.push(format!("{rest}pliant report {}", folder.path.display()));
    let notes = &folder.manifest.notes;
    lines.extend(notes.iter().take(NOTES).map(|note| format!("note: {note}")));
    if notes.len() > NOTES {
        lines.push(format!("{} more notes in manifest.toml", notes.len() - NOTES));
    }
    let lines: Vec<String> = lines.iter().map(|line| cut(line, COLUMNS)).collect();
    lines.join("\n")
}

/// The start of `text` that fits a screen, for a folder without rows; the rest is counted.
#[must_use]
pub fn screen(text: &str, folder: &Path) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let fits = if all.len() > LINES - 4 { LINES - 5 } else { all.len() };
    let mut lines: Vec<String> = all[..fits].iter().map(|line| cut(line, COLUMNS)).collect();
    if fits < all.len() {
        let more = all.len() - fits;
        lines.push(cut(&format!("{more} more lines: pliant report {}", folder.display()), COLUMNS));
    }
    lines.join("\n")
}

/// `paper-e2e (cost-model): 9 methods, 4 devices, 2 skews; 20 seeds, 12000 requests a row`.
fn headline(folder: &ResultsFolder) -> String {
    let rows = &folder.rows;
    let count = |what: &str, count: usize| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let methods = count("method", groups(rows, |row| &row.label.method).len());
    let devices = count("device", groups(rows, |row| row.label.scene()).len());
    let skews = count("skew", groups(rows, |row| row.label.alpha.to_bits()).len());
    let manifest = &folder.manifest;
    let sample = match rows[0].traces {
        Some(1) if rows[0].replications > 1 => " of one trace",
        _ => "",
    };
    let seeds = count("seed", rows[0].replications);
    format!(
        "{} ({}): {methods}, {devices}, {skews}; {seeds}{sample}, {} requests a row",
        manifest.experiment, manifest.executor, rows[0].requests
    )
}

/// What the table's columns are.
enum Across<'a> {
    /// A device, latency model and base model each, at one skew.
    Scenes(Vec<[&'a str; 3]>, f64),
    /// A skew each, on one device.
    Skews(Vec<f64>),
    /// A measure each, in the only cell of a method.
    Measures(Vec<Measure>),
}

struct View<'a> {
    rows: &'a [MetricsRow],
    pairs: &'a [PairedRow],
    across: Across<'a>,
    methods: Vec<&'a str>,
}

impl<'a> View<'a> {
    fn of(folder: &'a ResultsFolder) -> Self {
        let rows = &folder.rows;
        let scenes: Vec<_> = groups(rows, |row| row.label.scene())
            .iter()
            .map(|group| group[0].label.scene())
            .collect();
        let skews: Vec<f64> = groups(rows, |row| row.label.alpha.to_bits())
            .iter()
            .map(|g| g[0].label.alpha)
            .collect();
        let across = if scenes.len() > 1 {
            let nearest = |a: &f64, b: &f64| a.abs().total_cmp(&b.abs());
            let alpha = skews.iter().copied().min_by(nearest).unwrap_or_default();
            Across::Scenes(scenes, alpha)
        } else if skews.len() > 1 {
            Across::Skews(skews)
        } else {
            let measures = [
                Measure::AccuracyAtSlo,
                Measure::Accuracy,
                Measure::Attainment,
                Measure::TtftP50,
                Measure::TtftP95,
                Measure::TpotP50,
                Measure::Energy,
            ];
            let is_known = |measure: &Measure| rows.iter().any(|row| row[*measure].mean.is_some());
            Across::Measures(measures.into_iter().filter(is_known).collect())
        };
        let mut view = Self { rows, pairs: &folder.pairs, across, methods: Vec::new() };
        view.across.keep(view.columns_that_fit());
        view.methods = view.chosen_methods();
        view
    }

    /// The first method, which others are compared with, and the best of the others, in the order
    /// of the rows.
    fn chosen_methods(&self) -> Vec<&'a str> {
        let methods: Vec<&str> = groups(self.rows, |row| &row.label.method)
            .iter()
            .map(|group| group[0].label.method.as_str())
            .collect();
        let best = |method: &str| {
            let own = (0..self.across.len()).filter_map(|at| self.row(method, at));
            own.filter_map(|row| row[Measure::AccuracyAtSlo].mean).fold(-1.0, f64::max)
        };
        let mut others: Vec<&str> = methods[1..].to_vec();
        others.sort_by(|a, b| best(b).partial_cmp(&best(a)).unwrap_or(Ordering::Equal));
        others.truncate(METHODS - 1);
        methods[..1]
            .iter()
            .chain(methods[1..].iter().filter(|method| others.contains(method)))
            .copied()
            .collect()
    }

    /// The row that column `at` shows of `method`.
    fn row(&self, method: &str, at: usize) -> Option<&'a MetricsRow> {
        let is_shown = |label: &CellLabel| label.method == method && self.across.is_at(label, at);
        self.rows.iter().find(|row| is_shown(&row.label))
    }

    fn seen(&self) -> usize {
        let cells = match self.across {
            Across::Measures(_) => 1,
            _ => self.across.len(),
        };
        let shown = |method: &&str| (0..cells).filter(|&at| self.row(method, at).is_some()).count();
        self.methods.iter().map(shown).sum()
    }

    fn caption(&self, first: &MetricsRow) -> String {
        let interval = if first.over_items.is_some() {
            ", in brackets its 95 % interval over items"
        } else {
            ", in brackets its 95 % interval over seeds"
        };
        match &self.across {
            Across::Scenes(_, alpha) => format!("accuracy@SLO in % at α {alpha}{interval}"),
            Across::Skews(_) => {
                format!("accuracy@SLO in % on {} by α{interval}", first.label.device)
            }
            Across::Measures(_) => {
                let CellLabel { device, alpha, .. } = &first.label;
                format!("on {device} at α {alpha}; accuracy@SLO{interval}")
            }
        }
    }

    fn cell(&self, method: &str, at: usize) -> String {
        let Some(row) = self.row(method, at) else { return String::new() };
        match &self.across {
            Across::Measures(measures) if measures[at] != Measure::AccuracyAtSlo => {
                shown(measures[at].unit(), row[measures[at]].alone(), "", "")
            }
            _ => at_slo(row),
        }
    }

    /// What the first method gains over the best other one of column `at`, over items where known.
    fn gain(&self, at: usize) -> String {
        if matches!(self.across, Across::Measures(_)) && at > 0 {
            return String::new();
        }
        let of_column = self.pairs.iter().filter(|pair| {
            pair.label.method == self.methods[0]
                && pair.against != ORACLE
                && self.across.is_at(&pair.label, at)
        });
        let gain = |pair: &&PairedRow| pair.gain.mean.unwrap_or(f64::INFINITY);
        let Some(pair) = of_column.min_by(|a, b| gain(a).total_cmp(&gain(b))) else {
            return String::new();
        };
        let interval = pair.over_items.or(pair.gain.interval());
        let interval = interval.map_or(String::new(), |Interval { lo, hi }| {
            format!(" ({:+.1}–{:+.1})", 100.0 * lo, 100.0 * hi)
        });
        pair.gain.mean.map_or(String::new(), |gain| format!("{:+.1}{interval}", 100.0 * gain))
    }

    /// What [`gain`](Self::gain) is over: the best other, or the one that all are compared against.
    fn gain_over(&self) -> String {
        let mut pairs = self.pairs.iter();
        let of_other = pairs.find(|pair| pair.label.method != self.methods[0]);
        of_other.map_or("gain over best other".into(), |pair| format!("gain over {}", pair.against))
    }

    /// Head, methods, and the gain over the best other.
    fn table(&self) -> Vec<String> {
        let columns = 0..self.across.len();
        let mut table: Vec<Vec<String>> = vec![self.across.heads()];
        table[0].insert(0, "method".to_owned());
        for method in &self.methods {
            let cells = columns.clone().map(|at| self.cell(method, at));
            table.push(std::iter::once((*method).to_owned()).chain(cells).collect());
        }
        let gains: Vec<String> = columns.map(|at| self.gain(at)).collect();
        if gains.iter().any(|gain| !gain.is_empty()) {
            table.push(std::iter::once(self.gain_over()).chain(gains).collect());
        }
        aligned(&table)
    }

    /// How many columns fit beside the names.
    fn columns_that_fit(&self) -> usize {
        match &self.across {
            Across::Measures(measures) => measures.len(),
            _ => (COLUMNS - NAME) / (CELL + 2),
        }
    }
}

/// Columns of `57.1 (54.0–60.1)`, with room for a sign.
const CELL: usize = 19;

impl Across<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Scenes(scenes, _) => scenes.len(),
            Self::Skews(skews) => skews.len(),
            Self::Measures(measures) => measures.len(),
        }
    }

    fn keep(&mut self, columns: usize) {
        match self {
            Self::Scenes(scenes, _) => scenes.truncate(columns),
            Self::Skews(skews) => skews.truncate(columns),
            Self::Measures(measures) => measures.truncate(columns),
        }
    }

    fn heads(&self) -> Vec<String> {
        match self {
            Self::Scenes(scenes, _) => scenes.iter().map(|scene| cut(scene[0], CELL)).collect(),
            Self::Skews(skews) => skews.iter().map(|skew| format!("α {skew}")).collect(),
            Self::Measures(measures) => measures.iter().map(|&measure| head(measure)).collect(),
        }
    }

    fn is_at(&self, label: &CellLabel, at: usize) -> bool {
        match self {
            Self::Scenes(scenes, alpha) => {
                label.scene() == scenes[at] && label.alpha.total_cmp(alpha).is_eq()
            }
            Self::Skews(skews) => label.alpha.total_cmp(&skews[at]).is_eq(),
            Self::Measures(_) => true,
        }
    }
}

/// `57.1 (54.0–60.1)`, over items where that is known.
fn at_slo(row: &MetricsRow) -> String {
    let estimate = row[Measure::AccuracyAtSlo];
    let mean = shown(Unit::Share, estimate.alone(), "", "");
    match row.over_items.or(estimate.interval()) {
        Some(Interval { lo, hi }) => format!("{mean} ({:.1}–{:.1})", 100.0 * lo, 100.0 * hi),
        None => mean,
    }
}

/// Lines of a table, its first column to the left and the others to the right.
fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let columns = table[0].len();
    let width = |at: usize| {
        let widest = table.iter().map(|row| columns_of(&row[at])).max().unwrap_or(0);
        if at == 0 { widest.min(NAME) } else { widest }
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let name = cut(&row[0], widths[0]);
        let mut line = name.clone() + &" ".repeat(widths[0] - columns_of(&name));
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &" ".repeat(2 + width - columns_of(cell));
            line += cell;
        }
        line.trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

/// Columns of a terminal that a text takes at most: some letters beyond Latin take two.
fn columns_of(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(character: char) -> usize {
    if character >= '\u{1100}' && !('\u{2000}'..'\u{2600}').contains(&character) { 2 } else { 1 }
}

/// The start of `text` that fits `most` columns, on one line.
fn cut(text: &str, most: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if columns_of(&text) <= most {
        return text;
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += width(*character);
        used <= most
    };
    text.chars().take_while(fits).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, PerMeasure, RunMeasures};
    use crate::results::Manifest;

    /// A folder of `methods` × `devices` × `skews`, the methods ever better.
    fn folder(methods: &[&str], devices: &[&str], skews: &[f64]) -> ResultsFolder {
        let (mut rows, mut pairs) = (Vec::new(), Vec::new());
        let asked = AskedItems::default();
        for device in devices {
            for &alpha in skews {
                let runs = |nth: usize| {
                    [0.0, 0.01].map(|more| RunMeasures {
                        classes: Vec::new(),
                        requests: 600,
                        answers: Vec::new(),
                        values: PerMeasure::from([
                            (Measure::AccuracyAtSlo, 0.5 + 0.004 * nth as f64 + more),
                            (Measure::TtftP95, 1234.5),
                        ]),
                    })
                };
                let label = |method: &str| CellLabel {
                    method: method.to_owned(),
                    alpha,
                    device: (*device).to_owned(),
                    latency_of: "large".to_owned(),
                    base_model: "small".to_owned(),
                    provenance: "latency modelled, answers measured".to_owned(),
                };
                for (nth, method) in methods.iter().enumerate() {
                    rows.push(MetricsRow::of(&label(method), &runs(nth), &asked));
                    if nth > 0 {
                        let first = label(methods[0]);
                        pairs.push(PairedRow::of(&first, &runs(0), method, &runs(nth), &asked));
                    }
                }
            }
        }
        let manifest = Manifest {
            experiment: "mine".to_owned(),
            executor: "cost-model".to_owned(),
            notes: vec!["a note that is long ".repeat(20), "another".to_owned()],
            ..Manifest::default()
        };
        ResultsFolder { path: "results/mine".into(), manifest, rows, pairs, failures: Vec::new() }
    }

    #[test]
    fn devices_skews_or_measures_are_the_columns() {
        let methods = ["elastic-profile", "full", "oracle"];
        let several = summary(&folder(&methods, &["redmi-k60", "mi-14"], &[0.25, 0.0]));
        let skews = summary(&folder(&methods, &["redmi-k60"], &[0.0, 0.25]));
        let one = summary(&folder(&methods, &["redmi-k60"], &[0.0]));
        insta::assert_snapshot!([several, skews, one].join("\n\n---\n"));
        assert_eq!(summary(&folder(&[], &[], &[])), "");
    }

    #[test]
    fn tables_of_a_folder_without_rows_are_cut_to_a_screen() {
        let folder = Path::new("results/mine");
        assert_eq!(screen("a\nb\n\n", folder), "a\nb");
        let long = format!("{}\n", "x".repeat(200)).repeat(40);
        let text = screen(&long, folder);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), columns_of(lines[0])), (LINES - 4, COLUMNS));
        assert_eq!(lines[LINES - 5], "21 more lines: pliant report results/mine");
    }

    #[test]
    fn any_run_fits_the_screen_and_what_is_left_out_is_counted() {
        let names: Vec<String> = (0..40)
            .map(|n| format!("方法{n}-with-a-name-that-is-far-too-long-for-a-table"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (devices, skews) in [(7, 2), (1, 9), (1, 1)] {
            let devices: Vec<&str> = names[..devices].to_vec();
            let skews: Vec<f64> = (0..skews).map(|n| f64::from(n) / 64.0).collect();
            let text = summary(&folder(&names, &devices, &skews));
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() <= LINES - 4, "{} lines:\n{text}", lines.len());
            for line in &lines {
                assert!(columns_of(line) <= COLUMNS, "{} columns: {line}", columns_of(line));
            }
            let all = 40 * devices.len() * skews.len();
            assert!(
                text.contains(&format!(" of {all} rows; all measures of all rows: ")),
                "{text}"
            );
            assert!(lines.iter().any(|line| line.contains("方法39")), "the best is shown:\n{text}");
        }
    }
}
