//! A child process that is asked in lines, each answered within a time-out.
//!
//! Its standard input and output are socket pairs, because sockets have time-outs: a child that does
//! not read cannot block the writer, one that does not answer cannot block the reader, and one line
//! of it is never longer than [`LINE_BYTES_MAX`] in memory.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::core::SharedCore;

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

/// The process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: UnixStream,
    output: UnixStream,
    /// What it said, up to `filled`; what was not handed out yet starts at `consumed`.
    buffer: Box<[u8]>,
    consumed: usize,
    filled: usize,
    timeout: Duration,
    /// Held as long as the child lives.
    #[cfg(target_os = "linux")]
    _core: Option<SharedCore>,
}

impl Process {
    /// Starts `command`, its program first, on a core with this thread if `share_core`. Its errors go
    /// where ours go.
    pub fn start(command: &[String], share_core: bool) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let core = share_core.then(SharedCore::take).transpose()?;
        #[cfg(not(target_os = "linux"))]
        let _ = share_core;
        let (input, child_input) = UnixStream::pair()?;
        let (output, child_output) = UnixStream::pair()?;
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::from(OwnedFd::from(child_input)))
            .stdout(Stdio::from(OwnedFd::from(child_output)))
            .spawn()?;
        let buffer = vec![0; LINE_BYTES_MAX].into();
        let timeout = Duration::ZERO;
        Ok(Self {
            child,
            input,
            output,
            buffer,
            consumed: 0,
            filled: 0,
            timeout,
            #[cfg(target_os = "linux")]
            _core: core,
        })
    }

    /// Gives it `timeout` for every line from now on.
    ///
    /// # Panics
    /// If `timeout` is zero.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.timeout = timeout;
        self.input.set_write_timeout(Some(timeout))?;
        self.output.set_read_timeout(Some(timeout))
    }

    /// Says `line`, which ends in a newline, without waiting for an answer.
    pub fn tell(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.input.write_all(line).map_err(|error| self.failure(error))
    }

    /// Says `line` and waits for one line; returns it without its newline, and how long it took.
    #[expect(clippy::disallowed_methods, reason = "a process answers in real time")]
    pub fn ask(&mut self, line: &[u8]) -> Result<(&[u8], Duration), Failure> {
        let unasked = &self.buffer[self.consumed..self.filled];
        if !unasked.is_empty() {
            let shown = &unasked[..unasked.len().min(80)];
            return Err(Failure::Unasked(String::from_utf8_lossy(shown).trim_end().to_owned()));
        }
        (self.consumed, self.filled) = (0, 0);
        let asked = Instant::now();
        self.tell(line)?;
        loop {
            let scanned = self.filled;
            self.read()?;
            let new = &self.buffer[scanned..self.filled];
            if let Some(place) = new.iter().position(|&byte| byte == b'\n') {
                let end = scanned + place;
                self.consumed = end + 1;
                return Ok((&self.buffer[..end], asked.elapsed()));
            }
            if self.filled == self.buffer.len() {
                return Err(Failure::TooLong);
            }
            // A child that says a little at a time gets no more time for it.
            if asked.elapsed() >= self.timeout {
                return Err(Failure::TimedOut(self.timeout));
            }
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        match self.output.read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err(self.ended()),
            Ok(read) => {
                self.filled += read;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn failure(&mut self, error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::TimedOut(self.timeout),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => self.ended(),
            _ => Failure::Io(error),
        }
    }

    /// How it ended, if it did within the moment that a process takes to go.
    fn ended(&mut self) -> Failure {
        for _ in 0..50 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Failure::Ended(Some(status.to_string()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Failure::Ended(None)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
