//! A whole device profile: samples of every family, memory, fits, and the file that holds them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::compression;
use super::latency::{self, LatencyPlan};
use crate::assets::{self, Package};
use crate::engine::EngineOptions;
use crate::engine::model::{ModelConfig, SubModel};
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::model::ElasticModel;
use crate::origin;
use crate::profile::{
    DeviceProfile, FamilyLatency, Hardware, Heat, Idle, LatencyLog, LatencySample, LevelLatency,
    Memory, Noise, Phase, Provenance, Runtime, TlmLatency, fit_decode, fit_prefill, fit_switch_ms,
};
use crate::prompt::Dataset;
use crate::units::{Level, millis};

/// What the samples of [`this_machine`](super::this_machine) are called, whose folder is of one
/// model, and what names of samples end with.
const SAMPLES: &str = "samples.csv";
/// The family that gathers its weights at every switch. Unless it is timed for itself it is taken
/// to run as `width` does.
const RELAYOUT: &str = "width-relayout";

/// What to measure on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    /// The device's name.
    pub device: String,
    /// Name of the base model in profiles.
    pub base_model: String,
    /// Families to time.
    pub families: Vec<String>,
    /// Threads of the engine.
    pub threads: usize,
    /// How often each length is timed.
    pub repetitions: u32,
    /// Folder of profile and samples.
    pub folder: PathBuf,
}

impl DevicePlan {
    fn has(&self, family: &str) -> bool {
        self.families.iter().any(|other| other == family)
    }

    /// `model`, if it is of the plan's base model.
    fn checked(&self, family: &str, model: ElasticModel) -> Result<ElasticModel> {
        let found = model.identity().base_model;
        if found == self.base_model {
            return Ok(model);
        }
        Err(Error::new(format!("family {family}"), "of another base model than the first family")
            .found(found)
            .allowed(&self.base_model))
    }
}

/// Takes the samples that the folder lacks, fits them, and writes the profile. `memory` measures a
/// family in a process of its own, as [`memory::measure`](super::memory::measure) does: what one
/// family's sessions leave behind in this one would count for the next.
///
/// # Errors
/// If a model cannot be opened, a file cannot be written, or inference fails; and those of
/// `memory`.
pub fn measure(
    plan: &DevicePlan,
    open: impl Fn(&str, EngineOptions) -> Result<ElasticModel>,
    memory: impl Fn(&str) -> Result<Option<Memory>>,
    report: &mut dyn FnMut(&str, usize, usize),
) -> Result<DeviceProfile> {
    let open = |family: &str, options| plan.checked(family, open(family, options)?);
    let mut families = Vec::new();
    let datasets = load_datasets()?;
    let _lock = Lock::acquire(&plan.folder.join("device.toml"), "the device profile")?;
    let Known { samples, families: others, noise, tlms, idle, heat } = Known::of(plan)?;
    let mut log = LatencyLog::open(&plan.folder.join(&samples))?;
    let measured = |fitted| FamilyLatency { provenance: measured_now(&samples), ..fitted };
    // Families take turns, so that a slow minute of the machine is spread over all of them.
    for round in 1..plan.repetitions {
        for family in &plan.families {
            // The last round takes what a broken one left.
            if is_begun(log.samples(), family, round - 1) {
                continue;
            }
            let mut model = open(family, EngineOptions::default())?;
            let latency = LatencyPlan::new(family, round);
            let mut progress = |done, planned| report(family, done, planned);
            latency::measure(&mut model, &latency, &mut log, &mut progress)?;
        }
    }
    for family in &plan.families {
        let mut model = open(family, EngineOptions::default())?;
        let latency = LatencyPlan::new(family, plan.repetitions);
        let mut progress = |done, planned| report(family, done, planned);
        latency::measure(&mut model, &latency, &mut log, &mut progress)?;
        let mut fitted =
            fit_family(plan, [family, family], log.samples(), &model, memory(family)?)?;
        fitted.compress_ms_per_token = compression::ms_per_token(&model.tokenizer, &datasets);
        families.push(measured(fitted));
        if family == "width" && !plan.has(RELAYOUT) {
            measure_copies(plan, open(RELAYOUT, EngineOptions::default())?, &mut log)?;
            let memory = memory(RELAYOUT)?;
            let fitted = fit_family(plan, [RELAYOUT, family], log.samples(), &model, memory)?;
            families.push(measured(fitted));
        }
    }
    families.extend(others);
    // Fewer repetitions say how long, not how much that varies.
    let noise = noise.or_else(|| Noise::of(log.samples(), measured_now(&samples)).ok());
    let profile = DeviceProfile {
        schema: 1,
        name: plan.device.clone(),
        hardware: hardware(),
        runtime: runtime(plan.threads),
        power: None,
        noise,
        idle,
        heat,
        families,
        tlms,
        sub_models: None,
    };
    profile.save(&plan.folder)?;
    Ok(profile)
}

