//! A request of a trace → what is sent: headers and a body.

use serde_json::{Map, Value, json};

use super::prompts::{Prompts, Words};
use crate::error::{Error, Result};
use crate::request::{Limit, Request, Slo, Terms};
use crate::trace::Trace;
use crate::units::{Level, Ratio, decimal_millis, millis};

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub headers: Vec<(&'static str, String)>,
    pub body: Map<String, Value>,
}

/// The plan that a call names, as far as it names one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pinned {
    pub level: Option<Level>,
    pub prompt_ratio: Option<Ratio>,
}

impl Question {
    /// The question that `request` of `trace` is, to the model `base`.
    ///
    /// # Errors
    /// If its objective is one of energy, which no server is told.
    pub fn of(
        trace: &Trace,
        request: &Request,
        prompts: &Prompts,
        base: &str,
        pinned: Pinned,
    ) -> Result<Self> {
        let dataset = trace.dataset(request.dataset);
        let mut headers = vec![
            ("x-app", trace.app(request.app).to_owned()),
            ("x-item", format!("{dataset}/{}", request.item)),
        ];
        let mut body = Map::new();
        let Words { context, prompt } = prompts.words(trace, request);
        let model = pinned.level.map_or(base.to_owned(), |level| alias(base, level));
        body.insert("model".into(), json!(model));
        body.insert("prompt".into(), json!(prompt));
        body.extend(context.map(|context| ("context".to_owned(), json!(context))));
        body.insert("max_tokens".into(), json!(request.output_tokens));
        let ratio = pinned.prompt_ratio.map(|ratio| json!(ratio.as_f64()));
        body.extend(ratio.map(|ratio| ("prompt_ratio".to_owned(), ratio)));
        state(request, &mut headers, &mut body)?;
        add_terms(request.terms, &mut body);
        Ok(Self { headers, body })
    }

    /// The same, to be answered token by token, with the count of tokens at the end.
    pub fn streamed(mut self) -> Self {
        self.body.insert("stream".into(), json!(true));
        self.body.insert("stream_options".into(), json!({ "include_usage": true }));
        self
    }

    /// The same, but the model weighs `options` and writes nothing, however long that takes.
    pub fn weighing(mut self, options: &[String]) -> Self {
        self.body.insert("options".into(), json!(options));
        self
    }
}

/// The name of the model that is pinned to `level`.
pub(super) fn alias(base: &str, level: Level) -> String {
    format!("{base}@{}", level.as_percent())
}

/// States the objective.
fn state(
    request: &Request,
    headers: &mut Vec<(&'static str, String)>,
    body: &mut Map<String, Value>,
) -> Result<()> {
    let slo = match request.slo {
        Slo::Absolute { ttft, tpot } => {
            let ms = |length: std::time::Duration| decimal_millis(length.as_nanos() as u64);
            headers.extend([("x-slo-ttft-ms", ms(ttft)), ("x-slo-tpot-ms", ms(tpot))]);
            return Ok(());
        }
        Slo::Relative { ttft, tpot } => json!({ "ttft": ttft.as_f64(), "tpot": tpot.as_f64() }),
        Slo::EndToEnd(Limit::Share(share)) => json!({ "e2e": share.as_f64() }),
        Slo::EndToEnd(Limit::Absolute(time)) => json!({ "e2e_ms": millis(time) }),
        Slo::Energy(_) => {
            return Err(Error::new(format!("trace, request {}", request.id), "not to be served")
                .found("an objective of energy")
                .allowed("one of time"));
        }
    };
    body.insert("slo".into(), slo);
    Ok(())
}

fn add_terms(terms: Terms, body: &mut Map<String, Value>) {
    if terms.priority > 0 {
        body.insert("priority".into(), json!(terms.priority));
    }
    if let Some(patience) = terms.cancel_after {
        body.insert("timeout_ms".into(), json!(patience.as_millis().max(1) as u64));
    }
    if terms.supersedes {
        body.insert("supersedes".into(), json!(true));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::{AppId, DatasetId};
    use crate::units::SimTime;

    fn trace(slo: Slo, terms: Terms) -> Trace {
        let request = Request {
            id: 4,
            arrival: SimTime::ZERO,
            app: AppId(0),
            dataset: DatasetId(0),
            item: 37.into(),
            prompt_tokens: 20,
            output_tokens: 16,
            slo,
            terms,
        };
        let (apps, datasets) = (vec!["Gboard".into()], vec!["piqa".into()]);
        Trace { apps, datasets, requests: vec![request], ..Trace::default() }
    }

    fn asked(slo: Slo, terms: Terms, pinned: Pinned) -> Result<Question> {
        let trace = trace(slo, terms);
        Question::of(&trace, &trace.requests[0], &Prompts::Filler, "smol", pinned)
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_pair_of_times_is_stated_in_headers_and_shares_in_the_body() {
        let times = Slo::Absolute { ttft: MS(300), tpot: Duration::from_micros(40_500) };
        let asked_for = asked(times, Terms::default(), Pinned::default()).unwrap();
        let headers: Vec<_> = asked_for.headers.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        let stated = ["x-app: Gboard", "x-item: piqa/37", "x-slo-ttft-ms: 300"];
        assert_eq!(headers[..3], stated);
        assert_eq!(headers[3], "x-slo-tpot-ms: 40.5");
        assert!(!asked_for.body.contains_key("slo"));
        assert_eq!(asked_for.body["max_tokens"], 16);
        let shares = Slo::Relative { ttft: Ratio::percent(40), tpot: Ratio::percent(70) };
        let asked_for = asked(shares, Terms::default(), Pinned::default()).unwrap();
        assert_eq!(asked_for.headers.len(), 2);
        assert_eq!(asked_for.body["slo"], json!({ "ttft": 0.4, "tpot": 0.7 }));
        let half = Slo::EndToEnd(Limit::Share(Ratio::percent(50)));
        let asked_for = asked(half, Terms::default(), Pinned::default()).unwrap();
        assert_eq!(asked_for.body["slo"], json!({ "e2e": 0.5 }));
    }

    #[test]
    fn a_plan_is_named_by_alias_and_ratio_and_terms_are_sent() {
        let terms =
            Terms { priority: 2, cancel_after: Some(MS(900)), supersedes: true, cached_tokens: 0 };
        let slo = Slo::EndToEnd(Limit::Absolute(MS(1200)));
        let level = Some(Level::percent(40));
        let pinned = Pinned { level, prompt_ratio: Some(Ratio::percent(30)) };
        let body = asked(slo, terms, pinned).unwrap().body;
        assert_eq!((&body["model"], &body["prompt_ratio"]), (&json!("smol@40"), &json!(0.3)));
        assert_eq!(body["slo"], json!({ "e2e_ms": 1200.0 }));
        assert_eq!((&body["priority"], &body["timeout_ms"]), (&json!(2), &json!(900)));
        assert_eq!(body["supersedes"], true);
    }

    #[test]
    fn a_server_is_told_no_objective_of_energy() {
        let slo = Slo::Energy(Limit::Share(Ratio::ONE));
        let error = asked(slo, Terms::default(), Pinned::default()).unwrap_err();
        assert!(error.to_string().starts_with("trace, request 4: not to be served"), "{error}");
    }
}
