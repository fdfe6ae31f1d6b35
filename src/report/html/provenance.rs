//! Where the numbers of a results folder come from: its input files, and what profiles say.

use std::path::Path;

use serde::Serialize;

use crate::digest::sha256_file;
use crate::error::Result;
use crate::profile::{
    DeviceProfile, FamilyLatency, Hardware, Provenance, QualityManifest, Runtime,
};
use crate::report::contents::ResultsManifest;

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
    now: Now,
}

/// What became of an input file since the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Now {
    Same,
    Changed,
    Absent,
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
    pub fn of(manifest: &ResultsManifest) -> Result<Self> {
        let inputs = manifest.inputs.iter().map(|(path, sha256)| {
            let now = match Path::new(path) {
                path if !path.exists() => Now::Absent,
                path if sha256_file(path)? == *sha256 => Now::Same,
                _ => Now::Changed,
            };
            Ok(Input { path: path.clone(), sha256: sha256.clone(), now })
        });
        let mut devices: Vec<Device> = Vec::new();
        for input in &manifest.figures.latency {
            if !input.device.join("device.toml").exists() {
                continue;
            }
            let profile = DeviceProfile::load(&input.device)?;
            if devices.iter().all(|device| device.name != profile.name) {
                devices.push(Device::of(profile));
            }
        }
        let mut answers = Vec::new();
        for input in &manifest.figures.quality {
            if QualityManifest::path(&input.folder, &input.table).exists() {
                answers.push(QualityManifest::load(&input.folder, &input.table)?);
            }
        }
        Ok(Self { inputs: inputs.collect::<Result<_>>()?, devices, answers })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    #[test]
    fn inputs_are_compared_with_what_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("same"), "a").unwrap();
        std::fs::write(path("changed"), "b").unwrap();
        let inputs = ["absent", "changed", "same"].map(|name| (path(name), sha256(b"a")));
        let manifest = ResultsManifest { inputs: inputs.into(), ..ResultsManifest::default() };
        let found = Provenances::of(&manifest).unwrap();
        let now: Vec<Now> = found.inputs.iter().map(|input| input.now).collect();
        assert_eq!(now, [Now::Absent, Now::Changed, Now::Same]);
    }
}
