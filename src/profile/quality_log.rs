//! Writing answers while they are measured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::paths::AnswerFiles;
use super::quality::sheet::{Cells, Measure, Sheet};
use super::quality::{AnswersOf, Cell};
use super::row_log::RowLog;
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

const HEADER: [&str; 10] = [
    "family",
    "dataset",
    "item",
    "level",
    "ratio",
    "asked",
    "grade",
    "gold_probability",
    "sum_grade",
    "top5_grade",
];

/// How many of the columns say what a row is about.
const KEYS: usize = 6;

/// Appends answers to `<compressor>.<family>.log.csv` as they come, and knows which are there; when
/// the measurement ends, they move into the table.
///
/// A kill costs the answer that was being written. The next [`open`](Self::open) moves what the log
/// has into the table, and nothing is measured twice.
#[derive(Debug)]
pub struct QualityLog {
    dir: PathBuf,
    of: AnswersOf,
    asked: bool,
    log: RowLog,
    /// Dataset, item, level and ratio of every answer.
    done: BTreeSet<(String, ItemId, Level, Ratio)>,
}

impl QualityLog {
    /// Goes on with the measurement of `of` in the folder `dir`: of whole items, or of what is
    /// `asked` for.
    ///
    /// # Errors
    /// If a file cannot be read or written, or is not one of answers.
    pub fn open(dir: &Path, of: &AnswersOf, asked: bool) -> Result<Self> {
        let path = AnswerFiles(dir).log(&of.compressor, &of.family);
        if path.exists() {
            // Heals it: a row that a kill cut off is dropped.
            RowLog::open(&path, &HEADER, KEYS)?;
            merge(dir, of)?;
        }
        let grades = AnswerFiles(dir).grades(&of.compressor);
        let mut done = BTreeSet::new();
        if grades.exists() {
            let sheet = Sheet::read(&grades, Some(&of.family))?;
            for row in sheet.rows.iter().filter(|row| row.key.asked == asked) {
                let (dataset, item, ratio) = (&row.key.dataset, row.key.item, row.key.ratio);
                let cells = sheet.cells(row).iter();
                done.extend(cells.map(|cell| (dataset.clone(), item, cell.1, ratio)));
            }
        }
        let log = RowLog::open(&path, &HEADER, KEYS)?.0;
        Ok(Self { dir: dir.to_owned(), of: of.clone(), asked, log, done })
    }

    /// Whether the item's answers at `level` and all of `ratios` are there.
    #[must_use]
    pub fn contains(
        &self,
        dataset: &str,
        item: impl Into<ItemId>,
        level: Level,
        ratios: &[Ratio],
    ) -> bool {
        let item = item.into();
        ratios.iter().all(|&ratio| self.has(dataset, item, level, ratio))
    }

    fn has(&self, dataset: &str, item: ItemId, level: Level, ratio: Ratio) -> bool {
        self.done.contains(&(dataset.to_owned(), item, level, ratio))
    }

    /// How many items, each at each level, have answers.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows: BTreeSet<_> = self.done.iter().map(|(d, i, level, _)| (d, i, level)).collect();
        rows.len()
    }

    /// Appends answers that are not there yet; `cells` are in the order of [`PROMPT_RATIOS`],
    /// `None` = not measured.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn append(
        &mut self,
        dataset: &str,
        item: impl Into<ItemId>,
        level: Level,
        cells: &[Option<Cell>; PROMPT_RATIOS.len()],
    ) -> Result<()> {
        let item = item.into();
        for (ratio, cell) in PROMPT_RATIOS.into_iter().zip(cells) {
            let Some(cell) = cell.filter(|_| !self.has(dataset, item, level, ratio)) else {
                continue;
            };
            let values = cell.values(level);
            let of = |measure: Measure| {
                let found = values.iter().find(|value| value.0 == measure);
                found.map(|value| value.2.to_string()).unwrap_or_default()
            };
            let key = [
                self.of.family.clone(),
                dataset.to_owned(),
                item.to_string(),
                level.as_percent().to_string(),
                ratio.as_percent().to_string(),
                if self.asked { "1" } else { "" }.to_owned(),
            ];
            self.log.append(key.into_iter().chain(Measure::ALL.map(of)))?;
            self.done.insert((dataset.to_owned(), item, level, ratio));
        }
        Ok(())
    }

    /// Moves the answers into the table.
    ///
    /// # Errors
    /// If a file cannot be read or written; the log is then still there.
    pub fn finish(self) -> Result<()> {
        merge(&self.dir, &self.of)
    }
}

