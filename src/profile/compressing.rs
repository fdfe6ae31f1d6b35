//! What cutting prompts costs on a device.

use std::time::Duration;

use super::curve::PrefillCurve;
use super::device::{DeviceProfile, FamilyLatency};
use crate::error::{Error, Result};
use crate::units::duration_from_millis;

/// The compressor that the tiny language model runs.
pub const SCORE_HEAD: &str = "score-head";

/// How the time of cutting a prompt grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compressing {
    /// ms per token of the full prompt.
    PerToken(f64),
    /// The score-head, over the full prompt's tokens.
    ScoreHead(PrefillCurve),
}

impl Compressing {
    /// The times of `compressor` for `family` on `device`.
    ///
    /// # Errors
    /// If it is the score-head and the device has no times of one for the family's base model.
    pub fn of(
        device: &DeviceProfile,
        family: &FamilyLatency,
        compressor: Option<&str>,
    ) -> Result<Self> {
        if compressor != Some(SCORE_HEAD) {
            return Ok(Self::PerToken(family.compress_ms_per_token));
        }
        let times = device.tlm(&family.base_model)?.compress_ms.ok_or_else(|| {
            Error::new(format!("device profile {}", device.name), "no times of the score-head")
                .at(format!("tlm {}", family.base_model))
                .allowed("key \"compress_ms\"")
        });
        times.map(Self::ScoreHead)
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
            Self::ScoreHead(curve) => curve.at(prompt_tokens),
        }
    }
}
