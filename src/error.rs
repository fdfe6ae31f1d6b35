//! One opaque error: where, what was found, what was allowed.

use std::fmt;
use std::path::Path;

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something outside the program is wrong: a file, an argument, a disk, a network.
///
/// Prints as one line, `SUBJECT[, PLACE]: PROBLEM[; found FOUND][; allowed: ALLOWED][: CAUSE]`.
/// A mistake of the program itself is a panic, never an `Error`.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    subject: String,
    place: Option<String>,
    problem: String,
    found: Option<String>,
    allowed: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error about `subject`: a file's path, a command-line argument, a program's name.
    pub fn new(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            subject: subject.into(),
            place: None,
            problem: problem.into(),
            found: None,
            allowed: None,
            source: None,
        }))
    }

    /// An error about the file or folder `path`.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::new(path.display().to_string(), problem)
    }

    /// The error of an I/O operation (`action`, such as `cannot read`) on `path`.
    pub fn io(path: &Path, action: impl Into<String>, source: std::io::Error) -> Self {
        Self::file(path, action).caused_by(source)
    }

    /// Where inside the subject: `line 7, column "ttft_ratio"`, `key "seeds"`, `tensor "blk.0"`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.place = Some(place.into());
        self
    }

    /// What stands there, as written.
    #[must_use]
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.0.found = Some(found.to_string());
        self
    }

    /// What may stand there instead, or what to do about it.
    #[must_use]
    pub fn allowed(mut self, allowed: impl fmt::Display) -> Self {
        self.0.allowed = Some(allowed.to_string());
        self
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Where inside the subject, if that is known.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    /// What stands there, if that can be told.
    #[must_use]
    pub fn what_was_found(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// What may stand there instead, if that can be told.
    #[must_use]
    pub fn what_is_allowed(&self) -> Option<&str> {
        self.0.allowed.as_deref()
    }

    /// The error of another library that led to this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}", inner.subject)?;
        if let Some(place) = &inner.place {
            write!(f, ", {place}")?;
        }
        write!(f, ": {}", inner.problem)?;
        if let Some(found) = &inner.found {
            write!(f, "; found {found}")?;
        }
        if let Some(allowed) = &inner.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_place_found_and_allowed_in_that_order() {
        let error = Error::new("trace.csv", "SLO out of range")
            .at("line 7, column \"ttft_ratio\"")
            .found("1.2")
            .allowed("a number in (0, 1]");
        assert_eq!(
            error.to_string(),
            "trace.csv, line 7, column \"ttft_ratio\": SLO out of range; found 1.2; \
             allowed: a number in (0, 1]"
        );
    }

    #[test]
    fn its_parts_can_be_asked_for() {
        let error = Error::new("trace.csv", "too long").at("line 7").found(9).allowed("up to 8");
        assert_eq!((error.subject(), error.place()), ("trace.csv", Some("line 7")));
        assert_eq!((error.problem(), error.what_was_found()), ("too long", Some("9")));
        assert_eq!(error.what_is_allowed(), Some("up to 8"));
        let bare = Error::new("trace.csv", "too long");
        assert_eq!([bare.place(), bare.what_was_found(), bare.what_is_allowed()], [None; 3]);
    }
}
