//! Answers to the plans that methods asked for, of items that were not measured whole.
//!
//! A whole row answers every plan and costs as much as ninety answers; a method asks for one. So most
//! items of a comparison need a few cells: those of `<table>.asked.csv` and its twins, written like any
//! table. Only a comparison that says so reads them. Accuracies are expected from whole rows alone,
//! so which plans a method chooses does not depend on what was asked before.

use std::path::Path;

use super::{Axes, Items, Key, QualityTable, Stored};
use crate::error::{Error, Result};
use crate::profile::{QualityManifest, Split};
use crate::units::Level;

/// The name of the files beside those of `name` for what was measured as it was asked for.
#[must_use]
pub fn asked(name: &str) -> String {
    format!("{name}{ASKED}")
}

const ASKED: &str = ".asked";

/// Whether `table` is the name of such files.
#[must_use]
pub fn is_asked(table: &str) -> bool {
    table.ends_with(ASKED)
}

impl QualityTable {
    /// Reads table `table` of `dir` and what was asked for beside it; either may be absent. The table
    /// has `levels` and rows for `items`, answered or not; only rows that are whole without what
    /// was asked for are [whole](Self::is_whole).
    ///
    /// # Errors
    /// As [`load`](Self::load), except that a row of `<table>.asked.csv` may come several times: its
    /// cells are united.
    pub fn load_asked(dir: &Path, table: &str, levels: &[Level], items: &Items) -> Result<Self> {
        let there = |table: &str| dir.join(format!("{table}.csv")).exists();
        let asked = asked(table);
        let mut stored = Stored::default();
        if there(table) {
            stored = Stored::read(dir, table)?;
        }
        let base = Self::build(&stored, &Axes::default());
        if there(&asked) {
            let of_asked = Stored::read(dir, &asked)?;
            check_side(dir, &asked, &of_asked)?;
            stored.unite(of_asked);
        }
        let mut built =
            Self::build(&stored, &Axes { levels: levels.to_vec(), items: items.clone() });
        built.whole = built.names().map(|(dataset, item)| base.has_whole(dataset, item)).collect();
        let manifest = |name: &str| {
            let path = QualityManifest::path(dir, name);
            path.exists().then(|| QualityManifest::load(dir, name)).transpose()
        };
        built.manifest = match (manifest(table)?, manifest(&asked)?) {
            (Some(whole), Some(of_asked)) => {
                of_asked.check_alike(&whole, &QualityManifest::path(dir, table))?;
                Some(whole)
            }
            (whole, of_asked) => whole.or(of_asked),
        };
        Ok(built)
    }

    /// Dataset and item of every row.
    fn names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.datasets()
            .flat_map(|dataset| self.items(dataset).map(move |(item, _)| (dataset, item)))
    }

    fn has_whole(&self, dataset: &str, item: u32) -> bool {
        self.row(dataset, item).is_some_and(|row| self.is_whole(row))
    }
}

