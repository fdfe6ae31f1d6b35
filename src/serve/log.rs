//! What the server says while it runs: one JSON object a line, without a word of any prompt.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// Where lines go.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// A log whose lines `say` puts somewhere.
    pub fn to(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    /// Says that `event` happened now.
    pub(super) fn say(&self, event: &str, fields: Value) {
        let mut line = Map::new();
        line.insert("time".to_owned(), json!(jiff_text(now())));
        line.insert("event".to_owned(), json!(event));
        if let Value::Object(fields) = fields {
            line.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
        }
        (self.0)(&Value::Object(line).to_string());
    }
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "a log and an answer say when they were made")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn jiff_text(time: SystemTime) -> String {
    let stamp = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{stamp:.3}")
}

/// Seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_line_is_an_object_that_says_when_and_leaves_out_what_is_not_known() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let log = Log::to(move |line| kept.lock().unwrap().push(line.to_owned()));
        log.say("call", json!({ "app": "a\nb", "level": null, "status": 200 }));
        let lines = lines.lock().unwrap();
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert_eq!((&line["event"], &line["app"]), (&json!("call"), &json!("a\nb")));
        assert!(line.get("level").is_none());
    }
}
