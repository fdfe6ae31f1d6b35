//! The account of one call: it sees all that happens to it, and when the call is over, however
//! that came, it is counted, logged and recorded, once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::face::Face;
use super::record::{AskedFor, Ended};
use crate::schedule::Reason;
use crate::service::{Arrived, Done, Event, PlanReport};
use crate::units::millis;

/// The account of one call.
#[derive(Debug)]
pub(super) struct Account {
    face: Arc<Face>,
    request_id: String,
    arrived: Arrived,
    asked: AskedFor,
    plan: Option<PlanReport>,
    done: Option<Done>,
    left: Option<&'static str>,
    tokens: u32,
}

impl Account {
    /// Opens the account of a call that `arrived`. Whoever records calls has the gate shut
    /// meanwhile.
    pub fn open(face: &Arc<Face>, request_id: &str, arrived: &Arrived, asked: AskedFor) -> Self {
        face.recorder.iter().for_each(|recorder| recorder.open(arrived));
        face.names().insert(arrived.id, request_id.to_owned());
        Self {
            face: Arc::clone(face),
            request_id: request_id.to_owned(),
            arrived: arrived.clone(),
            asked,
            plan: None,
            done: None,
            left: None,
            tokens: 0,
        }
    }

    /// The call was refused for `reason`.
    pub fn refused(&mut self, reason: &'static str) {
        self.left = Some(reason);
    }

    /// `event` happened.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Planned(plan) => self.plan = Some(plan.clone()),
            Event::Token(_) => self.tokens += 1,
            Event::Finished(done) => {
                self.face.metrics.answered(done);
                self.tokens = done.output_tokens;
                self.done = Some(done.clone());
            }
            Event::Left(left) => self.left = Some(left.name()),
        }
    }

    /// `finished`, why it left, or that whoever asked went away.
    fn state(&self) -> &'static str {
        let left = self.left.unwrap_or(Reason::GaveUp.name());
        if self.done.is_some() { "finished" } else { left }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (state, face) = (self.state(), Arc::clone(&self.face));
        face.names().remove(&self.arrived.id);
        let ms = |length: Duration| (millis(length) * 1000.0).round() / 1000.0;
        let (plan, done) = (self.plan.as_ref(), self.done.as_ref());
        face.log.say(
            "call",
            json!({
                "request": self.request_id,
                "call": self.arrived.id,
                "app": self.arrived.app,
                "state": state,
                "level": plan.map(|plan| plan.level.as_percent()),
                "prompt_ratio": plan.map(|plan| plan.prompt_ratio.as_f64()),
                "prompt_tokens": plan.map(|plan| plan.prompt_tokens_before),
                "prompt_tokens_read": plan.map(|plan| plan.prompt_tokens_after),
                "cached_tokens": plan.map(|plan| plan.cached_tokens),
                "output_tokens": self.tokens,
                "queue_ms": plan.map(|plan| ms(plan.queue_wait)),
                "ttft_ms": done.map(|done| ms(done.ttft)),
                "tpot_ms": done.and_then(|done| done.tpot).map(ms),
                "met": done.and_then(|done| done.met),
            }),
        );
        let Some(recorder) = &face.recorder else { return };
        let age = face.service.now() - self.arrived.at;
        let went_away = self.done.is_none() && self.left.is_none();
        let told = recorder.close(Ended {
            arrived: self.arrived.clone(),
            asked: self.asked.clone(),
            plan: self.plan.take(),
            done: self.done.take(),
            output_tokens: self.tokens,
            state: state.to_owned(),
            gave_up: went_away.then_some(age),
        });
        if let Err(error) = told {
            face.log.say("record", json!({ "error": error.to_string() }));
        }
    }
}
