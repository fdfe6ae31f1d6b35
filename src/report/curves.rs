//! Accuracy over levels or prompt ratios, a panel per dataset and one for their mean, a line per
//! quality table.
//!
//! Lines are compared on the items that all tables at hand have, dataset by dataset.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::canvas::Sheet;
use super::colours;
use super::extra_figures::text_table;
use super::line_panels::{self, Axes, Line, Panel, Point};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::metrics::bootstrap_mean_95;
use crate::profile::{QualityTable, RowId};
use crate::results::SeriesSpec;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

const WIDTH_PX: u32 = 1120;
const PANEL_PX: u32 = 300;
const PANELS_PER_ROW: usize = 3;
/// Name of the mean's panel.
const MEAN: &str = "mean of datasets";

/// What the x axis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Levels, on full prompts.
    Levels,
    /// Prompt ratios, at one level in percent.
    Ratios { level: u16 },
}

/// A figure's numbers.
#[derive(Debug)]
pub(super) struct Curves {
    over: Over,
    /// By series: its name and, by panel, its points; `None` if its table is not there.
    series: Vec<(String, Option<Vec<Vec<Point>>>)>,
    /// By series after the first that is there: its name and, by panel, the first's accuracy less its
    /// own, paired by item.
    differences: Vec<(String, Vec<Vec<Point>>)>,
    /// Names of the panels and how many items each rests on.
    panels: Vec<(String, usize)>,
    provenance: String,
}

impl Curves {
    /// Reads what is there of the tables of `series` in `folder`.
    ///
    /// # Errors
    /// If a table that is there is broken.
    pub fn read(folder: &Path, series: &[SeriesSpec], over: Over) -> Result<Self> {
        let mut tables = Vec::new();
        for entry in series {
            let table = QualityTable::load_if_there(folder, &entry.table)?;
            tables.push((entry.name.clone(), table));
        }
        let known: Vec<&QualityTable> = tables.iter().filter_map(|(_, t)| t.as_ref()).collect();
        if known.is_empty() {
            let wanted = series.iter().map(|entry| entry.table.as_str());
            return Err(Error::file(folder, "none of the figure's answers is there")
                .allowed(wanted.collect::<Vec<_>>().join(", ")));
        }
        let datasets: BTreeSet<&str> = known.iter().flat_map(|table| table.datasets()).collect();
        let mut panels: Vec<(String, usize)> = Vec::new();
        let mut points: Vec<Vec<Vec<Point>>> = vec![Vec::new(); known.len()];
        let mut paired: Vec<Vec<Vec<Point>>> = vec![Vec::new(); known.len() - 1];
        for dataset in datasets {
            let items = common_items(&known, dataset);
            for (table, points) in known.iter().zip(&mut points) {
                points.push(line(table, dataset, &items, over));
            }
            for (other, points) in known[1..].iter().zip(&mut paired) {
                points.push(difference_line(known[0], other, dataset, &items, over));
            }
            panels.push((dataset.to_owned(), items.len()));
        }
        for points in points.iter_mut().chain(&mut paired) {
            points.push(mean_line(points));
        }
        panels.push((MEAN.to_owned(), panels.iter().map(|(_, items)| items).sum()));
        let provenance = known.iter().find_map(|table| table.manifest()).map_or_else(
            || "of unknown origin".to_owned(),
            |manifest| format!("{}, {}", manifest.base_model, manifest.model_source),
        );
        let names =
            tables.iter().filter(|(_, table)| table.is_some()).map(|(name, _)| name.clone());
        let differences = names.skip(1).zip(paired).collect();
        let mut points = points.into_iter();
        let series = tables
            .into_iter()
            .map(|(name, table)| (name, table.and_then(|_| points.next())))
            .collect();
        Ok(Self { over, series, differences, panels, provenance })
    }

