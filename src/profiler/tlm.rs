//! What the tiny language model costs on this machine, fitted and written into its profile: its
//! decision-head per word piece that it reads, its score-head per token of the full prompt.

use std::path::Path;

use crate::elastify::decision::Decider;
use crate::elastify::decision::labels::Objective;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::profile::{
    DeviceProfile, LatencyLog, LatencySample, Phase, Provenance, TlmLatency, fit_prefill,
    read_latency_samples,
};
use crate::prompt::compress::score_head;
use crate::prompt::{Dataset, Tokenize};
use crate::tlm::score_head::ScoreHead;
use crate::units::{Level, PROMPT_RATIOS, Ratio, millis};

/// Samples beside the profile: columns of a device's samples, families [`DECIDE`] and
/// [`COMPRESS`], phase `prefill`.
pub const SAMPLES: &str = "tlm-samples.csv";
/// Deciding, over the word pieces that the TLM reads.
pub const DECIDE: &str = "tlm-decide";
/// Scoring and cutting, over the full prompt's tokens.
pub const COMPRESS: &str = "tlm-compress";

/// How long deciding takes does not depend on the objective.
const LOOSEST: Objective = (Ratio::ONE, Ratio::ONE);
/// Items of each dataset that are timed.
const ITEMS: usize = 24;

/// What is timed.
#[expect(missing_debug_implementations, reason = "borrows a tokenizer")]
pub struct Heads<'a> {
    /// Decides.
    pub decider: &'a mut Decider,
    /// Scores prompts, if there is such a head, for cutting in the base model's tokens.
    pub scorer: Option<(&'a mut ScoreHead, &'a dyn Tokenize)>,
}

/// Times `heads` on prompts of `datasets`, tokenizing, embedding and cutting included, and sets the
/// `[[tlm]]` of their base model in the profile in `folder`. Without a score-head the profile's
/// times of one are left as they are.
///
/// # Errors
/// If inference fails, or a file cannot be read or written.
pub fn measure(
    heads: Heads<'_>,
    datasets: &[Dataset],
    folder: &Path,
    repetitions: u32,
    [command, date, commit]: [String; 3],
) -> Result<TlmLatency> {
    let path = folder.join(SAMPLES);
    let mut log = LatencyLog::open(&path)?;
    let Heads { decider, mut scorer } = heads;
    // What comes first warms up.
    for round in 0..=repetitions {
        for dataset in datasets {
            for (nth, item) in dataset.items.iter().take(ITEMS).enumerate() {
                let mut note = |family: &str, tokens, time| {
                    let sample = LatencySample {
                        family: family.to_owned(),
                        level: Level::FULL,
                        phase: Phase::Prefill,
                        tokens,
                        repetition: round.wrapping_sub(1),
                        ms: millis(time),
                    };
                    let new = round > 0 && !log.contains(&sample);
                    if new { log.append(&sample) } else { Ok(()) }
                };
                let text = item.text();
                let (decision, time) = timed(|| decider.decide_for(&dataset.name, &text, LOOSEST));
                note(DECIDE, decision?.tlm_tokens, time)?;
                if let Some((head, tokenizer)) = &mut scorer {
                    let ratio = PROMPT_RATIOS[(nth + round as usize) % (PROMPT_RATIOS.len() - 1)];
                    let (prompt, time) = timed(|| {
                        let scores = head.scores(dataset, item)?;
                        Ok::<_, crate::Error>(score_head::compress(
                            dataset, item, ratio, *tokenizer, &scores,
                        ))
                    });
                    note(COMPRESS, prompt?.full_tokens as u32, time)?;
                }
            }
        }
    }
    let samples = read_latency_samples(&path)?;
    let mut profile = DeviceProfile::load(folder)?;
    let base_model = decider.info().base_model.clone();
    let known = profile.tlms.iter().position(|tlm| tlm.base_model == base_model);
    let compress_ms = if scorer.is_some() {
        Some(fit_prefill(&samples, COMPRESS, Level::FULL)?)
    } else {
        known.and_then(|place| profile.tlms[place].compress_ms)
    };
    let tlm = TlmLatency {
        base_model,
        decide_ms: fit_prefill(&samples, DECIDE, Level::FULL)?,
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
