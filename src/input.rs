//! Inputs: a file, a pipe or standard input, opened once and read whole.
//!
//! What is read is what is hashed, and what a reader sees: `gzip` and `zstd` are unpacked, whatever
//! the file's name, and a byte-order mark is left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::digest;
use crate::error::{Error, Result};
use crate::limits::{CELLS, INPUT_BYTES};

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";
/// What a file packed by `gzip` starts with.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What a frame of `zstd` starts with.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A text that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    path: PathBuf,
    text: String,
    sha256: String,
}

impl Input {
    /// Reads `path`, which may be a named pipe; `-` is standard input.
    ///
    /// # Errors
    /// If it cannot be read or unpacked, is longer than [`INPUT_BYTES`] allows, or is not UTF-8. If
    /// standard input is asked for a second time.
    pub fn read(path: &Path) -> Result<Self> {
        let asked_for = path;
        let (path, packed) = if path == Path::new(STANDARD_INPUT) {
            let path = Path::new("standard input");
            (path, whole(path, standard_input()?)?)
        } else {
            let file = File::open(path).map_err(|error| Error::io(path, "cannot read", error))?;
            (path, whole(path, file)?)
        };
        let sha256 = digest::sha256(&packed);
        as_read().insert(asked_for.to_owned(), sha256.clone());
        let bytes = unpacked(path, packed)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            Error::file(path, "not UTF-8 text").at(format!("line {}", line_after(good)))
        })?;
        Ok(Self { path: path.to_owned(), text, sha256 })
    }

    /// A text at hand, which messages call `path`.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), sha256: digest::sha256(text.as_bytes()), text }
    }

    /// What messages call it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text, without a byte-order mark.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }

    /// The hash of the bytes that were read, packed if they were.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The value that the text states in TOML.
    ///
    /// # Errors
    /// If it is not TOML, or has a key or value that `T` does not allow; the error names line and
    /// key.
    pub fn toml<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.text();
        toml::from_str(text).map_err(|cause| {
            let error = Error::file(&self.path, cause.message());
            let Some(span) = cause.span() else { return error };
            let line = line_after(&text.as_bytes()[..span.start]);
            // Inside a table whose kind a key states, serde knows the place of the table alone.
            let is_wide = text[span.clone()].contains(['\n', '[', '{']);
            match is_wide.then(|| key_at_fault::<T>(text, &span)).flatten() {
                Some((line, key)) => error.at(format!("line {line}, key \"{key}\"")),
                None => error.at(format!("line {line}")),
            }
        })
    }
}

/// The key of `text` that keeps it from being a `T`, and its line: the one without which something
/// else is wrong, or nothing. Keys from `span` on, where serde saw it, come first.
fn key_at_fault<T: DeserializeOwned>(text: &str, span: &Range<usize>) -> Option<(usize, String)> {
    let whole: Table = toml::from_str(text).ok()?;
    let problem =
        |table: Table| table.try_into::<T>().err().map(|error| error.message().to_owned());
    let said = problem(whole.clone())?;
    let is_at_fault = |key: &Vec<String>| {
        let mut rest = Value::Table(whole.clone());
        let (last, above) = key.split_last().expect("a key has a name");
        let table = above.iter().try_fold(&mut rest, |value, step| child(value, step));
        let removed = table.and_then(|table| table.as_table_mut()?.remove(last));
        let Value::Table(rest) = rest else { return false };
        removed.is_some() && problem(rest).as_ref() != Some(&said)
    };
    let mut keys = Vec::new();
    leaves(&Value::Table(whole.clone()), &mut Vec::new(), &mut keys);
    // Without its kind a table is nothing at all, whatever else is wrong with it.
    // A table's span is its heading: its own keys follow it.
    keys.sort_by_key(|key| {
        let start = start_of(text, key).unwrap_or_default();
        (start < span.start, key.last().is_some_and(|name| name == "kind"), start)
    });
    let key = keys.into_iter().take(KEYS_TRIED).find(is_at_fault)?;
    let start = start_of(text, &key)?;
    Some((line_after(&text.as_bytes()[..start]), key.join(".")))
}

/// Files of ours have fewer keys where a person writes them.
const KEYS_TRIED: usize = 500;

/// What stands at `step` of a table or a list.
fn child<'v>(value: &'v mut Value, step: &str) -> Option<&'v mut Value> {
    match value {
        Value::Table(table) => table.get_mut(step),
        Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The dotted keys of all values in `value` that are no tables; places of a list count from 0.
fn leaves(value: &Value, above: &mut Vec<String>, keys: &mut Vec<Vec<String>>) {
    let steps: Vec<(String, &Value)> = match value {
        Value::Table(table) => table.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) if list.iter().any(Value::is_table) => {
            list.iter().enumerate().map(|(nth, value)| (nth.to_string(), value)).collect()
        }
        _ => return keys.push(above.clone()),
    };
    for (step, value) in steps {
        above.push(step);
        leaves(value, above, keys);
        above.pop();
    }
}

