//! The native CSV form of a trace.
//!
//! Lines that start with `#` may precede the header; they say how the trace was made. Columns may
//! stand in any order, none may be missing or unknown. A row states its objective in one of six
//! forms: `ttft_ratio,tpot_ratio`, `ttft_ms,tpot_ms`, `e2e_ratio`, `e2e_ms`, `energy_ratio` or
//! `energy_mj`. A file has the columns of one form or of several, of which a row fills one.
//! Instants are exact: `arrival_ms` has up to six decimals.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use csv::StringRecord;

use super::Trace;
use crate::error::{Error, Result};
use crate::files;
use crate::request::{Limit, Request, Slo};
use crate::units::{Energy, Ratio, SimTime, decimal_millis, nanos_of_decimal_millis};

/// Columns of every trace.
const COLUMNS: [&str; 7] =
    ["id", "arrival_ms", "app", "dataset", "item", "prompt_tokens", "output_tokens"];
/// The forms of an objective, by their columns: shares of what the base model takes, or quantities.
const FORMS: [&[&str]; 6] = [
    &["ttft_ratio", "tpot_ratio"],
    &["ttft_ms", "tpot_ms"],
    &["e2e_ratio"],
    &["e2e_ms"],
    &["energy_ratio"],
    &["energy_mj"],
];
/// The most energy that a trace may name, in mJ: a gigajoule.
const ENERGY_MJ_MAX: u64 = 1_000_000_000_000;
/// The longest time a trace may name, in ms: a hundred years, so that sums of instants fit.
const TIME_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

impl Trace {
    /// Reads the trace in the native CSV file `path`.
    ///
    /// # Errors
    /// If the file cannot be read or is not a trace: a column is missing or unknown, a cell is out
    /// of range, an id appears twice, rows are not sorted by arrival. The error names line and
    /// column.
    pub fn read_csv(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
        Reader::new(path, &text).read()
    }

    /// Writes the trace to the file `path` in its native CSV form.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        files::write_whole(path, self.to_csv().as_bytes())
    }

    fn to_csv(&self) -> String {
        let mut forms = [false; FORMS.len()];
        for request in &self.requests {
            forms[stated(request.slo).0] = true;
        }
        forms[0] |= self.requests.is_empty();
        let mut text = String::new();
        for line in self.provenance.iter().flat_map(|line| line.split('\n')) {
            text += format!("# {line}").trim_end();
            text.push('\n');
        }
        text += &COLUMNS.join(",");
        for (columns, _) in FORMS.iter().zip(forms).filter(|(_, present)| *present) {
            text.extend(columns.iter().flat_map(|column| [",", column]));
        }
        text.push('\n');
        for request in &self.requests {
            self.write_row(&mut text, request, forms);
        }
        text
    }

    fn write_row(&self, text: &mut String, request: &Request, forms: [bool; FORMS.len()]) {
        write!(
            text,
            "{},{},{},{},{},{},{}",
            request.id,
            decimal_millis(request.arrival.as_nanos()),
            quoted(self.app(request.app)),
            quoted(self.dataset(request.dataset)),
            request.item,
            request.prompt_tokens,
            request.output_tokens,
        )
        .expect("a string takes any text");
        let (own, cells) = stated(request.slo);
        for (form, _) in forms.iter().enumerate().filter(|(_, present)| **present) {
            if form == own {
                text.extend(cells.iter().flat_map(|cell| [",", cell]));
            } else {
                text.extend(FORMS[form].iter().map(|_| ","));
            }
        }
        text.push('\n');
    }
}

/// The place of an objective's form among [`FORMS`], and its cells.
fn stated(slo: Slo) -> (usize, Vec<String>) {
    let share = |share: Ratio| share.as_f64().to_string();
    let time = |length: Duration| decimal_millis(length.as_nanos() as u64);
    match slo {
        Slo::Relative { ttft, tpot } => (0, vec![share(ttft), share(tpot)]),
        Slo::Absolute { ttft, tpot } => (1, vec![time(ttft), time(tpot)]),
        Slo::EndToEnd(Limit::Share(of)) => (2, vec![share(of)]),
        Slo::EndToEnd(Limit::Absolute(bound)) => (3, vec![time(bound)]),
        Slo::Energy(Limit::Share(of)) => (4, vec![share(of)]),
        Slo::Energy(Limit::Absolute(bound)) => (5, vec![decimal_millis(bound.as_nanojoules())]),
    }
}

