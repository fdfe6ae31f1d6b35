//! Where a profile's numbers come from.

use serde::{Deserialize, Serialize};

/// Origin of a set of latency coefficients; reports print it next to whatever depends on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Provenance {
    /// Timed on the device itself.
    Measured {
        /// Day of the measurement, `YYYY-MM-DD`.
        date: String,
        /// Command that measured.
        command: String,
        /// File of raw samples, beside the profile.
        samples: String,
        /// Commit of the code that measured.
        commit: String,
    },
    /// Taken over from someone's publication.
    Published {
        /// One source per figure.
        sources: Vec<String>,
        /// What nobody published, and the model that fills it in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        filled: Vec<String>,
    },
    /// Computed from a formula whose constants are pinned by a few published figures.
    Modelled {
        /// The formula, in symbols.
        formula: String,
        /// Published figures that fix its constants, each with its source.
        anchors: Vec<String>,
        /// What is believed without a source.
        assumptions: Vec<String>,
    },
}

impl Provenance {
    /// `measured`, `published` or `modelled`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Measured { .. } => "measured",
            Self::Published { .. } => "published",
            Self::Modelled { .. } => "modelled",
        }
    }
}
