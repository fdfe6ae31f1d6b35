//! The numeric keys of an experiment, addressed by dotted path.
//!
//! ```text
//! seeds
//! trace.arrivals_per_hour
//! trace.arrivals.cv
//! methods.elastic-profile.margin      an entry of a list is addressed by its name
//! trace.alphas                        a list of numbers becomes a list of the one number
//! ```

use toml::Value;

use crate::error::{Error, Result};
use crate::experiment::{Experiment, ExperimentSpec};

/// How many known keys an error names.
const NEARBY: usize = 5;

/// `experiment` with the number at each key of `settings` in place of its own.
///
/// # Errors
/// If a key does not exist, is no number, or the experiment does not allow the value.
pub(super) fn with_settings<'a>(
    experiment: &Experiment,
    settings: impl IntoIterator<Item = (&'a str, f64)>,
) -> Result<Experiment> {
    let mut spec = experiment.spec.clone();
    for (key, value) in settings {
        spec = with_setting(experiment, &spec, key, value)?;
    }
    experiment.with(spec)
}

fn with_setting(
    experiment: &Experiment,
    spec: &ExperimentSpec,
    key: &str,
    value: f64,
) -> Result<ExperimentSpec> {
    let before = Value::try_from(spec).map_err(|cause| {
        Error::file(&experiment.path, "cannot be written as TOML").caused_by(cause)
    })?;
    let known = numeric_keys(&before);
    let unknown = || {
        Error::file(&experiment.path, "no such number")
            .at("--set")
            .found(key)
            .allowed(nearby(&known, key))
    };
    let mut after = before.clone();
    *place(&mut after, key).ok_or_else(unknown)? =
        if holds_list(&before, key) { Value::Array(vec![number(value)]) } else { number(value) };
    after.try_into().map_err(|cause: toml::de::Error| {
        // A key that the file leaves out is known all the same, if what is wrong is its value.
        let is_other = place(&mut before.clone(), key).is_some_and(|found| !found.is_integer());
        let is_known = known.iter().any(|known| known == key)
            || !is_other && !cause.message().starts_with("unknown field");
        let error = if is_known {
            let place = format!("--set {key}");
            Error::file(&experiment.path, "value not allowed").at(place).found(value)
        } else {
            unknown()
        };
        error.caused_by(cause.message().to_owned())
    })
}

/// Whole numbers are written as such: TOML tells them apart, and an integer is a float as well.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && value.abs() < EXACT;
    if is_whole { Value::Integer(value as i64) } else { Value::Float(value) }
}

/// The value at `path`, made if its table is there but lacks it.
fn place<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    match value {
        Value::Table(table) => match path.split_once('.') {
            Some((name, rest)) => place(table.get_mut(name)?, rest),
            None => Some(table.entry(path).or_insert(Value::Integer(0))),
        },
        Value::Array(entries) => {
            // Names may contain dots: the longest that fits is meant.
            let rest_after = |entry: &Value| {
                let rest = path.strip_prefix(entry.get("name")?.as_str()?)?.strip_prefix('.')?;
                Some(rest.to_owned())
            };
            let rests = entries.iter_mut().filter_map(|entry| Some((rest_after(entry)?, entry)));
            let (rest, entry) = rests.min_by_key(|(rest, _)| rest.len())?;
            place(entry, &rest)
        }
        _ => None,
    }
}

fn holds_list(value: &Value, path: &str) -> bool {
    let mut copy = value.clone();
    place(&mut copy, path).is_some_and(|found| found.is_array())
}

/// The keys that hold a number, or a list of numbers.
fn numeric_keys(value: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    collect(value, String::new(), &mut keys);
    keys
}

fn collect(value: &Value, path: String, keys: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    let is_number = |value: &Value| value.is_integer() || value.is_float();
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(name, value)| collect(value, below(name), keys));
        }
        Value::Array(entries) if !entries.is_empty() && entries.iter().all(is_number) => {
            keys.push(path);
        }
        Value::Array(entries) => {
            for entry in entries {
                if let Some(name) = entry.get("name").and_then(Value::as_str) {
                    collect(entry, below(name), keys);
                }
            }
        }
        value if is_number(value) => keys.push(path),
        _ => {}
    }
}

