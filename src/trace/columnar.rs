//! The columnar form of a trace, for large ones: a fifth of the CSV's size, checksummed.
//!
//! ```text
//! 8 bytes   "PLIANTTR"
//! u32       version, 1
//! u32       length of the header
//! header    JSON: {"requests": n, "apps": […], "datasets": […], "provenance": […]}
//! 10 times  u64 length, then that many bytes: a zlib stream of n integers
//!           id u64, arrival_ns u64 (both as differences from the row before, modulo 2^64),
//!           app u16, dataset u16 (indices of the header), item u32, prompt_tokens u32,
//!           output_tokens u32, slo_kind u8, ttft u64, tpot u64
//! 32 bytes  SHA-256 of everything before
//! ```
//!
//! All integers are little-endian. `slo_kind` is 0 for TTFT and TPOT in thousandths of the base
//! model's, 1 for the two in nanoseconds; 2 and 3 for end-to-end time in the same units, 4 and 5 for
//! energy in thousandths and nanojoules: one bound, in the place of `ttft`, and 0 in that of `tpot`.
//! Why not Parquet? Its crates would more than double the build for
//! ten columns of integers; `pliant trace export --format native` gives a CSV that any tool
//! converts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Trace;
use crate::digest;
use crate::error::{Error, Result};
use crate::files;
use crate::request::{AppId, DatasetId, Limit, Request, Slo};
use crate::units::{Energy, Ratio, SimTime};

/// What a columnar file starts with.
pub(super) const MAGIC: &[u8; 8] = b"PLIANTTR";
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = 32;

/// Columns and the bytes of one value.
const COLUMNS: [(&str, usize); 10] = [
    ("id", 8),
    ("arrival_ns", 8),
    ("app", 2),
    ("dataset", 2),
    ("item", 4),
    ("prompt_tokens", 4),
    ("output_tokens", 4),
    ("slo_kind", 1),
    ("ttft", 8),
    ("tpot", 8),
];

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    requests: usize,
    apps: Vec<String>,
    datasets: Vec<String>,
    provenance: Vec<String>,
}

impl Trace {
    /// Writes the trace to the file `path` in columns.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If the header is longer than 4 GiB.
    pub fn write_columns(&self, path: &Path) -> Result<()> {
        let header = Header {
            requests: self.requests.len(),
            apps: self.apps.clone(),
            datasets: self.datasets.clone(),
            provenance: self.provenance.clone(),
        };
        let header = serde_json::to_vec(&header).expect("a header is plain data");
        let length = u32::try_from(header.len()).expect("a header is short");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(header);
        for (column, (_, width)) in COLUMNS.iter().enumerate() {
            let packed = pack(&self.requests, column, *width);
            bytes.extend((packed.len() as u64).to_le_bytes());
            bytes.extend(packed);
        }
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum);
        files::write_whole(path, &bytes)
    }

    /// SHA-256 of all that a replay sees: names and requests, and not how the trace was made.
    ///
    /// # Panics
    /// Never: names are plain text.
    #[must_use]
    pub fn digest(&self) -> String {
        let names =
            serde_json::to_vec(&(&self.apps, &self.datasets)).expect("names are plain text");
        let mut hash = Sha256::new_with_prefix(names);
        for cell in self.requests.iter().flat_map(cells) {
            hash.update(cell.to_le_bytes());
        }
        digest::finish(hash)
    }

    /// Reads the columnar file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is of another kind or version, damaged, or holds what no trace can.
    pub fn read_columns(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| Error::io(path, "cannot read", error))?;
        Reader { path, rest: &bytes }.trace()
    }
}

/// The values of one column, packed; those of ids and instants as differences.
fn pack(requests: &[Request], column: usize, width: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut last = 0;
    for request in requests {
        let value = cells(request)[column];
        let written = if column < 2 { value.wrapping_sub(last) } else { value };
        last = value;
        encoder.write_all(&written.to_le_bytes()[..width]).expect("memory takes any bytes");
    }
    encoder.finish().expect("memory takes any bytes")
}