/// Moves what the log of `of` has into the table beside it.
fn merge(dir: &Path, of: &AnswersOf) -> Result<()> {
    let files = AnswerFiles(dir);
    let (grades, scores) = (files.grades(&of.compressor), files.scores(&of.compressor));
    let log = files.log(&of.compressor, &of.family);
    let mut cells = Cells::default();
    for path in [&grades, &scores, &log] {
        cells.add_file(path)?;
    }
    // Scores first: a kill in between leaves scores without grades, and the log, which is merged
    // again.
    cells.write(&scores, &Measure::SCORES)?;
    cells.write(&grades, &[Measure::Grade])?;
    std::fs::remove_file(&log).map_err(|cause| Error::io(&log, "cannot remove", cause))
}

#[cfg(test)]
mod tests {
    use super::super::quality::{Counted, QualityTable};
    use super::*;
    use crate::units::Grade;
    use std::fs;

    fn cells(right: bool) -> [Option<Cell>; 10] {
        let (gold_probability, top_correct) = (0.123_46, None);
        let cell = Cell { correct: right, sum_correct: !right, gold_probability, top_correct };
        let mut cells = [Some(cell); 10];
        cells[0] = None;
        cells
    }

    fn width(folder: &Path) -> QualityLog {
        QualityLog::open(folder, &AnswersOf::named(folder, "width"), false).unwrap()
    }

