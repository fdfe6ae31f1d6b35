//! What one method gains over another on each item: the sample behind statements about other items.

use std::collections::BTreeMap;

use super::bootstrap::bootstrap_95;
use super::statistics::Interval;

/// An item of a dataset: the dataset's name, and its row.
pub type ItemKey<'a> = (&'a str, u32);

/// Gains of one method over another, item by item.
///
/// A trace asks an item many times, under many seeds; what both methods make of it hardly changes.
/// So requests are no independent sample of items, and seeds, which draw from the same items, say
/// nothing of others. The items themselves are the sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemGains<'a>(BTreeMap<ItemKey<'a>, Gain>);

/// All requests for one item that could be judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Gain {
    requests: f64,
    /// Those that only the first method answered correctly in time, less those of the second.
    more: f64,
}

impl<'a> ItemGains<'a> {
    /// Counts in one run: `first` and `second` are the methods' answers to the same requests, for
    /// the items `asked`, all in the same order.
    pub fn record(
        &mut self,
        asked: &[ItemKey<'a>],
        first: &[Option<bool>],
        second: &[Option<bool>],
    ) {
        for (&item, pair) in asked.iter().zip(first.iter().zip(second)) {
            let (Some(first), Some(second)) = pair else { continue };
            let gain = self.0.entry(item).or_default();
            gain.requests += 1.0;
            gain.more += f64::from(*first) - f64::from(*second);
        }
    }

    /// How many items were judged.
    #[must_use]
    pub fn items(&self) -> usize {
        self.0.len()
    }

    /// The 95 % percentile interval of the gain per request over resampled items, each with all
    /// its requests; `None` below two items.
    #[must_use]
    pub fn interval_95(&self) -> Option<Interval> {
        let gains: Vec<Gain> = self.0.values().copied().collect();
        bootstrap_95(&gains, |gains| {
            let sum = |part: fn(&Gain) -> f64| gains.iter().map(part).sum::<f64>();
            sum(|gain| gain.more) / sum(|gain| gain.requests)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Item 0 gains on 1 of 1 requests, item 1 loses on 1 of 3. A resample of two items has one of
    /// them twice, with a chance of ¼ each, or both: 1, −⅓ or 0.
    #[test]
    fn the_ends_of_two_items_are_their_own_gains_per_request() {
        let mut gains = ItemGains::default();
        let asked = [("piqa", 1), ("piqa", 0), ("piqa", 1), ("piqa", 1), ("sciq", 1)];
        let first = [Some(false), Some(true), Some(true), Some(true), Some(true)];
        let second = [Some(true), Some(false), Some(true), Some(true), None];
        gains.record(&asked, &first, &second);
        assert_eq!(gains.items(), 2);
        assert_eq!(gains.interval_95(), Some(Interval { lo: -1.0 / 3.0, hi: 1.0 }));
    }

    /// 300 items, a quarter of which gain: by the central limit theorem ¼ ± 1.96·√(¼·¾/300). Asking
    /// each of them under 20 seeds tells nothing new of items.
    #[test]
    fn more_seeds_over_the_same_items_do_not_narrow_the_interval() {
        let asked: Vec<ItemKey<'_>> = (0..300).map(|item| ("piqa", item)).collect();
        let first: Vec<_> = (0..300).map(|item| Some(item % 4 == 0)).collect();
        let second = vec![Some(false); 300];
        let (mut once, mut often) = (ItemGains::default(), ItemGains::default());
        once.record(&asked, &first, &second);
        (0..20).for_each(|_| often.record(&asked, &first, &second));
        assert_eq!(once.interval_95(), often.interval_95());
        let Interval { lo, hi } = once.interval_95().unwrap();
        let half = 1.96 * (0.25 * 0.75 / 300.0_f64).sqrt();
        assert!((lo - (0.25 - half)).abs() < 0.1 * half, "{lo}");
        assert!((hi - (0.25 + half)).abs() < 0.1 * half, "{hi}");
    }

    #[test]
    fn one_item_has_no_interval() {
        let mut gains = ItemGains::default();
        gains.record(&[("piqa", 3)], &[Some(true)], &[Some(false)]);
        assert_eq!((gains.items(), gains.interval_95()), (1, None));
    }
}