/// The samples of `base_model` in a folder that may have times of several models: those `before`,
/// what the folder has of it already, were taken from, or else a file of its own.
pub(super) fn samples_of(base_model: &str, kind: &str, before: Option<&Provenance>) -> String {
    match before {
        Some(Provenance::Measured { samples, .. }) => samples.clone(),
        _ => format!("{base_model}.{kind}"),
    }
}

/// Whether there is a sample of the family's `repetition`.
fn is_begun(samples: &[LatencySample], family: &str, repetition: u32) -> bool {
    samples.iter().any(|sample| sample.family == family && sample.repetition == repetition)
}

/// What the profile that is about to be replaced holds and this plan does not measure.
#[derive(Debug, Default, PartialEq)]
struct Known {
    /// The file of samples of the plan's base model, there or not.
    samples: String,
    /// Other families.
    families: Vec<FamilyLatency>,
    /// How times vary, by samples of another base model.
    noise: Option<Noise>,
    /// The TLM's times.
    tlms: Vec<TlmLatency>,
    /// What pauses cost.
    idle: Option<Idle>,
    /// How the device warms.
    heat: Option<Heat>,
}

impl Known {
    fn of(plan: &DevicePlan) -> Result<Self> {
        if !plan.folder.join("device.toml").exists() {
            let samples = samples_of(&plan.base_model, SAMPLES, None);
            return Ok(Self { samples, ..Self::default() });
        }
        let DeviceProfile { mut families, noise, tlms, idle, heat, .. } =
            DeviceProfile::load(&plan.folder)?;
        let of_ours = |family: &&FamilyLatency| family.base_model == plan.base_model;
        let ours = families.iter().find(of_ours).map(|family| &family.provenance);
        let samples = samples_of(&plan.base_model, SAMPLES, ours);
        let of_others = |noise: &Noise| match &noise.provenance {
            Provenance::Measured { samples: file, .. } => *file != samples,
            _ => false,
        };
        let noise = noise.filter(of_others);
        let is_measured = |family: &FamilyLatency| {
            let with_width = &*family.family == RELAYOUT && plan.has("width");
            family.base_model == plan.base_model && (with_width || plan.has(&family.family))
        };
        families.retain(|family| !is_measured(family));
        Ok(Self { samples, families, noise, tlms, idle, heat })
    }
}

/// Where the `samples` come from that this command takes.
#[must_use]
pub fn measured_now(samples: &str) -> Provenance {
    Provenance::Measured {
        date: origin::today(),
        command: origin::command(),
        samples: samples.to_owned(),
        commit: origin::commit(),
    }
}

fn load_datasets() -> Result<Vec<Dataset>> {
    let data = assets::folder(Package::Olmo)?;
    Dataset::names().map(|name| Dataset::load(&data, name)).collect()
}

/// Times the copies that `width-relayout` makes when it switches, into memory that was not there
/// before.
fn measure_copies(plan: &DevicePlan, mut model: ElasticModel, log: &mut LatencyLog) -> Result<()> {
    let levels: Vec<Level> = model.engine.ladder().keys().copied().collect();
    for repetition in 0..plan.repetitions {
        for &level in &levels {
            let mut sample = LatencySample {
                family: RELAYOUT.to_owned(),
                level,
                phase: Phase::Switch,
                tokens: 100,
                repetition,
                ms: 0.0,
            };
            if !log.contains(&sample) {
                model.engine.release();
                sample.ms = millis(model.engine.switch(level)?);
                log.append(&sample)?;
            }
        }
    }
    Ok(())
}

