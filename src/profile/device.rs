//! A device: its hardware, and for each base model, family and level how long things take on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::curve::{DecodeCurve, MAX_TOKENS, PrefillCurve};
use super::heat::Heat;
use super::idle::Idle;
use super::noise::Noise;
use super::point::Point;
use super::power::Power;
use super::provenance::Provenance;
pub use super::sub_models::SubModels;
use super::tlm_latency::TlmLatency;
use crate::error::{Error, Result};
use crate::family::FamilyName;
use crate::files;
use crate::input::read_toml;
use crate::names;
use crate::units::{Level, duration_from_millis};

/// The family whose level 100 % *is* the base model's latency: relative objectives are resolved
/// against it, and every family's level 100 % is billed by it, because all of them are the same
/// network and the noise between two measurements of it should decide nothing.
pub const REFERENCE_FAMILY: &str = "width";

/// Version of `device.toml` that this code reads and writes.
pub(super) const SCHEMA: u32 = 1;
const FILE: &str = "device.toml";

const YEAR_MS: f64 = 365.25 * 86_400e3;
const HOUR_MS: f64 = 3_600e3;

/// Everything known of one device: `<folder>/device.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Version of the file format.
    pub schema: u32,
    /// The name that experiments and reports use.
    pub name: String,
    /// What it is made of.
    pub hardware: Hardware,
    /// What ran the model.
    pub runtime: Runtime,
    /// Electrical power, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// How much its times vary, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    /// What the first answer after a pause takes longer, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// How it warms and what that costs, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat: Option<Heat>,
    /// One entry per (base model, family).
    #[serde(rename = "family", default)]
    pub families: Vec<FamilyLatency>,
    /// The tiny language model, one entry per base model that it was timed or modelled for.
    #[serde(rename = "tlm", default, skip_serializing_if = "Vec::is_empty")]
    pub tlms: Vec<TlmLatency>,
    /// Whose sub-models its models are taken to have; `None` once they are among the families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_models: Option<SubModels>,
}

/// What a device is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Processor.
    pub cpu: String,
    /// Cores that a process may use; `None` where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Main memory, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What ran, or is taken to run, the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Inference library.
    pub name: String,
    /// Its version, as it states it; `None` where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Threads used, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Type of weights and activations: `f32`, `fp16`.
    pub precision: String,
}

/// Latencies of one family of sub-models of one base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyLatency {
    /// The full model, such as `smollm2-135m-instruct`.
    pub base_model: String,
    /// How sub-models are made, such as `width`.
    pub family: FamilyName,
    /// Choosing a plan: billed for every request.
    pub decide_ms: f64,
    /// Compressing: billed per token of the full prompt when a plan cuts the prompt.
    pub compress_ms_per_token: f64,
    /// Memory with one level and with all levels ready to serve, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// In family `zoo`, what each level is, smallest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Where the numbers below come from.
    pub provenance: Provenance,
    /// Sorted by level, the last is 100 %.
    #[serde(rename = "level")]
    pub levels: Vec<LevelLatency>,
}

/// Resident memory of the serving process: what it has written, and the pages of mapped files, its
/// weights above all, that it has read.
///
/// Pages of files are dropped and read again as the system likes: on a machine that is short of
/// memory fewer are resident than the process works with. What it has written stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// With only level 100 % open.
    pub one_level_bytes: u64,
    /// With every level open.
    pub all_levels_bytes: u64,
    /// Of the first, what the process has written; absent from older profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_level_private_bytes: Option<u64>,
    /// Of the second, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_levels_private_bytes: Option<u64>,
}

/// Latencies of one sub-model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelLatency {
    /// Nominal share of the base model.
    #[serde(rename = "level_percent", with = "level_percent")]
    pub level: Level,
    /// Real share of the parameters in the layers' units, attention and MLP.
    pub unit_parameter_share: f64,
    /// Real share of all parameters, embedding and head included.
    pub parameter_share: f64,
    /// Making this level resident when another is: a pointer for `width`, a gather copy of the
    /// weights for `width-relayout`.
    pub switch_ms: f64,
    /// Weights and private buffers of this level alone.
    pub resident_bytes: u64,
    /// Time to first token over prompt tokens read.
    pub ttft_ms: PrefillCurve,
    /// Time per output token over context.
    pub tpot_ms: DecodeCurve,
    /// What the curves go through, where others published it.
    #[serde(rename = "point", default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
}

/// A level's measured share of the base model's time, beside its nominal share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeShare {
    /// TTFT of a 512-token prompt, level over base model.
    pub ttft: f64,
    /// TPOT at a context of 256 tokens, level over base model.
    pub tpot: f64,
}

impl DeviceProfile {
    /// Reads and checks `<folder>/device.toml`.
    ///
    /// # Errors
    /// If the file cannot be read, has unknown or missing keys, or contradicts itself: another
    /// schema, a power that is none, a family twice, levels out of order or without 100 %, a share
    /// outside (0, 1], a coefficient that is negative or gives no time.
    pub fn load(folder: &Path) -> Result<Self> {
        let mut profile = Self::load_stated(folder)?;
        if let Some(sub_models) = profile.sub_models.take() {
            sub_models.add_to(&mut profile, folder)?;
            profile.check(&folder.join(FILE))?;
        }
        Ok(profile)
    }