/// Where the value of `key` starts, in bytes.
fn start_of(text: &str, key: &[String]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let (first, below) = key.split_first()?;
    let start = root.get_ref().get(first.as_str())?;
    let found = below.iter().try_fold(start, |value, step| match value.get_ref() {
        DeValue::Table(table) => table.get(step.as_str()),
        DeValue::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })?;
    Some(found.span().start)
}

/// The value that the TOML file `path` states.
///
/// # Errors
/// As [`Input::read`] and [`Input::toml`].
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Input::read(path)?.toml()
}

/// The hashes of what was read, by path.
fn as_read() -> MutexGuard<'static, BTreeMap<PathBuf, String>> {
    static HASHES: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    HASHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hash of what [`Input::read`] found at `path` last; of the file where it was not asked.
///
/// A pipe cannot be read again to be hashed, and a file may have become another one since.
///
/// # Errors
/// If the file has to be read and cannot be.
pub fn sha256_as_read(path: &Path) -> Result<String> {
    let known = as_read().get(path).cloned();
    known.map_or_else(|| digest::sha256_file(path), Ok)
}

/// Whether [`Input::read`] has read `path`, which may be a pipe that is empty by now.
#[must_use]
pub fn was_read(path: &Path) -> bool {
    as_read().contains_key(path)
}

/// Standard input, once.
fn standard_input() -> Result<io::Stdin> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        let error = Error::new("standard input", "is asked for twice");
        return Err(error.allowed("`-` in the place of one file"));
    }
    Ok(io::stdin())
}

/// The line on which the byte after `text` stands.
fn line_after(text: &[u8]) -> usize {
    1 + text.split(|&byte| byte == b'\n').skip(1).count()
}

/// All bytes of `reader`, if they are not too many.
fn whole(path: &Path, reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(INPUT_BYTES.max + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io(path, "cannot read", error))?;
    if bytes.len() as u64 > INPUT_BYTES.max {
        return Err(Error::file(path, "too long").allowed(format!("{} bytes", INPUT_BYTES.max)));
    }
    Ok(bytes)
}

/// What `bytes` hold, if they are packed.
fn unpacked(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.starts_with(GZIP) {
        return whole(path, MultiGzDecoder::new(bytes.as_slice()));
    }
    if !bytes.starts_with(ZSTD) {
        return Ok(bytes);
    }
    let mut frames = Cursor::new(bytes.as_slice());
    let mut text = Vec::new();
    while (frames.position() as usize) < bytes.len() {
        let frame = StreamingDecoder::new(&mut frames)
            .map_err(|error| Error::file(path, "not a whole zstd file").caused_by(error))?;
        let room = INPUT_BYTES.max.saturating_sub(text.len() as u64);
        let unpacked = whole(path, frame.take(room + 1))?;
        text.extend(unpacked);
    }
    Ok(text)
}

/// Whether the two paths are one file, also by a symbolic or a hard link.
///
/// Nothing is opened: either may be a pipe.
#[must_use]
pub fn are_one_file(a: &Path, b: &Path) -> bool {
    let (Ok(of_a), Ok(of_b)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    if !(of_a.is_file() && of_b.is_file()) {
        return false;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        (of_a.dev(), of_a.ino()) == (of_b.dev(), of_b.ino())
    }
    #[cfg(not(unix))]
    {
        fs::canonicalize(a).ok() == fs::canonicalize(b).ok()
    }
}

/// The rows of a CSV text, one after the other, each with its line.
///
/// Rows may be of different lengths. Why not the reader's own records? They number a row's line
/// from the blank ones before it, and keep the room of the longest row so far.
#[derive(Debug)]
pub struct Rows<'a> {
    path: &'a Path,
    text: &'a str,
    skipped: u64,
    reader: csv::Reader<&'a [u8]>,
    record: StringRecord,
}

impl<'a> Rows<'a> {
    /// The rows of `text`, which follows `skipped` lines of the file `path`.
    #[must_use]
    pub fn new(path: &'a Path, text: &'a str, skipped: u64) -> Self {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        Self { path, text, skipped, reader, record: StringRecord::new() }
    }

