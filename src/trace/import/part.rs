//! Which requests of a file are taken.

use std::fmt;
use std::time::Duration;

use rand::RngExt;

use crate::error::{Error, Result};
use crate::limits::REQUESTS;
use crate::rng::stream;

/// A part of a file: a span of time, of it an even sample, of that the earliest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// From so long after time 0 on; that instant is time 0 of the part.
    pub from: Duration,
    /// To before so long after time 0; absent: to the last.
    pub to: Option<Duration>,
    /// So many, each set of them equally likely; absent: all. The load falls with them.
    pub sample: Option<u32>,
    /// The earliest so many; absent: all.
    pub limit: Option<usize>,
}

impl Part {
    /// The part of `all`, each of which arrives `since` so many ns after time 0.
    ///
    /// # Errors
    /// If nothing is left, or more than a trace may have.
    pub(super) fn of<T>(
        &self,
        all: Vec<T>,
        since: impl Fn(&T) -> u64,
        seed: u64,
    ) -> Result<Vec<T>> {
        let last = all.last().map_or(0, &since);
        let within = |one: &T| {
            let at = Duration::from_nanos(since(one));
            at >= self.from && self.to.is_none_or(|to| at < to)
        };
        let mut kept: Vec<T> = all.into_iter().filter(within).collect();
        if let Some(sample) = self.sample {
            kept = drawn(kept, sample as usize, seed);
        }
        kept.truncate(self.limit.unwrap_or(usize::MAX));
        if kept.is_empty() {
            let found = format!("arrivals up to {:?}", Duration::from_nanos(last));
            let error = Error::new("trace import", "no request in the part asked for");
            return Err(error.at(self.to_string().trim_start_matches(", ")).found(found));
        }
        if kept.len() as u64 > REQUESTS.max {
            return Err(Error::new("trace import", "too many requests").found(kept.len()).allowed(
                format!("at most {}: a part by from, to, sample or limit", REQUESTS.max),
            ));
        }
        Ok(kept)
    }

    /// `since` time 0, counted from the start of the part.
    pub(super) fn since_from(&self, since: u64) -> u64 {
        since - self.from.as_nanos() as u64
    }
}

/// `count` of `all` in their order, every set equally likely (selection sampling, Knuth 3.4.2 S).
fn drawn<T>(all: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    let mut rng = stream(seed, "import/sample");
    let (mut left, mut wanted) = (all.len(), count);
    let mut is_drawn = |_: &T| {
        let drawn = rng.random::<f64>() * (left as f64) < wanted as f64;
        left -= 1;
        wanted -= usize::from(drawn);
        drawn
    };
    all.into_iter().filter(|one| is_drawn(one)).collect()
}

/// Begins with a comma, to stand after what is said of times and lengths; nothing for the whole.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.from.is_zero() {
            write!(f, ", from {:?} on", self.from)?;
        }
        if let Some(to) = self.to {
            write!(f, ", before {to:?}")?;
        }
        if let Some(sample) = self.sample {
            write!(f, ", {sample} drawn evenly")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", at most the first {limit} requests")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn of(part: Part) -> Result<Vec<u64>> {
        part.of((0..10).collect(), |second| second * SECOND, 7)
    }

    #[test]
    fn a_span_keeps_its_first_instant_and_not_its_last() {
        let part = Part {
            from: Duration::from_secs(3),
            to: Some(Duration::from_secs(6)),
            ..Part::default()
        };
        assert_eq!(of(part).unwrap(), [3, 4, 5]);
        assert_eq!(part.since_from(4 * SECOND), SECOND);
        assert_eq!(part.to_string(), ", from 3s on, before 6s");
        let late = Part { from: Duration::from_secs(10), ..Part::default() };
        assert_eq!(
            of(late).unwrap_err().to_string(),
            "trace import, from 10s on: no request in the part asked for; found arrivals up to 9s"
        );
    }

    /// Each of ten is drawn with a probability of 0.3: in 2000 samples 600 times, standard
    /// deviation √(2000 · 0.3 · 0.7) = 20.5.
    #[test]
    fn a_sample_has_its_size_keeps_the_order_and_favours_none() {
        let mut counts = [0; 10];
        for seed in 0..2000 {
            let part = Part { sample: Some(3), ..Part::default() };
            let kept = part.of((0..10_usize).collect(), |_| 0, seed).unwrap();
            assert_eq!(kept.len(), 3);
            assert!(kept.is_sorted());
            for &one in &kept {
                counts[one] += 1;
            }
        }
        assert!(counts.iter().all(|&count: &i32| (count - 600).abs() < 82), "{counts:?}");
        let more = Part { sample: Some(99), limit: Some(4), ..Part::default() };
        assert_eq!(of(more).unwrap(), [0, 1, 2, 3]);
    }
}
