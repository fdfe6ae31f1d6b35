//! The evidence for the engine's weight layout: what each way to share weights costs in time and
//! memory. One layout per process, because memory of one would blur that of the next.

use std::fmt::Write;
use std::path::Path;

use super::memory::Resident;
use crate::elastify::elastic_model::ElasticModel;
use crate::engine::generate::generate;
use crate::engine::{EngineOptions, WeightLayout};
use crate::error::{Error, Result};
use crate::units::{Level, millis};

const HEADER: &str = "layout,level,tokens,ttft_ms_min,ttft_ms_median,tpot_ms_min,tpot_ms_median,\
                      private_bytes_all_levels,file_bytes_all_levels\n";
const LENGTHS: [u32; 3] = [32, 128, 512];
const STEPS: usize = 9;

/// Times levels 20, 50 and 100 % under `layout` with every level open, and appends rows to `out`.
///
/// # Errors
/// If the model cannot be opened or `out` cannot be written.
pub fn measure(
    open: impl FnOnce(EngineOptions) -> Result<ElasticModel>,
    layout: WeightLayout,
    repetitions: u32,
    out: &Path,
) -> Result<()> {
    let mut model = open(EngineOptions { layout, ..EngineOptions::default() })?;
    let levels: Vec<Level> = model.engine.ladder().keys().copied().collect();
    let prompt: Vec<u32> = (0..LENGTHS[LENGTHS.len() - 1]).collect();
    for &level in &levels {
        generate(&mut model.engine, level, &prompt, 2, None)?;
    }
    let resident = Resident::now();
    let cell = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    let memory =
        format!("{},{}", cell(resident.map(|r| r.private)), cell(resident.map(|r| r.file)));
    let mut rows = if out.exists() { String::new() } else { HEADER.to_owned() };
    for level in [20, 50, 100].map(Level::percent) {
        for tokens in LENGTHS {
            let (mut prefills, mut steps) = (Vec::new(), Vec::new());
            for _ in 0..repetitions {
                let run =
                    generate(&mut model.engine, level, &prompt[..tokens as usize], STEPS, None)?;
                prefills.push(millis(run.prefill));
                steps.extend(run.steps.iter().copied().map(millis));
            }
            let name = layout.name();
            let [ttft, tpot] = [prefills, steps].map(min_and_median);
            let _ = writeln!(rows, "{name},{},{tokens},{ttft},{tpot},{memory}", level.as_percent());
        }
    }
    append(out, &rows)
}

fn min_and_median(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:.2},{:.2}", times[0], times[times.len() / 2])
}

fn append(out: &Path, rows: &str) -> Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(out)
        .and_then(|mut file| file.write_all(rows.as_bytes()))
        .map_err(|error| Error::io(out, "cannot append", error))
}
