//! Why a request is gone without its answer.

/// Why a request is gone without its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Refused: as many wait as may.
    QueueFull,
    /// Refused: it waited, of the lowest class, when one of a higher class came and as many waited
    /// as may.
    Shed,
    /// Refused: no plan meets its objective behind what is to be served before it.
    Infeasible,
    /// Refused: its app asks more often than it may.
    AppRate,
    /// Refused: its app has as many in the service as it may.
    AppAtOnce,
    /// Cancelled: its app gave it up.
    GaveUp,
    /// Cancelled: the service gave it up after its time-out.
    TimedOut,
    /// Cancelled: a newer request of its app took its place.
    Superseded,
}

impl Reason {
    /// Whether it was refused, and never started.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        self < Self::GaveUp
    }

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::Shed,
        Self::Infeasible,
        Self::AppRate,
        Self::AppAtOnce,
        Self::GaveUp,
        Self::TimedOut,
        Self::Superseded,
    ];

    /// The reason that files call `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::Shed => "shed",
            Self::Infeasible => "infeasible",
            Self::AppRate => "app-rate",
            Self::AppAtOnce => "app-at-once",
            Self::GaveUp => "gave-up",
            Self::TimedOut => "timed-out",
            Self::Superseded => "superseded",
        }
    }
}
