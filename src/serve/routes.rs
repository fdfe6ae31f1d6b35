//! The paths, and what stands before all of them.

use std::future::poll_fn;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::account::Account;
use super::answer::{Answer, headers};
use super::face::Face;
use super::fault::{Fault, FaultCode, json_response};
use super::fields::wrong;
use super::limits::Limits;
use super::log::unix_seconds;
use super::question::{Question, Shape};
use super::stream::{Chunks, overdue};
use super::{metrics, page, status};
use crate::service::{Calling, Done, Event, PlanReport, State};

/// The name that a request has in logs, in its response and in the list of those that wait.
const REQUEST_ID: &str = "x-request-id";
/// Letters of a name that a client gives.
const REQUEST_ID_MAX: usize = 128;

/// The router of the service behind `face`.
pub(super) fn router(face: &Arc<Face>) -> Router {
    let router = Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/service", get(service))
        .route("/v1/profile", get(profile))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn_with_state(Arc::clone(face), guard));
    let router = match face.access.cors.as_deref() {
        None => router,
        Some(origin) => router.layer(cors(origin)),
    };
    router.layer(from_fn_with_state(Arc::clone(face), observe)).with_state(Arc::clone(face))
}

fn cors(origin: &str) -> CorsLayer {
    let origin = match HeaderValue::try_from(origin) {
        Ok(origin) if origin != "*" => AllowOrigin::exact(origin),
        _ => AllowOrigin::from(Any),
    };
    let methods = [Method::GET, Method::POST];
    CorsLayer::new().allow_origin(origin).allow_methods(methods).allow_headers(Any)
}

/// The name of a request, which its handler finds beside it.
#[derive(Debug, Clone)]
struct RequestId(String);

/// Names a request, and counts and logs its response.
async fn observe(Shared(face): Shared<Arc<Face>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| (1..=REQUEST_ID_MAX).contains(&id.len()));
    let id = given.map_or_else(|| face.next_request_id(), str::to_owned);
    let route = route(request.uri().path());
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    let status = response.status();
    face.metrics.responded(route, status.as_u16());
    let watched = ["/", "/healthz", "/readyz", "/metrics", "/v1/service", "/v1/models"];
    if !status.is_success() || !watched.contains(&route) {
        let code = response.extensions().get::<FaultCode>().map(|code| code.0);
        // A method may be any word.
        let known = [Method::GET, Method::POST, Method::OPTIONS].contains(&method);
        face.log.say(
            "response",
            json!({
                "request": id,
                "method": if known { method.as_str() } else { "other" },
                "route": route,
                "status": status.as_u16(),
                "code": code,
            }),
        );
    }
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The path as counters have it: those that nobody knows are one.
fn route(path: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/service",
        "/v1/profile",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
    ];
    let known = KNOWN.into_iter().find(|known| *known == path);
    let models = path.starts_with("/v1/models/").then_some("/v1/models");
    known.or(models).unwrap_or("other")
}

/// Keeps out whom the server does not answer.
async fn guard(
    Shared(face): Shared<Arc<Face>>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    face.access.browser(request.headers())?;
    let open = ["/", "/healthz", "/readyz"].contains(&request.uri().path());
    if !open {
        face.access.app(request.headers(), &face.service.apps())?;
    }
    Ok(next.run(request).await)
}

async fn nowhere() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

