//! Whole imports of small files.

use std::fmt::Write as _;

use super::testing::{file, pools};
use super::*;

const VIDUR: &str = "arrived_at,num_prefill_tokens,num_decode_tokens\n\
    2.0,205,30\n0.5,104,10\n9.5,5000,20\n";

fn imported(text: &str, spec: &ImportSpec) -> Imported {
    import(file(text).path(), spec, &pools()).unwrap()
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
    let spec = ImportSpec { limit: Some(2), ..ImportSpec::new(Format::Vidur) };
    let trace = imported(VIDUR, &spec).trace;
    assert_eq!(trace.requests.len(), 2);
    for request in &trace.requests {
        let app = APPS.iter().find(|app| app.name == trace.app(request.app)).unwrap();
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
    trace.write_csv(&path).unwrap();
    assert_eq!(Trace::read(&path).unwrap(), trace);

    let native = ImportSpec { time_scale: 0.1, ..ImportSpec::new(Format::Native) };
    let faster = import(&path, &native, &[]).unwrap().trace;
    assert_eq!(faster.requests[2].arrival.as_nanos(), 950_000_000);
    assert_eq!(faster.requests[2].item, trace.requests[2].item);
    let longer = ImportSpec { length_scale: 2.0, ..native };
    let message = import(&path, &longer, &[]).unwrap_err().to_string();
    assert!(message.contains("length_scale: a native trace has its prompts; found 2"), "{message}");
}

#[test]
fn nonsense_specs_and_empty_files_are_refused() {
    let message = |spec: ImportSpec, text: &str| {
        import(file(text).path(), &spec, &pools()).unwrap_err().to_string()
    };
    let spec = ImportSpec::new(Format::Vidur);
    assert_eq!(
        message(ImportSpec { time_scale: 0.0, ..spec }, VIDUR),
        "trace import, time_scale: bad value; found 0; allowed: a number above 0"
    );
    assert!(message(ImportSpec { length_scale: f64::NAN, ..spec }, VIDUR).contains("found NaN"));
    let rule = ItemRule::NearestLength { neighbours: 0 };
    assert!(message(ImportSpec { items: rule, ..spec }, VIDUR).contains("neighbours"));
    let empty = VIDUR.lines().next().unwrap();
    assert!(message(spec, empty).contains("no request to import"));
}
