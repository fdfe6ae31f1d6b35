//! Labels of the score-head: how much the base model's answer suffers when a span of the passage is
//! left out, given the question.
//!
//! Suffering is ln p(gold | whole passage) − ln p(gold | passage without the span), where p is the
//! softmax of the options' mean log-likelihoods, as accuracy has it. Spans are nested: every
//! sentence, every phrase of a passage, every word of the sentence that hurt most. The prompt has
//! no shots: these go first in any case, and without them a label costs a sixth.
//!
//! A label file is a line of JSON per item, appended as it is measured; after a kill, whole lines
//! stay.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::items::Part;
use crate::elastify::offline_cost::Meter;
use crate::engine::Engine;
use crate::engine::scorer::{self, Task};
use crate::error::{Error, Result};
use crate::model::recorded::Spent;
use crate::prompt::compress::spans;
use crate::prompt::{Item, Tokenize};
use crate::units::Level;

/// What kind of span was left out, from large to small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A sentence.
    Sentence,
    /// A part of a sentence between marks.
    Phrase,
    /// A word.
    Word,
}

/// One span and what leaving it out cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanLabel {
    /// Its kind.
    pub unit: Unit,
    /// The passage's bytes.
    pub bytes: Range<usize>,
    /// Loss of ln p(gold), in nats; negative if the answer got likelier.
    pub drop: f32,
}

/// The labels of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemLabels {
    /// Its dataset.
    pub dataset: String,
    /// Its number there.
    pub item: u32,
    /// What it is for.
    pub part: Part,
    /// ln p(gold) with the whole passage, if the model was asked.
    pub whole: Option<f32>,
    /// Tokens of the base model that were read.
    pub tokens: usize,
    /// What it cost to measure.
    #[serde(default)]
    pub spent: Spent,
    /// Spans of the passage.
    pub spans: Vec<SpanLabel>,
}

/// A file of labels that grows.
#[derive(Debug)]
pub struct LabelFile {
    path: PathBuf,
    rows: Vec<ItemLabels>,
}

impl LabelFile {
    /// Opens `path`, or starts it; a part of a line that a kill left at the end is dropped.
    ///
    /// # Errors
    /// If the file cannot be read or a whole line is no label.
    pub fn open(path: &Path) -> Result<Self> {
        let mut text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(path, "cannot read", error)),
        };
        let cut_off = text.split_off(text.rfind('\n').map_or(0, |end| end + 1));
        if !cut_off.is_empty() && !cut_off.starts_with('{') {
            return Err(Error::file(path, "not a file of labels").allowed("lines of JSON"));
        }
        let row = |(index, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| {
                let place = format!("line {}", index + 1);
                Error::file(path, "not a label").at(place).caused_by(error)
            })
        };
        let rows = text.lines().enumerate().map(row).collect::<Result<_>>()?;
        crate::files::write_whole(path, text.as_bytes())?;
        Ok(Self { path: path.to_owned(), rows })
    }

    /// What is there.
    #[must_use]
    pub fn rows(&self) -> &[ItemLabels] {
        &self.rows
    }

    /// Whether the item is there.
    #[must_use]
    pub fn contains(&self, dataset: &str, item: u32) -> bool {
        self.rows.iter().any(|row| row.item == item && row.dataset == dataset)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If it cannot be written.
    #[expect(clippy::missing_panics_doc, reason = "labels are plain data")]
    pub fn append(&mut self, row: ItemLabels) -> Result<()> {
        let mut line = serde_json::to_string(&row).expect("labels are plain data");
        line.push('\n');
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| Error::io(&self.path, "cannot append", error))?;
        self.rows.push(row);
        Ok(())
    }
}

/// Measures the labels of `item` of `dataset` with the full model, down to spans of `depth`;
/// without a depth the model is not asked and the item merely listed. `None` if it has no passage.
///
/// # Errors
/// If inference fails.
pub fn measure(
    engine: &mut Engine,
    tokenizer: &dyn Tokenize,
    dataset: &str,
    item: &Item,
    part: Part,
    depth: Option<Unit>,
) -> Result<Option<ItemLabels>> {
    let Some(passage) = &item.passage else { return Ok(None) };
    let dataset = dataset.to_owned();
    let mut row = ItemLabels {
        dataset,
        item: item.id,
        part,
        whole: None,
        tokens: 0,
        spent: Spent::default(),
        spans: Vec::new(),
    };
    let Some(depth) = depth else { return Ok(Some(row)) };
    let meter = Meter::start();
    let mut measured = Measured { engine, tokenizer, item, passage, tokens: 0 };
    let whole = measured.gold(std::slice::from_ref(passage))?[0];
    let sentences = spans::sentences(passage);
    let mut labels = measured.drops(Unit::Sentence, &sentences, whole)?;
    let worst = labels.iter().max_by(|a, b| a.drop.total_cmp(&b.drop)).map(|l| l.bytes.clone());
    // A phrase that is a sentence has its label.
    let mut phrases = spans::phrases(passage);
    phrases.retain(|phrase| !sentences.contains(phrase));
    if depth >= Unit::Phrase {
        labels.extend(measured.drops(Unit::Phrase, &phrases, whole)?);
    }
    if let (Unit::Word, Some(worst)) = (depth, worst) {
        let words = spans::words(&passage[worst.clone()]).into_iter();
        let words: Vec<_> = words.map(|w| worst.start + w.start..worst.start + w.end).collect();
        labels.extend(measured.drops(Unit::Word, &words, whole)?);
    }
    (row.whole, row.tokens, row.spans) = (Some(whole), measured.tokens, labels);
    row.spent = meter.spent();
    Ok(Some(row))
}

