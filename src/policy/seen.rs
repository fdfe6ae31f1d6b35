//! What a policy sees of a request and its service, in words, tokens, milliseconds and millijoules.
//!
//! An external policy is sent it, `pliant policy explain` prints it: both show the same.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::ServiceView;
use crate::request::{Bounds, Limit, RequestView, Slo};
use crate::units::{Level, Ratio, millis};

/// One request, as it is put to a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen<'a> {
    /// The request's number in its trace.
    pub id: u64,
    /// When it arrived.
    pub arrival_ms: f64,
    /// When it is taken up.
    pub now_ms: f64,
    /// Who calls.
    pub app: Cow<'a, str>,
    /// Where its prompt comes from.
    pub dataset: Cow<'a, str>,
    /// Length of the full prompt.
    pub prompt_tokens: u32,
    /// Tokens to generate.
    pub output_tokens: u32,
    /// The objective as stated.
    pub slo: StatedSlo,
    /// The objective as quantities; times count from arrival.
    pub bounds: StatedBounds,
    /// The level in memory; `None` before the first request.
    pub resident: Option<Level>,
    /// Requests that wait behind this one.
    pub queued: usize,
    /// How fast the machine is, of how fast it is when cool; not told where it is as fast.
    #[serde(skip_serializing_if = "is_cool")]
    pub speed: Ratio,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_cool(speed: &Ratio) -> bool {
    *speed == Ratio::ONE
}

/// An objective as an app stated it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StatedSlo {
    /// Shares of the base model's times.
    Relative {
        /// Of its TTFT.
        ttft_ratio: Ratio,
        /// Of its TPOT.
        tpot_ratio: Ratio,
    },
    /// A share of its time to the last token.
    EndToEnd {
        /// Of that time.
        e2e_ratio: Ratio,
    },
    /// A share of what it draws.
    Energy {
        /// Of that energy.
        energy_ratio: Ratio,
    },
    /// Quantities.
    Absolute(StatedBounds),
}

/// An objective in ms or mJ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StatedBounds {
    /// A pair of latencies.
    Latency {
        /// Most time from arrival to first token.
        ttft_ms: f64,
        /// Most mean time per token after the first.
        tpot_ms: f64,
    },
    /// On the whole answer.
    EndToEnd {
        /// Most time from arrival to the last token.
        e2e_ms: f64,
    },
    /// On what is drawn.
    Energy {
        /// Most energy from the start of service to the last token.
        energy_mj: f64,
    },
}

impl<'a> Seen<'a> {
    /// `request`, for so many tokens, of the app and dataset of these names.
    #[must_use]
    pub fn new(
        request: RequestView<'_>,
        service: ServiceView,
        output_tokens: u32,
        [app, dataset]: [&'a str; 2],
    ) -> Self {
        Self {
            id: request.id(),
            arrival_ms: request.arrival().as_millis_f64(),
            now_ms: service.now.as_millis_f64(),
            app: app.into(),
            dataset: dataset.into(),
            prompt_tokens: request.prompt_tokens(),
            output_tokens,
            slo: StatedSlo::of(request.slo()),
            bounds: StatedBounds::of(request.bounds()),
            resident: service.resident,
            queued: service.queued,
            speed: service.speed,
        }
    }

    /// The same with names of its own.
    #[must_use]
    pub fn into_owned(self) -> Seen<'static> {
        Seen {
            app: self.app.into_owned().into(),
            dataset: self.dataset.into_owned().into(),
            ..self
        }
    }
}

impl StatedSlo {
    fn of(slo: Slo) -> Self {
        match slo {
            Slo::Relative { ttft, tpot } => Self::Relative { ttft_ratio: ttft, tpot_ratio: tpot },
            Slo::EndToEnd(Limit::Share(e2e_ratio)) => Self::EndToEnd { e2e_ratio },
            Slo::Energy(Limit::Share(energy_ratio)) => Self::Energy { energy_ratio },
            Slo::Absolute { ttft, tpot } => {
                Self::Absolute(StatedBounds::of(Bounds::Latency { ttft, tpot }))
            }
            Slo::EndToEnd(Limit::Absolute(time)) => {
                Self::Absolute(StatedBounds::of(Bounds::EndToEnd(time)))
            }
            Slo::Energy(Limit::Absolute(energy)) => {
                Self::Absolute(StatedBounds::of(Bounds::Energy(energy)))
            }
        }
    }
}

impl StatedBounds {
    fn of(bounds: Bounds) -> Self {
        match bounds {
            Bounds::Latency { ttft, tpot } => {
                Self::Latency { ttft_ms: millis(ttft), tpot_ms: millis(tpot) }
            }
            Bounds::EndToEnd(time) => Self::EndToEnd { e2e_ms: millis(time) },
            Bounds::Energy(energy) => Self::Energy { energy_mj: energy.as_millijoules_f64() },
        }
    }
}

impl fmt::Display for StatedSlo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative { ttft_ratio, tpot_ratio } => write!(f, "⟨{ttft_ratio}, {tpot_ratio}⟩"),
            Self::EndToEnd { e2e_ratio } => write!(f, "{e2e_ratio} of the time to the last token"),
            Self::Energy { energy_ratio } => write!(f, "{energy_ratio} of the energy"),
            Self::Absolute(bounds) => bounds.fmt(f),
        }
    }
}

impl fmt::Display for StatedBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { ttft_ms, tpot_ms } => {
                write!(f, "TTFT {ttft_ms:.1} ms, TPOT {tpot_ms:.1} ms")
            }
            Self::EndToEnd { e2e_ms } => write!(f, "last token in {e2e_ms:.1} ms"),
            Self::Energy { energy_mj } => write!(f, "{energy_mj:.1} mJ"),
        }
    }
}
