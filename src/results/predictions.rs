//! Predicted beside measured: what the cost model says of every request that is really answered.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{Decimal, plain};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::files;
use crate::metrics::{CellLabel, quantile, read_rows};
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::request::Request;
use crate::units::Grade;

/// The file's name in a results folder.
pub(super) const PREDICTIONS_FILE: &str = "predictions.csv";

/// A line. TTFT here is unqueued: decide, compress, switch and prefill.
#[derive(Debug, Serialize)]
struct Row<'a> {
    method: &'a str,
    device: &'a str,
    #[serde(serialize_with = "plain")]
    alpha: f64,
    seed: u64,
    id: u64,
    level_percent: u16,
    #[serde(serialize_with = "plain")]
    prompt_ratio: f64,
    prompt_tokens: u32,
    kept_tokens_predicted: u32,
    kept_tokens_measured: u32,
    ttft_ms_predicted: Decimal,
    ttft_ms_measured: Decimal,
    tpot_ms_predicted: Option<Decimal>,
    tpot_ms_measured: Option<Decimal>,
    correct_predicted: Option<Grade>,
    correct_measured: Option<Grade>,
}

/// A line as it is read back: a request, its plan, and what was foretold and measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prediction {
    /// Name of the method.
    pub method: String,
    /// Name of the device.
    pub device: String,
    /// Skew of the trace.
    pub alpha: f64,
    /// Seed of the run.
    pub seed: u64,
    /// The request's number in its trace.
    pub id: u64,
    /// Level that answered, percent.
    pub level_percent: u16,
    /// Share of the prompt that was read.
    pub prompt_ratio: f64,
    /// Tokens that were read.
    #[serde(rename = "kept_tokens_measured")]
    pub kept_tokens: u32,
    /// Unqueued TTFT, ms, as foretold.
    pub ttft_ms_predicted: f64,
    /// As measured.
    pub ttft_ms_measured: f64,
    /// TPOT, ms, as foretold; absent for a single token.
    pub tpot_ms_predicted: Option<f64>,
    /// As measured.
    pub tpot_ms_measured: Option<f64>,
    /// How right the answer is by the quality table.
    pub correct_predicted: Option<f64>,
    /// How right the answer was.
    pub correct_measured: Option<f64>,
}

/// The predictions that the run in the results folder `folder` was compared with.
///
/// # Errors
/// If there are none, or the file is broken.
pub fn read_predictions(folder: &Path) -> Result<Vec<Prediction>> {
    let file = folder.join(PREDICTIONS_FILE);
    if !file.exists() {
        return Err(Error::file(&file, "is not there")
            .allowed("the results of a run with --executor engine"));
    }
    read_rows(&file)
}

/// An executor that measures, and notes what another predicts for the same plan.
///
/// Both see the same requests in the same order, so both know the same resident level.
#[derive(Debug)]
pub struct Compared<'a> {
    measured: &'a mut dyn Executor,
    predicted: &'a mut dyn Executor,
    of: (&'a CellLabel, u64),
    rows: csv::Writer<Vec<u8>>,
    errors: PredictionErrors,
}

/// Measured / predicted times of every request, where 1 is a perfect prediction, and how many
/// answers were those foretold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionErrors {
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    answers: AnswerCount,
}

/// Answers that were both foretold and given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerCount {
    /// Requests compared.
    pub requests: usize,
    /// Those right where the quality table says right, wrong where it says wrong, and after a
    /// prompt of the length that it had there.
    pub alike: usize,
}

/// Quantiles of measured / predicted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatioSummary {
    /// Requests compared.
    pub requests: usize,
    /// 5th percentile.
    pub p5: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
}

impl<'a> Compared<'a> {
    /// Answers with `measured`, and notes what `predicted` says, in the run `of` a cell and seed.
    pub fn new(
        measured: &'a mut dyn Executor,
        predicted: &'a mut dyn Executor,
        of: (&'a CellLabel, u64),
    ) -> Self {
        let rows = csv::Writer::from_writer(Vec::new());
        Self { measured, predicted, of, rows, errors: PredictionErrors::default() }
    }

    /// The comparison, and its rows as CSV with their header.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "memory can be written, rows are text")]
    pub fn finish(self) -> (PredictionErrors, String) {
        let rows = self.rows.into_inner().expect("memory can be flushed");
        (self.errors, String::from_utf8(rows).expect("rows are text"))
    }
}

/// Writes the rows of all runs to one file in the results folder `folder`; each of `runs` has a
/// header of its own, which stands once.
pub(crate) fn write_predictions_csv(folder: &Path, runs: &[String]) -> Result<()> {
    let header = |run: &str| run.find('\n').map_or(run.len(), |end| end + 1);
    let mut text = String::new();
    for run in runs {
        text.push_str(if text.is_empty() { run } else { &run[header(run)..] });
    }
    files::write_whole(&folder.join(PREDICTIONS_FILE), text.as_bytes())
}

impl Executor for Compared<'_> {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let predicted = self.predicted.execute(request, plan)?;
        let measured = self.measured.execute(request, plan)?;
        let row = Row::of(self.of, request, *plan, &predicted, &measured);
        self.rows.serialize(row).expect("memory can be written");
        self.errors.note(request.output_tokens, &predicted, &measured);
        Ok(measured)
    }
}

impl PredictionErrors {
    fn note(&mut self, output_tokens: u32, predicted: &Execution, measured: &Execution) {
        let ttft = [predicted, measured].map(Execution::until_first_token);
        self.ttft.extend(ratio(ttft));
        if output_tokens > 1 {
            self.tpot.extend(ratio([predicted.decode, measured.decode]));
        }
        if let (Some(foretold), Some(given)) = (predicted.correct, measured.correct) {
            self.answers.requests += 1;
            let alike = foretold == given && predicted.kept_tokens == measured.kept_tokens;
            self.answers.alike += usize::from(alike);
        }
    }

