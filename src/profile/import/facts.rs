//! What a person says of a file: which of its records, and what it leaves out.

use std::str::FromStr;

use super::Found;
use crate::error::{Error, Result};

/// Records to take: those that have each of these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    device: Option<String>,
    model: Option<String>,
    runtime: Option<String>,
    precision: Option<String>,
}

/// What files do not say; it stands before what they say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub(super) base_model: Option<String>,
    pub(super) cpu: Option<String>,
    pub(super) cores: Option<u32>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) runtime: Option<String>,
    pub(super) version: Option<String>,
    pub(super) threads: Option<u32>,
    pub(super) precision: Option<String>,
    pub(super) weight_bytes: Option<u64>,
    pub(super) prompt_tokens: Option<u32>,
    pub(super) source: Option<String>,
    /// What of it is a figure, as it was said: the profile repeats it.
    pub(super) said: Vec<String>,
}

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    key: String,
    value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.trim().is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("not of the form KEY=VALUE".to_owned()),
        }
    }
}

impl Only {
    const KEYS: &str = "device, model, runtime, precision";

    /// Those of `pairs`.
    ///
    /// # Errors
    /// If a key is unknown.
    pub fn of(pairs: &[Pair]) -> Result<Self> {
        let mut only = Self::default();
        for Pair { key, value } in pairs {
            let place = match key.as_str() {
                "device" => &mut only.device,
                "model" => &mut only.model,
                "runtime" => &mut only.runtime,
                "precision" => &mut only.precision,
                _ => return Err(unknown("--where", key, Self::KEYS)),
            };
            *place = Some(value.clone());
        }
        Ok(only)
    }

    /// Whether `found` is asked for.
    pub(super) fn has(&self, found: &Found) -> bool {
        let is = |asked: &Option<String>, there: &Option<String>| asked.is_none() || asked == there;
        is(&self.device, &found.device)
            && is(&self.model, &found.model)
            && is(&self.runtime, &found.runtime)
            && is(&self.precision, &found.precision)
    }
}

impl Facts {
    const KEYS: &str = "base-model, cpu, cores, memory-bytes, runtime, version, threads, \
                        precision, weight-bytes, prompt-tokens, source";

    /// Those of `pairs`.
    ///
    /// # Errors
    /// If a key is unknown, or a value is no whole number where one belongs.
    pub fn of(pairs: &[Pair]) -> Result<Self> {
        let mut facts = Self::default();
        for Pair { key, value } in pairs {
            let text = || Some(value.clone());
            if !matches!(key.as_str(), "source" | "base-model") {
                facts.said.push(format!("said by hand: {key} {value}"));
            }
            match key.as_str() {
                "base-model" => facts.base_model = text(),
                "cpu" => facts.cpu = text(),
                "cores" => facts.cores = Some(number(key, value)?),
                "memory-bytes" => facts.memory_bytes = Some(number(key, value)?),
                "runtime" => facts.runtime = text(),
                "version" => facts.version = text(),
                "threads" => facts.threads = Some(number(key, value)?),
                "precision" => facts.precision = text(),
                "weight-bytes" => facts.weight_bytes = Some(number(key, value)?),
                "prompt-tokens" => facts.prompt_tokens = Some(number(key, value)?),
                "source" => facts.source = text(),
                _ => return Err(unknown("--fact", key, Self::KEYS)),
            }
        }
        Ok(facts)
    }

    /// The length of a prompt that a file states, or is said by hand.
    pub(super) fn prompt_tokens(&self, stated: Option<u32>) -> Option<u32> {
        stated.or(self.prompt_tokens)
    }
}

fn unknown(argument: &str, key: &str, known: &str) -> Error {
    Error::new(format!("argument {argument}"), "unknown key").found(key).allowed(known)
}

fn number<T: FromStr + PartialOrd + Default>(key: &str, value: &str) -> Result<T> {
    let number = value.parse().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| {
        let error = Error::new("argument --fact", "not a whole number above 0").at(key);
        error.found(value).allowed("1, 2, 3, …")
    })
}
