//! The interface, request by request, against canned text a thousand times as fast as predicted;
//! without a socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::method::one_prompt::{PromptPlanner, answers_when_cut};
use crate::profile::{DeviceProfile, Profiles};
use crate::request::{Limit, Slo};
use crate::rng::stream;
use crate::schedule::ServiceOptions;
use crate::service::apps::AppEntry;
use crate::service::{Call, CannedModel, Event, Objective, Options};

mod connected;
mod fuzz;

const MODEL: &str = "smollm2-135m-instruct";

/// A service of canned text, `speed` times as fast as predicted.
fn service(speed: u32, schedule: ServiceOptions) -> Service {
    let options = Options { schedule, ..Options::default() };
    let load = move |clock| canned(speed).load(clock);
    Service::start(options, ServiceApps::default(), load).unwrap()
}

/// Canned text that plans as `pliant serve` does.
fn canned(speed: u32) -> CannedModel {
    let profiles = Profiles::at(concat!(env!("CARGO_MANIFEST_DIR"), "/device-profiles"));
    let device = DeviceProfile::load(&profiles.device("epyc-zen5-2core")).unwrap();
    let table = answers_when_cut(&profiles.answers(MODEL), "width-lora").unwrap();
    let planner = PromptPlanner::new(device, &table, MODEL, "width-lora").unwrap();
    CannedModel::new(planner, 2048).unwrap().sped_up(speed)
}

/// A face whose log is kept.
struct Bench {
    router: Router,
    face: Arc<Face>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(1000, Options::default().schedule, Access::default(), Limits::default())
    }

    fn with(speed: u32, schedule: ServiceOptions, access: Access, limits: Limits) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let said = Log::to(move |line| kept.lock().unwrap().push(line.to_owned()));
        let face = Face::new(service(speed, schedule), access, limits, None, said);
        let router = routes::router(&face);
        for _ in 0..2000 {
            if face.service.card().is_some() {
                return Self { router, face, log };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("canned text is loaded in no time: {:?}", face.service.status().state);
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 24).await.unwrap();
        (parts.status, parts.headers, body.to_vec())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (status, _, body) = self.send(request).await;
        (status, String::from_utf8(body).unwrap())
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let (status, headers, body) = self.send(request).await;
        (status, headers, serde_json::from_slice(&body).unwrap())
    }

    async fn chat(&self, more: Value) -> (StatusCode, HeaderMap, Value) {
        self.post("/v1/chat/completions", &[], &question(more)).await
    }

    async fn streamed(&self, path: &str, body: &Value) -> Vec<String> {
        let request = Request::post(path).body(Body::from(body.to_string())).unwrap();
        let (status, headers, body) = self.send(request).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        let text = String::from_utf8(body).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }
}

/// A chat of one turn, with these fields more.
fn question(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "What is a ferry?" }],
        "max_tokens": 6,
    });
    let Value::Object(more) = more else { panic!("fields") };
    body.as_object_mut().unwrap().extend(more);
    body
}

#[tokio::test]
async fn an_answer_has_what_clients_expect_and_says_what_was_done() {
    let bench = Bench::new();
    let (status, headers, body) = bench.chat(json!({ "unknown": { "a": 1 } })).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], MODEL);
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], "This text is canned. No model");
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(body["usage"]["completion_tokens"], 6);
    let told = &body["pliant"];
    assert_eq!(body["usage"]["prompt_tokens"], told["prompt_tokens"]["after"]);
    let level = told["plan"]["level"].as_u64().unwrap();
    assert!((20..=100).contains(&level));
    assert_eq!(headers["x-pliant-level"], level.to_string().as_str());
    assert_eq!(told["met"].to_string(), headers["x-pliant-met"].to_str().unwrap());
    for (object, key) in [("predicted", "ttft_ms"), ("measured", "tpot_ms"), ("bounds", "ttft_ms")]
    {
        assert!(told[object][key].as_f64().unwrap() > 0.0, "{object}.{key}: {told}");
    }
}