    /// Adds the comparisons of another run.
    pub fn extend(&mut self, other: Self) {
        self.ttft.extend(other.ttft);
        self.tpot.extend(other.tpot);
        self.answers.requests += other.answers.requests;
        self.answers.alike += other.answers.alike;
    }

    /// How many answers were those of the quality table.
    #[must_use]
    pub fn answers(&self) -> AnswerCount {
        self.answers
    }

    /// Measured / predicted unqueued TTFT; `None` without requests.
    #[must_use]
    pub fn ttft(&self) -> Option<RatioSummary> {
        summary(&self.ttft)
    }

    /// Measured / predicted TPOT; `None` without requests of two output tokens or more.
    #[must_use]
    pub fn tpot(&self) -> Option<RatioSummary> {
        summary(&self.tpot)
    }
}

fn ratio([predicted, measured]: [Duration; 2]) -> Option<f64> {
    (!predicted.is_zero()).then(|| measured.as_secs_f64() / predicted.as_secs_f64())
}

fn summary(ratios: &[f64]) -> Option<RatioSummary> {
    let mut sorted = ratios.to_vec();
    let [p5, p50, p95] = [0.05, 0.5, 0.95].map(|share| quantile(&mut sorted, share));
    Some(RatioSummary { requests: ratios.len(), p5: p5?, p50: p50?, p95: p95? })
}

impl<'a> Row<'a> {
    fn of(
        (label, seed): (&'a CellLabel, u64),
        request: &Request,
        plan: Plan,
        predicted: &Execution,
        measured: &Execution,
    ) -> Self {
        let gaps = request.output_tokens.saturating_sub(1);
        let ttft = |of: &Execution| Decimal::from(of.until_first_token());
        let tpot = |of: &Execution| of.decode.checked_div(gaps).map(Decimal::from);
        Self {
            method: &label.method,
            device: &label.device,
            alpha: label.alpha,
            seed,
            id: request.id,
            level_percent: plan.level.as_percent(),
            prompt_ratio: plan.prompt_ratio.as_f64(),
            prompt_tokens: request.prompt_tokens,
            kept_tokens_predicted: predicted.kept_tokens,
            kept_tokens_measured: measured.kept_tokens,
            ttft_ms_predicted: ttft(predicted),
            ttft_ms_measured: ttft(measured),
            tpot_ms_predicted: tpot(predicted),
            tpot_ms_measured: tpot(measured),
            correct_predicted: predicted.correct,
            correct_measured: measured.correct,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::scripted::Scripted;
    use crate::request::{AppId, DatasetId, Slo, Terms};
    use crate::units::SimTime;

    fn execution(prefill_ms: u64, decode_ms: u64, correct: Option<bool>) -> Execution {
        Execution {
            decide: Duration::from_millis(1),
            prefill: Duration::from_millis(prefill_ms),
            decode: Duration::from_millis(decode_ms),
            kept_tokens: 80,
            correct: correct.map(Grade::from),
            ..Execution::default()
        }
    }

    /// Predicted 1 + 9 = 10 ms, measured 1 + 11 = 12 ms: 1.2. Two gaps: 5 and 4 ms: 0.8.
    #[test]
    fn each_request_has_its_prediction_beside_its_measurement() {
        let folder = tempfile::tempdir().unwrap();
        let label = CellLabel {
            method: "pfs".into(),
            alpha: 0.25,
            device: "phone".into(),
            latency_of: "large".into(),
            base_model: "small".into(),
            provenance: String::new(),
        };
        let mut measured = Scripted::list([execution(11, 8, Some(true))]);
        let mut predicted = Scripted::list([execution(9, 10, None)]);
        let mut compared = Compared::new(&mut measured, &mut predicted, (&label, 7));
        let bound = Duration::from_secs(1);
        let request = Request {
            id: 3,
            arrival: SimTime::ZERO,
            app: AppId(0),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 100,
            output_tokens: 3,
            slo: Slo::Absolute { ttft: bound, tpot: bound },
            terms: Terms::default(),
        };
        let execution = compared.execute(&request, &Plan::FULL).unwrap();
        assert_eq!(execution.prefill, Duration::from_millis(11), "what is measured counts");
        let (errors, rows) = compared.finish();
        let answers = AnswerCount::default();
        assert_eq!(errors, PredictionErrors { ttft: vec![1.2], tpot: vec![0.8], answers });
        assert_eq!(errors.ttft().unwrap().requests, 1);
        let row = "pfs,phone,0.25,7,3,100,1,100,80,80,10,12,5,4,,1";
        assert_eq!(rows.lines().nth(1), Some(row));
        write_predictions_csv(folder.path(), &[rows.clone(), rows]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("method,device,alpha,seed,id,level_percent,"), "{text}");
        assert_eq!(lines[1..], [row, row]);
    }

    #[test]
    fn an_answer_is_as_foretold_if_judgement_and_prompt_length_are() {
        let mut errors = PredictionErrors::default();
        let right = execution(1, 1, Some(true));
        let after_more = Execution { kept_tokens: 81, ..right };
        for measured in [right, execution(2, 2, Some(false)), after_more, execution(1, 1, None)] {
            errors.note(3, &right, &measured);
        }
        assert_eq!(errors.answers(), AnswerCount { requests: 3, alike: 1 });
        let twice = errors.clone();
        errors.extend(twice);
        assert_eq!(errors.answers(), AnswerCount { requests: 6, alike: 2 });
    }
}
