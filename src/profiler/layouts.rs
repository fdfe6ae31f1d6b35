//! The evidence for the engine's weight layout: what each way to share weights costs in time and
//! memory. One layout per process, because memory of one would blur that of the next.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::memory::Resident;
use crate::engine::generate::generate;
use crate::engine::{EngineOptions, WeightLayout};
use crate::error::{Error, Result};
use crate::model::ElasticModel;
use crate::units::{Level, millis};

const HEADER: &str = "layout,level,tokens,ttft_ms_min,ttft_ms_median,tpot_ms_min,tpot_ms_median,\
                      private_bytes_all_levels,file_bytes_all_levels\n";
const LENGTHS: [u32; 3] = [32, 128, 512];
const STEPS: usize = 9;

/// A row of the table of layouts; further columns are not compared.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    layout: String,
    level: u16,
    tokens: u32,
    ttft_ms_min: f64,
    tpot_ms_min: f64,
    private_bytes_all_levels: Option<u64>,
}

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

/// The rows of `path`.
///
/// # Errors
/// If the file cannot be read or is no table of layouts.
pub fn rows(path: &Path) -> Result<Vec<Row>> {
    let refused = |error: csv::Error| Error::file(path, "not a table of layouts").caused_by(error);
    let mut reader = csv::Reader::from_path(path).map_err(refused)?;
    reader.deserialize().collect::<Result<_, _>>().map_err(refused)
}

/// The rows of `path` as ratios of the shortest times to layout `plain` of the same level and
/// length, in Markdown; memory in megabytes. Layouts follow each other as in the file.
///
/// # Errors
/// If the file cannot be read, is no table of layouts, or lacks `plain`.
pub fn comparison(path: &Path) -> Result<String> {
    let rows = rows(path)?;
    let mut text = "| layout | level |".to_owned();
    for tokens in LENGTHS {
        let _ = write!(text, " TTFT {tokens} |");
    }
    let _ = write!(text, " TPOT at {} | private memory |\n|{}", LENGTHS[0], " --- |".repeat(7));
    for first in rows.iter().filter(|row| row.tokens == LENGTHS[0]) {
        let _ = write!(text, "\n| {} | {} % |", first.layout, first.level);
        for tokens in LENGTHS {
            let row = find(path, &rows, &first.layout, first.level, tokens)?;
            let plain = find(path, &rows, WeightLayout::Plain.name(), first.level, tokens)?;
            let _ = write!(text, " {:.2} |", row.ttft_ms_min / plain.ttft_ms_min);
        }
        let plain = find(path, &rows, WeightLayout::Plain.name(), first.level, LENGTHS[0])?;
        let memory = first.private_bytes_all_levels;
        let memory = memory.map_or_else(String::new, |bytes| format!("{} MB ", bytes / 1_000_000));
        let _ = write!(text, " {:.2} | {memory}|", first.tpot_ms_min / plain.tpot_ms_min);
    }
    Ok(text)
}

fn find<'a>(
    path: &Path,
    rows: &'a [Row],
    layout: &str,
    level: u16,
    tokens: u32,
) -> Result<&'a Row> {
    let wanted = |row: &&Row| row.layout == layout && row.level == level && row.tokens == tokens;
    rows.iter().find(wanted).ok_or_else(|| {
        Error::file(path, "a layout is missing: measure it too")
            .allowed(format!("{layout} at level {level} % and {tokens} tokens"))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&str]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{HEADER}{}\n", rows.join("\n"))).unwrap();
        file
    }

    #[test]
    fn shortest_times_are_divided_by_those_of_sessions_that_share_nothing() {
        let file = table(&[
            "plain,50,32,10,99,4,99,3000000,1",
            "plain,50,128,20,99,4,99,3000000,1",
            "plain,50,512,40,99,4,99,3000000,1",
            "chunked,50,32,15,1,5,1,2000000,1",
            "chunked,50,128,20,1,9,1,2000000,1",
            "chunked,50,512,30,1,9,1,2000000,1",
        ]);
        let text = comparison(file.path()).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| plain | 50 % | 1.00 | 1.00 | 1.00 | 1.00 | 3 MB |");
        assert_eq!(lines[1], "| chunked | 50 % | 1.50 | 1.00 | 0.75 | 1.25 | 2 MB |");
    }

    #[test]
    fn without_the_yardstick_nothing_is_compared() {
        let file = table(&["chunked,50,32,15,1,5,1,2000000,1"]);
        let message = comparison(file.path()).unwrap_err().to_string();
        assert!(message.ends_with("allowed: plain at level 50 % and 32 tokens"), "{message}");
    }
}
