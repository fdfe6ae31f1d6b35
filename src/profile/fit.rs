//! Least squares: latency samples → coefficients, with how far off they are.
//!
//! Repetitions of one length are reduced to their median, because disturbances only ever add
//! time. The fit minimises Σ ((fitted − median) / median)², so that short prompts count as much
//! as long ones, over coefficients that are not negative. With three terms that optimum is found
//! exactly: it is the best of the unconstrained optima over the seven non-empty sets of terms,
//! among those without a negative coefficient.

use std::collections::BTreeMap;

use super::curve::{DecodeCurve, FitError, PrefillCurve, TokenRange};
use super::knots::Knots;
use super::latency_log::{LatencySample, Phase};
use crate::error::{Error, Result};
use crate::units::Level;

/// Lengths are divided by this inside a fit, so that 1, n and n² are of one size.
const SCALE: f64 = 1024.0;

/// Fits the time to first token of one level over prompt lengths.
///
/// # Errors
/// If `samples` hold fewer than three lengths of that family, level and phase `prefill`.
pub fn fit_prefill(samples: &[LatencySample], family: &str, level: Level) -> Result<PrefillCurve> {
    let points = medians(samples, family, level, Phase::Prefill, 3)?;
    let ([intercept, linear, square], fit_error) = fit(&points, |n| [1.0, n, n * n]);
    Ok(PrefillCurve {
        intercept,
        per_token: linear / SCALE,
        per_token_squared: square / (SCALE * SCALE),
        tokens: Some(range(&points)),
        fit_error: Some(fit_error),
    })
}

/// Fits the time per output token of one level over contexts.
///
/// # Errors
/// If `samples` hold fewer than two contexts of that family, level and phase `decode`.
pub fn fit_decode(samples: &[LatencySample], family: &str, level: Level) -> Result<DecodeCurve> {
    let points = medians(samples, family, level, Phase::Decode, 2)?;
    Ok(decode_through(&points))
}

/// The time to first token through published points: in proportion to the length through one, a
/// line through two, the fit of [`fit_prefill`] over more.
pub(super) fn prefill_through(points: &[(u32, f64)]) -> PrefillCurve {
    let ([intercept, linear, square], fit_error) = match points.len() {
        1 => with_zeros(fit(points, |n| [n]), |[linear]| [0.0, linear, 0.0]),
        2 => with_zeros(fit(points, |n| [1.0, n]), |[intercept, linear]| [intercept, linear, 0.0]),
        _ => fit(points, |n| [1.0, n, n * n]),
    };
    PrefillCurve {
        intercept,
        per_token: linear / SCALE,
        per_token_squared: square / (SCALE * SCALE),
        tokens: Some(range(points)),
        fit_error: Some(fit_error),
    }
}

/// The time per output token through points: constant through one, a line over more, straight
/// pieces between them where those foretell points left out much better than the line.
pub(super) fn decode_through(points: &[(u32, f64)]) -> DecodeCurve {
    let ([intercept, linear], fit_error) = line(points);
    let at = |others: &[(u32, f64)], context: u32| {
        let [intercept, linear] = line(others).0;
        intercept + linear * f64::from(context) / SCALE
    };
    let knots = Knots::instead_of_line(points, at);
    let mut curve = DecodeCurve {
        intercept,
        per_context_token: linear / SCALE,
        knots: knots.unwrap_or_default(),
        tokens: Some(range(points)),
        fit_error: Some(fit_error),
    };
    if knots.is_some() {
        let off = |&(tokens, ms): &(u32, f64)| (curve.millis(tokens) / ms - 1.0).abs();
        curve.fit_error = Some(FitError::of(points.iter().map(off).collect()));
    }
    curve
}

/// The line of least relative errors; constant through one point.
fn line(points: &[(u32, f64)]) -> ([f64; 2], FitError) {
    match points.len() {
        1 => with_zeros(fit(points, |_| [1.0]), |[intercept]| [intercept, 0.0]),
        _ => fit(points, |n| [1.0, n]),
    }
}

fn with_zeros<const K: usize, const L: usize>(
    (coefficients, error): ([f64; K], FitError),
    all: fn([f64; K]) -> [f64; L],
) -> ([f64; L], FitError) {
    (all(coefficients), error)
}

