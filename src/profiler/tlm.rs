//! What the tiny language model costs on this machine, fitted and written into its profile: its
//! decision-head per word piece that it reads, its score-head per token of the full prompt.

use std::path::Path;
use std::time::Duration;

use super::device::samples_of;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::files::Lock;
use crate::model::decision::{Decider, Objective};
use crate::model::tlm::score_head::ScoreHead;
use crate::profile::{
    DeviceProfile, LatencyLog, LatencySample, Phase, PrefillCurve, Provenance, TlmLatency,
    fit_prefill,
};
use crate::prompt::compress::score_head;
use crate::prompt::{Dataset, Item, Tokenize};
use crate::units::{Level, PROMPT_RATIOS, Ratio, millis};

/// Samples beside the profile, after the base model's name: columns of a device's samples, families
/// [`DECIDE`] and [`COMPRESS`], phase `prefill`.
const SAMPLES: &str = "tlm-samples.csv";
/// Deciding, over the word pieces that the TLM reads.
pub const DECIDE: &str = "tlm-decide";
/// Scoring and cutting by the score-head, over the full prompt's tokens.
pub const COMPRESS: &str = "tlm-compress";
/// Scoring, ranking and cutting by compressor `ranked-lists`, over the same.
pub const RANKED_LISTS: &str = "tlm-ranked-lists";
/// Scoring and cutting by compressor `lingua`, over the same.
pub const LINGUA: &str = "tlm-lingua";

/// How long deciding takes does not depend on the objective.
const LOOSEST: Objective = (Ratio::ONE, Ratio::ONE);
/// Items of each dataset that are timed.
const ITEMS: usize = 24;

/// What is timed.
#[expect(missing_debug_implementations, reason = "borrows a tokenizer")]
pub struct Heads<'a> {
    /// Decides.
    pub decider: &'a mut Decider,
    /// Score prompts, as many as there are: [`COMPRESS`], [`RANKED_LISTS`] or [`LINGUA`], and the
    /// head.
    pub scorers: Vec<(&'static str, ScoreHead)>,
    /// Splits prompts, which are cut in the base model's tokens.
    pub tokenizer: &'a dyn Tokenize,
}

/// Times `heads` on prompts of `datasets`, tokenizing, embedding and cutting included, and sets the
/// `[[tlm]]` of their base model in the profile in `folder`. Each is timed as after an answer of
/// the language model: from memory, not from the processor's caches. Of `lists`, datasets that
/// choose from lists, only [`RANKED_LISTS`] is timed. Times of a compressor whose head is not there
/// are left as they are.
///
/// # Errors
/// If inference fails, or a file cannot be read or written.
pub fn measure(
    heads: Heads<'_>,
    datasets: &[Dataset],
    lists: &[Dataset],
    folder: &Path,
    repetitions: u32,
    [command, date, commit]: [String; 3],
) -> Result<TlmLatency> {
    let _lock = Lock::acquire(&folder.join("device.toml"), "the device profile")?;
    let Heads { decider, mut scorers, tokenizer } = heads;
    let mut profile = DeviceProfile::load(folder)?;
    let base_model = decider.info().base_model.clone();
    let known = profile.tlms.iter().position(|tlm| tlm.base_model == base_model);
    let before = known.map(|place| &profile.tlms[place]);
    let samples = samples_of(&base_model, SAMPLES, before.map(|tlm| &tlm.provenance));
    let mut log = TlmLog { log: LatencyLog::open(&folder.join(&samples))?, others: Others::new() };
    // What comes first warms up.
    for round in 0..=repetitions {
        for dataset in datasets {
            for (nth, item) in dataset.items.iter().take(ITEMS).enumerate() {
                let text = item.text();
                log.others.run();
                let (decision, time) = timed(|| decider.decide_for(&dataset.name, &text, LOOSEST));
                log.note(DECIDE, round, decision?.tlm_tokens, time)?;
                for (family, head) in &mut scorers {
                    let ratio = ratio_of(nth, round);
                    time_cut(&mut log, (family, head), tokenizer, dataset, item, ratio, round)?;
                }
            }
        }
        let mut ranking = scorers.iter_mut().filter(|(family, _)| *family == RANKED_LISTS);
        if let Some((family, head)) = ranking.next() {
            for dataset in lists {
                for (nth, item) in dataset.items.iter().take(ITEMS).enumerate() {
                    let ratio = ratio_of(nth, round);
                    time_cut(&mut log, (family, head), tokenizer, dataset, item, ratio, round)?;
                }
            }
        }
    }
    let fit = |family: &str, before: Option<PrefillCurve>| {
        if scorers.iter().any(|(timed, _)| *timed == family) {
            fit_prefill(log.log.samples(), family, Level::FULL).map(Some)
        } else {
            Ok(before)
        }
    };
    let tlm = TlmLatency {
        base_model,
        decide_ms: fit_prefill(log.log.samples(), DECIDE, Level::FULL)?,
        compress_ms: fit(COMPRESS, before.and_then(|tlm| tlm.compress_ms))?,
        ranked_lists_ms: fit(RANKED_LISTS, before.and_then(|tlm| tlm.ranked_lists_ms))?,
        lingua_ms: fit(LINGUA, before.and_then(|tlm| tlm.lingua_ms))?,
        provenance: Provenance::Measured { date, command, samples, commit },
    };
    match known {
        Some(place) => profile.tlms[place] = tlm.clone(),
        None => profile.tlms.push(tlm.clone()),
    }
    profile.save(folder)?;
    Ok(tlm)
}

/// Below the whole prompt, another for each item and round.
fn ratio_of(nth: usize, round: u32) -> Ratio {
    PROMPT_RATIOS[(nth + round as usize) % (PROMPT_RATIOS.len() - 1)]
}

fn time_cut(
    log: &mut TlmLog,
    (family, head): (&str, &mut ScoreHead),
    tokenizer: &dyn Tokenize,
    dataset: &Dataset,
    item: &Item,
    ratio: Ratio,
    round: u32,
) -> Result<()> {
    log.others.run();
    let (prompt, time) = timed(|| {
        let scores = head.scores(dataset, item)?;
        Ok::<_, crate::Error>(score_head::compress(dataset, item, ratio, tokenizer, &scores))
    });
    log.note(family, round, prompt?.full_tokens as u32, time)
}

/// Where samples go, and what is between two of them.
struct TlmLog {
    log: LatencyLog,
    others: Others,
}

impl TlmLog {
    /// Appends a sample, unless the log has it; those of round 0 are none.
    fn note(&mut self, family: &str, round: u32, tokens: u32, time: Duration) -> Result<()> {
        let sample = LatencySample {
            family: family.to_owned(),
            level: Level::FULL,
            phase: Phase::Prefill,
            tokens,
            repetition: round.wrapping_sub(1),
            ms: millis(time),
        };
        let new = round > 0 && !self.log.contains(&sample);
        if new { self.log.append(&sample) } else { Ok(()) }
    }
}

/// Stands for the language model, which runs between any two runs of the tiny one and leaves
/// nothing of it in the processor's caches.
struct Others(Vec<u64>);

impl Others {
    /// Three times the largest cache of a processor that was profiled so far.
    const BYTES: usize = 96 << 20;
    /// Words of a cache line.
    const LINE: usize = 8;

    fn new() -> Self {
        Self(vec![1; Self::BYTES / size_of::<u64>()])
    }

    /// Writes to every cache line.
    fn run(&mut self) {
        self.0.iter_mut().step_by(Self::LINE).for_each(|word| *word = word.wrapping_add(1));
        std::hint::black_box(&self.0);
    }
}
