//! The machine that the program runs on, timed in seconds at the first start and remembered.
//!
//! A plan is only as good as the times it is made from, and those of another machine are none. So
//! before the first plan the levels are timed at three lengths, in 20 s at most; what came out lies
//! in the user's cache under a name made from all that it depends on: processor, threads, runtime,
//! model, family. Times that were taken while others used the machine serve this start and are not
//! kept. It is coarse: the [planner](crate::method::one_prompt) corrects it by what answers take.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::busy::{Ticks, disturbed};
use super::device::{DevicePlan, fit_family, hardware, runtime};
use super::latency::LatencyPlan;
use super::quick;
use crate::assets::Store;
use crate::digest;
use crate::engine::session;
use crate::engine::stopwatch::timed;
use crate::error::Result;
use crate::files::Lock;
use crate::model::ElasticModel;
use crate::model::tlm::score_head::ScoreHead;
use crate::profile::{
    DeviceProfile, FamilyLatency, LatencyLog, PrefillCurve, REFERENCE_FAMILY, TlmLatency,
};
use crate::prompt::compress::lists::Ranking;
use crate::prompt::{Compressor, Tokenize as _};
use crate::units::{Level, millis};

/// The name that plans are told with.
pub const NAME: &str = "this-machine";

/// Changes with what is measured, so that older measurements are not taken for newer ones.
const VERSION: u32 = 3;
/// Prompt lengths, also the contexts that are decoded at.
const LENGTHS: [u32; 3] = [32, 128, 512];
/// Tokens whose mean is one sample of decoding.
const STEPS: usize = 4;
const SAMPLES: &str = "samples.csv";
const PROFILE: &str = "device.toml";
const SCALES: &str = "scales.toml";

/// The profile of this machine for one model.
#[derive(Debug)]
pub struct ThisMachine {
    /// Its times.
    pub profile: DeviceProfile,
    /// Where what answers take beside them is remembered; absent where the times are not kept.
    pub scales: Option<PathBuf>,
    /// Why times that were taken just now are not kept, if they are not.
    pub disturbed: Option<String>,
}

impl ThisMachine {
    /// The profile for `family` of `model` from the user's cache, or timed now; `report` then gets
    /// how many visits of levels of how many are done.
    ///
    /// # Errors
    /// If there is no place for a cache, it cannot be written, or inference fails.
    pub fn of(
        model: &mut ElasticModel,
        family: &str,
        report: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let folder = folder(model, family)?;
        let scales = folder.join(SCALES);
        let kept = |profile| Self { profile, scales: Some(scales.clone()), disturbed: None };
        if let Ok(profile) = DeviceProfile::load(&folder) {
            return Ok(kept(profile));
        }
        // Two that start at once do not time each other: the second takes what the first measured,
        // or, where that was disturbed and is not kept, measures after it.
        let _lock = Lock::wait(&folder.join(PROFILE), |_| {})?;
        if let Ok(profile) = DeviceProfile::load(&folder) {
            return Ok(kept(profile));
        }
        forget(&scales);
        let (profile, disturbed) = measure(model, family, folder, report)?;
        if disturbed.is_some() {
            forget(&scales);
            return Ok(Self { profile, scales: None, disturbed });
        }
        Ok(kept(profile))
    }
}

/// Forgets the profile whose scales are at `scales`, and them: the next start takes it anew.
pub fn forget(scales: &Path) {
    for name in [PROFILE, SAMPLES, SCALES] {
        // What is not there is forgotten; what cannot be removed is used once more.
        let _ = std::fs::remove_file(scales.with_file_name(name));
    }
}

fn measure(
    model: &mut ElasticModel,
    family: &str,
    folder: PathBuf,
    report: &mut dyn FnMut(usize, usize),
) -> Result<(DeviceProfile, Option<String>)> {
    let threads = session::Runtime::loaded()?.threads();
    let plan = DevicePlan {
        device: NAME.to_owned(),
        base_model: model.identity().base_model,
        families: vec![family.to_owned()],
        threads,
        repetitions: 1,
        folder,
    };
    let mut log = LatencyLog::open(&plan.folder.join(SAMPLES))?;
    let context = model.engine.context() as u32;
    let fits = |tokens: u32| tokens.min(context.saturating_sub(STEPS as u32 + 1));
    let mut latency = LatencyPlan::new(family, 1);
    (latency.lengths, latency.steps) = (LENGTHS.map(fits).to_vec(), STEPS);
    let before = Ticks::now();
    quick::measure(model, &latency, &mut log, report)?;
    let disturbed = disturbed(before, Ticks::now(), log.samples());
    let levels: Vec<Level> = model.engine.ladder().keys().copied().collect();
    let steady = quick::steadied(log.samples(), family, &levels);
    let mut fitted = fit_family(&plan, [family, family], &steady, model, None)?;
    quick::raise(&mut fitted.levels, context);
    fitted.compress_ms_per_token = cutting_ms_per_token(model)?;
    let profile = DeviceProfile {
        schema: 1,
        name: plan.device.clone(),
        hardware: hardware(),
        runtime: runtime(threads),
        power: None,
        noise: None,
        idle: None,
        heat: None,
        tlms: vec![scoring(&fitted)],
        families: with_reference(fitted)?,
        sub_models: None,
    };
    profile.save(&plan.folder)?;
    Ok((profile, disturbed))
}

