//! One call over HTTP, and when what of its answer was here.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use serde_json::{Map, Value};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::question::Question;
use crate::error::{Error, Result};
use crate::service::{Clock as _, RealClock};
use crate::units::SimTime;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_mins(11);
/// Bytes of an answer that is read whole.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// What ends a stream.
const DONE: &str = "[DONE]";

/// What a client proves itself with.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The server's token, where it asks for one.
    pub token: Option<String>,
    /// Keys of apps by name, which count before the token.
    pub apps: BTreeMap<String, String>,
}

/// Calls one server.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
    keys: Keys,
    clock: RealClock,
}

/// A streamed answer, as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Streamed {
    pub sent: SimTime,
    /// When the first token was here.
    pub first: Option<SimTime>,
    /// When the last was, which ends the answer.
    pub last: Option<SimTime>,
    /// Tokens of the answer, as the server counts them.
    pub tokens: u32,
    /// The `pliant` object, as far as it was told.
    pub report: Map<String, Value>,
    /// Why there is no answer, or no more of it: a code of the server.
    pub refused: Option<String>,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(url: &str, keys: Keys) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_idle_connections_per_host(64)
            .build();
        let url = url.trim_end_matches('/').to_owned();
        Self { agent: config.into(), url, keys, clock: RealClock::start() }
    }

    /// The time since the client began.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.clock.now()
    }

    /// What the server has at `path`, with its status.
    ///
    /// # Errors
    /// If there is no server, or it does not speak HTTP.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.keys.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.call().map_err(|cause| self.unreachable(path, cause))?;
        let status = response.status().as_u16();
        Ok((status, self.text(path, response)?))
    }

    /// The name of the server's base model.
    ///
    /// # Errors
    /// If there is no server, or it does not list models.
    pub fn base_model(&self) -> Result<String> {
        let (status, text) = self.get("/v1/models")?;
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        let name = list["data"][0]["id"].as_str().map(str::to_owned);
        name.filter(|_| status == 200).ok_or_else(|| {
            let error = Error::new(format!("{}/v1/models", self.url), "names no model");
            error.found(format!("status {status}")).allowed("a list of models")
        })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// If there is no server, or what comes is no JSON.
    pub(super) fn ask(&self, question: &Question) -> Result<(u16, Value)> {
        let response = self.post(question)?;
        let status = response.status().as_u16();
        let text = self.text(COMPLETIONS, response)?;
        let value = serde_json::from_str(&text);
        Ok((status, value.map_err(|cause| self.unreachable(COMPLETIONS, cause))?))
    }

    /// Asks, and follows the answer token by token.
    ///
    /// # Errors
    /// If there is no server, or it goes away.
    pub(super) fn follow(&self, question: &Question) -> Result<Streamed> {
        let mut streamed = Streamed { sent: self.now(), ..Streamed::default() };
        let response = self.post(question)?;
        if response.status().as_u16() != 200 {
            let status = response.status().as_u16();
            let text = self.text(COMPLETIONS, response)?;
            let fault: Value = serde_json::from_str(&text).unwrap_or_default();
            let code = fault["error"]["code"].as_str().map_or(status.to_string(), str::to_owned);
            streamed.refused = Some(code);
            return Ok(streamed);
        }
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|cause| self.unreachable(COMPLETIONS, cause))?;
            if let Some(data) = line.strip_prefix("data: ") {
                streamed.take(data, self.now());
            }
        }
        Ok(streamed)
    }

    fn post(&self, question: &Question) -> Result<Response<Body>> {
        let mut request = self.agent.post(format!("{}{COMPLETIONS}", self.url));
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let app = question.headers.iter().find(|(name, _)| *name == "x-app");
        let key = app.and_then(|(_, app)| self.keys.apps.get(app)).or(self.keys.token.as_ref());
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = Value::Object(question.body.clone()).to_string();
        request.send(body.as_bytes()).map_err(|cause| self.unreachable(COMPLETIONS, cause))
    }

    fn text(&self, path: &str, response: Response<Body>) -> Result<String> {
        let mut body = response.into_body();
        let text = body.with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        text.map_err(|cause| self.unreachable(path, cause))
    }

    fn unreachable(
        &self,
        path: &str,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::new(format!("{}{path}", self.url), "no answer to be had").caused_by(cause)
    }
}

/// The path of the interface that goes on with a text.
const COMPLETIONS: &str = "/v1/completions";

impl Streamed {
    /// An event of the stream, which was here at `now`.
    fn take(&mut self, data: &str, now: SimTime) {
        if data == DONE {
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return };
        if let Some(code) = chunk["error"]["code"].as_str() {
            self.refused = Some(code.to_owned());
            return;
        }
        if let Value::Object(report) = &chunk["pliant"] {
            self.report.extend(report.clone());
        }
        let choice = &chunk["choices"][0];
        let has_text = choice["text"].as_str().is_some_and(|text| !text.is_empty());
        if has_text || !choice["finish_reason"].is_null() {
            self.first.get_or_insert(now);
        }
        if !choice["finish_reason"].is_null() {
            self.last = Some(now);
        }
        if let Some(tokens) = chunk["usage"]["completion_tokens"].as_u64() {
            self.tokens = tokens as u32;
        }
    }

    /// How long until the first token was here.
    pub fn ttft(&self) -> Option<Duration> {
        Some(self.first? - self.sent)
    }

    /// The mean time from one token to the next; `None` for one token.
    pub fn tpot(&self) -> Option<Duration> {
        (self.last? - self.first?).checked_div(self.tokens.checked_sub(1)?)
    }

    /// How long until the last token was here.
    pub fn whole(&self) -> Option<Duration> {
        Some(self.last? - self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SimTime {
        SimTime::ZERO + Duration::from_millis(millis)
    }

    /// The first of three tokens is here 250 ms after the question, the last 80 ms later, which is
    /// 40 ms a token.
    #[test]
    fn times_are_those_at_which_chunks_were_here() {
        let mut streamed = Streamed { sent: at(1000), ..Streamed::default() };
        let chunks = [
            (1200, r#"{"choices":[{"text":"","finish_reason":null}],"pliant":{"plan":1}}"#),
            (1250, r#"{"choices":[{"text":"a","finish_reason":null}]}"#),
            (1290, r#"{"choices":[{"text":" b","finish_reason":null}]}"#),
            (1330, r#"{"choices":[{"text":"","finish_reason":"length"}],"pliant":{"met":true}}"#),
            (1331, r#"{"choices":[],"usage":{"completion_tokens":3}}"#),
            (1332, "[DONE]"),
        ];
        for (now, data) in chunks {
            streamed.take(data, at(now));
        }
        assert_eq!(streamed.ttft(), Some(Duration::from_millis(250)));
        assert_eq!(streamed.tpot(), Some(Duration::from_millis(40)));
        assert_eq!(streamed.whole(), Some(Duration::from_millis(330)));
        assert_eq!((&streamed.report["plan"], &streamed.report["met"]), (&1.into(), &true.into()));
        assert_eq!((streamed.tokens, &streamed.refused), (3, &None));
    }

    #[test]
    fn an_answer_that_breaks_off_says_why() {
        let mut streamed = Streamed::default();
        streamed.take(r#"{"error":{"code":"timed-out"}}"#, at(5));
        assert_eq!(streamed.refused.as_deref(), Some("timed-out"));
        assert_eq!((streamed.ttft(), streamed.tpot()), (None, None));
    }
}
