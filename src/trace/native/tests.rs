//! The CSV form of traces: round trips by hand and by property, and every message.

use proptest::prelude::*;

use super::*;
use crate::limits::ENERGY_MJ;
use crate::request::{AppId, DatasetId, Limit, Terms};
use crate::units::{Energy, Ratio};

const HEADER: &str =
    "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_ratio,tpot_ratio";

fn read(text: &str) -> Result<Trace> {
    Reader::new(Path::new("trace.csv"), text).read()
}

fn message(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_trace_reads_as_written() {
    let text = format!(
        "# by hand\n#\n{HEADER}\n0,0.000001,\"Gmail, work\",piqa,7,100,16,0.2,0.605\n\n\
         5,1500,XiaoAi,piqa,8,1,1,1,1\n"
    );
    let trace = read(&text).unwrap();
    assert_eq!(trace.provenance, ["by hand", ""]);
    assert_eq!(trace.apps, ["Gmail, work", "XiaoAi"]);
    assert_eq!(trace.requests[0].arrival.as_nanos(), 1);
    assert_eq!(
        trace.requests[0].slo,
        Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::new(0.605).unwrap() }
    );
    assert_eq!(trace.to_csv(), text.replace("\n\n", "\n"));
}

#[test]
fn relative_and_absolute_objectives_share_a_file() {
    let text =
        format!("{HEADER},ttft_ms,tpot_ms\n0,0,a,b,0,1,1,0.2,0.5,,\n1,0,a,b,0,1,1,,,250.5,10\n");
    let trace = read(&text).unwrap();
    let absolute =
        Slo::Absolute { ttft: Duration::from_micros(250_500), tpot: Duration::from_millis(10) };
    assert_eq!(trace.requests[1].slo, absolute);
    assert_eq!(trace.to_csv(), text);
}

#[test]
fn end_to_end_time_and_energy_have_columns_of_their_own() {
    let header = HEADER.replace("ttft_ratio,tpot_ratio", "e2e_ratio,e2e_ms,energy_mj");
    let rows = "0,0,a,b,0,1,1,0.4,,\n1,0,a,b,0,1,1,,1500.25,\n2,0,a,b,0,1,1,,,0.000001\n";
    let text = format!("{header}\n{rows}");
    let trace = read(&text).unwrap();
    let slos: Vec<_> = trace.requests.iter().map(|request| request.slo).collect();
    assert_eq!(
        slos,
        [
            Slo::EndToEnd(Limit::Share(Ratio::percent(40))),
            Slo::EndToEnd(Limit::Absolute(Duration::from_micros(1_500_250))),
            Slo::Energy(Limit::Absolute(Energy::from_nanojoules(1))),
        ]
    );
    assert_eq!(trace.to_csv(), text);
    let row = |cells: &str| message(&format!("{header}\n0,0,a,b,0,1,1,{cells}\n"));
    assert!(row("0.4,9,").ends_with(
        "\"e2e_ms\": bad value; found \"9\"; allowed: nothing, as the row states e2e_ratio"
    ));
    assert!(row(",,").ends_with("\"e2e_ratio\": bad value; found nothing; allowed: an objective"));
    assert!(row(",,1e3").contains("\"energy_mj\": bad value; found \"1e3\""));
}

#[test]
fn a_missing_an_unknown_and_a_double_column_are_named() {
    let header = HEADER.replace(",item", "");
    assert_eq!(
        message(&format!("# made by hand\n{header}\n")),
        "trace.csv, line 2, column \"item\": missing column; allowed: id,arrival_ms,app,dataset,\
         item,prompt_tokens,output_tokens, and ttft_ratio,tpot_ratio or ttft_ms,tpot_ms or e2e_ratio \
         or e2e_ms or energy_ratio or energy_mj; perhaps priority,cancel_after_ms,supersedes,cached_tokens"
    );
    assert!(message(&format!("{HEADER},note\n")).contains("column \"note\": unknown column"));
    assert!(message(&format!("{HEADER},id\n")).contains("column \"id\": column appears twice"));
    assert!(message(&HEADER.replace(",tpot_ratio", "")).contains("\"tpot_ratio\": missing"));
    assert_eq!(message("# nothing else\n").split(';').next(), Some("trace.csv: no header"));
}

