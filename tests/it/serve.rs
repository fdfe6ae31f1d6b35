//! `pliant serve` as its clients meet it: a process, a socket, programs of other people.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{pliant, skipped};

/// The real times of a call that is to last: some seconds.
const SLOW: u32 = 1;
/// So fast that a test does not wait.
const FAST: u32 = 200;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server that runs.
struct Served {
    process: Child,
    host: String,
    folder: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    /// Canned text on a free port, `speed` times as fast as predicted, once it answers.
    fn start(speed: u32, more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut process = Command::new(snapbox::cmd::cargo_bin!("pliant"))
            .args(["serve", "--executor", "cost-model", "--port", "0", "--json"])
            .args(["--speed", &speed.to_string()])
            .args(more)
            .current_dir(root())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        while !told.ends_with("}\n") {
            assert!(lines.read_line(&mut told).unwrap() > 0, "it says where it is: {told}");
        }
        let told: Value = serde_json::from_str(&told).unwrap();
        let host = told["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let served = Self { process, host, folder };
        served.wait_until("ready", |served| served.get("/readyz").0 == 200);
        served
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if holds(self) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("never {what}: {}\n{}", self.get("/v1/service").1, self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    /// Sends a request and leaves the answer to be read.
    fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        let (host, length) = (&self.host, body.len());
        let text = format!("{head}\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// The status and the rest of an answer to a request whose connection is closed after it.
    fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let head = format!("{head} HTTP/1.1\r\nconnection: close");
        let mut answer = String::new();
        self.send(&head, body).read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
        (status.unwrap_or_else(|| panic!("an answer: {answer}")), answer)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), "")
    }

    fn chat(&self, more: Value) -> (u16, String) {
        self.ask("POST /v1/chat/completions", &question(more))
    }

    /// What it is doing.
    fn status(&self) -> Value {
        let (status, answer) = self.get("/v1/service");
        assert_eq!(status, 200);
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn is_empty(&self) -> bool {
        let status = self.status();
        status["running"].is_null() && status["queue"] == json!([])
    }

    fn is_running(&self) -> bool {
        self.status()["running"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0)
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.process.id() as i32).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    fn url(&self) -> String {
        format!("http://{}", self.host)
    }
}

fn question(more: Value) -> String {
    let turn = json!({ "role": "user", "content": "What is a ferry?" });
    let mut body = json!({ "messages": [turn], "max_tokens": 4 });
    let Value::Object(more) = more else { panic!("fields") };
    body.as_object_mut().unwrap().extend(more);
    body.to_string()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// Prints nothing but `nothing wrong`.
fn finds_nothing_wrong(command: &mut Command) {
    let output = run(command);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "nothing wrong");
}

/// What `make test` installs for tests and says in an environment variable.
fn installed(variable: &str, what: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(|path| root().join(path));
    let found = found.filter(|path| path.exists());
    if found.is_none() {
        skipped(&format!("{what}, at {variable}: see `make test`"));
    }
    found
}

#[test]
fn the_openai_package_of_python_is_served() {
    let needed = "a Python with the package openai";
    let Some(python) = installed("PLIANT_OPENAI_PYTHON", needed) else { return };
    let served = Served::start(FAST, &[]);
    let script = root().join("tests/it/serve_client.py");
    let mut command = Command::new(python);
    finds_nothing_wrong(command.arg(script).arg(format!("{}/v1", served.url())));
    let status = served.status();
    let calls = status["apps"]["default"]["calls"].as_u64().unwrap();
    assert!(calls > 60, "{status}");
    served.wait_until("empty", Served::is_empty);
}

#[test]
fn the_openai_package_of_npm_is_served() {
    let needed = "a folder with the npm package openai";
    let Some(folder) = installed("PLIANT_OPENAI_NODE", needed) else { return };
    let served = Served::start(FAST, &[]);
    let script = root().join("tests/it/serve_client.mjs");
    let mut command = Command::new("node");
    let command = command.arg(script).arg(format!("{}/v1", served.url())).current_dir(folder);
    finds_nothing_wrong(command);
    served.wait_until("empty", Served::is_empty);
}

/// The line that the server prints is pasted, and so is one with objectives in headers.
#[test]
fn curl_is_served() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped("curl");
    }
    let served = Served::start(FAST, &[]);
    let url = format!("{}/v1/chat/completions", served.url());
    let document = "The ferry leaves at nine in the morning and at six. ".repeat(40);
    let ask = question(json!({ "context": document }));
    let ask = |ttft: &str, tpot: &str| -> Value {
        let headers = [format!("x-slo-ttft-ms: {ttft}"), format!("x-slo-tpot-ms: {tpot}")];
        let mut command = Command::new("curl");
        let command = command.args(["-sS", "--fail-with-body", &url, "-d", &ask]);
        let output = run(command.args(["-H", &headers[0], "-H", &headers[1]]));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (small, large) = (ask("100", "15"), ask("60000", "6000"));
    assert_ne!(small["pliant"]["plan"], large["pliant"]["plan"]);
    for answer in [&small, &large] {
        assert_eq!(answer["pliant"]["met"], true, "{answer}");
    }
    let stream = question(json!({ "stream": true }));
    let output = run(Command::new("curl").args(["-sSN", "--fail", &url, "-d", &stream]));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("data: [DONE]\n\n"));
}

