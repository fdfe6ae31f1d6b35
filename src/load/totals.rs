//! What a play comes to: the measures of `docs/metrics.md`, of a client's times.

use serde::Serialize;

use super::row::Played;
use crate::metrics::quantile;

/// What a play comes to. Shares are from 0 to 1, times in milliseconds; absent is what nothing
/// defines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests that were sent.
    pub requests: usize,
    /// Of these, answered.
    pub finished: usize,
    /// The share of those sent whose every bound was met.
    pub attainment: Option<f64>,
    /// The share of answers that are right, as the service answered; of those asked for.
    pub accuracy_served: Option<f64>,
    /// The same by stored answers of the plans that were taken.
    pub accuracy_stored: Option<f64>,
    /// Right as the service answered and in time, of those sent.
    pub accuracy_at_slo_served: Option<f64>,
    /// Right by stored answers and in time, of those sent.
    pub accuracy_at_slo_stored: Option<f64>,
    /// Median time to the first token.
    pub ttft_ms_p50: Option<f64>,
    /// What 95 of 100 did not exceed.
    pub ttft_ms_p95: Option<f64>,
    /// Median time per token after it.
    pub tpot_ms_p50: Option<f64>,
    /// What 95 of 100 did not exceed.
    pub tpot_ms_p95: Option<f64>,
    /// Mean level that answered, in percent.
    pub level_mean: Option<f64>,
    /// Mean share of the prompt that was asked for.
    pub prompt_ratio_mean: Option<f64>,
}

impl Totals {
    /// The totals of `rows`.
    #[must_use]
    pub fn of(rows: &[Played]) -> Self {
        let served = |row: &Played| row.served_right.map(f64::from);
        let stored = |row: &Played| row.stored_right;
        let at = |value: fn(&Played) -> Option<f64>, share: f64| {
            quantile(&mut rows.iter().filter_map(value).collect::<Vec<_>>(), share)
        };
        Self {
            requests: rows.len(),
            finished: rows.iter().filter(|row| row.is_finished()).count(),
            attainment: mean(rows, |row| Some(f64::from(row.met))),
            accuracy_served: mean(rows, served),
            accuracy_stored: mean(rows, stored),
            accuracy_at_slo_served: in_time(rows, served),
            accuracy_at_slo_stored: in_time(rows, stored),
            ttft_ms_p50: at(|row| row.ttft_ms, 0.5),
            ttft_ms_p95: at(|row| row.ttft_ms, 0.95),
            tpot_ms_p50: at(|row| row.tpot_ms, 0.5),
            tpot_ms_p95: at(|row| row.tpot_ms, 0.95),
            level_mean: mean(rows, |row| row.level.map(f64::from)),
            prompt_ratio_mean: mean(rows, |row| row.prompt_ratio),
        }
    }
}

/// The mean over the rows that have a value.
fn mean(rows: &[Played], value: impl Fn(&Played) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = rows.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Right and in time, of those that were judged or got no answer; `None` where none was judged.
fn in_time(rows: &[Played], right: impl Fn(&Played) -> Option<f64>) -> Option<f64> {
    mean(rows, &right)?;
    mean(rows, |row| match right(row) {
        Some(right) => Some(if row.met { right } else { 0.0 }),
        None => (!row.is_finished()).then_some(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, met: bool, right: Option<bool>, ttft_ms: Option<f64>) -> Played {
        let state = state.to_owned();
        Played { state, met, served_right: right, ttft_ms, ..Played::default() }
    }

    /// Four are sent. Three are answered, two rightly, of which one is in time; one is refused.
    #[test]
    fn who_is_refused_was_sent_and_is_neither_in_time_nor_right() {
        let rows = [
            row("finished", true, Some(true), Some(10.0)),
            row("finished", false, Some(true), Some(30.0)),
            row("finished", true, Some(false), Some(20.0)),
            row("queue-full", false, None, None),
        ];
        let totals = Totals::of(&rows);
        assert_eq!((totals.requests, totals.finished), (4, 3));
        assert_eq!(totals.attainment, Some(0.5));
        assert_eq!(totals.accuracy_served, Some(2.0 / 3.0));
        assert_eq!(totals.accuracy_at_slo_served, Some(0.25));
        assert_eq!((totals.accuracy_stored, totals.accuracy_at_slo_stored), (None, None));
        assert_eq!(totals.ttft_ms_p50, Some(20.0));
        assert_eq!(totals.level_mean, None);
        assert_eq!(Totals::of(&[]).attainment, None);
    }
}
