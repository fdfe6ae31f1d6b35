//! Answers that a retry with the same idempotency key gets again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::call::Call;
use super::event::Event;
use crate::request::AppId;

/// Answers that are kept.
const KEPT_MAX: usize = 64;

/// The last answers to calls with a key.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<(AppId, String, Arc<Call>, Vec<Event>)>);

impl Answers {
    pub fn keep(&mut self, app: AppId, key: String, call: Arc<Call>, told: Vec<Event>) {
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((app, key, call, told));
    }

    /// The call of `app` with `key`, and what was told of it.
    pub fn get(&self, app: AppId, key: &str) -> Option<(&Arc<Call>, &Vec<Event>)> {
        let found = self.0.iter().find(|(of, its, ..)| *of == app && its == key);
        found.map(|(_, _, call, told)| (call, told))
    }
}
