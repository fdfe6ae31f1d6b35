//! What the service says of a call → the bodies that clients know, whole or chunk by chunk, with a
//! `pliant` object beside `usage`: what was planned, what was done, whether the objective was met.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::objective::stated_bounds;
use super::question::{Question, Shape};
use crate::request::Bounds;
use crate::service::{Done, PlanReport, Token};
use crate::units::millis;

/// An answer on its way: its names, and what of it has come.
#[derive(Debug)]
pub(super) struct Answer {
    shape: Shape,
    model: String,
    id: String,
    created: u64,
    options: Vec<String>,
    with_logprobs: bool,
    text: String,
    tokens: Vec<Token>,
}

impl Answer {
    /// The answer to `question`, called `id`, begun at `created` (seconds since 1970).
    pub fn new(question: &Question, id: &str, created: u64) -> Self {
        let prefix = match question.shape {
            Shape::Chat => "chatcmpl",
            Shape::Text => "cmpl",
        };
        Self {
            shape: question.shape,
            model: question.model.clone(),
            id: format!("{prefix}-{id}"),
            created,
            options: question.call.options.clone(),
            with_logprobs: question.call.top_logprobs.is_some(),
            text: String::new(),
            tokens: Vec::new(),
        }
    }

    /// Keeps a token of an answer that is sent as a whole.
    pub fn push(&mut self, token: Token) {
        self.text += &token.text;
        if self.with_logprobs {
            self.tokens.push(token);
        }
    }

    /// The whole answer.
    pub fn whole(&self, done: &Done) -> Value {
        let text = self.final_text(done);
        let finish = done.finish.name();
        let logprobs = self.logprobs(&self.tokens);
        let choice = match self.shape {
            Shape::Chat => json!({
                "index": 0,
                "message": { "role": "assistant", "content": text, "refusal": null },
                "logprobs": logprobs,
                "finish_reason": finish,
            }),
            Shape::Text => {
                json!({ "index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish })
            }
        };
        let object = match self.shape {
            Shape::Chat => "chat.completion",
            Shape::Text => "text_completion",
        };
        let mut body = self.envelope(object, json!([choice]));
        body.insert("usage".to_owned(), usage(done));
        body.insert("pliant".to_owned(), self.report(done));
        Value::Object(body)
    }

    fn final_text(&self, done: &Done) -> String {
        let chosen = done.options.first().and_then(|best| self.options.get(best.index));
        chosen.cloned().unwrap_or_else(|| format!("{}{}", self.text, done.rest))
    }

    /// The first chunk: whose turn it is, and the plan.
    pub fn opening(&self, plan: &PlanReport) -> Value {
        let delta = json!({ "role": "assistant", "content": "" });
        let mut chunk = self.chunk("", &delta, &Value::Null, None);
        chunk.insert("pliant".to_owned(), Value::Object(planned(plan)));
        Value::Object(chunk)
    }

    /// The chunk of one token; absent if it adds neither text nor probabilities.
    pub fn piece(&self, token: Token) -> Option<Value> {
        if token.text.is_empty() && !self.with_logprobs {
            return None;
        }
        let delta = json!({ "content": token.text });
        let text = token.text.clone();
        let logprobs = self.logprobs(&[token]);
        Some(Value::Object(self.chunk(&text, &delta, &logprobs, None)))
    }

    /// The chunk that says why the answer ends, and what was done.
    pub fn closing(&self, done: &Done) -> Value {
        let rest = match done.options.first().and_then(|best| self.options.get(best.index)) {
            Some(chosen) => chosen.clone(),
            None => done.rest.clone(),
        };
        let delta = if rest.is_empty() { json!({}) } else { json!({ "content": rest }) };
        let mut chunk = self.chunk(&rest, &delta, &Value::Null, Some(done.finish.name()));
        chunk.insert("pliant".to_owned(), self.report(done));
        Value::Object(chunk)
    }

    /// The chunk after it, with the count of tokens, for clients that ask for it.
    pub fn counting(&self, done: &Done) -> Value {
        let mut chunk = self.envelope(self.chunk_object(), json!([]));
        chunk.insert("usage".to_owned(), usage(done));
        chunk.insert("pliant".to_owned(), self.report(done));
        Value::Object(chunk)
    }

    fn chunk(
        &self,
        text: &str,
        delta: &Value,
        logprobs: &Value,
        finish: Option<&str>,
    ) -> Map<String, Value> {
        let choice = match self.shape {
            Shape::Chat => json!({
                "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish,
            }),
            Shape::Text => json!({
                "index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish,
            }),
        };
        self.envelope(self.chunk_object(), json!([choice]))
    }

    const fn chunk_object(&self) -> &'static str {
        match self.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Text => "text_completion",
        }
    }

