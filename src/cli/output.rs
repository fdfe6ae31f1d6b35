//! Standard output, where results go, and standard error, where all else goes.
//!
//! Nothing else writes to either: clippy refuses `println!` and its kin, which panic on a full disk
//! and when a reader has gone. What is written here cannot move a terminal's cursor: see
//! [`escape::terminal`].

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
#[cfg(feature = "engine")]
use serde_json::Value;

use pliant::{Error, Result, escape};

/// Whether a reader of standard output has gone.
static READER_LEFT: AtomicBool = AtomicBool::new(false);
/// Whether something was said on standard error that could not be written.
static UNHEARD: AtomicBool = AtomicBool::new(false);

/// Prints one line, or a text of several.
///
/// A reader that has read enough and gone (`pliant … | head`) is no error, and later lines are
/// dropped: the command's exit code is what it is without a pipe. Work that is done for its lines
/// alone asks [`is_read`].
///
/// # Errors
/// If standard output is a file that cannot be written.
pub fn print_line(text: impl Display) -> Result<()> {
    write(&format!("{text}\n"))
}

/// Prints a part of a line, now: for answers that come word by word.
///
/// # Errors
/// As [`print_line`].
#[cfg(feature = "engine")]
pub fn print_part(text: impl Display) -> Result<()> {
    write(&text.to_string())
}

/// Prints `value` as JSON.
///
/// # Errors
/// As [`print_line`].
///
/// # Panics
/// If `value` has a map whose keys are not text.
pub fn print_json(value: &(impl Serialize + ?Sized)) -> Result<()> {
    print_line(serde_json::to_string_pretty(value).expect("its keys are text"))
}

/// How a command prints its results: as text when they come, or as one JSON document at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

impl Form {
    /// What `--json` asks for, if it is given.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints what stands in the text alone, such as the head of a table.
    pub fn text(self, text: impl Display) -> Result<()> {
        if self == Self::Text { print_line(text) } else { Ok(()) }
    }

    /// Prints the document, once.
    pub fn json(self, document: &(impl Serialize + ?Sized)) -> Result<()> {
        if self == Self::Json { print_json(document) } else { Ok(()) }
    }

    /// Prints the only result of a command.
    pub fn one(self, result: &(impl Serialize + ?Sized), text: impl Display) -> Result<()> {
        self.text(text)?;
        self.json(result)
    }

    /// Starts a list of results.
    #[cfg(feature = "engine")]
    pub fn rows(self) -> Rows {
        Rows { form: self, kept: Vec::new() }
    }
}

/// A list of results: a text for each, or one JSON array of them.
#[cfg(feature = "engine")]
#[derive(Debug)]
pub struct Rows {
    form: Form,
    /// For the array.
    kept: Vec<Value>,
}

#[cfg(feature = "engine")]
impl Rows {
    /// Adds a result.
    ///
    /// # Panics
    /// If it has a map whose keys are not text.
    pub fn add(&mut self, result: impl Serialize, text: impl Display) -> Result<()> {
        if self.form == Form::Json {
            self.kept.push(serde_json::to_value(result).expect("its keys are text"));
        }
        self.form.text(text)
    }

    /// Ends the list.
    pub fn end(self) -> Result<()> {
        self.form.json(&self.kept)
    }
}

/// Prints a file's text, which on its way to another program keeps every byte.
///
/// # Errors
/// As [`print_line`].
#[expect(clippy::disallowed_methods, reason = "asks where it goes, and writes nothing")]
pub fn print_data(text: &str) -> Result<()> {
    if io::stdout().is_terminal() { write(text) } else { write_bytes(text.as_bytes()) }
}

fn write(text: &str) -> Result<()> {
    write_bytes(escape::terminal(text).as_bytes())
}

#[expect(clippy::disallowed_methods, reason = "the one place that writes to standard output")]
fn write_bytes(bytes: &[u8]) -> Result<()> {
    if !is_read() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            READER_LEFT.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(Error::new("standard output", "cannot be written").caused_by(error)),
        Ok(()) => Ok(()),
    }
}

/// Whether anybody may still read what is printed.
pub fn is_read() -> bool {
    !READER_LEFT.load(Ordering::Relaxed)
}

/// Says something beside the results: a warning, a failure, how far a command is.
///
/// What cannot be written makes the command fail at its end: see [`was_heard`].
#[expect(clippy::disallowed_methods, reason = "the one place that writes to standard error")]
pub fn say(text: impl Display) {
    let text = format!("{text}\n");
    let written = io::stderr().write_all(escape::terminal(&text).as_bytes());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        UNHEARD.store(true, Ordering::Relaxed);
    }
}

/// Whether all that was [said](say) could be written.
pub fn was_heard() -> bool {
    !UNHEARD.load(Ordering::Relaxed)
}
