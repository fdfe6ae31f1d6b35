//! `pliant run --demo`: an experiment and all that it reads, from the program itself.
//!
//! The demo is a small project in a folder of its own, so that what one learns there is how any
//! project works: change `experiments/demo.toml`, run it again.

use std::path::{Path, PathBuf};

use pliant::{Error, Result, files};

/// Where the demo is laid out, below the folder that one is in.
pub const FOLDER: &str = "pliant-demo";

/// Its experiment, from there.
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

/// Lays the demo out in `pliant-demo` and goes there; returns its experiment.
///
/// Files that are there already stay as they are: the reader may have changed them.
///
/// # Errors
/// If the folder cannot be made or entered, or is full.
pub fn enter() -> Result<PathBuf> {
    let folder = Path::new(FOLDER);
    lay_out(folder)?;
    std::env::set_current_dir(folder).map_err(|error| Error::io(folder, "cannot enter", error))?;
    Ok(PathBuf::from(EXPERIMENT))
}

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