    fn envelope(&self, object: &str, choices: Value) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("id".to_owned(), json!(self.id));
        body.insert("object".to_owned(), json!(object));
        body.insert("created".to_owned(), json!(self.created));
        body.insert("model".to_owned(), json!(self.model));
        body.insert("choices".to_owned(), choices);
        body
    }

    /// The probabilities of `tokens` in the form of the interface; `null` if nobody asked.
    fn logprobs(&self, tokens: &[Token]) -> Value {
        if !self.with_logprobs {
            return Value::Null;
        }
        match self.shape {
            Shape::Chat => {
                let token = |token: &Token| {
                    let mut told = likely(&token.text, token.logprob);
                    let top = token.top.iter().map(|(text, logprob)| likely(text, Some(*logprob)));
                    told["top_logprobs"] = top.collect();
                    told
                };
                json!({ "content": tokens.iter().map(token).collect::<Vec<_>>() })
            }
            Shape::Text => {
                let top = |token: &Token| {
                    let entry =
                        |(text, logprob): &(String, f32)| (text.clone(), number(Some(*logprob)));
                    Value::Object(token.top.iter().map(entry).collect())
                };
                let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
                let offsets = texts.iter().scan(0, |at, text| {
                    let start = *at;
                    *at += text.chars().count();
                    Some(start)
                });
                json!({
                    "tokens": texts,
                    "token_logprobs": tokens.iter().map(|t| number(t.logprob)).collect::<Vec<_>>(),
                    "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
                    "text_offset": offsets.collect::<Vec<_>>(),
                })
            }
        }
    }

    /// The `pliant` object of a finished answer.
    fn report(&self, done: &Done) -> Value {
        let mut told = planned(&done.plan);
        let ms = |length: Option<Duration>| length.map(rounded_ms);
        told.insert(
            "measured".to_owned(),
            json!({
                "ttft_ms": rounded_ms(done.ttft),
                "tpot_ms": ms(done.tpot),
                "gap_p99_ms": ms(done.gap_p99),
                "paused_ms": rounded_ms(done.paused),
            }),
        );
        told.insert("met".to_owned(), json!(done.met));
        if !done.options.is_empty() {
            let option = |weighed: &crate::service::Weighed| {
                json!({
                    "index": weighed.index,
                    "text": self.options.get(weighed.index),
                    "probability": weighed.probability,
                    "logprob": weighed.logprob,
                })
            };
            told.insert("options".to_owned(), done.options.iter().map(option).collect());
        }
        Value::Object(told)
    }
}

/// A token and how likely it is, as a chat's list of them has it.
fn likely(text: &str, logprob: Option<f32>) -> Value {
    json!({ "token": text, "logprob": number(logprob), "bytes": text.as_bytes() })
}

/// JSON has no infinities: they become the least number there is.
fn number(logprob: Option<f32>) -> Value {
    logprob.map_or(Value::Null, |value| json!(f64::from(value.max(f32::MIN))))
}

fn rounded_ms(length: Duration) -> f64 {
    (millis(length) * 1000.0).round() / 1000.0
}

fn usage(done: &Done) -> Value {
    let (prompt, output) = (done.plan.prompt_tokens_after, done.output_tokens);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": { "cached_tokens": done.plan.cached_tokens },
    })
}

/// The `pliant` object of an answer that is planned.
fn planned(plan: &PlanReport) -> Map<String, Value> {
    let told = json!({
        "plan": {
            "level": plan.level.as_percent(),
            "prompt_ratio": plan.prompt_ratio.as_f64(),
            "feasible": plan.feasible,
            "cut_by": plan.cut_by,
        },
        "prompt_tokens": {
            "before": plan.prompt_tokens_before,
            "after": plan.prompt_tokens_after,
            "cached": plan.cached_tokens,
        },
        "bounds": bounds(plan.bounds),
        "queue_wait_ms": rounded_ms(plan.queue_wait),
        "predicted": {
            "ttft_ms": rounded_ms(plan.queue_wait + plan.predicted_ttft),
            "tpot_ms": rounded_ms(plan.predicted_tpot),
            "device": plan.device,
            "provenance": plan.provenance,
        },
    });
    let Value::Object(told) = told else { unreachable!("an object was written") };
    told
}

fn bounds(bounds: Bounds) -> Value {
    let [ttft, tpot, whole] = stated_bounds(bounds).map(|bound| bound.map(rounded_ms));
    json!({ "ttft_ms": ttft, "tpot_ms": tpot, "e2e_ms": whole })
}

/// The same in headers, as far as it is known: of a stream that begins the plan, of a whole answer
/// all of it.
pub(super) fn headers(plan: &PlanReport, done: Option<&Done>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let ms = |length: Duration| format!("{:.3}", millis(length));
    put("x-pliant-level", plan.level.as_percent().to_string());
    put("x-pliant-prompt-ratio", plan.prompt_ratio.as_f64().to_string());
    put("x-pliant-queue-ms", ms(plan.queue_wait));
    put("x-pliant-predicted-ttft-ms", ms(plan.queue_wait + plan.predicted_ttft));
    put("x-pliant-predicted-tpot-ms", ms(plan.predicted_tpot));
    if let Some(done) = done {
        put("x-pliant-ttft-ms", ms(done.ttft));
        done.tpot.into_iter().for_each(|tpot| put("x-pliant-tpot-ms", ms(tpot)));
        done.met.into_iter().for_each(|met| put("x-pliant-met", met.to_string()));
    }
    headers
}
