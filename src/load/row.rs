//! A request as it was played: the row of the results file.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Streamed;
use crate::error::{Error, Result};
use crate::files;
use crate::input::Input;
use crate::request::Request;
use crate::trace::Trace;
use crate::units::millis;

/// A request that was sent, and what came of it. Times are in milliseconds; what is not known is
/// empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Played {
    /// Its number in the trace.
    pub id: u64,
    /// Who asked.
    pub app: String,
    /// The dataset and the item that were asked.
    pub dataset: String,
    /// The item.
    pub item: String,
    /// When it was sent, since the play began.
    pub sent_ms: f64,
    /// `finished`, or why there is no answer.
    pub state: String,
    /// The bound on the first token, as the server understood the objective.
    pub ttft_bound_ms: Option<f64>,
    /// The bound on each token after it.
    pub tpot_bound_ms: Option<f64>,
    /// The bound on the last token.
    pub e2e_bound_ms: Option<f64>,
    /// The level that answered, in percent.
    pub level: Option<u16>,
    /// The share of the prompt that was asked for.
    pub prompt_ratio: Option<f64>,
    /// Tokens of the whole prompt.
    pub prompt_tokens: Option<u32>,
    /// Tokens that were read of it.
    pub prompt_tokens_read: Option<u32>,
    /// Of these, those that a KV cache had.
    pub cached_tokens: Option<u32>,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// The wait for the server's one engine.
    pub queue_ms: Option<f64>,
    /// What the server predicted, the wait included.
    pub predicted_ttft_ms: Option<f64>,
    /// What the server predicted.
    pub predicted_tpot_ms: Option<f64>,
    /// What the client measured.
    pub ttft_ms: Option<f64>,
    /// What the client measured.
    pub tpot_ms: Option<f64>,
    /// What the server measured.
    pub server_ttft_ms: Option<f64>,
    /// What the server measured.
    pub server_tpot_ms: Option<f64>,
    /// Whether the bounds were met by the client's times.
    pub met: bool,
    /// Whether they were by the server's.
    pub server_met: Option<bool>,
    /// Whether the service, with the plan of this answer, found the right option likeliest; asked
    /// afterwards.
    pub served_right: Option<bool>,
    /// How right the answer is that was measured of the plan and the item beforehand, 0 to 1.
    pub stored_right: Option<f64>,
}

impl Played {
    /// What came of `request` of `trace`, which was sent so long after the play began.
    pub(super) fn of(trace: &Trace, request: &Request, sent: Duration, came: &Streamed) -> Self {
        let report = Report(&came.report);
        let rounded = |length: Option<Duration>| length.map(rounded_ms);
        let (ttft, tpot) = (rounded(came.ttft()), rounded(came.tpot()));
        let whole = came.last.map(|_| ());
        let mut row = Self {
            id: request.id,
            app: trace.app(request.app).to_owned(),
            dataset: trace.dataset(request.dataset).to_owned(),
            item: request.item.to_string(),
            sent_ms: rounded_ms(sent),
            state: match (&came.refused, whole) {
                (Some(code), _) => code.clone(),
                (None, Some(())) => FINISHED.to_owned(),
                (None, None) => "broken-off".to_owned(),
            },
            ttft_bound_ms: report.number("bounds", "ttft_ms"),
            tpot_bound_ms: report.number("bounds", "tpot_ms"),
            e2e_bound_ms: report.number("bounds", "e2e_ms"),
            level: report.number("plan", "level").map(|level| level as u16),
            prompt_ratio: report.number("plan", "prompt_ratio"),
            prompt_tokens: report.number("prompt_tokens", "before").map(|n| n as u32),
            prompt_tokens_read: report.number("prompt_tokens", "after").map(|n| n as u32),
            cached_tokens: report.number("prompt_tokens", "cached").map(|n| n as u32),
            output_tokens: came.tokens,
            queue_ms: came.report.get("queue_wait_ms").and_then(Value::as_f64),
            predicted_ttft_ms: report.number("predicted", "ttft_ms"),
            predicted_tpot_ms: report.number("predicted", "tpot_ms"),
            ttft_ms: ttft,
            tpot_ms: tpot,
            server_ttft_ms: report.number("measured", "ttft_ms"),
            server_tpot_ms: report.number("measured", "tpot_ms"),
            server_met: came.report.get("met").and_then(Value::as_bool),
            ..Self::default()
        };
        row.met = row.is_met(rounded(came.whole()));
        row
    }

