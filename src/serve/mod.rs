//! The service over HTTP, in the interface that clients of language models know.
//!
//! A [`Server`] is one client of [`service::Service`](crate::service::Service): it reads a
//! request, calls the service, and tells what comes of it, whole or token by token.
//!
//! ```text
//!  client ── request ──► routes ──► question ── Call ──► Service
//!     ▲                     │          │                    │
//!     │                  access     objective            Event, Event, …
//!     └── JSON, events ◄── answer, stream ◄── account ◄─────┘
//!                                               └──► log, metrics, recorded day
//! ```
//!
//! | path | |
//! | --- | --- |
//! | `POST /v1/chat/completions`, `/v1/completions` | an answer, streamed if asked for |
//! | `GET /v1/models` | the base model, for which the service chooses, and an alias per level |
//! | `GET /v1/service` | queue, resident level, counters by app |
//! | `GET /metrics`, `/healthz`, `/readyz` | for those who watch over it |
//! | `GET /` | a page to try it |
//!
//! # What one can rely on
//!
//! - *Whoever goes away is no longer served*: computing stops within one token, streamed or not.
//! - *Every wait has an end*, and every size a bound ([`Limits`]).
//! - *No text is kept*: neither logs nor the recorded day nor messages of errors have a word of a
//!   prompt or an answer.
//! - *The status says whether there is an answer*: it is sent once the call is planned.

mod access;
mod account;
mod answer;
mod connections;
mod face;
mod fault;
mod fields;
mod limits;
mod log;
mod metrics;
mod models;
mod objective;
mod page;
mod question;
mod record;
mod routes;
mod status;
mod stream;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::service::Service;
use crate::service::apps::ServiceApps;
use face::Face;

pub use access::{Access, Token};
pub use limits::Limits;
pub use log::Log;
pub use objective::TIERS;
pub use record::Recorder;

/// How a service is served.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where to listen.
    pub address: SocketAddr,
    /// Who may call.
    pub access: Access,
    /// What one client may ask of the server.
    pub limits: Limits,
    /// Where the day is recorded.
    pub recorder: Option<Recorder>,
    /// Where the log goes.
    pub log: Log,
    /// The file of apps, which is read again on `SIGHUP`.
    pub apps: Option<PathBuf>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    face: Arc<Face>,
    apps: Option<PathBuf>,
    end: Arc<Notify>,
}

/// Tells a server to end from elsewhere.
#[derive(Debug, Clone)]
pub struct EndServer(Arc<Notify>);

impl EndServer {
    /// No more calls are taken; those that are there are answered.
    pub fn end(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Listens for calls of `service`.
    ///
    /// # Errors
    /// If the address cannot be had, or others could reach it and no token is asked for.
    pub fn bind(service: Service, options: ServeOptions) -> Result<Self> {
        let ServeOptions { address, access, limits, recorder, log, apps } = options;
        if !address.ip().is_loopback() && access.token.is_none() {
            return Err(Error::new("argument --listen", "others can reach this address")
                .found(address)
                .allowed("an address of this machine alone, such as 127.0.0.1, or --token FILE"));
        }
        let listener = TcpListener::bind(address).map_err(|cause| {
            Error::new(format!("address {address}"), "cannot listen")
                .allowed("an address of this machine and a port that nobody has: see --port")
                .caused_by(cause)
        })?;
        let ready = listener.set_nonblocking(true);
        ready.map_err(|cause| Error::new("the socket", "cannot be used").caused_by(cause))?;
        let face = Face::new(service, access, limits, recorder, log);
        Ok(Self { listener, face, apps, end: Arc::new(Notify::new()) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.listener.local_addr();
        address.map_err(|cause| Error::new("the socket", "has no address").caused_by(cause))
    }

    /// What ends it from another thread.
    #[must_use]
    pub fn handle(&self) -> EndServer {
        EndServer(Arc::clone(&self.end))
    }

    /// Serves until it is told to end, by a signal or a handle; then the calls that are there are
    /// answered. Whether all were.
    ///
    /// # Errors
    /// If the system has no threads or signals to give.
    pub fn run(self) -> Result<bool> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("pliant-serve")
            .enable_all()
            .build()
            .map_err(|cause| Error::new("the server", "no threads to be had").caused_by(cause))?;
        let answered = runtime.block_on(self.serve());
        // Whoever still computes for nobody is not waited for.
        runtime.shutdown_background();
        answered
    }

    async fn serve(self) -> Result<bool> {
        let Self { listener, face, apps, end } = self;
        let wrong = |cause| Error::new("the socket", "cannot be used").caused_by(cause);
        let listener = tokio::net::TcpListener::from_std(listener).map_err(wrong)?;
        let router = routes::router(&face);
        let (service, log) = (face.service.clone(), face.log.clone());
        let told_to_end = async {
            signals(&service, &log, apps, &end).await;
            log.say("draining", json!({}));
            service.refuse_all();
        };
        let (drain, in_order) = (face.limits.drain, Arc::clone(&face));
        let answered = connections::serve(listener, router, face, told_to_end).await;
        // What is left after that has no client any more.
        let rest = in_order.service.clone();
        let emptied = tokio::task::spawn_blocking(move || rest.drain(drain / 10)).await;
        let all = answered && emptied.unwrap_or(false);
        in_order.log.say("ended", json!({ "all_answered": all }));
        Ok(all)
    }
}

/// Returns when the server is to end; reads apps again meanwhile.
async fn signals(service: &Service, log: &Log, apps: Option<PathBuf>, end: &Notify) {
    let reload = || {
        let Some(path) = &apps else { return };
        match ServiceApps::load(path) {
            Ok(read) => {
                log.say("apps", json!({ "read": read.all().len() }));
                service.set_apps(read);
            }
            Err(error) => log.say("apps", json!({ "error": error.to_string() })),
        }
    };
    tokio::select! {
        () = end.notified() => {}
        () = of_system(reload) => {}
    }
}

/// Returns on `SIGTERM` and `SIGINT`, and calls `reload` on `SIGHUP`. Where a signal cannot be
/// had its default remains.
#[cfg(unix)]
async fn of_system(reload: impl Fn()) {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [Ok(mut ends), Ok(mut stops), Ok(mut reads)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = ends.recv() => return,
            _ = stops.recv() => return,
            _ = reads.recv() => reload(),
        }
    }
}

/// Returns on Ctrl-C.
#[cfg(not(unix))]
async fn of_system(_: impl Fn()) {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
