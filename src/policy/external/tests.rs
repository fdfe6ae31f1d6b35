//! Policies written in Python: good ones, and hostile ones that must not hurt.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::method::contract::Contract;
use crate::method::testing::{Bench, REQUEST, plan};
use crate::method::{MethodSpec, PolicySpec, standard_methods};
use crate::request::{Bounds, Request, RequestView, Slo, Terms};
use crate::trace::Trace;
use crate::units::SimTime;

/// What every script starts with.
const HELLO: &str = "import json, os, sys, time
hello = json.loads(sys.stdin.readline())
def say(text):
    sys.stdout.write(text + '\\n')
    sys.stdout.flush()
READY = '{\"type\": \"ready\", \"protocol\": 1}'
HALF = '{\"id\": 7, \"level\": 0.5, \"prompt_ratio\": 0.5}'
";

/// Why a run under the script `HELLO + body` ends, asked `requests` times; `None`: it does not.
/// `None` of the outer kind: there is no Python.
fn failure(body: &str, timeout_ms: u64) -> Option<String> {
    let bench = Bench::elastic();
    let mut policy = match start(&bench, &format!("{HELLO}{body}"), timeout_ms) {
        Ok(policy) => policy,
        Err(error) => return Some(error.to_string()),
    };
    for _ in 0..3 {
        bench.ask(&mut policy, &bench.request(50, 10), None);
        if let Err(error) = policy.settle() {
            return Some(error.to_string());
        }
    }
    None
}

fn start(bench: &Bench, script: &str, timeout_ms: u64) -> Result<External> {
    start_command(bench, ["python3", "-c", script], timeout_ms)
}

fn start_command(bench: &Bench, command: [&str; 3], timeout_ms: u64) -> Result<External> {
    let command = command.map(String::from).into();
    let spec =
        ExternalSpec { command, timeout_ms, bill: Bill::Measured, share_core: false, inputs: None };
    begin(bench, &spec)
}

fn begin(bench: &Bench, spec: &ExternalSpec) -> Result<External> {
    let menu = bench.method.menu(&bench.trace)?;
    let names = [&*bench.trace.apps, &*bench.trace.datasets];
    External::new(spec, &bench.method.spec().name, menu, names, 1)
}