/// `name` as a CSV cell.
pub(crate) fn quoted(name: &str) -> String {
    if name.contains(['"', ',', '\n', '\r', '#']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// The line of `body` on which `record` starts: the csv crate counts the blank lines before it to
/// it.
pub(super) fn record_line(body: &str, record: &StringRecord) -> u64 {
    let position = record.position().expect("a record that was read has a position");
    let blank = body.as_bytes()[position.byte() as usize..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|&&byte| byte == b'\n')
        .count() as u64;
    position.line() + blank
}

/// A file on its way to a [`Trace`].
struct Reader<'a> {
    path: &'a Path,
    /// The file from its header on.
    body: &'a str,
    /// Lines before the header.
    skipped: u64,
    trace: Trace,
    ids: BTreeSet<u64>,
}

/// Where the columns are.
struct Header {
    columns: [usize; COLUMNS.len()],
    /// Of the columns of each of [`FORMS`]; empty for a form that the file does not have.
    forms: [Vec<usize>; FORMS.len()],
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let mut trace = Trace::default();
        let mut body = text.strip_prefix('\u{feff}').unwrap_or(text);
        while let Some(comment) = body.strip_prefix('#') {
            let (line, rest) = comment.split_once('\n').unwrap_or((comment, ""));
            trace.provenance.push(line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned());
            body = rest;
        }
        let skipped = trace.provenance.len() as u64;
        Self { path, body, skipped, trace, ids: BTreeSet::new() }
    }

    fn read(mut self) -> Result<Trace> {
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(self.body.as_bytes());
        let mut record = StringRecord::new();
        let mut header = None;
        while csv.read_record(&mut record).map_err(|error| self.malformed(error))? {
            let line = self.line_of(&record);
            match &header {
                None => header = Some(self.header(line, &record)?),
                Some(header) => {
                    self.check_width(line, header, &record)?;
                    let request = Row { path: self.path, line, record: &record }
                        .request(header, &mut self.trace)?;
                    self.push(line, request)?;
                }
            }
        }
        if header.is_none() {
            return Err(Error::file(self.path, "no header").allowed(COLUMNS.join(",")));
        }
        Ok(self.trace)
    }

    fn malformed(&self, error: csv::Error) -> Error {
        Error::file(self.path, "not a CSV file").caused_by(error)
    }

    fn line_of(&self, record: &StringRecord) -> u64 {
        self.skipped + record_line(self.body, record)
    }

    fn header(&self, line: u64, record: &StringRecord) -> Result<Header> {
        let wrong = |problem: &str, name: &str| {
            let forms = FORMS.map(|columns| columns.join(",")).join(" or ");
            let allowed = format!("{}, and {forms}", COLUMNS.join(","));
            Error::file(self.path, problem)
                .at(format!("line {line}, column \"{name}\""))
                .allowed(allowed)
        };
        let position = |name: &str| record.iter().position(|cell| cell.trim() == name);
        for (index, name) in record.iter().map(str::trim).enumerate() {
            if !COLUMNS.iter().chain(FORMS.into_iter().flatten()).any(|&known| known == name) {
                return Err(wrong("unknown column", name));
            }
            if position(name) != Some(index) {
                return Err(wrong("column appears twice", name));
            }
        }
        let find = |name: &'static str| position(name).ok_or_else(|| wrong("missing column", name));
        let mut forms: [Vec<usize>; FORMS.len()] = std::array::from_fn(|_| Vec::new());
        for (form, names) in forms.iter_mut().zip(FORMS) {
            if names.iter().any(|name| position(name).is_some()) {
                *form = names.iter().copied().map(find).collect::<Result<_>>()?;
            }
        }
        if forms.iter().all(Vec::is_empty) {
            return Err(wrong("missing column", FORMS[0][0]));
        }
        let mut columns = [0; COLUMNS.len()];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column = find(name)?;
        }
        Ok(Header { columns, forms })
    }

    /// Cells that a row lacks read as empty and are refused by their column.
    fn check_width(&self, line: u64, header: &Header, record: &StringRecord) -> Result<()> {
        let columns = COLUMNS.len() + header.forms.iter().map(Vec::len).sum::<usize>();
        if record.len() <= columns {
            return Ok(());
        }
        Err(Error::file(self.path, "too many cells")
            .at(format!("line {line}"))
            .found(record.len())
            .allowed(columns))
    }

    fn push(&mut self, line: u64, request: Request) -> Result<()> {
        let at = |column: &str| format!("line {line}, column \"{column}\"");
        if !self.ids.insert(request.id) {
            return Err(Error::file(self.path, "id appears twice").at(at("id")).found(request.id));
        }
        if let Some(last) = self.trace.requests.last()
            && request.arrival < last.arrival
        {
            return Err(Error::file(self.path, "rows are not sorted by arrival")
                .at(at("arrival_ms"))
                .found(decimal_millis(request.arrival.as_nanos()))
                .allowed(format!("{} or later", decimal_millis(last.arrival.as_nanos()))));
        }
        self.trace.requests.push(request);
        Ok(())
    }
}

