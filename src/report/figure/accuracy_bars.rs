//! accuracy@SLO per method, skew and device, with intervals: the study's Figure 14.

use super::ACCURACY_AT_SLO;
use super::axis::signed;
use super::bars::{Band, Bar, Bars, Panel};
use super::colours;
use super::sheet::{Press, Sheet};
use crate::error::Result;
use crate::metrics::{CellLabel, Interval, Measure, MetricsRow, PairedRow};
use crate::report::metrics_table::groups;
use crate::results::Whiskers;

/// Stands beside a value that items do not tell from that of the method all are compared with.
const ALIKE: &str = " ≈";

/// Draws `accuracy-at-slo`: a band per device, a panel per skew α, a bar per method in the order of
/// the rows. Behind a bar stands, pale, the accuracy that the method has when lateness is forgiven.
///
/// # Errors
/// If the file cannot be written.
pub(in crate::report) fn draw_accuracy(
    rows: &[MetricsRow],
    pairs: &[PairedRow],
    press: &Press<'_>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let scenes = scenes(rows);
    let bars = Bars {
        title: format!("{ACCURACY_AT_SLO}, % of arrived requests"),
        logarithmic: false,
        shared: true,
        bands: scenes.iter().map(|scene| scene.band(pairs, press.style.whiskers)).collect(),
    };
    let sheet = Sheet {
        title: match scenes.as_slice() {
            [scene] => format!("{ACCURACY_AT_SLO} by method on {}", scene.rows[0].label.device),
            _ => format!("{ACCURACY_AT_SLO} by method and device"),
        },
        caption: caption(rows, pairs, press.style.whiskers),
        height: bars.height(press.sizes(), press.width()),
    };
    press.print("accuracy-at-slo", &sheet, |area| bars.draw(press.sizes(), area))
}

/// The rows of one device, latency model and base model.
#[derive(Debug)]
struct Scene<'a> {
    rows: Vec<&'a MetricsRow>,
    /// In the order of their first row.
    methods: Vec<&'a str>,
    /// Ascending.
    alphas: Vec<f64>,
}

fn scenes(rows: &[MetricsRow]) -> Vec<Scene<'_>> {
    fn scene(rows: Vec<&MetricsRow>) -> Scene<'_> {
        let mut alphas: Vec<f64> = rows.iter().map(|row| row.label.alpha).collect();
        alphas.sort_by(f64::total_cmp);
        alphas.dedup();
        let mut methods: Vec<&str> = Vec::new();
        for row in &rows {
            if !methods.contains(&row.label.method.as_str()) {
                methods.push(&row.label.method);
            }
        }
        Scene { rows, methods, alphas }
    }
    groups(rows, |row| row.label.scene()).into_iter().map(scene).collect()
}

impl Scene<'_> {
    fn band(&self, pairs: &[PairedRow], whiskers: Whiskers) -> Band {
        let CellLabel { device, latency_of, base_model, .. } = &self.rows[0].label;
        let looks = colours::of_all(self.methods.iter().copied());
        let panel = |&alpha: &f64| {
            let bar = |(method, look): (&&str, &colours::Look)| {
                let of_cell = |row: &&&MetricsRow| {
                    row.label.method == *method && same(row.label.alpha, alpha)
                };
                let row = self.rows.iter().find(of_cell)?;
                Some(bar(row, *look, told_apart(row, pairs), whiskers))
            };
            Panel {
                heading: format!("α = {}", signed(&alpha)),
                bars: self.methods.iter().zip(&looks).map(bar).collect(),
            }
        };
        Band {
            heading: format!("{device}: latencies of {latency_of}, answers of {base_model}"),
            names: self.methods.iter().map(|&method| method.to_owned()).collect(),
            panels: self.alphas.iter().map(panel).collect(),
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    a.total_cmp(&b).is_eq()
}

fn bar(row: &MetricsRow, look: colours::Look, apart: Option<bool>, whiskers: Whiskers) -> Bar {
    let percent = |share: f64| 100.0 * share;
    let alike = if apart == Some(false) { ALIKE } else { "" };
    Bar {
        look,
        length: row[Measure::AccuracyAtSlo].mean.map(percent),
        behind: row[Measure::Accuracy].mean.map(percent),
        whisker: interval(row, whiskers).map(|Interval { lo, hi }| (percent(lo), percent(hi))),
        value: row[Measure::AccuracyAtSlo]
            .mean
            .map_or_else(|| "–".to_owned(), |share| format!("{:.1}{alike}", percent(share))),
    }
}

/// The interval of a row's accuracy@SLO that `whiskers` asks for.
pub(super) fn interval(row: &MetricsRow, whiskers: Whiskers) -> Option<Interval> {
    match whiskers {
        Whiskers::Items => row.over_items,
        Whiskers::Seeds => row[Measure::AccuracyAtSlo].interval(),
    }
}

/// The method that is in all of `pairs`.
fn centre(pairs: &[PairedRow]) -> Option<&str> {
    let first = pairs.first()?;
    let is_first = pairs.iter().all(|pair| pair.label.method == first.label.method);
    Some(if is_first { &first.label.method } else { &first.against })
}

/// Whether items tell the row's method from the one that all are compared with; `None` where that
/// is not known.
fn told_apart(row: &MetricsRow, pairs: &[PairedRow]) -> Option<bool> {
    let centre = centre(pairs)?;
    let of_row = |pair: &&PairedRow| {
        let other = if pair.label.method == centre { &pair.against } else { &pair.label.method };
        *other == row.label.method
            && same(pair.label.alpha, row.label.alpha)
            && pair.label.scene() == row.label.scene()
    };
    let Interval { lo, hi } = pairs.iter().find(of_row)?.over_items?;
    Some(lo > 0.0 || hi < 0.0)
}

/// `least–most` of what `count` says of `rows`.
pub(super) fn range<'a>(
    rows: impl IntoIterator<Item = &'a MetricsRow>,
    count: fn(&MetricsRow) -> usize,
) -> String {
    let counts: Vec<usize> = rows.into_iter().map(count).collect();
    match (counts.iter().min(), counts.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least}–{most}"),
        (least, _) => least.copied().unwrap_or(0).to_string(),
    }
}

