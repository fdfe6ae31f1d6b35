//! Families whose weights have fewer bits: `bits`, whose levels are bits of the full width, and the
//! sub-models of `width` in 8 and in 4.

use super::Payload;
use crate::engine::bits::Bits;
use crate::engine::model::SubModel;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::model::manifest::ElasticManifest;
use crate::units::Level;

/// The families, for messages.
pub const NAMES: &str = "bits, width-q8, width-q4";

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
    /// The ladder of `family`, one in fewer bits, over the units of this one of family `width`;
    /// `command` made it.
    ///
    /// # Errors
    /// If this is another family, or `family` is none of those.
    pub fn quantised(&self, family: Family, command: String) -> Result<Self> {
        if self.payload != Payload::Width {
            let family = self.payload.family();
            return Err(Error::new("elastic manifest", "not of plain units")
                .found(format!("family {family}"))
                .allowed("family width"));
        }
        let payload =
            Payload::of_units(family).filter(|payload| payload.bits(Level::FULL).is_some());
        let payload = payload.ok_or_else(|| {
            Error::new("family", "its weights are f32").found(family).allowed(NAMES)
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
