//! What the datasets of the two agent apps have in common: a list to choose from stands before each
//! request, and rows belong to groups that are kept on one side of the split.
//!
//! Shots are requests with their answers but without lists: on SmolLM2-135M a list in every shot
//! costs accuracy besides tokens ([docs/datasets.md](../../docs/datasets.md)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::seq::SliceRandom;

use super::dataset::{Dataset, Item, LeftOut, SEED, SHOTS, draw_shots};
use crate::error::{Error, Result};
use crate::rng;

/// Items set aside for training, of which none is ever scored.
const RESERVED: usize = 150;

/// How requests are put.
pub(super) const TEMPLATE: &str = "{passage}\nQuestion: {question}\nAnswer:";

/// An item, and what it must not share with the other side of the split.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub item: Item,
    pub group: String,
}

/// What a loader has read.
#[derive(Debug)]
pub(super) struct Read {
    pub candidates: Vec<Candidate>,
    pub left_out: BTreeMap<LeftOut, usize>,
    pub sha256: String,
}

/// Splits the candidates into scored items, shots and training items.
///
/// # Errors
/// If there are too few of them.
pub(super) fn dataset(path: &Path, name: &str, read: Read) -> Result<Dataset> {
    let Read { mut candidates, left_out, sha256 } = read;
    let found = candidates.len();
    candidates.shuffle(&mut rng::stream(SEED, &format!("dataset {name} items")));
    let apart = last_groups(&candidates, RESERVED + SHOTS);
    let (apart, scored): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| apart.contains(&candidate.group));
    let mut training: Vec<Item> = apart.into_iter().map(|candidate| candidate.item).collect();
    let shots = draw_shots(&mut training);
    if shots.len() < SHOTS || scored.is_empty() {
        return Err(Error::file(path, "too few rows for shots and items")
            .at(format!("dataset {name}"))
            .found(format!("{found} rows"))
            .allowed(format!("more than {}, of different groups", RESERVED + SHOTS)));
    }
    let shot = |item: &Item| format!("{}{}\n\n", item.question, item.options[item.gold]);
    Ok(Dataset {
        name: name.to_owned(),
        template: TEMPLATE.to_owned(),
        shots: shots.iter().map(shot).collect(),
        items: scored.into_iter().map(|candidate| candidate.item).collect(),
        calibration: training.iter().map(Item::answered).collect(),
        training,
        sha256,
        left_out,
        ..Dataset::default()
    })
}

/// The groups that the last candidates belong to, as many as hold `count` of them.
fn last_groups(candidates: &[Candidate], count: usize) -> BTreeSet<String> {
    let size = |group: &str| candidates.iter().filter(|other| other.group == group).count();
    let (mut groups, mut held) = (BTreeSet::new(), 0);
    for candidate in candidates.iter().rev() {
        if held >= count {
            break;
        }
        if groups.insert(candidate.group.clone()) {
            held += size(&candidate.group);
        }
    }
    groups
}

/// `text` with every run of white space as one space: a list has one entry a line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u32) -> Candidate {
        let item = Item {
            id,
            passage: Some("a\nb".into()),
            question: format!("Question: {id:04}?\nAnswer:"),
            options: vec![" a".into(), " b".into()],
            gold: 1,
        };
        Candidate { item, group: format!("group {}", id / 3) }
    }

    fn read(rows: u32) -> Read {
        let candidates = (0..rows).map(candidate).collect();
        Read { candidates, left_out: BTreeMap::new(), sha256: String::new() }
    }

    #[test]
    fn no_group_is_on_both_sides_and_shots_have_no_list() {
        let dataset = dataset(Path::new("x"), "toy", read(300)).unwrap();
        let groups = |items: &[Item]| items.iter().map(|item| item.id / 3).collect::<BTreeSet<_>>();
        assert!(groups(&dataset.items).is_disjoint(&groups(&dataset.training)));
        // Whole groups of three: 156 items are apart, five of them shots.
        assert_eq!((dataset.items.len(), dataset.training.len()), (144, 151));
        assert!(dataset.shots.iter().all(|shot| shot.starts_with("Question: ")));
        assert!(dataset.shots[0].ends_with("?\nAnswer: b\n\n"));
        assert!(dataset.calibration[0].starts_with("a\nb\nQuestion: "));
    }

    #[test]
    fn too_few_rows_are_an_error_that_counts_them() {
        let error = dataset(Path::new("rows.json"), "toy", read(100)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows.json, dataset toy: too few rows for shots and items; found 100 rows; allowed: \
             more than 155, of different groups"
        );
    }
}
