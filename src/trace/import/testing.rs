//! Small files and item pools made by hand.

use super::super::synth::{ItemPool, PooledItem};
use super::{Columns, Source};
use crate::error::Result;
use crate::input::Input;

/// How a format's file is read.
type Read = fn(&Input, &Columns) -> Result<Source>;

/// What `read` makes of a file of `text`.
pub fn source(read: Read, text: &str) -> Source {
    read(&Input::of("file", text), &Columns::default()).unwrap()
}

/// What `read` says of a file of `text`, without the file's name.
pub fn message(read: Read, text: &str) -> String {
    let message = read(&Input::of("file", text), &Columns::default()).unwrap_err().to_string();
    message.strip_prefix("file").unwrap().trim_start_matches([',', ':', ' ']).to_owned()
}

/// Ten items each: 100–109 tokens of arc-easy, 200–209 of openbookqa, 300–309 of piqa, 800–809 of
/// sciq.
pub fn pools() -> Vec<ItemPool> {
    [("arc-easy", 100), ("openbookqa", 200), ("piqa", 300), ("sciq", 800)]
        .map(|(dataset, shortest)| ItemPool {
            dataset: dataset.to_owned(),
            items: (0..10)
                .map(|item| PooledItem { item: item.into(), prompt_tokens: shortest + item })
                .collect(),
        })
        .into()
}
