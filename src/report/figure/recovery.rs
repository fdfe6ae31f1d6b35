//! What recovery gives back, told apart from what tuning gives any model: gains of the tuned
//! sub-models over the untuned ones, and gaps to a full model treated as they were.

use std::fmt::Write as _;
use std::path::Path;

use super::asked::text_table;
use super::colours;
use super::curves::{common_items, mean_line, point};
use super::lines::{Group, Line, Lines, Panel, Point};
use super::sheet::{Press, Sheet};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::metrics::Discordance;
use crate::profile::QualityTable;
use crate::units::Level;

/// What the lines are called, in the colours of the sub-models.
const UNTUNED: &str = "reordered";
const TUNED: &str = "reordered + LoRA";

/// The three tables that are compared, by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    /// Sub-models as they were cut.
    pub untuned: &'a str,
    /// The same, tuned.
    pub tuned: &'a str,
    /// The full model, tuned as they were.
    pub control: &'a str,
}

/// One level, in points of accuracy; means over datasets of means over items.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    level: Level,
    items: usize,
    /// Of which the means are.
    datasets: Vec<String>,
    gain: Point,
    gain_p: Option<f64>,
    untuned_gap: Point,
    tuned_gap: Point,
    /// Tuned − untuned gap: below 0 where tuning helps the sub-model more than the full model.
    gap_change: Point,
}

/// Draws `recovery` from the tables in `folder`, full prompts, writes `recovery.csv`, and returns
/// the numbers as text.
///
/// # Errors
/// If a table is missing or broken, the tables share no item, or a file cannot be written.
pub(super) fn draw_recovery(
    folder: &Path,
    tables: Tables<'_>,
    press: &Press<'_>,
) -> Result<String> {
    let names = [tables.untuned, tables.tuned, tables.control];
    let mut loaded = Vec::with_capacity(names.len());
    for name in names {
        let Some(table) = QualityTable::load_if_there(folder, name)? else {
            return Ok(format!(
                "absent: answers of {name} are not there, their figure is not drawn\n"
            ));
        };
        loaded.push(table);
    }
    let loaded: [QualityTable; 3] = loaded.try_into().expect("one for each name");
    let rows = compare(&loaded);
    if rows.is_empty() {
        return Err(Error::file(folder, "tables without a level and item in common")
            .found(format!("{}, {}, {}", tables.untuned, tables.tuned, tables.control)));
    }
    write_whole(&press.folder.join("recovery.csv"), csv(&rows).as_bytes())?;
    draw(&rows, press)?;
    Ok(text(&rows))
}

/// By rising level below the full model.
fn compare(tables: &[QualityTable; 3]) -> Vec<Row> {
    let levels = tables[0].levels().iter().filter(|&&level| level != Level::FULL);
    levels.filter_map(|&level| row(tables, level)).collect()
}

fn row(tables: &[QualityTable; 3], level: Level) -> Option<Row> {
    let [untuned, tuned, control] = tables;
    let (own, base) = (untuned.level_index(level)?, untuned.level_index(Level::FULL)?);
    let (other, control_base) = (tuned.level_index(level)?, control.level_index(Level::FULL)?);
    let mut lines: [Vec<Vec<Point>>; 4] = Default::default();
    let (mut items, mut datasets) = (0, Vec::new());
    let mut discordance = Discordance::default();
    for dataset in untuned.datasets() {
        let answers: Vec<[f64; 4]> = common_items(&[untuned, tuned, control], dataset)
            .into_iter()
            .filter_map(|item| {
                let right = |table: &QualityTable, level| {
                    let row = table.row(dataset, item)?;
                    table.grade(row, level, table.whole_prompt()).map(f64::from)
                };
                Some([
                    right(untuned, own)?,
                    right(untuned, base)?,
                    right(tuned, other)?,
                    right(control, control_base)?,
                ])
            })
            .collect();
        items += answers.len();
        let side = |place: usize| answers.iter().map(|row| Some(row[place])).collect::<Vec<_>>();
        discordance = discordance.and(Discordance::between(&side(2), &side(0)));
        let quantities: [fn([f64; 4]) -> f64; 4] = [
            |[cut, _, tuned, _]| tuned - cut,
            |[cut, full, _, _]| full - cut,
            |[_, _, tuned, control]| control - tuned,
            |[cut, full, tuned, control]| (control - tuned) - (full - cut),
        ];
        for (line, quantity) in lines.iter_mut().zip(quantities) {
            let values: Vec<f64> = answers.iter().map(|&row| quantity(row)).collect();
            line.extend(point(level.as_percent(), &values).map(|point| vec![point]));
        }
        datasets.extend((!answers.is_empty()).then(|| dataset.to_owned()));
    }
    let mut means = lines.iter().map(|lines| mean_line(lines).first().copied());
    Some(Row {
        level,
        items,
        datasets,
        gain: means.next()??,
        gain_p: discordance.mcnemar_p(),
        untuned_gap: means.next()??,
        tuned_gap: means.next()??,
        gap_change: means.next()??,
    })
}

