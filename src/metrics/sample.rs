//! Values of many requests, and their quantiles: exact as long as they are kept.

use hdrhistogram::Histogram;

use super::statistics::interpolated;

/// As many values are kept as they are. From more of them quantiles are read off a sketch, which
/// counts values that agree in their first digits together.
pub const EXACT_VALUES: usize = 1_000_000;

/// How far a quantile off a sketch may be from one of the values, as a share of it.
pub const SKETCH_ERROR: f64 = 0.001;

/// Decimal digits that the sketch tells apart: 10⁻³ is [`SKETCH_ERROR`].
const SKETCH_DIGITS: u8 = 3;

/// The largest value that the sketch tells from larger ones: 146 years in ns.
const SKETCH_MAX: u64 = 1 << 62;

/// Values that wait for the sketch, once there is one.
const BATCH: usize = 1 << 12;

/// A sample of whole numbers, in any order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// All values, or those that the sketch does not have yet.
    kept: Vec<u64>,
    sketch: Option<Sketch>,
}

/// A histogram, and counts that it does not have yet.
#[derive(Debug, Clone)]
struct Sketch {
    histogram: Histogram<u64>,
    /// By [`place_of`].
    counts: Vec<u64>,
}

impl Sketch {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, SKETCH_MAX, SKETCH_DIGITS);
        let histogram = histogram.expect("the bounds are apart");
        Self { histogram, counts: vec![0; place_of(1 << f64::MANTISSA_DIGITS)] }
    }

    fn add(&mut self, values: &[u64]) {
        for &value in values {
            match self.counts.get_mut(place_of(value)) {
                Some(count) => *count = count.wrapping_add(1),
                None => self.histogram.saturating_record(value),
            }
        }
    }

    /// Gives the histogram what it does not have yet.
    fn settle(&mut self) {
        for (place, count) in self.counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            self.histogram.saturating_record_n(least_at(place), *count);
            *count = 0;
        }
    }
}

/// Bits of a float's fraction that tell places apart: the histogram tells no more.
const PLACE_BITS: u32 = 10;

/// Of the float 1.
const FIRST_PLACE: u64 = 1023 << PLACE_BITS;

/// Values at one place are one to the histogram; 0, and what a float does not have exactly, are
/// beyond all places.
///
/// Why by way of a float? Its exponent and the first bits of its fraction are the place, with no
/// look for the first bit that is set.
#[inline]
fn place_of(value: u64) -> usize {
    let bits = (value as i64 as f64).to_bits() >> (f64::MANTISSA_DIGITS - 1 - PLACE_BITS);
    bits.wrapping_sub(FIRST_PLACE) as usize
}

/// The least value at a place.
fn least_at(place: usize) -> u64 {
    let bits = (place as u64 + FIRST_PLACE) << (f64::MANTISSA_DIGITS - 1 - PLACE_BITS);
    f64::from_bits(bits).ceil() as u64
}

impl Sample {
    #[inline]
    pub fn add(&mut self, value: u64) {
        if self.kept.len() == self.kept.capacity() {
            self.make_room();
        }
        self.kept.push(value);
    }

    /// Adds `value` as often as `count` says.
    pub fn add_many(&mut self, value: u64, count: u64) {
        if self.sketch.is_none() && self.kept.len() as u64 + count <= EXACT_VALUES as u64 {
            self.kept.resize(self.kept.len() + count as usize, value);
            return;
        }
        self.sketched().histogram.saturating_record_n(value, count);
    }

    /// Room for a value more.
    #[cold]
    fn make_room(&mut self) {
        if self.sketch.is_some() || self.kept.len() >= EXACT_VALUES {
            self.sketched();
            return;
        }
        let room = (2 * self.kept.len()).clamp(64, EXACT_VALUES);
        self.kept.reserve_exact(room - self.kept.len());
    }

    /// The sketch, with all that was kept.
    fn sketched(&mut self) -> &mut Sketch {
        let sketch = self.sketch.get_or_insert_with(Sketch::new);
        sketch.add(&self.kept);
        self.kept.clear();
        self.kept.shrink_to(BATCH);
        sketch
    }

