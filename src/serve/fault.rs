//! What a client is told when it does not get an answer: a status, and the body that clients of
//! this interface know, `{"error": {"message", "type", "code", "param"}}`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::schedule::Reason;
use crate::service::{Left, Refusal, RefusedFor};

/// A refusal on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: StatusCode,
    /// A word for programs.
    pub code: &'static str,
    /// The field that is wrong, if it is one.
    pub param: Option<String>,
    /// In words: what was found, what is allowed.
    pub message: String,
    /// When it may be worth to try again.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault of the request as a whole.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, param: None, message: message.into(), retry_after: None }
    }

    /// A field of the request that is wrong: 400.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::BAD_REQUEST, "invalid_value", message);
        Self { param: Some(param.into()), ..fault }
    }

    /// The service cannot answer now, and may later: 503.
    pub fn busy(code: &'static str, message: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after: Some(Duration::from_secs(1)), ..fault }
    }

    /// The body, also as it is sent within a stream that has begun.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message,
            "type": self.kind(),
            "code": self.code,
            "param": self.param,
        } })
    }

    /// The class of the fault, by the names that clients know.
    const fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500 => "internal_error",
            503 => "service_unavailable_error",
            _ => "invalid_request_error",
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = of_refusal(refusal.why);
        let busy = matches!(status.as_u16(), 429 | 503);
        let retry_after = refusal.retry_after.or(busy.then_some(Duration::from_secs(1)));
        let param = match refusal.why {
            RefusedFor::UnknownApp => Some("x-app".to_owned()),
            RefusedFor::UnknownLevel => Some("model".to_owned()),
            _ => None,
        };
        Self { param, retry_after, ..Self::new(status, code, refusal.message) }
    }
}

fn of_refusal(why: RefusedFor) -> (StatusCode, &'static str) {
    match why {
        RefusedFor::Scheduled(reason) => of_reason(reason),
        RefusedFor::BadCall => (StatusCode::BAD_REQUEST, "invalid_value"),
        RefusedFor::UnknownApp => (StatusCode::BAD_REQUEST, "unknown_app"),
        RefusedFor::UnknownLevel => (StatusCode::NOT_FOUND, "model_not_found"),
        RefusedFor::TooLong => (StatusCode::BAD_REQUEST, "context_length_exceeded"),
        RefusedFor::KeyInUse => (StatusCode::BAD_REQUEST, "idempotency_key_in_use"),
        RefusedFor::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        RefusedFor::NotLoaded => (StatusCode::SERVICE_UNAVAILABLE, "not_loaded"),
    }
}

/// A quota is the client's matter, 429; a full house is ours, 503. Whose call was superseded or
/// given up must not try again: clients do after 408, 409, 429 and 5xx, so it is 410.
fn of_reason(reason: Reason) -> (StatusCode, &'static str) {
    let code = reason.name();
    let status = match reason {
        Reason::AppAtOnce | Reason::AppRate => StatusCode::TOO_MANY_REQUESTS,
        Reason::GaveUp | Reason::Superseded => StatusCode::GONE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, code)
}

impl From<Left> for Fault {
    fn from(left: Left) -> Self {
        let name = left.name();
        match left {
            Left::Scheduled(reason) => {
                let (status, code) = of_reason(reason);
                let fault = Self::new(status, code, format!("the call left the service: {name}"));
                let again = status == StatusCode::SERVICE_UNAVAILABLE;
                Self { retry_after: again.then_some(Duration::from_secs(1)), ..fault }
            }
            Left::SlowClient | Left::TakenOver => {
                Self::new(StatusCode::GONE, name, format!("the call left the service: {name}"))
            }
            Left::Draining => Self::busy("draining", "the service ends"),
            // What failed may say something of the prompt: that is for nobody's screen or log.
            Left::Failed(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "the call failed inside the service",
            ),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body());
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the log and the counters, which see the response alone.
        response.extensions_mut().insert(FaultCode(self.code));
        response
    }
}

/// The word of a fault, carried beside its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultCode(pub &'static str);

/// A response with a JSON body.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_wrong_is_named_beside_what_is_allowed() {
        let fault = Fault::field("top_p", "out of range; found 3; allowed: a number in (0, 1]");
        let body = fault.body();
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(body["error"]["param"], "top_p");
        assert_eq!(body["error"]["code"], "invalid_value");
        assert_eq!(fault.into_response().status(), 400);
    }

    #[test]
    fn a_full_house_is_503_and_a_quota_429_both_with_a_time_to_come_again() {
        let status = |reason, after: Option<Duration>| {
            let mut refusal = Refusal::new(RefusedFor::Scheduled(reason), "no");
            refusal.retry_after = after;
            let response = Fault::from(refusal).into_response();
            let after =
                response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
            (response.status().as_u16(), after)
        };
        let after = Duration::from_millis(2100);
        assert_eq!(status(Reason::QueueFull, Some(after)), (503, Some("3".to_owned())));
        assert_eq!(status(Reason::AppRate, None), (429, Some("1".to_owned())));
        assert_eq!(status(Reason::AppAtOnce, None), (429, Some("1".to_owned())));
        assert_eq!(status(Reason::Superseded, None), (410, None));
    }

    #[test]
    fn what_failed_inside_is_not_told_in_full() {
        let fault = Fault::from(Left::Failed("the prompt was: secret".to_owned()));
        assert_eq!(fault.status, 500);
        assert!(!fault.message.contains("secret"));
    }
}