/// Some 500 tokens would take seconds; both are gone long before.
#[test]
fn a_client_that_goes_away_is_served_no_longer_streamed_or_not() {
    let served = Served::start(SLOW, &[]);
    for stream in [true, false] {
        let body = question(json!({ "stream": stream, "max_tokens": 1000 }));
        let going = served.send("POST /v1/chat/completions HTTP/1.1", &body);
        served.wait_until("running", Served::is_running);
        drop(going);
        served.wait_until("empty", Served::is_empty);
    }
    let counted = &served.status()["apps"]["default"];
    assert_eq!((&counted["finished"], &counted["left"]), (&json!(0), &json!({ "gave-up": 2 })));
    assert!(counted["wasted_tokens"].as_u64().unwrap() < 1000, "{counted}");
}

/// Four that come together are served one after the other, each from start to end: as many tokens
/// as four in turn, none of them twice.
#[test]
fn four_at_once_take_no_more_work_than_in_turn() {
    let served = Served::start(FAST, &[]);
    let tokens = |served: &Served| {
        let counted = served.status()["apps"]["default"].clone();
        let count = |key: &str| counted[key].as_u64().unwrap();
        (count("finished"), count("output_tokens"), count("wasted_tokens"))
    };
    thread::scope(|scope| {
        let one = || assert_eq!(served.chat(json!({ "max_tokens": 30 })).0, 200);
        (0..4).for_each(|_| drop(scope.spawn(one)));
    });
    assert_eq!(tokens(&served), (4, 120, 0));
    (0..4).for_each(|_| assert_eq!(served.chat(json!({ "max_tokens": 30 })).0, 200));
    assert_eq!(tokens(&served), (8, 240, 0));
}

/// Clients of `count` threads, each of which asks `rounds` times on one connection after another.
fn load(served: &Served, count: usize, rounds: usize) {
    let statuses = |nth: usize| -> Vec<u16> {
        let more =
            |round: usize| json!({ "stream": (nth + round).is_multiple_of(2), "max_tokens": 3 });
        (0..rounds).map(|round| served.chat(more(round)).0).collect()
    };
    let all: Vec<u16> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|nth| scope.spawn(move || statuses(nth))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let answered = all.iter().filter(|status| **status == 200).count();
    let busy = all.iter().filter(|status| **status == 503).count();
    assert_eq!(answered + busy, count * rounds, "{all:?}");
    assert!(answered > 0);
    served.wait_until("empty", Served::is_empty);
    assert_eq!(served.chat(json!({})).0, 200);
}

#[test]
fn sixty_four_connections_are_answered_or_told_to_come_again() {
    load(&Served::start(FAST, &[]), 64, 3);
}

#[test]
#[ignore = "needs minutes: `make soak`"]
fn soak_sixty_four_connections_for_long() {
    let served = Served::start(FAST, &[]);
    let minutes: u64 = std::env::var("PLIANT_SOAK_MINUTES").map_or(1, |text| text.parse().unwrap());
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", served.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (clients, rounds) = (64, 20);
    load(&served, clients, rounds);
    let before = resident();
    let up = || served.status()["up_ms"].as_f64().unwrap();
    let end = up() + 60_000.0 * minutes as f64;
    // How many calls a second, each time anew.
    let mut rates = Vec::new();
    while up() < end {
        let began = up();
        load(&served, clients, rounds);
        rates.push((clients * rounds) as f64 / (up() - began) * 1000.0);
    }
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let tenth = rates.len().div_ceil(10);
    println!(
        "soak: {minutes} minutes, {} calls; {:.0} calls/s in the first tenth, {:.0} in the last; \
         {before} KiB resident before, {} after",
        rates.len() * clients * rounds,
        mean(&rates[..tenth]),
        mean(&rates[rates.len() - tenth..]),
        resident()
    );
    assert!(resident() < before + before / 4 + 8192, "{before} KiB before, {} after", resident());
}

#[test]
fn a_head_that_never_ends_and_one_that_is_too_long_are_cut_off() {
    let served = Served::start(FAST, &[]);
    let mut stream = served.connect();
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(1 << 17));
    // The server may close while this is still being written.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "x-y: 1\r\n".repeat(100);
    let mut stream = served.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(served.get("/healthz").0, 200);
}

