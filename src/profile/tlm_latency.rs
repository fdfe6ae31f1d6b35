//! What the tiny language model costs on a device.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::curve::{MAX_TOKENS, PrefillCurve};
use super::provenance::Provenance;
use crate::error::{Error, Result};

/// Times of the TLM beside a base model: `[[tlm]]` of `device.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlmLatency {
    /// The base model it serves.
    pub base_model: String,
    /// The decision-head, over the tokens that the TLM reads for it: the request's own prompt.
    pub decide_ms: PrefillCurve,
    /// The score-head, over the full prompt's tokens, counted in the base model's; absent where
    /// none was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress_ms: Option<PrefillCurve>,
    /// Compressor `ranked-lists`, over the same tokens, of prompts with and without lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranked_lists_ms: Option<PrefillCurve>,
    /// Compressor `lingua`, over the same tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lingua_ms: Option<PrefillCurve>,
    /// Where the curves come from.
    pub provenance: Provenance,
}

impl TlmLatency {
    /// Time to choose a plan having read `tlm_tokens`.
    #[must_use]
    pub fn decide(&self, tlm_tokens: u32) -> Duration {
        self.decide_ms.at(tlm_tokens)
    }

    /// Time to score a prompt of `prompt_tokens`; `None` if no score-head was timed.
    #[must_use]
    pub fn compress(&self, prompt_tokens: u32) -> Option<Duration> {
        Some(self.compress_ms?.at(prompt_tokens))
    }

    /// Refuses curves that are no lengths of time up to the longest prompt.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let curves = [
            ("decide_ms", Some(self.decide_ms)),
            ("compress_ms", self.compress_ms),
            ("ranked_lists_ms", self.ranked_lists_ms),
            ("lingua_ms", self.lingua_ms),
        ];
        for (key, curve) in curves.into_iter().filter_map(|(key, curve)| Some((key, curve?))) {
            for (name, value) in curve.coefficients() {
                if !(value >= 0.0
                    && crate::units::duration_from_millis(curve.millis(MAX_TOKENS)).is_some())
                {
                    return Err(Error::file(path, "impossible latency curve")
                        .at(format!("tlm {}, key \"{key}.{name}\"", self.base_model))
                        .found(value)
                        .allowed("0 or more milliseconds"));
                }
            }
        }
        Ok(())
    }
}
