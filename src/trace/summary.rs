//! What a trace holds, at a glance.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Trace;
use crate::request::{Limit, Slo};
use crate::units::millis;

/// Counts over a whole trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How the trace was made.
    pub provenance: Vec<String>,
    /// How many requests.
    pub requests: usize,
    /// From the first arrival to the last; absent in an empty trace.
    pub span_ms: Option<f64>,
    /// Mean time between arrivals; absent below two requests.
    pub mean_gap_ms: Option<f64>,
    /// Prompt lengths; absent in an empty trace.
    pub prompt_tokens: Option<Range>,
    /// Output lengths; absent in an empty trace.
    pub output_tokens: Option<Range>,
    /// Requests per (app, objective, dataset), by name.
    pub groups: Vec<Group>,
}

/// Shortest, mean and longest of some lengths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// The shortest.
    pub min: u32,
    /// The mean.
    pub mean: f64,
    /// The longest.
    pub max: u32,
}

/// Requests of one app under one objective from one dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Name of the app.
    pub app: String,
    /// Bound of the time to first token, `40 %` or `250.5 ms`, or of the whole answer, by name:
    /// `end-to-end 40 %`.
    pub ttft: String,
    /// Bound of the time per output token, if there is one.
    pub tpot: String,
    /// Name of the dataset.
    pub dataset: String,
    /// How many.
    pub requests: usize,
}

impl Trace {
    /// What the trace holds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let requests = self.requests.len();
        let span_ms = match (self.requests.first(), self.requests.last()) {
            (Some(first), Some(last)) => Some(millis(last.arrival - first.arrival)),
            _ => None,
        };
        Summary {
            provenance: self.provenance.clone(),
            requests,
            span_ms,
            mean_gap_ms: span_ms.filter(|_| requests > 1).map(|span| span / (requests - 1) as f64),
            prompt_tokens: range(self.requests.iter().map(|request| request.prompt_tokens)),
            output_tokens: range(self.requests.iter().map(|request| request.output_tokens)),
            groups: self.groups(),
        }
    }

    fn groups(&self) -> Vec<Group> {
        let mut counts = BTreeMap::<_, usize>::new();
        for request in &self.requests {
            let (ttft, tpot) = bounds(request.slo);
            let key = (self.app(request.app), ttft, tpot, self.dataset(request.dataset));
            *counts.entry(key).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((app, ttft, tpot, dataset), requests)| Group {
                app: app.to_owned(),
                ttft,
                tpot,
                dataset: dataset.to_owned(),
                requests,
            })
            .collect()
    }
}

/// The two columns that show an objective.
pub(super) fn bounds(slo: Slo) -> (String, String) {
    match slo {
        Slo::Relative { ttft, tpot } => (ttft.to_string(), tpot.to_string()),
        Slo::Absolute { ttft, tpot } => {
            (format!("{} ms", millis(ttft)), format!("{} ms", millis(tpot)))
        }
        Slo::EndToEnd(limit) => of_all("end-to-end", limit, |time| format!("{} ms", millis(time))),
        Slo::Energy(limit) => {
            of_all("energy", limit, |drawn| format!("{} mJ", drawn.as_millijoules_f64()))
        }
    }
}

/// A bound on the whole answer stands in the first of the two columns.
fn of_all<T>(what: &str, limit: Limit<T>, show: impl Fn(T) -> String) -> (String, String) {
    let bound = match limit {
        Limit::Share(share) => share.to_string(),
        Limit::Absolute(quantity) => show(quantity),
    };
    (format!("{what} {bound}"), String::new())
}

fn range(lengths: impl Iterator<Item = u32> + Clone) -> Option<Range> {
    let (min, max) = (lengths.clone().min()?, lengths.clone().max()?);
    let (count, sum) =
        lengths.fold((0_u64, 0_u64), |(count, sum), length| (count + 1, sum + u64::from(length)));
    Some(Range { min, mean: sum as f64 / count as f64, max })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::{AppId, DatasetId, Request, Terms};
    use crate::units::{Ratio, SimTime};

    fn request(id: u64, arrival_ms: u64, app: u16, slo: Slo) -> Request {
        let arrival = SimTime::ZERO + Duration::from_millis(arrival_ms);
        let prompt_tokens = 100 + id as u32;
        let (app, dataset) = (AppId(app), DatasetId(0));
        Request {
            id,
            arrival,
            app,
            dataset,
            item: 0.into(),
            prompt_tokens,
            output_tokens: 16,
            slo,
            terms: Terms::default(),
        }
    }

    #[test]
    fn a_summary_counts_apps_objectives_and_lengths() {
        let tight = Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::percent(50) };
        let fixed = Slo::Absolute { ttft: Duration::from_micros(250_500), tpot: Duration::ZERO };
        let trace = Trace {
            apps: vec!["XiaoAi".to_owned(), "GMail".to_owned()],
            datasets: vec!["sciq".to_owned()],
            requests: vec![
                request(0, 10, 0, tight),
                request(1, 20, 1, fixed),
                request(2, 40, 0, tight),
            ],
            ..Trace::default()
        };
        let summary = trace.summary();
        assert_eq!((summary.span_ms, summary.mean_gap_ms), (Some(30.0), Some(15.0)));
        assert_eq!(summary.prompt_tokens, Some(Range { min: 100, mean: 101.0, max: 102 }));
        let lines: Vec<_> = summary
            .groups
            .iter()
            .map(|group| format!("{} {} {} {}", group.app, group.ttft, group.tpot, group.requests))
            .collect();
        assert_eq!(lines, ["GMail 250.5 ms 0 ms 1", "XiaoAi 20 % 50 % 2"]);
    }

    #[test]
    fn an_empty_trace_has_no_span_and_no_lengths() {
        let summary = Trace::default().summary();
        assert_eq!(summary.span_ms, None);
        assert_eq!(summary.prompt_tokens, None);
    }
}
