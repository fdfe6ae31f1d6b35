//! Latency as a function of tokens: the fitted curves of a level.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::knots::Knots;
use crate::units::duration_from_millis;

/// Longest prompt or context that a curve is asked for: far above any model's, so that a time is
/// always representable.
pub const MAX_TOKENS: u32 = 1 << 20;

/// Time to the first token, in ms, of a prompt of `n` tokens that the model reads:
/// `intercept + per_token · n + per_token_squared · n²`.
///
/// Weights are read once (intercept), each token costs the same matrix work (linear), and
/// attention looks at all earlier tokens (square). Coefficients are never negative, so the curve
/// never decreases and its extrapolation beyond the samples stays a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillCurve {
    /// ms.
    pub intercept: f64,
    /// ms per token.
    pub per_token: f64,
    /// ms per token².
    pub per_token_squared: f64,
    /// Prompt lengths it was fitted on; `None` for a modelled curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenRange>,
    /// How far it is from its samples; `None` for a modelled curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit_error: Option<FitError>,
}

/// Time per output token, in ms, with `n` tokens of context:
/// `intercept + per_context_token · n`, coefficients never negative; or, where that is no line, on
/// straight lines between knots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeCurve {
    /// ms.
    pub intercept: f64,
    /// ms per token of context.
    pub per_context_token: f64,
    /// Points `[tokens, ms]` that stand in place of the line, if there are some.
    #[serde(default, skip_serializing_if = "Knots::is_empty")]
    pub knots: Knots,
    /// Contexts it was fitted on; `None` for a modelled curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenRange>,
    /// How far it is from its samples; `None` for a modelled curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit_error: Option<FitError>,
}

/// The lengths a curve was fitted on, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRange {
    /// Shortest.
    pub min: u32,
    /// Longest.
    pub max: u32,
}

/// |fitted − measured| / measured over the lengths of a fit, measured = median of repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitError {
    /// Of the worst length.
    pub max_relative: f64,
    /// Of the middle length.
    pub median_relative: f64,
}

impl PrefillCurve {
    /// Predicted ms for `tokens` prompt tokens.
    #[must_use]
    pub fn millis(&self, tokens: u32) -> f64 {
        let n = f64::from(tokens);
        self.intercept + n * (self.per_token + n * self.per_token_squared)
    }

    /// Predicted length of time for `tokens` prompt tokens.
    #[must_use]
    pub fn at(&self, tokens: u32) -> Duration {
        length(self.millis(tokens))
    }

    /// The curve of what takes `factor` times as long; nothing was fitted to it.
    pub(crate) fn times(&self, factor: f64) -> Self {
        Self {
            intercept: self.intercept * factor,
            per_token: self.per_token * factor,
            per_token_squared: self.per_token_squared * factor,
            tokens: None,
            fit_error: None,
        }
    }

    /// The curve between this and `other`, at `share` of the way; nothing was fitted to it.
    pub(super) fn towards(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a * (1.0 - share) + b * share;
        Self {
            intercept: mix(self.intercept, other.intercept),
            per_token: mix(self.per_token, other.per_token),
            per_token_squared: mix(self.per_token_squared, other.per_token_squared),
            tokens: None,
            fit_error: None,
        }
    }

    /// The coefficients by name, for checks.
    pub(super) fn coefficients(&self) -> [(&'static str, f64); 3] {
        [
            ("intercept", self.intercept),
            ("per_token", self.per_token),
            ("per_token_squared", self.per_token_squared),
        ]
    }
}

impl DecodeCurve {
    /// Predicted ms per token at `context` tokens.
    #[must_use]
    pub fn millis(&self, context: u32) -> f64 {
        if self.knots.is_empty() {
            return self.intercept + self.per_context_token * f64::from(context);
        }
        self.knots.millis(context)
    }

    /// Predicted length of time per token at `context` tokens.
    #[must_use]
    pub fn at(&self, context: u32) -> Duration {
        length(self.millis(context))
    }

    /// The curve of what takes `factor` times as long; nothing was fitted to it.
    pub(crate) fn times(&self, factor: f64) -> Self {
        Self {
            intercept: self.intercept * factor,
            per_context_token: self.per_context_token * factor,
            knots: self.knots.map(|_, ms| ms * factor),
            tokens: None,
            fit_error: None,
        }
    }

    /// The curve between this and `other`, at `share` of the way; nothing was fitted to it.
    pub(super) fn towards(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a * (1.0 - share) + b * share;
        let bent = if self.knots.is_empty() { other.knots } else { self.knots };
        Self {
            intercept: mix(self.intercept, other.intercept),
            per_context_token: mix(self.per_context_token, other.per_context_token),
            knots: bent.map(|context, _| mix(self.millis(context), other.millis(context))),
            tokens: None,
            fit_error: None,
        }
    }

    /// The coefficients by name, for checks.
    pub(super) fn coefficients(&self) -> [(&'static str, f64); 2] {
        [("intercept", self.intercept), ("per_context_token", self.per_context_token)]
    }
}

/// Coefficients are checked when a profile is loaded, so up to [`MAX_TOKENS`] this is a time.
fn length(millis: f64) -> Duration {
    duration_from_millis(millis).expect("checked coefficients give a length of time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_the_polynomials_they_say() {
        let prefill = PrefillCurve {
            intercept: 10.0,
            per_token: 0.5,
            per_token_squared: 0.001,
            tokens: None,
            fit_error: None,
        };
        // 10 + 0.5 · 100 + 0.001 · 10000 = 70
        assert_eq!(prefill.at(100), Duration::from_millis(70));
        let decode =
            DecodeCurve { intercept: 20.0, per_context_token: 0.01, ..DecodeCurve::default() };
        // 20 + 0.01 · 200 = 22
        assert_eq!(decode.at(200), Duration::from_millis(22));
        let knots = Knots::try_from(vec![(0, 20.0), (100, 20.0), (200, 40.0)]).unwrap();
        let bent = DecodeCurve { knots, ..decode };
        assert_eq!(bent.at(150), Duration::from_millis(30));
        assert_eq!(bent.times(2.0).at(150), Duration::from_millis(60));
        // Half the way between 22 and 40, whichever of the two is bent.
        assert_eq!(bent.towards(&decode, 0.5).at(200), Duration::from_millis(31));
        assert_eq!(decode.towards(&bent, 0.5).at(200), Duration::from_millis(31));
    }
}