/// Fits `family`, whose sub-models run as those of `timed_as` do.
pub(super) fn fit_family(
    plan: &DevicePlan,
    [family, timed_as]: [&str; 2],
    samples: &[LatencySample],
    model: &ElasticModel,
    memory: Option<Memory>,
) -> Result<FamilyLatency> {
    let base = model.engine.config_of(Level::FULL);
    let full = SubModel::full(base);
    let level = |(&level, sub_model): (&Level, &SubModel)| -> Result<LevelLatency> {
        let config = model.engine.config_of(level);
        let parameters = parameters(config, sub_model);
        // Where neurons are picked as tokens come, all of them are kept.
        let resident = match model.engine.predictor_bytes() {
            0 => parameters * size_of::<f32>(),
            bytes => self::parameters(base, &full) * size_of::<f32>() + bytes,
        };
        let share = |of: usize, all: usize| of as f64 / all as f64;
        Ok(LevelLatency {
            level,
            unit_parameter_share: share(
                sub_model.unit_parameters(config),
                full.unit_parameters(base),
            ),
            parameter_share: share(parameters, self::parameters(base, &full)),
            switch_ms: fit_switch_ms(samples, family, level)?,
            resident_bytes: (resident + model.engine.adapter_bytes(level)) as u64,
            ttft_ms: fit_prefill(samples, timed_as, level)?,
            tpot_ms: fit_decode(samples, timed_as, level)?,
            points: Vec::new(),
        })
    };
    Ok(FamilyLatency {
        base_model: plan.base_model.clone(),
        family: family.parse()?,
        decide_ms: 0.0,
        compress_ms_per_token: 0.0,
        memory,
        members: model.manifest.members(),
        provenance: measured_now(SAMPLES),
        levels: model.engine.ladder().iter().map(level).collect::<Result<_>>()?,
    })
}

/// All parameters of a sub-model; a tied head counts once, with the embedding.
fn parameters(config: &ModelConfig, sub_model: &SubModel) -> usize {
    sub_model.unit_parameters(config) + config.vocab * config.hidden
}

/// What runs the model, with so many threads.
pub(super) fn runtime(threads: usize) -> Runtime {
    Runtime {
        name: "ONNX Runtime".to_owned(),
        version: Some(Package::OnnxRuntime.spec().version.to_owned()),
        threads: Some(threads as u32),
        precision: "f32".to_owned(),
    }
}

pub(super) fn hardware() -> Hardware {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    Hardware {
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism().ok().map(|n| n.get() as u32),
        memory_bytes: memory_kib.map(|kib| kib * 1024),
    }
}

/// Lengths of full prompts that the TLM's share is given at.
const TLM_LENGTHS: [u32; 2] = [128, 512];

/// What the tiny language model costs beside the full model's prefill, a line per length; nothing
/// without its times.
#[must_use]
pub fn tlm_summary(profile: &DeviceProfile) -> String {
    let mut text = String::new();
    for tlm in &profile.tlms {
        let Ok(base) = profile.base(&tlm.base_model) else { continue };
        let _ = writeln!(
            text,
            "{} TLM ({}), both heads at the length of the whole prompt: tokens, decide (ms), \
             compress (ms), share of the full prefill",
            tlm.base_model,
            tlm.provenance.label()
        );
        for tokens in TLM_LENGTHS {
            let decide = tlm.decide_ms.millis(tokens);
            let compress = tlm.compress_ms.map(|curve| curve.millis(tokens));
            let share = (decide + compress.unwrap_or(0.0)) / base.ttft_ms.millis(tokens);
            let compress = compress.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
            let share = 100.0 * share;
            let _ = writeln!(text, "  {tokens:>5}  {decide:6.2}  {compress:>6}  {share:.1} %");
            for (compressor, curve) in [("ranked", tlm.ranked_lists_ms), ("lingua", tlm.lingua_ms)]
            {
                if let Some(ms) = curve.map(|curve| curve.millis(tokens)) {
                    let share = 100.0 * ms / base.ttft_ms.millis(tokens);
                    let _ = writeln!(text, "  {tokens:>5}  {compressor}  {ms:6.2}  {share:.1} %");
                }
            }
        }
    }
    text
}

