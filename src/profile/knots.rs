//! Time per output token where it is no line over the context: straight pieces between points.
//!
//! Points replace the line only where they foretell points left out at half its error or less:
//! with few points, and with noise in them, a line is the safer curve.

use serde::{Deserialize, Serialize};

use super::isotonic::rise;

/// Most points of a curve; of more, every so many are left out.
const KNOTS_MAX: usize = 8;

/// Fewest points that say which of the two foretells better.
const POINTS_MIN: usize = 4;

/// A line stays where it foretells points left out to within this.
const LINE_IS_FINE: f64 = 0.03;

/// Longest time of a token, in ms: a line that leads beyond its points stops there.
const MILLIS_MAX: f64 = 1e7;

/// Points of rising contexts and times that do not fall, in tokens and ms; none, most often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u32, f64)>", into = "Vec<(u32, f64)>")]
pub struct Knots {
    at: [(u32, f64); KNOTS_MAX],
    count: usize,
}

impl Knots {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The points.
    #[must_use]
    pub fn points(&self) -> &[(u32, f64)] {
        &self.at[..self.count]
    }

    /// ms at `context`, on the line through the two points around it or, outside, the two nearest;
    /// from 0 to [`MILLIS_MAX`].
    pub(super) fn millis(&self, context: u32) -> f64 {
        let points = self.points();
        let above = points.partition_point(|point| point.0 < context);
        let above = above.clamp(1, points.len() - 1);
        line_through(points[above - 1], points[above], context).clamp(0.0, MILLIS_MAX)
    }

    /// The same points, `change`d in their times.
    pub(super) fn map(mut self, change: impl Fn(u32, f64) -> f64) -> Self {
        for (context, ms) in &mut self.at[..self.count] {
            *ms = change(*context, *ms);
        }
        self
    }

    /// The points that stand better for `points`, which rise in tokens, than the line that `line`
    /// fits to some: gives its time at a context.
    pub(super) fn instead_of_line(
        points: &[(u32, f64)],
        line: impl Fn(&[(u32, f64)], u32) -> f64,
    ) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let through = |others: &[(u32, f64)], context| Self::rising(others).millis(context);
        let (of_line, of_knots) = (left_out(points, line), left_out(points, through));
        (of_line > LINE_IS_FINE && of_knots <= of_line / 2.0).then(|| Self::rising(points))
    }

    /// `points` as they are where they do not fall; where they do, the mean of those that do.
    fn rising(points: &[(u32, f64)]) -> Self {
        let step = (points.len() - 1).div_ceil(KNOTS_MAX - 1).max(1);
        let last = points.len() - 1;
        let mut times: Vec<f64> = points.iter().map(|point| point.1).collect();
        rise(&mut times);
        let mut knots = Self::default();
        for (nth, ms) in times.into_iter().enumerate() {
            if nth == last || nth.is_multiple_of(step) {
                knots.at[knots.count] = (points[nth].0, ms);
                knots.count += 1;
            }
        }
        knots
    }
}

fn line_through((from, low): (u32, f64), (to, high): (u32, f64), context: u32) -> f64 {
    let way = (f64::from(context) - f64::from(from)) / f64::from(to - from);
    low + (high - low) * way
}

/// Mean relative error at each inner point, foretold from the others.
fn left_out(points: &[(u32, f64)], foretold: impl Fn(&[(u32, f64)], u32) -> f64) -> f64 {
    let inner = 1..points.len() - 1;
    let errors = inner.clone().map(|nth| {
        let others = [&points[..nth], &points[nth + 1..]].concat();
        (foretold(&others, points[nth].0) / points[nth].1 - 1.0).abs()
    });
    errors.sum::<f64>() / inner.len() as f64
}

impl From<Knots> for Vec<(u32, f64)> {
    fn from(knots: Knots) -> Self {
        knots.points().to_vec()
    }
}

impl TryFrom<Vec<(u32, f64)>> for Knots {
    type Error = String;

    fn try_from(points: Vec<(u32, f64)>) -> Result<Self, String> {
        let rises = points.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let are_times = points.iter().all(|(_, ms)| *ms > 0.0 && *ms < MILLIS_MAX);
        let is_curve = points.is_empty() || (2..=KNOTS_MAX).contains(&points.len());
        if !(rises && are_times && is_curve) {
            return Err(format!(
                "2 to {KNOTS_MAX} knots [tokens, ms] of rising tokens and times that do not fall"
            ));
        }
        let mut knots = Self { count: points.len(), ..Self::default() };
        knots.at[..points.len()].copy_from_slice(&points);
        Ok(knots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line through the first point and the last.
    fn line(points: &[(u32, f64)], context: u32) -> f64 {
        line_through(points[0], points[points.len() - 1], context)
    }

    #[test]
    fn between_and_beyond_the_points_run_straight_lines() {
        let knots = Knots::try_from(vec![(0, 10.0), (100, 20.0), (300, 24.0)]).unwrap();
        let at = |context| knots.millis(context);
        for (context, ms) in [(0, 10.0), (50, 15.0), (100, 20.0), (200, 22.0), (400, 26.0)] {
            assert!((at(context) - ms).abs() < 1e-12, "{context}: {}", at(context));
        }
        let twice = knots.map(|_, ms| 2.0 * ms);
        assert!((twice.millis(50) - 30.0).abs() < 1e-12);
    }

    #[test]
    fn a_line_stays_unless_the_points_foretell_each_other_much_better() {
        let of = |ms: &dyn Fn(f64) -> f64| -> Vec<(u32, f64)> {
            (0..6).map(|nth| (100 * nth, ms(f64::from(nth)))).collect()
        };
        assert_eq!(Knots::instead_of_line(&of(&|x| 10.0 + x), line), None, "it is a line");
        let bent = of(&|x| if x < 3.0 { 10.0 } else { 10.0 + 20.0 * (x - 3.0) });
        assert!(Knots::instead_of_line(&bent, line).is_some());
        let noisy = [(0, 10.0), (100, 13.0), (200, 10.0), (300, 13.0), (400, 10.0), (500, 13.0)];
        assert_eq!(Knots::instead_of_line(&noisy, line), None, "points do no better");
        assert_eq!(Knots::instead_of_line(&bent[..3], line), None, "too few to say");
    }

    #[test]
    fn of_many_points_some_stand_for_all_and_the_last_is_kept() {
        let many: Vec<_> = (0..30).map(|nth| (nth, f64::from(nth) + 1.0)).collect();
        let knots = Knots::rising(&many);
        assert!(knots.points().len() <= KNOTS_MAX);
        assert_eq!((knots.points()[0].0, knots.points().last().unwrap().0), (0, 29));
    }

    #[test]
    fn what_is_no_curve_is_refused() {
        for points in [vec![(0, 1.0)], vec![(0, 2.0), (1, 1.0)], vec![(1, 1.0), (1, 2.0)]] {
            assert!(Knots::try_from(points).is_err());
        }
        assert!(Knots::try_from(Vec::new()).unwrap().is_empty());
    }
}
