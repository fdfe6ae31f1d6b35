//! Axes: from values to places on a sheet, with round ticks.

/// A linear or logarithmic axis from one place to another, in tenths of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Values at its ends.
    pub range: (f64, f64),
    pub logarithmic: bool,
    pub from: i32,
    pub to: i32,
}

impl Axis {
    /// A linear axis whose ends are round and hold `lo` and `hi`, zero among them if they are near.
    pub fn linear(lo: f64, hi: f64, ticks: usize) -> Self {
        let lo = if lo > 0.0 && lo < 0.5 * hi { 0.0 } else { lo };
        let step = round_step(hi - lo, ticks);
        let range = ((lo / step).floor() * step, (hi / step - 1e-9).ceil() * step);
        Self { range, logarithmic: false, from: 0, to: 0 }
    }

    /// A logarithmic axis of whole decades that hold `lo` and `hi`, both above zero.
    pub fn decades(lo: f64, hi: f64) -> Self {
        let (first, last) = (lo.log10().floor(), (hi.log10() - 1e-9).ceil());
        let range = (10_f64.powf(first), 10_f64.powf(last.max(first + 1.0)));
        Self { range, logarithmic: true, from: 0, to: 0 }
    }

    /// The axis between two places.
    pub fn between(self, from: i32, to: i32) -> Self {
        Self { from, to, ..self }
    }

    /// Where `value` is; one beyond an end is at the end.
    pub fn place(&self, value: f64) -> i32 {
        let of = |value: f64| if self.logarithmic { value.log10() } else { value };
        let (lo, hi) = (of(self.range.0), of(self.range.1));
        let share = if hi > lo { ((of(value) - lo) / (hi - lo)).clamp(0.0, 1.0) } else { 0.5 };
        self.from + (share * f64::from(self.to - self.from)).round() as i32
    }

    /// At most some `ticks` round values with their names.
    pub fn ticks(&self, ticks: usize) -> Vec<(f64, String)> {
        let (lo, hi) = self.range;
        if self.logarithmic {
            let (first, last) = (lo.log10().round() as i32, hi.log10().round() as i32);
            let step = ((last - first) as usize).div_ceil(ticks).max(1);
            let powers = (first..=last).step_by(step).map(|power| 10_f64.powi(power));
            return powers.map(|value| (value, plain(value))).collect();
        }
        let step = round_step(hi - lo, ticks);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let count = ((hi - lo) / step + 1e-9).floor() as u32;
        let value = |nth: u32| lo + f64::from(nth) * step;
        let name = |value: f64| signed(&format!("{:.decimals$}", value + 0.0));
        (0..=count).map(|nth| (value(nth), name(value(nth)))).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that parts `span` into at most `most`.
fn round_step(span: f64, most: usize) -> f64 {
    let least = (span / most as f64).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// A power of ten as a reader writes it.
fn plain(value: f64) -> String {
    if value >= 10_000.0 { format!("{} k", value / 1000.0) } else { value.to_string() }
}

/// With a typographic minus.
pub(super) fn signed(number: &impl ToString) -> String {
    number.to_string().replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (longest, step) in [(29.7, 5.0), (11.0, 2.0), (6.0, 1.0), (0.5, 0.1), (80e9, 20e9)] {
            assert!((round_step(longest, 6) - step).abs() < 1e-9 * step, "{longest}");
        }
        let names = |axis: Axis| axis.ticks(5).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(names(Axis::linear(12.0, 61.3, 5)), ["0", "20", "40", "60", "80"]);
        assert_eq!(names(Axis::linear(-3.0, 2.0, 5)), ["−3", "−2", "−1", "0", "1", "2"]);
        assert_eq!(names(Axis::linear(70.0, 88.0, 5)), ["70", "75", "80", "85", "90"]);
        assert_eq!(names(Axis::decades(0.002, 8.3)), ["0.001", "0.01", "0.1", "1", "10"]);
    }

    #[test]
    fn a_value_beyond_an_end_is_at_the_end() {
        let axis = Axis::decades(1.0, 100.0).between(10, 30);
        let places = [0.0, 1.0, 10.0, 1000.0].map(|value| axis.place(value));
        assert_eq!(places, [10, 10, 20, 30]);
    }
}