    /// Writes `FOLDER/NAME.svg`, `.png`, `.csv` and `NAME-paired.csv`, and returns the mean panel as
    /// text.
    pub fn draw(&self, name: &str, out: &Path) -> Result<String> {
        write_whole(&out.join(format!("{name}.csv")), self.csv().as_bytes())?;
        write_whole(&out.join(format!("{name}-paired.csv")), self.paired_csv().as_bytes())?;
        let panels: Vec<Panel> = (0..self.panels.len()).map(|at| self.panel(at)).collect();
        let names: Vec<_> = self
            .series
            .iter()
            .map(|(name, points)| {
                let label = if points.is_some() { name.clone() } else { format!("{name}: absent") };
                (label, colours::of_method(name))
            })
            .collect();
        let rows = panels.len().div_ceil(PANELS_PER_ROW) as u32;
        let legend_px = line_panels::legend_px(&names, WIDTH_PX as i32 - 48);
        let sheet = Sheet {
            title: self.title(),
            caption: self.caption(),
            width_px: WIDTH_PX,
            height_px: legend_px + rows * PANEL_PX,
        };
        let axes = Axes {
            x_title: match self.over {
                Over::Levels => "level, %".to_owned(),
                Over::Ratios { .. } => "prompt ratio asked for, %".to_owned(),
            },
            y_title: "accuracy, %",
            x_ticks: match self.over {
                Over::Levels => line_panels::tens(2..=10),
                Over::Ratios { .. } => line_panels::tens(1..=10),
            },
            x_room: 0.0,
            panels_per_row: PANELS_PER_ROW,
        };
        sheet.write(out, name, |area| line_panels::draw(area, &names, &panels, &axes))?;
        Ok(self.text())
    }

    fn panel(&self, at: usize) -> Panel {
        let (name, items) = &self.panels[at];
        let line = |(name, points): &(String, Option<Vec<Vec<Point>>>)| {
            let points = points.as_ref()?[at].clone();
            Some(Line { colour: colours::of_method(name), points })
        };
        Panel {
            heading: format!("{name} (n = {items})"),
            lines: self.series.iter().filter_map(line).collect(),
        }
    }

    fn title(&self) -> String {
        match self.over {
            Over::Levels => "Accuracy of sub-models on full prompts".to_owned(),
            Over::Ratios { level } => format!("Accuracy over prompt ratios at level {level} %"),
        }
    }

    fn caption(&self) -> String {
        let absent: Vec<&str> =
            self.series.iter().filter(|(_, p)| p.is_none()).map(|(name, _)| &**name).collect();
        let absent = if absent.is_empty() {
            String::new()
        } else {
            format!(" Absent, not measured yet: {}.", absent.join(", "))
        };
        format!(
            "Share of items answered rightly, on the items that all lines have (n). Whiskers: 95 % \
             interval over items (bootstrap; the mean's from the datasets' variances).{absent} \
             Provenance: measured, {}.",
            self.provenance
        )
    }

    fn csv(&self) -> String {
        let mut text = "series,panel,items,x_percent,accuracy,lo,hi\n".to_owned();
        for (name, points) in &self.series {
            for ((panel, items), points) in self.panels.iter().zip(points.iter().flatten()) {
                for Point { x, y, lo, hi } in points {
                    let [y, lo, hi] = [y, lo, hi].map(|percent| percent / 100.0);
                    writeln!(text, "{name},{panel},{items},{x},{y:.4},{lo:.4},{hi:.4}")
                        .expect("a string can always grow");
                }
            }
        }
        text
    }

    /// Points of accuracy, the first series less each other.
    fn paired_csv(&self) -> String {
        let mut text = "series,against,panel,items,x_percent,difference,lo,hi\n".to_owned();
        let first = self.series.iter().find(|(_, points)| points.is_some());
        let first = first.map_or("", |(name, _)| name);
        for (against, panels) in &self.differences {
            for ((panel, items), points) in self.panels.iter().zip(panels) {
                for Point { x, y, lo, hi } in points {
                    writeln!(text, "{first},{against},{panel},{items},{x},{y:.2},{lo:.2},{hi:.2}")
                        .expect("a string can always grow");
                }
            }
        }
        text
    }

