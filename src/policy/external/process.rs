//! A child process that is asked in lines, each answered within a time-out.
//!
//! Its standard input and output are socket pairs, because sockets have time-outs: a child that
//! does not read cannot block the writer, one that does not answer cannot block the reader, and one
//! line of it is never longer than [`LINE_BYTES_MAX`] in memory. Where sockets cannot be a
//! program's input and output nothing can be started.

use std::fmt;
use std::io;
use std::time::Duration;

#[cfg(unix)]
pub(super) use super::sockets::Process;

/// The longest line that a policy may say.
pub(super) const LINE_BYTES_MAX: usize = 1 << 16;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not within this time.
    TimedOut(Duration),
    /// The process ended, or closed its output.
    Ended(Option<String>),
    /// It said more than one line may have.
    TooLong,
    /// It said something before it was asked.
    Unasked(String),
    /// Something else.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(timeout) => write!(f, "no answer within {} ms", timeout.as_millis()),
            Self::Ended(None) => write!(f, "it closed its output"),
            Self::Ended(Some(status)) => write!(f, "it ended: {status}"),
            Self::TooLong => write!(f, "a line longer than {LINE_BYTES_MAX} bytes"),
            Self::Unasked(line) => write!(f, "a line that nobody asked for: {line}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

/// No process; see the module.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) enum Process {}

#[cfg(not(unix))]
impl Process {
    pub fn start(_command: &[String], _share_core: bool) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "external policies need a Unix"))
    }

    pub fn set_timeout(&mut self, _timeout: Duration) -> io::Result<()> {
        match *self {}
    }

    pub fn tell(&mut self, _line: &[u8]) -> Result<(), Failure> {
        match *self {}
    }

    pub fn ask(&mut self, _line: &[u8]) -> Result<(&[u8], Duration), Failure> {
        match *self {}
    }

    pub fn last_words(&mut self) -> Option<String> {
        match *self {}
    }
}
