//! An answer as server-sent events: the plan, the tokens as they come, why it ended, `[DONE]`.
//!
//! Whoever goes away drops the stream, which gives the call up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::sse;
use futures_core::Stream;
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep_until};

use super::account::Account;
use super::answer::Answer;
use super::fault::Fault;
use crate::service::{Calling, Event};

/// What ends a stream for clients of this interface.
const DONE: &str = "[DONE]";

/// The events of an answer.
pub(super) struct Chunks {
    calling: Calling,
    account: Account,
    answer: Answer,
    include_usage: bool,
    deadline: Pin<Box<Sleep>>,
    ready: VecDeque<String>,
    is_over: bool,
}

impl Chunks {
    /// The stream of a call that was planned, from its first chunk on.
    pub fn begin(
        calling: Calling,
        account: Account,
        answer: Answer,
        opening: &Value,
        include_usage: bool,
        deadline: Instant,
    ) -> Self {
        let (deadline, is_over) = (Box::pin(sleep_until(deadline)), false);
        let ready = VecDeque::from([opening.to_string()]);
        Self { calling, account, answer, include_usage, deadline, ready, is_over }
    }

    fn take(&mut self, event: Option<Event>) {
        if let Some(event) = &event {
            self.account.see(event);
        }
        match event {
            Some(Event::Planned(_)) => {}
            Some(Event::Token(token)) => {
                self.ready.extend(self.answer.piece(token).map(|chunk| chunk.to_string()));
            }
            Some(Event::Finished(done)) => {
                self.ready.push_back(self.answer.closing(&done).to_string());
                if self.include_usage {
                    self.ready.push_back(self.answer.counting(&done).to_string());
                }
                self.end();
            }
            Some(Event::Left(left)) => self.fail(&Fault::from(left)),
            None => self.fail(&Fault::busy("ended", "the answer ended early")),
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.ready.push_back(fault.body().to_string());
        self.end();
    }

    fn end(&mut self) {
        self.ready.push_back(DONE.to_owned());
        self.is_over = true;
    }
}

impl Stream for Chunks {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(sse::Event::default().data(data))));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Poll::Ready(event) = self.calling.poll_event(context) {
                self.take(event);
                continue;
            }
            match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => self.fail(&overdue()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// An answer that took longer than any may.
pub(super) fn overdue() -> Fault {
    Fault::busy("timed-out", "the answer took longer than any may")
}