#[tokio::test]
async fn a_stream_is_the_same_answer_in_chunks_with_usage_in_the_last_and_an_end() {
    let bench = Bench::new();
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let chunks = bench.streamed("/v1/chat/completions", &question(more)).await;
    let (end, chunks) = chunks.split_last().unwrap();
    assert_eq!(end, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks[0]["pliant"]["plan"]["level"].is_u64());
    let text = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    let text: String = chunks.iter().filter_map(text).collect();
    assert_eq!(text, "This text is canned. No model");
    let [.., closing, counting] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(closing["choices"][0]["finish_reason"], "length");
    assert_eq!(counting["choices"], json!([]));
    assert_eq!(counting["usage"]["completion_tokens"], 6);
    assert!(counting["pliant"]["measured"]["ttft_ms"].is_f64());
    let finishes = chunks.iter().filter(|it| it["choices"][0]["finish_reason"].is_string());
    assert_eq!(finishes.count(), 1);
    let chunks = bench.streamed("/v1/chat/completions", &question(json!({ "stream": true }))).await;
    assert!(chunks.iter().all(|chunk| !chunk.contains("\"usage\"")), "{chunks:?}");
}

#[tokio::test]
async fn a_text_is_gone_on_with() {
    let bench = Bench::new();
    let body = json!({ "prompt": "Once upon a", "max_tokens": 3, "logprobs": 0 });
    let (status, _, answer) = bench.post("/v1/completions", &[], &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["text"], "This text is");
    let tokens = &answer["choices"][0]["logprobs"]["tokens"];
    assert_eq!(tokens, &json!(["This", " text", " is"]));
    assert_eq!(answer["choices"][0]["logprobs"]["text_offset"], json!([0, 4, 9]));
    let body = json!({ "prompt": ["Once"], "max_tokens": 3, "stream": true });
    let chunks = bench.streamed("/v1/completions", &body).await;
    assert!(chunks.iter().any(|chunk| chunk.contains("\"text\":\" text\"")), "{chunks:?}");
}

#[tokio::test]
async fn an_answer_ends_at_a_stop_text_which_is_not_part_of_it() {
    let bench = Bench::new();
    let (_, _, body) = bench.chat(json!({ "stop": [" canned"], "max_tokens": 20 })).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], "This text is", "{body}");
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn options_are_weighed_and_the_likeliest_is_the_answer() {
    let bench = Bench::new();
    let (status, _, body) = bench.chat(json!({ "options": ["yes", "no"] })).await;
    assert_eq!(status, 200, "{body}");
    let options = body["pliant"]["options"].as_array().unwrap();
    assert_eq!(options.len(), 2);
    assert_eq!(options[0]["text"], body["choices"][0]["message"]["content"]);
    assert!((options[0]["probability"].as_f64().unwrap() - 0.5).abs() < 1e-9);
}

/// The prompt has some 500 tokens, of which most may be cut.
#[tokio::test]
async fn an_objective_that_is_tight_gets_another_plan_than_one_that_is_not() {
    let bench = Bench::new();
    let document = "The ferry leaves at nine in the morning and at six. ".repeat(40);
    let ask = question(json!({ "context": document }));
    let path = "/v1/chat/completions";
    let tight = [("x-slo-ttft-ms", "60"), ("x-slo-tpot-ms", "20")];
    let (_, _, tight) = bench.post(path, &tight, &ask).await;
    let loose = [("x-slo-ttft-ms", "60000"), ("x-slo-tpot-ms", "6000")];
    let (_, _, loose) = bench.post(path, &loose, &ask).await;
    assert_ne!(tight["pliant"]["plan"], loose["pliant"]["plan"]);
    let tokens = |answer: &Value| answer["pliant"]["prompt_tokens"]["after"].as_u64().unwrap();
    assert!(tokens(&tight) <= tokens(&loose));
    assert_eq!(loose["pliant"]["bounds"]["ttft_ms"], 60_000.0);
    assert_eq!(loose["pliant"]["met"], true);
    let tools = question(json!({ "context": document, "tools": [{ "type": "function" }] }));
    let headers = [("x-slo-ttft-ms", "60"), ("x-slo-tpot-ms", "20")];
    let (_, _, whole) = bench.post(path, &headers, &tools).await;
    let told = &whole["pliant"]["prompt_tokens"];
    assert_eq!(told["before"], told["after"], "tools' JSON is not cut");
}

