//! How many tokens each item's prompt has at each prompt ratio.

use std::collections::BTreeMap;
use std::path::Path;

use super::curve::MAX_TOKENS;
use super::paths::AnswerFiles;
use super::text;
use crate::error::{Error, Result};
use crate::files;
use crate::input::Input;
use crate::item::ItemId;
use crate::units::PROMPT_RATIOS;

const RATIOS: usize = PROMPT_RATIOS.len();
const HEADER: [&str; 13] = [
    "dataset", "item", "asked", "r10", "r20", "r30", "r40", "r50", "r60", "r70", "r80", "r90",
    "r100",
];
/// Columns before the lengths.
const KEYS: usize = 3;

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
    datasets: BTreeMap<String, BTreeMap<ItemId, ItemLengths>>,
}

/// Which rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthsOf {
    /// Items that were measured whole.
    Whole,
    /// Further items, of which only what was asked for is measured.
    Further,
}

impl LengthsOf {
    const fn mark(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Further => "1",
        }
    }
}

impl PromptLengths {
    /// The lengths of items that were measured whole, in `<dir>/<compressor>.tokens.csv`.
    ///
    /// # Errors
    /// If the file cannot be read, has other columns, an item twice, or lengths that are zero,
    /// above [`MAX_TOKENS`] or falling with a rising ratio.
    pub fn load(dir: &Path, compressor: &str) -> Result<Self> {
        Ok(Self::read(dir, compressor)?[0].clone())
    }

