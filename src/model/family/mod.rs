//! What each family keeps beside the order of units and the counts of them that a level has.

use std::path::Path;

use super::manifest::ElasticManifest;
use crate::error::Result;
use crate::family::Family;

pub mod contextual;
pub mod lora;
pub mod merge;
mod quantised;
pub mod zoo;

use contextual::PredictorFile;
use lora::Adapters;
use merge::{MergedLayer, Merges};

/// The family of a ladder with what is its own. A zoo is none of these: its levels share no units,
/// and its manifest is another ([`zoo::ZooManifest`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Prefixes of reordered units.
    Width,
    /// Those prefixes, each with an adapter.
    WidthLora(Adapters),
    /// Those prefixes, gathered into memory of their own.
    WidthRelayout,
    /// Layers skipped by what the removal of each alone costs.
    LayerRemoval,
    /// Layers skipped by what their removal costs when those before them have gone.
    LayerRemovalGreedy,
    /// Layers skipped by how little they turn the residual stream.
    LayerInfluence,
    /// Layers merged into others.
    LayerMerge(Merges),
    /// Attention skipped, then MLPs.
    AttnDrop,
    /// Neurons picked for each token.
    Contextual(PredictorFile),
    /// All units in 8 bits and in 4.
    Bits,
    /// Prefixes of reordered units in 8 bits.
    WidthQ8,
    /// The same in 4.
    WidthQ4,
}

impl Payload {
    /// The payload of a family whose ladder is orders and counts of units alone.
    #[must_use]
    pub fn of_units(family: Family) -> Option<Self> {
        match family {
            Family::Width => Some(Self::Width),
            Family::WidthRelayout => Some(Self::WidthRelayout),
            Family::LayerRemoval => Some(Self::LayerRemoval),
            Family::LayerRemovalGreedy => Some(Self::LayerRemovalGreedy),
            Family::LayerInfluence => Some(Self::LayerInfluence),
            Family::AttnDrop => Some(Self::AttnDrop),
            Family::Bits => Some(Self::Bits),
            Family::WidthQ8 => Some(Self::WidthQ8),
            Family::WidthQ4 => Some(Self::WidthQ4),
            Family::WidthLora | Family::LayerMerge | Family::Contextual | Family::Zoo => None,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Width => Family::Width,
            Self::WidthLora(_) => Family::WidthLora,
            Self::WidthRelayout => Family::WidthRelayout,
            Self::LayerRemoval => Family::LayerRemoval,
            Self::LayerRemovalGreedy => Family::LayerRemovalGreedy,
            Self::LayerInfluence => Family::LayerInfluence,
            Self::LayerMerge(_) => Family::LayerMerge,
            Self::AttnDrop => Family::AttnDrop,
            Self::Contextual(_) => Family::Contextual,
            Self::Bits => Family::Bits,
            Self::WidthQ8 => Family::WidthQ8,
            Self::WidthQ4 => Family::WidthQ4,
        }
    }

    /// The adapters, where the family has some.
    #[must_use]
    pub fn adapters(&self) -> Option<&Adapters> {
        if let Self::WidthLora(adapters) = self { Some(adapters) } else { None }
    }

    /// The layers of `level` that are sums of the base model's.
    #[must_use]
    pub fn merged(&self, level: crate::units::Level) -> &[MergedLayer] {
        if let Self::LayerMerge(merges) = self { merges.of(level) } else { &[] }
    }

    /// Checks that it belongs to the ladder of `manifest`, of the file `path`.
    pub(super) fn check(&self, path: &Path, manifest: &ElasticManifest) -> Result<()> {
        match self {
            Self::WidthLora(adapters) => adapters.check(path, manifest),
            Self::LayerMerge(merges) => merges.check(path, manifest),
            _ => Ok(()),
        }
    }
}
