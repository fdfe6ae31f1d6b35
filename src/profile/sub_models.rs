//! Sub-models of a device that publishes whole models only: modelled by another device's.
//!
//! Benchmarks of phones time whole models, or a few slices of one. What smaller ones would take is
//! a model, stated once here and not written out: level by level, a share of the published times
//! that is another device's share, or, between published slices, a straight line. Who reads a
//! profile gets the families that this makes, marked as modelled.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::curve::{DecodeCurve, PrefillCurve};
use super::device::{DeviceProfile, FamilyLatency, LevelLatency, REFERENCE_FAMILY};
use super::provenance::Provenance;
use super::tlm_latency::TlmLatency;
use crate::error::{Error, Result};
use crate::names;

/// Where sub-models are taken from: `[sub_models]` of `device.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubModels {
    /// The device whose shares they are: a folder beside the one of the file.
    pub like: String,
    /// Which of its base models.
    pub base_model: String,
}

/// Prompt length and context at which shares are taken.
const AT: (u32, u32) = (512, 256);

/// The published levels of one base model, rising, the last 100 %.
struct Ladder<'a>(&'a [LevelLatency]);

impl SubModels {
    /// The folder of the device that they are taken from, for a profile in `folder`.
    pub(super) fn folder(&self, folder: &Path) -> PathBuf {
        folder.with_file_name(&self.like)
    }

    /// Adds the families that `profile`, read from `folder`, lacks of each of its base models, and
    /// the levels that its reference family lacks.
    ///
    /// # Errors
    /// If the other device is missing, is itself made so, or lacks the base model.
    pub(super) fn add_to(&self, profile: &mut DeviceProfile, folder: &Path) -> Result<()> {
        names::check(&self.like, || {
            Error::new(format!("device profile {}", profile.name), "no device's name")
                .at("sub_models, key \"like\"")
        })?;
        let like = DeviceProfile::load_stated(&self.folder(folder))?;
        if let Some(other) = &like.sub_models {
            return Err(Error::new(format!("device profile {}", like.name), "is modelled itself")
                .at(format!("sub_models of {}", profile.name))
                .found(format!("sub_models like {}", other.like))
                .allowed("a device with families of its own"));
        }
        like.base(&self.base_model)?;
        let mut base_models: Vec<String> = Vec::new();
        for family in &profile.families {
            if !base_models.contains(&family.base_model) {
                base_models.push(family.base_model.clone());
            }
        }
        for base_model in base_models {
            self.add_families(profile, &like, &base_model)?;
        }
        Ok(())
    }

    fn add_families(
        &self,
        profile: &mut DeviceProfile,
        like: &DeviceProfile,
        base_model: &str,
    ) -> Result<()> {
        let published = profile.family(base_model, REFERENCE_FAMILY)?.clone();
        let ladder = Ladder(&published.levels);
        let theirs = like.families.iter().filter(|family| family.base_model == self.base_model);
        for family in theirs {
            let made = self.family(family, like.base(&self.base_model)?, &published, &ladder);
            let own = profile
                .families
                .iter_mut()
                .find(|own| own.base_model == base_model && own.family == family.family);
            match own {
                Some(own) => add_levels(own, made),
                None => profile.families.push(made),
            }
        }
        let ratio =
            ladder.full().ttft_ms.millis(AT.0) / like.base(&self.base_model)?.ttft_ms.millis(AT.0);
        if let Ok(tlm) = like.tlm(&self.base_model)
            && profile.tlm(base_model).is_err()
        {
            profile.tlms.push(self.tlm(tlm, base_model, &published, ratio));
        }
        Ok(())
    }

    /// `family` of the other device, with the times of the published model.
    fn family(
        &self,
        family: &FamilyLatency,
        like: &LevelLatency,
        published: &FamilyLatency,
        ladder: &Ladder<'_>,
    ) -> FamilyLatency {
        let full = ladder.full();
        let bytes = full.resident_bytes as f64 / like.resident_bytes as f64;
        let level = |theirs: &LevelLatency| {
            let ttft = theirs.ttft_ms.millis(AT.0) / like.ttft_ms.millis(AT.0);
            let tpot = theirs.tpot_ms.millis(AT.1) / like.tpot_ms.millis(AT.1);
            Some(LevelLatency {
                switch_ms: theirs.switch_ms * bytes,
                resident_bytes: (theirs.resident_bytes as f64 * bytes) as u64,
                ttft_ms: ladder.prefill(ttft)?,
                tpot_ms: ladder.decode(tpot)?,
                points: Vec::new(),
                ..theirs.clone()
            })
        };
        let time = full.ttft_ms.millis(AT.0) / like.ttft_ms.millis(AT.0);
        FamilyLatency {
            base_model: published.base_model.clone(),
            decide_ms: family.decide_ms * time,
            compress_ms_per_token: family.compress_ms_per_token * time,
            memory: None,
            provenance: self.provenance(&family.family, published, ladder),
            levels: family.levels.iter().filter_map(level).collect(),
            ..family.clone()
        }
    }