#[test]
fn bad_cells_are_named_with_line_found_and_allowed() {
    let row = |from: &str, to: &str| {
        message(&format!(
            "{HEADER}\n\n\n{}\n",
            "0,5,app,piqa,7,100,16,0.2,0.6".replacen(from, to, 1)
        ))
    };
    assert_eq!(
        row("5", "-5"),
        "trace.csv, line 4, column \"arrival_ms\": bad value; found \"-5\"; allowed: a number \
         from 0 to 3153600000000, with at most 6 decimals"
    );
    assert_eq!(
        row("0.2", "1.2"),
        "trace.csv, line 4, column \"ttft_ratio\": bad value; found \"1.2\"; allowed: a number \
         in (0, 1] with at most 3 decimals"
    );
    assert_eq!(
        row("100", "0"),
        "trace.csv, line 4, column \"prompt_tokens\": bad value; found \"0\"; allowed: a whole \
         number from 1, of 32 bits"
    );
    assert!(row("0.6", "0").contains("\"tpot_ratio\": bad value; found \"0\""));
    assert!(row("0.6", "NaN").contains("found \"NaN\""));
    assert!(row("0.6", "0.0004").contains("found \"0.0004\""));
    assert!(row(",0.6", "").contains("\"tpot_ratio\": bad value; found nothing"));
    assert!(row("app", "").contains("\"app\": bad value; found nothing; allowed: a name"));
    assert!(row("7", "").contains("\"item\": bad value; found nothing"));
}

#[test]
fn double_ids_and_unsorted_rows_are_named() {
    let rows = |second: &str| {
        message(&format!("{HEADER}\n0,5,a,b,7,9,16,0.2,0.6\n{second},a,b,7,9,16,0.2,0.6\n"))
    };
    assert_eq!(rows("0,6"), "trace.csv, line 3, column \"id\": id appears twice; found 0");
    assert_eq!(
        rows("1,4.5"),
        "trace.csv, line 3, column \"arrival_ms\": rows are not sorted by arrival; found 4.5; \
         allowed: 5 or later"
    );
}

#[test]
fn what_an_earlier_turn_left_is_less_than_the_prompt() {
    let row = |cached: &str| format!("{HEADER},cached_tokens\n0,1,a,b,7,9,16,0.2,0.6,{cached}\n");
    let trace = read(&row("8")).unwrap();
    assert_eq!(trace.requests[0].terms.cached_tokens, 8);
    assert_eq!(read(&trace.to_csv()).unwrap(), trace);
    assert_eq!(read(&row("")).unwrap().requests[0].terms, Terms::default());
    assert_eq!(
        message(&row("9")),
        "trace.csv, line 2, column \"cached_tokens\": bad value; found \"9\"; allowed: fewer \
         than the 9 tokens of the prompt"
    );
}

const WITH_TERMS: &str = "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_ratio,\
                          tpot_ratio,supersedes,priority,cancel_after_ms";

#[test]
fn what_is_asked_beside_may_be_left_out_column_or_cell() {
    let text =
        format!("{WITH_TERMS}\n0,1,a,b,7,9,16,0.2,0.6,1,,\n1,2,a,b,7,9,16,0.2,0.6,0,7,2.5\n");
    let trace = read(&text).unwrap();
    let terms: Vec<Terms> = trace.requests.iter().map(|request| request.terms).collect();
    let cancel_after = Some(Duration::from_micros(2500));
    let [first, second] = [
        Terms { supersedes: true, ..Terms::default() },
        Terms { priority: 7, cancel_after, ..Terms::default() },
    ];
    assert_eq!(terms, [first, second]);
    assert!(trace.has_terms());
    let written = trace.to_csv();
    assert!(written.starts_with(&format!("{HEADER},priority,cancel_after_ms,supersedes\n")));
    assert!(written.contains("0.6,,,1\n") && written.contains("0.6,7,2.5,\n"), "{written}");
    assert_eq!(read(&written).unwrap(), trace);
    let mut plain = trace;
    plain.requests.iter_mut().for_each(|request| request.terms = Terms::default());
    assert!(plain.to_csv().starts_with(&format!("{HEADER}\n")) && !plain.has_terms());
}

