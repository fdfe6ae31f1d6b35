//! What the service is doing, as `GET /v1/service` tells it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::face::Face;
use crate::service::{Counted, InService, State};
use crate::units::{Level, millis};

/// The queue, who is served, and what apps did.
pub(super) fn told(face: &Face) -> Value {
    let status = face.service.status();
    let names = face.names().clone();
    let call = |it: &InService| call(it, names.get(&it.id));
    let apps: Map<String, Value> =
        status.apps.iter().map(|(name, counted)| (name.clone(), app(counted))).collect();
    let model = status.model.as_ref().map(|card| {
        json!({
            "id": card.base_model,
            "levels": card.levels.iter().map(|level| level.as_percent()).collect::<Vec<_>>(),
            "context": card.context,
            "executor": card.executor,
            "device": card.device,
            "provenance": card.provenance,
        })
    });
    json!({
        "state": state(&status.state),
        "model": model,
        "apps_known": face.service.apps().all().iter().map(|app| &app.name).collect::<Vec<_>>(),
        "resident_level": status.resident.map(Level::as_percent),
        "running": status.running.as_ref().map(call),
        "queue": status.queue.iter().map(call).collect::<Vec<_>>(),
        "apps": apps,
        "up_ms": whole_ms(status.up),
        "needs_token": face.access.token.is_some(),
        "limits": {
            "body_bytes": face.limits.body_bytes,
            "output_tokens": face.limits.output_tokens,
            "answer_ms": whole_ms(face.limits.answer),
        },
    })
}

/// Why a model could not be loaded may name files: that is in the log.
const fn state(state: &State) -> &'static str {
    match state {
        State::Loading => "loading",
        State::Ready => "ready",
        State::Draining => "draining",
        State::Failed(_) => "failed",
    }
}

fn call(call: &InService, request: Option<&String>) -> Value {
    json!({
        "request": request,
        "call": call.id,
        "app": call.app,
        "priority": call.priority,
        "position": call.position,
        "age_ms": whole_ms(call.age),
        "level": call.plan.map(|(level, _)| level.as_percent()),
        "prompt_ratio": call.plan.map(|(_, ratio)| ratio.as_f64()),
        "output_tokens": call.output_tokens,
    })
}

fn app(counted: &Counted) -> Value {
    json!({
        "calls": counted.calls,
        "finished": counted.finished,
        "met": counted.met,
        "missed": counted.missed,
        "left": counted.left,
        "prompt_tokens": counted.prompt_tokens_before,
        "prompt_tokens_read": counted.prompt_tokens_after,
        "cached_tokens": counted.cached_tokens,
        "output_tokens": counted.output_tokens,
        "wasted_tokens": counted.wasted_tokens,
    })
}

fn whole_ms(length: Duration) -> f64 {
    millis(length).round()
}
