//! `pliant run --demo`: an experiment and all that it reads, from the program itself.
//!
//! The demo is a small project in a folder of its own, so that what one learns there is how any
//! project works: change `experiments/demo.toml`, run it again.

use std::path::{Path, PathBuf};

use pliant::demo::{EXPERIMENT, lay_out};
use pliant::{Error, Result};

/// Where the demo is laid out, below the folder that one is in.
pub const FOLDER: &str = "pliant-demo";

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