    #[test]
    fn rows_written_are_rows_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = width(folder.path());
        log.append("sciq", 7, Level::percent(50), &cells(true)).unwrap();
        log.append("sciq", 7, Level::percent(100), &cells(false)).unwrap();
        log.finish().unwrap();
        let table = QualityTable::load_scored(folder.path(), "width").unwrap();
        let row = table.row("sciq", 7).unwrap();
        assert_eq!(table.levels(), [Level::percent(50), Level::percent(100)]);
        assert_eq!(table.grade(row, 0, 0), None);
        assert_eq!(table.grade(row, 0, 9), Some(Grade::RIGHT));
        assert_eq!(table.grade(row, 1, 9), Some(Grade::WRONG));
        assert_eq!(table.sum_grade(row, 0, 9), Some(0.0));
        assert_eq!(table.gold_probability(row, 0, 9), Some(0.1235));
        assert_eq!(table.coverage(), (18, 20));
        assert_eq!(table.accuracy("sciq", None, 0, 9), Some(1.0));
        assert_eq!(table.row("sciq", 8), None);
        assert_eq!(table.row("piqa", 7), None);
        let text = fs::read_to_string(folder.path().join("structured.csv")).unwrap();
        assert_eq!(
            text.lines().take(2).collect::<Vec<_>>(),
            ["family,dataset,item,ratio,asked,grade_50,grade_100", "width,sciq,7,20,,1,0"]
        );
    }

    #[test]
    fn after_a_kill_nothing_that_was_answered_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = width(folder.path());
        for item in 0..3 {
            log.append("sciq", item, Level::FULL, &cells(true)).unwrap();
        }
        drop(log);
        // Killed inside the last answer.
        let path = folder.path().join("structured.width.log.csv");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 2]).unwrap();
        let mut log = width(folder.path());
        let planned = &PROMPT_RATIOS[1..];
        assert!(log.contains("sciq", 1, Level::FULL, planned));
        assert!(!log.contains("sciq", 2, Level::FULL, planned));
        assert!(log.contains("sciq", 2, Level::FULL, &PROMPT_RATIOS[1..9]));
        log.append("sciq", 2, Level::FULL, &cells(true)).unwrap();
        log.finish().unwrap();
        assert!(!path.exists());
        let table = QualityTable::load(folder.path(), "width").unwrap();
        assert_eq!((table.rows(), table.coverage()), (3, (27, 30)));
    }

    #[test]
    fn families_share_a_file_and_measuring_one_leaves_the_others_rows_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = width(folder.path());
        log.append("sciq", 1, Level::FULL, &cells(true)).unwrap();
        log.finish().unwrap();
        let path = folder.path().join("structured.csv");
        let before = fs::read_to_string(&path).unwrap();
        let other = AnswersOf { family: "attn-drop".into(), compressor: "structured".into() };
        let mut log = QualityLog::open(folder.path(), &other, false).unwrap();
        log.append("sciq", 1, Level::FULL, &cells(false)).unwrap();
        log.finish().unwrap();
        let after = fs::read_to_string(&path).unwrap();
        let kept: String =
            after.split_inclusive('\n').filter(|l| !l.starts_with("attn-drop")).collect();
        assert_eq!((kept, after.lines().count()), (before, 19));
        let load = |name: &str| QualityTable::load(folder.path(), name).unwrap();
        assert_eq!(load("width").accuracy("sciq", None, 0, 9), Some(1.0));
        assert_eq!(load("attn-drop").accuracy("sciq", None, 0, 9), Some(0.0));
    }

    #[test]
    fn the_first_five_count_where_the_study_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let top =
            |right: bool| cells(false).map(|cell| Some(Cell { top_correct: Some(right), ..cell? }));
        let mut log = width(folder.path());
        log.append("sciq", 0, Level::FULL, &cells(true)).unwrap();
        log.append("api-calling", 1, Level::FULL, &top(true)).unwrap();
        log.append("api-calling", 2, Level::FULL, &top(false)).unwrap();
        log.finish().unwrap();
        let table = QualityTable::load_scored(folder.path(), "width").unwrap();
        assert_eq!(table.top_accuracy("api-calling", 0, 9), Some(0.5));
        assert_eq!(table.top_accuracy("sciq", 0, 9), None);
        let table = QualityTable::load(folder.path(), "width").unwrap();
        assert_eq!(table.accuracy("api-calling", None, 0, 9), Some(0.0));
        let as_studied = table.counting(Counted::FirstFive).unwrap();
        assert_eq!(as_studied.accuracy("api-calling", None, 0, 9), Some(0.5));
        assert_eq!(as_studied.accuracy("sciq", None, 0, 9), Some(1.0));
    }

    #[test]
    fn only_rows_with_all_answers_of_their_dataset_are_whole_and_estimate_accuracies() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = width(folder.path());
        // sciq 0, 3, 4 and 5 are estimate items; broken off before item 3 at level 50 %.
        for (item, right) in [(0, true), (3, false), (4, false), (5, true)] {
            log.append("sciq", item, Level::FULL, &cells(right)).unwrap();
        }
        for item in [0, 4, 5] {
            log.append("sciq", item, Level::percent(50), &cells(item == 0)).unwrap();
        }
        log.append("piqa", 1, Level::FULL, &cells(true)).unwrap();
        log.finish().unwrap();
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
    fn a_file_with_a_strange_header_row_or_cell_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("structured.csv");
        let refusal = |text: &str| {
            fs::write(&path, text).unwrap();
            let message = QualityTable::load(folder.path(), "width").unwrap_err().to_string();
            message.split_once("structured.csv").unwrap().1.to_owned()
        };
        let rows = |rows: &str| refusal(&format!("family,dataset,item,level,ratio,grade\n{rows}"));
        let refusals = [
            rows("width,sciq,1,100,100,2\n"),
            rows("width,sciq,1,0,100,1\n"),
            rows("width,sciq,,100,100,1\n"),
            rows("width,sciq,1,100,105,1\n"),
            rows("width,sciq,1,100\n"),
            rows("width,sciq,1,100,100,1\nwidth,sciq,1,100,100,1\n"),
            rows("zoo,sciq,1,100,100,1\n"),
            refusal("family,dataset,item,ratio,grade\n"),
            refusal("family,dataset,item,ratio,level,grade_20\n"),
            refusal("family,dataset,item,ratio,grade_20,grade_20\n"),
            refusal("dataset,item,level,r10,r20\n"),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        , line 2, column "grade": not a cell of this table; found "2"; allowed: 0 to 1, or empty
        , line 2, column "level": not a level; found "0"; allowed: 1 to 100
        , line 2, column "item": no name of an item; found ""; allowed: 1 to 256 printed bytes
        , line 2, column "ratio": not a prompt ratio; found "105"; allowed: above 0 and up to 100, with one decimal at most
        , line 2: row of other columns; found 4 fields; allowed: family,dataset,item,level,ratio,grade
        , line 3: cell given twice; found width, sciq item 1 at 100 %
        : no answers of this family; found rows of others; allowed: a file with rows of family width
        , line 1: unexpected columns; found family,dataset,item,ratio,grade; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,gold_probability,sum_grade,top5_grade
        , line 1: unexpected columns; found family,dataset,item,ratio,level,grade_20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,gold_probability,sum_grade,top5_grade
        , line 1: column given twice; found family,dataset,item,ratio,grade_20,grade_20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,gold_probability,sum_grade,top5_grade
        , line 1: unexpected columns; found dataset,item,level,r10,r20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,gold_probability,sum_grade,top5_grade
        "#);
    }
}
