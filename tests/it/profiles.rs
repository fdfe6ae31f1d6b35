//! Every committed profile, quality table and manifest is read whole; the modelled phones obey
//! the formula they state.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pliant::item::ItemId;
use pliant::profile::{
    AnswerFiles, AnswersOf, Decisions, DeviceProfile, PromptLengths, Provenance, QualityLog,
    QualityManifest, QualityTable, Split, read_latency_samples,
};
use pliant::prompt::Dataset;
use pliant::units::PROMPT_RATIOS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles")
}

/// The folders in `folder`, sorted; none if it is not there.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut folders: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn devices() -> Vec<(PathBuf, DeviceProfile)> {
    folders(&root())
        .into_iter()
        .filter(|folder| folder.join("device.toml").exists())
        .map(|folder| (folder.clone(), DeviceProfile::load(&folder).unwrap()))
        .collect()
}

#[test]
fn every_committed_device_profile_is_read_with_its_samples() {
    let devices = devices();
    for (folder, device) in &devices {
        assert_eq!(folder.file_name().unwrap(), device.name.as_str());
        for family in &device.families {
            device.base(&family.base_model).unwrap();
            if let Provenance::Measured { samples, .. } = &family.provenance {
                let samples = read_latency_samples(&folder.join(samples)).unwrap();
                let of_family = samples.iter().filter(|sample| *sample.family == *family.family);
                assert!(of_family.count() > 0, "{} has samples", family.family);
            }
        }
    }
    let names: Vec<_> = devices.iter().map(|(_, device)| device.name.as_str()).collect();
    let published = ["snapdragon-8-elite", "iphone-17-pro-npu", "galaxy-s24-ultra", "oneplus-12"];
    for phone in ["mi-14", "redmi-k60-champion", "redmi-k70-pro"].into_iter().chain(published) {
        assert!(names.contains(&phone), "{phone} is there");
    }
}

#[test]
fn modelled_latencies_are_proportional_to_tokens_and_level() {
    for (folder, _) in devices() {
        // Sub-models that another device lends follow published curves, not a formula.
        for family in &DeviceProfile::load_stated(&folder).unwrap().families {
            if !matches!(family.provenance, Provenance::Modelled { .. }) {
                continue;
            }
            let full = family.full();
            for level in &family.levels {
                assert_eq!(level.ttft(500), 2 * level.ttft(250));
                let share = level.level.share();
                if &*family.family == "contextual" {
                    // Prompts are read whole; attention, a third, decodes whole.
                    assert_eq!(level.ttft(250), full.ttft(250));
                    let third = full.tpot(0) / 3;
                    let expected = third + share.of(full.tpot(0).abs_diff(third));
                    assert!(level.tpot(250).abs_diff(expected) < Duration::from_nanos(2));
                    continue;
                }
                // Exact to the nanosecond: a plan at the very edge of an objective stays feasible.
                assert_eq!(level.ttft(250), share.of(full.ttft(250)));
                assert_eq!(level.tpot(250), share.of(full.tpot(0)));
            }
        }
    }
}

#[test]
fn every_committed_answer_is_of_a_family_whose_manifest_counts_it() {
    for folder in folders(&root().join("quality")) {
        let named = AnswerFiles(&folder);
        for compressor in named.compressors() {
            let manifests = QualityManifest::load_all(&folder, &compressor).unwrap();
            for manifest in &manifests {
                assert_eq!(manifest.base_model, folder.file_name().unwrap().to_str().unwrap());
                assert_eq!(manifest.split, Split::RULE);
                assert_eq!(manifest.compressor, compressor);
                let of =
                    AnswersOf { family: manifest.family.clone(), compressor: compressor.clone() };
                assert_eq!(AnswersOf::named(&folder, &of.to_string()), of);
                let table = if manifest.asked {
                    QualityTable::load_asked_alone(&folder, &of)
                } else {
                    QualityTable::load_scored(&folder, &of.to_string())
                };
                check_table(&table.unwrap(), manifest);
            }
            let mut reader = csv::Reader::from_path(named.grades(&compressor)).unwrap();
            let rows = reader.records().map(|row| row.unwrap());
            let found: BTreeSet<_> = rows.map(|row| (row[0].to_owned(), &row[4] == "1")).collect();
            let known = manifests.iter().map(|known| (known.family.clone(), known.asked));
            assert_eq!(found, known.collect(), "{compressor}");
        }
        for path in files(&folder, ".tokens.csv") {
            PromptLengths::of_file(&path).unwrap();
        }
    }
}