    fn provenance(
        &self,
        family: &str,
        published: &FamilyLatency,
        ladder: &Ladder<'_>,
    ) -> Provenance {
        let Self { like, base_model } = self;
        let formula = if ladder.0.len() == 1 {
            format!(
                "TTFT = s · published TTFT, TPOT = s · published TPOT, s = what {family} \
                     takes of its level 100 % on {like}"
            )
        } else {
            format!(
                "TTFT and TPOT on a straight line between published slices, at what {family} \
                     takes of its level 100 % on {like}; no level below the smallest slice"
            )
        };
        let (sources, mut assumptions) = match &published.provenance {
            Provenance::Published { sources, filled } => (sources.clone(), filled.clone()),
            other => (vec![other.label().to_owned()], Vec::new()),
        };
        assumptions.extend([
            format!("sub-models of {} are those of {base_model} on {like}", published.base_model),
            "a switch takes time in proportion to the bytes of the weights".to_owned(),
        ]);
        Provenance::Modelled { formula, anchors: sources, assumptions }
    }

    fn tlm(
        &self,
        theirs: &TlmLatency,
        base_model: &str,
        published: &FamilyLatency,
        ratio: f64,
    ) -> TlmLatency {
        let Self { like, base_model: their_model } = self;
        let anchors = match &published.provenance {
            Provenance::Published { sources, .. } => sources.clone(),
            other => vec![other.label().to_owned()],
        };
        TlmLatency {
            base_model: base_model.to_owned(),
            decide_ms: theirs.decide_ms.times(ratio),
            compress_ms: theirs.compress_ms.map(|curve| curve.times(ratio)),
            ranked_lists_ms: theirs.ranked_lists_ms.map(|curve| curve.times(ratio)),
            lingua_ms: theirs.lingua_ms.map(|curve| curve.times(ratio)),
            provenance: Provenance::Modelled {
                formula: format!("the share of the full prefill that it takes on {like}"),
                anchors,
                assumptions: vec![format!("taken at {} tokens, of {their_model}", AT.0)],
            },
        }
    }
}

impl Ladder<'_> {
    fn full(&self) -> &LevelLatency {
        self.0.last().expect("a checked family ends with level 100 %")
    }

    fn prefill(&self, share: f64) -> Option<PrefillCurve> {
        let (below, above, way) = self.around(share)?;
        Some(match below {
            Some(below) => below.ttft_ms.towards(&above.ttft_ms, way),
            None => above.ttft_ms.times(way),
        })
    }

    fn decode(&self, share: f64) -> Option<DecodeCurve> {
        let (below, above, way) = self.around(share)?;
        Some(match below {
            Some(below) => below.tpot_ms.towards(&above.tpot_ms, way),
            None => above.tpot_ms.times(way),
        })
    }

    /// The published levels around `share` and how far it is from the lower to the upper; one
    /// published level alone stands for all, in proportion. `None` below the smallest of several.
    fn around(&self, share: f64) -> Option<(Option<&LevelLatency>, &LevelLatency, f64)> {
        if self.0.len() == 1 {
            return Some((None, self.full(), share));
        }
        let of = |level: &LevelLatency| f64::from(level.level.as_percent()) / 100.0;
        let pair = self.0.windows(2).find(|pair| share <= of(&pair[1]) + 1e-9)?;
        let way = (share - of(&pair[0])) / (of(&pair[1]) - of(&pair[0]));
        (way >= 0.0).then_some((Some(&pair[0]), &pair[1], way.min(1.0)))
    }
}

/// The levels of `made` that `own`, which is published, lacks.
fn add_levels(own: &mut FamilyLatency, made: FamilyLatency) {
    let published = own.clone();
    let new = made.levels.into_iter().filter(|level| published.level(level.level).is_err());
    own.levels.extend(new);
    own.levels.sort_by_key(|level| level.level);
    if own.levels.len() > published.levels.len() {
        own.provenance = made.provenance;
    }
}

#[cfg(test)]
mod tests;
