//! Which answers of a file.

use std::fmt;
use std::path::Path;

use crate::profile::paths::AnswerFiles;

/// Whose answers: those of a family of sub-models to prompts that a compressor cut.
///
/// Its name is the family's, for [`AnswersOf::COMPRESSOR`], or `FAMILY-COMPRESSOR`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswersOf {
    /// Family of sub-models.
    pub family: String,
    /// Compressor, the file's name.
    pub compressor: String,
}

impl AnswersOf {
    /// The compressor of answers that are named after their family alone.
    pub const COMPRESSOR: &str = "structured";

    /// The answers called `name` in the folder `dir`: of the compressors that have a file there the
    /// one with the longest name that `name` ends in.
    #[must_use]
    pub fn named(dir: &Path, name: &str) -> Self {
        let known = AnswerFiles(dir).compressors();
        let family_of = |compressor: &String| {
            let family = name.strip_suffix(compressor.as_str())?.strip_suffix('-')?;
            Some((family.to_owned(), compressor.clone()))
        };
        let found = known.iter().filter_map(family_of).max_by_key(|(_, known)| known.len());
        let (family, compressor) =
            found.unwrap_or_else(|| (name.to_owned(), Self::COMPRESSOR.to_owned()));
        Self { family, compressor }
    }

    /// Those of the same family to prompts that a larger level read, which are measured into files
    /// of their own: tables of plans of one level stay as they are.
    #[must_use]
    pub fn in_phases(&self) -> Self {
        Self { compressor: format!("{}.phases", self.compressor), ..self.clone() }
    }
}

impl fmt::Display for AnswersOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        if self.compressor == Self::COMPRESSOR {
            return Ok(());
        }
        write!(f, "-{}", self.compressor)
    }
}
