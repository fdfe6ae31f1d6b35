//! `metrics.csv`, `seeds.csv`, `classes.csv`, `paired.csv`, `sweep.csv` and `peak.csv`: one typed
//! row per line, checked when read.
//!
//! Columns are known by their names, in any order. One that a file lacks is empty, so that files
//! from before a measure was added can be read; an unknown one is an error.

mod cells;
mod line;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::Path;

use csv::StringRecord;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

pub(crate) use self::cells::Cells;
use self::cells::{Cell, is_of_service};
use self::line::{Line, read_records};
use super::by_class::Class;
use super::class_row::ClassRow;
use super::measure::{Measure, Over, PerMeasure, Unit};
use super::row::{MetricsRow, PairedRow, SeedRow};
use super::search_rows::{PeakRow, SweepRow, SweepTable};
use crate::error::{Error, Result};
use crate::files::{write_by_name, write_whole};

const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const DIFFERENCE: RangeInclusive<f64> = -1.0..=1.0;
const ANY: RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// What the columns of a class begin with: of its answers, how many could be judged, and the sum of
/// their grades.
const JUDGED: &str = "judged_";
const RIGHT_IN_TIME: &str = "right_in_time_";

/// The class whose column, of those that begin with `what`, is called so.
fn class_of(what: &str, column: &str) -> Option<Class> {
    Class::of_column(column.strip_prefix(what)?)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_metrics_csv(path: &Path, rows: &[MetricsRow]) -> Result<()> {
    write_rows(path, rows)
}

/// Reads what [`write_metrics_csv`] wrote.
///
/// # Errors
/// If the file cannot be read, has an unknown column, lacks one that every row has, or a value is
/// not a number in its range.
pub fn read_metrics_csv(path: &Path) -> Result<Vec<MetricsRow>> {
    read_table(path)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_seeds_csv(path: &Path, rows: &[SeedRow]) -> Result<()> {
    write_rows(path, rows)
}

/// Reads what [`write_seeds_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_seeds_csv(path: &Path) -> Result<Vec<SeedRow>> {
    read_table(path)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_paired_csv(path: &Path, rows: &[PairedRow]) -> Result<()> {
    write_rows(path, rows)
}

/// Reads what [`write_paired_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_paired_csv(path: &Path) -> Result<Vec<PairedRow>> {
    read_table(path)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_peak_csv(path: &Path, rows: &[PeakRow]) -> Result<()> {
    write_rows(path, rows)
}

/// Writes `rows` to `path`, one line each after the header.
///
/// # Errors
/// If the file cannot be written.
pub fn write_classes_csv(path: &Path, rows: &[ClassRow]) -> Result<()> {
    write_rows(path, rows)
}

/// Writes `sweep.csv` to `path`: columns named after `keys`, then those of `metrics.csv`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_sweep_csv(path: &Path, keys: &[&str], rows: &[SweepRow]) -> Result<()> {
    let keys = keys.iter().map(|&key| Cow::Owned(key.to_owned()));
    let (header, of_rows) = filled(rows.iter().map(|SweepRow { row, .. }| row));
    let lines = rows.iter().zip(of_rows).map(|(SweepRow { settings, .. }, cells)| {
        let settings = settings.iter().map(|&setting| Cell::Number(Some(setting)));
        settings.chain(cells).collect()
    });
    write_whole(path, &csv_bytes(keys.chain(header), lines))
}

/// Reads what [`write_sweep_csv`] wrote.
///
/// # Errors
/// As [`read_metrics_csv`].
pub fn read_sweep_csv(path: &Path) -> Result<SweepTable> {
    let known: Vec<_> = columns::<MetricsRow>().collect();
    let mut keys: Vec<String> = Vec::new();
    let of_header = |header: &StringRecord| {
        let is_key = |name: &&str| known.iter().all(|column| column != name);
        keys = header.iter().take_while(is_key).map(str::to_owned).collect();
        check_columns::<MetricsRow>(path, header, keys.len()).map(|()| keys.clone())
    };
    let rows = read_records(path, of_header, |line, keys| {
        let settings = keys.iter().map(|key| line.required_number(key, &ANY));
        Ok(SweepRow { settings: settings.collect::<Result<_>>()?, row: MetricsRow::read(line)? })
    })?;
    Ok(SweepTable { keys, rows })
}

/// Reads rows whose fields all have a column of their own in the file `path`.
///
/// # Errors
/// If the file cannot be read, lacks a column, or has a cell of another type.
pub(crate) fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(read_lines(path)?.into_iter().map(|(_, row)| row).collect())
}