#[tokio::test]
async fn an_alias_pins_its_level() {
    let bench = Bench::new();
    let (status, text) = bench.get("/v1/models").await;
    assert_eq!(status, 200);
    let listed: Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&MODEL) && ids.contains(&"smollm2-135m-instruct@20"), "{ids:?}");
    let (_, _, body) = bench.chat(json!({ "model": format!("{MODEL}@40") })).await;
    assert_eq!(body["pliant"]["plan"]["level"], 40);
    assert_eq!(body["model"], format!("{MODEL}@40"));
    assert_eq!(bench.get("/v1/models/smollm2-135m-instruct@40").await.0, 200);
    assert_eq!(bench.get("/v1/models/gpt-x").await.0, 404);
    let (status, _, body) = bench.chat(json!({ "model": "gpt-x" })).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn what_is_wrong_is_400_and_names_its_field() {
    let bench = Bench::new();
    for (param, more) in [
        ("top_p", json!({ "top_p": 0 })),
        ("top_p", json!({ "top_p": 1.5 })),
        ("top_p", json!({ "top_p": "a lot" })),
        ("temperature", json!({ "temperature": -1 })),
        ("n", json!({ "n": 2 })),
        ("max_tokens", json!({ "max_tokens": 0 })),
        ("max_completion_tokens", json!({ "max_completion_tokens": 1e9 })),
        ("stop", json!({ "stop": [1] })),
        ("priority", json!({ "priority": 8 })),
        ("seed", json!({ "seed": 0.5 })),
        ("slo", json!({ "slo": { "ttft": 0.5 } })),
        ("service_tier", json!({ "service_tier": "soon" })),
        ("stream", json!({ "stream": "yes" })),
        ("stream_options", json!({ "stream_options": 1 })),
        ("messages", json!({ "messages": [] })),
        ("messages[0].role", json!({ "messages": [{ "role": "pope", "content": "x" }] })),
        ("messages[0].content", json!({ "messages": [{ "role": "user", "content": 1 }] })),
        ("messages[0]", json!({ "messages": ["x"] })),
        ("top_logprobs", json!({ "logprobs": true, "top_logprobs": 21 })),
        ("context", json!({ "context": [1] })),
        ("timeout_ms", json!({ "timeout_ms": 0 })),
    ] {
        let (status, _, body) = bench.chat(more).await;
        assert_eq!(status, 400, "{param}: {body}");
        assert_eq!(body["error"]["param"], param, "{body}");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }
    let path = "/v1/chat/completions";
    let (status, _, body) = bench.post(path, &[("x-app", "Nobody")], &question(json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("unknown_app")));
    let (status, _, body) = bench.post(path, &[("x-slo-ttft-ms", "x")], &question(json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["param"]), (400, &json!("x-slo-ttft-ms")));
    let long = question(json!({ "context": "word ".repeat(20_000) }));
    let (status, _, body) = bench.post(path, &[], &long).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("context_length_exceeded")));
    let body = Body::from("{\"messages\": \"my secret");
    let (status, _, body) = bench.send(Request::post(path).body(body).unwrap()).await;
    let text = String::from_utf8(body).unwrap();
    assert!(status == 400 && text.contains("line 1") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn paths_methods_and_sizes_that_are_not_are_told_so() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    let schedule = Options::default().schedule;
    let bench = Bench::with(1000, schedule, Access::default(), limits);
    let code = |text: &str| {
        let body: Value = serde_json::from_str(text).unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    };
    let (status, text) = bench.get("/v2").await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (404, "not_found"));
    let (status, text) = bench.get("/v1/completions").await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (405, "method_not_allowed"));
    let more = json!({ "context": "x".repeat(1000) });
    let (status, _, body) = bench.chat(more).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (413, &json!("body_too_large")));
    let chunks: Vec<Result<String, std::io::Error>> =
        vec![Ok("x".repeat(600)), Ok("x".repeat(600))];
    let unsized_body = Body::from_stream(Parts(chunks));
    let request = Request::post("/v1/completions").body(unsized_body).unwrap();
    assert_eq!(bench.send(request).await.0, 413);
}