    /// Likewise, without the sub-models that it takes over from another device.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_stated(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let profile: Self = read_toml(&path)?;
        profile.check(&path)?;
        Ok(profile)
    }

    /// The files that [`load`](Self::load) reads for `folder`.
    ///
    /// # Errors
    /// As there.
    pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
        let stated = Self::load_stated(folder)?;
        let others = stated.sub_models.iter().map(|sub_models| sub_models.folder(folder));
        Ok([folder.to_owned()].into_iter().chain(others).map(|at| at.join(FILE)).collect())
    }

    /// Checks and writes `<folder>/device.toml`, replacing an older one in one step.
    ///
    /// # Errors
    /// If the profile would be refused by [`load`](Self::load), or the folder is not writable.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        self.check(&path)?;
        let text = toml::to_string(self)
            .map_err(|cause| Error::file(&path, "cannot be written as TOML").caused_by(cause))?;
        files::write_whole(&path, text.as_bytes())
    }

    /// The latencies of `family` of `base_model`.
    ///
    /// # Errors
    /// If the device has none; the message lists what it has.
    pub fn family(&self, base_model: &str, family: &str) -> Result<&FamilyLatency> {
        self.families
            .iter()
            .find(|entry| entry.base_model == base_model && &*entry.family == family)
            .ok_or_else(|| {
                let known: Vec<_> = self.families.iter().map(FamilyLatency::key).collect();
                Error::new(format!("device profile {}", self.name), "no such family")
                    .found(format!("{base_model}/{family}"))
                    .allowed(known.join(", "))
            })
    }

    /// The base model itself: level 100 % of the [`REFERENCE_FAMILY`].
    ///
    /// # Errors
    /// If the device lacks that family for `base_model`.
    pub fn base(&self, base_model: &str) -> Result<&LevelLatency> {
        Ok(self.family(base_model, REFERENCE_FAMILY)?.full())
    }

    /// The tiny language model beside `base_model`.
    ///
    /// # Errors
    /// If the device has none for that model.
    pub fn tlm(&self, base_model: &str) -> Result<&TlmLatency> {
        self.tlms.iter().find(|entry| entry.base_model == base_model).ok_or_else(|| {
            let known: Vec<_> = self.tlms.iter().map(|entry| &*entry.base_model).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::new(format!("device profile {}", self.name), "no times of the TLM")
                .at(format!("base model {base_model}"))
                .found(format!("[[tlm]] for {known}"))
        })
    }

    /// Refuses what [`load`](Self::load) would, in a profile that messages call `path`.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, path: &Path) -> Result<()> {
        if self.schema != SCHEMA {
            return Err(Error::file(path, "unknown version")
                .at("key \"schema\"")
                .found(self.schema)
                .allowed(SCHEMA));
        }
        names::check(&self.name, || {
            Error::file(path, "name cannot be part of a file name").at("key \"name\"")
        })?;
        self.power.iter().try_for_each(|power| power.check(path))?;
        self.noise.iter().try_for_each(|noise| noise.check(path))?;
        self.idle.iter().try_for_each(|idle| idle.check(path))?;
        self.heat.iter().try_for_each(|heat| heat.check(path))?;
        for (index, family) in self.families.iter().enumerate() {
            if self.families[..index].iter().any(|other| other.key() == family.key()) {
                return Err(Error::file(path, "family given twice").found(family.key()));
            }
            family.check(path)?;
        }
        for (index, tlm) in self.tlms.iter().enumerate() {
            if self.tlms[..index].iter().any(|other| other.base_model == tlm.base_model) {
                let error = Error::file(path, "tlm given twice");
                return Err(error.found(&tlm.base_model));
            }
            tlm.check(path)?;
        }
        Ok(())
    }
}

impl FamilyLatency {
    /// The latencies of `level`.
    ///
    /// # Errors
    /// If the family lacks that level; the message lists those it has.
    pub fn level(&self, level: Level) -> Result<&LevelLatency> {
        self.levels.iter().find(|entry| entry.level == level).ok_or_else(|| {
            let known: Vec<_> = self.levels.iter().map(|entry| entry.level.to_string()).collect();
            Error::new(format!("latency profile {}", self.key()), "no such level")
                .found(level)
                .allowed(known.join(", "))
        })
    }

    /// Level 100 %.
    ///
    /// # Panics
    /// If the last level is another: such a family is not loaded and not saved.
    #[must_use]
    pub fn full(&self) -> &LevelLatency {
        self.levels.last().expect("a checked family ends with level 100 %")
    }

    /// What share of the family's own level 100 % each level takes, in the order of `levels`.
    ///
    /// # Panics
    /// As [`full`](Self::full).
    #[must_use]
    pub fn time_shares(&self) -> Vec<TimeShare> {
        let full = self.full();
        let share = |level: &LevelLatency| TimeShare {
            ttft: level.ttft_ms.millis(512) / full.ttft_ms.millis(512),
            tpot: level.tpot_ms.millis(256) / full.tpot_ms.millis(256),
        };
        self.levels.iter().map(share).collect()
    }