async fn not_so() -> Fault {
    let message = "this path does not know the method";
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(Shared(face): Shared<Arc<Face>>) -> Response {
    match face.models() {
        Err(fault) => fault.into_response(),
        Ok(_) if face.service.status().state == State::Draining => {
            Fault::busy("draining", "the service ends").into_response()
        }
        Ok(_) => "ready\n".into_response(),
    }
}

async fn metrics(Shared(face): Shared<Arc<Face>>) -> Response {
    let text = face.metrics.text(&face.service.status());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn service(Shared(face): Shared<Arc<Face>>) -> Response {
    json_response(StatusCode::OK, &status::told(&face))
}

/// The device profile that plans are made with just now, as a `device.toml`.
async fn profile(Shared(face): Shared<Arc<Face>>) -> Result<Response, Fault> {
    face.models()?;
    let profile = face.service.profile().expect("a model that has names has a profile");
    let text = toml::to_string(&profile).expect("a profile that was loaded can be written");
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

async fn models(Shared(face): Shared<Arc<Face>>) -> Result<Response, Fault> {
    Ok(json_response(StatusCode::OK, &face.models()?.list()))
}

async fn model(
    Shared(face): Shared<Arc<Face>>,
    Path(name): Path<String>,
) -> Result<Response, Fault> {
    Ok(json_response(StatusCode::OK, &face.models()?.one(&name)?))
}

async fn chat(face: Shared<Arc<Face>>, request: Request) -> Result<Response, Fault> {
    answer(face, request, Shape::Chat).await
}

async fn text(face: Shared<Arc<Face>>, request: Request) -> Result<Response, Fault> {
    answer(face, request, Shape::Text).await
}

/// Reads a request, calls the service, and answers once the call is planned, or at once if it is
/// not: so the status says whether there is an answer.
async fn answer(
    Shared(face): Shared<Arc<Face>>,
    request: Request,
    shape: Shape,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let id = parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let apps = face.service.apps();
    let app = face.access.app(&parts.headers, &apps)?;
    let app = apps.named(&app).ok_or_else(|| {
        let message = format!("{}: there is no app of that name", super::access::APP);
        Fault { code: "unknown_app", ..Fault::field(super::access::APP, message) }
    })?;
    // Loading can take longer than a client waits: it is told, and not kept.
    let models = face.models()?;
    let body = read(&parts.headers, body, &face.limits).await?;
    let body = parse(&body)?;
    let question = Question::read(shape, &app, &parts.headers, &body, &models, &face.limits)?;
    drop(body);
    let deadline = Instant::now() + face.limits.answer;
    let (calling, mut account) =
        face.call(question.call.clone(), &id, question.item.clone()).await?;
    let mut answer = Answer::new(&question, &id, unix_seconds());
    let plan = planned(&calling, &mut account, deadline).await?;
    if question.stream {
        let opening = answer.opening(&plan);
        let usage = question.include_usage;
        let chunks = Chunks::begin(calling, account, answer, &opening, usage, deadline);
        let stream = Sse::new(chunks).keep_alive(KeepAlive::default());
        return Ok((headers(&plan, None), stream).into_response());
    }
    let done = finished(&calling, &mut account, &mut answer, deadline).await?;
    let whole = json_response(StatusCode::OK, &answer.whole(&done));
    Ok((headers(&plan, Some(&done)), whole).into_response())
}

/// The body, within the bounds of size and time.
async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes, Fault> {
    let too_large = || {
        let message = format!("body: too large; allowed: up to {} bytes", limits.body_bytes);
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if stated.and_then(|text| text.parse().ok()).is_some_and(|n: usize| n > limits.body_bytes) {
        return Err(too_large());
    }
    let bad = |message: &str| Fault::new(StatusCode::BAD_REQUEST, "incomplete_body", message);
    match timeout(limits.body, to_bytes(body, limits.body_bytes)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                if inner.to_string() == "length limit exceeded" {
                    return Err(too_large());
                }
                cause = inner.source();
            }
            Err(bad("body: it ended early"))
        }
        Err(_) => Err(bad("body: it took too long to come")),
    }
}

fn parse(body: &[u8]) -> Result<Value, Fault> {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    let parsed = parsed.map_err(|error| {
        // The error's own words may quote the body.
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = format!("body, {place}: not JSON; allowed: one JSON object");
        Fault { code: "invalid_json", param: None, ..Fault::field("body", message) }
    })?;
    if parsed.is_object() { Ok(parsed) } else { Err(wrong("body", &parsed, "a JSON object")) }
}

async fn next(calling: &Calling, account: &mut Account, deadline: Instant) -> Result<Event, Fault> {
    let event = poll_fn(|context| calling.poll_event(context));
    let event = timeout_at(deadline, event).await.map_err(|_| overdue())?;
    let event = event.ok_or_else(|| Fault::busy("ended", "the answer ended early"))?;
    account.see(&event);
    match event {
        Event::Left(left) => Err(Fault::from(left)),
        event => Ok(event),
    }
}

async fn planned(
    calling: &Calling,
    account: &mut Account,
    deadline: Instant,
) -> Result<PlanReport, Fault> {
    loop {
        if let Event::Planned(plan) = next(calling, account, deadline).await? {
            return Ok(plan);
        }
    }
}

async fn finished(
    calling: &Calling,
    account: &mut Account,
    answer: &mut Answer,
    deadline: Instant,
) -> Result<Done, Fault> {
    loop {
        match next(calling, account, deadline).await? {
            Event::Token(token) => answer.push(token),
            Event::Finished(done) => return Ok(done),
            Event::Planned(_) | Event::Left(_) => {}
        }
    }
}