/// The median over all measured switches to one level, in ms.
///
/// # Errors
/// If `samples` hold none of that family, level and phase `switch`.
pub fn fit_switch_ms(samples: &[LatencySample], family: &str, level: Level) -> Result<f64> {
    let points = medians(samples, family, level, Phase::Switch, 1)?;
    Ok(median(points.into_iter().map(|point| point.1).collect()))
}

/// (tokens, median ms) of the wanted samples, by rising tokens.
fn medians(
    samples: &[LatencySample],
    family: &str,
    level: Level,
    phase: Phase,
    at_least: usize,
) -> Result<Vec<(u32, f64)>> {
    let mut by_tokens = BTreeMap::<u32, Vec<f64>>::new();
    for sample in samples {
        if sample.family == family && sample.level == level && sample.phase == phase {
            by_tokens.entry(sample.tokens).or_default().push(sample.ms);
        }
    }
    if by_tokens.len() < at_least {
        return Err(Error::new("latency samples", "too few lengths to fit")
            .at(format!("family {family}, level {level}, {phase:?}"))
            .found(by_tokens.len())
            .allowed(format!("{at_least} or more")));
    }
    Ok(by_tokens.into_iter().map(|(tokens, times)| (tokens, median(times))).collect())
}

/// The middle value, or the mean of the two middle values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

fn range(points: &[(u32, f64)]) -> TokenRange {
    TokenRange { min: points[0].0, max: points[points.len() - 1].0 }
}

/// Coefficients ≥ 0 of the terms `terms(tokens / SCALE)` with the least sum of squared relative
/// errors, and those errors.
fn fit<const K: usize>(points: &[(u32, f64)], terms: fn(f64) -> [f64; K]) -> ([f64; K], FitError) {
    // Dividing a row by its time turns relative errors into plain ones against 1.
    let rows: Vec<[f64; K]> = points
        .iter()
        .map(|&(tokens, ms)| terms(f64::from(tokens) / SCALE).map(|term| term / ms))
        .collect();
    let errors = |coefficients: &[f64; K]| -> Vec<f64> {
        rows.iter().map(|row| (dot(row, coefficients) - 1.0).abs()).collect()
    };
    let cost = |coefficients: &[f64; K]| -> f64 {
        errors(coefficients).iter().map(|error| error * error).sum()
    };
    let best = (1_u32..1 << K)
        .filter_map(|active| solve(&rows, active))
        .filter(|coefficients| coefficients.iter().all(|&value| value >= 0.0))
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("one positive term alone has a positive optimum");
    let errors = errors(&best);
    (best, FitError::of(errors))
}

impl FitError {
    /// Of the errors at each length.
    fn of(errors: Vec<f64>) -> Self {
        let max_relative = errors.iter().copied().fold(0.0, f64::max);
        Self { max_relative, median_relative: median(errors) }
    }
}

