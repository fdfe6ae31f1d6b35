//! What a policy writes to its standard error: passed on line by line, but for its last words.
//!
//! Those are its last line, or its traceback if it is in Python. They belong to the error that ends
//! the run; hundreds of runs of one program would otherwise say them hundreds of times.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The longest line, and the most of a traceback, that is kept in memory.
const HELD_BYTES_MAX: usize = 1 << 16;

/// How long the rest of what an ended program wrote is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a traceback of Python starts with.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// The file whose frames are ours and not the user's.
const LIBRARY: &str = "pliant_policy.py\"";

/// Tracebacks that were shown in full.
static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Listens to the standard error of one program.
#[derive(Debug)]
pub(super) struct Errors {
    held: Arc<Mutex<String>>,
    /// Is closed when the program, and all that it started, have closed theirs.
    end: Receiver<()>,
}

impl Errors {
    pub fn of(errors: impl Read + Send + 'static) -> Self {
        let held = Arc::new(Mutex::new(String::new()));
        let (sender, end) = channel();
        let listened = Arc::clone(&held);
        thread::spawn(move || {
            listen(errors, &listened);
            drop(sender);
        });
        Self { held, end }
    }

    /// What it said last, in one line; a traceback is shown in full the first time that it comes
    /// up.
    pub fn last_words(&self) -> Option<String> {
        let said = self.take();
        let words = summary(&said)?;
        let is_long = said.trim_end().contains('\n');
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if is_long && shown.insert(words.clone()) {
            pass_on(&said);
        }
        Some(words)
    }

    /// Passes on what was held back.
    pub fn pass_on(&self) {
        pass_on(&self.take());
    }

    fn take(&self) -> String {
        let _ = self.end.recv_timeout(PATIENCE);
        std::mem::take(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn listen(errors: impl Read, held: &Mutex<String>) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = errors.by_ref().take(HELD_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        pass_on(&hold(&mut held, &line));
    }
}

/// Holds `line` back; returns what it shows not to be the last.
fn hold(held: &mut String, line: &[u8]) -> String {
    let is_traceback = held.starts_with(TRACEBACK) && held.len() < HELD_BYTES_MAX;
    let before = if is_traceback { String::new() } else { std::mem::take(held) };
    *held += &String::from_utf8_lossy(line);
    before
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program's own words, passed on while it runs, whoever runs it"
)]
fn pass_on(text: &str) {
    // Nobody may be listening; that is no reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The last line of `said` that says something, after the last line of the user's own files in the
/// traceback that it ends.
fn summary(said: &str) -> Option<String> {
    let shown = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let exception = |line: &&str| !line.starts_with(' ') && !line.trim().is_empty();
    let last: String = shown(said.lines().rfind(exception)?);
    let mut frames = said.lines().filter_map(|line| line.strip_prefix("  File \""));
    let frame = frames.rfind(|frame| !frame.contains(LIBRARY));
    Some(match frame {
        Some(frame) => format!("{}: {last}", shown(&frame.replacen('"', "", 1)) as String),
        None => last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_line_and_the_exception_are_what_a_traceback_comes_down_to() {
        let said = "Traceback (most recent call last):
  File \"/home/me/mine.py\", line 9, in <module>
    serve(plan)
  File \"/home/me/mine.py\", line 5, in plan
    return candidates[request[\"sl0\"]]
  File \"/home/me/pliant_policy.py\", line 60, in serve
    best = plan(message, service, candidates)
KeyError: 'sl0'
";
        let words = "/home/me/mine.py, line 5, in plan: KeyError: 'sl0'";
        assert_eq!(summary(said).unwrap(), words);
        assert_eq!(summary("a\n\nno such table\n \n").unwrap(), "no such table");
        assert_eq!(summary(" \n"), None);
    }

    #[test]
    fn all_but_the_last_line_or_a_traceback_is_passed_on_as_it_comes() {
        let mut held = String::new();
        let mut after = |line: &str| hold(&mut held, line.as_bytes());
        assert_eq!(after("one\n"), "");
        assert_eq!(after("Traceback (most recent call last):\n"), "one\n");
        assert_eq!(after("  File\n"), "");
        let long = "x".repeat(HELD_BYTES_MAX);
        assert_eq!(after(&long), "");
        assert_eq!(after("two\n"), format!("{TRACEBACK}\n  File\n{long}"), "so much is kept");
        assert_eq!(after("three\n"), "two\n");
    }
}
