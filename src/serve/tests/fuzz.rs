//! Bodies as no client means them: broken, cut, doubled, of other types. Each gets an answer or a
//! fault in the form that clients know, and the service goes on.

use super::*;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Bodies in `make test`; `make soak` asks for a hundred times as many.
const BODIES: u64 = 2000;

const SEEDS: [&str; 5] = [
    r#"{"model":"smollm2-135m-instruct","messages":[{"role":"user","content":"hi"}],"max_tokens":2}"#,
    r#"{"messages":[{"role":"system","content":[{"type":"text","text":"a"}]},{"role":"user","content":"b","cut":true}],"slo":{"ttft":0.4,"tpot":0.7},"stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":2}"#,
    r#"{"messages":[{"role":"user","content":"hi"}],"context":["a","b"],"tools":[{"type":"function","function":{"name":"f"}}],"temperature":0.5,"top_p":0.9,"seed":-1,"stop":["x"],"max_tokens":2,"priority":3,"service_tier":"fast"}"#,
    r#"{"prompt":"once","max_tokens":2,"logprobs":3,"stream":true}"#,
    r#"{"prompt":"once","options":["a","b"],"slo":{"e2e_ms":900},"timeout_ms":60000,"max_tokens":2}"#,
];

/// What stands in for a value.
const VALUES: [&str; 16] = [
    "null",
    "true",
    "-1",
    "0",
    "1e308",
    "1e-320",
    "18446744073709551616",
    "0.1",
    "\"\"",
    "\"\\u0000\"",
    "\"\u{202e}\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
    "{\"a\":{\"b\":[]}}",
    "\"smollm2-135m-instruct@\"",
];

/// One to three changes of a body: bytes, parts of it, values.
fn mutated(rng: &mut ChaCha8Rng, seed: &str) -> Vec<u8> {
    let mut body = seed.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..=3) {
        if body.is_empty() {
            break;
        }
        let at = rng.random_range(0..body.len());
        match rng.random_range(0..12) {
            0 => body[at] = rng.random_range(0..=255),
            1 => drop(body.remove(at)),
            2 => body.insert(at, rng.random_range(32..127)),
            3 => body.truncate(at),
            4 => {
                let end = rng.random_range(at..body.len());
                let part = body[at..end].to_vec();
                body.splice(at..at, part);
            }
            _ => {
                let colons: Vec<usize> =
                    (0..body.len()).filter(|&place| body[place] == b':').collect();
                let Some(&colon) = colons.get(at % colons.len().max(1)) else { continue };
                let rest = &body[colon + 1..];
                let ends = rest.iter().position(|byte| b",}]".contains(byte));
                let end = colon + 1 + ends.unwrap_or(rest.len());
                let value = VALUES[rng.random_range(0..VALUES.len())];
                body.splice(colon + 1..end, value.bytes());
            }
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_body_says_it_gets_an_answer_or_a_fault() {
    let count = std::env::var("PLIANT_FUZZ").map_or(BODIES, |text| text.parse().unwrap());
    let mut rng = stream(7, "serve/fuzz");
    let bench = Bench::with(
        1_000_000,
        Options::default().schedule,
        Access::default(),
        Limits { output_tokens: 8, ..Limits::default() },
    );
    let (mut answered, mut refused) = (0_u64, 0_u64);
    for nth in 0..count {
        let seed = SEEDS[rng.random_range(0..SEEDS.len())];
        let is_chat = seed.contains("messages") != rng.random_bool(0.1);
        let path = if is_chat { "/v1/chat/completions" } else { "/v1/completions" };
        let body = mutated(&mut rng, seed);
        let said = String::from_utf8_lossy(&body).into_owned();
        let request = Request::post(path).body(Body::from(body)).unwrap();
        let (status, headers, body) = bench.send(request).await;
        let told = String::from_utf8_lossy(&body);
        match status.as_u16() {
            200 if headers["content-type"] == "text/event-stream" => {
                assert!(told.ends_with("data: [DONE]\n\n"), "{nth}: {said}\n{told}");
                answered += 1;
            }
            200 => {
                let answer: Value = serde_json::from_slice(&body).unwrap();
                assert!(answer["choices"][0]["finish_reason"].is_string(), "{nth}: {said}\n{told}");
                answered += 1;
            }
            400 | 404 => {
                let fault: Value = serde_json::from_slice(&body).unwrap();
                assert!(fault["error"]["message"].is_string(), "{nth}: {said}\n{told}");
                refused += 1;
            }
            other => panic!("{nth}: {other} for {said}\n{told}"),
        }
    }
    assert!(answered * 25 > count && refused * 4 > count, "{answered} answered, {refused} refused");
    assert_eq!(bench.chat(json!({})).await.0, 200, "the service goes on");
}
