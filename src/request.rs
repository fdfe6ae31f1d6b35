//! A request, its latency objective, and the view of it that a policy gets.

use std::time::Duration;

use crate::units::{Ratio, SimTime};

/// Index into [`Trace::apps`](crate::trace::Trace::apps).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub u16);

/// Index into [`Trace::datasets`](crate::trace::Trace::datasets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetId(pub u16);

/// One call of the service by an app.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Unique within the trace.
    pub id: u64,
    /// When the app calls.
    pub arrival: SimTime,
    /// Who calls.
    pub app: AppId,
    /// Where the prompt comes from.
    pub dataset: DatasetId,
    /// Which item of the dataset the prompt is: the key of the ground truth.
    pub item: u32,
    /// Length of the full prompt in tokens of the base model.
    pub prompt_tokens: u32,
    /// Tokens to generate.
    pub output_tokens: u32,
    /// The objective as the app stated it.
    pub slo: Slo,
}

/// A latency objective ⟨TTFT, TPOT⟩ as stated by an app.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slo {
    /// Shares, in (0, 1], of the base model's unqueued latency on the same, full prompt.
    Relative {
        /// ζ of the time to first token.
        ttft: Ratio,
        /// ζ of the time per output token.
        tpot: Ratio,
    },
    /// Lengths of time.
    Absolute {
        /// Bound of the time to first token.
        ttft: Duration,
        /// Bound of the time per output token.
        tpot: Duration,
    },
}

/// An objective resolved to lengths of time, once, when a run is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most time from arrival to first token.
    pub ttft: Duration,
    /// Most mean time per token after the first.
    pub tpot: Duration,
}

impl Bounds {
    /// What is left of both when a share `margin` is kept free.
    #[must_use]
    pub fn less(self, margin: Ratio) -> Self {
        let Self { ttft, tpot } = self;
        let less = |bound: Duration| bound.saturating_sub(margin.of(bound));
        Self { ttft: less(ttft), tpot: less(tpot) }
    }
}

impl Slo {
    /// The bounds of this objective where the base model on the full prompt takes `full`.
    #[must_use]
    pub fn resolve(self, full: Bounds) -> Bounds {
        match self {
            Self::Relative { ttft, tpot } => {
                Bounds { ttft: ttft.of(full.ttft), tpot: tpot.of(full.tpot) }
            }
            Self::Absolute { ttft, tpot } => Bounds { ttft, tpot },
        }
    }
}

/// What a policy may know of a request.
///
/// It cannot reach the item's answer, the other requests or the outcome table:
///
/// ```compile_fail
/// fn cheat(view: pliant::request::RequestView<'_>) -> u32 {
///     view.item()
/// }
/// ```
///
/// An oracle gets its knowledge when it is constructed, keyed by [`RequestView::id`].
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    request: &'a Request,
    bounds: Bounds,
}

impl<'a> RequestView<'a> {
    /// The view of `request` whose objective resolved to `bounds`.
    #[must_use]
    pub fn new(request: &'a Request, bounds: Bounds) -> Self {
        Self { request, bounds }
    }

    /// The request's number, unique within its trace.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.request.id
    }

    /// When it arrived.
    #[must_use]
    pub fn arrival(&self) -> SimTime {
        self.request.arrival
    }

    /// The app that calls.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.request.app
    }

    /// The dataset its prompt comes from.
    #[must_use]
    pub fn dataset(&self) -> DatasetId {
        self.request.dataset
    }

    /// Length of the full prompt in tokens.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        self.request.prompt_tokens
    }

    /// The objective as stated.
    #[must_use]
    pub fn slo(&self) -> Slo {
        self.request.slo
    }

    /// The objective as lengths of time, counted from arrival.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_objective_scales_the_full_model_and_an_absolute_one_ignores_it() {
        let full = Bounds { ttft: Duration::from_secs(1), tpot: Duration::from_millis(50) };
        let relative = Slo::Relative { ttft: Ratio::percent(40), tpot: Ratio::percent(70) };
        assert_eq!(
            relative.resolve(full),
            Bounds { ttft: Duration::from_millis(400), tpot: Duration::from_millis(35) }
        );
        let absolute =
            Slo::Absolute { ttft: Duration::from_millis(9), tpot: Duration::from_millis(8) };
        assert_eq!(
            absolute.resolve(full),
            Bounds { ttft: Duration::from_millis(9), tpot: Duration::from_millis(8) }
        );
    }
}
