//! Measures of one replication: one pass over its outcomes.

use serde::{Deserialize, Serialize};

use super::statistics::quantile;
use crate::outcome::Outcome;
use crate::units::{Level, millis};

/// What one replication shows. Shares are in [0, 1], times in ms.
///
/// Every request that arrived counts: the simulator serves them all, however late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMeasures {
    /// Requests that arrived.
    pub requests: usize,
    /// Share answered correctly, of those whose answer could be judged.
    pub accuracy: Option<f64>,
    /// Share answered correctly with every bound met, of those whose answer could be judged.
    pub accuracy_at_slo: Option<f64>,
    /// Share that met every bound, of those that arrived.
    pub attainment: Option<f64>,
    /// Median time to first token.
    pub ttft_ms_p50: Option<f64>,
    /// 95th percentile of the time to first token.
    pub ttft_ms_p95: Option<f64>,
    /// Median time per output token, of requests with two output tokens or more.
    pub tpot_ms_p50: Option<f64>,
    /// How often the level changed from one request to the next.
    pub switches: usize,
    /// Whether each request was answered correctly with every bound met, in order of their ids;
    /// `None` where the answer could not be judged. In files a text: `1`, `0`, `-` for `None`.
    #[serde(with = "letters")]
    pub answers: Vec<Option<bool>>,
    /// Decisions that a run-time check put aside; absent for a policy without one.
    pub fallbacks: Option<usize>,
}

impl RunMeasures {
    /// The measures of `outcomes`, given in service order.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Tally::default();
        for outcome in outcomes {
            tally.record(outcome);
        }
        tally.finish()
    }
}

/// Answers as a text of one letter each.
mod letters {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(answers: &[Option<bool>], to: S) -> Result<S::Ok, S::Error> {
        let letter =
            |answer: &Option<bool>| answer.map_or('-', |right| if right { '1' } else { '0' });
        to.serialize_str(&answers.iter().map(letter).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Option<bool>>, D::Error> {
        let answer = |letter| match letter {
            '1' => Ok(Some(true)),
            '0' => Ok(Some(false)),
            '-' => Ok(None),
            _ => Err(D::Error::custom("an answer is 1, 0 or -")),
        };
        String::deserialize(from)?.chars().map(answer).collect()
    }
}

/// [`RunMeasures`] in the making, for outcomes that stream by: 32 bytes a request are kept, and
/// one in the end.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    judged: usize,
    correct: usize,
    correct_in_time: usize,
    in_time: usize,
    ttft_ms: Vec<f64>,
    tpot_ms: Vec<f64>,
    resident: Option<Level>,
    switches: usize,
    answers: Vec<(u64, Option<bool>)>,
}

impl Tally {
    /// Counts `outcome` in. Outcomes come in service order.
    pub fn record(&mut self, outcome: &Outcome) {
        let in_time = outcome.slo_met();
        self.in_time += usize::from(in_time);
        if let Some(correct) = outcome.execution.correct {
            self.judged += 1;
            self.correct += usize::from(correct);
            self.correct_in_time += usize::from(correct && in_time);
        }
        let answer = outcome.execution.correct.map(|correct| correct && in_time);
        self.answers.push((outcome.request.id, answer));
        self.ttft_ms.push(millis(outcome.ttft()));
        self.tpot_ms.extend(outcome.tpot().map(millis));
        let level = outcome.plan.level;
        self.switches += usize::from(self.resident.is_some_and(|resident| resident != level));
        self.resident = Some(level);
    }

    /// The measures of everything recorded.
    #[must_use]
    pub fn finish(mut self) -> RunMeasures {
        let requests = self.ttft_ms.len();
        self.answers.sort_unstable_by_key(|&(id, _)| id);
        RunMeasures {
            requests,
            accuracy: share(self.correct, self.judged),
            accuracy_at_slo: share(self.correct_in_time, self.judged),
            attainment: share(self.in_time, requests),
            ttft_ms_p50: quantile(&mut self.ttft_ms, 0.50),
            ttft_ms_p95: quantile(&mut self.ttft_ms, 0.95),
            tpot_ms_p50: quantile(&mut self.tpot_ms, 0.50),
            switches: self.switches,
            answers: self.answers.into_iter().map(|(_, answer)| answer).collect(),
            fallbacks: None,
        }
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::request::{AppId, Bounds, DatasetId, Request, Slo};
    use crate::units::{Ratio, SimTime};

    /// Request `id`, which arrives at 0, starts after `queued_ms`, prefills for 100 ms and decodes
    /// `gaps` tokens at 10 ms each, under bounds of 150 ms and 10 ms.
    fn outcome(id: u64, queued_ms: u64, gaps: u32, level: u16, correct: Option<bool>) -> Outcome {
        let (ttft, tpot) = (Duration::from_millis(150), Duration::from_millis(10));
        Outcome {
            request: Request {
                id,
                arrival: SimTime::ZERO,
                app: AppId(0),
                dataset: DatasetId(0),
                item: 0,
                prompt_tokens: 32,
                output_tokens: gaps + 1,
                slo: Slo::Absolute { ttft, tpot },
            },
            bounds: Bounds::Latency { ttft, tpot },
            plan: Plan { level: Level::percent(level), prompt_ratio: Ratio::ONE },
            start: SimTime::ZERO + Duration::from_millis(queued_ms),
            execution: Execution {
                prefill: Duration::from_millis(100),
                decode: Duration::from_millis(10) * gaps,
                kept_tokens: 32,
                correct,
                ..Execution::default()
            },
        }
    }

    /// TTFTs: 100, 130, 200, 100 ms. The third is late. Levels 100, 50, 50, 100: two switches.
    /// Judged: three, two of them right, one of these in time.
    #[test]
    fn four_requests_by_hand() {
        let measures = RunMeasures::of(&[
            outcome(2, 0, 3, 100, Some(true)),
            outcome(0, 30, 3, 50, Some(false)),
            outcome(1, 100, 3, 50, Some(true)),
            outcome(3, 0, 0, 100, None),
        ]);
        assert_eq!(measures.requests, 4);
        assert_eq!(measures.accuracy, Some(2.0 / 3.0));
        assert_eq!(measures.accuracy_at_slo, Some(1.0 / 3.0));
        assert_eq!(measures.attainment, Some(0.75));
        assert_eq!(measures.ttft_ms_p50, Some(115.0));
        assert_eq!(measures.ttft_ms_p95, Some(200.0));
        assert_eq!(measures.tpot_ms_p50, Some(10.0));
        assert_eq!(measures.switches, 2);
        assert_eq!(measures.answers, [Some(false), Some(false), Some(true), None]);
    }

    #[test]
    fn what_no_request_defines_is_absent_and_not_zero() {
        assert_eq!(RunMeasures::of(&[]), RunMeasures::default());
        let one_token = RunMeasures::of(&[outcome(0, 0, 0, 100, None)]);
        assert_eq!(one_token.tpot_ms_p50, None);
        assert_eq!(one_token.accuracy, None);
        assert_eq!(one_token.attainment, Some(1.0));
    }
}
