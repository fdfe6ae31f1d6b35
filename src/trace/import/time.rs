//! Times that are numbers, and what a file calls its columns.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::table::Row;
use crate::error::{Error, Result};

/// What a number that states a time is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

impl TimeUnit {
    /// Every unit.
    pub const ALL: [Self; 4] =
        [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.parts().0
    }

    /// Name, name in messages, nanoseconds.
    fn parts(self) -> (&'static str, &'static str, i64) {
        match self {
            Self::Seconds => ("s", "seconds", 1_000_000_000),
            Self::Milliseconds => ("ms", "milliseconds", 1_000_000),
            Self::Microseconds => ("us", "microseconds", 1000),
            Self::Nanoseconds => ("ns", "nanoseconds", 1),
        }
    }

    /// `time` in ns, to the nearest; `None` if it is negative or later than [`Self::latest`].
    pub(super) fn nanos(self, time: f64) -> Option<i64> {
        let (_, _, nanos) = self.parts();
        // The whole part is exact also where all nanoseconds together are beyond a float's 53 bits.
        (0.0..=self.latest())
            .contains(&time)
            .then(|| time.trunc() as i64 * nanos + (time.fract() * nanos as f64).round() as i64)
    }

    /// The latest time: so long after 1970 as a signed number of ns can say.
    fn latest(self) -> f64 {
        9e18 / self.parts().2 as f64
    }

    /// What a time may be.
    pub(super) fn allowed(self) -> String {
        format!("{} from 0 to {}", self.parts().1, self.latest())
    }
}

/// The time in a cell, in ns.
pub(super) fn of_cell(row: &Row<'_>, column: usize, unit: TimeUnit) -> Result<i64> {
    let time = row.cell(column).and_then(|cell| cell.parse::<f64>().ok());
    time.and_then(|time| unit.nanos(time)).ok_or_else(|| row.wrong(column, unit.allowed()))
}

/// What a file calls the columns or keys that it is read for, where not as its format does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Of arrival, prompt tokens and output tokens; absent: as the format calls it.
    pub names: [Option<String>; 3],
    /// What arrivals are in, where they are numbers; absent: as the format has it.
    pub time_unit: Option<TimeUnit>,
}

impl Columns {
    /// What can be named.
    pub const ROLES: [&str; 3] = ["arrival", "prompt_tokens", "output_tokens"];

    /// The names, those of the `format` where none is given.
    pub(super) fn over<'a>(&'a self, format: [&'a str; 3]) -> [&'a str; 3] {
        std::array::from_fn(|nth| self.names[nth].as_deref().unwrap_or(format[nth]))
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `arrival=ts,output_tokens=generated`.
impl FromStr for Columns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |found: &str| {
            let roles = Self::ROLES.join(", ");
            Error::new("columns", "not NAME=COLUMN")
                .found(found)
                .allowed(format!("for NAME {roles}"))
        };
        let mut columns = Self::default();
        for pair in text.split(',') {
            let (role, name) = pair.split_once('=').ok_or_else(|| wrong(pair))?;
            let nth = Self::ROLES.iter().position(|known| *known == role.trim());
            let place = &mut columns.names[nth.ok_or_else(|| wrong(pair))?];
            if name.trim().is_empty() || place.replace(name.trim().to_owned()).is_some() {
                return Err(wrong(pair));
            }
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^53 ns are 104 days: a float holds whole milliseconds since 1970, not nanoseconds.
    #[test]
    fn late_milliseconds_are_exact() {
        assert_eq!(
            TimeUnit::Milliseconds.nanos(1_759_522_419_154.0),
            Some(1_759_522_419_154_000_000)
        );
        assert_eq!(TimeUnit::Milliseconds.nanos(1500.5), Some(1_500_500_000));
        assert_eq!(TimeUnit::Seconds.nanos(1_759_522_419_154.0), None);
        assert_eq!(TimeUnit::Seconds.nanos(-1.0), None);
        assert_eq!(TimeUnit::Nanoseconds.nanos(f64::NAN), None);
    }

    #[test]
    fn a_column_that_nothing_reads_is_refused() {
        for text in ["arrival", "arrival=", "arival=ts", "arrival=a,arrival=b"] {
            let message = text.parse::<Columns>().unwrap_err().to_string();
            assert!(message.contains("allowed: for NAME arrival, prompt_tokens"), "{message}");
        }
    }
}
