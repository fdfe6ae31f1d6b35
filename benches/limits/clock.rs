//! Times of passes.

use std::time::{Duration, Instant};

/// The fastest pass of the limit and of a case.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    pub limit: Duration,
    pub case: Duration,
}

/// Passes of each that are timed, after one that is not.
const PASSES: u32 = 3;

/// Times `limit` and `case` in turns.
pub fn turns(mut limit: impl FnMut(), mut case: impl FnMut()) -> Timed {
    (limit(), case());
    let passes = (0..PASSES).map(|_| (timed(&mut limit), timed(&mut case)));
    let fastest = |a: Timed, b: (Duration, Duration)| Timed {
        limit: a.limit.min(b.0),
        case: a.case.min(b.1),
    };
    passes.fold(Timed { limit: Duration::MAX, case: Duration::MAX }, fastest)
}

/// What one pass takes.
pub fn timed(mut pass: impl FnMut()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "what a benchmark measures")]
    let started = Instant::now();
    pass();
    started.elapsed()
}
