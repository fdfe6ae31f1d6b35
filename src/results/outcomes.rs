//! Outcomes as CSV: one row per request, written as it is served.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::files::GrowingFile;
use crate::outcome::Outcome;
use crate::request::{Bounds, Limit, Slo};
use crate::sim::OutcomeSink;
use crate::trace::{Trace, quoted};
use crate::units::{Energy, decimal_millis};

/// Columns: the request, its objective as stated (if in shares) and resolved, the plan, the start,
/// the phases, and what follows from them.
const COLUMNS: &str = "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_ratio,\
    tpot_ratio,e2e_ratio,energy_ratio,ttft_bound_ms,tpot_bound_ms,e2e_bound_ms,energy_bound_mj,level_percent,prompt_ratio,\
    start_ms,decide_ms,compress_ms,switch_ms,prefill_ms,decode_ms,kept_tokens,power_mw,correct,ttft_ms,\
    tpot_ms,e2e_ms,energy_mj,slo_met\n";

/// A sink that streams rows to a file, which has its name only once it is whole.
#[derive(Debug)]
pub struct OutcomeCsv<'a> {
    trace: &'a Trace,
    file: GrowingFile,
    row: String,
}

impl<'a> OutcomeCsv<'a> {
    /// Starts the file `path` for outcomes of `trace`; rows reach the disk `rows_per_flush` at a
    /// time.
    ///
    /// # Errors
    /// If the file cannot be created or written.
    pub fn create(path: &Path, trace: &'a Trace, rows_per_flush: u32) -> Result<Self> {
        let mut file = GrowingFile::create(path, rows_per_flush)?;
        file.append(COLUMNS)?;
        Ok(Self { trace, file, row: String::new() })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the last rows cannot be written.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }
}

impl OutcomeSink for OutcomeCsv<'_> {
    fn record(&mut self, outcome: &Outcome) -> Result<()> {
        self.row.clear();
        write_row(&mut self.row, self.trace, outcome).expect("a string can always grow");
        self.file.append(&self.row)
    }
}

fn write_row(row: &mut String, trace: &Trace, outcome: &Outcome) -> std::fmt::Result {
    let Outcome { request, bounds, plan, execution, .. } = outcome;
    write!(
        row,
        "{},{},{},{},{},{},{},{},{},{},{},{},",
        request.id,
        decimal_millis(request.arrival.as_nanos()),
        quoted(trace.app(request.app)),
        quoted(trace.dataset(request.dataset)),
        request.item,
        request.prompt_tokens,
        request.output_tokens,
        shares(request.slo),
        resolved(*bounds),
        plan.level.as_percent(),
        plan.prompt_ratio.as_f64(),
        decimal_millis(outcome.start.as_nanos()),
    )?;
    let phases = [
        execution.decide,
        execution.compress,
        execution.switch,
        execution.prefill,
        execution.decode,
    ];
    for phase in phases {
        write!(row, "{},", exact_ms(phase))?;
    }
    writeln!(
        row,
        "{},{},{},{},{},{},{},{}",
        execution.kept_tokens,
        execution.power.map_or(String::new(), |power| power.as_milliwatts().to_string()),
        execution.correct.map_or(String::new(), |grade| grade.to_string()),
        exact_ms(outcome.ttft()),
        outcome.tpot().map_or(String::new(), exact_ms),
        exact_ms(outcome.end_to_end()),
        execution.energy().map_or(String::new(), exact_mj),
        u8::from(outcome.slo_met()),
    )
}

/// The cells of the four shares, empty but for those of an objective in shares.
fn shares(slo: Slo) -> String {
    match slo {
        Slo::Relative { ttft, tpot } => format!("{},{},,", ttft.as_f64(), tpot.as_f64()),
        Slo::EndToEnd(Limit::Share(share)) => format!(",,{},", share.as_f64()),
        Slo::Energy(Limit::Share(share)) => format!(",,,{}", share.as_f64()),
        Slo::Absolute { .. } | Slo::EndToEnd(_) | Slo::Energy(_) => ",,,".to_owned(),
    }
}

/// The cells of the four bounds, empty but for those of the objective.
fn resolved(bounds: Bounds) -> String {
    match bounds {
        Bounds::Latency { ttft, tpot } => format!("{},{},,", exact_ms(ttft), exact_ms(tpot)),
        Bounds::EndToEnd(bound) => format!(",,{},", exact_ms(bound)),
        Bounds::Energy(bound) => format!(",,,{}", exact_mj(bound)),
    }
}

fn exact_mj(energy: Energy) -> String {
    decimal_millis(energy.as_nanojoules())
}

/// Lengths of a replay fit 584 years, as its instants do.
pub(super) fn exact_ms(length: Duration) -> String {
    decimal_millis(length.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Execution;
    use crate::plan::Plan;
    use crate::request::{AppId, DatasetId, Request};
    use crate::units::{Level, Milliwatts, Ratio, SimTime};

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
            },
            bounds: Bounds::Latency { ttft: ms(12), tpot: ms(5) },
            plan: Plan { level: Level::percent(30), prompt_ratio: Ratio::percent(40) },
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
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.csv");
        let mut sink = OutcomeCsv::create(&path, &trace, 1).unwrap();
        sink.record(&outcome).unwrap();
        sink.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (header, row) = text.split_once('\n').unwrap();
        assert_eq!(
            row,
            "7,10,XiaoAi,sciq,42,100,3,0.2,0.5,,,12,5,,,30,0.4,12.5,1,2,3,4,9,40,2000,,12.5,4.5,\
             21.5,38,0\n"
        );
        assert_eq!(header.split(',').count(), row.split(',').count());
    }
}
