//! The native form of a trace: CSV, packed or not.
//!
//! Lines that start with `#` may precede the header; they say how the trace was made. Columns may
//! stand in any order, none may be missing or unknown. A row states its objective in one of six
//! forms: `ttft_ratio,tpot_ratio`, `ttft_ms,tpot_ms`, `e2e_ratio`, `e2e_ms`, `energy_ratio` or
//! `energy_mj`. A file has the columns of one form or of several, of which a row fills one. What it
//! asks of the service beside, `priority,cancel_after_ms,supersedes`, and `cached_tokens`, what an
//! earlier turn left of its prompt, may be left out, column or cell. Instants are exact:
//! `arrival_ms` has up to six decimals.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use csv::StringRecord;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Trace;
use super::objective::{self, BadCell, FORMS, form_of, stated};
use crate::error::{Error, Result};
use crate::files;
use crate::input::{Input, Rows};
use crate::item::ItemId;
use crate::limits::{PRIORITY, REQUESTS, TIME_MS, TOKENS};
use crate::request::{Request, Slo, Terms};
use crate::units::{
    SimTime, decimal_millis, nanos_of_decimal_millis, push_decimal_millis, push_number,
};

/// Columns of what requests ask of the service beside; a file has those that some row fills.
const TERMS: [&str; 4] = ["priority", "cancel_after_ms", "supersedes", "cached_tokens"];

/// Columns of every trace.
const COLUMNS: [&str; 7] =
    ["id", "arrival_ms", "app", "dataset", "item", "prompt_tokens", "output_tokens"];

/// What a row is long, about.
const ROW_BYTES: usize = 56;

impl Trace {
    /// Reads the trace in the native file `path`.
    ///
    /// # Errors
    /// If the file cannot be read or is not a trace: a column is missing or unknown, a cell is out
    /// of range, an id appears twice, rows are not sorted by arrival. The error names line and
    /// column.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of_input(&Input::read(path)?)
    }

    /// The trace in `input`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_input(input: &Input) -> Result<Self> {
        Reader::new(input.path(), input.text()).read()
    }

    /// Writes the trace to the file `path`, packed if its name ends in `.gz`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_text(path, &self.to_csv())
    }

    /// The trace as its file has it.
    ///
    /// # Panics
    /// Never: memory takes any row.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut forms = [false; FORMS.len()];
        for request in &self.requests {
            forms[form_of(request.slo)] = true;
        }
        forms[0] |= self.requests.is_empty();
        let mut text = String::new();
        for line in self.provenance.iter().flat_map(|line| line.split('\n')) {
            text += format!("# {line}").trim_end();
            text.push('\n');
        }
        let terms = written_terms(self).map(|column| column.is_some());
        let mut rows = RowWriter::new(forms, terms);
        text += &rows.header();
        let [apps, datasets] = [&self.apps, &self.datasets]
            .map(|names| names.iter().map(|name| cell(name)).collect::<Vec<_>>());
        text.reserve(ROW_BYTES * self.requests.len());
        for request in &self.requests {
            let app = &apps[usize::from(request.app.0)];
            let dataset = &datasets[usize::from(request.dataset.0)];
            rows.write(&mut text, request, [app, dataset]);
        }
        text
    }
}

/// Writes a trace whose requests are not known beforehand: a header with every column, then line
/// by line.
#[derive(Debug)]
pub struct TraceLines(RowWriter);

impl TraceLines {
    /// The lines of a file that begins with `provenance`, and its beginning.
    ///
    /// # Panics
    /// Never: memory takes any row.
    #[must_use]
    pub fn begin(provenance: &[String]) -> (Self, String) {
        let rows = RowWriter::new([true; FORMS.len()], [true; TERMS.len()]);
        let mut text = String::new();
        for line in provenance {
            writeln!(text, "# {line}").expect("memory takes any row");
        }
        text += &rows.header();
        (Self(rows), text)
    }

    /// The line of `request`, by the app and for the dataset of these names; its own ids of them
    /// do not count.
    pub fn line(&mut self, request: &Request, app: &str, dataset: &str) -> String {
        let mut text = String::new();
        self.0.write(&mut text, request, [&cell(app), &cell(dataset)]);
        text
    }
}

/// The rows of a file, and which columns it has.
#[derive(Debug)]
struct RowWriter {
    objectives: Objectives,
    terms: [bool; TERMS.len()],
}

impl RowWriter {
    fn new(forms: [bool; FORMS.len()], terms: [bool; TERMS.len()]) -> Self {
        Self { objectives: Objectives { forms, known: Vec::new() }, terms }
    }

    fn header(&self) -> String {
        let of_forms = FORMS.iter().zip(self.objectives.forms).filter(|(_, present)| *present);
        let of_terms = TERMS.iter().zip(self.terms).filter(|(_, present)| *present);
        let columns: Vec<&str> = COLUMNS
            .into_iter()
            .chain(of_forms.flat_map(|(columns, _)| columns.iter().copied()))
            .chain(of_terms.map(|(column, _)| *column))
            .collect();
        columns.join(",") + "\n"
    }