fn csv(rows: &[Row]) -> String {
    let mut text = "level_percent,items,gain,gain_lo,gain_hi,gain_mcnemar_p,untuned_gap,\
                    untuned_gap_lo,untuned_gap_hi,tuned_gap,tuned_gap_lo,tuned_gap_hi,gap_change,\
                    gap_change_lo,gap_change_hi\n"
        .to_owned();
    for row in rows {
        let cells = |point: &Point| format!("{:.2},{:.2},{:.2}", point.y, point.lo, point.hi);
        let p = row.gain_p.map_or(String::new(), |p| format!("{p:.6}"));
        writeln!(
            text,
            "{},{},{},{p},{},{},{}",
            row.level.as_percent(),
            row.items,
            cells(&row.gain),
            cells(&row.untuned_gap),
            cells(&row.tuned_gap),
            cells(&row.gap_change)
        )
        .expect("a string can always grow");
    }
    text
}

fn text(rows: &[Row]) -> String {
    let names = ["recovery, points", "items", "gain", "gap untuned", "gap tuned", "change of gap"];
    let mut table = vec![names.map(str::to_owned).to_vec()];
    for row in rows {
        let cell = |point: &Point| format!("{:+.1} ({:+.1} – {:+.1})", point.y, point.lo, point.hi);
        table.push(vec![
            format!("level {}", row.level),
            row.items.to_string(),
            cell(&row.gain),
            cell(&row.untuned_gap),
            cell(&row.tuned_gap),
            cell(&row.gap_change),
        ]);
    }
    text_table(&table)
}

fn draw(rows: &[Row], press: &Press<'_>) -> Result<()> {
    let line = |name: &str, of: fn(&Row) -> Point| Line {
        look: colours::of_method(name),
        points: rows.iter().map(of).collect(),
    };
    let panel = |heading: &str, lines| Panel { heading: heading.to_owned(), lines };
    let lines = Lines {
        x_title: "level, %".to_owned(),
        y_title: "points of accuracy",
        x_ticks: (2..10).map(|tens| (f64::from(10 * tens), (10 * tens).to_string())).collect(),
        decades: false,
        bands: false,
        legend: [UNTUNED, TUNED].map(|name| (name.to_owned(), colours::of_method(name))).into(),
        groups: vec![Group {
            heading: String::new(),
            panels: vec![
                panel("gain over the untuned sub-model", vec![line(TUNED, |row| row.gain)]),
                panel(
                    "gap to the full model, equally treated",
                    vec![line(UNTUNED, |row| row.untuned_gap), line(TUNED, |row| row.tuned_gap)],
                ),
            ],
        }],
        panel_em: 20.0,
    };
    let items = rows.iter().map(|row| row.items).max().unwrap_or(0);
    let sheet = Sheet {
        title: "What recovery gives back, on full prompts".to_owned(),
        caption: format!(
            "Paired by item, n = {items}; the mean over datasets that all three tables have: {}. \
             Whiskers: 95 % interval over items (bootstrap; from the datasets' variances). The \
             tuned full model is the control: tuned on the same text for as many steps. Measured.",
            rows[0].datasets.join(", ")
        ),
        height: lines.height(press.sizes(), press.width()),
    };
    press.print("recovery", &sheet, |area| lines.draw(press.sizes(), area))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::{press, write_table};
    use crate::results::FigureStyle;

    /// One dataset, four items at 50 %: untuned right on 1, tuned on 1, 2 and 3; the full model on
    /// all four, the control on 1, 2 and 3. Gain 50 points, gaps 75 and 0, change −75; two answers
    /// at 50 % differ, both for the better: p = 2 · 1/4.
    #[test]
    fn gains_and_gaps_are_paired_by_item() {
        let folder = tempfile::tempdir().unwrap();
        let write = |table: &str, rows: &[(u16, [u8; 4])]| {
            let mut text = String::new();
            for (level, rights) in rows {
                for (item, right) in rights.iter().enumerate() {
                    writeln!(text, "sciq,{item},{level},100,{right}").unwrap();
                }
            }
            write_table(folder.path(), table, &text);
        };
        write("cut", &[(50, [1, 0, 0, 0]), (100, [1, 1, 1, 1])]);
        write("tuned", &[(50, [1, 1, 1, 0]), (100, [1, 1, 1, 1])]);
        write("control", &[(100, [1, 1, 1, 0])]);
        let tables = Tables { untuned: "cut", tuned: "tuned", control: "control" };
        let press = press(folder.path(), FigureStyle::default());
        let text = draw_recovery(folder.path(), tables, &press).unwrap();
        assert!(text.contains("level 50 %"), "{text}");
        let csv = std::fs::read_to_string(folder.path().join("recovery.csv")).unwrap();
        let row: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
        assert_eq!(row[..3], ["50", "4", "50.00"]);
        assert_eq!([row[5], row[6], row[9], row[12]], ["0.500000", "75.00", "0.00", "-75.00"]);
        assert_eq!(csv.lines().count(), 2);
        assert!(folder.path().join("recovery.svg").exists());
    }

    #[test]
    fn tables_without_common_items_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_table(folder.path(), "a", "sciq,1,50,100,1\n");
        write_table(folder.path(), "b", "piqa,1,50,100,1\n");
        let tables = Tables { untuned: "a", tuned: "b", control: "b" };
        let press = press(folder.path(), FigureStyle::default());
        let error = draw_recovery(folder.path(), tables, &press).unwrap_err();
        assert!(error.to_string().contains("in common"), "{error}");
    }
}
