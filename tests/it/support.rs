//! What several areas need: the binary in a folder of its own, and files made by hand.

use std::path::Path;

use snapbox::cmd::Command;

/// `pliant` with `folder` as its working directory, so that messages name short paths.
pub fn pliant(folder: &Path) -> Command {
    Command::new(snapbox::cmd::cargo_bin!("pliant")).current_dir(folder)
}
