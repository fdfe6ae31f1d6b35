//! Mooncake's traces: one JSON object a line.
//!
//! Keys `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, which number the blocks
//! of 512 prompt tokens so that equal prefixes have equal ids. Source: `FAST25-release/traces/` of
//! <https://github.com/kvcache-ai/Mooncake>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::prefixes::Turn;
use super::time::TimeUnit;
use super::{Call, Calls, Columns, Source, Warning};
use crate::error::{Error, Result};
use crate::input::Input;

const BLOCKS: &str = "hash_ids";
const REQUIRED: [&str; 3] = ["timestamp", "input_length", "output_length"];

pub(super) fn read(input: &Input, columns: &Columns) -> Result<Source> {
    let names = columns.over(REQUIRED);
    let unit = columns.time_unit.unwrap_or(TimeUnit::Milliseconds);
    let (mut calls, mut firsts, mut unused) = (Calls::default(), Vec::new(), BTreeSet::new());
    let mut are_whole = true;
    let lines = (1..).zip(input.text().lines()).filter(|(_, line)| !line.trim().is_empty());
    for (number, text) in lines {
        let mut line = Line::parse(input.path(), number, text, names)?;
        let time = line.take(names[0], Value::as_f64, || "a number".to_owned())?;
        let nanos = unit
            .nanos(time)
            .ok_or_else(|| line.wrong(names[0], &time.to_string(), unit.allowed()))?;
        are_whole &= time.fract().total_cmp(&0.0).is_eq();
        let (prompt_tokens, output_tokens) = (line.tokens(names[1])?, line.tokens(names[2])?);
        let blocks = line.blocks()?;
        firsts.extend(blocks.first());
        let turn = (!blocks.is_empty()).then(|| calls.turn(Turn::Blocks(blocks)));
        calls.push(number, Call { nanos, prompt_tokens, output_tokens, turn });
        unused.extend(line.keys.into_keys().filter(|key| key != BLOCKS));
    }
    let requests = sharing(&mut firsts);
    let mut warnings = Vec::new();
    if columns.time_unit.is_none() && !are_whole {
        warnings.extend(calls.perhaps_seconds());
    }
    if requests > 0 {
        warnings.push(Warning::SharedPrefixesIgnored { requests });
    }
    Ok(calls.finish(unused.into_iter().collect(), warnings))
}

/// One request, of which keys are taken.
struct Line<'a> {
    path: &'a Path,
    number: u64,
    keys: BTreeMap<String, Value>,
    required: [&'a str; 3],
}

impl<'a> Line<'a> {
    fn parse(path: &'a Path, number: u64, text: &str, required: [&'a str; 3]) -> Result<Self> {
        let keys = serde_json::from_str(text).map_err(|cause| {
            // What the parser says of the place counts lines from this one.
            let said = cause.to_string();
            let problem = said.split(" at line ").next().unwrap_or_default().to_owned();
            Error::file(path, "not a request of this format")
                .at(format!("line {number}, column {}", cause.column()))
                .found(problem)
                .allowed(format!("a JSON object with {}", required.join(", ")))
        })?;
        Ok(Self { path, number, keys, required })
    }

    /// The value of `key`, as `read` has it.
    fn take<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
        allowed: impl Fn() -> String,
    ) -> Result<T> {
        let value = self.keys.remove(key).ok_or_else(|| {
            Error::file(self.path, "missing key")
                .at(format!("line {}, key \"{key}\"", self.number))
                .allowed(format!("a JSON object with {}", self.required.join(", ")))
        })?;
        read(&value).ok_or_else(|| self.wrong(key, &value.to_string(), allowed()))
    }

    /// A number of tokens; plain whole numbers, also as `17.0`.
    fn tokens(&mut self, key: &str) -> Result<u32> {
        let whole = |value: &Value| {
            let float = || value.as_f64().filter(|tokens| *tokens >= 0.0 && tokens.fract() == 0.0);
            let tokens = value.as_u64().or_else(|| float().map(|tokens| tokens as u64));
            tokens.and_then(|tokens| u32::try_from(tokens).ok())
        };
        self.take(key, whole, || "a whole number from 0, of 32 bits".to_owned())
    }

    /// The numbers of the prompt's blocks; none if they are not stated.
    fn blocks(&mut self) -> Result<Vec<u64>> {
        let number = |id: &Value| {
            let allowed = || "whole numbers from 0".to_owned();
            id.as_u64().ok_or_else(|| self.wrong(BLOCKS, &id.to_string(), allowed()))
        };
        match self.keys.get(BLOCKS) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(number).collect(),
            Some(other) => Err(self.wrong(BLOCKS, &other.to_string(), "a list".to_owned())),
        }
    }

    fn wrong(&self, key: &str, found: &str, allowed: String) -> Error {
        Error::file(self.path, "bad value")
            .at(format!("line {}, key \"{key}\"", self.number))
            .found(found)
            .allowed(allowed)
    }
}

