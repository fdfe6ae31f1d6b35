//! Names of items: what a dataset's questions are called.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// From here on an id is a place among [`NAMES`], not a number.
const FIRST_NAME: u32 = 1 << 31;

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 256;

static NAMES: RwLock<Names> = RwLock::new(Names { known: Vec::new(), places: BTreeMap::new() });

/// Every name that was read, for the life of the process.
struct Names {
    known: Vec<&'static str>,
    places: BTreeMap<&'static str, u32>,
}

/// An item of a dataset, by number or by name, as its files write it.
///
/// As small as a number, so that a request is copied freely: a number stands for itself, a name for
/// its place in a table of the process. Numbers come first and in their order, then names in
/// theirs; `007` is a name, since a number is written without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemId(u32);

impl ItemId {
    /// The item that `text` names.
    ///
    /// # Errors
    /// If it is empty, has characters that do not print or a space at either end, or is longer than
    /// 256 bytes.
    pub fn parse(text: &str) -> Result<Self> {
        let printed = text.trim() == text && !text.chars().any(char::is_control);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !printed {
            return Err(Error::new("item", "no name of an item")
                .found(format!("{text:?}"))
                .allowed(format!("1 to {NAME_BYTES_MAX} bytes of printed characters")));
        }
        let number = text.parse::<u32>().ok().filter(|number| *number < FIRST_NAME);
        match number.filter(|number| number.to_string() == text) {
            Some(number) => Ok(Self(number)),
            None => Ok(Self::named(text)),
        }
    }

    fn named(name: &str) -> Self {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&place) = names.places.get(name) {
            return Self(FIRST_NAME + place);
        }
        let name: &'static str = Box::leak(name.into());
        let place = names.known.len() as u32;
        names.known.push(name);
        names.places.insert(name, place);
        Self(FIRST_NAME + place)
    }

    /// Its number; `None` if it has a name.
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        if self.0 < FIRST_NAME { Some(self.0) } else { None }
    }

    fn name(self) -> Option<&'static str> {
        let place = self.0.checked_sub(FIRST_NAME)?;
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        Some(names.known[place as usize])
    }
}

impl From<u32> for ItemId {
    fn from(number: u32) -> Self {
        if number < FIRST_NAME { Self(number) } else { Self::named(&number.to_string()) }
    }
}

impl PartialEq<u32> for ItemId {
    fn eq(&self, other: &u32) -> bool {
        *self == Self::from(*other)
    }
}

impl Ord for ItemId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.name(), other.name()) {
            (None, None) => self.0.cmp(&other.0),
            (own, others) => own.cmp(&others),
        }
    }
}

impl PartialOrd for ItemId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => name.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ItemId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => to.serialize_str(name),
            None => to.serialize_u32(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ItemId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Name(String),
        }
        match Written::deserialize(from)? {
            Written::Number(number) => Ok(number.into()),
            Written::Name(name) => Self::parse(&name).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_shown_as_they_were_written_numbers_before_names() {
        let written = ["10", "9", "007", "b", "a, b", "4000000000", "2147483647", "+1"];
        let mut items: Vec<ItemId> = written.iter().map(|t| ItemId::parse(t).unwrap()).collect();
        let shown: Vec<String> = items.iter().map(ItemId::to_string).collect();
        assert_eq!(shown, written);
        items.sort();
        let sorted = ["9", "10", "2147483647", "+1", "007", "4000000000", "a, b", "b"];
        assert_eq!(items.iter().map(ItemId::to_string).collect::<Vec<_>>(), sorted);
        assert_eq!(ItemId::parse("b").unwrap(), ItemId::parse("b").unwrap());
        assert_eq!(ItemId::parse("7").unwrap(), ItemId::from(7));
        assert_eq!(ItemId::parse("4000000000").unwrap(), ItemId::from(4_000_000_000));
    }

    #[test]
    fn json_has_numbers_and_names_and_nothing_that_no_cell_could_hold() {
        let items = [ItemId::from(3), ItemId::parse("faq-1").unwrap()];
        let json = serde_json::to_string(&items).unwrap();
        assert_eq!(json, r#"[3,"faq-1"]"#);
        assert_eq!(serde_json::from_str::<Vec<ItemId>>(&json).unwrap(), items);
        for text in ["", " a", "a\nb", "\u{1b}[31m", &"x".repeat(257)] {
            let message = ItemId::parse(text).unwrap_err().to_string();
            assert!(message.starts_with("item: no name of an item; found"), "{message}");
        }
    }
}
