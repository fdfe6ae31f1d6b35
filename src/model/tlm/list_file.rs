//! How lists are shortened, learned offline: a file beside the score-head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// The file's name inside the heads' folder.
pub const LISTS_FILE: &str = "lists.json";

/// Entries that stay while there are shots where nothing was learned.
const KEPT: usize = 2;

/// How the lists of each dataset are shortened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListOrders {
    /// By dataset.
    pub datasets: BTreeMap<String, ListOrder>,
}

/// How the lists of one dataset are shortened, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListOrder {
    /// Entries that stay while there are shots.
    pub kept: usize,
    /// What was tried on items of the train part.
    pub tried: Vec<Tried>,
    /// The items.
    pub items: Vec<u32>,
    /// SHA-256 of the dataset.
    pub data_sha256: String,
    /// The command that measured.
    pub command: String,
}

/// One way to shorten lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Entries that stay while there are shots.
    pub kept: usize,
    /// Mean ln p(gold) of the full model, over items and prompt ratios.
    pub gold: f64,
    /// Share of right answers.
    pub right: f64,
}

impl ListOrders {
    /// Entries of a list of `dataset` that stay while there are shots.
    #[must_use]
    pub fn kept(&self, dataset: &str) -> usize {
        self.datasets.get(dataset).map_or(KEPT, |order| order.kept)
    }

    /// Writes the orders into `folder`.
    ///
    /// # Errors
    /// If it cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "orders are plain data")]
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(LISTS_FILE);
        let mut json = serde_json::to_vec_pretty(self).expect("orders are plain data");
        json.push(b'\n');
        files::write_whole(&path, &json)?;
        Ok(path)
    }
}

/// The orders in `folder`; none if there is no file.
///
/// # Errors
/// If the file cannot be read, is none of orders, or keeps no entry.
pub fn load(folder: &Path) -> Result<ListOrders> {
    let path = folder.join(LISTS_FILE);
    let json = match std::fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ListOrders::default());
        }
        Err(error) => return Err(Error::io(&path, "cannot read", error)),
    };
    let orders: ListOrders = serde_json::from_slice(&json)
        .map_err(|error| Error::file(&path, "not orders of lists").caused_by(error))?;
    match orders.datasets.iter().find(|(_, order)| order.kept == 0) {
        None => Ok(orders),
        Some((dataset, _)) => Err(Error::file(&path, "a list without an entry is none")
            .at(format!("dataset {dataset}, key \"kept\""))
            .found(0)
            .allowed("1 or more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_as_they_went_in_and_unknown_datasets_keep_two() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap().kept("mine"), 2);
        let tried = vec![Tried { kept: 1, gold: -0.5, right: 0.75 }];
        let (items, data_sha256, command) = (vec![3, 5], "aa".to_owned(), "c".to_owned());
        let order = ListOrder { kept: 1, tried, items, data_sha256, command };
        let orders = ListOrders { datasets: BTreeMap::from([("mine".to_owned(), order)]) };
        orders.save(folder.path()).unwrap();
        let found = load(folder.path()).unwrap();
        assert_eq!((found.kept("mine"), found.kept("other")), (1, 2));
        assert_eq!(found, orders);
    }

    #[test]
    fn lists_without_an_entry_and_what_is_no_order_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            std::fs::write(folder.path().join(LISTS_FILE), text).unwrap();
            load(folder.path()).unwrap_err().to_string()
        };
        let none = r#"{"datasets":{"mine":{"kept":0,"tried":[],"items":[],
            "data_sha256":"","command":""}}}"#;
        let message = refused(none);
        let said = "dataset mine, key \"kept\": a list without an entry is none; found 0; \
                    allowed: 1 or more";
        assert!(message.ends_with(said), "{message}");
        assert!(refused("[]").contains("not orders of lists"));
    }
}