    /// Says that all values have come: [`millionths`](Self::millionths) may be asked for.
    pub fn finish(&mut self) {
        if self.sketch.is_some() || self.kept.len() > EXACT_VALUES {
            self.sketched().settle();
        }
        self.kept.sort_unstable();
    }

    pub fn len(&self) -> u64 {
        self.kept.len() as u64 + self.sketch.as_ref().map_or(0, |sketch| sketch.histogram.len())
    }

    /// A quantile of the values, in millionths.
    pub fn millionths(&self, share: f64) -> Option<f64> {
        match &self.sketch {
            None => interpolated(self.kept.len(), share, |place| self.kept[place] as f64 / 1e6),
            Some(Sketch { histogram, .. }) => {
                let value = histogram.median_equivalent(histogram.value_at_quantile(share));
                Some(value as f64 / 1e6)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::metrics::quantile;
    use crate::rng;

    /// Twice as many values as are kept, over nine orders of magnitude.
    #[test]
    fn a_sketch_is_as_near_as_it_says_and_does_not_depend_on_the_order() {
        let mut random = rng::stream(0, "test");
        let mut value = || (10_f64.powf(random.random_range(0.0..9.0))) as u64;
        let values: Vec<u64> = (0..2 * EXACT_VALUES).map(|_| value()).collect();
        let of = |values: &mut dyn Iterator<Item = u64>| {
            let mut sample = Sample::default();
            values.for_each(|value| sample.add(value));
            sample.finish();
            [0.5, 0.95, 0.99].map(|share| sample.millionths(share).unwrap())
        };
        let found = of(&mut values.iter().copied());
        let backwards = of(&mut values.iter().rev().copied());
        assert_eq!(backwards.map(f64::to_bits), found.map(f64::to_bits));
        let mut exact: Vec<f64> = values.iter().map(|&value| value as f64 / 1e6).collect();
        for (share, found) in [0.5, 0.95, 0.99].into_iter().zip(found) {
            let expected = quantile(&mut exact, share).unwrap();
            assert!((found / expected - 1.0).abs() < SKETCH_ERROR, "{share}: {found}, {expected}");
        }
    }

    #[test]
    fn values_added_together_are_values_added_one_by_one() {
        for times in [3, EXACT_VALUES as u64] {
            let (mut together, mut single) = (Sample::default(), Sample::default());
            for value in [7_000_000, 1_000_000] {
                together.add_many(value, times);
                (0..times).for_each(|_| single.add(value));
            }
            for sample in [&mut together, &mut single] {
                sample.finish();
                assert_eq!(sample.len(), 2 * times);
            }
            assert_eq!(together.millionths(0.25), single.millionths(0.25));
            assert_eq!(together.millionths(0.99), single.millionths(0.99));
        }
    }

    /// Every value that is the first of its kind, and its neighbours: the places of a float's bits
    /// are finer than the histogram's, or the same.
    #[test]
    fn what_waits_for_the_sketch_is_what_it_would_have_counted() {
        let edges = (0..63).flat_map(|bit| [0, 1, 2, 3, 511, 512, 1023].map(|part| (bit, part)));
        let edge = |(bit, part): (u32, u64)| (1_u64 << bit) + ((part << bit) >> 10);
        let values: Vec<u64> =
            edges.map(edge).flat_map(|value| [value - 1, value, value + 1]).collect();
        let mut sketch = Sketch::new();
        sketch.add(&values);
        sketch.settle();
        let mut expected = Sketch::new().histogram;
        for &value in &values {
            expected.saturating_record(value);
        }
        assert_eq!(sketch.histogram, expected);
        let at = |sketch: &Histogram<u64>| {
            sketch.iter_recorded().map(|at| at.count_at_value()).collect::<Vec<_>>()
        };
        assert_eq!(at(&sketch.histogram), at(&expected));
    }
}
