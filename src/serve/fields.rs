//! The fields of a body, read one by one, so that whatever is wrong is named as clients expect it.
//! Fields that nobody knows are left alone.

use serde_json::{Map, Value};

use super::fault::Fault;

/// An object of a body, with its place within the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of `body`.
    pub fn of(body: &'a Value) -> Result<Self, Fault> {
        Self::at(body, "")
    }

    /// The fields of `value`, which stands at `place`.
    pub fn at(value: &'a Value, place: &'a str) -> Result<Self, Fault> {
        match value {
            Value::Object(object) => Ok(Self { object, place }),
            other => Err(wrong(if place.is_empty() { "body" } else { place }, other, "an object")),
        }
    }

    /// The path of `key` in the body.
    pub fn path(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// What stands at `key`; `null` is as good as nothing.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The names of all fields.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// Says that `key` is not what is `allowed`.
    pub fn wrong(&self, key: &str, allowed: &str) -> Fault {
        wrong(&self.path(key), self.object.get(key).unwrap_or(&Value::Null), allowed)
    }

    /// The text at `key`.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Fault> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(key, "a text"));
        self.get(key).map(text).transpose()
    }

    /// The truth value at `key`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        let flag = |value: &Value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false"));
        self.get(key).map(flag).transpose()
    }

    /// The whole number at `key`, from `min` to `max`.
    pub fn whole(&self, key: &str, min: u64, max: u64) -> Result<Option<u64>, Fault> {
        let allowed = || self.wrong(key, &format!("a whole number from {min} to {max}"));
        let is_allowed = |number: &u64| (min..=max).contains(number);
        // Some clients write 16.0 for 16.
        let number = |value: &Value| {
            let rounded = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n));
            value.as_u64().or(rounded.map(|n| n as u64))
        };
        let number = |value| number(value).filter(is_allowed).ok_or_else(allowed);
        self.get(key).map(number).transpose()
    }

    /// The number at `key`, if `is_allowed`.
    pub fn number(
        &self,
        key: &str,
        allowed: &str,
        is_allowed: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, Fault> {
        let number = |value: &Value| {
            let number = value.as_f64().filter(|number| is_allowed(*number));
            number.ok_or_else(|| self.wrong(key, allowed))
        };
        self.get(key).map(number).transpose()
    }

    /// A text, or a list of up to `most` texts, at `key`.
    pub fn texts(&self, key: &str, most: usize) -> Result<Vec<String>, Fault> {
        let wrong = || self.wrong(key, &format!("a text, or a list of up to {most} texts"));
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(texts)) if texts.len() <= most => {
                let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
                texts.iter().map(text).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// Longest part of a value that is said back.
const SAID_BACK_CHARS: usize = 60;

/// Says what was found at `place`: numbers and names as they are, texts and lists by their kind
/// alone, since they may be somebody's words.
pub(super) fn wrong(place: &str, found: &Value, allowed: &str) -> Fault {
    let found = match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string().chars().take(SAID_BACK_CHARS).collect(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    };
    Fault::field(place, format!("{place}: not allowed; found {found}; allowed: {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_in_range_are_read_and_others_named_with_their_place() {
        let body = json!({ "n": 1, "m": 16.0, "p": 0.5, "stop": ["a", "b"], "none": null });
        let fields = Fields::of(&body).unwrap();
        assert_eq!(fields.whole("n", 1, 1).unwrap(), Some(1));
        assert_eq!(fields.whole("m", 1, 20).unwrap(), Some(16));
        assert_eq!(fields.whole("none", 1, 20).unwrap(), None);
        assert_eq!(fields.texts("stop", 2).unwrap(), ["a", "b"]);
        let fault = fields.whole("n", 2, 3).unwrap_err();
        let message = "n: not allowed; found 1; allowed: a whole number from 2 to 3";
        assert_eq!((fault.message.as_str(), fault.param.as_deref()), (message, Some("n")));
        let inner = json!({ "ttft": "soon" });
        let fault = Fields::at(&inner, "slo").unwrap().flag("ttft").unwrap_err();
        assert_eq!(fault.message, "slo.ttft: not allowed; found a text; allowed: true or false");
    }

    #[test]
    fn nobody_s_words_are_said_back() {
        let body = json!({ "stop": { "my secret": "my secret" }, "max_tokens": "my secret" });
        let fields = Fields::of(&body).unwrap();
        assert!(!fields.texts("stop", 4).unwrap_err().message.contains("secret"));
        assert!(!fields.whole("max_tokens", 1, 2).unwrap_err().message.contains("secret"));
        assert!(Fields::of(&json!([1])).unwrap_err().message.contains("found a list of 1"));
    }
}
