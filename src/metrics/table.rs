//! `metrics.csv`, `seeds.csv` and `paired.csv`: one typed row per line, checked when read.

use std::ops::RangeInclusive;
use std::path::Path;

use csv::StringRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::{MetricsRow, PairedRow};
use super::search_rows::{PeakRow, SweepRow, SweepTable};
use super::seed_row::SeedRow;
use crate::error::{Error, Result};
use crate::files::write_whole;

const METRICS_COLUMNS: &[&str] = &[
    "method",
    "alpha",
    "device",
    "latency_of",
    "base_model",
    "accuracy",
    "accuracy_lo",
    "accuracy_hi",
    "accuracy_at_slo",
    "accuracy_at_slo_lo",
    "accuracy_at_slo_hi",
    "attainment",
    "attainment_lo",
    "attainment_hi",
    "ttft_ms_p50",
    "ttft_ms_p50_lo",
    "ttft_ms_p50_hi",
    "ttft_ms_p95",
    "ttft_ms_p95_lo",
    "ttft_ms_p95_hi",
    "tpot_ms_p50",
    "tpot_ms_p50_lo",
    "tpot_ms_p50_hi",
    "switches",
    "switches_lo",
    "switches_hi",
    "fallbacks",
    "fallbacks_lo",
    "fallbacks_hi",
    "provenance",
    "replications",
    "requests",
];

const SEED_COLUMNS: &[&str] = &[
    "method",
    "alpha",
    "device",
    "latency_of",
    "base_model",
    "seed",
    "accuracy",
    "accuracy_at_slo",
    "attainment",
    "ttft_ms_p50",
    "ttft_ms_p95",
    "tpot_ms_p50",
    "switches",
    "requests",
];

const PAIRED_COLUMNS: &[&str] = &[
    "method",
    "against",
    "alpha",
    "device",
    "latency_of",
    "base_model",
    "gain",
    "gain_lo",
    "gain_hi",
    "items",
    "gain_items_lo",
    "gain_items_hi",
    "effect_dz",
    "wins",
    "replications",
    "requests",
    "only_method",
    "only_against",
    "mcnemar_p",
    "mcnemar_p_holm",
    "provenance",
];

const PEAK_COLUMNS: &[&str] = &[
    "method",
    "alpha",
    "device",
    "latency_of",
    "base_model",
    "attainment",
    "peak_per_hour",
    "peak_per_hour_lo",
    "peak_per_hour_hi",
    "reach",
    "again_per_hour",
    "from_per_hour",
    "to_per_hour",
    "attainment_at_from",
    "attainment_at_to",
    "provenance",
    "replications",
    "requests",
];

const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const DIFFERENCE: RangeInclusive<f64> = -1.0..=1.0;
const COUNT_OR_TIME: RangeInclusive<f64> = 0.0..=f64::MAX;
const ANY: RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_metrics_csv(path: &Path, rows: &[MetricsRow]) -> Result<()> {
    write_rows(path, METRICS_COLUMNS, rows)
}

/// Reads what [`write_metrics_csv`] wrote.
///
/// # Errors
/// If the file cannot be read, its columns differ, or a value is not a number in its range.
pub fn read_metrics_csv(path: &Path) -> Result<Vec<MetricsRow>> {
    read_checked(path, METRICS_COLUMNS, bounded_metrics)
}

