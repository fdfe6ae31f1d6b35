//! What the score-head says of a prompt: for each piece of the passage, the probability that it is
//! worth keeping for this question.
//!
//! It reads `[CLS] question [SEP] passage [SEP]`. A passage that is too long for that is read in
//! windows, each with the question.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::graph::{GraphSpec, Precision};
use super::head::Head;
use super::runner::{RunInput, Runner};
use super::score_file::{self, KEEP, ScoreManifest};
use super::tokenizer::{Piece, WordPieces};
use super::trunk::{Place, Trunk};
use crate::engine::session::Runtime;
use crate::error::Result;
use crate::profile::Profiles;
use crate::prompt::compress::score_head::KeepScores;
use crate::prompt::{Compressor, Dataset, Item};

/// The longest question that is read: what is beyond it is left out, so that passages have room.
const QUESTION_PIECES_MAX: usize = 200;

/// One sequence of the score-head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// `[CLS] question [SEP] passage's pieces [SEP]`.
    pub places: Vec<Place>,
    /// Index of the passage's first piece.
    pub first: usize,
    /// The passage's bytes that each of its pieces stands for.
    pub pieces: Vec<Range<usize>>,
}

/// The sequences to read for `question` and `passage`, at most `positions` places each; none if
/// the passage is empty.
///
/// # Panics
/// If `positions` leaves no room beside the question.
#[must_use]
pub fn windows(
    tokenizer: &WordPieces,
    question: &str,
    passage: &str,
    positions: usize,
) -> Vec<Window> {
    let mut question = tokenizer.encode(question);
    question.truncate(QUESTION_PIECES_MAX.min(positions / 2));
    let pieces = tokenizer.encode(passage);
    let room = positions.checked_sub(question.len() + 3).expect("room beside the question");
    pieces.chunks(room).map(|pieces| window(tokenizer, &question, pieces)).collect()
}

fn window(tokenizer: &WordPieces, question: &[Piece], pieces: &[Piece]) -> Window {
    let ids = |pieces: &[Piece]| pieces.iter().map(|piece| piece.id).collect::<Vec<_>>();
    let separator = [tokenizer.separator()];
    let first_text = [&[tokenizer.start()][..], &ids(question), &separator].concat();
    let second_text = [&ids(pieces)[..], &separator].concat();
    let first = first_text.len();
    let segments = first_text.into_iter().map(|id| (id, 0));
    let segments = segments.chain(second_text.into_iter().map(|id| (id, 1)));
    let places = segments
        .zip(0..)
        .map(|((id, segment), position)| Place { id, position, segment })
        .collect();
    Window { places, first, pieces: pieces.iter().map(|piece| piece.bytes.clone()).collect() }
}

/// A trained score-head, ready to read prompts.
#[derive(Debug)]
pub struct ScoreHead {
    manifest: ScoreManifest,
    trunk: Trunk,
    tokenizer: WordPieces,
    runner: Runner,
}

impl ScoreHead {
    /// The head in `folder` on the trunk in the cache of assets.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the head is another trunk's.
    pub fn open(folder: &Path, runtime: &Runtime) -> Result<Self> {
        let trunk = Trunk::of_assets()?;
        let (manifest, head) = score_file::load(folder, &trunk)?;
        let runner = runner(runtime, &trunk, &head, manifest.shared_layers, manifest.precision)?;
        Ok(Self { manifest, tokenizer: WordPieces::of_assets()?, trunk, runner })
    }

    /// The head that scores for `compressor` in a checkout of the project.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(compressor: Compressor, base_model: &str, runtime: &Runtime) -> Result<Self> {
        Self::open(&folder_of(compressor, base_model), runtime)
    }

    /// Where it comes from.
    #[must_use]
    pub fn manifest(&self) -> &ScoreManifest {
        &self.manifest
    }

    /// What is worth keeping of the prompt of `item`.
    ///
    /// # Errors
    /// If inference fails.
    #[expect(clippy::missing_panics_doc, reason = "the graph has that read-out")]
    pub fn scores(&mut self, dataset: &Dataset, item: &Item) -> Result<KeepScores> {
        let shots = self.manifest.shots.get(&dataset.name).cloned().unwrap_or_default();
        let mut scores = KeepScores { shots, passage: Vec::new() };
        let Some(passage) = &item.passage else { return Ok(scores) };
        let positions = self.trunk.config().positions;
        for window in windows(&self.tokenizer, &item.question, passage, positions) {
            let embedded = self.trunk.embeddings().sum(&window.places, &[]);
            let input = RunInput { embedded: &embedded, ..RunInput::default() };
            let odds = self.runner.run(&input)?.remove(KEEP).expect("the graph's one read-out");
            let odds = odds[window.first..].iter();
            let probability = |odds: &f32| 1.0 / (1.0 + (-odds).exp());
            scores.passage.extend(window.pieces.into_iter().zip(odds.map(probability)));
        }
        Ok(scores)
    }
}

/// A runner of the score-head alone.
pub(crate) fn runner(
    runtime: &Runtime,
    trunk: &Trunk,
    head: &Head,
    shared_layers: usize,
    precision: Precision,
) -> Result<Runner> {
    let heads = [head];
    let spec = GraphSpec { trunk, shared_layers, heads: &heads, precision, masked: false };
    Runner::open(runtime, &spec)
}

/// The folder of the heads of `base_model` in a checkout of the project.
#[must_use]
pub fn folder(base_model: &str) -> PathBuf {
    Profiles::default().tlm(base_model)
}

/// The folder in there of the head that scores for `compressor`.
#[must_use]
pub fn folder_of(compressor: Compressor, base_model: &str) -> PathBuf {
    match compressor {
        Compressor::Lingua => folder(base_model).join(Compressor::Lingua.name()),
        _ => folder(base_model),
    }
}
