//! Quantities with their unit in the type: instants, shares, levels, energy; every conversion is
//! here.

mod share;

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::share::{Level, PROMPT_RATIOS, Ratio};
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
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    #[inline]
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

    /// The time since `earlier`; none if that is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl SimTime {
    /// The instant `length` later; `None` after more than 584 years.
    #[must_use]
    #[inline]
    pub fn checked_add(self, length: Duration) -> Option<Self> {
        let nanos = u64::try_from(length.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// The instant `length` later, [`NEVER`](Self::NEVER) after more than 584 years.
    #[must_use]
    #[inline]
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
    let mut text = String::new();
    push_decimal_millis(&mut text, nanos);
    text
}

/// Appends what [`decimal_millis`] says of `nanos`.
pub(crate) fn push_decimal_millis(text: &mut String, nanos: u64) {
    let (whole, mut rest) = (nanos / 1_000_000, nanos % 1_000_000);
    push_number(text, whole);
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        rest *= 10;
        text.push(char::from(b'0' + (rest / 1_000_000) as u8));
        rest %= 1_000_000;
    }
}

/// Appends `number`. Why not by `write!`? Rows are hardly more than their numbers, and the
/// machinery of formats takes longer than the digits.
pub(crate) fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut from = digits.len() - 1;
    digits[from] += (number % 10) as u8;
    while number >= 10 {
        number /= 10;
        from -= 1;
        digits[from] += (number % 10) as u8;
    }
    *text += std::str::from_utf8(&digits[from..]).expect("digits are text");
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

    /// In ten-thousandths.
    #[must_use]
    #[inline]
    pub const fn ten_thousandths(self) -> u16 {
        self.0
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

    /// The energy of drawing this power for `time`, rounded down to a nanojoule;
    /// [`Energy::MOST`] where it is more.
    #[must_use]
    pub fn energy(self, time: Duration) -> Energy {
        let nanojoules = time.as_nanos().saturating_mul(self.0.into()) / 1000;
        u64::try_from(nanojoules).map_or(Energy::MOST, Energy)
    }
}

/// Energy in integer nanojoules, at most 18 GJ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Energy(u64);

impl Energy {
    /// More than can be told.
    pub const MOST: Self = Self(u64::MAX);

    /// `nanojoules` billionths of a joule.
    #[must_use]
    #[inline]
    pub const fn from_nanojoules(nanojoules: u64) -> Self {
        Self(nanojoules)
    }

    /// In nanojoules.
    #[must_use]
    #[inline]
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
        Self((u128::from(self.0) * u128::from(share.thousandths()) / 1000) as u64)
    }

    /// What is left of it when `share` is taken away.
    #[must_use]
    pub fn less(self, share: Ratio) -> Self {
        Self(self.0 - self.share(share).0)
    }

    /// What, taken `factor` times, comes to it.
    #[must_use]
    pub fn over(self, factor: f64) -> Self {
        Self((self.0 as f64 / factor) as u64)
    }
}

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
        // A megawatt for 5 hours are 18 GJ, for 6 hours more than can be told.
        let megawatt = Milliwatts::from_watts(1e6).unwrap();
        let hours = |count: u64| megawatt.energy(Duration::from_secs(3600 * count));
        assert_eq!(hours(5), Energy::from_nanojoules(18_000_000_000_000_000_000));
        assert_eq!([hours(6), megawatt.energy(Duration::MAX)], [Energy::MOST; 2]);
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
        for number in [0, 9, 10, 99, 100, u64::MAX] {
            let mut text = String::from("n");
            push_number(&mut text, number);
            assert_eq!(text, format!("n{number}"));
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "18446744073710", "1 "] {
            assert_eq!(nanos_of_decimal_millis(text), None, "{text:?}");
        }
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
}
