//! Measures of one replication: one pass over its outcomes.

use serde::{Deserialize, Serialize};

use super::measure::PerMeasure;
use super::statistics::interpolated;
use crate::outcome::{Miss, Outcome};
use crate::request::Bounds;
use crate::units::{Energy, Level};

/// What one replication shows.
///
/// Every request that arrived counts: the simulator serves them all, however late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMeasures {
    /// Requests that arrived.
    pub requests: usize,
    /// The grade of each answer in [0, 1], 0 where a bound was missed, in order of the requests'
    /// ids; `None` where the answer could not be judged. In files a text: `1`, `0`, `-` for `None`,
    /// other grades in brackets.
    #[serde(with = "letters")]
    pub answers: Vec<Option<f64>>,
    /// Its measures.
    pub values: PerMeasure<Option<f64>>,
}

impl RunMeasures {
    /// The measures of `outcomes`, given in service order.
    #[must_use]
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut tally = Tally::default();
        for outcome in outcomes {
            tally.record(outcome);
        }
        tally.finish(None)
    }
}

/// Grades as a text.
mod letters {
    use std::fmt::Write as _;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(answers: &[Option<f64>], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(answers.len());
        for answer in answers {
            match answer {
                None => text.push('-'),
                Some(0.0) => text.push('0'),
                Some(1.0) => text.push('1'),
                Some(grade) => write!(text, "({grade})").expect("a string can always grow"),
            }
        }
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Option<f64>>, D::Error> {
        let wrong = || D::Error::custom("an answer is 1, 0, - or a grade in brackets");
        let text = String::deserialize(from)?;
        let (mut answers, mut rest) = (Vec::with_capacity(text.len()), text.as_str());
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            answers.push(match letter {
                '1' => Some(1.0),
                '0' => Some(0.0),
                '-' => None,
                '(' => {
                    let (grade, after) = rest.split_once(')').ok_or_else(wrong)?;
                    rest = after;
                    Some(grade.parse().map_err(|_| wrong())?)
                }
                _ => return Err(wrong()),
            });
        }
        Ok(answers)
    }
}

/// [`RunMeasures`] in the making, for outcomes that stream by: some 50 bytes a request are kept.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub(super) judged: usize,
    /// Sum of grades.
    pub(super) right: f64,
    /// Sum of grades of those that met every bound.
    pub(super) right_in_time: f64,
    pub(super) in_time: usize,
    pub(super) switches: usize,
    pub(super) fallbacks: Option<usize>,
    /// Requests by the bounds that they missed, and whether any states a bound of that kind.
    misses: [usize; 5],
    stated: [bool; 5],
    ttft_ns: Vec<u64>,
    tpot_ns: Vec<u64>,
    energy_nj: Vec<u64>,
    resident: Option<Level>,
    answers: Vec<(u64, Option<f64>)>,
}

impl Tally {
    /// Counts `outcome` in. Outcomes come in service order.
    pub fn record(&mut self, outcome: &Outcome) {
        let in_time = self.record_bounds(outcome);
        let grade = outcome.execution.correct.map(f64::from);
        let in_time_grade = grade.map(|grade| if in_time { grade } else { 0.0 });
        if let Some((grade, in_time_grade)) = grade.zip(in_time_grade) {
            self.judged += 1;
            self.right += grade;
            self.right_in_time += in_time_grade;
        }
        self.answers.push((outcome.request.id, in_time_grade));
        self.ttft_ns.push(outcome.ttft().as_nanos() as u64);
        self.tpot_ns.extend(outcome.tpot().map(|time| time.as_nanos() as u64));
        self.energy_nj.extend(outcome.execution.energy().map(Energy::as_nanojoules));
        let level = outcome.plan.level;
        self.switches += usize::from(self.resident.is_some_and(|resident| resident != level));
        self.resident = Some(level);
    }

    /// Counts which bounds `outcome` missed; whether it met all of them.
    fn record_bounds(&mut self, outcome: &Outcome) -> bool {
        let kinds: &[Miss] = match outcome.bounds {
            Bounds::Latency { .. } => &[Miss::Ttft, Miss::Tpot, Miss::Both],
            Bounds::EndToEnd(_) => &[Miss::EndToEnd],
            Bounds::Energy(_) => &[Miss::Energy],
        };
        for &kind in kinds {
            self.stated[kind as usize] = true;
        }
        let missed = outcome.missed();
        if let Some(kind) = missed {
            self.misses[kind as usize] += 1;
        }
        self.in_time += usize::from(missed.is_none());
        missed.is_none()
    }

    /// The measures of everything recorded, and the count of fallbacks that the policy keeps.
    #[must_use]
    pub fn finish(mut self, fallbacks: Option<usize>) -> RunMeasures {
        self.fallbacks = fallbacks;
        for sample in [&mut self.ttft_ns, &mut self.tpot_ns, &mut self.energy_nj] {
            sample.sort_unstable();
        }
        self.answers.sort_unstable_by_key(|&(id, _)| id);
        RunMeasures {
            requests: self.requests(),
            values: PerMeasure::of(|measure| (measure.definition().of)(&self)),
            answers: self.answers.iter().map(|&(_, answer)| answer).collect(),
        }
    }

    pub(super) fn requests(&self) -> usize {
        self.ttft_ns.len()
    }