/// Only lists are cut otherwise by `ranked-lists`: the answers to all other prompts are those that
/// were measured under `score-head`.
#[test]
fn ranked_lists_changes_the_prompts_of_lists_alone() {
    let folders = folders(&root().join("quality"));
    let cut_by_ranking = |folder: &&PathBuf| AnswerFiles(folder).grades("ranked-lists").exists();
    for folder in folders.iter().filter(cut_by_ranking) {
        let lengths = |name| PromptLengths::load(folder, name).unwrap();
        let (old, new) = (lengths("score-head"), lengths("ranked-lists"));
        let [old_answers, new_answers] = ["score-head", "ranked-lists"].map(|compressor| {
            let of =
                AnswersOf { family: "width-lora".to_owned(), compressor: compressor.to_owned() };
            QualityTable::load_scored(folder, &of.to_string()).unwrap()
        });
        for dataset in Dataset::names() {
            let mut items = 0;
            for (item, row) in new_answers.items(dataset) {
                assert_eq!(old.of(dataset, item), new.of(dataset, item), "{dataset} {item}");
                let old_row = old_answers.row(dataset, item).unwrap();
                for level in 0..new_answers.levels().len() {
                    for ratio in 0..PROMPT_RATIOS.len() {
                        let of = |table: &QualityTable, row| table.answer(row, level, ratio);
                        let (old, new) = (of(&old_answers, old_row), of(&new_answers, row));
                        assert!(new.is_some() && old == new, "{dataset} {item}");
                    }
                }
                items += 1;
            }
            assert_eq!(items, 120, "{dataset}");
        }
    }
}

/// A measurement that adds nothing leaves the files as they are: diffs show what was measured.
#[test]
fn every_committed_answer_stands_where_a_measurement_would_write_it() {
    for folder in folders(&root().join("quality")) {
        for compressor in AnswerFiles(&folder).compressors() {
            let copy = tempfile::tempdir().unwrap();
            let paths = |folder| {
                let named = AnswerFiles(folder);
                [named.grades(&compressor), named.scores(&compressor)]
            };
            for (from, to) in paths(&folder).iter().zip(paths(copy.path())) {
                fs::copy(from, to).unwrap();
            }
            let of = AnswersOf { family: "width".to_owned(), compressor: compressor.clone() };
            QualityLog::open(copy.path(), &of, false).unwrap().finish().unwrap();
            let read = |folder| paths(folder).map(|path| unpacked(&path));
            assert!(read(copy.path()) == read(&folder), "{compressor}");
        }
    }
}

/// The text of a file, packed or not.
fn unpacked(path: &Path) -> String {
    let (bytes, mut text) = (fs::read(path).unwrap(), String::new());
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

/// Decisions are of use only if the head saw none of the items that it decides for: ids compared.
#[test]
fn every_committed_decision_is_for_a_replayed_item_that_no_head_learnt_from() {
    for folder in folders(&root().join("quality")) {
        for name in Decisions::names(&folder).unwrap() {
            let decisions = Decisions::load(&folder, &name).unwrap();
            let table = QualityTable::load(&folder, &decisions.manifest.table).unwrap();
            assert!(!decisions.is_empty(), "{name}");
            for dataset in table.datasets() {
                let learnt = decisions.manifest.trained_on.get(dataset);
                let learnt = learnt.cloned().unwrap_or_default();
                let side = |item: &ItemId| Split::of(dataset, *item);
                assert!(learnt.iter().all(|item| side(item) == Split::Estimate), "{name}");
                let decided: BTreeSet<ItemId> = decisions.items(dataset).collect();
                assert!(decided.iter().all(|item| side(item) == Split::Replay), "{name}");
                assert!(learnt.is_disjoint(&decided), "{name}, {dataset}");
            }
        }
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(ending));
    files.sort();
    files
}

fn check_table(table: &QualityTable, manifest: &QualityManifest) {
    assert_eq!(
        table.datasets().collect::<Vec<_>>(),
        manifest.datasets.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for (dataset, counts) in &manifest.datasets {
        let side = |side| {
            let items = table.items(dataset).filter(|&(_, row)| table.side(row) == side);
            items.count() as u32
        };
        let found = (side(Split::Estimate), side(Split::Replay));
        assert_eq!(found, (counts.estimate, counts.replay), "{dataset}");
    }
}
