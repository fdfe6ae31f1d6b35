//! An experiment and all that it reads, from the program itself: a project to begin with.
//!
//! Laid out in a folder it is as any project is: one changes `experiments/demo.toml` and runs it
//! again. `pliant run --demo` and `python -m pliant demo` do.

use std::path::Path;

use crate::error::Result;
use crate::files;

/// Its experiment, from the folder that it is laid out in.
pub const EXPERIMENT: &str = "experiments/demo.toml";

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// What the demo reads, by its path in the repository.
const FILES: &[(&str, &[u8])] = embedded![
    "experiments/demo.toml",
    "device-profiles/epyc-zen5-2core/device.toml",
    "device-profiles/redmi-k60-champion/device.toml",
    "device-profiles/quality/smollm2-135m-instruct/decisions.json",
    "device-profiles/quality/smollm2-135m-instruct/decisions.soft.csv.gz",
    "device-profiles/quality/smollm2-135m-instruct/lingua.csv",
    "device-profiles/quality/smollm2-135m-instruct/lingua.json",
    "device-profiles/quality/smollm2-135m-instruct/lingua.tokens.csv",
    "device-profiles/quality/smollm2-135m-instruct/score-head.csv",
    "device-profiles/quality/smollm2-135m-instruct/score-head.json",
    "device-profiles/quality/smollm2-135m-instruct/score-head.tokens.csv",
    "device-profiles/quality/smollm2-135m-instruct/structured.csv",
    "device-profiles/quality/smollm2-135m-instruct/structured.json",
];

/// Lays out in `folder` what of it is not there.
///
/// # Errors
/// If the folder cannot be made, or is full.
pub fn lay_out(folder: &Path) -> Result<()> {
    for (path, bytes) in FILES {
        let path = folder.join(path);
        if !path.exists() {
            files::write_whole(&path, bytes)?;
        }
    }
    Ok(())
}