    pub(super) fn ttft_ms(&self, share: f64) -> Option<f64> {
        millionths(&self.ttft_ns, share)
    }

    pub(super) fn tpot_ms(&self, share: f64) -> Option<f64> {
        millionths(&self.tpot_ns, share)
    }

    pub(super) fn energy_mj(&self, share: f64) -> Option<f64> {
        millionths(&self.energy_nj, share)
    }

    pub(super) fn energy_mj_mean(&self) -> Option<f64> {
        let sum: u128 = self.energy_nj.iter().map(|&drawn| u128::from(drawn)).sum();
        let count = self.energy_nj.len() as f64;
        (!self.energy_nj.is_empty()).then(|| sum as f64 / 1e6 / count)
    }

    pub(super) fn missed(&self, kind: Miss) -> Option<f64> {
        self.stated[kind as usize]
            .then(|| self.misses[kind as usize] as f64 / self.requests() as f64)
    }
}

/// A quantile of `sorted` values, in ms of ns, or mJ of nJ.
fn millionths(sorted: &[u64], share: f64) -> Option<f64> {
    interpolated(sorted.len(), share, |place| sorted[place] as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Measure;
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::request::{AppId, DatasetId, Request, Slo};
    use crate::units::{Energy, Grade, Milliwatts, Ratio, SimTime};

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
                item: 0.into(),
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
                correct: correct.map(Grade::from),
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
        let expected = PerMeasure::from([
            (Measure::Accuracy, 2.0 / 3.0),
            (Measure::AccuracyAtSlo, 1.0 / 3.0),
            (Measure::Attainment, 0.75),
            (Measure::TtftP50, 115.0),
            (Measure::TtftP95, 200.0),
            (Measure::TtftP99, 200.0),
            (Measure::TpotP50, 10.0),
            (Measure::TpotP95, 10.0),
            (Measure::TpotP99, 10.0),
            (Measure::MissedTtft, 0.25),
            (Measure::MissedTpot, 0.0),
            (Measure::MissedBoth, 0.0),
            (Measure::Switches, 2.0),
        ]);
        assert_eq!(measures.values, expected);
        assert_eq!(measures.answers, [Some(0.0), Some(0.0), Some(1.0), None]);
    }

    /// Five requests, each missing another bound: late; slow, at 11 ms a token; both; an end-to-end
    /// time of 130 ms over 129; and 260 mJ of 130 ms at 2 W over 259.
    #[test]
    fn a_miss_is_counted_by_the_bounds_that_were_missed() {
        let slow = |mut outcome: Outcome| {
            outcome.execution.decode = Duration::from_millis(33);
            outcome
        };
        let bounded = |bounds| Outcome { bounds, ..outcome(0, 0, 3, 100, None) };
        let mut drawing = bounded(Bounds::Energy(Energy::from_nanojoules(259_000_000)));
        drawing.execution.power = Some(Milliwatts::new(2000));
        let outcomes = [
            outcome(0, 100, 3, 100, None),
            slow(outcome(0, 0, 3, 100, None)),
            slow(outcome(0, 100, 3, 100, None)),
            bounded(Bounds::EndToEnd(Duration::from_millis(129))),
            drawing,
        ];
        let values = RunMeasures::of(&outcomes).values;
        let missed = [
            Measure::MissedTtft,
            Measure::MissedTpot,
            Measure::MissedBoth,
            Measure::MissedE2e,
            Measure::MissedEnergy,
        ];
        assert_eq!(missed.map(|measure| values[measure]), [Some(0.2); 5]);
        assert_eq!(values[Measure::Attainment], Some(0.0));
        assert_eq!([Measure::Energy, Measure::EnergyP95].map(|m| values[m]), [Some(260.0); 2]);
        let met = RunMeasures::of(&[outcome(0, 0, 3, 100, None)]).values;
        assert_eq!(
            [Measure::MissedTtft, Measure::MissedE2e, Measure::Energy].map(|m| met[m]),
            [Some(0.0), None, None]
        );
    }

    #[test]
    fn what_no_request_defines_is_absent_and_not_zero() {
        let nothing = RunMeasures::of(&[]);
        assert_eq!(nothing.values, PerMeasure::from([(Measure::Switches, 0.0)]));
        let one_token = RunMeasures::of(&[outcome(0, 0, 0, 100, None)]).values;
        assert_eq!(one_token[Measure::TpotP50], None);
        assert_eq!(one_token[Measure::Accuracy], None);
        assert_eq!(one_token[Measure::Attainment], Some(1.0));
    }

    #[test]
    fn answers_are_a_text_that_comes_back() {
        let answers = vec![Some(1.0), None, Some(0.25), Some(0.0)];
        let run = RunMeasures { requests: 4, answers, ..RunMeasures::default() };
        let text = serde_json::to_string(&run).unwrap();
        assert!(text.contains(r#""answers":"1-(0.25)0""#), "{text}");
        assert_eq!(serde_json::from_str::<RunMeasures>(&text).unwrap(), run);
        for bad in ["2", "(0.5", "(half)"] {
            let text = text.replace("1-(0.25)0", bad);
            assert!(serde_json::from_str::<RunMeasures>(&text).is_err(), "{bad}");
        }
    }
}
