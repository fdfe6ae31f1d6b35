//! What the first answer after a pause takes on this machine, written into its profile.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::latency::prompt;
use crate::engine::Engine;
use crate::engine::generate::generate;
use crate::error::Result;
use crate::files::Lock;
use crate::profile::{
    DeviceProfile, Idle, LatencyLog, LatencySample, Phase, Provenance, family_of,
};
use crate::units::{Level, millis};

/// Samples beside the profile: columns of a device's samples, families `after-SECONDSs`.
pub const SAMPLES: &str = "pause-samples.csv";

/// Tokens of the prompt, and those decoded, whose mean is one sample.
const TOKENS: (u32, usize) = (128, 16);

/// What to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausePlan {
    /// Lengths of pauses; none at all is timed beside them.
    pub seconds: Vec<u32>,
    /// Levels that answer.
    pub levels: Vec<Level>,
    /// How often each is timed.
    pub repetitions: u32,
}

impl PausePlan {
    /// Pauses of each repetition, in another order each time: what a long one does to the next is
    /// not always done to the same.
    fn visits(&self) -> Vec<(u32, u32, Level)> {
        let mut pauses: Vec<u32> = std::iter::once(0).chain(self.seconds.iter().copied()).collect();
        pauses.sort_unstable();
        pauses.dedup();
        let mut visits = Vec::new();
        for repetition in 0..self.repetitions {
            for &level in &self.levels {
                visits.extend(pauses.iter().map(|&seconds| (repetition, seconds, level)));
            }
            pauses.rotate_left(1);
        }
        visits
    }
}

/// Takes the samples of `plan` that the profile's folder lacks, and sets `[idle]` of the profile;
/// `report` gets how many visits of how many are done.
///
/// # Errors
/// If inference fails, or a file cannot be read or written.
pub fn measure(
    engine: &mut Engine,
    plan: &PausePlan,
    folder: &Path,
    provenance: Provenance,
    report: &mut dyn FnMut(usize, usize),
) -> Result<Idle> {
    let _lock = Lock::acquire(&folder.join("device.toml"), "the device profile")?;
    let mut profile = DeviceProfile::load_stated(folder)?;
    let mut log = LatencyLog::open(&folder.join(SAMPLES))?;
    let visits = plan.visits();
    for (nth, &visit) in visits.iter().enumerate() {
        visited(engine, visit, &mut log)?;
        report(nth + 1, visits.len());
    }
    let idle = Idle::of(log.samples(), provenance)?;
    profile.idle = Some(idle.clone());
    profile.save(folder)?;
    Ok(idle)
}

/// Times one answer after a pause, unless that was done.
fn visited(
    engine: &mut Engine,
    (repetition, seconds, level): (u32, u32, Level),
    log: &mut LatencyLog,
) -> Result<()> {
    let sample = |phase, ms| {
        let (family, tokens) = (family_of(seconds), TOKENS.0);
        LatencySample { family, level, phase, tokens, repetition, ms }
    };
    if log.contains(&sample(Phase::Decode, 0.0)) {
        return Ok(());
    }
    let prompt = prompt(engine, TOKENS.0);
    // As after any answer: the level is resident, its memory was just used.
    generate(engine, level, &prompt, TOKENS.1 + 1, None)?;
    sleep(Duration::from_secs(u64::from(seconds)));
    let run = generate(engine, level, &prompt, TOKENS.1 + 1, None)?;
    let decode = millis(run.decode()) / TOKENS.1 as f64;
    for sample in [sample(Phase::Prefill, millis(run.prefill)), sample(Phase::Decode, decode)] {
        if !log.contains(&sample) {
            log.append(&sample)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repetition_has_every_pause_once_for_each_level_in_another_order() {
        let levels = vec![Level::percent(50), Level::FULL];
        let plan = PausePlan { seconds: vec![10, 1, 0], levels, repetitions: 2 };
        let visits = plan.visits();
        let of = |repetition, level| -> Vec<u32> {
            let is = |visit: &&(u32, u32, Level)| visit.0 == repetition && visit.2 == level;
            visits.iter().filter(is).map(|visit| visit.1).collect()
        };
        assert_eq!(of(0, Level::FULL), [0, 1, 10]);
        assert_eq!(of(1, Level::FULL), [1, 10, 0]);
        assert_eq!((of(0, Level::percent(50)), visits.len()), (of(0, Level::FULL), 12));
    }
}