/// A body that comes in parts and does not say how long it is.
struct Parts(Vec<Result<String, std::io::Error>>);

impl futures_core::Stream for Parts {
    type Item = Result<String, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop())
    }
}

#[tokio::test]
async fn a_token_keeps_everything_but_the_page_and_the_state_of_health() {
    let token = Some(Token::of("token", "0123456789abcdef").unwrap());
    let access = Access { token, cors: None };
    let schedule = Options::default().schedule;
    let bench = Bench::with(1000, schedule, access, Limits::default());
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(bench.get(path).await.0, 200, "{path}");
    }
    for path in ["/metrics", "/v1/service", "/v1/models", "/nowhere"] {
        assert_eq!(bench.get(path).await.0, 401, "{path}");
    }
    let path = "/v1/chat/completions";
    let (status, headers, body) = bench.post(path, &[], &question(json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(headers["www-authenticate"], "Bearer");
    let bearer = [("authorization", "Bearer 0123456789abcdef")];
    assert_eq!(bench.post(path, &bearer, &question(json!({}))).await.0, 200);
}

#[tokio::test]
async fn pages_of_others_are_let_in_only_if_that_is_asked_for() {
    let origin = "https://app.example";
    let preflight = || {
        Request::builder()
            .method(Method::OPTIONS)
            .uri("/v1/chat/completions")
            .header("origin", origin)
            .header("host", "localhost:1")
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap()
    };
    let closed = Bench::new();
    let (status, headers, _) = closed.send(preflight()).await;
    assert_eq!(status, 403);
    assert!(!headers.contains_key("access-control-allow-origin"));
    let headers = [("origin", origin), ("host", "localhost:1")];
    let path = "/v1/chat/completions";
    assert_eq!(closed.post(path, &headers, &question(json!({}))).await.0, 403);
    let access = Access { token: None, cors: Some(origin.to_owned()) };
    let open = Bench::with(1000, Options::default().schedule, access, Limits::default());
    let (status, told, _) = open.send(preflight()).await;
    assert_eq!(
        (status.as_u16(), told["access-control-allow-origin"].as_bytes()),
        (200, origin.as_bytes())
    );
    assert_eq!(open.post(path, &headers, &question(json!({}))).await.0, 200);
}

#[tokio::test]
async fn a_full_house_is_503_with_a_time_to_come_again() {
    let schedule = ServiceOptions { queue_max: Some(0), ..Options::default().schedule };
    let bench = Bench::with(1, schedule, Access::default(), Limits::default());
    let slow = question(json!({ "max_tokens": 500, "stream": true })).to_string();
    let request = Request::post("/v1/chat/completions").body(Body::from(slow)).unwrap();
    let running = bench.router.clone().oneshot(request).await.unwrap();
    assert_eq!(running.status(), 200);
    let (status, headers, body) = bench.chat(json!({})).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (503, &json!("queue-full")));
    assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    // Whoever goes away makes room.
    drop(running);
    assert!(bench.face.service.wait_until_empty(Duration::from_secs(20)));
    assert_eq!(bench.chat(json!({})).await.0, 200);
    let told: Value = serde_json::from_str(&bench.get("/v1/service").await.1).unwrap();
    assert_eq!(told["apps"]["default"]["calls"], 3);
    assert_eq!(told["apps"]["default"]["finished"], 1);
}

