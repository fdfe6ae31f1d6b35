//! How many tokens each item's prompt has at each prompt ratio.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::curve::MAX_TOKENS;
use super::paths::AnswerFiles;
use super::text;
use crate::error::{Error, Result};
use crate::files;
use crate::input::{Input, Rows};
use crate::item::ItemId;
use crate::units::{PROMPT_RATIOS, Ratio};

/// Columns before the lengths.
const KEYS: [&str; 3] = ["dataset", "item", "asked"];

/// Prompt lengths under one compressor: `<dir>/<compressor>.tokens.csv`.
///
/// A length depends on the text alone, not on the level and not on the right answer, so a service
/// may know it before it decides. A compressor may not drop the question, so small ratios may keep
/// more than their share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptLengths {
    /// Rising; the last is the full prompt.
    ratios: Vec<Ratio>,
    /// By item, in the order of `ratios`: tokens that the model really reads.
    datasets: BTreeMap<String, BTreeMap<ItemId, Vec<u32>>>,
}

/// None, at the ratios of the study.
impl Default for PromptLengths {
    fn default() -> Self {
        Self { ratios: PROMPT_RATIOS.to_vec(), datasets: BTreeMap::new() }
    }
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
            all.insert(dataset, item, tokens);
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
        let ratios = ratios(path, text)?;
        let header = header(&ratios);
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let none = Self { ratios, datasets: BTreeMap::new() };
        let mut lengths = [none.clone(), none];
        for (line, row) in text::csv_rows(path, text, &header)? {
            let item = text::item(path, line, &row[1])?;
            let number =
                |(name, field)| text::number::<u32>(path, line, name, field, "a whole number");
            let columns = header.iter().copied().zip(row.iter()).skip(KEYS.len());
            let tokens: Vec<u32> = columns.map(number).collect::<Result<_>>()?;
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
            let full = tokens[tokens.len() - 1];
            let sound = tokens[0] > 0 && full <= MAX_TOKENS && tokens.is_sorted();
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
    /// If the file is broken or of other ratios, or the folder not writable.
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
        let none = Self { ratios: self.ratios.clone(), datasets: BTreeMap::new() };
        let mut all =
            if path.exists() { Self::read(dir, compressor)? } else { [none.clone(), none] };
        if all.iter().any(|known| known.ratios != self.ratios) {
            return Err(Error::file(&path, "has lengths at other prompt ratios")
                .found(header(&all[0].ratios).join(","))
                .allowed(header(&self.ratios).join(",")));
        }
        all[which as usize] = self.clone();
        let [whole, further] = all;
        let text = whole
            .text(&further)
            .map_err(|cause| Error::file(&path, "cannot be written").caused_by(cause))?;
        files::write_whole(&path, &text)
    }

    fn text(&self, further: &Self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(header(&self.ratios))?;
        let is_new = |row: &(&str, ItemId, &[u32])| self.of(row.0, row.1).is_none();
        let rows = self.iter().map(|row| (LengthsOf::Whole, row));
        let further = further.iter().filter(is_new).map(|row| (LengthsOf::Further, row));
        for (which, (dataset, item, tokens)) in rows.chain(further) {
            let key = [dataset.to_owned(), item.to_string(), which.mark().to_owned()];
            writer.write_record(key.into_iter().chain(tokens.iter().map(u32::to_string)))?;
        }
        Ok(writer.into_inner().expect("flushing to memory cannot fail"))
    }

    /// The prompt ratios, rising; the last is the full prompt.
    #[must_use]
    pub fn ratios(&self) -> &[Ratio] {
        &self.ratios
    }

    /// Place of `ratio` among [`ratios`](Self::ratios).
    ///
    /// # Errors
    /// If it is none of them; `source` is where they are from.
    pub(crate) fn place_of(&self, ratio: Ratio, source: impl fmt::Display) -> Result<usize> {
        self.ratios.binary_search(&ratio).map_err(|_| {
            let known: Vec<_> = self.ratios.iter().map(Ratio::to_string).collect();
            Error::new(source.to_string(), "no prompt lengths at this ratio")
                .found(ratio)
                .allowed(known.join(", "))
        })
    }