    /// Appends the row of `request`, whose app and dataset have these cells.
    fn write(&mut self, text: &mut String, request: &Request, [app, dataset]: [&String; 2]) {
        push_number(text, request.id);
        text.push(',');
        push_decimal_millis(text, request.arrival.as_nanos());
        for name in [app, dataset] {
            text.push(',');
            *text += name;
        }
        text.push(',');
        match request.item.number() {
            Some(number) => push_number(text, number.into()),
            None => *text += &cell(&request.item.to_string()),
        }
        for tokens in [request.prompt_tokens, request.output_tokens] {
            text.push(',');
            push_number(text, tokens.into());
        }
        self.objectives.write(text, request.slo);
        write_terms(text, request.terms, self.terms);
        text.push('\n');
    }
}

/// The columns of terms that some request fills.
fn written_terms(trace: &Trace) -> [Option<&'static str>; TERMS.len()] {
    let fills = |of: fn(&Terms) -> bool| trace.requests.iter().any(|request| of(&request.terms));
    let filled = [
        fills(|terms| terms.priority > 0),
        fills(|terms| terms.cancel_after.is_some()),
        fills(|terms| terms.supersedes),
        fills(|terms| terms.cached_tokens > 0),
    ];
    std::array::from_fn(|nth| filled[nth].then_some(TERMS[nth]))
}

/// Writes the cells of the columns that are there, each with the comma before it.
fn write_terms(text: &mut String, terms: Terms, present: [bool; TERMS.len()]) {
    let patience = terms.cancel_after.map(|length| decimal_millis(length.as_nanos() as u64));
    let cells = [
        if terms.priority > 0 { terms.priority.to_string() } else { String::new() },
        patience.unwrap_or_default(),
        if terms.supersedes { "1".to_owned() } else { String::new() },
        if terms.cached_tokens > 0 { terms.cached_tokens.to_string() } else { String::new() },
    ];
    for (cell, _) in cells.iter().zip(present).filter(|(_, present)| *present) {
        text.push(',');
        *text += cell;
    }
}

/// A cell of a CSV file that says `text`, in quotes if it needs them.
fn cell(text: &str) -> String {
    let mut row = csv::Writer::from_writer(Vec::new());
    row.write_record([text]).expect("memory takes any row");
    let bytes = row.into_inner().expect("memory takes any row");
    String::from_utf8(bytes).expect("cells are text").trim_end_matches('\n').to_owned()
}

/// The cells of objectives, each with the comma before it; a trace states few.
#[derive(Debug)]
struct Objectives {
    /// Which of [`FORMS`] have columns.
    forms: [bool; FORMS.len()],
    known: Vec<(Slo, String)>,
}

impl Objectives {
    /// Objectives that are remembered.
    const KNOWN_MAX: usize = 16;

    fn write(&mut self, text: &mut String, slo: Slo) {
        if let Some((_, cells)) = self.known.iter().find(|(known, _)| *known == slo) {
            *text += cells;
            return;
        }
        let (own, cells) = stated(slo);
        let from = text.len();
        for (form, _) in self.forms.iter().enumerate().filter(|(_, present)| **present) {
            for (nth, _) in FORMS[form].iter().enumerate() {
                text.push(',');
                *text += if form == own { cells[nth].as_str() } else { "" };
            }
        }
        if self.known.len() < Self::KNOWN_MAX {
            self.known.push((slo, text[from..].to_owned()));
        }
    }
}

/// Writes `text`, packed if the file's name ends in `.gz`: the same bytes at any time.
///
/// # Errors
/// If the file cannot be written, or its name asks for a form that is only read.
///
/// # Panics
/// Never: memory takes any bytes.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::default());
            packer.write_all(text.as_bytes()).expect("memory takes any bytes");
            files::write_whole(path, &packer.finish().expect("memory takes any bytes"))
        }
        Some("zst") => {
            Err(Error::file(path, "zstd is read and not written").allowed("a name in .csv or .gz"))
        }
        _ => files::write_whole(path, text.as_bytes()),
    }
}

/// A file on its way to a [`Trace`].
struct Reader<'a> {
    path: &'a Path,
    /// The file from its header on.
    body: &'a str,
    trace: Trace,
    ids: BTreeSet<u64>,
}

