//! What methods make of each item: the sample behind statements about other items.

use crate::item::ItemId;
use std::collections::BTreeMap;

use super::bootstrap::bootstrap_ratio_95;
use super::statistics::Interval;

/// An item of a dataset: the dataset's name, and its own.
pub type ItemKey<'a> = (&'a str, ItemId);

/// Which items the requests of some replications asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AskedItems {
    items: usize,
    /// For each trace the place of each request's item among all, requests in order of their ids.
    traces: Vec<Vec<usize>>,
}

impl AskedItems {
    /// The items of each trace, in order of the requests' ids. One trace alone is that of every
    /// replication.
    #[must_use]
    pub fn of<I: Copy + Ord>(traces: &[Vec<(&str, I)>]) -> Self {
        let mut places: BTreeMap<(&str, I), usize> =
            traces.iter().flatten().map(|&item| (item, 0)).collect();
        for (nth, place) in places.values_mut().enumerate() {
            *place = nth;
        }
        let trace = |asked: &Vec<(&str, I)>| asked.iter().map(|item| places[item]).collect();
        Self { items: places.len(), traces: traces.iter().map(trace).collect() }
    }

    /// Whether `replications` are several that replay one trace: they differ by the draws of a
    /// policy alone and are no sample of traces.
    #[must_use]
    pub fn is_one_trace(&self, replications: usize) -> bool {
        replications > 1 && self.traces.len() == 1
    }

    /// How many different traces stand behind `replications`.
    #[must_use]
    pub fn traces(&self, replications: usize) -> usize {
        if self.is_one_trace(replications) { 1 } else { replications }
    }

    /// The items of the replication at `nth`.
    fn replication(&self, nth: usize) -> &[usize] {
        let trace = self.traces.get(nth).or_else(|| self.traces.first());
        trace.map_or(&[], Vec::as_slice)
    }
}

/// Sums of a value of requests, item by item.
///
/// A trace asks an item many times, under many seeds; what a method makes of it hardly changes. So
/// requests are no independent sample of items, and seeds, which draw from the same items, say
/// nothing of others. The items themselves are the sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemMeans<'a> {
    asked: &'a AskedItems,
    /// All requests for each item that could be judged, and the sum of their values.
    sums: Vec<(f64, f64)>,
}

impl<'a> ItemMeans<'a> {
    /// Nothing yet of what was `asked`.
    #[must_use]
    pub fn new(asked: &'a AskedItems) -> Self {
        Self { asked, sums: vec![(0.0, 0.0); asked.items] }
    }

    /// Counts in the replication at `nth`: the `values` of its requests, in order of their ids;
    /// `None` where one could not be judged.
    pub fn record(&mut self, nth: usize, values: impl IntoIterator<Item = Option<f64>>) {
        for (&place, value) in self.asked.replication(nth).iter().zip(values) {
            if let Some(value) = value {
                let (requests, sum) = &mut self.sums[place];
                (*requests, *sum) = (*requests + 1.0, *sum + value);
            }
        }
    }

    /// How many items were judged, and the 95 % percentile interval of the value per request over
    /// resampled items, each with all its requests; no interval below two items.
    #[must_use]
    pub fn interval_95(&self) -> (usize, Option<Interval>) {
        let judged: Vec<(f64, f64)> =
            self.sums.iter().copied().filter(|(requests, _)| *requests > 0.0).collect();
        (judged.len(), bootstrap_ratio_95(&judged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Item 0 gains on 1 of 1 requests, item 1 loses on 1 of 3. A resample of two items has one of
    /// them twice, with a chance of ¼ each, or both: 1, −⅓ or 0.
    #[test]
    fn the_ends_of_two_items_are_their_own_values_per_request() {
        let asked = AskedItems::of(&[vec![
            ("piqa", 1),
            ("piqa", 0),
            ("piqa", 1),
            ("piqa", 1),
            ("sciq", 1),
        ]]);
        let mut gains = ItemMeans::new(&asked);
        gains.record(0, [Some(-1.0), Some(1.0), Some(0.0), Some(0.0), None]);
        assert_eq!(gains.interval_95(), (2, Some(Interval { lo: -1.0 / 3.0, hi: 1.0 })));
    }

    /// 300 items, a quarter of which gain: by the central limit theorem ¼ ± 1.96·√(¼·¾/300). Asking
    /// each of them under 20 seeds tells nothing new of items.
    #[test]
    fn more_seeds_over_the_same_items_do_not_narrow_the_interval() {
        let items: Vec<(&str, u32)> = (0..300).map(|item| ("piqa", item)).collect();
        let asked = AskedItems::of(&[items]);
        let gains = || (0..300).map(|item| Some(f64::from(u8::from(item % 4 == 0))));
        let (mut once, mut often) = (ItemMeans::new(&asked), ItemMeans::new(&asked));
        once.record(0, gains());
        (0..20).for_each(|nth| often.record(nth, gains()));
        assert_eq!(once.interval_95(), often.interval_95());
        let Interval { lo, hi } = once.interval_95().1.unwrap();
        let half = 1.96 * (0.25 * 0.75 / 300.0_f64).sqrt();
        assert!((lo - (0.25 - half)).abs() < 0.1 * half, "{lo}");
        assert!((hi - (0.25 + half)).abs() < 0.1 * half, "{hi}");
    }

    #[test]
    fn one_item_has_no_interval() {
        let asked = AskedItems::of(&[vec![("piqa", 3)]]);
        let mut gains = ItemMeans::new(&asked);
        gains.record(0, [Some(1.0)]);
        assert_eq!(gains.interval_95(), (1, None));
    }
}
