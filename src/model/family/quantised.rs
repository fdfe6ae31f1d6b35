//! Families whose weights have fewer bits: `bits`, whose levels are bits of the full width, and the
//! sub-models of `width` in 8 and in 4.

use std::path::Path;

use super::Payload;
use crate::engine::bits::Bits;
use crate::engine::model::SubModel;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::model::manifest::ElasticManifest;
use crate::units::Level;

/// Half the bits of [`Bits::Eight`].
const FOUR_BITS: Level = Level::percent(50);

impl Payload {
    /// Bits of the weights of `level`; `None` where they are f32.
    #[must_use]
    pub fn bits(&self, level: Level) -> Option<Bits> {
        match self {
            Self::WidthQ8 => Some(Bits::Eight),
            Self::WidthQ4 => Some(Bits::Four),
            Self::Bits => Some(if level == Level::FULL { Bits::Eight } else { Bits::Four }),
            _ => None,
        }
    }
}

impl ElasticManifest {
    /// The ladder of `family`, one in fewer bits, over the units of this one, which is of family
    /// `width` and was read from `path`; `command` makes it.
    ///
    /// # Errors
    /// If this is another family, or `family` is none of those.
    pub fn quantised(&self, path: &Path, family: Family, command: String) -> Result<Self> {
        if self.payload != Payload::Width {
            return Err(Error::file(
                path,
                "has more to it than units, which cannot be quantised yet",
            )
            .found(format!("family {}", self.payload.family()))
            .allowed(format!("family {}", Family::Width)));
        }
        let payload = Payload::of_units(family).filter(|of| of.bits(Level::FULL).is_some());
        let payload = payload.ok_or_else(|| {
            Error::new("argument --family", "its weights are f32")
                .found(family)
                .allowed("bits, width-q8, width-q4")
        })?;
        let mut manifest = Self { command, payload, ..self.clone() };
        if family == Family::Bits {
            let full = SubModel::full(&self.model.config);
            manifest.levels = vec![SubModel { level: FOUR_BITS, ..full.clone() }, full];
            manifest.unit_parameter_share = vec![1.0; 2];
        }
        Ok(manifest)
    }
}