/// The rows of the CSV file `path`, each with its line.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(u64, T)>> {
    read_records(
        path,
        |_| Ok(()),
        |line, ()| {
            let row = line.record.deserialize(Some(line.header));
            Ok((line.number_in_file(), row.map_err(|error| line.cell_error(&error))?))
        },
    )
}

/// What becomes a line of a file. A column whose cell is empty by default may be absent from it.
pub(crate) trait Row: Default {
    fn cells(&self) -> Cells;

    /// Whether rows may have `column` beside those that all of them have.
    fn may_have(_column: &str) -> bool {
        false
    }
}

/// What is read from one.
trait ReadRow: Row {
    fn read(line: &Line<'_>) -> Result<Self>;
}

impl Row for MetricsRow {
    fn cells(&self) -> Cells {
        Cells::of(&self.label)
            .estimates(Measure::ALL, &self.values)
            .whole("items", self.items)
            .ends("accuracy_at_slo_items", self.over_items)
            .text("provenance", &self.label.provenance)
            .whole("replications", self.replications)
            .whole("traces", self.traces)
            .whole("requests", self.requests)
            .by_class(&self.by_class)
    }

    fn may_have(column: &str) -> bool {
        class_of(JUDGED, column).or_else(|| class_of(RIGHT_IN_TIME, column)).is_some()
    }
}

impl ReadRow for MetricsRow {
    fn read(line: &Line<'_>) -> Result<Self> {
        let mut values = PerMeasure::default();
        for measure in Measure::ALL {
            values[measure] = line.estimate(measure.column(), &measure.unit().range())?;
        }
        Ok(Self {
            label: line.label()?,
            values,
            items: line.whole("items")?,
            over_items: line.ends("accuracy_at_slo_items", &SHARE)?,
            replications: line.required_whole("replications")?,
            traces: line.whole("traces")?,
            requests: line.required_whole("requests")?,
            by_class: line.by_class()?,
        })
    }
}

impl Row for SeedRow {
    fn cells(&self) -> Cells {
        let cells = Cells::of(&self.label).whole("seed", self.seed as usize);
        let value = |cells: Cells, (measure, &value): (Measure, &Option<f64>)| {
            cells.with(
                measure.column(),
                match measure.unit() {
                    Unit::Count => Cell::Whole(value.map(|count| count as u64)),
                    _ => Cell::Number(value),
                },
            )
        };
        self.values.iter().fold(cells, value).whole("requests", self.requests)
    }
}

impl ReadRow for SeedRow {
    fn read(line: &Line<'_>) -> Result<Self> {
        let mut values = PerMeasure::default();
        for measure in Measure::ALL {
            values[measure] = line.number(measure.column(), &measure.unit().range())?;
        }
        let seed = line.required_whole("seed")? as u64;
        let requests = line.required_whole("requests")?;
        Ok(Self { label: line.label()?, seed, values, requests })
    }
}

impl Row for PairedRow {
    fn cells(&self) -> Cells {
        let mut cells = Cells::of(&self.label);
        cells.0.insert(1, ("against".into(), Cell::Text(self.against.clone())));
        cells
            .estimate("gain", self.gain)
            .whole("items", self.items)
            .ends("gain_items", self.over_items)
            .number("effect_dz", self.effect_dz)
            .whole("wins", self.wins)
            .whole("replications", self.replications)
            .whole("traces", self.traces)
            .whole("requests", self.requests as usize)
            .whole("only_method", self.only_method as usize)
            .whole("only_against", self.only_against as usize)
            .number("mcnemar_p", self.mcnemar_p)
            .number("mcnemar_p_holm", self.mcnemar_p_holm)
            .text("provenance", &self.label.provenance)
    }
}

impl ReadRow for PairedRow {
    fn read(line: &Line<'_>) -> Result<Self> {
        Ok(Self {
            label: line.label()?,
            against: line.text("against").to_owned(),
            gain: line.estimate("gain", &DIFFERENCE)?,
            items: line.required_whole("items")?,
            over_items: line.ends("gain_items", &DIFFERENCE)?,
            effect_dz: line.number("effect_dz", &ANY)?,
            wins: line.required_whole("wins")?,
            replications: line.required_whole("replications")?,
            traces: line.whole("traces")?,
            requests: line.required_whole("requests")? as u64,
            only_method: line.required_whole("only_method")? as u64,
            only_against: line.required_whole("only_against")? as u64,
            mcnemar_p: line.number("mcnemar_p", &SHARE)?,
            mcnemar_p_holm: line.number("mcnemar_p_holm", &SHARE)?,
        })
    }
}

impl Row for ClassRow {
    fn cells(&self) -> Cells {
        let of_class = |measure: &Measure| measure.definition().over != Over::Run;
        Cells::of(&self.label)
            .whole("priority", usize::from(self.priority))
            .estimates(Measure::ALL.into_iter().filter(of_class), &self.values)
            .text("provenance", &self.label.provenance)
            .whole("replications", self.replications)
            .whole("requests", self.requests)
    }
}

impl Row for PeakRow {
    fn cells(&self) -> Cells {
        Cells::of(&self.label)
            .number("attainment", self.attainment)
            .number("peak_per_hour", self.peak_per_hour)
            .number("peak_per_hour_lo", self.peak_per_hour_lo)
            .number("peak_per_hour_hi", self.peak_per_hour_hi)
            .text("reach", self.reach.name())
            .number("again_per_hour", self.again_per_hour)
            .number("from_per_hour", self.from_per_hour)
            .number("to_per_hour", self.to_per_hour)
            .number("attainment_at_from", self.attainment_at_from)
            .number("attainment_at_to", self.attainment_at_to)
            .text("provenance", &self.label.provenance)
            .whole("replications", self.replications)
            .whole("requests", self.requests)
    }
}

macro_rules! serialized_as_cells {
    ($($row:ty),+) => {$(
        impl Serialize for $row {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.cells().serialize(to)
            }
        }
    )+};
}