    /// `base model/family`.
    fn key(&self) -> String {
        format!("{}/{}", self.base_model, self.family)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let place = format!("family {}", self.key());
        let problem = |what: &str| Error::file(path, what).at(place.clone());
        check_time(path, &place, "decide_ms", self.decide_ms)?;
        check_time(path, &place, "compress_ms_per_token", self.compress_ms_per_token)?;
        if let Some(pair) = self.levels.windows(2).find(|pair| pair[0].level >= pair[1].level) {
            return Err(problem("levels out of order")
                .found(format!("{} before {}", pair[0].level, pair[1].level))
                .allowed("rising levels, each once"));
        }
        match self.levels.last() {
            Some(last) if last.level == Level::FULL => {}
            last => {
                let found = last.map_or("no level".into(), |last| last.level.to_string());
                return Err(problem("the last level is not the base model")
                    .found(found)
                    .allowed("100 %"));
            }
        }
        self.levels.iter().try_for_each(|level| level.check(path, &place))
    }
}

impl LevelLatency {
    /// Unqueued time to first token of a prompt of which `kept_tokens` are read, phases before
    /// prefill not included.
    #[must_use]
    pub fn ttft(&self, kept_tokens: u32) -> Duration {
        self.ttft_ms.at(kept_tokens)
    }

    /// Reading a prompt of `kept_tokens` of which the KV cache has the first `cached_tokens`: what
    /// is left of the prompt's time, and as much as one output token takes, or more.
    #[must_use]
    pub fn reading(&self, kept_tokens: u32, cached_tokens: u32) -> Duration {
        let whole = self.ttft(kept_tokens);
        if cached_tokens == 0 {
            return whole;
        }
        let rest = whole.saturating_sub(self.ttft(cached_tokens.min(kept_tokens)));
        rest.max(self.tpot(kept_tokens))
    }

    /// Time per output token at `context_tokens` of context.
    #[must_use]
    pub fn tpot(&self, context_tokens: u32) -> Duration {
        self.tpot_ms.at(context_tokens)
    }

    /// Time to make this level resident when another is.
    ///
    /// # Panics
    /// If `switch_ms` is no length of time: such a level is not loaded and not saved.
    #[must_use]
    pub fn switch(&self) -> Duration {
        duration_from_millis(self.switch_ms).expect("a checked switch cost is a length of time")
    }

    fn check(&self, path: &Path, family: &str) -> Result<()> {
        let place = format!("{family}, level {}", self.level);
        let shares = [
            ("unit_parameter_share", self.unit_parameter_share),
            ("parameter_share", self.parameter_share),
        ];
        for (key, share) in shares {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::file(path, "share out of range")
                    .at(format!("{place}, key {key:?}"))
                    .found(share)
                    .allowed("more than 0, at most 1"));
            }
        }
        check_time(path, &place, "switch_ms", self.switch_ms)?;
        for (key, value) in self.ttft_ms.coefficients() {
            check_time(path, &place, &format!("ttft_ms.{key}"), value)?;
        }
        for (key, value) in self.tpot_ms.coefficients() {
            check_time(path, &place, &format!("tpot_ms.{key}"), value)?;
        }
        let prefill = (self.ttft_ms.millis(1), self.ttft_ms.millis(MAX_TOKENS));
        check_curve(path, &place, "ttft_ms", prefill, YEAR_MS)?;
        let decode = (self.tpot_ms.millis(1), self.tpot_ms.millis(MAX_TOKENS));
        check_curve(path, &place, "tpot_ms", decode, HOUR_MS)
    }
}

/// Refuses a cost that is negative, not finite, or longer than a day.
fn check_time(path: &Path, place: &str, key: &str, millis: f64) -> Result<()> {
    if (0.0..=24.0 * HOUR_MS).contains(&millis) {
        return Ok(());
    }
    Err(Error::file(path, "not a length of time")
        .at(format!("{place}, key {key:?}"))
        .found(millis)
        .allowed("0 or more milliseconds, at most a day"))
}

/// Refuses a curve that takes no time at one token or more than `limit_ms` at [`MAX_TOKENS`].
fn check_curve(
    path: &Path,
    place: &str,
    key: &str,
    (shortest, longest): (f64, f64),
    limit_ms: f64,
) -> Result<()> {
    if shortest > 0.0 && longest <= limit_ms {
        return Ok(());
    }
    Err(Error::file(path, "impossible latency curve")
        .at(format!("{place}, key {key:?}"))
        .found(format!("{shortest} ms at 1 token, {longest} ms at {MAX_TOKENS}"))
        .allowed(format!("more than 0 ms, at most {limit_ms} ms")))
}

/// A level as a whole number of percent.
mod level_percent {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::units::Level;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(level.as_percent())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let percent = u16::deserialize(deserializer)?;
        if (1..=100).contains(&percent) {
            return Ok(Level::percent(percent));
        }
        Err(D::Error::custom(format!("level_percent {percent} out of range; allowed: 1 to 100")))
    }
}

#[cfg(test)]
mod tests;
