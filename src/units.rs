//! Quantities with their unit in the type: instants, shares, levels, energy; every conversion is
//! here.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An instant of simulated time: integer nanoseconds since the start of the trace.
///
/// Integers make equal instants equal and sums exact, so that a replay is the same on every
/// machine. Lengths of time are [`Duration`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

impl SimTime {
    /// The start of the trace.
    pub const ZERO: Self = Self(0);
    /// Later than everything: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `nanos` ns after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The time since `earlier`.
    ///
    /// # Panics
    /// If `earlier` is later than `self`: instants of a replay are ordered.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.checked_sub(earlier.0).expect("instants are ordered"))
    }
}

impl SimTime {
    /// The instant `length` later; `None` after more than 584 years.
    #[must_use]
    pub fn checked_add(self, length: Duration) -> Option<Self> {
        let nanos = u64::try_from(length.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// The instant `length` later, [`NEVER`](Self::NEVER) after more than 584 years.
    #[must_use]
    pub fn saturating_add(self, length: Duration) -> Self {
        self.checked_add(length).unwrap_or(Self::NEVER)
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        self.checked_add(length).expect("simulated time fits 584 years")
    }
}

impl Sub for SimTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// `millis` as a length of time, to the nearest nanosecond.
///
/// Returns `None` if `millis` is negative, not finite, or longer than 584 years.
#[must_use]
pub fn duration_from_millis(millis: f64) -> Option<Duration> {
    let nanos = (millis * 1e6).round();
    (nanos >= 0.0 && nanos < u64::MAX as f64).then(|| Duration::from_nanos(nanos as u64))
}

/// `length` in milliseconds.
#[must_use]
pub fn millis(length: Duration) -> f64 {
    length.as_nanos() as f64 / 1e6
}

/// `nanos` in milliseconds as an exact decimal: `1500000` is `1.5`. Nanojoules in millijoules
/// likewise.
#[must_use]
pub fn decimal_millis(nanos: u64) -> String {
    let (whole, rest) = (nanos / 1_000_000, nanos % 1_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:06}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// The nanoseconds of a plain decimal number of milliseconds: the inverse of [`decimal_millis`].
///
/// Returns `None` for anything else: a sign, an exponent, more than six decimals (nothing is
/// rounded), more than 584 years.
#[must_use]
pub fn nanos_of_decimal_millis(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let dangling = whole.is_empty() || text.ends_with('.');
    if dangling || decimals.len() > 6 || !all_digits(whole) || !all_digits(decimals) {
        return None;
    }
    let nanos: u64 = format!("{decimals:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(nanos)
}

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

/// How right an answer is, in integer ten-thousandths from 0 to 1: wrong, right or in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "f64")]
pub struct Grade(u16);

impl Grade {
    /// Not right at all.
    pub const WRONG: Self = Self(0);

    /// Wholly right.
    pub const RIGHT: Self = Self(10_000);

    /// The grade nearest to `grade`, or `None` if that is not in [0, 1].
    #[must_use]
    pub fn new(grade: f64) -> Option<Self> {
        (0.0..=1.0).contains(&grade).then(|| Self((grade * 1e4).round() as u16))
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_right(self) -> bool {
        self.0 == Self::RIGHT.0
    }
}

impl From<bool> for Grade {
    fn from(right: bool) -> Self {
        if right { Self::RIGHT } else { Self::WRONG }
    }
}

impl From<Grade> for f64 {
    fn from(grade: Grade) -> Self {
        Self::from(grade.0) / 1e4
    }
}

impl TryFrom<f64> for Grade {
    type Error = Error;

    fn try_from(grade: f64) -> Result<Self> {
        Self::new(grade).ok_or_else(|| {
            Error::new("grade", "out of range").found(grade).allowed("a number from 0 to 1")
        })
    }
}

/// `0`, `1`, or as many decimals as it has.
impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::from(*self).fmt(f)
    }
}

impl Serialize for Grade {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 | 10_000 => to.serialize_u8(u8::from(self.is_right())),
            _ => to.serialize_f64(f64::from(*self)),
        }
    }
}

/// Electrical power in integer milliwatts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milliwatts(u32);

impl Milliwatts {
    /// `milliwatts` thousandths of a watt.
    #[must_use]
    pub const fn new(milliwatts: u32) -> Self {
        Self(milliwatts)
    }

    /// In milliwatts.
    #[must_use]
    pub const fn as_milliwatts(self) -> u32 {
        self.0
    }

    /// The power nearest to `watts`, or `None` if that is not above 0 mW and at most 1 MW.
    #[must_use]
    pub fn from_watts(watts: f64) -> Option<Self> {
        let milliwatts = (watts * 1e3).round();
        (1.0..=1e9).contains(&milliwatts).then_some(Self(milliwatts as u32))
    }