#[tokio::test]
async fn a_call_that_waits_longer_than_it_may_is_503() {
    let schedule = Options::default().schedule;
    let bench = Bench::with(1, schedule, Access::default(), Limits::default());
    let slow = question(json!({ "max_tokens": 500, "stream": true })).to_string();
    let request = Request::post("/v1/chat/completions").body(Body::from(slow)).unwrap();
    let running = bench.router.clone().oneshot(request).await.unwrap();
    let (status, headers, body) = bench.chat(json!({ "timeout_ms": 30 })).await;
    drop(running);
    assert_eq!((status.as_u16(), &body["error"]["code"]), (503, &json!("timed-out")));
    assert!(headers.contains_key("retry-after"));
}

#[tokio::test]
async fn what_is_watched_says_what_happened_and_nothing_of_what_was_asked() {
    let bench = Bench::new();
    let path = "/v1/chat/completions";
    let ask = question(json!({ "messages": [{ "role": "user", "content": "my secret" }] }));
    bench.post(path, &[("x-app", "Gboard"), ("x-request-id", "mine")], &ask).await;
    bench.chat(json!({ "top_p": 9 })).await;
    let (_, metrics) = bench.get("/metrics").await;
    for line in [
        "pliant_calls_total{app=\"Gboard\"} 1",
        "pliant_finished_total{app=\"Gboard\"} 1",
        "pliant_http_responses_total{route=\"/v1/chat/completions\",status=\"200\"} 1",
        "pliant_http_responses_total{route=\"/v1/chat/completions\",status=\"400\"} 1",
        "pliant_ttft_seconds_count 1",
        "pliant_waiting 0",
        "pliant_ready 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let (_, told) = bench.get("/v1/service").await;
    let status: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&status["state"], &status["apps"]["Gboard"]["finished"]),
        (&json!("ready"), &json!(1))
    );
    let log = bench.log.lock().unwrap().join("\n");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let call = lines.iter().find(|line| line["event"] == "call").unwrap();
    assert_eq!((&call["request"], &call["app"]), (&json!("mine"), &json!("Gboard")));
    assert_eq!((&call["state"], &call["output_tokens"]), (&json!("finished"), &json!(6)));
    for text in [&log, &told, &metrics] {
        assert!(!text.contains("secret") && !text.contains("canned. No"), "{text}");
    }
}

#[tokio::test]
async fn the_page_is_one_file_that_may_talk_to_this_server_alone() {
    let bench = Bench::new();
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (status, headers, body) = bench.send(request).await;
    assert_eq!(status, 200);
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"));
    let page = String::from_utf8(body).unwrap();
    assert!(page.contains("</html>") && !page.contains("{{"));
    for elsewhere in ["src=\"http", "href=\"http", "url(", "@import"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

/// 1000 tokens at some 9 ms each take 9 s; the app's answers have 8 of them.
#[test]
fn a_plan_is_made_for_as_many_tokens_as_the_apps_answers_have() {
    let feasible = |output_tokens| {
        let app = AppEntry { output_tokens, ..AppEntry::unnamed() };
        let load = |clock| canned(1000).load(clock);
        let service = Service::start(Options::default(), ServiceApps::of(vec![app]), load).unwrap();
        while service.card().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut call = Call::ask("", "What is a ferry?");
        call.max_tokens = 1000;
        let within = Limit::Absolute(Duration::from_secs(2));
        call.objective = Objective::Stated(Slo::EndToEnd(within));
        let calling = service.call(call).unwrap();
        match calling.recv() {
            Some(Event::Planned(plan)) => plan.feasible,
            other => panic!("a plan comes first: {other:?}"),
        }
    };
    assert_eq!([None, Some(8)].map(feasible), [false, true]);
}
