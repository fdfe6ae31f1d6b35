//! What one client may ask of the server, each bound once. Every wait has an end.

use std::time::Duration;

/// Bounds of sizes, counts and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of the head of a request.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Connections at a time; more wait to be taken.
    pub connections: usize,
    /// Tokens of an answer.
    pub output_tokens: u32,
    /// For a head to come; an idle connection is closed after it.
    pub head: Duration,
    /// For a body to come.
    pub body: Duration,
    /// For an answer, from its arrival to its last token; the queue included.
    pub answer: Duration,
    /// For a client to take what is sent.
    pub write: Duration,
    /// For what runs to end, once the server is told to.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            body_bytes: 1 << 20,
            head_bytes: 16 << 10,
            headers: 64,
            connections: 256,
            output_tokens: 4096,
            head: seconds(20),
            body: seconds(20),
            answer: seconds(600),
            write: seconds(30),
            drain: seconds(30),
        }
    }
}
