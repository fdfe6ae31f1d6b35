//! Objects of a file of another tool, whose fields are asked for by name.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::input::Input;

/// Longest length that a file may state; a curve is asked for no longer one.
const TOKENS_MAX: f64 = crate::profile::MAX_TOKENS as f64;

/// An object, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    path: &'a Path,
    pub place: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// `value`, if it is an object.
    ///
    /// # Errors
    /// If it is something else.
    pub fn of(path: &'a Path, place: impl Into<String>, value: &'a Value) -> Result<Self> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { path, place, map }),
            other => Err(Error::file(path, "not an object")
                .at(place)
                .found(shortened(other))
                .allowed("names with values")),
        }
    }

    /// An error about the object.
    pub fn wrong(&self, problem: &str) -> Error {
        Error::file(self.path, problem).at(self.place.clone())
    }

    /// An error about one field of it.
    pub fn wrong_at(&self, key: &str, problem: &str) -> Error {
        Error::file(self.path, problem).at(format!("{}, key {key:?}", self.place))
    }

    /// Refuses an object that lacks any of `keys`: another tool wrote it.
    pub fn is_of(&self, tool: &str, keys: &[&str]) -> Result<()> {
        if keys.iter().all(|key| self.has(key)) {
            return Ok(());
        }
        let found: Vec<_> = self.map.keys().take(8).map(String::as_str).collect();
        Err(self
            .wrong(&format!("not written by {tool}"))
            .found(format!("keys {}", found.join(", ")))
            .allowed(format!("keys {}", keys.join(", "))))
    }

    /// Whether there is something under `key`.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The object under `key`.
    pub fn inner(&self, key: &str) -> Result<Self> {
        let value = self.map.get(key).unwrap_or(&Value::Null);
        Self::of(self.path, format!("{}, key {key:?}", self.place), value)
    }

    /// The objects under `key`, by name, in the file's order.
    pub fn each(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The text under `key`, if there is one that says something.
    pub fn text(&self, key: &str) -> Option<String> {
        let text = self.map.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The number under `key`, also where it is written as text.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.map.get(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        let number = number.filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| {
            self.wrong_at(key, "not a number").found(shortened(value)).allowed("a number")
        })
    }

    /// The number above 0 under `key`.
    ///
    /// # Errors
    /// If it is missing or none.
    pub fn positive(&self, key: &str) -> Result<f64> {
        match self.number(key)? {
            Some(number) if number > 0.0 => Ok(number),
            found => {
                let found = found.map_or("nothing".to_owned(), |number| number.to_string());
                Err(self.wrong_at(key, "not above 0").found(found).allowed("a number above 0"))
            }
        }
    }

    /// The whole number under `key`.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn count(&self, key: &str) -> Result<Option<u64>> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        if number >= 0.0 && number.fract() == 0.0 && number < 9e15 {
            return Ok(Some(number as u64));
        }
        Err(self.wrong_at(key, "not a whole number").found(number).allowed("0, 1, 2, …"))
    }

    /// The length in tokens under `key`: 0 and nothing are `None`.
    ///
    /// # Errors
    /// If it is no length.
    pub fn tokens(&self, key: &str) -> Result<Option<u32>> {
        let Some(count) = self.count(key)? else { return Ok(None) };
        if count as f64 > TOKENS_MAX {
            let wrong = self.wrong_at(key, "too long").found(count);
            return Err(wrong.allowed(format!("at most {TOKENS_MAX} tokens")));
        }
        Ok(Some(count as u32).filter(|&tokens| tokens > 0))
    }

    /// The numbers under `key`; none where there is no list.
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        let list = self.map.get(key).and_then(Value::as_array);
        list.map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_f64).collect())
    }

    /// The numbers under `key`, none of them missing.
    ///
    /// # Errors
    /// If there is no list, or something in it is no number above 0.
    pub fn series(&self, key: &str) -> Result<Vec<f64>> {
        let Some(list) = self.map.get(key).and_then(Value::as_array) else {
            return Err(self.wrong_at(key, "no series").allowed("a list of numbers"));
        };
        let number = |(nth, value): (usize, &Value)| {
            value.as_f64().filter(|number| *number > 0.0).ok_or_else(|| {
                Error::file(self.path, "a gap in the series")
                    .at(format!("{}, key {key:?}, second {nth}", self.place))
                    .found(shortened(value))
                    .allowed("a number above 0 every second")
            })
        };
        list.iter().enumerate().map(number).collect()
    }

    /// Refuses a `stated` number that is not what others beside it come to, `computed`, within a
    /// factor of `1 + within`: one of them has another unit than its name says.
    pub fn agrees(&self, key: &str, stated: f64, computed: f64, within: f64) -> Result<()> {
        if stated <= computed * (1.0 + within) && computed <= stated * (1.0 + within) {
            return Ok(());
        }
        Err(self
            .wrong_at(key, "contradicts what stands beside it")
            .found(stated)
            .allowed(format!("about {computed:.6}, in the units of the names")))
    }
}

/// The first letters of a value.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// The JSON values of a file: of one document, the members of its list, or one a line.
///
/// # Errors
/// If it is neither.
pub(super) fn json_values(input: &Input) -> Result<Vec<(String, Value)>> {
    let text = input.text();
    match serde_json::from_str(text) {
        Ok(Value::Array(list)) => Ok(numbered("entry", list)),
        Ok(value) => Ok(vec![("entry 1".to_owned(), value)]),
        Err(whole) => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let values: std::result::Result<Vec<_>, _> = lines
                .map(|(nth, line)| {
                    let value = serde_json::from_str(line).map_err(|error| (nth + 1, error))?;
                    Ok((format!("line {}", nth + 1), value))
                })
                .collect();
            let is_lines = text.lines().filter(|line| !line.trim().is_empty()).count() > 1;
            values.map_err(|(line, cause): (usize, serde_json::Error)| {
                let error = Error::file(input.path(), "not JSON").at(format!("line {line}"));
                error.caused_by(if is_lines { cause } else { whole })
            })
        }
    }
}

fn numbered(word: &str, list: Vec<Value>) -> Vec<(String, Value)> {
    list.into_iter().enumerate().map(|(nth, one)| (format!("{word} {}", nth + 1), one)).collect()
}
