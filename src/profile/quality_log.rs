//! Writing a quality table while it is measured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::quality::{Cell, HEADER, parse_key};
use super::row_log::RowLog;
use crate::error::{Error, Result};
use crate::units::{Level, PROMPT_RATIOS};

/// Appends complete rows to a quality table and its twins, and knows which are there.
///
/// The table and two of its twins grow in lock-step, one row each per call; a kill between two of
/// them, or inside a row, costs that row: [`open`](Self::open) cuts all three back to their common
/// rows. `.top5.csv` has rows of those datasets alone of which the study counts the first five
/// options; each is written before the table's.
#[derive(Debug)]
pub struct QualityLog {
    correct: RowLog,
    probability: RowLog,
    sum: RowLog,
    /// Made when the first row comes.
    top: Option<RowLog>,
    top_path: PathBuf,
    done: BTreeSet<(String, u32, u16)>,
    /// Whether a row may come again, with cells that it lacked.
    repeats: bool,
}

impl QualityLog {
    /// Creates or resumes `<dir>/<table>.csv`, `.prob.csv` and `.sum.csv`.
    ///
    /// # Errors
    /// If a file cannot be read or written, is not a quality table, or its rows are not the
    /// others' rows.
    pub fn open(dir: &Path, table: &str) -> Result<Self> {
        let path = |kind: &str| dir.join(format!("{table}{kind}.csv"));
        let (mut correct, rows) = RowLog::open(&path(""), &HEADER)?;
        let (mut probability, probability_rows) = RowLog::open(&path(".prob"), &HEADER)?;
        let (mut sum, sum_rows) = RowLog::open(&path(".sum"), &HEADER)?;
        let common = rows.len().min(probability_rows.len()).min(sum_rows.len());
        let mut done = BTreeSet::new();
        for (index, (line, row)) in rows.iter().take(common).enumerate() {
            let key = parse_key(&path(""), *line, row)?;
            for (kind, twin) in [(".prob", &probability_rows), (".sum", &sum_rows)] {
                let (line, row) = &twin[index];
                if parse_key(&path(kind), *line, row)? != key {
                    return Err(Error::file(&path(kind), "rows out of step with the table's")
                        .at(format!("line {line}"))
                        .found(format!("{},{},{}", &row[0], &row[1], &row[2]))
                        .allowed(format!("{},{},{}", key.0, key.1, key.2)));
                }
            }
            done.insert(key);
        }
        for log in [&mut correct, &mut probability, &mut sum] {
            log.keep(common)?;
        }
        let top_path = path(".top5");
        let top = if top_path.exists() { Some(open_top(&top_path, &done)?) } else { None };
        Ok(Self { correct, probability, sum, top, top_path, done, repeats: false })
    }

    /// The same for answers that are measured as they are asked for: a row may be appended again, with
    /// other cells.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_asked(dir: &Path, table: &str) -> Result<Self> {
        Ok(Self { repeats: true, ..Self::open(dir, table)? })
    }

    /// Whether this row was measured already.
    #[must_use]
    pub fn contains(&self, dataset: &str, item: u32, level: Level) -> bool {
        self.done.contains(&(dataset.to_owned(), item, level.as_percent()))
    }

    /// Rows that were measured already.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.done.len()
    }

    /// Appends one row; `cells` are in the order of [`PROMPT_RATIOS`], `None` = not measured.
    ///
    /// # Errors
    /// If a file cannot be written.
    ///
    /// # Panics
    /// If the row is there already, unless it [may be](Self::open_asked).
    pub fn append(
        &mut self,
        dataset: &str,
        item: u32,
        level: Level,
        cells: &[Option<Cell>; PROMPT_RATIOS.len()],
    ) -> Result<()> {
        let new = self.done.insert((dataset.to_owned(), item, level.as_percent()));
        assert!(new || self.repeats, "{dataset} item {item} level {level} is measured twice");
        let key = [dataset.to_owned(), item.to_string(), level.as_percent().to_string()];
        let row = |show: fn(&Cell) -> String| {
            let fields = cells.iter().map(move |cell| cell.as_ref().map(show).unwrap_or_default());
            key.clone().into_iter().chain(fields)
        };
        if cells.iter().flatten().any(|cell| cell.top_correct.is_some()) {
            let show = |cell: &Cell| {
                cell.top_correct.map_or_else(String::new, |top| u8::from(top).to_string())
            };
            if self.top.is_none() {
                self.top = Some(RowLog::open(&self.top_path, &HEADER)?.0);
            }
            self.top.as_mut().expect("just made").append(row(show))?;
        }
        self.correct.append(row(|cell| u8::from(cell.correct).to_string()))?;
        self.probability.append(row(|cell| format!("{:.4}", cell.gold_probability)))?;
        self.sum.append(row(|cell| u8::from(cell.sum_correct).to_string()))
    }
}