/// The values of a request, in the order of [`COLUMNS`].
fn cells(request: &Request) -> [u64; COLUMNS.len()] {
    let share = |share: Ratio| u64::from(share.thousandths());
    let nanos = |time: Duration| time.as_nanos() as u64;
    let (kind, ttft, tpot) = match request.slo {
        Slo::Relative { ttft, tpot } => (0, share(ttft), share(tpot)),
        Slo::Absolute { ttft, tpot } => (1, nanos(ttft), nanos(tpot)),
        Slo::EndToEnd(Limit::Share(of)) => (2, share(of), 0),
        Slo::EndToEnd(Limit::Absolute(time)) => (3, nanos(time), 0),
        Slo::Energy(Limit::Share(of)) => (4, share(of), 0),
        Slo::Energy(Limit::Absolute(energy)) => (5, energy.as_nanojoules(), 0),
    };
    [
        request.id,
        request.arrival.as_nanos(),
        u64::from(request.app.0),
        u64::from(request.dataset.0),
        u64::from(request.item),
        u64::from(request.prompt_tokens),
        u64::from(request.output_tokens),
        kind,
        ttft,
        tpot,
    ]
}

/// A file on its way to a [`Trace`].
struct Reader<'a> {
    path: &'a Path,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn trace(mut self) -> Result<Trace> {
        if self.rest.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(self.damaged("not a columnar trace"));
        }
        let end = self.rest.len().saturating_sub(CHECKSUM_BYTES);
        let (body, checksum) = self.rest.split_at(end);
        let intact = Sha256::digest(body).as_slice() == checksum;
        self.rest = &body[MAGIC.len().min(body.len())..];
        let version = u32::from_le_bytes(self.take()?);
        if version != VERSION {
            return Err(self.damaged("unknown version").found(version).allowed(VERSION));
        }
        if !intact {
            return Err(self.damaged("damaged: the checksum does not match"));
        }
        let length = u32::from_le_bytes(self.take()?) as usize;
        let header: Header = serde_json::from_slice(self.bytes(length)?)
            .map_err(|cause| self.damaged("bad header").caused_by(cause))?;
        let mut columns = Vec::new();
        for (name, width) in COLUMNS {
            columns.push(self.column(name, width, header.requests)?);
        }
        let Header { requests, apps, datasets, provenance } = header;
        let cell = |column: usize, row: usize| columns[column][row];
        let mut trace = Trace { provenance, apps, datasets, requests: Vec::new() };
        for row in 0..requests {
            let cells = std::array::from_fn(|column| cell(column, row));
            let request = request(&trace, cells)
                .ok_or_else(|| self.damaged("impossible request").at(format!("row {}", row + 1)))?;
            trace.requests.push(request);
        }
        self.check(&trace)?;
        Ok(trace)
    }

    fn bytes(&mut self, length: usize) -> Result<&[u8]> {
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.damaged("cut short"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("as long as asked for"))
    }

    /// The values of the next column. Never unpacks more than `count` values.
    fn column(&mut self, name: &str, width: usize, count: usize) -> Result<Vec<u64>> {
        let length = usize::try_from(u64::from_le_bytes(self.take()?)).unwrap_or(usize::MAX);
        let wrong = self.damaged("not as many values as requests").at(format!("column {name}"));
        let packed = self.bytes(length)?;
        let expected = count.saturating_mul(width);
        let mut unpacked = Vec::new();
        let limit = (expected as u64).saturating_add(1);
        let read = ZlibDecoder::new(packed).take(limit).read_to_end(&mut unpacked);
        if read.ok() != Some(expected) {
            return Err(wrong.allowed(count));
        }
        let mut last = 0_u64;
        let value = |bytes: &[u8]| {
            let mut cell = [0; 8];
            cell[..width].copy_from_slice(bytes);
            let value = u64::from_le_bytes(cell);
            if matches!(name, "id" | "arrival_ns") {
                last = last.wrapping_add(value);
                return last;
            }
            value
        };
        Ok(unpacked.chunks_exact(width).map(value).collect())
    }

    fn check(&self, trace: &Trace) -> Result<()> {
        if !trace.requests.is_sorted_by_key(|request| request.arrival) {
            return Err(self.damaged("rows are not sorted by arrival"));
        }
        let rising = trace.requests.windows(2).all(|pair| pair[0].id < pair[1].id);
        let ids = || trace.requests.iter().map(|request| request.id);
        if !rising && ids().collect::<BTreeSet<_>>().len() < trace.requests.len() {
            return Err(self.damaged("id appears twice"));
        }
        Ok(())
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::file(self.path, problem)
    }
}