    /// The next row and its line; `None` at the end.
    ///
    /// # Errors
    /// If what follows is no row, or one of more than [`CELLS`] allows.
    ///
    /// # Panics
    /// Never: a row that was read has a position.
    pub fn next_row(&mut self) -> Result<Option<(u64, &StringRecord)>> {
        let is_row = self.reader.read_record(&mut self.record);
        let is_row = is_row.map_err(|cause| Error::file(self.path, "not CSV").caused_by(cause))?;
        if !is_row {
            return Ok(None);
        }
        let position = self.record.position().expect("a row that was read has a position");
        let blank = self.text.as_bytes()[position.byte() as usize..]
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .filter(|&&byte| byte == b'\n')
            .count() as u64;
        let line = self.skipped + position.line() + blank;
        if self.record.len() as u64 > CELLS.max {
            let error = Error::file(self.path, "too many cells").at(format!("line {line}"));
            return Err(error.found(self.record.len()).allowed(format!("at most {}", CELLS.max)));
        }
        Ok(Some((line, &self.record)))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "read only to be refused")]
    enum Tagged {
        Made { requests: u32, alphas: Vec<f64> },
        File { path: PathBuf },
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read only to be refused")]
    struct Holder {
        name: String,
        trace: Option<Tagged>,
        #[serde(default)]
        others: Vec<Tagged>,
    }

    fn refusal(text: &str) -> String {
        Input::of("file.toml", text).toml::<Holder>().unwrap_err().to_string()
    }

    #[test]
    fn an_error_inside_a_table_with_a_kind_names_its_key_and_line() {
        let trace =
            |lines: &str| refusal(&format!("name = \"x\"\n[trace]\nkind = \"made\"\n{lines}"));
        assert_eq!(
            trace("alphas = [0.0]\n# how many\nrequests = \"many\"\n"),
            "file.toml, line 6, key \"trace.requests\": invalid type: string \"many\", expected u32"
        );
        let wrong = trace("alphas = [0.0, \"steep\"]\nrequests = 5\n");
        assert!(wrong.starts_with("file.toml, line 4, key \"trace.alphas\": "), "{wrong}");
        let unknown = trace("alphas = []\nrequests = 5\ncolour = 1\n");
        assert!(
            unknown.starts_with("file.toml, line 6, key \"trace.colour\": unknown"),
            "{unknown}"
        );
        let missing = trace("requests = 5\n");
        assert!(missing.contains("missing field `alphas`"), "{missing}");
        let list = refusal("name = \"x\"\n[[others]]\nkind = \"file\"\npath = 5\n");
        assert!(list.starts_with("file.toml, line 4, key \"others.0.path\": "), "{list}");
        let kind = refusal("name = \"x\"\ntrace = { kind = \"none\" }\n");
        assert!(kind.starts_with("file.toml, line 2: unknown variant"), "{kind}");
    }

    #[test]
    fn other_errors_name_their_line() {
        assert!(refusal("\nname = 5\n").starts_with("file.toml, line 2: invalid type"));
        assert!(refusal("name =\n").starts_with("file.toml, line 1: "));
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn what_is_hashed_is_what_was_read_and_a_mark_is_left_out() {
        let file = file("\u{feff}abc".as_bytes());
        let input = Input::read(file.path()).unwrap();
        assert_eq!(input.text(), "abc");
        assert_eq!(input.sha256(), digest::sha256("\u{feff}abc".as_bytes()));
        fs::write(file.path(), "changed since").unwrap();
        assert_eq!(sha256_as_read(file.path()).unwrap(), input.sha256());
    }

    /// Two members, two frames: as `cat a.gz b.gz` makes them.
    #[test]
    fn packed_texts_are_read_to_their_last_part() {
        use flate2::{Compression, write::GzEncoder};
        use ruzstd::encoding::{CompressionLevel, compress_to_vec};
        use std::io::Write as _;
        let gzip = |text: &str| {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(text.as_bytes()).unwrap();
            packer.finish().unwrap()
        };
        let zstd = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
        for bytes in [[gzip("one "), gzip("two")].concat(), [zstd("one "), zstd("two")].concat()] {
            let whole = Input::read(file(&bytes).path()).unwrap();
            assert_eq!(whole.text(), "one two");
            assert_eq!(whole.sha256(), digest::sha256(&bytes));
            let cut = Input::read(file(&bytes[..bytes.len() - 3]).path());
            assert!(cut.is_err(), "{cut:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let message = Input::read(file(b"a\nb\xff").path()).unwrap_err().to_string();
        assert!(message.ends_with(", line 2: not UTF-8 text"), "{message}");
        assert!(
            Input::read(Path::new("/nowhere")).unwrap_err().to_string().contains("cannot read")
        );
    }

    /// Lines of blank, quoted and ordinary rows; a row of many cells leaves the next as they are.
    #[test]
    fn rows_know_their_line_and_have_a_bound() {
        let text = "a,b\n\n\n\"c\nd\",e\nf\n";
        let mut rows = Rows::new(Path::new("x.csv"), text, 2);
        let mut seen = Vec::new();
        while let Some((line, row)) = rows.next_row().unwrap() {
            seen.push((line, row.len()));
        }
        assert_eq!(seen, [(3, 2), (6, 2), (8, 1)]);
        let wide = ",".repeat(CELLS.max as usize);
        let message = Rows::new(Path::new("x.csv"), &wide, 0).next_row().unwrap_err().to_string();
        assert_eq!(message, "x.csv, line 1: too many cells; found 10001; allowed: at most 10000");
    }
}
