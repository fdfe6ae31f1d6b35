//! The score-head's two files: weights (safetensors, 16-bit floats), which may be
//! [shipped] ones instead, and, written last, a manifest that says which
//! trunk it sits on, how it was trained, and in which order shots go.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::graph::Precision;
use super::head::{Head, ReadOut, Reads};
use super::layer::EncoderLayer;
use super::trunk::{Trunk, failed, layer_shape};
use crate::error::{Error, Result};
use crate::model::shipped;
use crate::prompt::compress::score_head::ShotPart;
use crate::{digest, files};

/// The weights' name inside their folder.
pub const WEIGHTS_FILE: &str = "score-head.safetensors";
/// The manifest's name inside its folder.
pub const MANIFEST_FILE: &str = "score-head.json";
/// The name of the read-out: the log-odds that a token is worth keeping.
pub const KEEP: &str = "keep";

const SCHEMA: u32 = 1;

/// What a score-head is and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreManifest {
    /// Version of this format.
    pub schema: u32,
    /// SHA-256 of the trunk's weights.
    pub trunk_sha256: String,
    /// Layers of the trunk below the head, frozen.
    pub shared_layers: usize,
    /// Layers of the head's own.
    pub own_layers: usize,
    /// Numbers that it runs with.
    pub precision: Precision,
    /// SHA-256 of the weights' file.
    pub weights_sha256: String,
    /// Which labels it learned: a name of `elastify::tlm::Labeling`.
    pub labeling: String,
    /// SHA-256 of the file of labels.
    pub labels_sha256: String,
    /// SHA-256 of the text that labels were made for, by dataset.
    pub corpus_sha256: BTreeMap<String, String>,
    /// Items learned from, by dataset.
    pub trained_on: BTreeMap<String, Vec<u32>>,
    /// Items that the best epoch was chosen by, by dataset.
    pub validated_on: BTreeMap<String, Vec<u32>>,
    /// Steps up to the chosen epoch.
    pub steps: usize,
    /// Mean loss of the last epoch, nats per token.
    pub loss: f64,
    /// Loss on the validation items.
    pub validation_loss: f64,
    /// Seed of the order of items.
    pub seed: u64,
    /// Steps of shortening each dataset's shots, first to last.
    pub shots: BTreeMap<String, Vec<ShotPart>>,
    /// The command.
    pub command: String,
}

impl ScoreManifest {
    /// The version that this program writes.
    pub const SCHEMA: u32 = SCHEMA;
}

/// Writes `head` and `manifest`, whose weights' hash is filled in, into `folder`.
///
/// # Errors
/// If a number is not finite, in which case nothing is written, or the folder cannot be written.
#[expect(clippy::missing_panics_doc, reason = "a manifest is plain data")]
pub fn save(folder: &Path, head: &Head, mut manifest: ScoreManifest) -> Result<ScoreManifest> {
    let tensors = tensors(head).map_err(failed)?;
    for (name, tensor) in &tensors {
        let numbers: Vec<f32> = tensor
            .to_dtype(DType::F32)
            .and_then(|tensor| tensor.flatten_all()?.to_vec1())
            .map_err(failed)?;
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(Error::new("score-head", "not written: a weight is not finite").at(name));
        }
    }
    let path = folder.join(WEIGHTS_FILE);
    let scratch = files::scratch(&path)?;
    candle_core::safetensors::save(&tensors.into_iter().collect(), scratch.path())
        .map_err(failed)?;
    manifest.weights_sha256 = digest::sha256_file(scratch.path())?;
    files::place(scratch, &path)?;
    let mut json = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
    json.push('\n');
    files::write_whole(&folder.join(MANIFEST_FILE), json.as_bytes())?;
    Ok(manifest)
}

fn tensors(head: &Head) -> candle_core::Result<Vec<(String, Tensor)>> {
    let half = |tensor: &Tensor| tensor.to_dtype(DType::F16);
    let mut tensors = Vec::new();
    for (index, layer) in head.layers.iter().enumerate() {
        for (name, tensor) in layer.tensors() {
            tensors.push((format!("layer.{index}.{name}"), half(tensor)?));
        }
    }
    let [keep] = &head.read_outs[..] else { panic!("a score-head has one read-out") };
    tensors.push((format!("{KEEP}.weight"), half(&keep.weight)?));
    tensors.push((format!("{KEEP}.bias"), half(&keep.bias)?));
    Ok(tensors)
}

/// Reads the head in `folder`, which must be made for `trunk`.
///
/// # Errors
/// If a file is missing, damaged or of another version, or the head is another trunk's.
pub fn load(folder: &Path, trunk: &Trunk) -> Result<(ScoreManifest, Head)> {
    let path = folder.join(MANIFEST_FILE);
    let json = std::fs::read(&path).map_err(|e| Error::io(&path, "cannot read", e))?;
    let manifest: ScoreManifest = serde_json::from_slice(&json)
        .map_err(|error| Error::file(&path, "not a score-head's manifest").caused_by(error))?;
    check(&path, &manifest, trunk)?;
    let path = folder.join(WEIGHTS_FILE);
    let path = shipped::locate(&path, &manifest.weights_sha256, &manifest.command)?;
    let found = digest::sha256_file(&path)?;
    if found != manifest.weights_sha256 {
        return Err(Error::file(&path, "not the weights of the manifest")
            .found(format!("sha256 {found}"))
            .allowed(format!("sha256 {}, as {MANIFEST_FILE} says", manifest.weights_sha256)));
    }
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu)
        .map_err(|error| Error::file(&path, "cannot read tensors").caused_by(error))?;
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let head = head(&path, &tensors, &manifest, trunk)?;
    Ok((manifest, head))
}