serialized_as_cells!(MetricsRow, PairedRow, PeakRow);

fn columns<R: Row>() -> impl Iterator<Item = Cow<'static, str>> {
    R::default().cells().0.into_iter().map(|(column, _)| column)
}

/// `rows` as CSV, a line each after the header: the columns that all rows have, then those that
/// some have, in order of first appearance.
pub(crate) fn csv_of<R: Row>(rows: &[R]) -> Vec<u8> {
    let (header, lines) = filled(rows.iter());
    csv_bytes(header.into_iter(), lines.into_iter())
}

/// The columns of `rows` and their cells: those that all rows have, then those that some have, in
/// order of first appearance. Columns of what services do beside serving are left out if no row has
/// anything there.
fn filled<'r, R: Row + 'r>(
    rows: impl Iterator<Item = &'r R>,
) -> (Vec<Cow<'static, str>>, Vec<Vec<Cell>>) {
    let mut header: Vec<Cow<'static, str>> = columns::<R>().collect();
    let all = header.len();
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    for row in rows {
        let mut cells = row.cells().0;
        let own = cells.split_off(all);
        let mut line: Vec<Cell> = cells.into_iter().map(|(_, cell)| cell).collect();
        for (column, cell) in own {
            let place = header.iter().position(|known| *known == column).unwrap_or_else(|| {
                header.push(column);
                header.len() - 1
            });
            line.resize(line.len().max(place + 1), Cell::Whole(None));
            line[place] = cell;
        }
        lines.push(line);
    }
    for line in &mut lines {
        line.resize(header.len(), Cell::Whole(None));
    }
    let is_kept = |(nth, name): (usize, &Cow<'static, str>)| {
        !is_of_service(name) || lines.iter().any(|cells| !cells[nth].is_empty())
    };
    let kept: Vec<bool> = header.iter().enumerate().map(is_kept).collect();
    let lines = lines.into_iter().map(|cells| only(cells, &kept)).collect();
    (only(header, &kept), lines)
}

