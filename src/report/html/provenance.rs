//! Where the numbers of a results folder come from: its input files, and what profiles say.

use serde::Serialize;

use crate::error::Result;
use crate::profile::{
    AnswersOf, DeviceProfile, FamilyLatency, Hardware, Provenance, QualityManifest, Runtime,
};
use crate::results::{FigureInputs, InputNow, Manifest};

/// What the page shows of inputs.
#[derive(Debug, Serialize)]
pub(super) struct Provenances {
    inputs: Vec<Input>,
    devices: Vec<Device>,
    answers: Vec<QualityManifest>,
}

/// An input file of the run.
#[derive(Debug, Serialize)]
struct Input {
    path: String,
    sha256: String,
    now: InputNow,
}

/// A device, without its coefficients.
#[derive(Debug, Serialize)]
struct Device {
    name: String,
    hardware: Hardware,
    runtime: Runtime,
    parts: Vec<Part>,
}

/// Latencies of one origin.
#[derive(Debug, Serialize)]
struct Part {
    what: String,
    provenance: Provenance,
}

impl Provenances {
    /// Reads the inputs that `manifest` names.
    ///
    /// # Errors
    /// If a profile of the manifest's figures is there and bad, or an input cannot be read.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let inputs = manifest.inputs_now()?.into_iter();
        let inputs = inputs.map(|(path, sha256, now)| Input {
            path: path.to_owned(),
            sha256: sha256.to_owned(),
            now,
        });
        let FigureInputs { latency, quality, .. } = manifest.figures.clone().unwrap_or_default();
        let mut devices: Vec<Device> = Vec::new();
        for input in &latency {
            if !input.device.join("device.toml").exists() {
                continue;
            }
            let profile = DeviceProfile::load(&input.device)?;
            if devices.iter().all(|device| device.name != profile.name) {
                devices.push(Device::of(profile));
            }
        }
        let mut answers = Vec::new();
        for input in &quality {
            let of = AnswersOf::named(&input.folder, &input.table);
            answers.extend(QualityManifest::load(&input.folder, &of, false)?);
        }
        Ok(Self { inputs: inputs.collect(), devices, answers })
    }
}

impl Device {
    fn of(profile: DeviceProfile) -> Self {
        let families = profile.families.into_iter().map(|family| {
            let FamilyLatency { base_model, family, provenance, .. } = family;
            Part { what: format!("{base_model}, {family}"), provenance }
        });
        let tlms = profile.tlms.into_iter().map(|tlm| {
            let what = format!("{}, tiny language model", tlm.base_model);
            Part { what, provenance: tlm.provenance }
        });
        let power = profile
            .power
            .into_iter()
            .map(|power| Part { what: "power".to_owned(), provenance: power.provenance });
        Self {
            name: profile.name,
            hardware: profile.hardware,
            runtime: profile.runtime,
            parts: families.chain(tlms).chain(power).collect(),
        }
    }
}