/// Opens the twin at `path`, cut back to the rows before the first one that `done` lacks.
fn open_top(path: &Path, done: &BTreeSet<(String, u32, u16)>) -> Result<RowLog> {
    let (mut log, rows) = RowLog::open(path, &HEADER)?;
    let mut known = 0;
    for (line, row) in &rows {
        if !done.contains(&parse_key(path, *line, row)?) {
            break;
        }
        known += 1;
    }
    log.keep(known)?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::super::quality::{Counted, QualityTable};
    use super::*;
    use std::fs;

    fn cells(right: bool) -> [Option<Cell>; 10] {
        let (gold_probability, top_correct) = (0.123_46, None);
        let cell = Cell { correct: right, sum_correct: !right, gold_probability, top_correct };
        let mut cells = [Some(cell); 10];
        cells[0] = None;
        cells
    }

    #[test]
    fn rows_written_are_rows_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        log.append("sciq", 7, Level::percent(50), &cells(true)).unwrap();
        log.append("sciq", 7, Level::percent(100), &cells(false)).unwrap();
        let table = QualityTable::load(folder.path(), "width").unwrap();
        let row = table.row("sciq", 7).unwrap();
        assert_eq!(table.levels(), [Level::percent(50), Level::percent(100)]);
        assert_eq!(table.correct(row, 0, 0), None);
        assert_eq!(table.correct(row, 0, 9), Some(true));
        assert_eq!(table.correct(row, 1, 9), Some(false));
        assert_eq!(table.sum_correct(row, 0, 9), Some(false));
        assert_eq!(table.gold_probability(row, 0, 9), Some(0.1235));
        assert_eq!(table.coverage(), (18, 20));
        assert_eq!(table.accuracy("sciq", None, 0, 9), Some(1.0));
        assert_eq!(table.row("sciq", 8), None);
        assert_eq!(table.row("piqa", 7), None);
    }

    #[test]
    fn after_a_kill_the_three_files_agree_and_nothing_whole_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        for item in 0..3 {
            log.append("sciq", item, Level::FULL, &cells(true)).unwrap();
        }
        drop(log);
        // Killed after the table's third row and inside the twin's third.
        let sum = folder.path().join("width.sum.csv");
        let text = fs::read_to_string(&sum).unwrap();
        fs::write(&sum, &text[..text.len() - 2]).unwrap();
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        assert_eq!(log.rows(), 2);
        assert!(log.contains("sciq", 1, Level::FULL));
        assert!(!log.contains("sciq", 2, Level::FULL));
        log.append("sciq", 2, Level::FULL, &cells(true)).unwrap();
        assert_eq!(fs::read_to_string(&sum).unwrap(), text);
        assert_eq!(QualityTable::load(folder.path(), "width").unwrap().rows(), 3);
    }

    #[test]
    fn the_first_five_have_a_file_where_the_study_counts_them_and_it_survives_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let top =
            |right: bool| cells(false).map(|cell| Some(Cell { top_correct: Some(right), ..cell? }));
        let path = folder.path().join("width.top5.csv");
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        log.append("sciq", 0, Level::FULL, &cells(true)).unwrap();
        assert!(!path.exists());
        log.append("api-calling", 1, Level::FULL, &top(true)).unwrap();
        log.append("api-calling", 2, Level::FULL, &top(false)).unwrap();
        drop(log);
        let table = QualityTable::load(folder.path(), "width").unwrap();
        assert_eq!(table.top_accuracy("api-calling", 0, 9), Some(0.5));
        assert_eq!(table.top_accuracy("sciq", 0, 9), None);
        assert_eq!(table.accuracy("api-calling", None, 0, 9), Some(0.0));
        let as_studied = table.counting(Counted::FirstFive);
        assert_eq!(as_studied.accuracy("api-calling", None, 0, 9), Some(0.5));
        assert_eq!(as_studied.accuracy("sciq", None, 0, 9), Some(1.0));
        // Killed between the two files.
        let whole = folder.path().join("width.csv");
        let text = fs::read_to_string(&whole).unwrap();
        let cut = text[..text.len() - 1].rfind('\n').unwrap() + 1;
        fs::write(&whole, &text[..cut]).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        assert!(fs::read_to_string(&path).unwrap().len() < before.len());
        log.append("api-calling", 2, Level::FULL, &top(false)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn only_rows_with_all_answers_of_their_dataset_are_whole_and_estimate_accuracies() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = QualityLog::open(folder.path(), "width").unwrap();
        // sciq 0, 3, 4 and 5 are estimate items; broken off before item 3 at level 50 %.
        for (item, right) in [(0, true), (3, false), (4, false), (5, true)] {
            log.append("sciq", item, Level::FULL, &cells(right)).unwrap();
        }
        for item in [0, 4, 5] {
            log.append("sciq", item, Level::percent(50), &cells(item == 0)).unwrap();
        }
        log.append("piqa", 1, Level::FULL, &cells(true)).unwrap();
        let table = QualityTable::load(folder.path(), "width").unwrap();
        let whole = |dataset, item| table.is_whole(table.row(dataset, item).unwrap());
        assert_eq!([0, 3, 4, 5].map(|item| whole("sciq", item)), [true, false, true, true]);
        assert!(whole("piqa", 1), "no item of piqa has level 50 %");
        // Right at full level: items 0 and 5 of 0, 4 and 5; of all four, 2 in 4.
        assert_eq!(table.expected_accuracy("sciq", 1, 9), Some(2.0 / 3.0));
        assert_eq!(table.accuracy("sciq", None, 1, 9), Some(0.5));
        assert_eq!(table.expected_accuracy("sciq", 0, 9), Some(1.0 / 3.0));
    }

    #[test]
    fn a_table_that_ends_inside_a_row_or_has_a_strange_cell_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("width.csv");
        let header = HEADER.join(",");
        let refusal = |rows: &str| {
            fs::write(&path, format!("{header}\n{rows}")).unwrap();
            let message = QualityTable::load(folder.path(), "width").unwrap_err().to_string();
            message.split_once("width.csv").unwrap().1.to_owned()
        };
        let refusals = [
            refusal("sciq,1,100,0,0,0,0,0,0,0,0,0,1"),
            refusal("sciq,1,100,0,0,0,0,0,0,0,0,0,2\n"),
            refusal("sciq,1,0,0,0,0,0,0,0,0,0,0,1\n"),
            refusal("sciq,x,100,0,0,0,0,0,0,0,0,0,1\n"),
            refusal("sciq,1,100,0,0\n"),
            refusal("sciq,1,100,0,0,0,0,0,0,0,0,0,1\nsciq,1,100,0,0,0,0,0,0,0,0,0,1\n"),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
