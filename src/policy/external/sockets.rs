//! A child process on socket pairs, in a process group of its own.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

#[cfg(target_os = "linux")]
use super::core::SharedCore;
use super::errors::Errors;
use super::process::{Failure, LINE_BYTES_MAX};

/// The process; it is killed when this is dropped, and so is all that it started.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Group,
    errors: Errors,
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
    /// Starts `command`, its program first, on a core with this thread if `share_core`.
    pub fn start(command: &[String], share_core: bool) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let core = share_core.then(SharedCore::take).transpose()?;
        #[cfg(not(target_os = "linux"))]
        let _ = share_core;
        let (input, child_input) = UnixStream::pair()?;
        let (output, child_output) = UnixStream::pair()?;
        let group = Group::start()?;
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::from(OwnedFd::from(child_input)))
            .stdout(Stdio::from(OwnedFd::from(child_output)))
            .stderr(Stdio::piped())
            .process_group(group.id())
            .spawn()?;
        let errors = Errors::of(child.stderr.take().expect("its errors are piped"));
        let buffer = vec![0; LINE_BYTES_MAX].into();
        let timeout = Duration::ZERO;
        Ok(Self {
            child,
            group,
            errors,
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

    /// Ends it; what it said last, if anything. The rest is on our standard error.
    pub fn last_words(&mut self) -> Option<String> {
        self.kill();
        self.errors.last_words()
    }

    fn kill(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        self.group.kill();
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        self.kill();
        self.errors.pass_on();
    }
}

/// A process group that ends with this process, however it ends.
///
/// Its leader is a shell that waits for the end of a pipe whose other end this process holds, and
/// then kills the group. Why not a parent-death signal? It reaches the child alone and not what the
/// child started, comes when a mere thread ends, and is of one system.
#[derive(Debug)]
struct Group {
    leader: Child,
}

impl Group {
    fn start() -> io::Result<Self> {
        let leader = Command::new("/bin/sh")
            .args(["-c", "trap '' HUP INT TERM; read _; kill -KILL 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { leader })
    }

    fn id(&self) -> i32 {
        self.leader.id() as i32
    }

    /// Kills all that are in it; their number is its leader's, who is waited for only at the end.
    fn kill(&self) {
        if let Some(group) = Pid::from_raw(self.id()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.leader.wait();
    }
}
