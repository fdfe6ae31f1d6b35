//! Families of sub-models: the ways in which one model becomes a ladder of levels.
//!
//! A [`Family`] is one that the engine runs. A [`FamilyName`] may be one of a device profile's
//! owner as well, which is a name and nothing more.

use std::fmt;
use std::ops::Deref;
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
    /// The full width in 8 bits (level 100 %) and in 4 (level 50 %).
    Bits,
    /// The sub-models of `width` in 8 bits.
    WidthQ8,
    /// The sub-models of `width` in 4 bits.
    WidthQ4,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 13] = [
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
        Self::Bits,
        Self::WidthQ8,
        Self::WidthQ4,
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
            Self::Bits => "bits",
            Self::WidthQ8 => "width-q8",
            Self::WidthQ4 => "width-q4",
        }
    }

    /// Whether each level is a part of the larger ones, so that it can answer a prompt that one of
    /// them read: what it attends with has its keys and values in their cache.
    #[must_use]
    pub fn answers_in_phases(self) -> bool {
        !matches!(self, Self::LayerMerge | Self::Zoo | Self::Contextual)
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

/// A family by its name in device profiles and methods.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FamilyName {
    /// One that the engine runs.
    Known(Family),
    /// One that a device profile's owner has measured or modelled.
    Own(Box<str>),
}

/// Letters of a name.
const NAME_LETTERS_MAX: usize = 64;

impl FamilyName {
    /// The family, if the engine runs it.
    #[must_use]
    pub fn known(&self) -> Option<Family> {
        if let Self::Known(family) = self { Some(*family) } else { None }
    }
}

impl Deref for FamilyName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Known(family) => family.name(),
            Self::Own(name) => name,
        }
    }
}

impl fmt::Display for FamilyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl FromStr for FamilyName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Ok(family) = name.parse() {
            return Ok(Self::Known(family));
        }
        let letter = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
        if (1..=NAME_LETTERS_MAX).contains(&name.chars().count()) && name.chars().all(letter) {
            return Ok(Self::Own(name.into()));
        }
        Err(Error::new("family", "no name")
            .found(format!("{name:?}"))
            .allowed(format!("1 to {NAME_LETTERS_MAX} letters, digits, `-`, `_`, `.` and `+`")))
    }
}

impl TryFrom<String> for FamilyName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<FamilyName> for String {
    fn from(name: FamilyName) -> Self {
        name.to_string()
    }
}

impl From<Family> for FamilyName {
    fn from(family: Family) -> Self {
        Self::Known(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_owner_may_have_a_family_of_their_own_and_no_name_that_is_none() {
        let read = |json: &str| serde_json::from_str::<FamilyName>(json);
        assert_eq!(read("\"width-lora\"").unwrap(), FamilyName::Known(Family::WidthLora));
        let own = read("\"half-width.2\"").unwrap();
        assert_eq!((own.known(), &*own), (None, "half-width.2"));
        assert_eq!(serde_json::to_string(&own).unwrap(), "\"half-width.2\"");
        for wrong in ["\"\"", "\"a/b\"", "\"a b\"", "\"\\u001b[2J\""] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(message.starts_with("family: no name; found "), "{message}");
        }
    }

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