#[test]
fn bad_terms_are_named() {
    let row = |cells: &str| message(&format!("{WITH_TERMS}\n0,1,a,b,7,9,16,0.2,0.6,{cells}\n"));
    assert_eq!(
        row("1,8,"),
        "trace.csv, line 2, column \"priority\": bad value; found \"8\"; allowed: 0 to 7"
    );
    assert_eq!(
        row("yes,0,"),
        "trace.csv, line 2, column \"supersedes\": bad value; found \"yes\"; allowed: 0, 1 or \
         nothing"
    );
    assert!(row("0,0,-1").contains("\"cancel_after_ms\": bad value; found \"-1\""));
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let length = (0..=TIME_MS.max * 1_000_000).prop_map(Duration::from_nanos);
    let terms = (0..=PRIORITY.max as u8, prop::option::of(length), any::<bool>());
    terms.prop_map(|(priority, cancel_after, supersedes)| Terms {
        priority,
        cancel_after,
        supersedes,
        cached_tokens: 0,
    })
}

fn any_slo() -> impl Strategy<Value = Slo> {
    let length = || (0..=TIME_MS.max * 1_000_000).prop_map(Duration::from_nanos);
    let share = || (1..=1000_u32).prop_map(|n| Ratio::new(f64::from(n) / 1000.0).unwrap());
    let energy = (0..=ENERGY_MJ.max * 1_000_000).prop_map(Energy::from_nanojoules);
    prop_oneof![
        (share(), share()).prop_map(|(ttft, tpot)| Slo::Relative { ttft, tpot }),
        (length(), length()).prop_map(|(ttft, tpot)| Slo::Absolute { ttft, tpot }),
        share().prop_map(|of| Slo::EndToEnd(Limit::Share(of))),
        length().prop_map(|time| Slo::EndToEnd(Limit::Absolute(time))),
        share().prop_map(|of| Slo::Energy(Limit::Share(of))),
        energy.prop_map(|drawn| Slo::Energy(Limit::Absolute(drawn))),
    ]
}

proptest! {
    #[test]
    fn every_trace_reads_as_written(
        rows in prop::collection::vec((0..1_u64 << 55, ".{1,4}", any::<u32>(), any_slo(), any_terms()), 0..8),
    ) {
        let mut trace = Trace::default();
        let mut arrival = SimTime::ZERO;
        for (id, (gap, name, number, slo, terms)) in (0..).zip(rows) {
            arrival = arrival + Duration::from_nanos(gap);
            // Cells are trimmed, so names have no space at their ends.
            let name = format!("<{name}>");
            let app = trace.app_id(&name).unwrap();
            let dataset = trace.dataset_id(&name).unwrap();
            let tokens = number.clamp(1, TOKENS.max as u32);
            trace.requests.push(Request {
                id, arrival, app, dataset, item: number.into(), prompt_tokens: tokens, output_tokens: tokens, slo, terms,
            });
        }
        prop_assert_eq!(read(&trace.to_csv()).unwrap(), trace);
    }
}

#[test]
fn extra_cells_are_refused() {
    assert!(
        message(&format!("{HEADER}\n0,5,a,b,7,9,16,0.2,0.6,1\n"))
            .contains("line 2: too many cells; found 10; allowed: 9")
    );
}

#[test]
fn a_file_written_line_by_line_is_read_as_what_it_says() {
    let (mut lines, mut text) = TraceLines::begin(&["how".to_owned()]);
    let request = |id: u64, slo: Slo, terms: Terms| Request {
        id,
        arrival: SimTime::from_nanos(1_500_000 * id),
        app: AppId(0),
        dataset: DatasetId(0),
        item: 7.into(),
        prompt_tokens: 12,
        output_tokens: 3,
        slo,
        terms,
    };
    let ms = Duration::from_millis;
    let terms =
        Terms { priority: 2, cancel_after: Some(ms(40)), supersedes: true, cached_tokens: 11 };
    let stated = [
        request(0, Slo::Relative { ttft: Ratio::percent(20), tpot: Ratio::ONE }, Terms::default()),
        request(1, Slo::Absolute { ttft: ms(250), tpot: ms(9) }, terms),
        request(2, Slo::EndToEnd(Limit::Absolute(ms(900))), Terms::default()),
    ];
    for request in &stated {
        text += &lines.line(request, "a, b", "sciq");
    }
    let trace = read(&text).unwrap();
    assert_eq!(trace.requests, stated);
    assert_eq!((trace.apps, trace.datasets), (vec!["a, b".to_owned()], vec!["sciq".to_owned()]));
    assert_eq!(trace.provenance, ["how"]);
}
