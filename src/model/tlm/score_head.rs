//! What the score-head says of a prompt: for each piece of the passage, the probability that it is
//! worth keeping for this question.
//!
//! It reads `[CLS] question [SEP] passage [SEP]`. A passage that is too long for that is read in
//! windows, each with the question. Entries of a list are ranked instead where
//! [`Compressor::RankedLists`] asks for it: see [`lists`].

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::encoder::{Encoder, cosine};
use super::graph::{GraphSpec, Precision};
use super::head::Head;
use super::list_file::{self, ListOrders};
use super::runner::{RunInput, Runner};
use super::score_file::{self, KEEP, ScoreManifest};
use super::tokenizer::{Piece, WordPieces};
use super::trunk::{Place, Trunk};
use crate::engine::session::Runtime;
use crate::error::Result;
use crate::profile::Profiles;
use crate::prompt::compress::lists::{self, RankedList, Ranking};
use crate::prompt::compress::score_head::KeepScores;
use crate::prompt::compress::spans;
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
    lists: Option<ListReader>,
}

/// What ranks the entries of lists.
#[derive(Debug)]
struct ListReader {
    encoder: Encoder,
    orders: ListOrders,
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
        Ok(Self { manifest, tokenizer: WordPieces::of_assets()?, trunk, runner, lists: None })
    }

    /// The same with the entries of lists ranked, and shortened as `orders` say.
    ///
    /// # Errors
    /// If ONNX Runtime refuses the encoder.
    pub fn ranking_lists(mut self, orders: ListOrders, runtime: &Runtime) -> Result<Self> {
        let encoder = Encoder::open(runtime, &self.trunk, Precision::Int8)?;
        self.lists = Some(ListReader { encoder, orders });
        Ok(self)
    }

    /// The head that scores for `compressor` in a checkout of the project.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(compressor: Compressor, base_model: &str, runtime: &Runtime) -> Result<Self> {
        let folder = folder_of(compressor, base_model);
        let head = Self::open(&folder, runtime)?;
        match compressor {
            Compressor::RankedLists => head.ranking_lists(list_file::load(&folder)?, runtime),
            _ => Ok(head),
        }
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
    pub fn scores(&mut self, dataset: &Dataset, item: &Item) -> Result<KeepScores> {
        let shots = self.manifest.shots.get(&dataset.name).cloned().unwrap_or_default();
        let mut scores = KeepScores { shots, ..KeepScores::default() };
        let Some(passage) = &item.passage else { return Ok(scores) };
        let kept = self.lists.as_ref().map(|lists| lists.orders.kept(&dataset.name));
        if let Some(kept) = kept.filter(|_| lists::is_list(passage)) {
            let worth = self.worth(&item.question, passage, Ranking::Mixed)?;
            scores.list = Some(RankedList { worth, kept });
        } else {
            scores.passage = self.pieces(&item.question, passage)?;
        }
        Ok(scores)
    }

    /// What each entry of the list `passage` is worth under `ranking`, in the list's order.
    ///
    /// # Errors
    /// If inference fails.
    ///
    /// # Panics
    /// If the encoder is needed and the head was not opened to [rank lists](Self::ranking_lists).
    pub fn worth(&mut self, question: &str, passage: &str, ranking: Ranking) -> Result<Vec<f32>> {
        let entries = lists::entries(passage);
        let worth = match ranking {
            Ranking::Encoder => self.cosines(question, &entries)?,
            Ranking::Overlap => lists::overlap(question, &entries),
            Ranking::Mixed => lists::mixed(
                &self.cosines(question, &entries)?,
                &lists::overlap(question, &entries),
            ),
            Ranking::Mean | Ranking::Maximum => {
                let scores = KeepScores {
                    passage: self.pieces(question, passage)?,
                    ..KeepScores::default()
                };
                let pooled = |span| match ranking {
                    Ranking::Mean => scores.mean(span),
                    _ => scores.maximum(span),
                };
                spans::sentences(passage).iter().map(pooled).collect()
            }
        };
        Ok(worth)
    }

    fn cosines(&mut self, question: &str, entries: &[&str]) -> Result<Vec<f32>> {
        let reader = self.lists.as_mut().expect("a head that ranks lists");
        let texts = std::iter::once(lists::asked(question).to_owned());
        let texts: Vec<String> =
            texts.chain(entries.iter().map(|entry| lists::in_words(entry))).collect();
        let read = reader.encoder.directions(&self.trunk, &self.tokenizer, &texts)?;
        Ok(read[1..].iter().map(|entry| cosine(&read[0], entry)).collect())
    }

    /// Each piece of `passage` with the probability that it is worth keeping.
    fn pieces(&mut self, question: &str, passage: &str) -> Result<Vec<(Range<usize>, f32)>> {
        let positions = self.trunk.config().positions;
        let mut scored = Vec::new();
        for window in windows(&self.tokenizer, question, passage, positions) {
            let embedded = self.trunk.embeddings().sum(&window.places, &[]);
            let input = RunInput { embedded: &embedded, ..RunInput::default() };
            let odds = self.runner.run(&input)?.remove(KEEP).expect("the graph's one read-out");
            let odds = odds[window.first..].iter();
            let probability = |odds: &f32| 1.0 / (1.0 + (-odds).exp());
            scored.extend(window.pieces.into_iter().zip(odds.map(probability)));
        }
        Ok(scored)
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
