//! What a request's prompt says: its item's own words, or words of the same length.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::item::ItemId;
use crate::prompt::{DataPaths, Dataset, Item};
use crate::request::Request;
use crate::trace::Trace;

/// A sentence of filler, and how many bytes of text make up a token of English on the whole.
const SENTENCE: &str = "The ferry leaves at nine in the morning. ";
const BYTES_PER_TOKEN: usize = 4;
const QUESTION: &str = "\n\nWhen does it leave?";

/// Where the prompts of a trace come from.
#[derive(Debug)]
pub enum Prompts {
    /// The items that requests name, of these datasets by name.
    Items(BTreeMap<String, Dataset>),
    /// Words without meaning, about as long: for a server that reads nothing into them.
    Filler,
}

/// A prompt, in the two parts that a call has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What the answer may draw on, and what may be cut.
    pub context: Option<String>,
    /// What the model goes on with.
    pub prompt: String,
}

impl Prompts {
    /// The items that `trace` asks about, read where `data` says.
    ///
    /// # Errors
    /// If a dataset is unknown or not there, or has no such item.
    pub fn of(trace: &Trace, data: &DataPaths) -> Result<Self> {
        let load = |name: &String| Ok((name.clone(), data.load(name)?));
        let datasets = trace.datasets.iter().map(load).collect::<Result<_>>()?;
        let prompts = Self::Items(datasets);
        for request in &trace.requests {
            let name = trace.dataset(request.dataset);
            if prompts.item(name, request.item).is_none() {
                return Err(Error::new(format!("trace, request {}", request.id), "no such item")
                    .found(format!("{name} item {}", request.item))
                    .allowed("an item that is scored"));
            }
        }
        Ok(prompts)
    }

    /// The item that is asked, with its dataset; `None` if there is none, or words are filler.
    pub(super) fn item(&self, dataset: &str, item: ItemId) -> Option<(&Dataset, &Item)> {
        let Self::Items(datasets) = self else { return None };
        let dataset = datasets.get(dataset)?;
        let item = dataset.items.iter().find(|one| item == one.id)?;
        Some((dataset, item))
    }

    /// The prompt of `request`, which is of `trace`.
    pub(super) fn words(&self, trace: &Trace, request: &Request) -> Words {
        match self.item(trace.dataset(request.dataset), request.item) {
            Some((dataset, item)) => of_item(dataset, item),
            None => Words { context: None, prompt: filler(request.prompt_tokens) },
        }
    }
}

/// A passage may be cut, as shots may: it is handed over as a document.
fn of_item(dataset: &Dataset, item: &Item) -> Words {
    match &item.passage {
        None => Words { context: None, prompt: dataset.render(item) },
        Some(passage) => {
            Words { context: Some(dataset.shots.concat() + passage), prompt: item.question.clone() }
        }
    }
}

fn filler(tokens: u32) -> String {
    let bytes = (tokens as usize * BYTES_PER_TOKEN).saturating_sub(QUESTION.len());
    let mut text = SENTENCE.repeat(bytes.div_ceil(SENTENCE.len()));
    text.truncate(bytes);
    text + QUESTION
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 tokens are 400 bytes, of which the question has 21.
    #[test]
    fn filler_is_as_long_as_asked_and_ends_in_a_question() {
        let text = filler(100);
        assert_eq!(text.len(), 400);
        assert!(text.starts_with(SENTENCE) && text.ends_with(QUESTION));
        assert_eq!(filler(1), QUESTION);
    }

    #[test]
    fn a_passage_is_handed_over_as_a_document_and_the_rest_as_it_stands() {
        let dataset =
            Dataset { shots: vec!["A.\n\n".into(), "B.\n\n".into()], ..Dataset::default() };
        let item = Item {
            id: 3,
            passage: None,
            question: "Why?\nAnswer:".into(),
            options: vec![" so".into(), " not".into()],
            gold: 0,
        };
        let whole = Words { context: None, prompt: "A.\n\nB.\n\nWhy?\nAnswer:".into() };
        assert_eq!(of_item(&dataset, &item), whole);
        let item = Item { passage: Some("It rains.".into()), ..item };
        let parts = of_item(&dataset, &item);
        assert_eq!(parts.context.as_deref(), Some("A.\n\nB.\n\nIt rains."));
        assert_eq!(parts.prompt, "Why?\nAnswer:");
    }
}