fn bounded_metrics(row: &MetricsRow) -> Vec<Bounded> {
    vec![
        ("alpha", Some(row.alpha), ANY),
        ("accuracy", row.accuracy, SHARE),
        ("accuracy_lo", row.accuracy_lo, SHARE),
        ("accuracy_hi", row.accuracy_hi, SHARE),
        ("accuracy_at_slo", row.accuracy_at_slo, SHARE),
        ("accuracy_at_slo_lo", row.accuracy_at_slo_lo, SHARE),
        ("accuracy_at_slo_hi", row.accuracy_at_slo_hi, SHARE),
        ("attainment", row.attainment, SHARE),
        ("attainment_lo", row.attainment_lo, SHARE),
        ("attainment_hi", row.attainment_hi, SHARE),
        ("ttft_ms_p50", row.ttft_ms_p50, COUNT_OR_TIME),
        ("ttft_ms_p50_lo", row.ttft_ms_p50_lo, COUNT_OR_TIME),
        ("ttft_ms_p50_hi", row.ttft_ms_p50_hi, COUNT_OR_TIME),
        ("ttft_ms_p95", row.ttft_ms_p95, COUNT_OR_TIME),
        ("ttft_ms_p95_lo", row.ttft_ms_p95_lo, COUNT_OR_TIME),
        ("ttft_ms_p95_hi", row.ttft_ms_p95_hi, COUNT_OR_TIME),
        ("tpot_ms_p50", row.tpot_ms_p50, COUNT_OR_TIME),
        ("tpot_ms_p50_lo", row.tpot_ms_p50_lo, COUNT_OR_TIME),
        ("tpot_ms_p50_hi", row.tpot_ms_p50_hi, COUNT_OR_TIME),
        ("switches", row.switches, COUNT_OR_TIME),
        ("switches_lo", row.switches_lo, COUNT_OR_TIME),
        ("switches_hi", row.switches_hi, COUNT_OR_TIME),
        ("fallbacks", row.fallbacks, COUNT_OR_TIME),
        ("fallbacks_lo", row.fallbacks_lo, COUNT_OR_TIME),
        ("fallbacks_hi", row.fallbacks_hi, COUNT_OR_TIME),
    ]
}

/// Writes `sweep.csv` to `path`: columns named after `keys`, then those of `metrics.csv`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_sweep_csv(path: &Path, keys: &[&str], rows: &[SweepRow]) -> Result<()> {
    let columns = [keys, METRICS_COLUMNS].concat();
    let cells: Vec<_> = rows.iter().map(|SweepRow { settings, row }| (settings, row)).collect();
    write_rows(path, &columns, &cells)
}

/// Reads what [`write_sweep_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_sweep_csv(path: &Path) -> Result<SweepTable> {
    let mut keys: Vec<String> = Vec::new();
    let lines = read_lines_after::<MetricsRow>(path, |header| {
        let is_key = |name: &&str| !METRICS_COLUMNS.contains(name);
        keys = header.iter().take_while(is_key).map(str::to_owned).collect();
        let columns = keys.iter().map(String::as_str).chain(METRICS_COLUMNS.iter().copied());
        check_header(path, header, &columns.collect::<Vec<_>>()).map(|()| keys.len())
    })?;
    let number = |line: u64, (key, cell): (&String, &String)| {
        let number = cell.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| {
            let place = format!("line {line}, column \"{key}\"");
            Error::file(path, "bad value").at(place).found(cell).allowed("a number")
        })
    };
    let mut rows = Vec::new();
    for (line, cells, row) in lines {
        check_row(path, line, bounded_metrics(&row))?;
        let settings = keys.iter().zip(&cells).map(|pair| number(line, pair));
        rows.push(SweepRow { settings: settings.collect::<Result<_>>()?, row });
    }
    Ok(SweepTable { keys, rows })
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_peak_csv(path: &Path, rows: &[PeakRow]) -> Result<()> {
    write_rows(path, PEAK_COLUMNS, rows)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_seeds_csv(path: &Path, rows: &[SeedRow]) -> Result<()> {
    write_rows(path, SEED_COLUMNS, rows)
}

/// Reads what [`write_seeds_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_seeds_csv(path: &Path) -> Result<Vec<SeedRow>> {
    read_checked(path, SEED_COLUMNS, |row: &SeedRow| {
        vec![
            ("alpha", Some(row.alpha), ANY),
            ("accuracy", row.accuracy, SHARE),
            ("accuracy_at_slo", row.accuracy_at_slo, SHARE),
            ("attainment", row.attainment, SHARE),
            ("ttft_ms_p50", row.ttft_ms_p50, COUNT_OR_TIME),
            ("ttft_ms_p95", row.ttft_ms_p95, COUNT_OR_TIME),
            ("tpot_ms_p50", row.tpot_ms_p50, COUNT_OR_TIME),
        ]
    })
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_paired_csv(path: &Path, rows: &[PairedRow]) -> Result<()> {
    write_rows(path, PAIRED_COLUMNS, rows)
}

/// Reads what [`write_paired_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_paired_csv(path: &Path) -> Result<Vec<PairedRow>> {
    read_checked(path, PAIRED_COLUMNS, |row: &PairedRow| {
        vec![
            ("alpha", Some(row.alpha), ANY),
            ("gain", row.gain, DIFFERENCE),
            ("gain_lo", row.gain_lo, DIFFERENCE),
            ("gain_hi", row.gain_hi, DIFFERENCE),
            ("gain_items_lo", row.gain_items_lo, DIFFERENCE),
            ("gain_items_hi", row.gain_items_hi, DIFFERENCE),
            ("effect_dz", row.effect_dz, ANY),
            ("mcnemar_p", row.mcnemar_p, SHARE),
            ("mcnemar_p_holm", row.mcnemar_p_holm, SHARE),
        ]
    })
}

