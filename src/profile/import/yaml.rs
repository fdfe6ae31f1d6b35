//! As much of YAML as `perf.yaml` has: mappings and lists by indentation, plain and quoted scalars.
//!
//! Why not a library? Those that read all of YAML are larger than all importers together, and what
//! the file may hold is a screen. Whatever else YAML has is refused by its line.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Deepest mappings within each other.
const DEPTH_MAX: usize = 32;

/// A line that says something.
struct Line<'t> {
    number: usize,
    indent: usize,
    text: &'t str,
}

/// The value of the only document in `text`, the file at `path`.
///
/// # Errors
/// If it is not YAML of that kind; the error names the line.
pub(super) fn parse(path: &Path, text: &str) -> Result<Value> {
    let mut lines = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let said = line.trim_start_matches(' ');
        let text = said.trim_end();
        if text.is_empty() || text.starts_with('#') || text == "---" {
            continue;
        }
        lines.push(Line { number: nth + 1, indent: line.len() - said.len(), text });
    }
    let mut parser = Parser { path, lines: &lines, place: 0 };
    let value = parser.block(0)?;
    match parser.lines.get(parser.place) {
        Some(line) => Err(parser.wrong(line, "a line at an indentation of its own")),
        None => Ok(value),
    }
}

struct Parser<'t> {
    path: &'t Path,
    lines: &'t [Line<'t>],
    place: usize,
}

impl<'t> Parser<'t> {
    fn wrong(&self, line: &Line<'_>, problem: &str) -> Error {
        let error = Error::file(self.path, format!("not YAML of the kind that is read: {problem}"));
        let text: String = line.text.chars().take(40).collect();
        error.at(format!("line {}", line.number)).found(format!("{text:?}"))
    }

    /// The mapping or list that begins at the line at hand.
    fn block(&mut self, depth: usize) -> Result<Value> {
        let Some(first) = self.lines.get(self.place) else { return Ok(Value::Null) };
        if depth > DEPTH_MAX {
            return Err(self.wrong(first, "too deep"));
        }
        if first.text == "-" || first.text.starts_with("- ") {
            self.list(first.indent, depth)
        } else {
            self.mapping(first.indent, Map::new(), depth)
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut list = Vec::new();
        while let Some(line) = self.at(indent) {
            let Some(rest) = line.text.strip_prefix('-').map(str::trim_start) else { break };
            let inner = indent + line.text.len() - rest.len();
            self.place += 1;
            list.push(match key_of(rest).filter(|_| quoted(rest).is_none()) {
                // The first pair of a mapping stands on the line of its dash.
                Some((key, rest)) => {
                    let value = self.value(line, rest, inner, depth)?;
                    let map = Map::from_iter([(key.to_owned(), value)]);
                    self.mapping(inner, map, depth + 1)?
                }
                None => self.scalar(line, rest)?,
            });
        }
        Ok(list.into())
    }

    fn mapping(
        &mut self,
        indent: usize,
        mut map: Map<String, Value>,
        depth: usize,
    ) -> Result<Value> {
        while let Some(line) = self.at(indent) {
            if line.text.starts_with("- ") {
                break;
            }
            let Some((key, rest)) = key_of(line.text) else {
                return Err(self.wrong(line, "neither a pair nor an entry of a list"));
            };
            self.place += 1;
            let value = self.value(line, rest, indent, depth)?;
            if map.insert(key.to_owned(), value).is_some() {
                return Err(self.wrong(line, "a key given twice"));
            }
        }
        Ok(map.into())
    }

    /// What follows a key: on its line, or in the block below it.
    fn value(&mut self, line: &Line<'t>, rest: &str, indent: usize, depth: usize) -> Result<Value> {
        if !rest.is_empty() {
            return self.scalar(line, rest);
        }
        let next = self.lines.get(self.place);
        let is_below = next.is_some_and(|next| {
            next.indent > indent || (next.indent == indent && next.text.starts_with("- "))
        });
        if is_below { self.block(depth + 1) } else { Ok(Value::Null) }
    }

    fn at(&self, indent: usize) -> Option<&'t Line<'t>> {
        self.lines.get(self.place).filter(|line| line.indent == indent)
    }

    fn scalar(&self, line: &Line<'_>, text: &str) -> Result<Value> {
        if let Some(inner) = quoted(text) {
            return Ok(inner.into());
        }
        match text {
            "{}" => return Ok(Map::new().into()),
            "[]" => return Ok(Vec::<Value>::new().into()),
            _ => {}
        }
        if text.starts_with(['{', '[', '&', '*', '|', '>', '!', '"', '\'', '%', '@', '`']) {
            return Err(self.wrong(line, "a value of a kind that is not read"));
        }
        Ok(match text {
            "null" | "~" => Value::Null,
            "true" => true.into(),
            "false" => false.into(),
            _ => text.parse::<i64>().map_or_else(
                |_| {
                    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                    number.map_or_else(|| text.into(), Value::from)
                },
                Value::from,
            ),
        })
    }
}

/// What stands between two quotes that are the first letter of `text` and its last.
fn quoted(text: &str) -> Option<&str> {
    let inner = |quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains([quote, '\\'])).then_some(inner)
    };
    ['"', '\''].into_iter().find_map(inner)
}

/// `key: rest`, the key without its quotes.
fn key_of(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = match text.split_once(": ") {
        Some((key, rest)) => (key, rest.trim()),
        None => (text.strip_suffix(':')?, ""),
    };
    let key = key.trim_matches(['"', '\'']);
    (!key.is_empty()).then_some((key, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value> {
        parse(Path::new("perf.yaml"), text)
    }

    #[test]
    fn mappings_and_lists_are_read_by_their_indentation() {
        let text = "# a comment\nnames:\n- Phone One\n- 'Two: 2'\nempty:\nat:\n  deep:\n    \
                    - length: 4096\n      range:\n        min: 1.5\n        max: 3\n    \
                    - length: 1\n  last: true\n";
        let expected = json!({
            "names": ["Phone One", "Two: 2"],
            "empty": null,
            "at": {
                "deep": [
                    {"length": 4096, "range": {"min": 1.5, "max": 3}},
                    {"length": 1},
                ],
                "last": true,
            },
        });
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_read_is_refused_by_its_line() {
        let refused = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(
            refused("a: 1\nb: [1, 2]\n"),
            "perf.yaml, line 2: not YAML of the kind that is read: a value of a kind that is not \
             read; found \"b: [1, 2]\""
        );
        for text in ["a: 1\na: 2\n", "a: 1\n  b: 2\n", "just words\n", "a: 'open\n", "[1, 2"] {
            assert!(refused(text).contains("not YAML of the kind that is read"), "{text}");
        }
    }
}
