//! Events on their way to whoever called: a bounded queue that blocks nobody but its reader.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::event::Event;

/// As many events wait as may.
#[derive(Debug)]
pub(super) struct Full;

/// Events of one call.
#[derive(Debug)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Inner {
    events: VecDeque<Event>,
    room: usize,
    /// Whether the last event was put in.
    is_complete: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    /// A mailbox with `events` in it and room for as many more as said.
    pub fn new(events: Vec<Event>, room: usize) -> Arc<Self> {
        let is_complete = events.last().is_some_and(Event::is_last);
        let (room, events) = (room + events.len(), events.into());
        let inner = Mutex::new(Inner { events, room, is_complete, waker: None });
        Arc::new(Self { inner, arrived: Condvar::new() })
    }

    /// Puts `event` in. For the last one there is always room, and after it nothing is taken.
    pub fn put(&self, event: Event) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.is_complete {
            return Ok(());
        }
        if inner.events.len() >= inner.room && !event.is_last() {
            return Err(Full);
        }
        inner.is_complete = event.is_last();
        inner.events.push_back(event);
        let waker = inner.waker.take();
        drop(inner);
        self.arrived.notify_all();
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The next event; waits for it. `None` after the last.
    pub fn take(&self) -> Option<Event> {
        let waits = |inner: &mut Inner| inner.events.is_empty() && !inner.is_complete;
        let inner = self.arrived.wait_while(self.lock(), waits);
        inner.unwrap_or_else(PoisonError::into_inner).events.pop_front()
    }

    /// The next event, if it comes within `patience`.
    pub fn take_within(&self, patience: Duration) -> Option<Event> {
        let waits = |inner: &mut Inner| inner.events.is_empty() && !inner.is_complete;
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.events.pop_front()
    }

    /// The next event, or the promise to wake the task of `context`; `None` after the last.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.lock();
        match inner.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.is_complete => Poll::Ready(None),
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