/// How many requests have a first block that another has too: then they share a prefix.
fn sharing(firsts: &mut [u64]) -> u64 {
    firsts.sort_unstable();
    firsts.chunk_by(|a, b| a == b).map(<[u64]>::len).filter(|&n| n > 1).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{message, source};
    use super::*;

    #[test]
    fn lines_are_read_and_shared_prefixes_are_warned_of() {
        let source = source(
            read,
            "\u{feff}{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 9, \"hash_ids\": [0, 1]}\n\
             \n{\"output_length\": 8, \"timestamp\": 1500.5, \"input_length\": 600.0, \"hash_ids\": [0, 2], \
             \"session_id\": \"a\"}\n{\"timestamp\": 2000, \"input_length\": 0, \"output_length\": 1}\n\
             {\"timestamp\": 9000, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": null}\n",
        );
        let call =
            Call { nanos: 1_500_500_000, prompt_tokens: 600, output_tokens: 8, turn: Some(1) };
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

    const GOOD: &str = "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 9}\n";

    #[test]
    fn bad_lines_are_named_by_their_place_in_the_file() {
        assert_eq!(
            message(read, &format!("{GOOD}\n{{\"timestamp\": 5}}\n")),
            "line 3, key \"input_length\": missing key; allowed: a JSON object with timestamp, \
             input_length, output_length"
        );
        assert_eq!(
            message(read, &format!("{GOOD}{{\"timestamp\": 5,}}\n")),
            "line 2, column 17: not a request of this format; found trailing comma; allowed: a JSON \
             object with timestamp, input_length, output_length"
        );
        assert_eq!(
            message(read, &GOOD.replace(": 0,", ": -3,")),
            "line 1, key \"timestamp\": bad value; found -3; allowed: milliseconds from 0 to \
             9000000000000"
        );
        assert_eq!(
            message(read, &GOOD.replace("700", "\"many\"")),
            "line 1, key \"input_length\": bad value; found \"many\"; allowed: a whole number from \
             0, of 32 bits"
        );
    }

    #[test]
    fn times_since_1970_are_said_and_times_that_look_like_seconds_too() {
        let at = |time: &str| GOOD.replace(": 0,", &format!(": {time},"));
        let late = source(read, &(at("1759522419154") + &at("1759522419194")));
        assert_eq!(late.calls()[1].nanos - late.calls()[0].nanos, 40_000_000);
        assert!(matches!(&late.warnings[..], [Warning::SinceEpoch { .. }]));
        let quick = source(read, &(at("0.0") + &at("0.2") + &at("0.4")));
        assert_eq!(quick.warnings, [Warning::PerhapsSeconds { mean_gap_ms: 0.2 }]);
    }

    #[test]
    fn keys_of_other_names_are_read() {
        let columns: Columns = "arrival=ts,output_tokens=out".parse().unwrap();
        let input = Input::of("x.jsonl", "{\"ts\": 5, \"input_length\": 7, \"out\": 9}");
        let source = read(&input, &columns).unwrap();
        assert_eq!(
            source.calls()[0],
            Call { nanos: 5_000_000, prompt_tokens: 7, output_tokens: 9, turn: None }
        );
    }
}