/// The known keys that look most like `wanted`.
fn nearby(known: &[String], wanted: &str) -> String {
    let mut keys: Vec<&str> = known.iter().map(String::as_str).collect();
    keys.sort_by_key(|key| edits(key, wanted));
    keys.truncate(NEARBY);
    keys.join(", ")
}

/// Insertions, deletions and replacements from `a` to `b` (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.bytes().enumerate() {
            let replaced = corner + usize::from(letter != other);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
description = "two methods"
seeds = 3
[trace]
kind = "synth"
items = "structured.tokens.csv"
alphas = [0.0, 0.25]
arrivals = { kind = "gamma", cv = 2.0 }
[[devices]]
dir = "phone"
latency_of = "large"
base_model = "small"
[[methods]]
name = "v1"
family = "width"
policy = { kind = "elastic-profile" }
[[methods]]
name = "v1.2"
family = "width"
policy = { kind = "elastic-profile" }
"#;

    fn experiment() -> Experiment {
        let spec: ExperimentSpec = toml::from_str(FILE).unwrap();
        Experiment { name: "two".to_owned(), path: "two.toml".into(), spec }
    }

    fn with(key: &str, value: f64) -> Result<ExperimentSpec> {
        with_settings(&experiment(), [(key, value)]).map(|experiment| experiment.spec)
    }

    #[test]
    fn a_setting_changes_its_key_and_nothing_else() {
        let mut expected = experiment().spec;
        assert_eq!(with_settings(&experiment(), []).unwrap(), experiment());
        expected.seeds = 7;
        assert_eq!(with("seeds", 7.0).unwrap(), expected);
    }

    #[test]
    fn keys_left_to_their_default_lists_and_entries_by_name_can_be_set() {
        let text = |key, value| toml::to_string(&with(key, value).unwrap()).unwrap();
        assert!(text("trace.arrivals_per_hour", 2.5).contains("arrivals_per_hour = 2.5"));
        assert!(text("trace.arrivals.cv", 3.0).contains("cv = 3.0"));
        assert!(text("trace.alphas", -0.25).contains("alphas = [-0.25]"));
        let methods = with("methods.v1.2.margin", 0.2).unwrap().methods;
        assert_eq!((methods[0].margin, methods[1].margin.unwrap().as_f64()), (None, 0.2));
        let methods = with("methods.v1.margin", 0.2).unwrap().methods;
        assert_eq!((methods[0].margin.unwrap().as_f64(), methods[1].margin), (0.2, None));
    }

    #[test]
    fn unknown_keys_name_known_ones_nearby_and_bad_values_their_key() {
        let message = |key, value| with(key, value).unwrap_err().to_string();
        assert_eq!(
            message("trace.arivals_per_hour", 1.0),
            "two.toml, --set: no such number; found trace.arivals_per_hour; allowed: \
             trace.arrivals_per_hour, trace.arrivals.cv, trace.alphas, trace.requests, \
             trace.output_tokens: unknown field `arivals_per_hour`, expected one of `items`, \
             `items_per_dataset`, `without`, `alphas`, `apps`, `requests`, `level_order`, `objective`, `arrivals_per_hour`, `arrivals`, \
             `output_tokens`"
        );
        let nobody = message("methods.nobody.margin", 0.1);
        assert!(nobody.starts_with("two.toml, --set: no such number; found methods.nobody"));
        let half = message("trace.requests", 0.5);
        assert!(half.starts_with("two.toml, --set trace.requests: value not allowed; found 0.5"));
        let margin = message("methods.v1.margin", 2.0);
        let expected = "two.toml, --set methods.v1.margin: value not allowed; found 2: ";
        assert!(margin.starts_with(expected), "a key that the file leaves out: {margin}");
        assert!(message("seeds", 0.0).contains("key \"seeds\": out of range"));
        assert!(message("description", 1.0).contains("no such number; found description"));
    }
}
