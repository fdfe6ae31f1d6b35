//! Answers to the plans that methods asked for, of items that were not measured whole.
//!
//! A whole row answers every plan and costs as much as ninety answers; a method asks for one. So
//! most items of a comparison need a few cells: rows with a mark in `asked`. Only a comparison that
//! says so reads them. Accuracies are expected from whole rows alone, so which plans a method
//! chooses does not depend on what was asked before.

use std::path::Path;

use super::sheet::Sheet;
use super::{AnswersOf, Axes, Counts, Items, QualityTable};
use crate::error::{Error, Result};
use crate::profile::paths::AnswerFiles;
use crate::profile::{QualityManifest, Split};
use crate::units::Level;

impl QualityTable {
    /// The answers called `name` in the folder `dir`, also those that were asked for; there may be
    /// none yet. The table has `levels` and rows for `items`, answered or not; only items that were
    /// measured whole are [whole](Self::is_whole).
    ///
    /// # Errors
    /// As [`load`](Self::load), and if a row was asked for of an item that accuracies are estimated
    /// on.
    pub fn load_asked(dir: &Path, name: &str, levels: &[Level], items: &Items) -> Result<Self> {
        let of = AnswersOf::named(dir, name);
        let path = AnswerFiles(dir).grades(&of.compressor);
        let sheet =
            if path.exists() { Sheet::read(&path, Some(&of.family))? } else { Sheet::default() };
        check_side(&path, &sheet)?;
        let axes = Axes { levels: levels.to_vec(), items: items.clone() };
        let counts = Counts { asked: true, phases: false };
        let mut table = Self::build(&[(path, sheet)], counts, &axes)?;
        let manifests = [false, true].map(|asked| QualityManifest::load(dir, &of, asked));
        let [whole, of_asked] = manifests;
        table.manifest = match (whole?, of_asked?) {
            (Some(whole), Some(of_asked)) => {
                of_asked.check_alike(&whole, &AnswerFiles(dir).manifest(&of.compressor))?;
                Some(whole)
            }
            (whole, of_asked) => whole.or(of_asked),
        };
        table.source = Some((dir.to_owned(), vec![of]));
        Ok(table)
    }
}

impl QualityTable {
    /// Only what was asked for of the answers of `of` in the folder `dir`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_asked_alone(dir: &Path, of: &AnswersOf) -> Result<Self> {
        let path = AnswerFiles(dir).grades(&of.compressor);
        let mut sheet = Sheet::read(&path, Some(&of.family))?;
        sheet.rows.retain(|row| row.key.asked);
        let counts = Counts { asked: true, phases: false };
        Self::build(&[(path, sheet)], counts, &Axes::default())
    }
}

