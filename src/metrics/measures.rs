//! Measures of one replication: one pass over its outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measure::{Measure, Over, PerMeasure};
use super::sample::Sample;
use super::service::ServiceSums;
use crate::outcome::{Miss, Outcome, Standing};
use crate::request::{Bounds, Request};
use crate::sim::{Entered, Ledger, Lost, Ran, Served};
use crate::units::{Grade, Level};

/// What one replication shows.
///
/// Every request that arrived counts, however late it is served, and if it is not.
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
    /// The same of each class, from the lowest, where a service has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassMeasures>,
}

/// What the requests of one class show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassMeasures {
    /// The class.
    pub priority: u8,
    /// Requests that arrived.
    pub requests: usize,
    /// Their measures, but for those that only a whole run has.
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

    /// The measures of requests that were `served`, and of those that were `lost`.
    #[must_use]
    pub fn with(served: &[Outcome], lost: &[Lost]) -> Self {
        let interrupted = |outcome: &Outcome| outcome.interruptions.times > 0;
        if lost.is_empty() && !served.iter().any(interrupted) {
            return Self::of(served);
        }
        let mut tally = Tally::of_service();
        for outcome in served {
            tally.record(outcome);
        }
        for lost in lost {
            tally.lose(lost);
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

/// [`RunMeasures`] in the making, for requests that stream by: what is kept of each is its grade
/// and, of the first [`EXACT_VALUES`](super::EXACT_VALUES), their times.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    requests: u64,
    pub(super) judged: u64,
    /// Sum of grades, in their units.
    right: u64,
    /// The same of those that met every bound.
    right_in_time: u64,
    pub(super) in_time: u64,
    pub(super) switches: u64,
    pub(super) fallbacks: Option<u64>,
    /// Requests by the bounds that they missed, and whether any states a bound of that kind.
    misses: [u64; 5],
    stated: [bool; 5],
    ttft_ns: Sample,
    tpot_ns: Sample,
    energy_nj: Sample,
    energy_nj_sum: u128,
    resident: Option<Level>,
    /// By id.
    answers: Vec<(u64, Option<Grade>)>,
    forgets_answers: bool,
    /// Requests that were refused or cancelled.
    lost: u64,
    pub(super) service: ServiceSums,
    /// By class, where a service may know several.
    classes: Option<BTreeMap<u8, Tally>>,
}

impl Tally {
    /// One that keeps nothing of a request: its measures tell nothing of single answers.
    #[must_use]
    pub fn of_measures_alone() -> Self {
        Self { forgets_answers: true, ..Self::default() }
    }

    /// One that also counts what a service does beside serving.
    #[must_use]
    pub fn of_service() -> Self {
        let service = ServiceSums::counted();
        Self { service, classes: Some(BTreeMap::new()), ..Self::default() }
    }

    /// The tally of the class of `request`, if classes are told apart.
    fn of_class(&mut self, request: &Request) -> Option<&mut Self> {
        let classes = self.classes.as_mut()?;
        let class = classes.entry(request.terms.priority);
        Some(class.or_insert_with(|| Self {
            service: ServiceSums::counted(),
            ..Self::of_measures_alone()
        }))
    }

    /// Counts a request in that was refused or cancelled: it meets nothing, and its answer is
    /// wrong.
    pub fn lose(&mut self, lost: &Lost) {
        self.requests += 1;
        self.lost += 1;
        self.service.lose(lost);
        if !self.forgets_answers {
            self.answers.push((lost.request.id, Some(Grade::WRONG)));
        }
        if let Some(class) = self.of_class(&lost.request) {
            class.lose(lost);
        }
    }

    /// Counts `outcome` in. Outcomes come in service order.
    pub fn record(&mut self, outcome: &Outcome) {
        if let Some(class) = self.of_class(&outcome.request) {
            class.record(outcome);
        }
        let standing = outcome.standing();
        let late = standing.longest_wait.is_none_or(|longest| outcome.queued() > longest);
        self.count(outcome, &standing, u64::from(!late), u64::from(late));
        let missed = if late { standing.late } else { standing.in_time };
        self.service.serve(outcome, missed.is_none());
        let grade = outcome.execution.correct;
        self.ttft_ns.add(outcome.ttft().as_nanos() as u64);
        if !self.forgets_answers {
            let worth = grade.map(|grade| if missed.is_none() { grade } else { Grade::WRONG });
            self.answers.push((outcome.request.id, worth));
        }
        let level = outcome.plan.resident_after(outcome.request.output_tokens);
        self.switches += u64::from(self.resident.is_some_and(|resident| resident != level));
        self.resident = Some(level);
    }

    /// Notes of a request that a ledger counts what it does not: request `id` was `served`.
    #[inline]
    pub fn served(&mut self, id: u64, served: &Served<'_, '_>) {
        self.ttft_ns.add(served.ttft_ns);
        if !self.forgets_answers {
            self.answers.push((id, served.worth()));
        }
    }

    /// The measures of a replay of which every request was [`served`](Self::served).
    #[must_use]
    pub fn finish_with(mut self, ledger: &Ledger<'_>, ran: Ran) -> RunMeasures {
        let mut fell_back = 0;
        for Entered { entry, in_time, late } in ledger.entered() {
            self.count(&entry.outcome, &entry.standing, in_time, late);
            fell_back += if entry.fell_back { in_time + late } else { 0 };
        }
        self.switches = ran.switches;
        self.finish(ledger.counts_fallbacks().then_some(fell_back as usize))
    }

    /// Counts requests that differ from `outcome` in how long they waited.
    fn count(&mut self, outcome: &Outcome, standing: &Standing, in_time: u64, late: u64) {
        let requests = in_time + late;
        self.requests += requests;
        let kinds: &[Miss] = match outcome.bounds {
            Bounds::Latency { .. } => &[Miss::Ttft, Miss::Tpot, Miss::Both],
            Bounds::EndToEnd(_) => &[Miss::EndToEnd],
            Bounds::Energy(_) => &[Miss::Energy],
        };
        for &kind in kinds {
            self.stated[kind as usize] = true;
        }
        for (missed, requests) in [(standing.in_time, in_time), (standing.late, late)] {
            let grade = outcome.execution.correct;
            let right = grade.map_or(0, |grade| u64::from(grade.ten_thousandths()) * requests);
            self.right += right;
            if let Some(kind) = missed {
                self.misses[kind as usize] += requests;
            } else {
                self.in_time += requests;
                self.right_in_time += right;
            }
        }
        self.judged += if outcome.execution.correct.is_some() { requests } else { 0 };
        if let Some(time) = outcome.tpot() {
            self.tpot_ns.add_many(time.as_nanos() as u64, requests);
        }
        if let Some(drawn) = outcome.energy() {
            self.energy_nj.add_many(drawn.as_nanojoules(), requests);
            self.energy_nj_sum += u128::from(drawn.as_nanojoules()) * u128::from(requests);
        }
    }

    /// The measures of everything recorded, and the count of fallbacks that the policy keeps.
    #[must_use]
    pub fn finish(mut self, fallbacks: Option<usize>) -> RunMeasures {
        self.fallbacks = fallbacks.map(|count| count as u64);
        for sample in [&mut self.ttft_ns, &mut self.tpot_ns, &mut self.energy_nj] {
            sample.finish();
        }
        self.answers.sort_unstable_by_key(|&(id, _)| id);
        let classes = self.classes.take().filter(|classes| classes.len() > 1);
        let of_class = |(priority, tally): (u8, Self)| {
            let RunMeasures { requests, values, .. } = tally.finish(None);
            let of_run = |measure: Measure| measure.definition().over == Over::Run;
            let values = PerMeasure::of(|measure| values[measure].filter(|_| !of_run(measure)));
            ClassMeasures { priority, requests, values }
        };
        RunMeasures {
            requests: self.requests as usize,
            values: PerMeasure::of(|measure| (measure.definition().of)(&self)),
            answers: self.answers.iter().map(|&(_, answer)| answer.map(f64::from)).collect(),
            classes: classes.into_iter().flatten().map(of_class).collect(),
        }
    }

    /// Those whose answers could be judged, and those that have none; 0 if no answer could be.
    pub(super) fn judged_or_lost(&self) -> u64 {
        let is_unjudged = self.judged == 0 && self.requests > self.lost;
        if is_unjudged { 0 } else { self.judged + self.lost }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Sum of grades.
    pub(super) fn right(&self) -> f64 {
        self.right as f64 / f64::from(Grade::RIGHT.ten_thousandths())
    }

    /// Sum of grades of those that met every bound.
    pub(super) fn right_in_time(&self) -> f64 {
        self.right_in_time as f64 / f64::from(Grade::RIGHT.ten_thousandths())
    }

    pub(super) fn ttft_ms(&self, share: f64) -> Option<f64> {
        self.ttft_ns.millionths(share)
    }

    pub(super) fn tpot_ms(&self, share: f64) -> Option<f64> {
        self.tpot_ns.millionths(share)
    }

    pub(super) fn energy_mj(&self, share: f64) -> Option<f64> {
        self.energy_nj.millionths(share)
    }

    pub(super) fn energy_mj_mean(&self) -> Option<f64> {
        let requests = self.energy_nj.len();
        (requests > 0).then(|| self.energy_nj_sum as f64 / 1e6 / requests as f64)
    }

    pub(super) fn missed(&self, kind: Miss) -> Option<f64> {
        self.stated[kind as usize]
            .then(|| self.misses[kind as usize] as f64 / self.requests() as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::{Execution, Interruptions};
    use crate::plan::Plan;
    use crate::request::{AppId, DatasetId, Slo, Terms};
    use crate::schedule::Reason;
    use crate::units::{Energy, Milliwatts, Ratio, SimTime};

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
                terms: Terms::default(),
            },
            bounds: Bounds::Latency { ttft, tpot },
            plan: Plan::new(Level::percent(level), Ratio::ONE),
            start: SimTime::ZERO + Duration::from_millis(queued_ms),
            execution: Execution {
                prefill: Duration::from_millis(100),
                decode: Duration::from_millis(10) * gaps,
                kept_tokens: 32,
                correct: correct.map(Grade::from),
                ..Execution::default()
            },
            interruptions: Interruptions::default(),
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

    fn lost(id: u64, app: u16, at_ms: u64, reason: Reason, worked_ms: u64) -> Lost {
        let Outcome { mut request, bounds, .. } = outcome(id, 0, 3, 100, None);
        request.app = AppId(app);
        let at = SimTime::ZERO + Duration::from_millis(at_ms);
        let worked = Duration::from_millis(worked_ms);
        Lost { request, bounds, at, reason, started: None, worked }
    }

    /// App 0 has two answers. The first is in time: 130 ms of work. The second was interrupted: 135
    /// ms of work, 5 of them again, and 45 ms for three tokens, which is too slow. App 1 has one
    /// request refused, and one, on which 40 ms were spent, cancelled at 610 ms.
    #[test]
    fn what_is_not_answered_meets_nothing_and_is_counted_apart() {
        let ms = Duration::from_millis;
        let mut interrupted = outcome(1, 0, 3, 100, Some(true));
        interrupted.interruptions = Interruptions { times: 1, paused: ms(10), again: ms(5) };
        let served = [outcome(0, 0, 3, 100, Some(true)), interrupted];
        let lost = [lost(2, 1, 9, Reason::Shed, 0), lost(3, 1, 610, Reason::TimedOut, 40)];
        let run = RunMeasures::with(&served, &lost);
        assert_eq!((run.requests, run.classes.len()), (4, 0));
        assert_eq!(run.answers, [Some(1.0), Some(0.0), Some(0.0), Some(0.0)]);
        let expected = [
            (Measure::Accuracy, 1.0),
            (Measure::AccuracyAtSlo, 0.25),
            (Measure::Attainment, 0.25),
            (Measure::MissedTpot, 0.25),
            (Measure::TpotP95, 15.0),
            (Measure::Refused, 0.25),
            (Measure::Cancelled, 0.25),
            (Measure::Preempted, 0.25),
            (Measure::Wasted, 45.0 / 305.0),
            (Measure::Fairness, 0.5),
            (Measure::Busy, 0.5),
            (Measure::Saturated, 0.0),
        ];
        for (measure, value) in expected {
            assert_eq!(run.values[measure], Some(value), "{measure}");
        }
        let in_turn = RunMeasures::with(&served[..1], &[]);
        assert_eq!(in_turn, RunMeasures::of(&served[..1]));
        assert!(in_turn.values.iter().all(|(of, value)| !of.is_of_service() || value.is_none()));
    }

    #[test]
    fn a_class_has_the_measures_of_its_requests_but_for_those_of_the_run() {
        let of_class = |priority: u8, mut outcome: Outcome| {
            outcome.request.terms.priority = priority;
            outcome
        };
        let mut tally = Tally::of_service();
        tally.record(&of_class(2, outcome(0, 0, 3, 100, Some(true))));
        tally.record(&of_class(0, outcome(1, 100, 3, 100, Some(true))));
        tally.lose(&lost(2, 0, 0, Reason::QueueFull, 0));
        let classes = tally.finish(None).classes;
        let row = |nth: usize, measure| classes[nth].values[measure];
        assert_eq!(
            [0, 1].map(|nth| (classes[nth].priority, classes[nth].requests)),
            [(0, 2), (2, 1)]
        );
        assert_eq!([0, 1].map(|nth| row(nth, Measure::Attainment)), [Some(0.0), Some(1.0)]);
        assert_eq!([0, 1].map(|nth| row(nth, Measure::Refused)), [Some(0.5), Some(0.0)]);
        assert_eq!([0, 1].map(|nth| row(nth, Measure::Busy)), [None; 2]);
    }

    /// Nobody knows whether the one answer is right, so the share of right ones is not 0 of 2.
    #[test]
    fn a_request_that_is_lost_does_not_make_a_judgement_of_unjudged_answers() {
        let refused = lost(1, 0, 0, Reason::AppRate, 0);
        let run = RunMeasures::with(&[outcome(0, 0, 3, 100, None)], &[refused]);
        assert_eq!(run.values[Measure::AccuracyAtSlo], None);
        let all_lost = RunMeasures::with(&[], &[refused]);
        assert_eq!(all_lost.values[Measure::AccuracyAtSlo], Some(0.0));
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
