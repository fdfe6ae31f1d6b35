//! Whole imports of small files.

use std::fmt::Write as _;
use std::time::Duration;

use super::testing::pools;
use super::*;

const VIDUR: &str = "arrived_at,num_prefill_tokens,num_decode_tokens\n\
    2.0,205,30\n0.5,104,10\n9.5,5000,20\n";

fn imported(text: &str, spec: &ImportSpec) -> Imported {
    import(&Input::of("calls.csv", text), spec, &pools()).unwrap()
}

fn message(text: &str, spec: &ImportSpec) -> String {
    import(&Input::of("calls.csv", text), spec, &pools()).unwrap_err().to_string()
}

/// Scaled by 2 in time and 0.5 in length: 52 and 103 tokens at 1 and 4 s are nearest to the items
/// of 100 and 103, 2500 at 19 s to the longest of 809.
#[test]
fn calls_are_sorted_scaled_and_given_the_nearest_items() {
    let rule = ItemRule::NearestLength { neighbours: 1 };
    let spec = ImportSpec {
        time_scale: 2.0,
        length_scale: 0.5,
        items: rule,
        ..ImportSpec::new(Format::Vidur)
    };
    let Imported { trace, warnings } = imported(VIDUR, &spec);
    let rows: Vec<_> = trace
        .requests
        .iter()
        .map(|r| {
            (
                r.id,
                r.arrival.as_millis_f64(),
                trace.dataset(r.dataset),
                r.prompt_tokens,
                r.output_tokens,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (0, 1000.0, "arc-easy", 100, 5),
            (1, 4000.0, "arc-easy", 103, 15),
            (2, 19_000.0, "sciq", 809, 10)
        ]
    );
    assert_eq!(
        warnings,
        [
            Warning::Unsorted { requests: 1, first_line: 3 },
            Warning::PromptsOfOtherLength {
                requests: 2,
                of: 3,
                longest_asked: 2500,
                longest_item: 809
            },
        ]
    );
    let header = trace.provenance.join("\n");
    assert!(header.contains("(vidur, sha256 "), "{header}");
    assert!(header.contains("time scale 2, length scale 0.5\n"), "{header}");
    assert!(header.ends_with("tokens, the longest item 809"), "{header}");
}

#[test]
fn the_objective_is_that_of_the_app_and_a_limit_takes_the_earliest() {
    let part = Part { limit: Some(2), ..Part::default() };
    let spec = ImportSpec { part, ..ImportSpec::new(Format::Vidur) };
    let trace = imported(VIDUR, &spec).trace;
    assert_eq!(trace.requests.len(), 2);
    for request in &trace.requests {
        let apps = spec.apps.all();
        let app = apps.iter().find(|app| app.name == trace.app(request.app)).unwrap();
        assert_eq!(request.slo, app.slo);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let mut rows = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    for second in 10..40 {
        writeln!(rows, "2023-11-16 18:15:{second},{},5", 90 + 7 * second).unwrap();
    }
    let trace =
        |seed| imported(&rows, &ImportSpec { seed, ..ImportSpec::new(Format::Azure) }).trace;
    let items = |trace: &Trace| trace.requests.iter().map(|r| r.item).collect::<Vec<_>>();
    assert_eq!(trace(1).requests, trace(1).requests);
    assert_ne!(items(&trace(1)), items(&trace(2)));
    assert_eq!(trace(1).requests[0].arrival, SimTime::ZERO, "time 0 is the first arrival");
    assert_eq!(trace(1).requests[1].arrival.as_nanos(), 1_000_000_000);
}

#[test]
fn an_imported_trace_survives_its_file_and_imports_again_at_another_speed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    let trace = imported(VIDUR, &ImportSpec::new(Format::Vidur)).trace;
    trace.write(&path).unwrap();
    assert_eq!(Trace::read(&path).unwrap(), trace);

    let native = ImportSpec { time_scale: 0.1, ..ImportSpec::new(Format::Native) };
    let read = || Input::read(&path).unwrap();
    let faster = import(&read(), &native, &[]).unwrap().trace;
    assert_eq!(faster.requests[2].arrival.as_nanos(), 950_000_000);
    assert_eq!(faster.requests[2].item, trace.requests[2].item);
    let part = Part { from: Duration::from_secs(1), ..Part::default() };
    let later = import(&read(), &ImportSpec { part, ..native.clone() }, &[]).unwrap().trace;
    let arrivals: Vec<_> = later.requests.iter().map(|r| r.arrival.as_millis_f64()).collect();
    assert_eq!(arrivals, [100.0, 850.0], "one and eight and a half seconds after the first");
    let longer = ImportSpec { length_scale: 2.0, ..native };
    let message = import(&read(), &longer, &[]).unwrap_err().to_string();
    assert!(message.contains("length_scale: a native trace has its prompts; found 2"), "{message}");
}

#[test]
fn nonsense_specs_are_refused() {
    let spec = ImportSpec::new(Format::Vidur);
    assert_eq!(
        message(VIDUR, &ImportSpec { time_scale: 0.0, ..spec.clone() }),
        "trace import, time_scale: bad value; found 0; allowed: a number above 0"
    );
    let no_number = ImportSpec { length_scale: f64::NAN, ..spec.clone() };
    assert!(message(VIDUR, &no_number).contains("found NaN"));
    let items = ItemRule::NearestLength { neighbours: 0 };
    assert!(message(VIDUR, &ImportSpec { items, ..spec.clone() }).contains("neighbours"));
    let columns: Columns = "arrival=ts".parse().unwrap();
    let untimed = ImportSpec { columns, ..ImportSpec::new(Format::ElastilmJson) };
    assert!(message(VIDUR, &untimed).contains("a format whose columns can be named"));
    let part = Part { to: Some(Duration::from_secs(1)), ..Part::default() };
    let untimed = ImportSpec { part, ..ImportSpec::new(Format::ElastilmJson) };
    assert!(message(VIDUR, &untimed).contains("allowed: a format with times"));
}

#[test]
fn a_file_without_a_request_says_why() {
    let header = VIDUR.lines().next().unwrap();
    let spec = ImportSpec::new(Format::Vidur);
    assert_eq!(
        message(header, &spec),
        "calls.csv: no request to import; found no row; allowed: one or more"
    );
    assert_eq!(
        message(&format!("{header}\n1,0,5\n2,7,0\n"), &spec),
        "calls.csv: no request to import; found 2 requests without prompt or output tokens are left \
         out, the first on line 2"
    );
}

/// Times since 1970 are shifted, scaled and cut as others are.
#[test]
fn a_trace_in_epoch_time_starts_at_its_first_arrival() {
    let text = "{\"timestamp\": 1759522419154, \"input_length\": 100, \"output_length\": 6}\n\
                {\"timestamp\": 1759522421154, \"input_length\": 100, \"output_length\": 6}\n";
    let spec = ImportSpec { time_scale: 10.0, ..ImportSpec::new(Format::Mooncake) };
    let Imported { trace, warnings } = imported(text, &spec);
    let arrivals: Vec<_> = trace.requests.iter().map(|r| r.arrival.as_millis_f64()).collect();
    assert_eq!(arrivals, [0.0, 20_000.0]);
    let said = "times count from 1970; time 0 is the first arrival, 2025-10-03T20:13:39.154Z";
    assert!(warnings.iter().any(|warning| warning.to_string() == said), "{warnings:?}");
    assert!(trace.provenance.iter().any(|line| line == &format!("warning: {said}")));
}

#[test]
fn apps_of_ones_own_state_the_objectives() {
    let apps: Apps = serde_json::from_str(
        r#"[{"name": "Reader", "slo": {"e2e_ms": 900}, "draws_from_any": true}]"#,
    )
    .unwrap();
    let spec = ImportSpec { apps, ..ImportSpec::new(Format::Vidur) };
    let trace = imported(VIDUR, &spec).trace;
    assert_eq!(trace.apps, ["Reader"]);
    assert!(trace.requests.iter().all(|request| matches!(request.slo, Slo::EndToEnd(_))));
}

/// The second prompt begins as the first: 512 of its 1024 tokens are held, so half of the item of
/// 809 tokens that stands for it.
#[test]
fn a_prompt_that_goes_on_from_an_earlier_one_is_cached_as_far_as_the_item_is_long() {
    let lines = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 9, \"hash_ids\": \
                 [0, 1]}\n{\"timestamp\": 9, \"input_length\": 1024, \"output_length\": 9, \
                 \"hash_ids\": [0, 2]}\n";
    let items = ItemRule::NearestLength { neighbours: 1 };
    let spec = ImportSpec { items, ..ImportSpec::new(Format::Mooncake) };
    let cached = |spec: &ImportSpec| -> Vec<u32> {
        let requests = imported(lines, spec).trace.requests;
        requests.iter().map(|request| request.terms.cached_tokens).collect()
    };
    assert_eq!(cached(&spec), [0, 0]);
    assert!(
        imported(lines, &spec).warnings.contains(&Warning::SharedPrefixesIgnored { requests: 2 })
    );
    let spec = ImportSpec { cache_tokens: 5000, ..spec };
    assert_eq!(cached(&spec), [0, 404]);
    let Imported { trace, warnings } = imported(lines, &spec);
    assert!(!warnings.iter().any(|one| matches!(one, Warning::SharedPrefixesIgnored { .. })));
    assert!(trace.provenance.iter().any(|line| line.contains("1 prompts go on from them")));
    assert_eq!(
        message(VIDUR, &ImportSpec { cache_tokens: 9, ..ImportSpec::new(Format::Vidur) }),
        "trace import, cache_tokens: bad value; found vidur; allowed: burstgpt or mooncake, which \
         say what prompts go on from"
    );
}
