//! A server of our own for one play: this program, started once more.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum as _;
use pliant::load::{Client, Keys};
use pliant::profile::DeviceProfile;
use pliant::units::Ratio;
use pliant::{Error, Result};
use serde_json::Value;

use super::super::serve::Executor;
use super::super::this_program;

/// How often is looked whether the model is loaded, and for how long.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 6000;

/// What a server is started with.
pub struct ServerArgs<'a> {
    pub executor: Executor,
    pub speed: u32,
    /// Share of every bound that plans leave free.
    pub margin: Ratio,
    pub record: &'a Path,
    pub items: &'a Path,
    pub log: &'a Path,
}

/// A server that answers.
pub struct Server {
    process: Child,
    client: Client,
}

impl Server {
    /// Starts one on a free port, without a cache of conversations: prompts of one dataset begin
    /// alike, and what a cache saves of them no simulation bills.
    pub fn start(args: &ServerArgs<'_>) -> Result<Self> {
        let log = File::options().create(true).append(true).open(args.log);
        let log = log.map_err(|cause| Error::io(args.log, "cannot write", cause))?;
        let executor = args.executor.to_possible_value().expect("every executor has a name");
        let mut command = Command::new(this_program()?);
        command.args(["serve", "--json", "--port", "0", "--executor", executor.get_name()]);
        command.args(["--margin", &args.margin.as_f64().to_string()]);
        command.arg("--record").arg(args.record).arg("--items").arg(args.items);
        match args.executor {
            Executor::CostModel => command.args(["--speed", &args.speed.to_string()]),
            #[cfg(feature = "engine")]
            Executor::Engine => command.args(["--cache-mib", "0"]),
        };
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut process =
            started.map_err(|cause| Error::new("pliant serve", "cannot start").caused_by(cause))?;
        let told = process.stdout.take().expect("it is a pipe");
        let told = serde_json::Deserializer::from_reader(told).into_iter::<Value>().next();
        let url = told.and_then(|told| Some(told.ok()?["url"].as_str()?.to_owned()));
        let client = Client::new(url.as_deref().unwrap_or_default(), Keys::default());
        // From here on the process ends with the value.
        let server = Self { process, client };
        match url {
            Some(_) => server.wait_until_ready(args.log),
            None => Err(not_ready(args.log)),
        }
    }

    fn wait_until_ready(self, log: &Path) -> Result<Self> {
        for _ in 0..LOOKS_MAX {
            let (status, text) = self.client.get("/readyz")?;
            match status {
                200 => return Ok(self),
                _ if text.contains("not_loaded") => return Err(not_ready(log)),
                _ => sleep(LOOK),
            }
        }
        Err(not_ready(log))
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The profile that it predicts with just now.
    pub fn profile(&self) -> Result<DeviceProfile> {
        let (_, text) = self.client.get("/v1/profile")?;
        toml::from_str(&text)
            .map_err(|cause| Error::new("/v1/profile", "not a device profile").caused_by(cause))
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Result<()> {
        #[cfg(unix)]
        if let Some(id) = rustix::process::Pid::from_raw(self.process.id().cast_signed()) {
            let told = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            told.map_err(|cause| Error::new("pliant serve", "cannot be told").caused_by(cause))?;
        }
        #[cfg(not(unix))]
        let _ = self.process.kill();
        let ended = self.process.wait();
        ended.map_err(|cause| Error::new("pliant serve", "is lost").caused_by(cause)).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is no longer there to be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn not_ready(log: &Path) -> Error {
    Error::new("pliant serve", "does not answer").allowed(format!("see {}", log.display()))
}