/// The request of a row, if there can be one.
fn request(trace: &Trace, cells: [u64; COLUMNS.len()]) -> Option<Request> {
    let [id, arrival, app, dataset, item, prompt, output, kind, ttft, tpot] = cells;
    let known = app < trace.apps.len() as u64 && dataset < trace.datasets.len() as u64;
    let share = |thousandths: u64| {
        let share = (1..=1000).contains(&thousandths).then_some(thousandths as f64 / 1000.0);
        share.and_then(Ratio::new)
    };
    let slo = match kind {
        0 => Slo::Relative { ttft: share(ttft)?, tpot: share(tpot)? },
        1 => Slo::Absolute { ttft: Duration::from_nanos(ttft), tpot: Duration::from_nanos(tpot) },
        2 => Slo::EndToEnd(Limit::Share(share(ttft)?)),
        3 => Slo::EndToEnd(Limit::Absolute(Duration::from_nanos(ttft))),
        4 => Slo::Energy(Limit::Share(share(ttft)?)),
        5 => Slo::Energy(Limit::Absolute(Energy::from_nanojoules(ttft))),
        _ => return None,
    };
    (known && prompt > 0 && output > 0).then_some(Request {
        id,
        arrival: SimTime::from_nanos(arrival),
        app: AppId(app as u16),
        dataset: DatasetId(dataset as u16),
        item: item as u32,
        prompt_tokens: prompt as u32,
        output_tokens: output as u32,
        slo,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(requests: u64) -> Trace {
        let request = |nth: u64| Request {
            id: (nth * 7) % requests.max(1),
            arrival: SimTime::from_nanos(nth * 123_456_789),
            app: AppId((nth % 2) as u16),
            dataset: DatasetId(0),
            item: nth as u32 % 50,
            prompt_tokens: 100 + nth as u32 % 9,
            output_tokens: 16,
            slo: match nth % 9 {
                0 | 3 | 6 => {
                    Slo::Absolute { ttft: Duration::from_millis(250), tpot: Duration::ZERO }
                }
                1 => Slo::EndToEnd(Limit::Share(Ratio::percent(40))),
                2 => Slo::EndToEnd(Limit::Absolute(Duration::from_millis(900))),
                4 => Slo::Energy(Limit::Share(Ratio::percent(70))),
                5 => Slo::Energy(Limit::Absolute(Energy::from_nanojoules(7))),
                _ => Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::new(0.605).unwrap() },
            },
        };
        Trace {
            provenance: vec!["by hand".into(), String::new()],
            apps: vec!["GMail, work".into(), "Rewind".into()],
            datasets: vec!["piqa".into()],
            requests: (0..requests).map(request).collect(),
        }
    }

    #[test]
    fn a_trace_reads_as_written_and_either_form_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        for requests in [2, 1000] {
            let trace = trace(requests);
            for name in ["trace.csv", "trace.plt"] {
                let path = folder.path().join(name);
                trace.write(&path).unwrap();
                assert_eq!(Trace::read(&path).unwrap(), trace, "{name}");
            }
        }
        let size = |name| fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size("trace.plt") * 4 < size("trace.csv"));
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.plt");
        trace(20).write(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let message = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Trace::read_columns(&path).unwrap_err().to_string()
        };
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            message(&bytes);
        }
        for length in 0..whole.len() {
            message(&whole[..length]);
        }
        let mut later = whole.clone();
        later[8] = 2;
        assert!(message(&later).ends_with("trace.plt: unknown version; found 2; allowed: 1"));
        later[8] = 1;
        later[200] ^= 1;
        assert!(message(&later).ends_with("damaged: the checksum does not match"));
    }

    #[test]
    fn a_sound_checksum_over_nonsense_does_not_help_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.plt");
        let message = |trace: &Trace| {
            trace.write_columns(&path).unwrap();
            Trace::read_columns(&path).unwrap_err().to_string()
        };
        let mut wrong = trace(20);
        wrong.requests[3].prompt_tokens = 0;
        assert!(message(&wrong).ends_with("trace.plt, row 4: impossible request"));
        let mut wrong = trace(20);
        wrong.requests[3].app = AppId(2);
        assert!(message(&wrong).ends_with("row 4: impossible request"));
        let mut wrong = trace(20);
        wrong.requests[3].id = wrong.requests[4].id;
        assert!(message(&wrong).ends_with("id appears twice"));
        let mut wrong = trace(20);
        wrong.requests.swap(1, 2);
        assert!(message(&wrong).ends_with("rows are not sorted by arrival"));
    }
}
