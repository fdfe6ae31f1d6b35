//! What deciding costs on this machine, fitted and written into its profile.

use std::path::Path;

use super::decide::Decider;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::profile::{
    DeviceProfile, LatencyLog, LatencySample, Phase, Provenance, TlmLatency, fit_prefill,
    read_latency_samples,
};
use crate::prompt::Dataset;
use crate::units::{Level, millis};

/// Samples beside the profile: columns of a device's samples, family [`FAMILY`].
pub const SAMPLES: &str = "tlm-samples.csv";
/// What samples of deciding are called: prefills of the TLM over the word pieces that it reads.
pub const FAMILY: &str = "tlm-decide";

/// Items of each dataset that are timed.
const ITEMS: usize = 24;

/// Times `decider` on prompts of `datasets`, tokenizing and embedding included, and sets the
/// `[[tlm]]` of `base_model` in the profile in `folder`; a score-head's times are left as they are.
///
/// # Errors
/// If inference fails, or a file cannot be read or written.
pub fn measure(
    decider: &mut Decider,
    datasets: &[Dataset],
    folder: &Path,
    repetitions: u32,
    [command, date, commit]: [String; 3],
) -> Result<TlmLatency> {
    let samples = folder.join(SAMPLES);
    let mut log = LatencyLog::open(&samples)?;
    // What comes first warms up.
    for repetition in 0..=repetitions {
        for dataset in datasets {
            for item in dataset.items.iter().take(ITEMS) {
                let text = item.text();
                let (tokens, time) = timed(|| decider.consult(&dataset.name, &text));
                let sample = LatencySample {
                    family: FAMILY.to_owned(),
                    level: Level::FULL,
                    phase: Phase::Prefill,
                    tokens: tokens?,
                    repetition: repetition.wrapping_sub(1),
                    ms: millis(time),
                };
                if repetition > 0 && !log.contains(&sample) {
                    log.append(&sample)?;
                }
            }
        }
    }
    let mut profile = DeviceProfile::load(folder)?;
    let base_model = decider.info().base_model.clone();
    let known = profile.tlms.iter().position(|tlm| tlm.base_model == base_model);
    let compress_ms = known.and_then(|place| profile.tlms[place].compress_ms);
    let tlm = TlmLatency {
        base_model,
        decide_ms: fit_prefill(&read_latency_samples(&samples)?, FAMILY, Level::FULL)?,
        compress_ms,
        provenance: Provenance::Measured { date, command, samples: SAMPLES.to_owned(), commit },
    };
    match known {
        Some(place) => profile.tlms[place] = tlm.clone(),
        None => profile.tlms.push(tlm.clone()),
    }
    profile.save(folder)?;
    Ok(tlm)
}
