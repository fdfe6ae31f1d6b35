//! What becomes of calls, on a scripted clock: each fault that a service can have, as a test.

use std::sync::Arc;
use std::time::Duration;

use super::apps::{AppEntry, ServiceApps};
use super::*;
use crate::request::Bounds;
use crate::schedule::{Decision, Needs, Quota, Reason};
use crate::units::SimTime;

mod parity;
mod script;

use script::{Day, ScriptedModel, Takes, call};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> SimTime {
    SimTime::ZERO + ms(millis)
}

fn app_named(name: &str) -> AppEntry {
    AppEntry { name: name.to_owned(), ..AppEntry::unnamed() }
}

/// Two tokens are read and so many written, 10 ms each; 50 ms to the first token are allowed.
fn takes(output_tokens: u32) -> Takes {
    let bounds = Bounds::Latency { ttft: ms(50), tpot: ms(10) };
    let needs = Needs::default();
    Takes { prompt_tokens: 2, output_tokens, token: ms(10), bounds, needs }
}

fn one_app(options: Options) -> Day {
    Day::new(options, ServiceApps::of(vec![app_named("app")]))
}

/// A day with calls of one app, each of so many tokens at such an instant.
fn day(calls: &[(u64, u32)]) -> (Day, ScriptedModel) {
    let day = one_app(Options::default());
    let all = calls.iter().map(|&(_, tokens)| takes(tokens)).collect();
    for (id, &(arrives, tokens)) in (0..).zip(calls) {
        day.script.call(&day.service, at(arrives), id, call("app", id, tokens), None);
    }
    let model = ScriptedModel::new(all, Arc::clone(&day.script));
    (day, model)
}

