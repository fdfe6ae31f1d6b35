//! Predicted beside measured: what the cost model says of every request that is really answered.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{Decimal, RowFile, plain};
use crate::error::Result;
use crate::executor::Executor;
use crate::metrics::quantile;
use crate::outcome::Execution;
use crate::plan::Plan;
use crate::request::Request;
use crate::units::Grade;

/// A line. TTFT here is unqueued: decide, compress, switch and prefill.
#[derive(Debug, Serialize)]
struct Row {
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

/// An executor that measures, and notes what another predicts for the same plan.
///
/// Both see the same requests in the same order, so both know the same resident level.
#[derive(Debug)]
pub struct Compared<'a> {
    measured: &'a mut dyn Executor,
    predicted: &'a mut dyn Executor,
    file: RowFile,
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
    /// Answers with `measured`, and writes what `predicted` says beside it to the file `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(
        measured: &'a mut dyn Executor,
        predicted: &'a mut dyn Executor,
        path: &Path,
    ) -> Result<Self> {
        let file = RowFile::create(path, 1)?;
        Ok(Self { measured, predicted, file, errors: PredictionErrors::default() })
    }

    /// Gives the file its name and returns the comparison.
    ///
    /// # Errors
    /// If the file cannot be renamed.
    pub fn finish(self) -> Result<PredictionErrors> {
        self.file.finish()?;
        Ok(self.errors)
    }
}

impl Executor for Compared<'_> {
    fn execute(&mut self, request: &Request, plan: &Plan) -> Result<Execution> {
        let predicted = self.predicted.execute(request, plan)?;
        let measured = self.measured.execute(request, plan)?;
        self.file.append(&Row::of(request, *plan, &predicted, &measured))?;
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

impl Row {
    fn of(request: &Request, plan: Plan, predicted: &Execution, measured: &Execution) -> Self {
        let gaps = request.output_tokens.saturating_sub(1);
        let ttft = |of: &Execution| Decimal::from(of.until_first_token());
        let tpot = |of: &Execution| of.decode.checked_div(gaps).map(Decimal::from);
        Self {
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
    use crate::request::{AppId, DatasetId, Slo};
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
        let path = folder.path().join("predictions.csv");
        let mut measured = Scripted::list([execution(11, 8, Some(true))]);
        let mut predicted = Scripted::list([execution(9, 10, None)]);
        let mut compared = Compared::create(&mut measured, &mut predicted, &path).unwrap();
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
        };
        let execution = compared.execute(&request, &Plan::FULL).unwrap();
        assert_eq!(execution.prefill, Duration::from_millis(11), "what is measured counts");
        let errors = compared.finish().unwrap();
        let answers = AnswerCount::default();
        assert_eq!(errors, PredictionErrors { ttft: vec![1.2], tpot: vec![0.8], answers });
        assert_eq!(errors.ttft().unwrap().requests, 1);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().nth(1), Some("3,100,1,100,80,80,10,12,5,4,,1"));
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
