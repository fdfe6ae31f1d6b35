//! How many tokens each item's prompt has at each prompt ratio.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::curve::MAX_TOKENS;
use super::quality::asked;
use super::text;
use crate::error::{Error, Result};
use crate::files;
use crate::units::PROMPT_RATIOS;

const RATIOS: usize = PROMPT_RATIOS.len();
const HEADER: [&str; 12] =
    ["dataset", "item", "r10", "r20", "r30", "r40", "r50", "r60", "r70", "r80", "r90", "r100"];

/// Tokens that the model really reads of one item, in the order of [`PROMPT_RATIOS`].
///
/// A compressor may not drop the question, so small ratios may keep more than their share. The
/// last is the full prompt.
pub type ItemLengths = [u32; RATIOS];

/// Prompt lengths under one compressor: `<dir>/<compressor>.tokens.csv`.
///
/// A length depends on the text alone, not on the level and not on the right answer, so a service
/// may know it before it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptLengths {
    datasets: BTreeMap<String, BTreeMap<u32, ItemLengths>>,
}

impl PromptLengths {
    /// Reads `<dir>/<compressor>.tokens.csv`.
    ///
    /// # Errors
    /// If the file cannot be read, has other columns, an item twice, or lengths that are zero,
    /// above [`MAX_TOKENS`] or falling with a rising ratio.
    pub fn load(dir: &Path, compressor: &str) -> Result<Self> {
        let path = dir.join(format!("{compressor}.tokens.csv"));
        let text = text::read(&path)?;
        let mut lengths = Self::default();
        for (line, row) in text::csv_rows(&path, &text, &HEADER)? {
            let item = text::number(&path, line, "item", &row[1], "a whole number")?;
            let mut tokens = [0; RATIOS];
            for (column, tokens) in tokens.iter_mut().enumerate() {
                let name = HEADER[2 + column];
                *tokens = text::number(&path, line, name, &row[2 + column], "a whole number")?;
            }
            let sound = tokens[0] > 0 && tokens[RATIOS - 1] <= MAX_TOKENS && tokens.is_sorted();
            if !sound || lengths.insert(&row[0], item, tokens).is_some() {
                let found = row.iter().collect::<Vec<_>>().join(",");
                return Err(Error::file(&path, "impossible lengths")
                    .at(format!("line {line}"))
                    .found(found)
                    .allowed(format!("each item once, 1 to {MAX_TOKENS} tokens, never falling")));
            }
        }
        Ok(lengths)
    }

    /// What `<dir>/<compressor>.tokens.csv` has, if there is one: other runs may have measured other
    /// datasets.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_table(dir: &Path, compressor: &str) -> Result<Self> {
        if !Self::is_there(dir, compressor) {
            return Ok(Self::default());
        }
        Self::load(dir, compressor)
    }

    /// Whether `<dir>/<compressor>.tokens.csv` is there.
    #[must_use]
    pub fn is_there(dir: &Path, compressor: &str) -> bool {
        dir.join(format!("{compressor}.tokens.csv")).exists()
    }

    /// The same with what `<dir>/<compressor>.asked.tokens.csv` has of further items, those that were
    /// not measured whole.
    ///
    /// # Errors
    /// As [`load`](Self::load), of either file, or if neither is there.
    pub fn load_asked(dir: &Path, compressor: &str) -> Result<Self> {
        if !Self::is_there(dir, &asked(compressor)) {
            return Self::load(dir, compressor);
        }
        let mut lengths = Self::load(dir, &asked(compressor))?;
        for (dataset, item, tokens) in Self::of_table(dir, compressor)?.iter() {
            lengths.insert(dataset, item, *tokens);
        }
        Ok(lengths)
    }

    /// Writes `<dir>/<compressor>.tokens.csv`, replacing an older one in one step.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn save(&self, dir: &Path, compressor: &str) -> Result<()> {
        let mut text = HEADER.join(",");
        text.push('\n');
        for (dataset, item, tokens) in self.iter() {
            let tokens = tokens.map(|count| count.to_string()).join(",");
            writeln!(text, "{dataset},{item},{tokens}").expect("a string can always grow");
        }
        files::write_whole(&dir.join(format!("{compressor}.tokens.csv")), text.as_bytes())
    }

    /// Sets an item's lengths and returns what they were.
    pub fn insert(&mut self, dataset: &str, item: u32, tokens: ItemLengths) -> Option<ItemLengths> {
        self.datasets.entry(dataset.to_owned()).or_default().insert(item, tokens)
    }

    /// The lengths of an item.
    #[must_use]
    pub fn of(&self, dataset: &str, item: u32) -> Option<&ItemLengths> {
        self.datasets.get(dataset)?.get(&item)
    }

    /// Every item, by dataset, then number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32, &ItemLengths)> {
        self.datasets.iter().flat_map(|(dataset, items)| {
            items.iter().map(move |(&item, tokens)| (dataset.as_str(), item, tokens))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip_and_impossible_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut lengths = PromptLengths::default();
        lengths.insert("sciq", 4, [5, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        lengths.insert("piqa", 9, [1; 10]);
        lengths.save(folder.path(), "structured").unwrap();
        assert_eq!(PromptLengths::load(folder.path(), "structured").unwrap(), lengths);
        assert_eq!(lengths.of("sciq", 4).unwrap()[9], 13);
        assert_eq!(lengths.of("sciq", 5), None);
        assert_eq!(PromptLengths::of_table(folder.path(), "structured").unwrap(), lengths);
        assert_eq!(
            PromptLengths::of_table(folder.path(), "none").unwrap(),
            PromptLengths::default()
        );

        lengths.insert("sciq", 4, [5, 4, 6, 7, 8, 9, 10, 11, 12, 13]);
        lengths.save(folder.path(), "falling").unwrap();
        let mut further = PromptLengths::default();
        further.insert("sciq", 5, [2; 10]);
        further.save(folder.path(), "structured.asked").unwrap();
        let both = PromptLengths::load_asked(folder.path(), "structured").unwrap();
        assert_eq!((both.of("sciq", 5).unwrap()[9], both.of("sciq", 4).unwrap()[9]), (2, 13));
        assert_eq!(PromptLengths::load(folder.path(), "structured").unwrap().of("sciq", 5), None);
        further.save(folder.path(), "alone.asked").unwrap();
        assert_eq!(PromptLengths::load_asked(folder.path(), "alone").unwrap(), further);
        PromptLengths::load_asked(folder.path(), "none").unwrap_err();

        let message = PromptLengths::load(folder.path(), "falling").unwrap_err().to_string();
        insta::assert_snapshot!(message.split_once("falling.tokens.csv").unwrap().1);
    }
}
