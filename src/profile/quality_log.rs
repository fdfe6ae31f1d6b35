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

const HEADER: [&str; 11] = [
    "family",
    "dataset",
    "item",
    "level",
    "ratio",
    "asked",
    "prompt_level",
    "grade",
    "gold_probability",
    "sum_grade",
    "top5_grade",
];

/// How many of the columns say what a row is about.
const KEYS: usize = 7;

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
    /// Of every answer.
    done: BTreeSet<Done>,
}

/// Dataset, item, level and ratio of an answer, and which level read its prompt, if another did.
type Done = (String, ItemId, Level, Ratio, Option<Level>);

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
                let (cells, read_by) = (sheet.cells(row).iter(), row.key.prompt_level);
                done.extend(cells.map(|cell| (dataset.clone(), item, cell.1, ratio, read_by)));
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
        self.contains_phases(dataset, item, (None, level), ratios)
    }

    /// The same of prompts that another level read, if one did.
    #[must_use]
    pub fn contains_phases(
        &self,
        dataset: &str,
        item: impl Into<ItemId>,
        (read_by, level): (Option<Level>, Level),
        ratios: &[Ratio],
    ) -> bool {
        let (dataset, item) = (dataset.to_owned(), item.into());
        let has =
            |&ratio: &Ratio| self.done.contains(&(dataset.clone(), item, level, ratio, read_by));
        ratios.iter().all(has)
    }

    /// How many items, each at each level, have answers.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows: BTreeSet<_> =
            self.done.iter().map(|(d, i, level, _, read_by)| (d, i, level, read_by)).collect();
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
        self.append_phases(dataset, item, (None, level), cells)
    }

    /// The same of prompts that another level read, if one did.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_phases(
        &mut self,
        dataset: &str,
        item: impl Into<ItemId>,
        (read_by, level): (Option<Level>, Level),
        cells: &[Option<Cell>; PROMPT_RATIOS.len()],
    ) -> Result<()> {
        let item = item.into();
        for (ratio, cell) in PROMPT_RATIOS.into_iter().zip(cells) {
            let key = (dataset.to_owned(), item, level, ratio, read_by);
            let Some(cell) = cell.filter(|_| !self.done.contains(&key)) else {
                continue;
            };
            let values = cell.values(level);
            let of = |measure: Measure| {
                let found = values.iter().find(|value| value.0 == measure);
                found.map(|value| value.2.to_string()).unwrap_or_default()
            };
            let fields = [
                self.of.family.clone(),
                dataset.to_owned(),
                item.to_string(),
                level.as_percent().to_string(),
                ratio.as_percent().to_string(),
                if self.asked { "1" } else { "" }.to_owned(),
                read_by.map(|level| level.as_percent().to_string()).unwrap_or_default(),
            ];
            self.log.append(fields.into_iter().chain(Measure::ALL.map(of)))?;
            self.done.insert(key);
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

    /// The table of one level stays byte for byte, and is read as before.
    #[test]
    fn answers_of_two_levels_have_a_file_of_their_own_and_are_read_where_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (of, pair) =
            (AnswersOf::named(folder.path(), "width"), (Some(Level::FULL), Level::percent(50)));
        let mut log = width(folder.path());
        for level in [Level::percent(50), Level::FULL] {
            log.append("sciq", 0, level, &cells(false)).unwrap();
        }
        log.finish().unwrap();
        let table = folder.path().join("structured.csv");
        let before = fs::read_to_string(&table).unwrap();
        let mut log = QualityLog::open(folder.path(), &of.in_phases(), false).unwrap();
        log.append_phases("sciq", 0, pair, &cells(true)).unwrap();
        let ratios = [Ratio::percent(20), Ratio::ONE];
        assert!(log.contains_phases("sciq", 0, pair, &ratios));
        assert!(!log.contains("sciq", 0, Level::percent(50), &ratios));
        log.finish().unwrap();
        let own = fs::read_to_string(folder.path().join("structured.phases.csv")).unwrap();
        let start =
            "family,dataset,item,ratio,asked,prompt_level,grade_50\nwidth,sciq,0,20,,100,1\n";
        assert!(own.starts_with(start), "{own}");
        assert_eq!(fs::read_to_string(&table).unwrap(), before);
        let one = QualityTable::load(folder.path(), "width").unwrap();
        assert_eq!((one.pairs().len(), one.accuracy("sciq", None, 0, 9)), (0, Some(0.0)));
        let two = QualityTable::load_phases(folder.path(), "width").unwrap();
        let two = two.with_scores().unwrap();
        assert_eq!(two.pairs(), [(Level::FULL, Level::percent(50))]);
        let place = two.pair_index(Level::FULL, Level::percent(50)).unwrap();
        assert_eq!(two.pair_index(Level::FULL, Level::FULL), two.level_index(Level::FULL));
        let row = two.row("sciq", 0).unwrap();
        assert_eq!(two.grade(row, place, 9), Some(Grade::RIGHT));
        assert_eq!(two.gold_probability(row, place, 9), Some(0.1235));
        assert_eq!(two.grade(row, 0, 9), Some(Grade::WRONG));
        assert!(two.is_whole(row));
    }

    #[test]
    fn a_stored_answer_above_its_prompts_level_is_refused_and_so_is_a_table_without_any() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("structured.csv");
        let refusal = |row: &str| {
            let text = format!("family,dataset,item,level,ratio,prompt_level,grade\n{row}\n");
            fs::write(&path, text).unwrap();
            let message = QualityTable::load_phases(folder.path(), "width").unwrap_err();
            message.to_string().split_once("structured").unwrap().1.to_owned()
        };
        let refusals = [
            refusal("width,sciq,1,90,100,20,1"),
            refusal("width,sciq,1,20,100,0,1"),
            refusal("width,sciq,1,20,100,,1"),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        .csv, line 2, column "grade": an answer level above the prompt level; found a prompt read at 20 %, answered at 90 %; allowed: an answer level up to 20 %
        .csv, line 2, column "prompt_level": not a level; found "0"; allowed: 1 to 100, or empty
        .phases.csv: no answers of two levels; found no rows of width with a prompt_level; allowed: rows by `pliant profile quality --prompt-levels`, or phases = 1
        "#);
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
        , line 1: unexpected columns; found family,dataset,item,ratio,grade; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,prompt_level,gold_probability,sum_grade,top5_grade
        , line 1: unexpected columns; found family,dataset,item,ratio,level,grade_20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,prompt_level,gold_probability,sum_grade,top5_grade
        , line 1: column given twice; found family,dataset,item,ratio,grade_20,grade_20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,prompt_level,gold_probability,sum_grade,top5_grade
        , line 1: unexpected columns; found dataset,item,level,r10,r20; allowed: family,dataset,item,ratio and grade with level, or grade_20,grade_30,…; maybe asked,prompt_level,gold_probability,sum_grade,top5_grade
        "#);
    }
}