fn text(events: &[Event]) -> String {
    let token = |event: &Event| match event {
        Event::Token(token) => Some(token.text.clone()),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

fn done(events: &[Event]) -> &Done {
    match events.last() {
        Some(Event::Finished(done)) => done,
        other => panic!("not finished: {other:?}"),
    }
}

fn left(events: &[Event]) -> &Left {
    match events.last() {
        Some(Event::Left(left)) => left,
        other => panic!("not gone: {other:?}"),
    }
}

/// The second call waits until 60 ms and has its first token at 80 ms.
#[test]
fn an_answer_comes_token_by_token_and_says_how_long_it_took() {
    let (mut day, model) = day(&[(0, 5), (10, 3)]);
    day.load(model);
    day.run();
    let events = day.script.events(0);
    assert!(matches!(events[0], Event::Planned(_)));
    assert_eq!(text(&events), "1.2.3.4.5.");
    let first = done(&events);
    assert_eq!((first.ttft, first.tpot, first.met), (ms(20), Some(ms(10)), Some(true)));
    assert_eq!((first.finish, first.output_tokens), (FinishReason::Length, 5));
    let events = day.script.events(1);
    let second = done(&events);
    assert_eq!((second.plan.queue_wait, second.ttft, second.met), (ms(50), ms(70), Some(false)));
    let counted = &day.service.status().apps["app"];
    assert_eq!((counted.calls, counted.finished, counted.met, counted.missed), (2, 2, 1, 1));
}

/// Tokens are out at 20, 30, 40 ms; it gives up at 35 ms.
#[test]
fn computing_stops_within_one_token_of_who_gives_up() {
    let (mut day, model) = day(&[(0, 100), (36, 1)]);
    let steps = Arc::clone(&model.steps);
    day.load(model);
    day.script.give_up(at(35), 0);
    let log = day.run();
    let said: Vec<_> = log.iter().map(|&(at, it)| (at.as_millis_f64() as u64, it)).collect();
    assert!(matches!(said[1], (35, Decision::Stop(_))), "{said:?}");
    assert!(matches!(said[2], (40, Decision::Leave(_, Reason::GaveUp))), "{said:?}");
    assert_eq!(*steps.lock().unwrap(), [0, 0, 0, 1]);
    assert_eq!(*left(&day.script.events(0)), Left::Scheduled(Reason::GaveUp));
    let counted = &day.service.status().apps["app"];
    assert_eq!((counted.left["gave-up"], counted.wasted_tokens), (1, 3));
}

#[test]
fn a_panic_ends_the_call_that_it_happened_in_and_no_other() {
    let (mut day, mut model) = day(&[(0, 5), (1, 2), (2, 2)]);
    model.panics.insert(0, 3);
    model.fails.push(1);
    day.load(model);
    day.run();
    let events = day.script.events(0);
    assert_eq!(text(&events), "1.2.");
    assert_eq!(*left(&events), Left::Failed("the program is wrong: scripted".into()));
    let failed = Left::Failed("model: does not like it".into());
    assert_eq!(*left(&day.script.events(1)), failed);
    assert_eq!(done(&day.script.events(2)).output_tokens, 2);
}

#[test]
fn who_does_not_listen_is_given_up_and_holds_nobody_up() {
    let mut day = one_app(Options { events_max: 4, ..Options::default() });
    for id in 0..2 {
        day.script.call(&day.service, at(0), id, call("app", id, 50), None);
    }
    let model = ScriptedModel::new(vec![takes(50); 2], Arc::clone(&day.script));
    let steps = Arc::clone(&model.steps);
    day.load(model);
    day.run();
    let events = day.script.events(0);
    assert_eq!((text(&events), left(&events)), ("1.2.3.".to_owned(), &Left::SlowClient));
    assert_eq!(steps.lock().unwrap().iter().filter(|&&number| number == 0).count(), 4);
}

#[test]
fn the_fiftieth_call_in_a_row_is_as_the_first() {
    let calls: Vec<_> = (0..50).map(|nth| (100 * nth, 5)).collect();
    let (mut day, model) = day(&calls);
    day.load(model);
    day.run();
    let first = day.script.events(0);
    for id in 1..50 {
        assert_eq!(day.script.events(id), first, "call {id}");
    }
    assert!(day.service.shared().lock().entries.is_empty());
}

/// Interrupted by a higher class between its second and third token, it goes on where it was.
#[test]
fn who_was_interrupted_goes_on_and_the_stall_is_seen() {
    let (mut day, model) = day(&[(0, 4)]);
    let mut urgent = call("app", 0, 4);
    urgent.priority = Some(3);
    day.script.call(&day.service, at(25), 1, urgent, None);
    day.load(model);
    day.run();
    let events = day.script.events(0);
    assert_eq!(text(&events), "1.2.3.4.");
    // The other takes 30 to 80 ms.
    let slow = done(&events);
    assert_eq!((slow.paused, slow.gap_p99), (ms(50), Some(ms(60))));
    assert_eq!(done(&day.script.events(1)).ttft, ms(25));
}

/// The model takes 100 bytes a token: 256 bytes are two tokens.
#[test]
fn memory_for_those_that_were_interrupted_is_bounded_in_bytes_once_the_model_is_known() {
    for (bytes, tokens, most) in
        [(None, None, None), (Some(256), None, Some(2)), (Some(256), Some(1), Some(1))]
    {
        let schedule = ServiceOptions { paused_tokens: tokens, ..Options::default().schedule };
        let options = Options { schedule, paused_bytes_max: bytes, ..Options::default() };
        let mut day = one_app(options);
        let model = ScriptedModel::new(vec![takes(2)], Arc::clone(&day.script));
        day.load(model);
        assert_eq!(day.service.shared().lock().scheduler.paused_tokens(), most);
    }
    assert_eq!(Options::default().paused_bytes_max, Some(256 << 20));
}

#[test]
fn the_bound_on_the_queue_holds_while_the_model_loads_and_time_outs_too() {
    let schedule = ServiceOptions { queue_max: Some(2), ..Options::default().schedule };
    let mut day = one_app(Options { schedule, ..Options::default() });
    let mut calls: Vec<Call> = (0..4).map(|id| call("app", id, 2)).collect();
    calls[1].timeout = Some(ms(30));
    let mut callings: Vec<_> = calls.into_iter().map(|call| day.service.call(call)).collect();
    let refused = callings.pop().unwrap().unwrap_err();
    assert_eq!(refused.why, RefusedFor::Scheduled(Reason::QueueFull));
    assert!(refused.retry_after.unwrap() >= Duration::from_secs(1));
    assert_eq!(
        (refused.arrived.unwrap().app, day.service.status().state),
        ("app".into(), State::Loading)
    );
    day.script.pass(ms(40));
    let model = ScriptedModel::new(vec![takes(2); 4], Arc::clone(&day.script));
    day.load(model);
    day.run();
    let events = |nth: usize| -> Vec<Event> {
        let calling: &Calling = callings[nth].as_ref().unwrap();
        std::iter::from_fn(|| calling.recv_within(Duration::ZERO)).collect()
    };
    assert_eq!(*left(&events(1)), Left::Scheduled(Reason::TimedOut));
    assert_eq!(done(&events(0)).plan.queue_wait, ms(40));
    assert_eq!(done(&events(2)).output_tokens, 2);
}

#[test]
fn a_retry_with_the_same_key_takes_the_answer_over_and_doubles_no_work() {
    let mut day = one_app(Options::default());
    let model = ScriptedModel::new(vec![takes(4); 2], Arc::clone(&day.script));
    let steps = Arc::clone(&model.steps);
    let keyed = |id| Call { idempotency_key: Some("k".into()), ..call("app", id, 4) };
    day.script.call(&day.service, at(0), 0, keyed(0), None);
    day.script.call(&day.service, at(25), 1, keyed(0), None);
    day.script.call(&day.service, at(90), 2, keyed(0), None);
    day.script.call(&day.service, at(91), 3, keyed(1), None);
    day.load(model);
    day.run();
    assert_eq!(*steps.lock().unwrap(), [0; 4]);
    assert_eq!(*left(&day.script.events(0)), Left::TakenOver);
    for retry in [1, 2] {
        let events = day.script.events(retry);
        assert_eq!(text(&events), "1.2.3.4.");
        assert_eq!(done(&events).ttft, ms(20));
    }
    let refused = &day.script.callings.lock().unwrap()[&3];
    assert_eq!(refused.as_ref().unwrap_err().why, RefusedFor::KeyInUse);
}

#[test]
fn apps_have_quotas_of_their_own_that_a_reload_changes() {
    let quota = |at_once| Some(Quota { at_once: Some(at_once), per_hour: None, burst: 1 });
    let of = |at_once| {
        let held = AppEntry { quota: quota(at_once), ..app_named("held") };
        ServiceApps::of(vec![held, app_named("free")])
    };
    let day = Day::new(Options::default(), of(1));
    let ask = |app: &str| day.service.call(call(app, 0, 1));
    let first = ask("held").unwrap();
    let why = |refusal: Refusal| refusal.why;
    let at_once = RefusedFor::Scheduled(Reason::AppAtOnce);
    assert_eq!(ask("held").map_err(why).unwrap_err(), at_once);
    let free: Vec<_> = (0..3).map(|_| ask("free").unwrap()).collect();
    day.service.set_apps(of(2));
    let second = ask("held").unwrap();
    assert_eq!(ask("held").map_err(why).unwrap_err(), at_once);
    drop((first, second, free));
    assert!(ask("held").is_ok());
    assert_eq!(ask("other").map_err(why).unwrap_err(), RefusedFor::UnknownApp);
}

#[test]
fn a_service_that_drains_takes_no_more_and_answers_those_that_are_there() {
    let (mut day, model) = day(&[(0, 3), (15, 3)]);
    day.load(model);
    day.service.refuse_all();
    assert_eq!(day.service.call(call("app", 0, 1)).unwrap_err().why, RefusedFor::Draining);
    day.service.shared().lock().is_draining = false;
    day.run();
    assert!(day.service.drain(Duration::ZERO));
    assert_eq!(day.service.status().state, State::Draining);
}

#[test]
fn where_the_model_cannot_be_loaded_all_are_told() {
    let failing = |_| Err(Error::new("model.gguf", "cannot read"));
    let service = Service::start(Options::default(), ServiceApps::default(), failing).unwrap();
    // Whether it comes before or after the failure, it hears of it.
    match service.call(Call::ask("", "Hello")) {
        Ok(calling) => assert_eq!(
            calling.recv(),
            Some(Event::Left(Left::Failed("model.gguf: cannot read".into())))
        ),
        Err(refusal) => assert_eq!(refusal.message, "model.gguf: cannot read"),
    }
}

#[test]
fn wrong_calls_are_refused_before_they_reach_the_scheduler() {
    let day = one_app(Options::default());
    let refused = |call: Call| day.service.call(call).unwrap_err().message;
    let sampled = |temperature, top_p| {
        let sampling = Sampling { temperature, top_p, seed: None };
        refused(Call { sampling, ..call("app", 0, 1) })
    };
    assert_eq!(
        sampled(0.0, 1.5),
        "call, top_p: out of range; found 1.5; allowed: a number in (0, 1]"
    );
    assert!(sampled(f32::NAN, 1.0).contains("temperature") && sampled(0.0, 0.0).contains("top_p"));
    assert!(refused(call("app", 0, 0)).contains("max_tokens"));
    let one = Call { options: vec!["a".into()], ..call("app", 0, 1) };
    assert!(refused(one).contains("options"));
    assert!(refused(Call::new("app", Prompt::Chat(Vec::new()))).contains("no message"));
}
