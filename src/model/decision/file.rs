//! A trained decision-head on disk: safetensors in f32, and what it was trained on as the value of
//! one metadata key, `pliant`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::reading::{Input, Pooling};
use super::soft::{SoftRule, Told};
use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::model::tensor_file::{self, TensorFile};
use crate::profile::DecisionKind;

const SCHEMA: u32 = 1;

/// What a head was trained on and for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadInfo {
    /// Version of the file format: 1.
    pub schema: u32,
    /// Which head.
    pub kind: DecisionKind,
    /// Whose answers were learnt.
    pub base_model: String,
    /// The quality table that they are in.
    pub table: String,
    /// Its hash.
    pub table_sha256: String,
    /// How its prompts were cut.
    pub compressor: String,
    /// Whose latencies training looked at: for labels (hard), or to choose among penalties (soft).
    pub device: String,
    /// SHA-256 of the trunk's weights.
    pub trunk_sha256: String,
    /// Layers of it below the head's own one.
    pub shared_layers: usize,
    /// What it reads of a request.
    #[serde(default)]
    pub input: Input,
    /// Where a soft head's probabilities come from.
    #[serde(default)]
    pub rule: SoftRule,
    /// What a soft head's features are.
    #[serde(default)]
    pub pooling: Pooling,
    /// What a soft head is told.
    #[serde(default)]
    pub told: Told,
    /// Datasets in the order of the tensors' rows; of a head that is told none, one name for all;
    /// of one that remembers prompts, the dataset of each.
    pub datasets: Vec<String>,
    /// The items it learnt from, by dataset.
    pub trained_on: BTreeMap<String, BTreeSet<ItemId>>,
    /// The items it was validated on, by dataset: none that it learnt from.
    pub validated_on: BTreeMap<String, BTreeSet<ItemId>>,
    /// The levels and ratios it chooses from, in percent.
    pub levels: Vec<u16>,
    /// See `levels`.
    pub ratios: Vec<u16>,
    /// What was seen while training.
    pub measures: BTreeMap<String, f64>,
    /// The command.
    pub command: String,
}

/// A tensor as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// A head's file.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFile {
    /// What it is.
    pub info: HeadInfo,
    /// Its weights by name.
    pub tensors: BTreeMap<String, Numbers>,
    /// Of the whole file; empty before it is written.
    pub sha256: String,
}

impl HeadFile {
    /// Writes the file `path`, replacing an older one in one step, and returns its hash.
    ///
    /// # Errors
    /// If a value is not finite, or the file cannot be written.
    ///
    /// # Panics
    /// If a tensor's shape contradicts its values.
    pub fn save(&self, path: &Path) -> Result<String> {
        for (name, numbers) in &self.tensors {
            if let Some(value) = numbers.values.iter().find(|value| !value.is_finite()) {
                return Err(Error::file(path, "head not written: training diverged")
                    .at(format!("tensor \"{name}\""))
                    .found(value));
            }
        }
        let entries = self.tensors.iter().map(|(name, numbers)| {
            (name.clone(), numbers.shape.clone(), numbers.values.as_slice())
        });
        tensor_file::save(path, &self.info, entries)
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no decision-head, chooses from other levels or ratios than this
    /// program knows, or has a tensor of another type.
    pub fn load(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path, "not a decision-head")?;
        let info: HeadInfo = file.metadata()?;
        info.check(path)?;
        let mut tensors = BTreeMap::new();
        for name in file.names()? {
            let (shape, values) = file.tensor(&name)?;
            tensors.insert(name, Numbers { shape, values });
        }
        Ok(Self { info, tensors, sha256: file.sha256() })
    }

    /// The tensor `name` of shape `shape`, from the file `path`.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub fn tensor(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let found = self.tensors.get(name);
        match found {
            Some(numbers) if numbers.shape == shape => Ok(&numbers.values),
            _ => Err(Error::file(path, "tensor missing or of another shape")
                .at(format!("tensor \"{name}\""))
                .found(found.map_or("none".to_owned(), |found| format!("{:?}", found.shape)))
                .allowed(format!("{shape:?}"))),
        }
    }
}