    /// The mean panel: a row per series.
    fn text(&self) -> String {
        let last = self.panels.len() - 1;
        let xs: BTreeSet<u16> = self
            .series
            .iter()
            .flat_map(|(_, points)| points.iter().flat_map(|points| &points[last]))
            .map(|point| point.x as u16)
            .collect();
        let mut rows = vec![vec![self.title()]];
        rows[0].extend(xs.iter().map(|x| format!("{x} %")));
        for (name, points) in &self.series {
            let mut row = vec![name.clone()];
            match points {
                None => row.push("absent".to_owned()),
                Some(points) => row.extend(xs.iter().map(|&x| {
                    let point = points[last].iter().find(|point| point.x as u16 == x);
                    point.map_or_else(|| "–".to_owned(), |point| format!("{:.1}", point.y))
                })),
            }
            rows.push(row);
        }
        text_table(&rows)
    }
}

/// The items of `dataset` that every table which has the dataset at all has.
pub(super) fn common_items(tables: &[&QualityTable], dataset: &str) -> BTreeSet<u32> {
    let items = |table: &&QualityTable| -> BTreeSet<u32> {
        table.items(dataset).map(|(item, _)| item).collect()
    };
    let sets = tables.iter().map(items).filter(|items| !items.is_empty());
    sets.reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default()
}

/// The points of one table on one dataset, where anything was measured.
fn line(table: &QualityTable, dataset: &str, items: &BTreeSet<u32>, over: Over) -> Vec<Point> {
    let rows: Vec<RowId> = items.iter().filter_map(|&item| table.row(dataset, item)).collect();
    let point = |Cell { x, level, ratio }: Cell| {
        let grades = rows.iter().filter_map(|&row| table.grade(row, level, ratio));
        point(x, &grades.map(f64::from).collect::<Vec<_>>())
    };
    cells(table, over).into_iter().filter_map(point).collect()
}

/// The points of `table` less `other` on one dataset, item by item, where both were measured.
fn difference_line(
    table: &QualityTable,
    other: &QualityTable,
    dataset: &str,
    items: &BTreeSet<u32>,
    over: Over,
) -> Vec<Point> {
    let others = cells(other, over);
    let point = |cell: Cell| {
        let against = others.iter().find(|other| other.x == cell.x)?;
        let difference = |&item: &u32| {
            let grade = |table: &QualityTable, cell: &Cell| {
                table.grade(table.row(dataset, item)?, cell.level, cell.ratio).map(f64::from)
            };
            Some(grade(table, &cell)? - grade(other, against)?)
        };
        point(cell.x, &items.iter().filter_map(difference).collect::<Vec<_>>())
    };
    cells(table, over).into_iter().filter_map(point).collect()
}

/// A place on the x axis, in percent, and what of a table stands there.
#[derive(Debug, Clone, Copy)]
struct Cell {
    x: u16,
    level: usize,
    ratio: usize,
}

fn cells(table: &QualityTable, over: Over) -> Vec<Cell> {
    let full = PROMPT_RATIOS.len() - 1;
    match over {
        Over::Levels => {
            let levels = table.levels().iter().enumerate();
            let cell = |(place, level): (usize, &Level)| Cell {
                x: level.as_percent(),
                level: place,
                ratio: full,
            };
            levels.map(cell).collect()
        }
        Over::Ratios { level } => {
            let Some(level) = table.level_index(Level::percent(level)) else { return Vec::new() };
            let ratios = PROMPT_RATIOS.iter().enumerate();
            let cell =
                |(ratio, share): (usize, &Ratio)| Cell { x: share.as_percent(), level, ratio };
            ratios.map(cell).collect()
        }
    }
}

/// The mean of `values` in percent with its interval; `None` without any.
pub(super) fn point(x: u16, values: &[f64]) -> Option<Point> {
    let y = crate::metrics::mean(values)?;
    let (lo, hi) = bootstrap_mean_95(values).map_or((y, y), |interval| (interval.lo, interval.hi));
    Some(Point { x: f64::from(x), y: 100.0 * y, lo: 100.0 * lo, hi: 100.0 * hi })
}

