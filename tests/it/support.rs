//! What several areas need: the binary in a folder of its own, and files made by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use pliant::experiment::{Experiment, TraceSource};
use pliant::profile::PromptLengths;
use snapbox::cmd::Command;

/// `pliant` with `folder` as its working directory, so that messages name short paths.
pub fn pliant(folder: &Path) -> Command {
    Command::new(snapbox::cmd::cargo_bin!("pliant")).current_dir(folder)
}

/// The file `name` of data that is not ours to publish: below `PLIANT_SHARED_DATA`, or
/// `../shared/data` of the repository.
///
/// Where it is absent the calling test cannot run; `None`, and a line that `.ci/skipped` reports.
pub fn shared_data(name: &Path) -> Option<PathBuf> {
    let root = std::env::var_os("PLIANT_SHARED_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} of the shared data", name.display()));
    None
}

/// Says, in a line that `.ci/skipped` reports, that the calling test cannot run without `needed`.
#[expect(
    clippy::disallowed_methods,
    reason = "`println!` would be captured, as the test will pass"
)]
pub fn skipped(needed: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("\nSKIPPED {test}: needs {needed}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
}

/// Whether there is a Python; where there is none the calling test cannot run and says so.
pub fn python() -> bool {
    let found = std::process::Command::new("python3").arg("-V").output().is_ok();
    if !found {
        skipped("python3");
    }
    found
}

/// Writes `structured.tokens.csv` into `folder`: of each dataset forty items, whose full prompts have
/// from `shortest` tokens on, each one more than the one before.
pub fn write_lengths(folder: &Path, datasets: [(&str, u32); 4]) {
    let mut lengths = PromptLengths::default();
    for (dataset, shortest) in datasets {
        for item in 0..40 {
            lengths.insert(dataset, item, [10, 20, 30, 40, 50, 60, 70, 80, 85, shortest + item]);
        }
    }
    lengths.save(folder, "structured").unwrap();
}

/// The bench's experiment with paths that do not depend on where the tests run.
pub fn bench_experiment(folder: &Path) -> Experiment {
    let mut experiment = Experiment::load(&folder.join("experiment.toml")).unwrap();
    let spec = &mut experiment.spec;
    spec.quality = folder.join(&spec.quality);
    spec.devices[0].dir = folder.join(&spec.devices[0].dir);
    let TraceSource::Synth(source) = &mut spec.trace else { panic!("a synthesised trace") };
    source.items = folder.join(&source.items);
    experiment
}

/// Every file below `folder` with its bytes.
pub fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                // A link that leads nowhere is there and holds nothing.
                found.insert(name, fs::read(path).unwrap_or_default());
            }
        }
    }
    found
}

/// Every file below `folder`, by its path.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}