    /// Sets an item's lengths at each of [`ratios`](Self::ratios).
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn insert(&mut self, dataset: &str, item: impl Into<ItemId>, tokens: impl Into<Vec<u32>>) {
        let tokens = tokens.into();
        assert_eq!(tokens.len(), self.ratios.len(), "a length for each ratio");
        self.datasets.entry(dataset.to_owned()).or_default().insert(item.into(), tokens);
    }

    /// The lengths of an item at each of [`ratios`](Self::ratios).
    #[must_use]
    pub fn of(&self, dataset: &str, item: impl Into<ItemId>) -> Option<&[u32]> {
        self.datasets.get(dataset)?.get(&item.into()).map(Vec::as_slice)
    }

    /// Every item, by dataset, then number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ItemId, &[u32])> {
        self.datasets.iter().flat_map(|(dataset, items)| {
            items.iter().map(move |(&item, tokens)| (dataset.as_str(), item, &**tokens))
        })
    }
}

/// The columns of a file with lengths at `ratios`.
fn header(ratios: &[Ratio]) -> Vec<String> {
    let lengths = ratios.iter().map(|ratio| format!("r{}", ratio.percents()));
    KEYS.map(ToOwned::to_owned).into_iter().chain(lengths).collect()
}

/// The ratios that the header of a file names.
fn ratios(path: &Path, text: &str) -> Result<Vec<Ratio>> {
    let mut rows = Rows::new(path, text, 0);
    let Some((line, row)) = rows.next_row()? else { return Ok(PROMPT_RATIOS.to_vec()) };
    let ratio = |name: &str| Ratio::of_percents(name.strip_prefix('r')?);
    let ratios: Option<Vec<Ratio>> = row.iter().skip(KEYS.len()).map(ratio).collect();
    let sound = |ratios: &Vec<Ratio>| {
        let above = std::iter::once(Ratio::percent(0)).chain(ratios.iter().copied());
        ratios.last() == Some(&Ratio::ONE) && above.is_sorted_by(|low, high| low < high)
    };
    ratios.filter(sound).ok_or_else(|| {
        Error::file(path, "unexpected columns")
            .at(format!("line {line}"))
            .found(row.iter().collect::<Vec<_>>().join(","))
            .allowed("dataset,item,asked and rising prompt ratios in percent: r10,r12.5,…,r100")
    })
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
        insta::assert_snapshot!(message.split_once("falling.tokens.csv").unwrap().1, @", line 3: impossible lengths; found sciq,4,,5,4,6,7,8,9,10,11,12,13; allowed: each item once, 1 to 1048576 tokens, never falling");
    }

    #[test]
    fn a_file_says_at_which_ratios_its_lengths_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.tokens.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            PromptLengths::load(folder.path(), "mine")
        };
        let text = "dataset,item,asked,r12.5,r66.6,r100\nfaq,a,,3,9,13\n";
        let lengths = read(text).unwrap();
        assert_eq!(
            lengths.ratios(),
            ["12.5", "66.6", "100"].map(|r| Ratio::of_percents(r).unwrap())
        );
        assert_eq!(lengths.of("faq", ItemId::parse("a").unwrap()), Some([3, 9, 13].as_slice()));
        lengths.save(folder.path(), "mine").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let refusal = PromptLengths::default().save(folder.path(), "mine").unwrap_err();
        assert!(refusal.to_string().contains("has lengths at other prompt ratios"), "{refusal}");
        for header in ["", ",r50", ",r50,r50,r100", ",r60,r50,r100", ",r0,r100", ",r12.55,r100"] {
            let refusal = read(&format!("dataset,item,asked{header}\n")).unwrap_err();
            assert!(refusal.to_string().contains("line 1: unexpected columns"), "{refusal}");
        }
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
