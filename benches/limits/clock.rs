//! Times of passes.

use std::time::{Duration, Instant};

/// The fastest pass of the limit and of a case.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    pub limit: Duration,
    pub case: Duration,
}

/// Times of each that are taken, after a pass that fills what is to be filled.
const TIMES: u32 = 3;

/// So long is timed at least: the clock of processor time tells 4 ms apart.
const LEAST: Duration = Duration::from_millis(200);

/// Times `limit` and `case` in turns.
pub fn turns(mut limit: impl FnMut(), mut case: impl FnMut()) -> Timed {
    let passes = [passes(&mut limit), passes(&mut case)];
    let times = (0..TIMES).map(|_| (each(passes[0], &mut limit), each(passes[1], &mut case)));
    let fastest = |a: Timed, b: (Duration, Duration)| Timed {
        limit: a.limit.min(b.0),
        case: a.case.min(b.1),
    };
    times.fold(Timed { limit: Duration::MAX, case: Duration::MAX }, fastest)
}

/// What one pass takes that is not the first.
pub fn steady(mut pass: impl FnMut()) -> Duration {
    let passes = passes(&mut pass);
    (0..TIMES).map(|_| each(passes, &mut pass)).min().expect("it was timed")
}

/// How many passes are timed together.
fn passes(mut pass: impl FnMut()) -> u32 {
    pass();
    let once = on_the_wall(&mut pass).max(Duration::from_micros(1));
    LEAST.as_nanos().div_ceil(once.as_nanos()) as u32
}

/// What one of so many passes takes.
fn each(passes: u32, mut pass: impl FnMut()) -> Duration {
    timed(|| (0..passes).for_each(|_| pass())) / passes
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