fn check(path: &Path, manifest: &ScoreManifest, trunk: &Trunk) -> Result<()> {
    if manifest.schema != SCHEMA {
        return Err(Error::file(path, "unknown version").found(manifest.schema).allowed(SCHEMA));
    }
    if manifest.trunk_sha256 != trunk.sha256() {
        return Err(Error::file(path, "head of another trunk")
            .found(format!("sha256 {}", manifest.trunk_sha256))
            .allowed(format!("sha256 {}, the trunk's", trunk.sha256())));
    }
    let layers = trunk.layers().len();
    if manifest.shared_layers > layers {
        return Err(Error::file(path, "more shared layers than the trunk has")
            .found(manifest.shared_layers)
            .allowed(format!("up to {layers}")));
    }
    Ok(())
}

fn head(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    manifest: &ScoreManifest,
    trunk: &Trunk,
) -> Result<Head> {
    let config = trunk.config();
    let get = |name: String, shape: &[usize]| {
        let wrong = |problem: &str| Error::file(path, problem).at(format!("tensor {name}"));
        let tensor = tensors.get(&name).ok_or_else(|| wrong("missing"))?;
        if tensor.dims() != shape {
            let found = format!("{:?}", tensor.dims());
            return Err(wrong("of another shape").found(found).allowed(format!("{shape:?}")));
        }
        tensor.to_dtype(DType::F32).map_err(failed)
    };
    let layer = |index| {
        EncoderLayer::new(config.heads, config.epsilon, |name| {
            get(format!("layer.{index}.{name}"), &layer_shape(config, name))
        })
    };
    Ok(Head {
        reads: Reads::EveryToken,
        layers: (0..manifest.own_layers).map(layer).collect::<Result<_>>()?,
        read_outs: vec![ReadOut {
            name: KEEP,
            weight: get(format!("{KEEP}.weight"), &[1, config.hidden])?,
            bias: get(format!("{KEEP}.bias"), &[1])?,
        }],
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::tlm::testing::{self, trunk};

    pub fn manifest(trunk: &Trunk) -> ScoreManifest {
        ScoreManifest {
            schema: SCHEMA,
            trunk_sha256: trunk.sha256().to_owned(),
            shared_layers: 1,
            own_layers: 1,
            precision: Precision::F32,
            weights_sha256: String::new(),
            labeling: "leave-one-out".into(),
            labels_sha256: String::new(),
            corpus_sha256: BTreeMap::new(),
            trained_on: BTreeMap::new(),
            validated_on: BTreeMap::new(),
            steps: 1,
            loss: 0.5,
            validation_loss: 0.5,
            seed: 1,
            shots: BTreeMap::new(),
            command: String::new(),
        }
    }

    pub fn small_head() -> Head {
        let weight = Tensor::ones((1, 8), DType::F32, &Device::Cpu).unwrap();
        let bias = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let read_outs = vec![ReadOut { name: KEEP, weight, bias }];
        Head { reads: Reads::EveryToken, layers: vec![testing::layer(2)], read_outs }
    }

    #[test]
    fn a_head_comes_back_as_it_went_in_but_for_rounding() {
        let (folder, trunk, head) = (tempfile::tempdir().unwrap(), trunk(1), small_head());
        let saved = save(folder.path(), &head, manifest(&trunk)).unwrap();
        let (loaded, again) = load(folder.path(), &trunk).unwrap();
        assert_eq!(saved, loaded);
        for ((_, a), (_, b)) in head.layers[0].tensors().zip(again.layers[0].tensors()) {
            let apart = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-3);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_head_of_another_trunk_and_changed_weights_are_errors() {
        let (folder, trunk) = (tempfile::tempdir().unwrap(), trunk(1));
        save(folder.path(), &small_head(), manifest(&trunk)).unwrap();
        let message = load(folder.path(), &testing::trunk(2)).unwrap_err().to_string();
        assert!(message.contains("head of another trunk; found sha256 seed 1"), "{message}");
        let path = folder.path().join(WEIGHTS_FILE);
        std::fs::write(&path, "x").unwrap();
        let message = load(folder.path(), &trunk).unwrap_err().to_string();
        assert!(message.contains("not the weights of the manifest"), "{message}");
    }

    #[test]
    fn a_head_that_diverged_is_not_written() {
        let (folder, trunk, mut head) = (tempfile::tempdir().unwrap(), trunk(1), small_head());
        head.read_outs[0].bias = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
        let error = save(folder.path(), &head, manifest(&trunk)).unwrap_err();
        assert_eq!(error.to_string(), "score-head, keep.bias: not written: a weight is not finite");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
