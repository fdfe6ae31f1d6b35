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
    limit();
    case();
    let passes = (0..PASSES).map(|_| (timed(&mut limit), timed(&mut case)));
    let fastest = |a: Timed, b: (Duration, Duration)| Timed {
        limit: a.limit.min(b.0),
        case: a.case.min(b.1),
    };
    passes.fold(Timed { limit: Duration::MAX, case: Duration::MAX }, fastest)
}

/// What one pass takes of this thread's processor time: others on the machine do not count.
pub fn timed(mut pass: impl FnMut()) -> Duration {
    let started = of_thread();
    pass();
    of_thread().saturating_sub(started)
}

fn of_thread() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("it begins with the time on the processor"))
}

/// What one pass takes on the wall.
pub fn on_the_wall(mut pass: impl FnMut()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "what a benchmark measures")]
    let started = Instant::now();
    pass();
    started.elapsed()
}