fn write_rows<T: Serialize>(path: &Path, columns: &[&str], rows: &[T]) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(columns).expect("memory takes every record");
    for row in rows {
        writer.serialize(row).expect("memory takes every row");
    }
    write_whole(path, &writer.into_inner().expect("memory is flushed"))
}

/// Reads rows whose fields all have a column of their own in the file `path`.
///
/// # Errors
/// If the file cannot be read, lacks a column, or has a cell of another type.
pub(crate) fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(read_lines(path, |_| Ok(()))?.into_iter().map(|(_, row)| row).collect())
}

/// A value of a row that has a range: column, value, range.
type Bounded = (&'static str, Option<f64>, RangeInclusive<f64>);

fn read_checked<T: DeserializeOwned>(
    path: &Path,
    columns: &[&str],
    bounded: impl Fn(&T) -> Vec<Bounded>,
) -> Result<Vec<T>> {
    let rows = read_lines::<T>(path, |header| check_header(path, header, columns))?;
    for (line, row) in &rows {
        check_row(path, *line, bounded(row))?;
    }
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn check_header(path: &Path, header: &StringRecord, columns: &[&str]) -> Result<()> {
    if header.iter().eq(columns.iter().copied()) {
        return Ok(());
    }
    Err(Error::file(path, "wrong columns")
        .at("line 1")
        .found(header.iter().collect::<Vec<_>>().join(","))
        .allowed(columns.join(",")))
}

fn check_row(path: &Path, line: u64, bounded: Vec<Bounded>) -> Result<()> {
    bounded
        .into_iter()
        .try_for_each(|(column, value, range)| check(path, line, column, value, &range))
}

/// The rows of the CSV file `path`, each with its line, once its header is found good.
pub(crate) fn read_lines<T: DeserializeOwned>(
    path: &Path,
    check_header: impl FnOnce(&StringRecord) -> Result<()>,
) -> Result<Vec<(u64, T)>> {
    let rows = read_lines_after(path, |header| check_header(header).map(|()| 0))?;
    Ok(rows.into_iter().map(|(line, _, row)| (line, row)).collect())
}

/// The same for rows that come after some columns, as many as `leading` counts, whose cells are
/// texts.
fn read_lines_after<T: DeserializeOwned>(
    path: &Path,
    leading: impl FnOnce(&StringRecord) -> Result<usize>,
) -> Result<Vec<(u64, Vec<String>, T)>> {
    let text = std::fs::read(path).map_err(|source| Error::io(path, "cannot read", source))?;
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header = reader.headers().map_err(|error| csv_error(path, &error))?.clone();
    let leading = leading(&header)?;
    let own = |record: &StringRecord| {
        let mut rest: StringRecord = record.iter().skip(leading).collect();
        rest.set_position(record.position().cloned());
        rest
    };
    let header = own(&header);
    let mut rows = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(|error| csv_error(path, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = record.iter().take(leading).map(str::to_owned).collect();
        let record = own(&record);
        let row = record
            .deserialize(Some(&header))
            .map_err(|error| cell_error(path, &header, &record, &error))?;
        rows.push((line, cells, row));
    }
    Ok(rows)
}

fn check(
    path: &Path,
    line: u64,
    column: &str,
    value: Option<f64>,
    range: &RangeInclusive<f64>,
) -> Result<()> {
    match value {
        Some(value) if !range.contains(&value) => Err(Error::file(path, "out of range")
            .at(format!("line {line}, column \"{column}\""))
            .found(value)
            .allowed(match range {
                range if *range == SHARE => "a number from 0 to 1, or nothing",
                range if *range == DIFFERENCE => "a number from -1 to 1, or nothing",
                range if *range == ANY => "a finite number",
                _ => "a finite number of at least 0, or nothing",
            })),
        _ => Ok(()),
    }
}

/// The error of a line that is no record, in our own words where the reader knows them.
fn csv_error(path: &Path, error: &csv::Error) -> Error {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            Error::file(path, "wrong number of cells")
                .at(format!("line {line}"))
                .found(len)
                .allowed(expected_len)
        }
        _ => Error::file(path, error.to_string()),
    }
}

/// The error of a cell that does not have its column's type.
fn cell_error(
    path: &Path,
    header: &csv::StringRecord,
    record: &csv::StringRecord,
    error: &csv::Error,
) -> Error {
    let line = record.position().map_or(0, csv::Position::line);
    if let csv::ErrorKind::Deserialize { err, .. } = error.kind()
        && let Some(place) = err.field().map(|field| field as usize)
        && let (Some(column), Some(cell)) = (header.get(place), record.get(place))
    {
        return Error::file(path, err.kind().to_string())
            .at(format!("line {line}, column \"{column}\""))
            .found(format!("\"{cell}\""));
    }
    Error::file(path, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CellLabel, RunMeasures};

    fn label() -> CellLabel {
        CellLabel {
            method: "elastic-profile".to_owned(),
            alpha: -0.25,
            device: "phone, old".to_owned(),
            latency_of: "large".to_owned(),
            base_model: "small".to_owned(),
            provenance: "latency modelled, answers measured".to_owned(),
        }
    }

    fn runs() -> [RunMeasures; 2] {
        [0.1, 0.3].map(|accuracy| RunMeasures {
            requests: 600,
            accuracy_at_slo: Some(accuracy),
            attainment: Some(1.0),
            switches: 7,
            answers: vec![Some(accuracy > 0.2), Some(true), None],
            ..RunMeasures::default()
        })
    }

    fn row() -> MetricsRow {
        MetricsRow::of(&label(), &runs())
    }

    fn read_text(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        let message = read_metrics_csv(&path).unwrap_err().to_string();
        message.replace(&format!("{}/", folder.path().display()), "")
    }

    /// The file's text with its last line's cell of `column` replaced.
    fn with_cell(column: &str, cell: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_metrics_csv(&path, &[row()]).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let place = METRICS_COLUMNS.iter().position(|name| *name == column).unwrap();
        let record = reader.records().next().unwrap().unwrap();
        let cells = record.iter().enumerate();
        let cells = cells.map(|(at, old)| if at == place { cell } else { old });
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(METRICS_COLUMNS).unwrap();
        writer.write_record(cells).unwrap();
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn rows_come_back_as_written_and_absent_values_are_empty_cells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_metrics_csv(&path, &[row()]).unwrap();
        assert_eq!(read_metrics_csv(&path).unwrap(), [row()]);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
        let seeds = [SeedRow::of(&label(), 7, &runs()[0]), SeedRow::of(&label(), 8, &runs()[1])];
        write_seeds_csv(&path, &seeds).unwrap();
        assert_eq!(read_seeds_csv(&path).unwrap(), seeds);
        insta::assert_snapshot!("seeds", std::fs::read_to_string(&path).unwrap());
        let [worse, better] = runs();
        let asked = vec![vec![("piqa", 0), ("piqa", 1), ("piqa", 2)]; 2];
        let pairs = [PairedRow::of(&label(), &runs(), "full", &[better, worse], &asked)];
        write_paired_csv(&path, &pairs).unwrap();
        assert_eq!(read_paired_csv(&path).unwrap(), pairs);
        insta::assert_snapshot!("paired", std::fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn bad_files_are_refused_with_line_column_found_and_allowed() {
        insta::assert_snapshot!(
            [
                read_text("method,alpha\nfull,0\n"),
                read_text(&with_cell("attainment", "1.5")),
                read_text(&with_cell("attainment", "NaN")),
                read_text(&with_cell("ttft_ms_p50", "-3")),
                read_text(&with_cell("ttft_ms_p95", "fast")),
                read_text(&with_cell("alpha", "")),
                read_text(&format!("{}full,0\n", with_cell("alpha", "0"))),
            ]
            .join("\n")
        );
    }
}
