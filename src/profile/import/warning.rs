//! What is odd about an import, and does not stop it.

use std::fmt;

use serde::Serialize;

/// Something that a reader of the profile should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// A record without times of one answer.
    WithoutTimes {
        /// Which.
        place: String,
    },
    /// A test that times prompt and answer together.
    Together {
        /// Which.
        place: String,
    },
    /// A length that nobody measured.
    Filled {
        /// Of which model and phase.
        what: String,
        /// The model that fills it in.
        model: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithoutTimes { place } => write!(f, "{place}: no times of one answer, left out"),
            Self::Together { place } => {
                write!(f, "{place}: times prompt and answer together, left out")
            }
            Self::Filled { what, model } => write!(f, "{what}: modelled, {model}"),
        }
    }
}