    /// Whether it was answered.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == FINISHED
    }

    fn is_met(&self, whole_ms: Option<f64>) -> bool {
        let within = |time: Option<f64>, bound: Option<f64>| match (time, bound) {
            (Some(time), Some(bound)) => time <= bound,
            _ => true,
        };
        self.is_finished()
            && within(self.ttft_ms, self.ttft_bound_ms)
            && within(self.tpot_ms, self.tpot_bound_ms)
            && within(whole_ms, self.e2e_bound_ms)
    }
}

const FINISHED: &str = "finished";

/// To a microsecond, as the server rounds.
fn rounded_ms(length: Duration) -> f64 {
    (millis(length) * 1000.0).round() / 1000.0
}

/// The `pliant` object of an answer.
struct Report<'a>(&'a Map<String, Value>);

impl Report<'_> {
    fn number(&self, group: &str, key: &str) -> Option<f64> {
        self.0.get(group)?.get(key)?.as_f64()
    }
}

/// Writes rows as CSV.
///
/// # Errors
/// If the file cannot be written.
///
/// # Panics
/// Never: memory takes any row.
pub fn write_played(path: &Path, rows: &[Played]) -> Result<()> {
    let mut file = csv::Writer::from_writer(Vec::new());
    for row in rows {
        file.serialize(row).expect("memory takes any row");
    }
    files::write_whole(path, &file.into_inner().expect("memory takes any row"))
}

/// Reads what [`write_played`] wrote.
///
/// # Errors
/// If the file cannot be read, or has other columns.
pub fn read_played(path: &Path) -> Result<Vec<Played>> {
    let input = Input::read(path)?;
    let mut rows = csv::Reader::from_reader(input.text().as_bytes());
    let rows = rows.deserialize().collect::<csv::Result<_>>();
    rows.map_err(|cause| Error::file(path, "not a file of played requests").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SimTime;
    use serde_json::json;

    fn at(millis: u64) -> SimTime {
        SimTime::ZERO + Duration::from_millis(millis)
    }

    fn came(report: Value) -> Streamed {
        let Value::Object(report) = report else { panic!("an object") };
        let (first, last) = (Some(at(250)), Some(at(330)));
        Streamed { sent: at(0), first, last, tokens: 3, report, refused: None }
    }

    fn row(ttft: u64, tpot: u64) -> Played {
        let bounds = json!({ "ttft_ms": ttft, "tpot_ms": tpot, "e2e_ms": null });
        let trace =
            Trace { apps: vec!["Mail".into()], datasets: vec!["sciq".into()], ..Trace::default() };
        let request = crate::request::Request {
            id: 7,
            arrival: SimTime::ZERO,
            app: crate::request::AppId(0),
            dataset: crate::request::DatasetId(0),
            item: 3.into(),
            prompt_tokens: 40,
            output_tokens: 3,
            slo: crate::request::Slo::EndToEnd(crate::request::Limit::Absolute(Duration::MAX)),
            terms: crate::request::Terms::default(),
        };
        let plan = json!({ "level": 60, "prompt_ratio": 0.4 });
        let report = json!({ "plan": plan, "bounds": bounds, "queue_wait_ms": 1.5, "met": true });
        Played::of(&trace, &request, Duration::from_millis(9), &came(report))
    }

    /// 250 ms to the first of three tokens, 40 for each after it.
    #[test]
    fn bounds_are_met_by_the_clients_own_times() {
        assert!(row(250, 40).met);
        assert!(!row(249, 40).met && !row(250, 39).met);
        assert_eq!(row(249, 40).server_met, Some(true));
        assert_eq!((row(1, 1).level, row(1, 1).prompt_ratio), (Some(60), Some(0.4)));
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("played.csv");
        let refused = Played { state: "queue-full".into(), ..Played::default() };
        let rows = [row(300, 50), refused];
        write_played(&path, &rows).unwrap();
        assert_eq!(read_played(&path).unwrap(), rows);
        assert!(!rows[1].is_finished() && rows[0].is_finished());
        std::fs::write(&path, "id,other\n1,2\n").unwrap();
        let error = read_played(&path).unwrap_err().to_string();
        assert!(error.contains("played.csv: not a file of played requests"), "{error}");
    }
}
