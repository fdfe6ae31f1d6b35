//! Shares: of a prompt, of a sub-model's units, of a bound.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A share in integer thousandths, from 0 to 1: exact, ordered, usable as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(u16);

impl Ratio {
    /// Everything.
    pub const ONE: Self = Self(1000);

    /// `percent` hundredths.
    ///
    /// # Panics
    /// If `percent` is over 100.
    #[must_use]
    pub const fn percent(percent: u16) -> Self {
        assert!(percent <= 100, "a ratio is at most 100 %");
        Self(percent * 10)
    }

    /// The ratio nearest to `share`, or `None` if `share` is not in [0, 1].
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Self((share * 1000.0).round() as u16))
    }

    /// The ratio that `share` is, or `None` if `share` is not in [0, 1] or finer than thousandths.
    /// 0.1 · 3 is 0.3: what a sum of binary fractions is off by is not held against it.
    #[must_use]
    pub fn exact(share: f64) -> Option<Self> {
        Self::new(share).filter(|near| (near.as_f64() - share).abs() < 1e-9)
    }

    /// The largest ratio that is at most `share`: 1 for any share above. A share that is a
    /// millionth short of a thousandth is that thousandth: bounds of shares are rounded to
    /// nanoseconds.
    #[must_use]
    pub fn at_most(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 1000.0 + 1e-3).floor() as u16)
    }

    /// The share as a number in [0, 1].
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// The share in percent, rounded down to a whole number.
    #[must_use]
    pub const fn as_percent(self) -> u16 {
        self.0 / 10
    }

    /// The share in thousandths.
    #[must_use]
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// The share in percent as a decimal number: `12.5`, or `30` where it is whole.
    #[must_use]
    pub fn percents(self) -> String {
        (f64::from(self.0) / 10.0).to_string()
    }

    /// The ratio that [`percents`](Self::percents) writes so; `None` for a sign, an exponent, more
    /// than one decimal, or more than 100.
    #[must_use]
    pub fn of_percents(text: &str) -> Option<Self> {
        let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || tenths.len() != 1 || !all_digits(tenths) {
            return None;
        }
        let (whole, tenths): (u16, u16) = (whole.parse().ok()?, tenths.parse().ok()?);
        let thousandths = whole.checked_mul(10)?.checked_add(tenths)?;
        (thousandths <= Self::ONE.0).then_some(Self(thousandths))
    }

    /// `length` times this share.
    #[must_use]
    pub fn of(self, length: Duration) -> Duration {
        Duration::from_nanos((length.as_nanos() * u128::from(self.0) / 1000) as u64)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = Error;

    fn try_from(share: f64) -> Result<Self> {
        Self::exact(share).ok_or_else(|| {
            let error = Error::new("ratio", "out of range or too fine").found(share);
            error.allowed("a number from 0 to 1 with at most 3 decimals")
        })
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> f64 {
        ratio.as_f64()
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(10) {
            write!(f, "{} %", self.0 / 10)
        } else {
            write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
        }
    }
}

/// A sub-model's nominal share of the base model's elastic units: 20 % … 100 %.
///
/// A name for a rung of the ladder. Its real share of parameters and its measured share of time
/// are other numbers, which a device profile keeps beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(Ratio);

impl Level {
    /// The base model.
    pub const FULL: Self = Self(Ratio::ONE);

    /// The ladder of the study: 20 %, 30 %, …, 100 %.
    pub const LADDER: [Self; 9] = [
        Self::percent(20),
        Self::percent(30),
        Self::percent(40),
        Self::percent(50),
        Self::percent(60),
        Self::percent(70),
        Self::percent(80),
        Self::percent(90),
        Self::percent(100),
    ];

    /// The level of nominal share `percent`.
    ///
    /// # Panics
    /// If `percent` is over 100.
    #[must_use]
    pub const fn percent(percent: u16) -> Self {
        Self(Ratio::percent(percent))
    }

    /// The nominal share.
    #[must_use]
    pub const fn share(self) -> Ratio {
        self.0
    }

    /// The nominal share in percent.
    #[must_use]
    pub const fn as_percent(self) -> u16 {
        self.0.as_percent()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The prompt ratios of the study: 10 %, 20 %, …, 100 % of the prompt's tokens kept.
pub const PROMPT_RATIOS: [Ratio; 10] = [
    Ratio::percent(10),
    Ratio::percent(20),
    Ratio::percent(30),
    Ratio::percent(40),
    Ratio::percent(50),
    Ratio::percent(60),
    Ratio::percent(70),
    Ratio::percent(80),
    Ratio::percent(90),
    Ratio::percent(100),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 0.9999 is not the full model, nor is a bound of 99.99 % enough for it.
    #[test]
    fn a_share_finer_than_thousandths_is_no_ratio_and_is_never_rounded_up() {
        for share in [0.0, 0.001, 0.1 + 0.2, 0.7, 0.1 * 3.0, 1.0] {
            let ratio = Ratio::exact(share).unwrap();
            assert_eq!((ratio, ratio), (Ratio::new(share).unwrap(), Ratio::at_most(share)));
        }
        for share in [0.9999, 0.99996, 0.50004, 0.0004, -0.1, f64::NAN] {
            assert_eq!(Ratio::exact(share), None, "{share}");
        }
        assert_eq!(Ratio::at_most(0.9999), Ratio::new(0.999).unwrap());
        assert_eq!(Ratio::at_most(0.499_999_9), Ratio::percent(50));
        assert_eq!([Ratio::at_most(7.0), Ratio::at_most(f64::INFINITY)], [Ratio::ONE; 2]);
        let read = serde_json::from_str::<Ratio>("0.9999").unwrap_err().to_string();
        assert!(
            read.contains("found 0.9999; allowed: a number from 0 to 1 with at most"),
            "{read}"
        );
    }

    #[test]
    fn ratios_outside_the_unit_interval_are_refused() {
        assert!(Ratio::new(1.0001).is_none());
        assert!(Ratio::new(-0.1).is_none());
        assert!(Ratio::new(f64::NAN).is_none());
    }

    #[test]
    fn percents_are_written_and_read_with_one_decimal_at_most() {
        for (percent, thousandths) in [("10", 100), ("12.5", 125), ("0.1", 1), ("100", 1000)] {
            let ratio = Ratio::of_percents(percent).unwrap();
            assert_eq!((ratio.thousandths(), ratio.percents()), (thousandths, percent.to_owned()));
        }
        assert_eq!(Ratio::of_percents("12.0").unwrap().percents(), "12");
        for field in ["", "-1", "+1", "1e1", "12.55", "100.1", "101", ".5", "5.", "NaN", "65537"] {
            assert_eq!(Ratio::of_percents(field), None, "{field:?}");
        }
    }
}
