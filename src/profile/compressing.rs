//! What cutting prompts costs on a device.

use std::time::Duration;

use super::curve::PrefillCurve;
use super::device::{DeviceProfile, FamilyLatency};
use crate::error::{Error, Result};
use crate::units::duration_from_millis;

/// The compressor that the tiny language model runs.
pub const SCORE_HEAD: &str = "score-head";

/// The compressor that also ranks entries of lists, with all layers of the encoder.
pub const RANKED_LISTS: &str = "ranked-lists";

/// The compressor whose head sits on all layers of the encoder.
pub const LINGUA: &str = "lingua";

/// How the time of cutting a prompt grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compressing {
    /// ms per token of the full prompt.
    PerToken(f64),
    /// A head of the encoder, over the full prompt's tokens.
    Scored(PrefillCurve),
}

impl Compressing {
    /// The times of `compressor` for `family` on `device`.
    ///
    /// # Errors
    /// If a head scores for it and the device has no times of it for the family's base model.
    pub fn of(
        device: &DeviceProfile,
        family: &FamilyLatency,
        compressor: Option<&str>,
    ) -> Result<Self> {
        let tlm = || device.tlm(&family.base_model);
        let (times, key) = match compressor {
            Some(SCORE_HEAD) => (tlm()?.compress_ms, "compress_ms"),
            Some(RANKED_LISTS) => (tlm()?.ranked_lists_ms, "ranked_lists_ms"),
            Some(LINGUA) => (tlm()?.lingua_ms, "lingua_ms"),
            _ => return Ok(Self::PerToken(family.compress_ms_per_token)),
        };
        let times = times.ok_or_else(|| {
            let compressor = compressor.unwrap_or_default();
            let problem = format!("no times of compressor {compressor}");
            Error::new(format!("device profile {}", device.name), problem)
                .at(format!("tlm {}", family.base_model))
                .allowed(format!("key {key:?}"))
        });
        times.map(Self::Scored)
    }

    /// The time to cut a prompt of `prompt_tokens`.
    ///
    /// # Panics
    /// If a per-token time is no length of time; a checked profile's is.
    #[must_use]
    pub fn time(&self, prompt_tokens: u32) -> Duration {
        match self {
            Self::PerToken(0.0) => Duration::ZERO,
            Self::PerToken(ms) => duration_from_millis(ms * f64::from(prompt_tokens))
                .expect("profiles hold lengths of time"),
            Self::Scored(curve) => curve.at(prompt_tokens),
        }
    }
}