/// The family, and beside it the one whose full model objectives are shares of, which is the same
/// network.
fn with_reference(family: FamilyLatency) -> Result<Vec<FamilyLatency>> {
    if &*family.family == REFERENCE_FAMILY {
        return Ok(vec![family]);
    }
    let reference = FamilyLatency {
        family: REFERENCE_FAMILY.parse()?,
        members: Vec::new(),
        levels: vec![family.full().clone()],
        ..family.clone()
    };
    Ok(vec![reference, family])
}

/// The tiny language model beside `family`, as the service uses it: it scores prompts, as long per
/// token as was timed, and decides nothing, since the service's planner does.
fn scoring(family: &FamilyLatency) -> TlmLatency {
    let per_token = |per_token| PrefillCurve {
        intercept: 0.0,
        per_token,
        per_token_squared: 0.0,
        tokens: None,
        fit_error: None,
    };
    TlmLatency {
        base_model: family.base_model.clone(),
        decide_ms: per_token(0.0),
        compress_ms: Some(per_token(family.compress_ms_per_token)),
        ranked_lists_ms: None,
        lingua_ms: None,
        provenance: family.provenance.clone(),
    }
}

/// What scoring a prompt takes per token; nothing where there is no score-head.
fn cutting_ms_per_token(model: &ElasticModel) -> Result<f64> {
    let base_model = model.identity().base_model;
    let runtime = session::Runtime::loaded()?;
    let Ok(mut head) = ScoreHead::of(Compressor::ScoreHead, &base_model, runtime) else {
        return Ok(0.0);
    };
    let mut text = String::new();
    for line in 0..24 {
        let _ = writeln!(text, "Line {line} says that heat melts ice, and that birds sing early.");
    }
    let question = "What melts ice?";
    // The first run of a session pays for what later ones find ready.
    head.worth(question, "Heat.\nIce.\n", Ranking::Mean)?;
    let (scored, took) = timed(|| head.worth(question, &text, Ranking::Mean));
    scored?;
    Ok(millis(took) / model.tokenizer.encode(&text).len() as f64)
}

/// The folder of the user's cache for all that the times depend on.
fn folder(model: &ElasticModel, family: &str) -> Result<PathBuf> {
    let threads = session::Runtime::loaded()?.threads();
    let (machine, runtime) = (hardware(), runtime(threads));
    let depends_on = format!(
        "{VERSION} {machine:?} {runtime:?} {:?} {family} {} {}",
        model.identity(),
        model.manifest_sha256,
        model.engine.context(),
    );
    let name = digest::sha256(depends_on.as_bytes());
    Ok(Store::of_user()?.root().join("machines").join(&name[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::ladder_device;
    use crate::profile::{Compressing, SCORE_HEAD};

    #[test]
    fn a_family_brings_the_full_model_that_objectives_are_shares_of() {
        let width = ladder_device().families.remove(0);
        assert_eq!(with_reference(width.clone()).unwrap().len(), 1);
        let other = FamilyLatency { family: "layer-removal".parse().unwrap(), ..width };
        let both = with_reference(other.clone()).unwrap();
        assert_eq!(both[0].levels, [other.full().clone()]);
        assert_eq!((&*both[0].family, &both[1]), ("width", &other));
    }

    /// A recorded day is simulated on this profile: 0.1 ms a token are 20 ms for 200.
    #[test]
    fn a_day_of_cut_prompts_can_be_simulated_on_the_profile() {
        let mut device = ladder_device();
        device.tlms.clear();
        device.families[0].compress_ms_per_token = 0.1;
        device.tlms.push(scoring(&device.families[0]));
        let cutting = Compressing::of(&device, &device.families[0], Some(SCORE_HEAD)).unwrap();
        assert_eq!(cutting.time(200), std::time::Duration::from_millis(20));
    }
}
