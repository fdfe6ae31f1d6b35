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
    sketch: Option<Histogram<u64>>,
    sum: u128,
}

impl Sample {
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.sum += u128::from(value);
        if self.kept.len() == self.kept.capacity() {
            self.make_room();
        }
        self.kept.push(value);
    }

    /// Adds `value` as often as `count` says.
    pub fn add_many(&mut self, value: u64, count: u64) {
        self.sum += u128::from(value) * u128::from(count);
        if self.sketch.is_none() && self.kept.len() as u64 + count <= EXACT_VALUES as u64 {
            self.kept.resize(self.kept.len() + count as usize, value);
            return;
        }
        self.sketched().saturating_record_n(value, count);
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
    fn sketched(&mut self) -> &mut Histogram<u64> {
        let sketch = self.sketch.get_or_insert_with(|| {
            let sketch = Histogram::new_with_bounds(1, SKETCH_MAX, SKETCH_DIGITS);
            sketch.expect("the bounds are apart")
        });
        self.kept.drain(..).for_each(|value| sketch.saturating_record(value));
        self.kept.shrink_to(BATCH);
        sketch
    }

    /// Says that all values have come: [`millionths`](Self::millionths) may be asked for.
    pub fn finish(&mut self) {
        if self.sketch.is_some() || self.kept.len() > EXACT_VALUES {
            self.sketched();
        }
        self.kept.sort_unstable();
    }

    pub fn len(&self) -> u64 {
        self.kept.len() as u64 + self.sketch.as_ref().map_or(0, Histogram::len)
    }

    /// The mean, in millionths: ms of ns, mJ of nJ.
    pub fn mean_millionths(&self) -> Option<f64> {
        (self.len() > 0).then(|| self.sum as f64 / 1e6 / self.len() as f64)
    }

    /// A quantile of the values, in millionths.
    pub fn millionths(&self, share: f64) -> Option<f64> {
        match &self.sketch {
            None => interpolated(self.kept.len(), share, |place| self.kept[place] as f64 / 1e6),
            Some(sketch) => {
                let value = sketch.median_equivalent(sketch.value_at_quantile(share));
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
                assert_eq!(sample.mean_millionths(), Some(4.0));
            }
            assert_eq!(together.millionths(0.25), single.millionths(0.25));
            assert_eq!(together.millionths(0.99), single.millionths(0.99));
        }
    }
}
