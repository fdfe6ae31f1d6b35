//! Outcomes as CSV: one row per request that was answered, written as it is served.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{Decimal, RowFile, plain, plain_or_nothing};
use super::service_rows::ServiceCsv;
use crate::error::Result;
use crate::metrics::CellLabel;
use crate::outcome::{Interruptions, Outcome};
use crate::plan::Phases;
use crate::request::{Bounds, Limit, Slo};
use crate::sim::{Lost, OutcomeSink};
use crate::trace::Trace;
use crate::units::{Grade, Level, Milliwatts};

/// A line: its run, the request, its objective as stated (if in shares) and resolved, the plan, the
/// start, the phases, and what follows from them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row<'a> {
    /// Older files have only their names for these four.
    pub method: Option<Cow<'a, str>>,
    pub device: Option<Cow<'a, str>>,
    #[serde(serialize_with = "plain_or_nothing")]
    pub alpha: Option<f64>,
    pub seed: Option<u64>,
    pub id: u64,
    pub arrival_ms: Decimal,
    pub app: Cow<'a, str>,
    pub dataset: Cow<'a, str>,
    pub item: Cow<'a, str>,
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    #[serde(serialize_with = "plain_or_nothing")]
    pub ttft_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    pub tpot_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    pub e2e_ratio: Option<f64>,
    #[serde(serialize_with = "plain_or_nothing")]
    pub energy_ratio: Option<f64>,
    pub ttft_bound_ms: Option<Decimal>,
    pub tpot_bound_ms: Option<Decimal>,
    pub e2e_bound_ms: Option<Decimal>,
    pub energy_bound_mj: Option<Decimal>,
    pub level_percent: u16,
    #[serde(serialize_with = "plain")]
    pub prompt_ratio: f64,
    /// That of the answer, of a plan of two levels; a method without such plans has no such column.
    #[expect(clippy::option_option, reason = "no column is no empty cell")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_level_percent: Option<Option<u16>>,
    pub start_ms: Decimal,
    pub decide_ms: Decimal,
    pub compress_ms: Decimal,
    pub switch_ms: Decimal,
    pub prefill_ms: Decimal,
    pub decode_ms: Decimal,
    pub kept_tokens: u32,
    pub power_mw: Option<u32>,
    pub correct: Option<Grade>,
    /// This one and the next three follow from others and are not read.
    #[serde(skip_deserializing)]
    pub ttft_ms: Option<Decimal>,
    #[serde(skip_deserializing)]
    pub tpot_ms: Option<Decimal>,
    #[serde(skip_deserializing)]
    pub e2e_ms: Option<Decimal>,
    #[serde(skip_deserializing)]
    pub energy_mj: Option<Decimal>,
    pub slo_met: u8,
}

/// A sink that streams rows to a file, which has its name only once it is whole.
#[derive(Debug)]
pub struct OutcomeCsv<'a> {
    label: &'a CellLabel,
    seed: u64,
    trace: &'a Trace,
    phases: Phases,
    file: RowFile,
    beside: ServiceCsv,
}

impl<'a> OutcomeCsv<'a> {
    /// Starts the file `path` for outcomes of `trace` in the cell `label` under `seed`; rows reach
    /// the disk `rows_per_flush` at a time.
    ///
    /// # Errors
    /// If the file cannot be created or written.
    pub fn create(
        path: &Path,
        (label, seed): (&'a CellLabel, u64),
        trace: &'a Trace,
        rows_per_flush: u32,
    ) -> Result<Self> {
        let beside = ServiceCsv::beside(path, rows_per_flush);
        let file = RowFile::create(path, rows_per_flush)?;
        Ok(Self { label, seed, trace, phases: Phases::One, file, beside })
    }

    /// The same for a method whose plans have so many levels.
    #[must_use]
    pub fn of(self, phases: Phases) -> Self {
        Self { phases, ..self }
    }

    /// Gives the file its name, and the one beside it.
    ///
    /// # Errors
    /// If the last rows cannot be written.
    pub fn finish(self) -> Result<()> {
        self.beside.finish()?;
        self.file.finish()
    }

    fn row(&self, outcome: &Outcome) -> Row<'a> {
        let Outcome { request, bounds, plan, execution, .. } = outcome;
        let [ttft_ratio, tpot_ratio, e2e_ratio, energy_ratio] = shares(request.slo);
        let [ttft_bound_ms, tpot_bound_ms, e2e_bound_ms, energy_bound_mj] = resolved(*bounds);
        Row {
            method: Some(Cow::Borrowed(&self.label.method)),
            device: Some(Cow::Borrowed(&self.label.device)),
            alpha: Some(self.label.alpha),
            seed: Some(self.seed),
            id: request.id,
            arrival_ms: Decimal(request.arrival.as_nanos()),
            app: Cow::Borrowed(self.trace.app(request.app)),
            dataset: Cow::Borrowed(self.trace.dataset(request.dataset)),
            item: Cow::Owned(request.item.to_string()),
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            ttft_ratio,
            tpot_ratio,
            e2e_ratio,
            energy_ratio,
            ttft_bound_ms,
            tpot_bound_ms,
            e2e_bound_ms,
            energy_bound_mj,
            level_percent: plan.level.as_percent(),
            prompt_ratio: plan.prompt_ratio.as_f64(),
            answer_level_percent: (self.phases == Phases::Two)
                .then(|| plan.smaller_answer_level().map(Level::as_percent)),
            start_ms: Decimal(outcome.start.as_nanos()),
            decide_ms: execution.decide.into(),
            compress_ms: execution.compress.into(),
            switch_ms: execution.switch.into(),
            prefill_ms: execution.prefill.into(),
            decode_ms: execution.decode.into(),
            kept_tokens: execution.kept_tokens,
            power_mw: execution.power.map(Milliwatts::as_milliwatts),
            correct: execution.correct,
            ttft_ms: Some(outcome.ttft().into()),
            tpot_ms: outcome.tpot().map(Decimal::from),
            e2e_ms: Some(outcome.end_to_end().into()),
            energy_mj: outcome.energy().map(|energy| Decimal(energy.as_nanojoules())),
            slo_met: u8::from(outcome.slo_met()),
        }
    }
}