impl HeadInfo {
    fn check(&self, path: &Path) -> Result<()> {
        if self.schema != SCHEMA {
            let error = Error::file(path, "unknown version").at("key \"schema\"");
            return Err(error.found(self.schema).allowed(SCHEMA));
        }
        let (levels, ratios) = plan_axes();
        if (&self.levels, &self.ratios) != (&levels, &ratios) {
            return Err(Error::file(path, "head for other levels or ratios")
                .found(format!("{:?} × {:?}", self.levels, self.ratios))
                .allowed(format!("{levels:?} × {ratios:?}")));
        }
        Ok(())
    }

    /// Refuses a head, from the file `path`, that was trained on another trunk.
    ///
    /// # Errors
    /// If the hashes differ.
    pub fn check_trunk(&self, path: &Path, sha256: &str) -> Result<()> {
        if self.trunk_sha256 == sha256 {
            return Ok(());
        }
        Err(Error::file(path, "head of another trunk").found(&self.trunk_sha256).allowed(sha256))
    }
}

/// The levels and ratios of a plan, in percent.
#[must_use]
pub fn plan_axes() -> (Vec<u16>, Vec<u16>) {
    let levels = crate::units::Level::LADDER.map(crate::units::Level::as_percent);
    let ratios = crate::units::PROMPT_RATIOS.map(crate::units::Ratio::as_percent);
    (levels.to_vec(), ratios.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> HeadFile {
        let (levels, ratios) = plan_axes();
        HeadFile {
            info: HeadInfo {
                schema: 1,
                kind: DecisionKind::Soft,
                base_model: "tiny".into(),
                table: "width".into(),
                table_sha256: "aa".into(),
                compressor: "structured".into(),
                device: "bench".into(),
                trunk_sha256: "bb".into(),
                shared_layers: 2,
                input: Input::Template,
                rule: SoftRule::Table,
                told: Told::Nothing,
                pooling: Pooling::Mean,
                datasets: vec!["sciq".into()],
                trained_on: BTreeMap::from([("sciq".into(), BTreeSet::from([1.into()]))]),
                validated_on: BTreeMap::new(),
                levels,
                ratios,
                measures: BTreeMap::new(),
                command: String::new(),
            },
            tensors: BTreeMap::from([(
                "item".into(),
                Numbers { shape: vec![1, 2], values: vec![0.5, -1.25] },
            )]),
            sha256: String::new(),
        }
    }

    #[test]
    fn a_head_round_trips_and_knows_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        let sha256 = head().save(&path).unwrap();
        let loaded = HeadFile::load(&path).unwrap();
        assert_eq!(loaded, HeadFile { sha256, ..head() });
        assert_eq!(loaded.tensor(&path, "item", &[1, 2]).unwrap(), [0.5, -1.25]);
    }

    #[test]
    fn heads_that_do_not_fit_are_refused_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        let refusal = |change: fn(&mut HeadFile)| {
            let mut head = head();
            change(&mut head);
            let refused = head.save(&path).and_then(|_| HeadFile::load(&path));
            refused.unwrap_err().to_string().split_once("safetensors").unwrap().1.to_owned()
        };
        let other_levels = refusal(|head| head.info.levels = vec![50, 100]);
        let other_schema = refusal(|head| head.info.schema = 2);
        let good = head().save(&path).unwrap();
        let diverged = refusal(|head| head.tensors.get_mut("item").unwrap().values[1] = f32::NAN);
        let loaded = HeadFile::load(&path).unwrap();
        assert_eq!(loaded.sha256, good, "the good file stays");
        let trunk = loaded.info.check_trunk(&path, "cc").unwrap_err().to_string();
        let trunk = trunk.split_once("safetensors").unwrap().1.to_owned();
        let shape = loaded.tensor(&path, "item", &[3]).unwrap_err().to_string();
        let shape = shape.split_once("safetensors").unwrap().1.to_owned();
        insta::assert_snapshot!([other_levels, other_schema, diverged, trunk, shape].join("\n"), @r#"
        : head for other levels or ratios; found [50, 100] × [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]; allowed: [20, 30, 40, 50, 60, 70, 80, 90, 100] × [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
        , key "schema": unknown version; found 2; allowed: 1
        , tensor "item": head not written: training diverged; found NaN
        : head of another trunk; found bb; allowed: cc
        , tensor "item": tensor missing or of another shape; found [1, 2]; allowed: [3]
        "#);
    }
}