/// Refuses rows of items that accuracies are estimated on: an answer to a plan that was not measured
/// on the others would be its accuracy.
fn check_side(dir: &Path, asked: &str, stored: &Stored) -> Result<()> {
    let is_estimate = |key: &&Key| Split::of(&key.0, key.1) == Split::Estimate;
    match stored.correct.keys().find(is_estimate) {
        None => Ok(()),
        Some((dataset, item, _)) => {
            Err(Error::file(&dir.join(format!("{asked}.csv")), "row of an item that estimates")
                .found(format!("{dataset} item {item}"))
                .allowed("items of the replay half"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cell, QualityLog};

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

    #[test]
    fn what_was_asked_for_is_there_beside_whole_rows_and_estimates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        // sciq 0 is an estimate item, 1, 2 and 6 are replayed; 2 is whole in what was asked for only.
        let mut log = QualityLog::open(dir, "width").unwrap();
        log.append("sciq", 0, Level::FULL, &cells(&ALL, true)).unwrap();
        let mut log = QualityLog::open_asked(dir, "width.asked").unwrap();
        log.append("sciq", 2, Level::FULL, &cells(&ALL, false)).unwrap();
        log.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
        log.append("sciq", 1, half(), &cells(&[2, 9], false)).unwrap();
        drop(log);
        let known = Items::from([("sciq".to_owned(), [6].into())]);
        let levels = [Level::percent(20)];
        let table = QualityTable::load_asked(dir, "width", &levels, &known).unwrap();
        assert_eq!(table.levels(), [Level::percent(20), half(), Level::FULL]);
        let items: Vec<u32> = table.items("sciq").map(|(item, _)| item).collect();
        assert_eq!(items, [0, 1, 2, 6]);
        let row = |item| table.row("sciq", item).unwrap();
        assert_eq!([0, 1, 2, 6].map(|item| table.is_whole(row(item))), [true, false, false, false]);
        assert_eq!(table.correct(row(1), 1, 9), Some(true), "of two rows the first counts");
        assert_eq!(table.correct(row(1), 1, 2), Some(false), "cells of two rows are united");
        assert_eq!(table.gold_probability(row(1), 1, 2), Some(0.25));
        assert_eq!(table.correct(row(1), 1, 3), None);
        assert_eq!(table.correct(row(6), 2, 9), None);
        assert_eq!(table.expected_accuracy("sciq", 2, 9), Some(1.0));
        assert_eq!(QualityTable::load(dir, "width").unwrap().rows(), 1);
        let mut log = QualityLog::open_asked(dir, "width.asked").unwrap();
        log.append("sciq", 3, Level::FULL, &cells(&[9], false)).unwrap();
        let refusal = QualityTable::load_asked(dir, "width", &levels, &known).unwrap_err();
        let message = refusal.to_string();
        assert!(message.ends_with(
            "width.asked.csv: row of an item that estimates; found sciq item 3; allowed: items of \
             the replay half"
        ), "{message}");
    }

    #[test]
    fn rows_of_another_ladder_than_the_tables_are_not_united_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for (table, ladder) in [("width", "bb"), ("width.asked", "cc")] {
            let mut log = QualityLog::open_asked(dir, table).unwrap();
            log.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
            let manifest: QualityManifest = serde_json::from_value(serde_json::json!({
                "schema": 1, "base_model": "tiny", "family": "width", "model_source": "file",
                "model_sha256": "aa", "elastic_sha256": ladder, "prompt_template": "{question}",
                "shots": 5, "compressor": "structured", "scorer": "mean", "split": Split::RULE,
                "command": "pliant", "date": "2026-01-02", "commit": "c0ffee", "complete": true,
                "datasets": {},
            }))
            .unwrap();
            manifest.save(dir, table).unwrap();
        }
        let load = || QualityTable::load_asked(dir, "width", &[half()], &Items::new());
        let message = load().unwrap_err().to_string();
        assert!(message.contains("width.manifest.json, key \"elastic_sha256\""), "{message}");
        std::fs::remove_file(QualityManifest::path(dir, "width.asked")).unwrap();
        assert_eq!(load().unwrap().manifest().unwrap().elastic_sha256.as_deref(), Some("bb"));
    }

    #[test]
    fn a_table_may_consist_of_what_was_asked_for_or_of_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = QualityLog::open_asked(folder.path(), "new.asked").unwrap();
        log.append("sciq", 1, half(), &cells(&[9], true)).unwrap();
        drop(log);
        let load = |table: &str, items: &Items| {
            QualityTable::load_asked(folder.path(), table, &[half()], items).unwrap()
        };
        assert_eq!(load("new", &Items::new()).rows(), 1);
        let known = Items::from([("sciq".to_owned(), [1, 2].into())]);
        assert_eq!(load("new", &known).coverage(), (1, 20));
        assert_eq!(load("other", &known).coverage(), (0, 20));
    }
}