impl OutcomeSink for OutcomeCsv<'_> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        if outcome.interruptions != Interruptions::default() {
            self.beside.interrupted(self.trace, outcome)?;
        }
        let row = self.row(outcome);
        self.file.append(&row)
    }

    fn lose(&mut self, lost: &Lost) -> Result<()> {
        self.beside.lost(self.trace, lost)
    }
}

/// The four shares, absent but for those of an objective in shares.
pub(super) fn shares(slo: Slo) -> [Option<f64>; 4] {
    match slo {
        Slo::Relative { ttft, tpot } => [Some(ttft.as_f64()), Some(tpot.as_f64()), None, None],
        Slo::EndToEnd(Limit::Share(share)) => [None, None, Some(share.as_f64()), None],
        Slo::Energy(Limit::Share(share)) => [None, None, None, Some(share.as_f64())],
        Slo::Absolute { .. } | Slo::EndToEnd(_) | Slo::Energy(_) => [None; 4],
    }
}

/// The four bounds, absent but for those of the objective.
pub(super) fn resolved(bounds: Bounds) -> [Option<Decimal>; 4] {
    let time = |length: Duration| Some(Decimal::from(length));
    match bounds {
        Bounds::Latency { ttft, tpot } => [time(ttft), time(tpot), None, None],
        Bounds::EndToEnd(bound) => [None, None, time(bound), None],
        Bounds::Energy(bound) => [None, None, None, Some(Decimal(bound.as_nanojoules()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::request::{AppId, DatasetId, Request, Terms};
    use crate::units::{Ratio, SimTime};

    /// Arrival 10 ms, start 12.5 ms, until the first token 1 + 2 + 3 + 4 = 10 ms: TTFT 12.5 ms.
    /// Decode 9 ms over two gaps: TPOT 4.5 ms, 21.5 ms end to end. 19 ms at 2 W: 38 mJ.
    #[test]
    fn a_row_states_the_plan_the_phases_and_what_follows_from_them() {
        let trace = Trace {
            apps: vec!["XiaoAi".to_owned()],
            datasets: vec!["sciq".to_owned()],
            ..Trace::default()
        };
        let ms = Duration::from_millis;
        let outcome = Outcome {
            request: Request {
                id: 7,
                arrival: SimTime::ZERO + ms(10),
                app: AppId(0),
                dataset: DatasetId(0),
                item: 42.into(),
                prompt_tokens: 100,
                output_tokens: 3,
                slo: Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::percent(50) },
                terms: Terms::default(),
            },
            bounds: Bounds::Latency { ttft: ms(12), tpot: ms(5) },
            plan: Plan::new(Level::percent(30), Ratio::percent(40)),
            start: SimTime::ZERO + Duration::from_micros(12_500),
            execution: Execution {
                decide: ms(1),
                compress: ms(2),
                switch: ms(3),
                prefill: ms(4),
                decode: ms(9),
                kept_tokens: 40,
                correct: None,
                power: Some(Milliwatts::new(2000)),
            },
            interruptions: Interruptions::default(),
        };
        let label = CellLabel {
            method: "elastilm".to_owned(),
            alpha: -0.5,
            device: "phone".to_owned(),
            latency_of: "large".to_owned(),
            base_model: "small".to_owned(),
            provenance: String::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.csv");
        let mut sink = OutcomeCsv::create(&path, (&label, 5), &trace, 1).unwrap();
        sink.record(&outcome).unwrap();
        sink.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (header, row) = text.split_once('\n').unwrap();
        assert_eq!(
            row,
            "elastilm,phone,-0.5,5,7,10,XiaoAi,sciq,42,100,3,0.2,0.5,,,12,5,,,30,0.4,12.5,1,2,3,4,9,40,2000,,12.5,4.5,\
             21.5,38,0\n"
        );
        assert_eq!(header.split(',').count(), row.split(',').count());
    }
}
