//! Outcomes as CSV: one row per request, written as it is served.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::files::GrowingFile;
use crate::outcome::Outcome;
use crate::sim::OutcomeSink;
use crate::trace::Trace;
use crate::units::decimal_millis;

/// Columns: the request, its bounds, the plan, the start, the phases, and what follows from them.
const COLUMNS: &str = "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_bound_ms,\
    tpot_bound_ms,level_percent,prompt_ratio,start_ms,decide_ms,compress_ms,switch_ms,prefill_ms,\
    decode_ms,kept_tokens,correct,ttft_ms,tpot_ms,slo_met\n";

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
        trace.app(request.app),
        trace.dataset(request.dataset),
        request.item,
        request.prompt_tokens,
        request.output_tokens,
        exact_ms(bounds.ttft),
        exact_ms(bounds.tpot),
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
        "{},{},{},{},{}",
        execution.kept_tokens,
        execution.correct.map_or("", |correct| if correct { "1" } else { "0" }),
        exact_ms(outcome.ttft()),
        outcome.tpot().map_or(String::new(), exact_ms),
        u8::from(outcome.slo_met()),
    )
}

/// Lengths of a replay fit 584 years, as its instants do.
pub(super) fn exact_ms(length: Duration) -> String {
    decimal_millis(length.as_nanos() as u64)
}