/// Where the columns are.
struct Header {
    columns: [usize; COLUMNS.len()],
    /// Of the columns of each of [`FORMS`]; empty for a form that the file does not have.
    forms: [Vec<usize>; FORMS.len()],
    terms: [Option<usize>; TERMS.len()],
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let mut trace = Trace::default();
        let mut body = text;
        while let Some(comment) = body.strip_prefix('#') {
            let (line, rest) = comment.split_once('\n').unwrap_or((comment, ""));
            trace.provenance.push(line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned());
            body = rest;
        }
        Self { path, body, trace, ids: BTreeSet::new() }
    }

    fn read(mut self) -> Result<Trace> {
        let mut rows = Rows::new(self.path, self.body, self.trace.provenance.len() as u64);
        let Some((line, record)) = rows.next_row()? else {
            return Err(Error::file(self.path, "no header").allowed(COLUMNS.join(",")));
        };
        let header = self.header(line, record)?;
        while let Some((line, record)) = rows.next_row()? {
            self.check_width(line, &header, record)?;
            let row = Row { path: self.path, line, record };
            let request = row.request(&header, &mut self.trace)?;
            self.push(line, request)?;
        }
        Ok(self.trace)
    }

    fn header(&self, line: u64, record: &StringRecord) -> Result<Header> {
        let wrong = |problem: &str, name: &str| {
            let [needed, may_be] = [&COLUMNS[..], &TERMS].map(|columns| columns.join(","));
            let allowed = format!("{needed}, and {}; perhaps {may_be}", objective::forms());
            Error::file(self.path, problem)
                .at(format!("line {line}, column \"{name}\""))
                .allowed(allowed)
        };
        let position = |name: &str| record.iter().position(|cell| cell.trim() == name);
        for (index, name) in record.iter().map(str::trim).enumerate() {
            let mut known = COLUMNS.iter().chain(FORMS.into_iter().flatten()).chain(&TERMS);
            if !known.any(|&column| column == name) {
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
        Ok(Header { columns, forms, terms: TERMS.map(position) })
    }

    /// Cells that a row lacks read as empty and are refused by their column.
    fn check_width(&self, line: u64, header: &Header, record: &StringRecord) -> Result<()> {
        let of_forms = header.forms.iter().map(Vec::len).sum::<usize>();
        let columns = COLUMNS.len() + of_forms + header.terms.iter().flatten().count();
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
        if self.trace.requests.len() as u64 == REQUESTS.max {
            let error = Error::file(self.path, "too many requests").at(format!("line {line}"));
            return Err(error.allowed(format!("{} in a trace", REQUESTS.max)));
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
            item: self.item(cell(4))?,
            prompt_tokens: self.tokens(cell(5))?,
            output_tokens: self.tokens(cell(6))?,
            slo: self.slo(header)?,
            terms: self.terms(header, self.tokens(cell(5))?)?,
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
        if let Some((other, also)) = filled.next() {
            let allowed = format!("nothing, as the row states {}", FORMS[form][0]);
            return Err(self.wrong((FORMS[other][0], self.cell(also[0])), allowed));
        }
        let cells: Vec<&str> = columns.iter().map(|&at| self.cell(at)).collect();
        objective::of_form(form, &cells)
            .map_err(|BadCell { nth, allowed }| self.wrong((FORMS[form][nth], cells[nth]), allowed))
    }

    fn terms(&self, header: &Header, prompt_tokens: u32) -> Result<Terms> {
        let cell = |nth: usize| {
            let cell = header.terms[nth].map_or("", |column| self.cell(column));
            (!cell.is_empty()).then_some((TERMS[nth], cell))
        };
        let class = |(column, cell): (&str, &str)| {
            let class = cell.parse().ok().filter(|&class| u64::from(class) <= PRIORITY.max);
            class.ok_or_else(|| self.wrong((column, cell), PRIORITY))
        };
        let flag = |(column, cell): (&str, &str)| match cell {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.wrong((column, cell), "0, 1 or nothing")),
        };
        let cached = |(column, cell): (&str, &str)| {
            let tokens = cell.parse().ok().filter(|&tokens| tokens < prompt_tokens);
            let allowed = format!("fewer than the {prompt_tokens} tokens of the prompt");
            tokens.ok_or_else(|| self.wrong((column, cell), allowed))
        };
        Ok(Terms {
            priority: cell(0).map_or(Ok(0), class)?,
            cancel_after: cell(1).map(|cell| self.time(cell)).transpose()?,
            supersedes: cell(2).map_or(Ok(false), flag)?,
            cached_tokens: cell(3).map_or(Ok(0), cached)?,
        })
    }

    fn item(&self, cell: (&str, &str)) -> Result<ItemId> {
        ItemId::parse(cell.1).map_err(|_| self.wrong(cell, "1 to 256 printed bytes"))
    }

    fn name<'c>(&self, cell: (&str, &'c str)) -> Result<&'c str> {
        if cell.1.is_empty() { Err(self.wrong(cell, "a name")) } else { Ok(cell.1) }
    }

    fn number<T: FromStr + PartialOrd + From<u8>>(&self, cell: (&str, &str), min: u8) -> Result<T> {
        let bits = 8 * size_of::<T>();
        let number = cell.1.parse().ok().filter(|number| *number >= T::from(min));
        number.ok_or_else(|| self.wrong(cell, format!("a whole number from {min}, of {bits} bits")))
    }

    fn tokens(&self, cell: (&str, &str)) -> Result<u32> {
        let tokens: u32 = self.number(cell, 1)?;
        let few = u64::from(tokens) <= TOKENS.max;
        if few { Ok(tokens) } else { Err(self.wrong(cell, TOKENS)) }
    }

    fn time(&self, cell: (&str, &str)) -> Result<Duration> {
        let nanos = nanos_of_decimal_millis(cell.1).filter(|&n| n <= TIME_MS.max * 1_000_000);
        let nanos = nanos.ok_or_else(|| self.wrong(cell, objective::decimal(TIME_MS)))?;
        Ok(Duration::from_nanos(nanos))
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