    /// The energy of drawing this power for `time`, rounded down to a nanojoule.
    #[must_use]
    pub fn energy(self, time: Duration) -> Energy {
        Energy((time.as_nanos() * u128::from(self.0) / 1000) as u64)
    }
}

/// Energy in integer nanojoules, at most 18 GJ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Energy(u64);

impl Energy {
    /// `nanojoules` billionths of a joule.
    #[must_use]
    pub const fn from_nanojoules(nanojoules: u64) -> Self {
        Self(nanojoules)
    }

    /// In nanojoules.
    #[must_use]
    pub const fn as_nanojoules(self) -> u64 {
        self.0
    }

    /// In millijoules.
    #[must_use]
    pub fn as_millijoules_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This share of it.
    #[must_use]
    pub fn share(self, share: Ratio) -> Self {
        Self((u128::from(self.0) * u128::from(share.0) / 1000) as u64)
    }

    /// What is left of it when `share` is taken away.
    #[must_use]
    pub fn less(self, share: Ratio) -> Self {
        Self(self.0 - self.share(share).0)
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

    #[test]
    fn instants_add_and_subtract_exactly() {
        let start = SimTime::from_nanos(5);
        let end = start + Duration::from_nanos(7);
        assert_eq!(end.as_nanos(), 12);
        assert_eq!(end - start, Duration::from_nanos(7));
    }

    #[test]
    fn a_ratio_of_a_length_is_exact_to_the_nanosecond() {
        assert_eq!(Ratio::percent(30).of(Duration::from_micros(1)), Duration::from_nanos(300));
        assert_eq!(Ratio::new(0.005).unwrap().to_string(), "0.5 %");
        assert_eq!(Level::percent(20).to_string(), "20 %");
    }

    #[test]
    fn power_times_time_is_energy_and_shares_of_it_are_exact() {
        // 2.5 W for 1.2 s are 3 J.
        let energy = Milliwatts::from_watts(2.5).unwrap().energy(Duration::from_millis(1200));
        assert_eq!(energy, Energy::from_nanojoules(3_000_000_000));
        assert_eq!(energy.share(Ratio::percent(40)), Energy::from_nanojoules(1_200_000_000));
        assert_eq!(energy.less(Ratio::percent(40)), Energy::from_nanojoules(1_800_000_000));
        for watts in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(Milliwatts::from_watts(watts), None);
        }
    }

    #[test]
    fn milliseconds_round_to_the_nearest_nanosecond_and_refuse_nonsense() {
        assert_eq!(duration_from_millis(1.5), Some(Duration::from_micros(1500)));
        assert_eq!(duration_from_millis(-1.0), None);
        assert_eq!(duration_from_millis(f64::NAN), None);
        assert_eq!(duration_from_millis(f64::INFINITY), None);
    }

    #[test]
    fn decimal_milliseconds_round_trip_every_nanosecond() {
        for (nanos, text) in [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (10_000_000, "10")] {
            assert_eq!(decimal_millis(nanos), text);
            assert_eq!(nanos_of_decimal_millis(text), Some(nanos));
        }
        assert_eq!(nanos_of_decimal_millis(&decimal_millis(u64::MAX)), Some(u64::MAX));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "18446744073710", "1 "] {
            assert_eq!(nanos_of_decimal_millis(text), None, "{text:?}");
        }
    }

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
    fn grades_are_right_wrong_or_in_between() {
        let shown = |grade: f64| Grade::new(grade).unwrap().to_string();
        assert_eq!([0.0, 1.0, 0.75, 0.3136].map(shown), ["0", "1", "0.75", "0.3136"]);
        let grade = Grade::new(0.3136).unwrap();
        assert!(f64::from(grade).total_cmp(&0.3136).is_eq() && !grade.is_right());
        assert!(Grade::WRONG < grade && grade < Grade::RIGHT && Grade::from(true).is_right());
        assert_eq!((Grade::new(1.01), Grade::new(-0.1), Grade::new(f64::NAN)), (None, None, None));
        let json = serde_json::to_string(&[Grade::WRONG, Grade::RIGHT, grade]).unwrap();
        assert_eq!(json, "[0,1,0.3136]");
        let back: Vec<Grade> = serde_json::from_str(&json).unwrap();
        assert_eq!(back, [Grade::WRONG, Grade::RIGHT, grade]);
    }

    #[test]
    fn ratios_outside_the_unit_interval_are_refused() {
        assert!(Ratio::new(1.0001).is_none());
        assert!(Ratio::new(-0.1).is_none());
        assert!(Ratio::new(f64::NAN).is_none());
    }
}