struct Measured<'a> {
    engine: &'a mut Engine,
    tokenizer: &'a dyn Tokenize,
    item: &'a Item,
    passage: &'a str,
    tokens: usize,
}

impl Measured<'_> {
    fn drops(&mut self, unit: Unit, spans: &[Range<usize>], whole: f32) -> Result<Vec<SpanLabel>> {
        let passages: Vec<String> = spans.iter().map(|span| without(self.passage, span)).collect();
        let gold = self.gold(&passages)?;
        let label = |(bytes, gold): (&Range<usize>, f32)| SpanLabel {
            unit,
            bytes: bytes.clone(),
            drop: whole - gold,
        };
        Ok(spans.iter().zip(gold).map(label).collect())
    }

    /// ln p(gold) under each passage.
    fn gold(&mut self, passages: &[String]) -> Result<Vec<f32>> {
        let question = &self.item.question;
        let texts = passages.iter().map(|passage| match passage.as_str() {
            "" => question.clone(),
            passage => format!("{passage}\n{question}"),
        });
        let tasks: Vec<Task> = texts.map(|text| task(self.tokenizer, &text, self.item)).collect();
        self.tokens += tasks.iter().map(|task| task.context.len()).sum::<usize>();
        gold(self.engine, &tasks, &vec![self.item.gold; tasks.len()])
    }
}

/// The options of `item` after `prompt`.
pub(super) fn task(tokenizer: &dyn Tokenize, prompt: &str, item: &Item) -> Task {
    Task {
        context: tokenizer.encode(prompt),
        options: item.options.iter().map(|option| tokenizer.encode(option)).collect(),
    }
}

/// ln p(gold) of each task.
pub(super) fn gold(engine: &mut Engine, tasks: &[Task], gold: &[usize]) -> Result<Vec<f32>> {
    let scores = scorer::score(engine, Level::FULL, &tasks.iter().collect::<Vec<_>>())?;
    let pairs = scores.iter().zip(gold);
    Ok(pairs.map(|(scores, &gold)| scores.probability(gold).ln() as f32).collect())
}

/// `text` without `span` and without the white space that it leaves behind twice.
fn without(text: &str, span: &Range<usize>) -> String {
    let (before, after) = (text[..span.start].trim_end(), text[span.end..].trim_start());
    match (before, after) {
        ("", rest) | (rest, "") => rest.to_owned(),
        _ => format!("{before} {after}"),
    }
}

/// The datasets in `rows`.
#[must_use]
pub fn datasets(rows: &[ItemLabels]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.dataset.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn row(item: u32) -> ItemLabels {
        ItemLabels {
            dataset: "sciq".into(),
            item,
            part: Part::Train,
            whole: Some(-0.5),
            tokens: 10,
            spent: Spent::default(),
            spans: vec![SpanLabel { unit: Unit::Word, bytes: 0..4, drop: 0.25 }],
        }
    }

    #[test]
    fn leaving_a_span_out_leaves_one_space() {
        assert_eq!(without("Rocks are old. Heat melts.", &(0..14)), "Heat melts.");
        assert_eq!(without("Rocks are old. Heat melts.", &(15..26)), "Rocks are old.");
        assert_eq!(without("Rocks are old.", &(6..9)), "Rocks old.");
        assert_eq!(without("Rocks", &(0..5)), "");
    }

    #[test]
    fn whole_lines_survive_a_kill_and_measuring_goes_on_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.jsonl");
        let mut file = LabelFile::open(&path).unwrap();
        file.append(row(1)).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"dataset\":\"sc");
        std::fs::write(&path, text).unwrap();
        let mut file = LabelFile::open(&path).unwrap();
        assert!(file.contains("sciq", 1) && !file.contains("sciq", 2));
        file.append(row(2)).unwrap();
        assert_eq!(LabelFile::open(&path).unwrap().rows(), [row(1), row(2)]);
    }

    #[test]
    fn a_line_that_is_no_label_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "my notes\n").unwrap();
        let message = LabelFile::open(&path).unwrap_err().to_string();
        assert!(message.contains("notes.txt, line 1: not a label"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes\n");
        std::fs::write(&path, "my only note").unwrap();
        assert!(LabelFile::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my only note");
    }
}
