//! Small files and item pools made by hand.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use super::super::synth::{ItemPool, PooledItem};
use super::Source;
use crate::error::Result;

pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// What `read` says of a file of `text`, without the file's name.
pub fn message(read: impl Fn(&Path) -> Result<Source>, text: &str) -> String {
    let file = file(text);
    let message = read(file.path()).unwrap_err().to_string();
    let name = file.path().display().to_string();
    message.strip_prefix(&name).unwrap().trim_start_matches([',', ':', ' ']).to_owned()
}

/// Ten items each: 100–109 tokens of arc-easy, 200–209 of openbookqa, 300–309 of piqa, 800–809 of
/// sciq.
pub fn pools() -> Vec<ItemPool> {
    [("arc-easy", 100), ("openbookqa", 200), ("piqa", 300), ("sciq", 800)]
        .map(|(dataset, shortest)| ItemPool {
            dataset: dataset.to_owned(),
            items: (0..10)
                .map(|item| PooledItem { item, prompt_tokens: shortest + item })
                .collect(),
        })
        .into()
}