/// The mean over `lines` where all of them have a point; intervals from their variances.
pub(super) fn mean_line(lines: &[Vec<Point>]) -> Vec<Point> {
    let lines: Vec<_> = lines.iter().filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.first() else { return Vec::new() };
    let count = lines.len() as f64;
    let mean = |x: f64| {
        let of =
            |line: &&Vec<Point>| line.iter().find(|point| point.x.total_cmp(&x).is_eq()).copied();
        let points: Option<Vec<Point>> = lines.iter().map(of).collect();
        let points = points?;
        let y = points.iter().map(|point| point.y).sum::<f64>() / count;
        let half = |point: &Point| (point.hi - point.lo) / 2.0;
        let spread = points.iter().map(|point| half(point).powi(2)).sum::<f64>().sqrt() / count;
        Some(Point { x, y, lo: y - spread, hi: y + spread })
    };
    first.iter().filter_map(|point| mean(point.x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, table: &str, rows: &str) {
        let path = folder.join("structured.csv");
        let mut text = std::fs::read_to_string(&path)
            .unwrap_or("family,dataset,item,level,ratio,grade\n".into());
        text.extend(rows.lines().map(|row| format!("{table},{row}\n")));
        std::fs::write(path, text).unwrap();
    }

    fn series(names: &[&str]) -> Vec<SeriesSpec> {
        let spec = |name: &&str| SeriesSpec { name: (*name).into(), table: (*name).into() };
        names.iter().map(spec).collect()
    }

    /// Table a has items 1 to 4, b items 1 and 2 only: of a, the two count, of which one is right
    /// at 50 % and both at 100 %. c is not there.
    #[test]
    fn lines_are_compared_on_common_items_and_absent_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let row = |item, level, right| format!("sciq,{item},{level},100,{right}\n");
        let mut a = String::new();
        for (item, half, full) in [(1, 1, 1), (2, 0, 1), (3, 0, 0), (4, 0, 0)] {
            a += &row(item, 50, half);
            a += &row(item, 100, full);
        }
        write(folder.path(), "a", &a);
        write(folder.path(), "b", &(row(1, 50, 0) + &row(2, 50, 0)));
        let curves = Curves::read(folder.path(), &series(&["a", "b", "c"]), Over::Levels).unwrap();
        assert_eq!(curves.panels, [("sciq".into(), 2), (MEAN.into(), 2)]);
        let text = curves.draw("sub-models", folder.path()).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r"
        Accuracy of sub-models on full prompts    50 %  100 %
        a                                         50.0  100.0
        b                                          0.0      –
        c                                       absent
        ");
        let svg = std::fs::read_to_string(folder.path().join("sub-models.svg")).unwrap();
        assert!(svg.contains("c: absent") && svg.contains("not measured yet: c"));
        let csv = std::fs::read_to_string(folder.path().join("sub-models.csv")).unwrap();
        assert!(csv.contains("a,sciq,2,100,1.0000,1.0000,1.0000\n"), "{csv}");
        // At 50 %: item 1 is right in a alone, item 2 in neither. At 100 % b has nothing.
        let paired = std::fs::read_to_string(folder.path().join("sub-models-paired.csv")).unwrap();
        assert_eq!(
            paired,
            "series,against,panel,items,x_percent,difference,lo,hi\n\
             a,b,sciq,2,50,50.00,0.00,100.00\na,b,mean of datasets,2,50,50.00,0.00,100.00\n"
        );
    }

    #[test]
    fn ratios_are_read_at_the_level_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            "a",
            "sciq,1,50,50,0\nsciq,1,50,100,0\nsciq,1,100,50,1\nsciq,1,100,100,1\n",
        );
        let over = Over::Ratios { level: 100 };
        let curves = Curves::read(folder.path(), &series(&["a"]), over).unwrap();
        let points = &curves.series[0].1.as_ref().unwrap()[0];
        let read: Vec<_> = points.iter().map(|point| (point.x, point.y)).collect();
        assert_eq!(read, [(50.0, 100.0), (100.0, 100.0)]);
    }

    #[test]
    fn without_any_table_the_ones_wanted_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Curves::read(folder.path(), &series(&["a", "b"]), Over::Levels).unwrap_err();
        assert!(error.to_string().ends_with("allowed: a, b"), "{error}");
    }
}
