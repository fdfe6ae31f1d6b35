//! Families of sub-models: the ways in which one model becomes a ladder of levels.
//!
//! These are the ones that the engine runs. A device profile may have families of its owner's, which
//! are names and nothing more.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a ladder gets its sub-models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Prefixes of reordered units.
    Width,
    /// Those prefixes, each with an adapter of its own.
    WidthLora,
    /// The same units as `width`, gathered into memory of their own at each switch.
    WidthRelayout,
    /// Whole layers skipped, by what the removal of each alone costs.
    LayerRemoval,
    /// Whole layers skipped, by what their removal costs when those before them have gone.
    LayerRemovalGreedy,
    /// Whole layers skipped, by how little they turn the residual stream.
    LayerInfluence,
    /// Layers merged into others.
    LayerMerge,
    /// Attention skipped, then MLPs, by how little they turn the residual stream.
    AttnDrop,
    /// Separately trained models.
    Zoo,
    /// Neurons picked for each token that is generated.
    Contextual,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 10] = [
        Self::Width,
        Self::WidthLora,
        Self::WidthRelayout,
        Self::LayerRemoval,
        Self::LayerRemovalGreedy,
        Self::LayerInfluence,
        Self::LayerMerge,
        Self::AttnDrop,
        Self::Zoo,
        Self::Contextual,
    ];

    /// The family's name in files, on the command line and in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::WidthLora => "width-lora",
            Self::WidthRelayout => "width-relayout",
            Self::LayerRemoval => "layer-removal",
            Self::LayerRemovalGreedy => "layer-removal-greedy",
            Self::LayerInfluence => "layer-influence",
            Self::LayerMerge => "layer-merge",
            Self::AttnDrop => "attn-drop",
            Self::Zoo => "zoo",
            Self::Contextual => "contextual",
        }
    }

    /// All names, for messages about an unknown one.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name).ok_or_else(|| {
            Error::new("family", "unknown to the engine").found(name).allowed(Self::names())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_read_by_the_name_that_it_is_written_by() {
        for family in Family::ALL {
            assert_eq!(family.name().parse::<Family>().unwrap(), family);
            assert_eq!(serde_json::to_value(family).unwrap(), family.name());
        }
        let error = "half".parse::<Family>().unwrap_err().to_string();
        assert!(error.starts_with("family: unknown to the engine; found half; allowed: width, "));
    }
}