/// The profile in a few lines: per family and level, shares of parameters and of time, and memory;
/// the tiny language model's share.
#[must_use]
pub fn summary(profile: &DeviceProfile) -> String {
    let mut text = String::new();
    for family in &profile.families {
        let _ = writeln!(
            text,
            "{} {}: level, share of unit parameters, of all parameters, of TTFT at 512, of TPOT at \
             256, TTFT at 512 (ms), TPOT at 256 (ms), switch (ms), worst fit error of TTFT",
            family.base_model, family.family
        );
        for (level, share) in family.levels.iter().zip(family.time_shares()) {
            let error = level.ttft_ms.fit_error.map_or(f64::NAN, |error| error.max_relative);
            let _ = writeln!(
                text,
                "  {:>5}  {:.3}  {:.3}  {:.3}  {:.3}  {:7.1}  {:5.2}  {:8.4}  {:.1} %",
                level.level.to_string(),
                level.unit_parameter_share,
                level.parameter_share,
                share.ttft,
                share.tpot,
                level.ttft_ms.millis(512),
                level.tpot_ms.millis(256),
                level.switch_ms,
                100.0 * error
            );
        }
        for member in &family.members {
            let _ = writeln!(text, "  member {member}");
        }
        let _ = writeln!(
            text,
            "  compressing: {:.4} ms per prompt token",
            family.compress_ms_per_token
        );
        if let Some(memory) = family.memory {
            let more = memory.all_levels_bytes as f64 / memory.one_level_bytes as f64 - 1.0;
            let _ = writeln!(
                text,
                "  memory: {:.0} MB with one level open, {:.0} MB with all: {:+.1} %",
                memory.one_level_bytes as f64 / 1e6,
                memory.all_levels_bytes as f64 / 1e6,
                100.0 * more
            );
        }
    }
    text + &tlm_summary(profile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::ladder_device;

    fn plan(folder: &Path, families: &[&str]) -> DevicePlan {
        DevicePlan {
            device: "bench".into(),
            base_model: "tiny".into(),
            families: families.iter().map(|&family| family.into()).collect(),
            threads: 1,
            repetitions: 1,
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn a_round_is_begun_with_its_first_sample() {
        assert!(!is_begun(&[], "width", 0));
        let sample = LatencySample {
            family: "width".to_owned(),
            level: Level::FULL,
            phase: Phase::Prefill,
            tokens: 16,
            repetition: 1,
            ms: 1.0,
        };
        let samples = [sample];
        assert!(is_begun(&samples, "width", 1));
        assert!(!is_begun(&samples, "width", 0) && !is_begun(&samples, "other", 1));
    }

    #[test]
    fn a_retaken_profile_keeps_what_it_does_not_measure() {
        let folder = tempfile::tempdir().unwrap();
        let before = ladder_device();
        before.save(folder.path()).unwrap();
        let names = |kept: &[FamilyLatency]| -> Vec<String> {
            kept.iter().map(|family| family.family.to_string()).collect()
        };
        let all = names(&before.families);
        assert!(all.contains(&"width".to_owned()), "{all:?}");
        let known = |plan: &DevicePlan| Known::of(plan).unwrap();
        let Known { families: others, tlms, idle, heat, .. } =
            known(&plan(folder.path(), &["width"]));
        let copies = ["width", "width-relayout"];
        let rest: Vec<_> = all.iter().filter(|name| !copies.contains(&name.as_str())).collect();
        assert_eq!(names(&others).iter().collect::<Vec<_>>(), rest);
        assert_eq!(tlms, before.tlms);
        assert_eq!((idle, heat), (before.idle.clone(), before.heat.clone()));
        assert_eq!(names(&known(&plan(folder.path(), &["other"])).families), all);
        let samples = "tiny.samples.csv".to_owned();
        let none = Known { samples, ..Known::default() };
        assert_eq!(known(&plan(&folder.path().join("none"), &["width"])), none);
    }

    /// What was timed of one model is not taken for another's, nor its noise replaced.
    #[test]
    fn models_measured_on_one_device_have_samples_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = ladder_device();
        let from = measured_now("samples.csv");
        for family in &mut before.families {
            family.provenance = from.clone();
        }
        let still = [1.0; 11];
        let noise = serde_json::json!({
            "drift_seconds": 60.0, "drift": still, "prefill": still, "decode": still,
            "provenance": from,
        });
        before.noise = Some(serde_json::from_value(noise).unwrap());
        before.save(folder.path()).unwrap();
        let of = |base_model: &str| {
            let plan =
                DevicePlan { base_model: base_model.to_owned(), ..plan(folder.path(), &["width"]) };
            let Known { samples, noise, .. } = Known::of(&plan).unwrap();
            (samples, noise.is_some())
        };
        assert_eq!(of(&before.families[0].base_model), ("samples.csv".to_owned(), false));
        assert_eq!(of("second"), ("second.samples.csv".to_owned(), true));
    }

    /// The bench's full model takes n ms for n tokens.
    #[test]
    fn the_tlms_share_is_that_of_the_full_prefill() {
        let mut device = ladder_device();
        let curve = |per_token| crate::profile::PrefillCurve {
            intercept: 0.0,
            per_token,
            per_token_squared: 0.0,
            tokens: None,
            fit_error: None,
        };
        (device.tlms[0].decide_ms, device.tlms[0].compress_ms) = (curve(0.01), Some(curve(0.02)));
        let text = tlm_summary(&device);
        assert!(text.contains("    128    1.28    2.56  3.0 %"), "{text}");
        device.tlms[0].compress_ms = None;
        let text = tlm_summary(&device);
        assert!(text.contains("    512    5.12       -  1.0 %"), "{text}");
        device.tlms.clear();
        assert_eq!(tlm_summary(&device), "");
    }
}