/// Those of `all` that are `kept`.
fn only<T>(all: Vec<T>, kept: &[bool]) -> Vec<T> {
    all.into_iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect()
}

fn write_rows<R: Row>(path: &Path, rows: &[R]) -> Result<()> {
    write_by_name(path, &csv_of(rows))
}

fn csv_bytes(
    header: impl Iterator<Item = Cow<'static, str>>,
    lines: impl Iterator<Item = Vec<Cell>>,
) -> Vec<u8> {
    let memory = "memory takes every record";
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.serialize(header.collect::<Vec<_>>()).expect(memory);
    for line in lines {
        writer.serialize(line).expect(memory);
    }
    writer.into_inner().expect(memory)
}

fn read_table<R: ReadRow>(path: &Path) -> Result<Vec<R>> {
    read_records(path, |header| check_columns::<R>(path, header, 0), |line, ()| R::read(line))
}

/// Refuses a header that has unknown columns after the first `leading`, or lacks one that every row
/// has.
fn check_columns<R: Row>(path: &Path, header: &StringRecord, leading: usize) -> Result<()> {
    let known = R::default().cells().0;
    let all = || known.iter().map(|(column, _)| column.as_ref()).collect::<Vec<_>>().join(",");
    let error = |problem: &str, columns: &[&str]| {
        let named = format!("{problem} {}", columns.join(", "));
        Err(Error::file(path, named).at("line 1").allowed(all()))
    };
    let is_known = |name: &str| known.iter().any(|(column, _)| column == name) || R::may_have(name);
    let unknown: Vec<&str> = header.iter().skip(leading).filter(|&name| !is_known(name)).collect();
    if !unknown.is_empty() {
        return error("unknown columns", &unknown);
    }
    let may_lack = |cell: &Cell| matches!(cell, Cell::Number(None) | Cell::Whole(None));
    let needed = known.iter().filter(|(_, cell)| !may_lack(cell));
    let missing: Vec<&str> = needed
        .map(|(column, _)| column.as_ref())
        .filter(|&column| header.iter().all(|name| name != column))
        .collect();
    if missing.is_empty() { Ok(()) } else { error("lacks the columns", &missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AskedItems, CellLabel, RunMeasures};

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
            classes: Vec::new(),
            requests: 600,
            answers: vec![Some(f64::from(accuracy > 0.2)), Some(1.0), None],
            values: PerMeasure::from([
                (Measure::AccuracyAtSlo, accuracy),
                (Measure::Attainment, 1.0),
                (Measure::Switches, 7.0),
            ]),
        })
    }

    fn asked() -> AskedItems {
        AskedItems::of(&[0, 1].map(|_| vec![("piqa", 0), ("piqa", 1), ("piqa", 2)]))
    }

    fn row() -> MetricsRow {
        MetricsRow::of(&label(), &runs(), &asked())
    }

    fn read_text(text: &str) -> Result<Vec<MetricsRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        let shortened =
            |message: String| message.replace(&format!("{}/", folder.path().display()), "");
        read_metrics_csv(&path).map_err(|error| shortened(error.to_string()))
    }

    /// The file's text with `alter` done to each of its columns' (name, cell); those of which
    /// nothing is left are taken out.
    fn altered(alter: impl Fn(&str, &str) -> Option<String>) -> String {
        let text = csv_of(&[row()]);
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let header = reader.headers().unwrap().clone();
        let record = reader.records().next().unwrap().unwrap();
        let kept =
            header.iter().zip(&record).filter_map(|(name, cell)| Some((name, alter(name, cell)?)));
        let (names, cells): (Vec<_>, Vec<_>) = kept.unzip();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(names).unwrap();
        writer.write_record(cells).unwrap();
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    fn with_cell(column: &str, cell: &str) -> String {
        altered(|name, old| Some(if name == column { cell } else { old }.to_owned()))
    }

    #[test]
    fn rows_come_back_as_written_and_absent_values_are_empty_cells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_metrics_csv(&path, &[row()]).unwrap();
        assert_eq!(read_metrics_csv(&path).unwrap(), [row()]);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
        let label = CellLabel { provenance: String::new(), ..label() };
        let seeds = [SeedRow::of(&label, 7, &runs()[0]), SeedRow::of(&label, 8, &runs()[1])];
        write_seeds_csv(&path, &seeds).unwrap();
        assert_eq!(read_seeds_csv(&path).unwrap(), seeds);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        method,alpha,device,latency_of,base_model,seed,accuracy,accuracy_at_slo,attainment,ttft_ms_p50,ttft_ms_p95,ttft_ms_p99,tpot_ms_p50,tpot_ms_p95,tpot_ms_p99,missed_ttft,missed_tpot,missed_both,missed_e2e,missed_energy,energy_mj,energy_mj_p95,switches,fallbacks,requests
        elastic-profile,-0.25,"phone, old",large,small,7,,0.1,1.0,,,,,,,,,,,,,,7,,600
        elastic-profile,-0.25,"phone, old",large,small,8,,0.3,1.0,,,,,,,,,,,,,,7,,600
        "#);
        let [worse, better] = runs();
        let pairs = [PairedRow::of(&row().label, &runs(), "full", &[better, worse], &asked())];
        write_paired_csv(&path, &pairs).unwrap();
        assert_eq!(read_paired_csv(&path).unwrap(), pairs);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @r#"
        method,against,alpha,device,latency_of,base_model,gain,gain_lo,gain_hi,items,gain_items_lo,gain_items_hi,effect_dz,wins,replications,traces,requests,only_method,only_against,mcnemar_p,mcnemar_p_holm,provenance
        elastic-profile,full,-0.25,"phone, old",large,small,0.0,-0.19999999999999998,0.19999999999999998,2,0.0,0.0,0.0,1,2,2,4,1,1,1.0,1.0,"latency modelled, answers measured"
        "#);
    }

    #[test]
    fn a_file_from_before_a_measure_was_added_has_it_empty_in_any_order_of_columns() {
        let older = altered(|name, cell| {
            let added =
                name.starts_with("ttft_ms_p99") || name.contains("items") || name == "traces";
            (!added).then(|| cell.to_owned())
        });
        let mut expected = row();
        (expected.items, expected.over_items, expected.traces) = (None, None, None);
        assert_eq!(read_text(&older).unwrap(), [expected]);
        let turned = |line: &str| line.rsplit(',').collect::<Vec<_>>().join(",");
        let plain = row_without_commas();
        let text = String::from_utf8(csv_of(std::slice::from_ref(&plain))).unwrap();
        let turned = text.lines().map(turned).collect::<Vec<_>>().join("\n");
        assert_eq!(read_text(&turned).unwrap(), [plain]);
    }

    fn row_without_commas() -> MetricsRow {
        let (device, provenance) = ("phone".to_owned(), "measured".to_owned());
        MetricsRow { label: CellLabel { device, provenance, ..label() }, ..row() }
    }

    #[test]
    fn bad_files_are_refused_with_line_column_found_and_allowed() {
        let message = |text: &str| read_text(text).unwrap_err();
        insta::assert_snapshot!(
            [
                message(""),
                message("method,alpha\nfull,0\n"),
                message(&with_cell("attainment", "1.5")),
                message(&with_cell("attainment", "NaN")),
                message(&with_cell("ttft_ms_p50", "-3")),
                message(&with_cell("ttft_ms_p95", "fast")),
                message(&with_cell("alpha", "")),
                message(&with_cell("requests", "2.5")),
                message(&with_cell("alpha", "0").replace("attainment_lo", "speed")),
                message(&format!("{}full,0\n", with_cell("alpha", "0"))),
            ]
            .join("\n")
        );
    }
}
