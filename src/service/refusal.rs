//! Refusals in words.

use std::time::Duration;

use super::event::{Refusal, RefusedFor};
use crate::schedule::Reason;

pub(super) fn scheduled(reason: Reason, retry_after: Duration) -> Refusal {
    let message = match reason {
        Reason::QueueFull => "as many calls wait as may",
        Reason::Shed => "a call of a higher class took the place",
        Reason::Infeasible => "no plan meets the objective behind what is to be answered before",
        Reason::AppRate => "the app calls more often than it may",
        Reason::AppAtOnce => "the app has as many calls in the service as it may",
        Reason::GaveUp | Reason::TimedOut | Reason::Superseded => "the call is gone",
    };
    let mut refusal = Refusal::new(RefusedFor::Scheduled(reason), message);
    refusal.retry_after = Some(retry_after);
    refusal
}

pub(super) fn draining() -> Refusal {
    Refusal::new(RefusedFor::Draining, "the service ends: it takes no more calls")
}

pub(super) fn key_in_use() -> Refusal {
    Refusal::new(RefusedFor::KeyInUse, "the idempotency key belongs to another call")
}

pub(super) fn unknown_app(name: &str) -> Refusal {
    Refusal::new(RefusedFor::UnknownApp, format!("no app is called {name:?}"))
}
