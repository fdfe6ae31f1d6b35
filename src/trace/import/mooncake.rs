//! Mooncake's traces: one JSON object a line.
//!
//! Keys `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, which number the blocks
//! of 512 prompt tokens so that equal prefixes have equal ids. Source: `FAST25-release/traces/` of
//! <https://github.com/kvcache-ai/Mooncake>.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Call, Calls, SECONDS_MAX, Source, Warning};
use crate::error::{Error, Result};

#[derive(Debug, Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u64>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

pub(super) fn read(path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
    let (mut calls, mut firsts, mut unused) = (Calls::default(), Vec::new(), BTreeSet::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let parsed: Line = serde_json::from_str(line).map_err(|cause| {
            Error::file(path, "not a request of this format")
                .at(format!("line {number}, column {}", cause.column()))
                .allowed("a JSON object with timestamp, input_length, output_length")
                .caused_by(cause)
        })?;
        let millis_max = SECONDS_MAX * 1e3;
        if !(0.0..=millis_max).contains(&parsed.timestamp) {
            return Err(Error::file(path, "bad value")
                .at(format!("line {number}, key \"timestamp\""))
                .found(parsed.timestamp)
                .allowed(format!("milliseconds from 0 to {millis_max}")));
        }
        let Line { timestamp, input_length, output_length, hash_ids, others } = parsed;
        let nanos = (timestamp * 1e6).round() as i64;
        calls.push(
            number,
            Call { nanos, prompt_tokens: input_length, output_tokens: output_length },
        );
        firsts.extend(hash_ids.first().copied());
        unused.extend(others.into_keys());
    }
    let requests = sharing(&mut firsts);
    let shared = (requests > 0).then_some(Warning::SharedPrefixesIgnored { requests });
    Ok(calls.finish(false, unused.into_iter().collect(), shared.into_iter().collect()))
}

/// How many requests have a first block that another has too: then they share a prefix.
fn sharing(firsts: &mut [u64]) -> u64 {
    firsts.sort_unstable();
    firsts.chunk_by(|a, b| a == b).map(<[u64]>::len).filter(|&n| n > 1).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, message};
    use super::*;

    #[test]
    fn lines_are_read_and_shared_prefixes_are_warned_of() {
        let file = file(
            "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 9, \"hash_ids\": [0, 1]}\n\
             \n{\"output_length\": 8, \"timestamp\": 1500.5, \"input_length\": 600, \"hash_ids\": [0, 2], \
             \"session_id\": \"a\"}\n{\"timestamp\": 2000, \"input_length\": 0, \"output_length\": 1}\n",
        );
        let source = read(file.path()).unwrap();
        let call = Call { nanos: 1_500_500_000, prompt_tokens: 600, output_tokens: 8 };
        assert_eq!(source.calls()[1], call);
        assert_eq!(
            source.warnings,
            [
                Warning::Unused { names: vec!["session_id".into()] },
                Warning::WithoutTokens { requests: 1, first_line: 4 },
                Warning::SharedPrefixesIgnored { requests: 2 },
            ]
        );
    }

    #[test]
    fn bad_lines_are_named() {
        let good = "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 9}\n";
        assert_eq!(
            message(read, &format!("{good}{{\"timestamp\": 5}}\n")),
            "line 2, column 16: not a request of this format; allowed: a JSON object with \
             timestamp, input_length, output_length: missing field `input_length` at line 1 column 16"
        );
        assert_eq!(
            message(read, &good.replace(": 0,", ": -3,")),
            "line 1, key \"timestamp\": bad value; found -3; allowed: milliseconds from 0 to \
             3153600000000"
        );
    }
}
