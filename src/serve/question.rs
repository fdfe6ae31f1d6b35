//! A request on the wire → a [`Call`] of the service.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;

use super::fault::Fault;
use super::fields::Fields;
use super::limits::Limits;
use super::models::Models;
use super::objective::objective;
use crate::limits::PRIORITY;
use crate::service::apps::AppEntry;
use crate::service::{Call, Cut, Message, Prompt, Role, Sampling};
use crate::units::{PROMPT_RATIOS, Ratio};

/// Which of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `/v1/chat/completions`: turns of a conversation.
    Chat,
    /// `/v1/completions`: a text to go on with.
    Text,
}

/// A request, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What the service is asked.
    pub call: Call,
    /// Which interface.
    pub shape: Shape,
    /// The model as the client named it, or the base model.
    pub model: String,
    /// Whether tokens are sent as they come.
    pub stream: bool,
    /// Whether the stream ends with a count of tokens.
    pub include_usage: bool,
    /// The item of a dataset that its prompt is, as the client says: for the recorded day.
    pub item: Option<String>,
}

/// Most stop texts.
const STOPS_MAX: usize = 16;
/// Most documents of a call.
const DOCUMENTS_MAX: usize = 256;
/// Most options to choose among.
const OPTIONS_MAX: usize = 64;
/// Most turns of a conversation.
const MESSAGES_MAX: usize = 4096;
/// Tokens written where nothing is said.
const TOKENS_BY_DEFAULT: u32 = 256;
/// The header by which a client says which item of a dataset its prompt is.
const ITEM: &str = "x-item";
/// Bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 256;

impl Question {
    /// Reads the request of `app`.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn read(
        shape: Shape,
        app: &AppEntry,
        headers: &HeaderMap,
        body: &Value,
        models: &Models,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let fields = Fields::of(body)?;
        let named = fields.text("model")?;
        let level = named.map(|name| models.level_of(name)).transpose()?.flatten();
        fields.whole("n", 1, 1)?;
        fields.whole("best_of", 1, 1)?;
        let mut call = Call::new(app.name.clone(), prompt(shape, &fields)?);
        call.documents = fields.texts("context", DOCUMENTS_MAX)?;
        call.options = fields.texts("options", OPTIONS_MAX)?;
        call.objective = objective(headers, &fields)?;
        call.level = level;
        call.prompt_ratio = prompt_ratio(&fields)?;
        call.priority = fields.whole("priority", 0, PRIORITY.max)?.map(|class| class as u8);
        call.max_tokens = max_tokens(&fields, app, limits)?;
        call.stop = fields.texts("stop", STOPS_MAX)?;
        call.sampling = sampling(&fields)?;
        call.top_logprobs = top_logprobs(shape, &fields)?;
        let patience = fields.whole("timeout_ms", 1, limits.answer.as_millis() as u64)?;
        call.timeout = patience.map(Duration::from_millis);
        call.supersedes = fields.flag("supersedes")?;
        call.idempotency_key = key(headers)?;
        call.keep_whole = has_tools(&fields) || fields.flag("keep_whole")?.unwrap_or(false);
        call.check().map_err(|error| Fault::field("body", error.to_string()))?;
        let include_usage = match fields.get("stream_options") {
            None => false,
            Some(options) => {
                let options = Fields::at(options, "stream_options")?;
                options.flag("include_usage")?.unwrap_or(false)
            }
        };
        let stream = fields.flag("stream")?.unwrap_or(false);
        let model = named.unwrap_or(models.base()).to_owned();
        let item = item(headers)?;
        Ok(Self { call, shape, model, stream, include_usage, item })
    }
}

fn max_tokens(fields: &Fields<'_>, app: &AppEntry, limits: &Limits) -> Result<u32, Fault> {
    let most = u64::from(limits.output_tokens);
    let newer = fields.whole("max_completion_tokens", 1, most)?;
    let asked = newer.or(fields.whole("max_tokens", 1, most)?);
    let unasked = app.output_tokens.unwrap_or(TOKENS_BY_DEFAULT).min(limits.output_tokens);
    Ok(asked.map_or(unasked, |tokens| tokens as u32))
}

fn sampling(fields: &Fields<'_>) -> Result<Sampling, Fault> {
    let within = |temperature: f64| (0.0..=2.0).contains(&temperature);
    let temperature = fields.number("temperature", "a number from 0 to 2", within)?;
    let share = |share: f64| share > 0.0 && share <= 1.0;
    let top_p = fields.number("top_p", "a number in (0, 1]", share)?;
    let default = Sampling::default();
    Ok(Sampling {
        temperature: temperature.map_or(default.temperature, |number| number as f32),
        // The smallest shares are below what the type tells from 0.
        top_p: top_p.map_or(default.top_p, |number| (number as f32).max(f32::MIN_POSITIVE)),
        seed: seed(fields)?,
    })
}

/// Any whole number: those below 0 are seeds as well.
fn seed(fields: &Fields<'_>) -> Result<Option<u64>, Fault> {
    let number = |value: &Value| value.as_u64().or(value.as_i64().map(i64::cast_unsigned));
    let wrong = || fields.wrong("seed", "a whole number");
    fields.get("seed").map(|value| number(value).ok_or_else(wrong)).transpose()
}