/// One row, and where it stands.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    record: &'a StringRecord,
}

impl Row<'_> {
    fn request(&self, header: &Header, trace: &mut Trace) -> Result<Request> {
        let cell = |column: usize| (COLUMNS[column], self.cell(header.columns[column]));
        let names = "at most 65536 different names";
        let app = self.name(cell(2))?;
        let dataset = self.name(cell(3))?;
        Ok(Request {
            id: self.number(cell(0), 0)?,
            arrival: SimTime::ZERO + self.time(cell(1))?,
            app: trace.app_id(app).ok_or_else(|| self.wrong(cell(2), names))?,
            dataset: trace.dataset_id(dataset).ok_or_else(|| self.wrong(cell(3), names))?,
            item: self.number(cell(4), 0)?,
            prompt_tokens: self.number(cell(5), 1)?,
            output_tokens: self.number(cell(6), 1)?,
            slo: self.slo(header)?,
        })
    }

    fn cell(&self, index: usize) -> &str {
        self.record.get(index).unwrap_or("").trim()
    }

    fn slo(&self, header: &Header) -> Result<Slo> {
        let has_any = |columns: &Vec<usize>| columns.iter().any(|&at| !self.cell(at).is_empty());
        let mut filled = header.forms.iter().enumerate().filter(|(_, columns)| has_any(columns));
        let Some((form, columns)) = filled.next() else {
            let present = header.forms.iter().position(|columns| !columns.is_empty());
            let name = FORMS[present.expect("a header has a form")][0];
            return Err(self.wrong((name, ""), "an objective"));
        };
        let cell = |at: usize| (FORMS[form][at], self.cell(columns[at]));
        if let Some((other, also)) = filled.next() {
            let allowed = format!("nothing, as the row states {}", FORMS[form][0]);
            return Err(self.wrong((FORMS[other][0], self.cell(also[0])), allowed));
        }
        Ok(match form {
            0 => Slo::Relative { ttft: self.share(cell(0))?, tpot: self.share(cell(1))? },
            1 => Slo::Absolute { ttft: self.time(cell(0))?, tpot: self.time(cell(1))? },
            2 => Slo::EndToEnd(Limit::Share(self.share(cell(0))?)),
            3 => Slo::EndToEnd(Limit::Absolute(self.time(cell(0))?)),
            4 => Slo::Energy(Limit::Share(self.share(cell(0))?)),
            _ => Slo::Energy(Limit::Absolute(self.energy(cell(0))?)),
        })
    }

    fn name<'c>(&self, cell: (&str, &'c str)) -> Result<&'c str> {
        if cell.1.is_empty() { Err(self.wrong(cell, "a name")) } else { Ok(cell.1) }
    }

    fn number<T: FromStr + PartialOrd + From<u8>>(&self, cell: (&str, &str), min: u8) -> Result<T> {
        let bits = 8 * size_of::<T>();
        let number = cell.1.parse().ok().filter(|number| *number >= T::from(min));
        number.ok_or_else(|| self.wrong(cell, format!("a whole number from {min}, of {bits} bits")))
    }

    fn time(&self, cell: (&str, &str)) -> Result<Duration> {
        Ok(Duration::from_nanos(self.decimal(cell, TIME_MS_MAX)?))
    }

    fn energy(&self, cell: (&str, &str)) -> Result<Energy> {
        Ok(Energy::from_nanojoules(self.decimal(cell, ENERGY_MJ_MAX)?))
    }

    /// Millionths of the cell's unit.
    fn decimal(&self, cell: (&str, &str), max: u64) -> Result<u64> {
        let millionths = nanos_of_decimal_millis(cell.1).filter(|&n| n <= max * 1_000_000);
        millionths.ok_or_else(|| {
            self.wrong(cell, format!("a number from 0 to {max}, with at most 6 decimals"))
        })
    }

    fn share(&self, cell: (&str, &str)) -> Result<Ratio> {
        let share = cell.1.parse().ok().filter(|&share| share > 0.0).and_then(Ratio::exact);
        share.ok_or_else(|| self.wrong(cell, "a number in (0, 1] with at most 3 decimals"))
    }

    fn wrong(&self, (column, cell): (&str, &str), allowed: impl std::fmt::Display) -> Error {
        let found = if cell.is_empty() { "nothing".to_owned() } else { format!("\"{cell}\"") };
        Error::file(self.path, "bad value")
            .at(format!("line {}, column \"{column}\"", self.line))
            .found(found)
            .allowed(allowed)
    }
}

#[cfg(test)]
mod tests;