/// Where there is no Python nothing here can run, and says so.
#[expect(
    clippy::disallowed_methods,
    reason = "`println!` would be captured, as the test will pass"
)]
fn python() -> bool {
    let found = Command::new("python3").arg("-V").output().is_ok();
    if !found {
        use std::io::Write as _;
        let thread = std::thread::current();
        let line = format!("\nSKIPPED {}: needs python3\n", thread.name().unwrap_or_default());
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
    found
}

fn example(bench: &Bench, name: &str) -> External {
    let path = format!("{}/examples/python/{name}", env!("CARGO_MANIFEST_DIR"));
    start_command(bench, ["python3", "-B", &path], 10_000).unwrap()
}

/// The bench's table: of plans within 50 ms, ⟨50 %, 100 %⟩ and ⟨100 %, 50 %⟩ are right at 0.5, and
/// the former is lighter, as `elastic-profile` has it.
#[test]
fn the_python_examples_choose_as_their_rules_say() {
    if !python() {
        return;
    }
    let bench = Bench::elastic();
    let mut policy = example(&bench, "accuracy_first.py");
    let mut built_in = bench.policy("elastic-profile");
    for (ttft, tpot) in [(100, 10), (50, 10), (50, 5), (30, 5), (1, 1)] {
        let request = bench.request(ttft, tpot);
        for resident in [None, Some(crate::units::Level::percent(50))] {
            let chosen = bench.ask(&mut policy, &request, resident);
            assert!(policy.settle().unwrap().is_some_and(|took| took > Duration::ZERO));
            assert_eq!(chosen, bench.ask(&mut *built_in, &request, resident), "{ttft}, {tpot}");
        }
    }
    let mut nominal = example(&bench, "nominal.py");
    let relative = |ttft, tpot| {
        let percent = crate::units::Ratio::percent;
        Request {
            slo: Slo::Relative { ttft: percent(ttft), tpot: percent(tpot) },
            terms: Terms::default(),
            ..bench.request(1, 1)
        }
    };
    for (ttft, tpot, expected) in [
        (100, 100, plan(100, 100)),
        (50, 100, plan(100, 50)),
        (50, 60, plan(50, 100)),
        (20, 50, plan(50, 50)),
    ] {
        let request = relative(ttft, tpot);
        let second = Duration::from_secs(1);
        let bounds = Bounds::Latency { ttft: second, tpot: second };
        let service = ServiceView {
            now: SimTime::ZERO,
            resident: None,
            queued: 0,
            speed: crate::units::Ratio::ONE,
        };
        assert_eq!(nominal.plan(RequestView::new(&request, bounds), service), expected);
        nominal.settle().unwrap();
    }
}

/// Taken up after 4 ms of waiting, of 54 ms 50 are left: ⟨50 %, 100 %⟩ and ⟨100 %, 50 %⟩, right at
/// 0.5, take that long, and the former comes first. After 5 ms ⟨50 %, 50 %⟩ is left, after 40
/// nothing: it is the quickest too.
#[test]
fn the_wait_aware_example_counts_the_wait() {
    if !python() {
        return;
    }
    let bench = Bench::elastic();
    let mut policy = example(&bench, "wait_aware.py");
    let request = bench.request(54, 10);
    let bounds = bench.method.bounds(&Trace { requests: vec![request], ..bench.trace.clone() });
    let bounds = bounds.unwrap()[0];
    for (waited_ms, expected) in [(4, plan(50, 100)), (5, plan(50, 50)), (40, plan(50, 50))] {
        let now = SimTime::ZERO + Duration::from_millis(waited_ms);
        let service =
            ServiceView { now, resident: None, queued: 1, speed: crate::units::Ratio::ONE };
        let view = RequestView::new(&request, bounds);
        assert_eq!(policy.plan(view, service), expected, "{waited_ms}");
        policy.settle().unwrap();
    }
}

/// A program is a policy like any other.
#[test]
fn a_policy_in_python_keeps_the_contract() {
    if !python() {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/wait_aware.py");
    let command = ["python3", "-B", path].map(String::from).into();
    let policy = PolicySpec::External(ExternalSpec {
        command,
        timeout_ms: 60_000,
        bill: Bill::Profile,
        share_core: true,
        inputs: None,
    });
    let method = MethodSpec { policy, ..standard_methods().remove(0) };
    Contract::of_method(method).check().unwrap_or_else(|breach| panic!("{breach}"));
}

#[test]
fn a_policy_that_answers_in_order_never_fails() {
    if python() {
        let body = "say(READY)\nfor line in sys.stdin: say(HALF)";
        assert_eq!(failure(body, 10_000), None);
    }
}

/// Each is met with one error that names the request (7), within its time and without a 1 GB line
/// in memory.
#[test]
fn hostile_policies_end_their_run_with_an_error_that_names_the_request() {
    if !python() {
        return;
    }
    let answering = |answer: &str| format!("say(READY)\nfor line in sys.stdin: say('{answer}')");
    let cases = [
        ("hangs", "say(READY)\ntime.sleep(60)".to_owned(), "policy did not decide; found no answer within 300 ms"),
        ("ends", "say(READY)\nsys.stdin.readline()\nsys.exit(3)".to_owned(), "policy did not decide; found it ended: exit status: 3"),
        (
            "floods without a newline",
            "say(READY)\nsys.stdin.readline()\nfor _ in range(1 << 14): os.write(1, b'x' * (1 << 16))".to_owned(),
            "policy did not decide; found a line longer than 65536 bytes",
        ),
        (
            "floods with lines",
            "say(READY)\nwhile True: os.write(1, (HALF + '\\n').encode() * 1000)".to_owned(),
            "policy did not decide; found a line that nobody asked for: {\"id\": 7",
        ),
        (
            "answers a letter at a time",
            "say(READY)\nsys.stdin.readline()\nwhile True: os.write(1, b' '); time.sleep(0.05)".to_owned(),
            "policy did not decide; found no answer within 300 ms",
        ),
        ("answers another request", answering(r#"{"id": 8, "level": 0.5, "prompt_ratio": 0.5}"#), "policy answered another request; found 8; allowed: 7"),
        ("answers NaN", answering(r#"{"id": 7, "level": NaN, "prompt_ratio": 0.5}"#), "policy answered nonsense; found \"{\\\"id\\\": 7, \\\"level\\\": NaN"),
        ("answers a level of 7", answering(r#"{"id": 7, "level": 7, "prompt_ratio": 0.5}"#), "policy answered nonsense"),
        ("answers a level of 0.9999", answering(r#"{"id": 7, "level": 0.9999, "prompt_ratio": 1.0}"#), "policy answered nonsense"),
        ("answers a ratio of 0.99996", answering(r#"{"id": 7, "level": 1.0, "prompt_ratio": 0.99996}"#), "policy answered nonsense"),
        ("answers too much", answering(r#"{"id": 7, "level": 0.5, "prompt_ratio": 0.5, "why": 1}"#), "policy answered nonsense"),
        ("answers no candidate", answering(r#"{"id": 7, "level": 0.3, "prompt_ratio": 0.5}"#), "policy chose a plan that is no candidate"),
        ("says nothing in a line", answering(""), "policy answered nonsense; found \"\""),
    ];
    for (what, body, expected) in cases {
        // On a busy machine an answer may well take 300 ms.
        let timeout_ms = if expected.contains("300 ms") { 300 } else { 10_000 };
        #[expect(
            clippy::disallowed_methods,
            reason = "how long a hostile policy can hold a run up"
        )]
        let started = Instant::now();
        let message =
            failure(&body, timeout_ms).unwrap_or_else(|| panic!("one that {what} passed"));
        let expected = format!("method elastic-profile, request {REQUEST}: {expected}");
        assert!(message.starts_with(&expected), "one that {what}: {message}");
        assert!(started.elapsed() < Duration::from_mins(1), "one that {what} held the run up");
    }
}

#[test]
fn who_does_not_shake_hands_is_refused_before_the_first_request() {
    if !python() {
        return;
    }
    let message = failure("say('hello')", 300).unwrap();
    assert!(
        message.contains("policy did not shake hands; found \"hello\"; allowed: {\"type\""),
        "{message}"
    );
    let message = failure("say('{\"type\": \"ready\", \"protocol\": 2}')", 300).unwrap();
    assert!(message.contains("found protocol 2"), "{message}");
    let message = failure("sys.exit('no')", 300).unwrap();
    assert!(message.contains("found it ended: exit status: 1"), "{message}");

    let bench = Bench::elastic();
    let command = vec!["no-such-program".to_owned()];
    let spec = ExternalSpec {
        command,
        timeout_ms: 1,
        bill: Bill::Profile,
        share_core: true,
        inputs: None,
    };
    let error = begin(&bench, &spec).unwrap_err();
    assert!(error.to_string().contains("command \"no-such-program\": policy cannot be started"));
}

/// Object keys, by message, of what is said and of what the schema requires.
#[test]
fn messages_have_the_keys_of_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy-protocol.schema.json");
    let schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let bench = Bench::elastic();
    let menu = bench.method.menu(&bench.trace).unwrap();
    let request = bench.request(50, 10);
    let bounds = bench.method.bounds(&bench.trace).unwrap()[0];
    let view = RequestView::new(&request, bounds);
    let service = ServiceView {
        now: SimTime::ZERO,
        resident: None,
        queued: 0,
        speed: crate::units::Ratio::percent(50),
    };
    let seen = Seen::new(view, service, request.output_tokens, ["app", "quiz"]);
    let question = Question { seen, forecasts: Some(Vec::new()), energies_mj: Some(Vec::new()) };
    let execution = crate::outcome::Execution::default();
    let outcome = Outcome {
        request,
        bounds,
        plan: Plan::FULL,
        start: SimTime::ZERO,
        execution,
        interruptions: crate::outcome::Interruptions::default(),
    };
    let said = [
        (
            "hello",
            Message::Hello(hello("mine", &menu, [&bench.trace.apps, &bench.trace.datasets], 1)),
        ),
        ("plan", Message::Plan(question)),
        ("outcome", Message::Outcome(Observed::of(&outcome))),
    ];
    for (name, message) in said {
        let message: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&encode(&message)).unwrap();
        assert_eq!(message["type"], name);
        let properties = schema["$defs"][name]["properties"].as_object().unwrap();
        assert!(message.keys().eq(properties.keys()), "{name}: {:?}", message.keys());
    }
}
