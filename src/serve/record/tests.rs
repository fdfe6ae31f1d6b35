use super::*;
use crate::request::{Bounds, Slo};
use crate::schedule::Needs;
use crate::service::Asked;
use crate::trace::Trace;
use crate::units::Ratio;

const SLO: Slo = Slo::Relative { ttft: Ratio::percent(40), tpot: Ratio::percent(70) };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Call `id`, which arrived at `id` ms with a prompt of `tokens`.
fn arrived(id: u64, tokens: u32) -> Arrived {
    let bounds = Bounds::Latency { ttft: ms(100), tpot: ms(10) };
    let asked = Asked { prompt_tokens: tokens, bounds, needs: Needs::default() };
    Arrived {
        id,
        at: SimTime::ZERO + ms(id),
        app: "Mail".to_owned(),
        slo: SLO,
        terms: Terms::default(),
        asked: Some(asked),
    }
}

fn ended(arrived: Arrived, state: &str) -> Ended {
    let (plan, done, gave_up) = (None, None, None);
    let state = state.to_owned();
    let asked = AskedFor { max_tokens: 16, item: None };
    Ended { arrived, asked, plan, done, output_tokens: 0, state, gave_up }
}

/// Items of 10, 20, … 400 tokens.
fn pools() -> [ItemPool; 1] {
    let item = |n: u32| PooledItem { item: n.into(), prompt_tokens: 10 * n };
    [ItemPool { dataset: "sciq".to_owned(), items: (1..=40).map(item).collect() }]
}

fn recorder(folder: &Path) -> (PathBuf, Recorder) {
    let path = folder.join("day.csv");
    let recorder = Recorder::create(&path, &pools(), &["by hand".to_owned()]).unwrap();
    (path, recorder)
}

#[test]
fn rows_come_in_order_of_arrival_whatever_ends_first() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recorder) = recorder(folder.path());
    let rows = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let ids = text.lines().skip(2).map(|line| line.split(',').next().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    for id in 1..=3 {
        recorder.open(&arrived(id, 100));
    }
    recorder.close(ended(arrived(2, 100), "queue-full")).unwrap();
    assert_eq!(rows(), "");
    recorder.close(ended(arrived(1, 100), "timed-out")).unwrap();
    assert_eq!(rows(), "1 2");
    recorder.close(ended(arrived(3, 100), "timed-out")).unwrap();
    assert_eq!(rows(), "1 2 3");
    let served = std::fs::read_to_string(folder.path().join("day.served.csv")).unwrap();
    let lines: Vec<&str> = served.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2], "2,2,Mail,queue-full,,,100,,,0,,,,,,,,100,10,,");
}

/// A prompt of 104 tokens stands for one of the ten nearest lengths, 60 to 150 (50 and 160 are
/// farther than both), in turn by its number.
#[test]
fn a_prompt_stands_for_an_item_nearest_in_length() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recorder) = recorder(folder.path());
    for id in 0..20 {
        recorder.open(&arrived(id, 104));
        recorder.close(ended(arrived(id, 104), "timed-out")).unwrap();
    }
    let trace = Trace::read(&path).unwrap();
    let mut lengths: Vec<u32> = trace.requests.iter().map(|r| r.prompt_tokens).collect();
    assert_eq!(lengths[..10], lengths[10..]);
    lengths.truncate(10);
    lengths.sort_unstable();
    assert_eq!(lengths, [60, 70, 80, 90, 100, 110, 120, 130, 140, 150]);
    let named = trace.requests.iter().all(|r| r.item == r.prompt_tokens / 10);
    assert!(named && trace.requests.iter().all(|r| r.slo == SLO && r.output_tokens == 16));
}

#[test]
fn a_prompt_that_the_client_names_is_that_item_whatever_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recorder) = recorder(folder.path());
    for (id, name) in [(0, "sciq/37"), (1, "sciq/99"), (2, "piqa/37")] {
        let asked = AskedFor { max_tokens: 16, item: Some(name.to_owned()) };
        recorder.open(&arrived(id, 104));
        recorder.close(Ended { asked, ..ended(arrived(id, 104), "timed-out") }).unwrap();
    }
    let trace = Trace::read(&path).unwrap();
    let lengths: Vec<u32> = trace.requests.iter().map(|r| r.prompt_tokens).collect();
    assert_eq!(lengths[0], 370);
    assert!(lengths[1..].iter().all(|tokens| (60..=150).contains(tokens)), "{lengths:?}");
}

#[test]
fn a_prompt_beyond_all_items_stands_for_the_longest() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recorder) = recorder(folder.path());
    for (id, tokens) in [(0, 1), (1, 5000)] {
        recorder.open(&arrived(id, tokens));
        recorder.close(ended(arrived(id, tokens), "timed-out")).unwrap();
    }
    let trace = Trace::read(&path).unwrap();
    let lengths: Vec<u32> = trace.requests.iter().map(|r| r.prompt_tokens).collect();
    assert!(lengths[0] <= 100 && lengths[1] > 300, "{lengths:?}");
}

#[test]
fn who_went_away_gave_up_then_and_who_was_never_measured_is_not_in_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (path, recorder) = recorder(folder.path());
    let unmeasured = Arrived { asked: None, ..arrived(1, 1) };
    recorder.open(&unmeasured);
    recorder.open(&arrived(2, 100));
    recorder.close(ended(unmeasured, "draining")).unwrap();
    let gone = Ended { gave_up: Some(ms(250)), ..ended(arrived(2, 100), "gave-up") };
    recorder.close(gone).unwrap();
    let trace = Trace::read(&path).unwrap();
    assert_eq!(trace.requests.len(), 1);
    assert_eq!(trace.requests[0].terms.cancel_after, Some(ms(250)));
}

#[test]
fn a_day_that_is_there_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, first) = recorder(folder.path());
    drop(first);
    let message = Recorder::create(&path, &pools(), &[]).unwrap_err().to_string();
    assert!(message.contains("day.csv: cannot make the file anew"), "{message}");
    let other = folder.path().join("other.csv");
    let message = Recorder::create(&other, &[], &[]).unwrap_err().to_string();
    assert!(message.ends_with("no items that prompts could stand for"), "{message}");
}
