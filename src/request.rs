//! A request, its objective, and the view of it that a policy gets.

use std::time::Duration;

use crate::item::ItemId;
use crate::units::{Energy, Milliwatts, Ratio, SimTime};

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
    pub item: ItemId,
    /// Length of the full prompt in tokens of the base model.
    pub prompt_tokens: u32,
    /// Tokens to generate.
    pub output_tokens: u32,
    /// The objective as the app stated it.
    pub slo: Slo,
    /// What else the app asks of the service.
    pub terms: Terms,
}

/// What an app asks of the service beside its objective, and what of its prompt the service has; by
/// default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The class of the request: the higher, the sooner.
    pub priority: u8,
    /// After how long from its arrival the app gives it up.
    pub cancel_after: Option<Duration>,
    /// Whether it takes the place of what the app has asked for and is not answered yet.
    pub supersedes: bool,
    /// The first tokens of the full prompt, fewer than all, that an earlier turn of the
    /// conversation left keys and values of: a plan that reads the whole prompt reads the rest
    /// alone.
    pub cached_tokens: u32,
}

/// An objective as stated by an app: one bound, or the pair ⟨TTFT, TPOT⟩.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// From arrival to the last token.
    EndToEnd(Limit<Duration>),
    /// What answering may draw from the battery, waiting left out.
    Energy(Limit<Energy>),
}

/// A bound on one quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// A share, in (0, 1], of what the base model takes unqueued on the same, full prompt.
    Share(Ratio),
    /// The quantity itself.
    Absolute(T),
}

/// What the base model takes, unqueued, for a request on its full prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullCost {
    /// Time to first token.
    pub ttft: Duration,
    /// Time per output token after the first.
    pub tpot: Duration,
    /// Output tokens after the first.
    pub gaps: u32,
    /// Electrical power meanwhile, where known.
    pub power: Option<Milliwatts>,
}

impl FullCost {
    /// Time to the last token.
    #[must_use]
    pub fn end_to_end(&self) -> Duration {
        self.ttft + self.tpot * self.gaps
    }

    /// Energy, where the power is known.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        Some(self.power?.energy(self.end_to_end()))
    }
}

/// An objective resolved to quantities, once, when a run is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// A pair of latencies.
    Latency {
        /// Most time from arrival to first token.
        ttft: Duration,
        /// Most mean time per token after the first.
        tpot: Duration,
    },
    /// Most time from arrival to the last token.
    EndToEnd(Duration),
    /// Most energy from the start of service to the last token.
    Energy(Energy),
}

impl Bounds {
    /// What is left when a share `margin` is kept free.
    #[must_use]
    pub fn less(self, margin: Ratio) -> Self {
        let less = |bound: Duration| bound.saturating_sub(margin.of(bound));
        match self {
            Self::Latency { ttft, tpot } => Self::Latency { ttft: less(ttft), tpot: less(tpot) },
            Self::EndToEnd(bound) => Self::EndToEnd(less(bound)),
            Self::Energy(bound) => Self::Energy(bound.less(margin)),
        }
    }

    /// What is left of them once a request has `waited`; waiting draws no energy that counts.
    #[must_use]
    pub fn after(self, waited: Duration) -> Self {
        let left = |bound: Duration| bound.saturating_sub(waited);
        match self {
            Self::Latency { ttft, tpot } => Self::Latency { ttft: left(ttft), tpot },
            Self::EndToEnd(bound) => Self::EndToEnd(left(bound)),
            Self::Energy(bound) => Self::Energy(bound),
        }
    }

    /// The bounds within which a forecast has to be where times before the first token are `before`
    /// times their forecast, and those after it `after` times.
    #[must_use]
    pub fn over(self, before: f64, after: f64) -> Self {
        let by = |bound: Duration, factor: f64| bound.div_f64(factor);
        match self {
            Self::Latency { ttft, tpot } => {
                Self::Latency { ttft: by(ttft, before), tpot: by(tpot, after) }
            }
            Self::EndToEnd(bound) => Self::EndToEnd(by(bound, before.max(after))),
            Self::Energy(bound) => Self::Energy(bound.over(before.max(after))),
        }
    }

    /// The time from arrival after which a first token is surely late; `None` if it never is.
    #[must_use]
    pub fn first_token_due(self) -> Option<Duration> {
        match self {
            Self::Latency { ttft: bound, .. } | Self::EndToEnd(bound) => Some(bound),
            Self::Energy(_) => None,
        }
    }
}