/// Refuses rows of items that accuracies are estimated on: an answer to a plan that was not
/// measured on the others would be its accuracy.
fn check_side(path: &Path, sheet: &Sheet) -> Result<()> {
    let mut asked = sheet.rows.iter().filter(|row| row.key.asked);
    match asked.find(|row| Split::of(&row.key.dataset, row.key.item) == Split::Estimate) {
        None => Ok(()),
        Some(row) => Err(Error::file(path, "asked for an item that estimates")
            .at(format!("line {}", row.line))
            .found(format!("{} item {}", row.key.dataset, row.key.item))
            .allowed("items of the replay half")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemId;
    use crate::profile::{Cell, QualityLog};
    use crate::units::Grade;

    /// Cells at the ratios of `places`, all `right`.
    fn cells(places: &[usize], right: bool) -> [Option<Cell>; 10] {
        let cell = Cell {
            correct: right,
            sum_correct: !right,
            gold_probability: if right { 0.75 } else { 0.25 },
            top_correct: None,
        };
        std::array::from_fn(|place| places.contains(&place).then_some(cell))
    }

    const ALL: [usize; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    fn half() -> Level {
        Level::percent(50)
    }

    fn log(dir: &Path, family: &str, asked: bool) -> QualityLog {
        QualityLog::open(dir, &AnswersOf::named(dir, family), asked).unwrap()
    }

    #[test]
    fn what_was_asked_for_is_there_beside_whole_rows_and_estimates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        // sciq 0 is an estimate item, 1, 2 and 6 are replayed; 2 is whole in what was asked for
        // only.
        let mut whole = log(dir, "width", false);
        whole.append("sciq", 0, Level::FULL, &cells(&ALL, true)).unwrap();
        whole.finish().unwrap();
        let mut asked = log(dir, "width", true);
        asked.append("sciq", 2, Level::FULL, &cells(&ALL, false)).unwrap();
        asked.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
        asked.append("sciq", 1, half(), &cells(&[2, 9], false)).unwrap();
        asked.finish().unwrap();
        let known = Items::from([("sciq".to_owned(), [6.into()].into())]);
        let levels = [Level::percent(20)];
        let table = QualityTable::load_asked(dir, "width", &levels, &known).unwrap();
        assert_eq!(table.levels(), [Level::percent(20), half(), Level::FULL]);
        let items: Vec<ItemId> = table.items("sciq").map(|(item, _)| item).collect();
        assert_eq!(items, [0, 1, 2, 6].map(ItemId::from));
        let row = |item| table.row("sciq", item).unwrap();
        assert_eq!([0, 1, 2, 6].map(|item| table.is_whole(row(item))), [true, false, false, false]);
        assert_eq!(
            table.grade(row(1), 1, 9),
            Some(Grade::RIGHT),
            "of two answers the first counts"
        );
        assert_eq!(table.grade(row(1), 1, 2), Some(Grade::WRONG), "cells of two rows are united");
        assert_eq!(table.grade(row(1), 1, 3), None);
        assert_eq!(table.grade(row(6), 2, 9), None);
        assert_eq!(table.expected_accuracy("sciq", 2, 9), Some(1.0));
        assert_eq!(QualityTable::load(dir, "width").unwrap().rows(), 1);
        let mut estimating = log(dir, "width", true);
        estimating.append("sciq", 3, Level::FULL, &cells(&[9], false)).unwrap();
        estimating.finish().unwrap();
        let refusal = QualityTable::load_asked(dir, "width", &levels, &known).unwrap_err();
        let message = refusal.to_string();
        assert!(message.ends_with(
            "structured.csv, line 24: asked for an item that estimates; found sciq item 3; allowed: \
             items of the replay half"
        ), "{message}");
    }

    #[test]
    fn rows_of_another_ladder_than_the_tables_are_not_united_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for (asked, ladder) in [(false, "bb"), (true, "cc")] {
            let mut log = log(dir, "width", asked);
            log.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
            log.finish().unwrap();
            let manifest: QualityManifest = serde_json::from_value(serde_json::json!({
                "base_model": "tiny", "family": "width", "asked": asked, "model_source": "file",
                "model_sha256": "aa", "elastic_sha256": ladder, "prompt_template": "{question}",
                "shots": 5, "compressor": "structured", "scorer": "mean", "split": Split::RULE,
                "command": "pliant", "date": "2026-01-02", "commit": "c0ffee", "complete": true,
                "datasets": {},
            }))
            .unwrap();
            manifest.save(dir).unwrap();
        }
        let load = || QualityTable::load_asked(dir, "width", &[half()], &Items::new());
        let message = load().unwrap_err().to_string();
        assert!(message.contains("structured.json, key \"elastic_sha256\""), "{message}");
        let whole = QualityTable::load(dir, "width").unwrap();
        assert_eq!(whole.manifest().unwrap().elastic_sha256.as_deref(), Some("bb"));
    }

    #[test]
    fn a_table_may_consist_of_what_was_asked_for_or_of_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path(), "new", true);
        log.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
        log.finish().unwrap();
        let load = |table: &str, items: &Items| {
            QualityTable::load_asked(folder.path(), table, &[half()], items).unwrap()
        };
        assert_eq!(load("new", &Items::new()).rows(), 1);
        assert!(QualityTable::load_if_there(folder.path(), "new").unwrap().is_none());
        let known = Items::from([("sciq".to_owned(), [1, 2].map(ItemId::from).into())]);
        assert_eq!(load("new", &known).coverage(), (1, 20));
        assert_eq!(load("other", &known).coverage(), (0, 20));
    }
}