fn dot<const K: usize>(a: &[f64; K], b: &[f64; K]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The unconstrained optimum of Σ (row · x − 1)² over the terms in the bit set `active`, the
/// others zero; `None` if the terms are not independent on these rows.
fn solve<const K: usize>(rows: &[[f64; K]], active: u32) -> Option<[f64; K]> {
    // Normal equations; an inactive term keeps a 1 on its diagonal and 0 on the right.
    let mut matrix = [[0.0; K]; K];
    let mut right = [0.0; K];
    for i in 0..K {
        if active & (1 << i) == 0 {
            matrix[i][i] = 1.0;
            continue;
        }
        right[i] = rows.iter().map(|row| row[i]).sum();
        for j in (0..K).filter(|j| active & (1 << j) != 0) {
            matrix[i][j] = rows.iter().map(|row| row[i] * row[j]).sum();
        }
    }
    eliminate(matrix, right)
}

/// Solves `matrix · x = right` by elimination with partial pivoting.
fn eliminate<const K: usize>(mut matrix: [[f64; K]; K], mut right: [f64; K]) -> Option<[f64; K]> {
    for column in 0..K {
        let pivot = (column..K)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-14 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (pivot_row, pivot_right) = (matrix[column], right[column]);
        for row in column + 1..K {
            let factor = matrix[row][column] / pivot_row[column];
            for (value, pivot_value) in matrix[row].iter_mut().zip(pivot_row) {
                *value -= factor * pivot_value;
            }
            right[row] -= factor * pivot_right;
        }
    }
    let mut solution = [0.0; K];
    for row in (0..K).rev() {
        let known: f64 = (row + 1..K).map(|k| matrix[row][k] * solution[k]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(phase: Phase, tokens: u32, repetition: u32, ms: f64) -> LatencySample {
        LatencySample { family: "width".into(), level: Level::FULL, phase, tokens, repetition, ms }
    }

    #[test]
    fn exact_samples_give_their_coefficients_back_and_outliers_do_not_matter() {
        let mut samples = Vec::new();
        for tokens in [16, 64, 256, 1024] {
            let n = f64::from(tokens);
            let exact = 7.0 + 0.5 * n + 0.0002 * n * n;
            for (repetition, ms) in [exact, exact, exact * 3.0].into_iter().enumerate() {
                samples.push(sample(Phase::Prefill, tokens, repetition as u32, ms));
            }
        }
        let curve = fit_prefill(&samples, "width", Level::FULL).unwrap();
        assert!((curve.intercept - 7.0).abs() < 1e-6, "{curve:?}");
        assert!((curve.per_token - 0.5).abs() < 1e-8, "{curve:?}");
        assert!((curve.per_token_squared - 0.0002).abs() < 1e-10, "{curve:?}");
        assert_eq!(curve.tokens, Some(TokenRange { min: 16, max: 1024 }));
        assert!(curve.fit_error.unwrap().max_relative < 1e-9);
    }

    #[test]
    fn a_negative_term_is_left_out_and_the_rest_fitted_again() {
        // A line through (1024, 10) and (2048, 8) falls; without its slope, the constant with the
        // least relative error minimises (c/10 − 1)² + (c/8 − 1)²: c = (1/10 + 1/8) / (1/100 +
        // 1/64) = 0.225 / 0.025625; a pure slope is worse.
        let samples = [sample(Phase::Decode, 1024, 0, 10.0), sample(Phase::Decode, 2048, 0, 8.0)];
        let curve = fit_decode(&samples, "width", Level::FULL).unwrap();
        assert!((curve.intercept - 0.225 / 0.025_625).abs() < 1e-9, "{curve:?}");
        assert!(curve.per_context_token.abs() < f64::EPSILON);
        // 8.7805 is 12.195 % below 10 and 9.756 % above 8.
        let error = curve.fit_error.unwrap();
        assert!((error.max_relative - 0.121_951).abs() < 1e-5, "{error:?}");
    }

    #[test]
    fn too_few_lengths_are_an_error_that_counts_them() {
        insta::assert_snapshot!(
            fit_decode(&[sample(Phase::Decode, 64, 0, 1.0)], "width", Level::FULL).unwrap_err(),
            @"latency samples, family width, level 100 %, Decode: too few lengths to fit; found 1; allowed: 2 or more"
        );
    }

    #[test]
    fn a_switch_costs_the_median_over_where_it_comes_from() {
        let samples = [
            sample(Phase::Switch, 20, 0, 1.0),
            sample(Phase::Switch, 20, 1, 9.0),
            sample(Phase::Switch, 20, 2, 2.0),
            sample(Phase::Switch, 50, 0, 4.0),
        ];
        // Medians 2 (from 20 %) and 4 (from 50 %); their median is 3.
        let ms = fit_switch_ms(&samples, "width", Level::FULL).unwrap();
        assert!((ms - 3.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn coefficients_are_never_negative(times in proptest::collection::vec(0.01..1e4, 3..8)) {
            let samples: Vec<_> = times
                .iter()
                .enumerate()
                .map(|(index, &ms)| sample(Phase::Prefill, 16 << index, 0, ms))
                .collect();
            let curve = fit_prefill(&samples, "width", Level::FULL).unwrap();
            prop_assert!(curve.coefficients().iter().all(|&(_, value)| value >= 0.0));
            prop_assert!(curve.millis(1) >= 0.0);
        }
    }
}
