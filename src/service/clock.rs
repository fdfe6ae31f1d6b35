//! Where the service gets its time from: the real clock, or a script.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::units::SimTime;

/// A clock that never goes back.
pub trait Clock: Debug + Send + Sync {
    /// The time since the service began.
    fn now(&self) -> SimTime;

    /// Lets `length` pass, as computing would.
    fn pass(&self, length: Duration);

    /// Between two steps: whatever a script has for this very instant happens.
    fn settle(&self) {}
}

/// The clock on the wall.
#[derive(Debug)]
pub struct RealClock {
    began: Instant,
}

impl RealClock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a service lives in real time")]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> SimTime {
        SimTime::ZERO + self.began.elapsed()
    }

    fn pass(&self, length: Duration) {
        std::thread::sleep(length);
    }
}
