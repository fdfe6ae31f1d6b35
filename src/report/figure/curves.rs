//! Accuracy over levels or prompt ratios, a panel per dataset and one for their mean, a line per
//! quality table.
//!
//! Lines are compared on the items that all tables at hand have, dataset by dataset. The mean is
//! over the datasets that all of them have.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::asked::text_table;
use super::colours;
use super::lines::{Group, Line, Lines, Panel, Point};
use super::sheet::{Press, Sheet};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::item::ItemId;
use crate::metrics::bootstrap_mean_95;
use crate::profile::{QualityTable, RowId};
use crate::results::SeriesSpec;
use crate::units::{Level, Ratio};

/// Least width of a panel, in sizes of a label.
pub(super) const PANEL_EM: f64 = 14.0;

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
    /// By series after the first that is there: its name and, by panel, the first's accuracy less
    /// its own, paired by item.
    differences: Vec<(String, Vec<Vec<Point>>)>,
    /// Names of the panels and how many items each rests on; that of the mean is last, if there is
    /// one.
    panels: Vec<(String, usize)>,
    /// The datasets that all series have: those of the mean.
    shared: Vec<String>,
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
        let of_all: Vec<usize> = (0..panels.len())
            .filter(|&at| points.iter().all(|lines| !lines[at].is_empty()))
            .collect();
        if !of_all.is_empty() {
            for lines in points.iter_mut().chain(&mut paired) {
                let shared: Vec<_> = of_all.iter().map(|&at| lines[at].clone()).collect();
                lines.push(mean_line(&shared));
            }
            let items = of_all.iter().map(|&at| panels[at].1).sum();
            let datasets = if of_all.len() == 1 { "dataset" } else { "datasets" };
            panels.push((format!("mean of {} {datasets}", of_all.len()), items));
        }
        let shared = of_all.iter().map(|&at| panels[at].0.clone()).collect();
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
        Ok(Self { over, series, differences, panels, shared, provenance })
    }

    /// Draws `NAME`, writes `NAME.csv` and `NAME-paired.csv`, and returns the last panel as text.
    pub fn draw(&self, name: &str, press: &Press<'_>) -> Result<String> {
        let out = press.folder;
        write_whole(&out.join(format!("{name}.csv")), self.csv().as_bytes())?;
        write_whole(&out.join(format!("{name}-paired.csv")), self.paired_csv().as_bytes())?;
        let looks = colours::of_all(self.series.iter().map(|(name, _)| name.as_str()));
        let legend = self.series.iter().zip(&looks).map(|((name, points), look)| {
            let label = if points.is_some() { name.clone() } else { format!("{name}: absent") };
            (label, *look)
        });
        let tens = |tens: std::ops::RangeInclusive<u32>| {
            tens.map(|tens| (f64::from(10 * tens), (10 * tens).to_string())).collect()
        };
        let (x_title, x_ticks) = match self.over {
            Over::Levels => ("level, %", tens(2..=10)),
            Over::Ratios { .. } => ("prompt ratio asked for, %", tens(1..=10)),
        };
        let lines = Lines {
            x_title: x_title.to_owned(),
            y_title: "accuracy, %",
            x_ticks,
            decades: false,
            bands: false,
            legend: legend.collect(),
            groups: vec![Group {
                heading: String::new(),
                panels: (0..self.panels.len()).map(|at| self.panel(at, &looks)).collect(),
            }],
            panel_em: PANEL_EM,
        };
        let sheet = Sheet {
            title: self.title(),
            caption: self.caption(),
            height: lines.height(press.sizes(), press.width()),
        };
        press.print(name, &sheet, |area| lines.draw(press.sizes(), area))?;
        Ok(self.text())
    }

    fn panel(&self, at: usize, looks: &[colours::Look]) -> Panel {
        let (name, items) = &self.panels[at];
        Panel {
            heading: format!("{name} (n = {items})"),
            lines: (self.series.iter().zip(looks))
                .filter_map(|((_, points), look)| {
                    Some(Line { look: *look, points: points.as_ref()?[at].clone() })
                })
                .collect(),
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
        let mean = match self.shared.as_slice() {
            [] => " No dataset is shared by all lines, so there is no mean.".to_owned(),
            shared => format!(
                " The mean is over the datasets that all lines have: {}; its whiskers are from \
                 their variances.",
                shared.join(", ")
            ),
        };
        format!(
            "Share of items answered rightly, on the items that all lines of a panel have (n). \
             Whiskers: 95 % interval over items (bootstrap).{mean}{absent} Measured, {}.",
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

    /// The last panel: a row per series.
    fn text(&self) -> String {
        let last = self.panels.len() - 1;
        let xs: BTreeSet<u16> = self
            .series
            .iter()
            .flat_map(|(_, points)| points.iter().flat_map(|points| &points[last]))
            .map(|point| point.x as u16)
            .collect();
        let mut rows = vec![vec![format!("{}, {}", self.title(), self.panels[last].0)]];
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
pub(super) fn common_items(tables: &[&QualityTable], dataset: &str) -> BTreeSet<ItemId> {
    let items = |table: &&QualityTable| -> BTreeSet<ItemId> {
        table.items(dataset).map(|(item, _)| item).collect()
    };
    let sets = tables.iter().map(items).filter(|items| !items.is_empty());
    sets.reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default()
}

/// The points of one table on one dataset, where anything was measured.
fn line(table: &QualityTable, dataset: &str, items: &BTreeSet<ItemId>, over: Over) -> Vec<Point> {
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
    items: &BTreeSet<ItemId>,
    over: Over,
) -> Vec<Point> {
    let others = cells(other, over);
    let point = |cell: Cell| {
        let against = others.iter().find(|other| other.x.total_cmp(&cell.x).is_eq())?;
        let difference = |&item: &ItemId| {
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
    x: f64,
    level: usize,
    ratio: usize,
}

fn cells(table: &QualityTable, over: Over) -> Vec<Cell> {
    let full = table.whole_prompt();
    match over {
        Over::Levels => {
            let levels = table.levels().iter().enumerate();
            let cell = |(place, level): (usize, &Level)| Cell {
                x: level.as_percent().into(),
                level: place,
                ratio: full,
            };
            levels.map(cell).collect()
        }
        Over::Ratios { level } => {
            let Some(level) = table.level_index(Level::percent(level)) else { return Vec::new() };
            let ratios = table.ratios().iter().enumerate();
            let cell =
                |(ratio, share): (usize, &Ratio)| Cell { x: 100.0 * share.as_f64(), level, ratio };
            ratios.map(cell).collect()
        }
    }
}

/// The mean of `values` in percent with its interval; `None` without any.
pub(crate) fn point(x: impl Into<f64>, values: &[f64]) -> Option<Point> {
    let y = crate::metrics::mean(values)?;
    let (lo, hi) = bootstrap_mean_95(values).map_or((y, y), |interval| (interval.lo, interval.hi));
    Some(Point { x: x.into(), y: 100.0 * y, lo: 100.0 * lo, hi: 100.0 * hi })
}

/// The mean over `lines` where all of them have a point; intervals from their variances.
pub(crate) fn mean_line(lines: &[Vec<Point>]) -> Vec<Point> {
    let Some(first) = lines.first() else { return Vec::new() };
    let count = lines.len() as f64;
    let mean = |x: f64| {
        let of =
            |line: &Vec<Point>| line.iter().find(|point| point.x.total_cmp(&x).is_eq()).copied();
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
    use crate::report::figure::testing::{press, write_table as write};
    use crate::results::FigureStyle;

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
        assert_eq!(curves.panels, [("sciq".into(), 2), ("mean of 1 dataset".into(), 2)]);
        let text =
            curves.draw("sub-models", &press(folder.path(), FigureStyle::default())).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r"
        Accuracy of sub-models on full prompts, mean of 1 dataset    50 %  100 %
        a                                                            50.0  100.0
        b                                                             0.0      –
        c                                                          absent
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
             a,b,sciq,2,50,50.00,0.00,100.00\na,b,mean of 1 dataset,2,50,50.00,0.00,100.00\n"
        );
    }

    /// a has sciq and piqa, b sciq alone, on which both are right; on piqa a is wrong. A mean over
    /// each line's own datasets would put b ahead by 50 points.
    #[test]
    fn a_mean_is_over_the_datasets_that_all_lines_have() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "piqa,1,100,100,0\nsciq,1,100,100,1\n");
        write(folder.path(), "b", "sciq,1,100,100,1\n");
        let curves = Curves::read(folder.path(), &series(&["a", "b"]), Over::Levels).unwrap();
        assert_eq!(curves.shared, ["sciq"]);
        assert!(curves.caption().contains("that all lines have: sciq;"), "{}", curves.caption());
        let means = curves.series.iter().map(|(_, panels)| panels.as_ref().unwrap()[2][0].y);
        assert_eq!(means.collect::<Vec<_>>(), [100.0, 100.0]);
    }

    #[test]
    fn without_a_common_dataset_there_is_no_mean() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "piqa,1,100,100,0\n");
        write(folder.path(), "b", "sciq,1,100,100,1\n");
        let curves = Curves::read(folder.path(), &series(&["a", "b"]), Over::Levels).unwrap();
        assert_eq!(curves.panels, [("piqa".to_owned(), 1), ("sciq".to_owned(), 1)]);
        assert!(curves.caption().contains("there is no mean"));
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