fn top_logprobs(shape: Shape, fields: &Fields<'_>) -> Result<Option<u8>, Fault> {
    if shape == Shape::Text {
        return Ok(fields.whole("logprobs", 0, 20)?.map(|count| count as u8));
    }
    let count = fields.whole("top_logprobs", 0, 20)?;
    let is_asked = fields.flag("logprobs")?.unwrap_or(false);
    if !is_asked && count.is_some_and(|count| count > 0) {
        return Err(fields.wrong("top_logprobs", "none, unless logprobs is true"));
    }
    Ok(is_asked.then(|| count.unwrap_or(0) as u8))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()));
    let wrong = || {
        let allowed = format!("1 to {KEY_BYTES_MAX} printed characters");
        Fault::field("idempotency-key", format!("idempotency-key: not allowed; allowed: {allowed}"))
    };
    text.map(|text| Some(text.to_owned())).ok_or_else(wrong)
}

/// The item that the prompt is, in the form `DATASET/ITEM`.
fn item(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get(ITEM) else { return Ok(None) };
    let named = |text: &&str| text.len() <= KEY_BYTES_MAX && text.contains('/');
    let text = value.to_str().ok().filter(named).map(str::to_owned);
    let message = || format!("{ITEM}: not allowed; allowed: DATASET/ITEM in printed characters");
    text.map(Some).ok_or_else(|| Fault::field(ITEM, message()))
}

/// The share of the prompt to read, where the client says it.
fn prompt_ratio(fields: &Fields<'_>) -> Result<Option<Ratio>, Fault> {
    let allowed = "0.1, 0.2, … 1";
    let share = fields.number("prompt_ratio", allowed, |share| share > 0.0 && share <= 1.0)?;
    let ratio = |share| Ratio::new(share).filter(|ratio| PROMPT_RATIOS.contains(ratio));
    share.map(|share| ratio(share).ok_or_else(|| fields.wrong("prompt_ratio", allowed))).transpose()
}

/// Whether functions are described, whose JSON is worth nothing in part.
fn has_tools(fields: &Fields<'_>) -> bool {
    ["tools", "functions"]
        .iter()
        .any(|key| fields.get(key).and_then(Value::as_array).is_some_and(|tools| !tools.is_empty()))
}

fn prompt(shape: Shape, fields: &Fields<'_>) -> Result<Prompt, Fault> {
    if shape == Shape::Text {
        let wrong = || fields.wrong("prompt", "one text, not empty");
        let prompt = match fields.get("prompt") {
            Some(Value::Array(texts)) if texts.len() == 1 => texts[0].as_str(),
            Some(value) => value.as_str(),
            None => None,
        };
        let prompt = prompt.filter(|text| !text.is_empty()).ok_or_else(wrong)?;
        return Ok(Prompt::Text(prompt.to_owned()));
    }
    let allowed = format!("a list of 1 to {MESSAGES_MAX} messages");
    let messages = fields.get("messages").and_then(Value::as_array);
    let messages = messages.filter(|all| (1..=MESSAGES_MAX).contains(&all.len()));
    let messages = messages.ok_or_else(|| fields.wrong("messages", &allowed))?;
    let mut turns = Vec::with_capacity(messages.len() + 1);
    turns.extend(tools(fields));
    for (nth, message) in messages.iter().enumerate() {
        turns.push(turn(&Fields::at(message, &format!("messages[{nth}]"))?)?);
    }
    Ok(Prompt::Chat(turns))
}

/// What functions there are, as the model is told.
fn tools(fields: &Fields<'_>) -> Option<Message> {
    let described = fields.get("tools").or_else(|| fields.get("functions"));
    let described = described.filter(|_| has_tools(fields))?;
    let told = format!("Functions that may be called, in JSON:\n{described}");
    Some(Message { cut: Cut::Never, ..Message::new(Role::System, told) })
}

fn turn(message: &Fields<'_>) -> Result<Message, Fault> {
    let (role, fixed) = match message.text("role")? {
        Some("system" | "developer") => (Role::System, false),
        Some("user") => (Role::User, false),
        Some("assistant") => (Role::Assistant, false),
        Some("tool" | "function") => (Role::User, true),
        _ => return Err(message.wrong("role", "system, developer, user, assistant, tool")),
    };
    let cut = match message.flag("cut")? {
        Some(true) => Cut::Document,
        Some(false) => Cut::Never,
        None if fixed => Cut::Never,
        None => Cut::AsUsual,
    };
    Ok(Message { role, content: content(message)?, cut })
}

/// A text, or parts of which each is one; an assistant's turn may have called functions instead.
fn content(message: &Fields<'_>) -> Result<String, Fault> {
    let part = |part: &Value| {
        let is_text = part
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| matches!(kind, "text" | "input_text" | "output_text"));
        part.get("text").and_then(Value::as_str).filter(|_| is_text).map(str::to_owned)
    };
    let parts = |parts: &Vec<Value>| parts.iter().map(part).collect::<Option<Vec<_>>>();
    let text = match message.get("content") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(all)) => parts(all).map(|parts| parts.join("\n")),
        Some(_) => None,
        None => message.get("tool_calls").map(Value::to_string),
    };
    text.ok_or_else(|| message.wrong("content", "a text, or a list of parts of type text"))
}
