//! Answers to the plans that methods asked for, of items that were not measured whole.
//!
//! A whole row answers every plan and costs as much as ninety answers; a method asks for one. So most
//! items of a comparison need a few cells: those of `<table>.asked.csv` and its twins, written like any
//! table. Only a comparison that says so reads them. Accuracies are expected from whole rows alone,
//! so which plans a method chooses does not depend on what was asked before.

use std::path::Path;

use super::{Axes, Items, QualityTable, Stored};
use crate::error::Result;
use crate::profile::QualityManifest;
use crate::units::Level;

/// The name of the files beside those of `name` for what was measured as it was asked for.
#[must_use]
pub fn asked(name: &str) -> String {
    format!("{name}{ASKED}")
}

const ASKED: &str = ".asked";

/// Whether `table` is the name of such files.
pub(super) fn is_asked(table: &str) -> bool {
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
            stored.unite(Stored::read(dir, &asked)?);
        }
        let mut built =
            Self::build(&stored, &Axes { levels: levels.to_vec(), items: items.clone() });
        built.whole = built.names().map(|(dataset, item)| base.has_whole(dataset, item)).collect();
        for name in [table, &asked] {
            if built.manifest.is_none() && QualityManifest::path(dir, name).exists() {
                built.manifest = Some(QualityManifest::load(dir, name)?);
            }
        }
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