    /// The lengths of `which` items, none if there is no file: other runs may have measured other
    /// datasets.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_table(dir: &Path, compressor: &str, which: LengthsOf) -> Result<Self> {
        if !AnswerFiles(dir).lengths(compressor).exists() {
            return Ok(Self::default());
        }
        Ok(Self::read(dir, compressor)?[which as usize].clone())
    }

    /// The lengths of all items.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_asked(dir: &Path, compressor: &str) -> Result<Self> {
        let [mut all, further] = Self::read(dir, compressor)?;
        for (dataset, item, tokens) in further.iter() {
            all.insert(dataset, item, *tokens);
        }
        Ok(all)
    }

    /// Items that were measured whole, and further ones.
    fn read(dir: &Path, compressor: &str) -> Result<[Self; 2]> {
        Self::of_file(&AnswerFiles(dir).lengths(compressor))
    }

    /// The lengths in the file `path`, whatever it is called: of items that were measured whole,
    /// and of further ones.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_file(path: &Path) -> Result<[Self; 2]> {
        let input = Input::read(path)?;
        let (path, text) = (input.path(), input.text());
        let mut lengths = [Self::default(), Self::default()];
        for (line, row) in text::csv_rows(path, text, &HEADER)? {
            let item = text::item(path, line, &row[1])?;
            let mut tokens = [0; RATIOS];
            for (column, tokens) in tokens.iter_mut().enumerate() {
                let (name, field) = (HEADER[KEYS + column], &row[KEYS + column]);
                *tokens = text::number(path, line, name, field, "a whole number")?;
            }
            let which = match &row[2] {
                "" => LengthsOf::Whole,
                "1" => LengthsOf::Further,
                mark => {
                    return Err(Error::file(path, "not a mark")
                        .at(format!("line {line}, column \"asked\""))
                        .found(format!("{mark:?}"))
                        .allowed("1 or empty"));
                }
            };
            let sound = tokens[0] > 0 && tokens[RATIOS - 1] <= MAX_TOKENS && tokens.is_sorted();
            let twice = lengths.iter().any(|known| known.of(&row[0], item).is_some());
            if !sound || twice {
                let found = row.iter().collect::<Vec<_>>().join(",");
                return Err(Error::file(path, "impossible lengths")
                    .at(format!("line {line}"))
                    .found(found)
                    .allowed(format!("each item once, 1 to {MAX_TOKENS} tokens, never falling")));
            }
            lengths[which as usize].insert(&row[0], item, tokens);
        }
        Ok(lengths)
    }

    /// Writes the lengths of items that were measured whole to `<dir>/<compressor>.tokens.csv`, in
    /// place of those that it has, in one step; they are none of the further ones any more.
    ///
    /// # Errors
    /// If the file is broken or the folder not writable.
    pub fn save(&self, dir: &Path, compressor: &str) -> Result<()> {
        self.replace(dir, compressor, LengthsOf::Whole)
    }

    /// The same for further items.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_further(&self, dir: &Path, compressor: &str) -> Result<()> {
        self.replace(dir, compressor, LengthsOf::Further)
    }

    fn replace(&self, dir: &Path, compressor: &str, which: LengthsOf) -> Result<()> {
        let path = AnswerFiles(dir).lengths(compressor);
        let mut all = if path.exists() { Self::read(dir, compressor)? } else { Default::default() };
        all[which as usize] = self.clone();
        let [whole, further] = all;
        let text = whole
            .text(&further)
            .map_err(|cause| Error::file(&path, "cannot be written").caused_by(cause))?;
        files::write_whole(&path, &text)
    }

    fn text(&self, further: &Self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(HEADER)?;
        let is_new = |row: &(&str, ItemId, &ItemLengths)| self.of(row.0, row.1).is_none();
        let rows = self.iter().map(|row| (LengthsOf::Whole, row));
        let further = further.iter().filter(is_new).map(|row| (LengthsOf::Further, row));
        for (which, (dataset, item, tokens)) in rows.chain(further) {
            let key = [dataset.to_owned(), item.to_string(), which.mark().to_owned()];
            writer.write_record(key.into_iter().chain(tokens.map(|count| count.to_string())))?;
        }
        Ok(writer.into_inner().expect("flushing to memory cannot fail"))
    }

    /// Sets an item's lengths and returns what they were.
    pub fn insert(
        &mut self,
        dataset: &str,
        item: impl Into<ItemId>,
        tokens: ItemLengths,
    ) -> Option<ItemLengths> {
        self.datasets.entry(dataset.to_owned()).or_default().insert(item.into(), tokens)
    }

    /// The lengths of an item.
    #[must_use]
    pub fn of(&self, dataset: &str, item: impl Into<ItemId>) -> Option<&ItemLengths> {
        self.datasets.get(dataset)?.get(&item.into())
    }

    /// Every item, by dataset, then number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ItemId, &ItemLengths)> {
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
        let none = PromptLengths::of_table(folder.path(), "none", LengthsOf::Whole).unwrap();
        assert_eq!(none, PromptLengths::default());

        lengths.insert("sciq", 4, [5, 4, 6, 7, 8, 9, 10, 11, 12, 13]);
        lengths.save(folder.path(), "falling").unwrap();
        let message = PromptLengths::load(folder.path(), "falling").unwrap_err().to_string();
        insta::assert_snapshot!(message.split_once("falling.tokens.csv").unwrap().1);
    }

    #[test]
    fn further_items_stand_behind_those_measured_whole_until_they_are_measured_whole_too() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let mut further = PromptLengths::default();
        further.insert("sciq", 5, [2; 10]);
        further.save_further(dir, "structured").unwrap();
        assert_eq!(PromptLengths::load_asked(dir, "structured").unwrap(), further);
        let mut whole = PromptLengths::default();
        whole.insert("sciq", 4, [3; 10]);
        whole.save(dir, "structured").unwrap();
        let both = PromptLengths::load_asked(dir, "structured").unwrap();
        assert_eq!((both.of("sciq", 5).unwrap()[9], both.of("sciq", 4).unwrap()[9]), (2, 3));
        assert_eq!(PromptLengths::load(dir, "structured").unwrap(), whole);
        whole.insert("sciq", 5, [2; 10]);
        whole.save(dir, "structured").unwrap();
        let text = std::fs::read_to_string(dir.join("structured.tokens.csv")).unwrap();
        let rows = ["sciq,4,,3,3,3,3,3,3,3,3,3,3", "sciq,5,,2,2,2,2,2,2,2,2,2,2"];
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), rows);
    }
}