/// What whiskers speak of and how many of these there are; nothing where none is drawn.
pub(super) fn whisker_words(rows: &[&MetricsRow], whiskers: Whiskers) -> String {
    let drawn = rows.iter().filter(|row| interval(row, whiskers).is_some()).copied();
    let drawn: Vec<&MetricsRow> = drawn.collect();
    match whiskers {
        _ if drawn.is_empty() => String::new(),
        Whiskers::Items => format!(
            " Whiskers: 95 % interval over items (bootstrap, n = {} items).",
            range(drawn, |row| row.items.unwrap_or(0))
        ),
        Whiskers::Seeds => format!(
            " Whiskers: 95 % interval over seeds (bootstrap, n = {} traces from the same items).",
            range(drawn, |row| row.replications)
        ),
    }
}

fn caption(rows: &[MetricsRow], pairs: &[PairedRow], whiskers: Whiskers) -> String {
    let all: Vec<&MetricsRow> = rows.iter().collect();
    let alike = match centre(pairs) {
        Some(centre) if rows.iter().any(|row| told_apart(row, pairs) == Some(false)) => format!(
            "{ALIKE}: items do not tell it from {centre} (their paired difference's 95 % interval \
             holds 0)."
        ),
        _ => String::new(),
    };
    let provenances = groups(rows, |row| (&row.label.device, &row.label.provenance));
    let provenances = provenances.iter().map(|rows| &rows[0].label);
    let provenances: Vec<String> =
        provenances.map(|label| format!("{}: {}", label.device, label.provenance)).collect();
    let replications = match range(rows, |row| row.replications) {
        one if one == "1" => "one replication".to_owned(),
        many => format!("mean of {many} replications"),
    };
    format!(
        "Bars: share of arrived requests answered rightly with every bound met, {replications} ({} \
         requests a bar).{}{alike} Pale: accuracy with lateness forgiven. α: skew of the trace \
         over SLO levels. {}.",
        range(rows, |row| row.requests),
        whisker_words(&all, whiskers),
        provenances.join("; "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, PerMeasure, RunMeasures};
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    fn row(device: &str, method: &str, alpha: f64, at_slo: f64) -> MetricsRow {
        let label = CellLabel {
            method: method.to_owned(),
            alpha,
            device: device.to_owned(),
            latency_of: "llama-7b".to_owned(),
            base_model: "smollm2-135m".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        };
        let run = |noise: f64| RunMeasures {
            requests: 600,
            values: PerMeasure::from([
                (Measure::Accuracy, at_slo + 0.1),
                (Measure::AccuracyAtSlo, at_slo + noise),
            ]),
            ..RunMeasures::default()
        };
        MetricsRow::of(&label, &[run(-0.02), run(0.02)], &AskedItems::default())
    }

    fn rows() -> Vec<MetricsRow> {
        let mut rows = Vec::new();
        for device in ["redmi-k60", "mi-14"] {
            for alpha in [0.0, -0.25, 0.25] {
                for (method, at_slo) in [("elastilm", 0.55), ("full", 0.21), ("lpruner", 0.36)] {
                    rows.push(row(device, method, alpha, at_slo));
                }
            }
        }
        rows
    }

    fn pair(against: &str, lo: f64, hi: f64) -> PairedRow {
        let label = row("mi-14", "elastilm", 0.0, 0.5).label;
        let over_items = Some(Interval { lo, hi });
        PairedRow { label, against: against.to_owned(), over_items, ..PairedRow::default() }
    }

    fn drawn(rows: &[MetricsRow], pairs: &[PairedRow], style: FigureStyle) -> String {
        let folder = tempfile::tempdir().unwrap();
        draw_accuracy(rows, pairs, &press(folder.path(), style)).unwrap();
        std::fs::read_to_string(folder.path().join("accuracy-at-slo.svg")).unwrap()
    }

    #[test]
    fn a_device_is_a_band_with_a_panel_per_skew_in_ascending_order() {
        let rows = rows();
        let scenes = scenes(&rows);
        assert_eq!((scenes.len(), scenes[0].rows.len()), (2, 9));
        assert_eq!(scenes[0].alphas, [-0.25, 0.0, 0.25]);
        assert_eq!(scenes[0].methods, ["elastilm", "full", "lpruner"]);
    }

    #[test]
    fn a_figure_says_what_it_shows_of_what_and_where_it_comes_from() {
        let svg = drawn(&rows(), &[], FigureStyle::default());
        for words in
            ["α = −0.25", "lpruner", "55.0", "what it shows", "latency modelled", "accuracy@SLO, %"]
        {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("Whiskers"), "no interval is known, none is claimed");
    }

    /// A lead of 4 to 10 points over items is one, −11 to +4 is none.
    #[test]
    fn what_items_do_not_tell_from_the_first_method_is_marked() {
        let rows = rows();
        let pairs = [pair("full", 0.04, 0.10), pair("lpruner", -0.11, 0.04)];
        let marks = |row: &MetricsRow| told_apart(row, &pairs);
        let of = |method: &str| {
            rows.iter()
                .find(|row| row.label.device == "mi-14" && row.label.method == method)
                .unwrap()
        };
        assert_eq!(
            [of("elastilm"), of("full"), of("lpruner")].map(marks),
            [None, Some(true), Some(false)]
        );
        let turned = pairs.clone().map(|mut pair| {
            std::mem::swap(&mut pair.label.method, &mut pair.against);
            pair
        });
        assert!(rows.iter().all(|row| told_apart(row, &turned) == marks(row)), "the others' rows");
        let svg = drawn(&rows, &pairs, FigureStyle::default());
        assert!(svg.contains(">36.0 ≈<") && svg.contains(">21.0<") && !svg.contains(">21.0 ≈<"));
    }

    /// Whiskers are over items unless seeds are asked for, and n says which.
    #[test]
    fn whiskers_speak_of_items_or_of_seeds_as_asked() {
        let mut rows = rows();
        rows[0].items = Some(53);
        rows[0].over_items = Some(Interval { lo: 0.4, hi: 0.7 });
        let items = drawn(&rows, &[], FigureStyle::default());
        assert!(items.contains("over items (bootstrap, n = 53 items)"));
        let whiskers = Whiskers::Seeds;
        let seeds = drawn(&rows, &[], FigureStyle { whiskers, ..FigureStyle::default() });
        assert!(seeds.contains("over seeds (bootstrap, n = 2 traces"));
    }

    /// 30 methods at the width of a column, in the smallest font: nothing is set below 6 pt.
    #[test]
    fn in_a_column_no_text_is_below_six_points() {
        let rows: Vec<MetricsRow> =
            (0..30).map(|nth| row("mi-14", &format!("method-{nth}"), 0.0, 0.3)).collect();
        let style = FigureStyle { width_mm: 84.0, font_pt: 6.0, ..FigureStyle::default() };
        let svg = drawn(&rows, &[], style);
        let sizes = svg.split("font-size=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let sizes: Vec<u32> = sizes.map(|size| size.parse().unwrap()).collect();
        assert!(sizes.len() > 60 && sizes.iter().all(|&size| size >= 60), "{sizes:?}");
        assert!(svg.contains("width=\"84.0mm\""));
    }

    #[test]
    fn without_title_a_figure_describes_itself_in_its_file_only() {
        let style = FigureStyle { title: false, ..FigureStyle::default() };
        let svg = drawn(&rows(), &[], style);
        assert!(!svg.contains(">accuracy@SLO by method and device</text>"));
        assert!(svg.contains("<title>accuracy@SLO by method and device</title>"));
        assert!(svg.contains("<desc>what it shows Bars: share"));
    }
}
