//! What all requests share: the service, who may call it, what is counted and kept of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::access::Access;
use super::account::Account;
use super::fault::Fault;
use super::limits::Limits;
use super::log::{Log, unix_seconds};
use super::metrics::Metrics;
use super::models::Models;
use super::record::{AskedFor, Recorder};
use crate::service::{Arrived, Call, Calling, RefusedFor, Service, State};

/// What all requests share.
#[derive(Debug)]
pub(super) struct Face {
    pub service: Service,
    pub access: Access,
    pub limits: Limits,
    pub metrics: Metrics,
    pub recorder: Option<Recorder>,
    pub log: Log,
    begun: u64,
    requests: AtomicU64,
    /// Requests of the calls that are there, by the call's number.
    names: Mutex<BTreeMap<u64, String>>,
}

impl Face {
    pub fn new(
        service: Service,
        access: Access,
        limits: Limits,
        recorder: Option<Recorder>,
        log: Log,
    ) -> Arc<Self> {
        let (metrics, begun, requests) = (Metrics::default(), unix_seconds(), AtomicU64::new(0));
        let names = Mutex::default();
        Arc::new(Self { service, access, limits, metrics, recorder, log, begun, requests, names })
    }

    /// A name for a request that brought none: other than those of this server's other lives.
    pub fn next_request_id(&self) -> String {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{nth}", self.begun)
    }

    /// The requests of the calls that are there, by the call's number.
    pub fn names(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the model.
    ///
    /// # Errors
    /// 503 until it is there, or if it could not be loaded.
    pub fn models(&self) -> Result<Models, Fault> {
        let card = self.service.card();
        card.as_ref().map(Models::of).ok_or_else(|| match self.service.status().state {
            State::Failed(_) => Fault::busy("not_loaded", "the model could not be loaded"),
            _ => Fault::busy("loading", "the model is being loaded"),
        })
    }

    /// Calls the service, and opens the call's account.
    ///
    /// # Errors
    /// If the call is refused.
    pub async fn call(
        self: &Arc<Self>,
        call: Call,
        request_id: &str,
        item: Option<String>,
    ) -> Result<(Calling, Account), Fault> {
        let (face, request_id) = (Arc::clone(self), request_id.to_owned());
        // Long prompts take long to measure. Who goes away meanwhile drops what comes back.
        let calls = tokio::task::spawn_blocking(move || face.call_now(call, &request_id, item));
        calls.await.unwrap_or_else(|_| {
            let message = "the call failed inside the service";
            Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message))
        })
    }

    fn call_now(
        self: &Arc<Self>,
        call: Call,
        request_id: &str,
        item: Option<String>,
    ) -> Result<(Calling, Account), Fault> {
        let asked = AskedFor { max_tokens: call.max_tokens, item };
        let gate = self.recorder.as_ref().map(Recorder::gate);
        let called = self.service.call(call);
        let open = |arrived: &Arrived| Account::open(self, request_id, arrived, asked.clone());
        let answer = match called {
            Ok(calling) => {
                let account = open(calling.arrived());
                Ok((calling, account))
            }
            Err(refusal) => {
                let refused = match (&refusal.arrived, refusal.why) {
                    (Some(arrived), RefusedFor::Scheduled(reason)) => {
                        let mut account = open(arrived);
                        account.refused(reason.name());
                        Some(account)
                    }
                    _ => None,
                };
                Err((refusal, refused))
            }
        };
        drop(gate);
        answer.map_err(|(refusal, _)| Fault::from(refusal))
    }
}
