//! Where the weights of a sub-model are when it runs: shared by all, or in memory of its own that a
//! switch fills.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::model::{LayerOrder, ModelConfig, SubModel};
use super::stopwatch::timed;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::units::Level;

/// How a level's weights get where its session reads them.
#[derive(Debug)]
pub enum Residence {
    /// They are there: every level is a view of the same bytes.
    Shared,
    /// They are gathered out of the base model's, which lie in its own order.
    Gathered {
        /// Ranks the units.
        order: Vec<LayerOrder>,
    },
    /// They are read from a file of the level's own.
    Swapped {
        /// Folders of layers.
        folders: BTreeMap<Level, PathBuf>,
    },
    /// Every level is a model of its own, read whole.
    Separate {
        /// The models.
        models: BTreeMap<Level, SeparateModel>,
    },
}

/// A model that shares nothing with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct SeparateModel {
    /// The folder of its weights.
    pub folder: PathBuf,
    /// Its dimensions.
    pub config: ModelConfig,
}

/// What making a level resident took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switch {
    /// Allocating and filling memory with its weights.
    pub weights: Duration,
    /// Bytes of memory that were filled.
    pub bytes: usize,
}

/// The private weights of one level at a time.
#[derive(Debug)]
pub(super) struct Resident {
    residence: Residence,
    base: Arc<Weights>,
    level: Option<Level>,
}

impl Resident {
    /// Nothing resident yet, over `base`.
    pub(super) fn new(residence: Residence, base: Arc<Weights>) -> Self {
        Self { residence, base, level: None }
    }

    /// Whether every level reads the same bytes.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.residence, Residence::Shared)
    }

    /// Whether a switch bills the session too: where models share nothing, opening one is part of
    /// getting at it; where weights move within one model, a runtime might rebind them.
    pub(super) fn bills_sessions(&self) -> bool {
        !matches!(self.residence, Residence::Gathered { .. } | Residence::Swapped { .. })
    }

    /// Dimensions of the model that `level` is, or is a part of.
    pub(super) fn config(&self, level: Level) -> &ModelConfig {
        match &self.residence {
            Residence::Separate { models } if models.contains_key(&level) => &models[&level].config,
            _ => &self.base.index().config,
        }
    }

    /// Nothing is resident any more.
    pub(super) fn release(&mut self) {
        self.level = None;
    }

    /// Whether `level` has to be made resident before it runs.
    pub(super) fn lacks(&self, level: Level) -> bool {
        !self.is_shared() && self.level != Some(level)
    }

    /// The base model's weights.
    pub(super) fn base(&self) -> &Arc<Weights> {
        &self.base
    }

    /// The weights of `sub_model` in memory of their own, with what it took to get them there.
    pub(super) fn fill(&mut self, sub_model: &SubModel) -> Result<(Arc<Weights>, Switch)> {
        self.level = None;
        let level = sub_model.level;
        let none = || Error::new("engine", "level without weights of its own").found(level);
        let (weights, time) = timed(|| match &self.residence {
            Residence::Shared => Ok(Arc::clone(&self.base)),
            Residence::Gathered { order } => {
                Weights::gather(&self.base, order, sub_model).map(Arc::new)
            }
            Residence::Swapped { folders } => {
                let folder = folders.get(&level).ok_or_else(none)?;
                Weights::read_layers(&self.base, folder).map(Arc::new)
            }
            Residence::Separate { models } => {
                let model = models.get(&level).ok_or_else(none)?;
                Weights::read(&model.folder).map(Arc::new)
            }
        });
        let weights = weights?;
        self.level = Some(level);
        let bytes = match self.residence {
            Residence::Separate { .. } => weights.bytes(),
            _ => weights.private_bytes(),
        };
        let switch = Switch { weights: time, bytes };
        Ok((weights, switch))
    }
}

#[cfg(test)]
mod tests;