/// What runs is answered to its end, what comes is refused, and the process ends well.
#[cfg(unix)]
#[test]
fn a_server_told_to_end_answers_whom_it_has() {
    let mut served = Served::start(SLOW, &[]);
    let body = question(json!({ "stream": true, "max_tokens": 60 }));
    let mut running = served.send("POST /v1/chat/completions HTTP/1.1\r\nconnection: close", &body);
    served.wait_until("running", Served::is_running);
    let idle = served.connect();
    served.signal(rustix::process::Signal::TERM);
    let mut answer = String::new();
    running.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("data: [DONE]"), "{answer}");
    drop(idle);
    let ended = served.process.wait().unwrap();
    assert!(ended.success(), "{ended}: {}", served.log());
    assert!(TcpStream::connect(&served.host).is_err());
    let log = served.log();
    assert!(
        log.contains("\"event\":\"draining\"") && log.contains("\"all_answered\":true"),
        "{log}"
    );
}

#[cfg(unix)]
#[test]
fn apps_are_read_again_and_wrong_ones_leave_the_old() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("apps.toml");
    let app = |name: &str| {
        format!("[[apps]]\nname = \"{name}\"\nslo = {{ ttft_ratio = 0.5, tpot_ratio = 0.5 }}\n")
    };
    fs::write(&path, app("Mail")).unwrap();
    let served = Served::start(FAST, &["--apps", path.to_str().unwrap()]);
    let ask = |name: &str| {
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\nx-app: {name}");
        let mut answer = String::new();
        served.send(&head, &question(json!({}))).read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!((ask("Mail"), ask("Maps")), (200, 400));
    fs::write(&path, app("Maps")).unwrap();
    served.signal(rustix::process::Signal::HUP);
    served.wait_until("reread", |served| served.log().contains("\"read\":1"));
    assert_eq!((ask("Mail"), ask("Maps")), (400, 200));
    fs::write(&path, "[[apps]]\nname = 3\n").unwrap();
    served.signal(rustix::process::Signal::HUP);
    served.wait_until("refused", |served| served.log().contains("\"error\""));
    assert_eq!((ask("Mail"), ask("Maps")), (400, 200));
}

/// The same port twice, an address that others reach without a token.
#[test]
fn an_address_that_cannot_be_had_is_a_clear_error() {
    let served = Served::start(FAST, &[]);
    let port = served.host.rsplit_once(':').unwrap().1;
    let args = ["serve", "--executor", "cost-model", "--port", port];
    let refused = pliant(root()).args(args).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    let start = format!("pliant: address 127.0.0.1:{port}: cannot listen; allowed: ");
    assert!(said.starts_with(&start) && said.contains("--port"), "{said}");
    let args = ["serve", "--executor", "cost-model", "--listen", "0.0.0.0"];
    let refused = pliant(root()).args(args).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("--token"), "{said}");
}

/// Two commands: record a day, replay it by the base model alone.
#[test]
fn a_recorded_day_is_replayed_under_other_policies() {
    let folder = TempDir::new().unwrap();
    let day = folder.path().join("day.csv");
    let served = Served::start(FAST, &["--record", day.to_str().unwrap()]);
    for app in ["Gboard", "XiaoAi", "Rewind"] {
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\nx-app: {app}");
        let document = "The ferry leaves at nine in the morning and at six. ".repeat(10);
        let body = question(json!({ "context": document }));
        let mut answer = String::new();
        served.send(&head, &body).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    served.wait_until("recorded", |_| fs::read_to_string(&day).unwrap().lines().count() == 6);
    let (text, served_text) = (
        fs::read_to_string(&day).unwrap(),
        fs::read_to_string(folder.path().join("day.served.csv")).unwrap(),
    );
    assert!(!text.contains("ferry") && !served_text.contains("ferry"));
    assert!(served_text.lines().skip(1).all(|line| line.contains(",finished,")), "{served_text}");
    let page = fs::read_to_string(root().join("docs/service.md")).unwrap();
    let (_, experiment) = page.split_once("```toml day.toml\n").unwrap();
    let (experiment, _) = experiment.split_once("```").unwrap();
    let experiment = experiment.replace("day.csv", day.to_str().unwrap());
    let path = folder.path().join("day.toml");
    fs::write(&path, experiment).unwrap();
    let out = folder.path().join("results");
    let args = ["run", path.to_str().unwrap(), "--out", out.to_str().unwrap()];
    pliant(root()).args(args).assert().success();
    let mut rows = csv::Reader::from_path(out.join("metrics.csv")).unwrap();
    let headers = rows.headers().unwrap().clone();
    let column = headers.iter().position(|name| name == "requests").unwrap();
    let requests: Vec<String> = rows.records().map(|row| row.unwrap()[column].to_owned()).collect();
    assert!(requests.len() >= 2 && requests.iter().all(|count| count == "3"), "{requests:?}");
}

/// Opens the page at a phone's width and uses it: `serve_page.js` says what did not work.
#[test]
fn the_page_works_in_a_browser() {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(browser) = browser else { return skipped("chromium on the path") };
    let served = Served::start(FAST, &[]);
    let script = root().join("tests/it/serve_page.mjs");
    if Command::new("node").arg("--version").output().is_err() {
        return skipped("node, to drive the page");
    }
    let mut command = Command::new("node");
    let command = command.arg(script).args([browser, &served.url()]);
    finds_nothing_wrong(command.arg(served.folder.path().join("browser")));
}