impl Slo {
    /// The bounds of this objective where the base model on the full prompt takes `full`; `None`
    /// if it is one of energy and the power is not known.
    #[must_use]
    pub fn resolve(self, full: &FullCost) -> Option<Bounds> {
        Some(match self {
            Self::Relative { ttft, tpot } => {
                Bounds::Latency { ttft: ttft.of(full.ttft), tpot: tpot.of(full.tpot) }
            }
            Self::Absolute { ttft, tpot } => Bounds::Latency { ttft, tpot },
            Self::EndToEnd(Limit::Share(share)) => Bounds::EndToEnd(share.of(full.end_to_end())),
            Self::EndToEnd(Limit::Absolute(time)) => Bounds::EndToEnd(time),
            Self::Energy(limit) => {
                let of_full = full.energy()?;
                Bounds::Energy(match limit {
                    Limit::Share(share) => of_full.share(share),
                    Limit::Absolute(energy) => energy,
                })
            }
        })
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

    /// The same request under other bounds.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
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

    /// The objective as quantities; lengths of time count from arrival.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: FullCost = FullCost {
        ttft: Duration::from_secs(1),
        tpot: Duration::from_millis(50),
        gaps: 4,
        power: Some(Milliwatts::new(2500)),
    };

    #[test]
    fn a_relative_objective_scales_the_full_model_and_an_absolute_one_ignores_it() {
        let ms = Duration::from_millis;
        let relative = Slo::Relative { ttft: Ratio::percent(40), tpot: Ratio::percent(70) };
        let bounds = Bounds::Latency { ttft: ms(400), tpot: ms(35) };
        assert_eq!(relative.resolve(&FULL), Some(bounds));
        let absolute = Slo::Absolute { ttft: ms(9), tpot: ms(8) };
        assert_eq!(absolute.resolve(&FULL), Some(Bounds::Latency { ttft: ms(9), tpot: ms(8) }));
    }

    /// The last token comes after 1 s + 4 · 50 ms = 1.2 s; at 2.5 W that is 3 J.
    #[test]
    fn end_to_end_time_and_energy_are_those_of_the_whole_answer() {
        let ms = Duration::from_millis;
        let half = Ratio::percent(50);
        let bound = Slo::EndToEnd(Limit::Share(half)).resolve(&FULL);
        assert_eq!(bound, Some(Bounds::EndToEnd(ms(600))));
        let bound = Slo::Energy(Limit::Share(half)).resolve(&FULL);
        assert_eq!(bound, Some(Bounds::Energy(Energy::from_nanojoules(1_500_000_000))));
        let fixed = Slo::EndToEnd(Limit::Absolute(ms(7)));
        assert_eq!(fixed.resolve(&FULL), Some(Bounds::EndToEnd(ms(7))));
    }

    #[test]
    fn an_energy_objective_means_nothing_where_power_is_unknown() {
        let unmetered = FullCost { power: None, ..FULL };
        let joule = Energy::from_nanojoules(1_000_000_000);
        for limit in [Limit::Share(Ratio::ONE), Limit::Absolute(joule)] {
            assert_eq!(Slo::Energy(limit).resolve(&unmetered), None);
        }
    }

    #[test]
    fn a_wait_is_taken_off_what_counts_from_arrival() {
        let ms = Duration::from_millis;
        let pair = Bounds::Latency { ttft: ms(100), tpot: ms(9) };
        assert_eq!(pair.after(ms(30)), Bounds::Latency { ttft: ms(70), tpot: ms(9) });
        assert_eq!(pair.after(ms(130)), Bounds::Latency { ttft: ms(0), tpot: ms(9) });
        assert_eq!(Bounds::EndToEnd(ms(100)).after(ms(30)), Bounds::EndToEnd(ms(70)));
        let energy = Bounds::Energy(FULL.energy().unwrap());
        assert_eq!(energy.after(ms(30)), energy);
    }

    #[test]
    fn a_margin_is_taken_off_every_kind_of_bound() {
        let (fifth, ms) = (Ratio::percent(20), Duration::from_millis);
        let pair = Bounds::Latency { ttft: ms(100), tpot: ms(10) };
        assert_eq!(pair.less(fifth), Bounds::Latency { ttft: ms(80), tpot: ms(8) });
        assert_eq!(Bounds::EndToEnd(ms(100)).less(fifth), Bounds::EndToEnd(ms(80)));
        let energy = |nanojoules| Bounds::Energy(Energy::from_nanojoules(nanojoules));
        assert_eq!(energy(100).less(fifth), energy(80));
    }
}
