//! The bounds of what an input may ask for, each declared once, so that all messages agree.
//!
//! They keep a mistake, or a hostile file, from taking all memory and all time; work of the size
//! that the tool is made for stays far below them.

use std::fmt;

use crate::error::{Error, Result};

/// A bounded whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// Its name in messages; its unit stands last.
    pub name: &'static str,
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

/// Threads of any command; each may have a program of the user's beside it.
pub const THREADS: Bounded = Bounded { name: "threads", min: 1, max: 256 };
/// Requests of one trace, which is held in memory.
pub const REQUESTS: Bounded = Bounded { name: "requests", min: 1, max: 10_000_000 };
/// Requests of a synthesised trace that is replayed as it is drawn, and never held.
pub const STREAMED_REQUESTS: Bounded = Bounded { name: "requests", min: 1, max: 4_000_000_000 };
/// Apps of a set.
pub const APPS: Bounded = Bounded { name: "apps", min: 1, max: 1000 };
/// Class of a request: the higher, the sooner.
pub const PRIORITY: Bounded = Bounded { name: "priority", min: 0, max: 7 };
/// Cells of a row.
pub const CELLS: Bounded = Bounded { name: "cells", min: 1, max: 10_000 };
/// An input's length, unpacked.
pub const INPUT_BYTES: Bounded = Bounded { name: "bytes", min: 0, max: 4 << 30 };
/// The latest instant of a trace, and the longest objective: a hundred years, so that sums fit.
pub const TIME_MS: Bounded = Bounded { name: "milliseconds", min: 0, max: 100 * 365 * 86_400_000 };
/// The most energy of an objective, in mJ: a gigajoule.
pub const ENERGY_MJ: Bounded = Bounded { name: "millijoules", min: 0, max: 1_000_000_000_000 };
/// Units of a model, all layers together, that a manifest orders by a name alone.
pub const UNITS: Bounded = Bounded { name: "units", min: 1, max: 1 << 26 };
/// Tokens of a prompt or an answer.
pub const TOKENS: Bounded = Bounded { name: "tokens", min: 1, max: 10_000_000 };

impl Bounded {
    /// `value`, if it is within the bounds.
    ///
    /// # Errors
    /// Says what `subject` has under its `key`, and what is allowed.
    pub fn check(self, subject: &str, key: &str, value: u64) -> Result<u64> {
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(Error::new(subject, "out of range").at(key).found(value).allowed(self))
    }
}

impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}
