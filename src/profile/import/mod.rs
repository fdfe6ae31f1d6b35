//! Device profiles from what other people published: one file per format reads it, one rule makes
//! curves of it.
//!
//! A benchmark times a few lengths. Curves go through those that its author measured; a length that
//! was computed from another is kept and marked, and fits nothing. Lengths that nobody timed are
//! filled by a model that the profile states. Nothing is guessed: what a file does not say of a
//! device is given by hand ([`Facts`]) or left out, and an error says what is missing. See
//! `docs/devices.md`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::device::{DeviceProfile, SubModels};
use crate::error::{Error, Result};
use crate::input::Input;

mod ai_hub;
mod apple;
mod assemble;
mod curves;
mod facts;
mod fields;
mod found;
mod llama_bench;
mod mlperf;
mod ort_genai;
mod samples;
mod warning;
mod yaml;

pub use apple::{SustainedRun, sustained_runs};
pub use facts::{Facts, Only, Pair};
pub use warning::Warning;

use fields::Fields;
use found::Found;

/// What a file is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// llama.cpp's `llama-bench`: json, jsonl, csv, sql or md.
    LlamaBench,
    /// `apple-silicon-llm-bench`: JSON, or JSON lines.
    AppleSilicon,
    /// Qualcomm's AI Hub Models: `perf.yaml`.
    AiHub,
    /// MLPerf Client: `results.json`.
    MlperfClient,
    /// onnxruntime-genai's `benchmark_e2e.py`: JSON.
    OrtGenai,
    /// Pliant's own samples.
    Samples,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::LlamaBench,
        Self::AppleSilicon,
        Self::AiHub,
        Self::MlperfClient,
        Self::OrtGenai,
        Self::Samples,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaBench => "llama-bench",
            Self::AppleSilicon => "apple-silicon",
            Self::AiHub => "ai-hub",
            Self::MlperfClient => "mlperf-client",
            Self::OrtGenai => "ort-genai",
            Self::Samples => "samples",
        }
    }
}

/// How files become a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportSpec {
    /// What they are written as.
    pub format: Format,
    /// The device's name: its folder's.
    pub name: String,
    /// Which of their records to take.
    pub only: Only,
    /// What they do not say.
    pub facts: Facts,
    /// The base model of a device whose curves have the shape that one published length lacks.
    pub shape: Option<Shape>,
    /// Whose sub-models the model is taken to have.
    pub sub_models: Option<SubModels>,
}

/// Curves whose shape is taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The device.
    pub device: DeviceProfile,
    /// Which of its base models.
    pub base_model: String,
}

/// A profile, and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The profile, as it is to be written.
    pub profile: DeviceProfile,
    /// The base models that came with the files.
    pub base_models: Vec<String>,
    /// What a reader of the profile should know.
    pub warnings: Vec<Warning>,
}

/// Imports the files `inputs` into `known`, the device's profile so far: base models that the files
/// have take the place of those of the same name.
///
/// # Errors
/// If a file is not of the format (the error names place, found and allowed), its units contradict
/// each other, it has no lengths, it has several devices and nobody said which, or something is
/// missing that a profile needs.
pub fn import(
    inputs: &[Input],
    spec: &ImportSpec,
    known: Option<DeviceProfile>,
) -> Result<Imported> {
    let mut warnings = Vec::new();
    let mut all = Vec::new();
    for input in inputs {
        let found = match spec.format {
            Format::LlamaBench => llama_bench::read(input, &mut warnings)?,
            Format::AppleSilicon => apple::read(input, spec, &mut warnings)?,
            Format::AiHub => ai_hub::read(input)?,
            Format::MlperfClient => mlperf::read(input, &spec.facts)?,
            Format::OrtGenai => ort_genai::read(input)?,
            Format::Samples => samples::read(input)?,
        };
        all.extend(found);
    }
    let paths: Vec<&Path> = inputs.iter().map(Input::path).collect();
    assemble::profile(&paths, all, spec, known, warnings)
}

/// The file's name, for sources.
fn file_name(input: &Input) -> String {
    input.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The error of a record that does not say how long its prompt is.
fn no_lengths(record: &Fields<'_>, key: &str) -> Error {
    record
        .wrong_at(key, "no length: nobody knows of how many tokens the times are")
        .allowed("tokens above 0, or `--fact prompt-tokens=N` where they are known otherwise")
}

#[cfg(test)]
mod tests;
