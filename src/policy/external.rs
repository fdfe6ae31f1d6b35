//! `external`: a program of the user's, in any language, that is asked for every plan.
//!
//! Knows what the built-in policies know: latency profile (as forecasts, if it asks), answers on
//! estimate items, the request's lengths, the resident level; never the right answer of the request
//! at hand. Pliant starts the program once per run and talks to it in lines of JSON
//! (`docs/policies.md`): a handshake, then one question and one answer per request. A program that
//! hangs, ends, floods or answers nonsense ends the run with an error that names the request.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::menu::Menu;
use super::{Policy, Seen, ServiceView};
use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::request::RequestView;
use process::Process;
use protocol::{Answer, Hello, Message, Observed, PROTOCOL, Question, Ready};

#[cfg(target_os = "linux")]
mod core;
#[cfg(unix)]
mod errors;
mod inputs;
mod process;
mod protocol;
#[cfg(unix)]
mod sockets;
#[cfg(test)]
mod tests;

/// Time for the handshake: on a busy machine an interpreter may take seconds to start.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// How a program is started and how its time counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalSpec {
    /// The program and its arguments, from where the command runs.
    pub command: Vec<String>,
    /// How long it may take for one decision.
    #[serde(default = "ExternalSpec::timeout_ms")]
    pub timeout_ms: u64,
    /// Which time counts as deciding.
    #[serde(default)]
    pub bill: Bill,
    /// Whether it and the thread that asks it are held to one core: quicker for a program of one
    /// thread that decides in microseconds. Linux only; elsewhere nothing is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share_core: bool,
    /// Files and folders that the program reads; absent: the sources in its folder. Finished runs
    /// are kept under what is in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<PathBuf>>,
}

/// Which time an external policy's decisions are billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bill {
    /// What the device profile says that deciding takes. The same run gives the same bytes.
    #[default]
    Profile,
    /// What each answer really took on this machine.
    Measured,
}

impl ExternalSpec {
    /// A program that is started by `command`, all else as in a file that says nothing of it.
    #[must_use]
    pub fn of(command: Vec<String>) -> Self {
        let (timeout_ms, bill) = (Self::timeout_ms(), Bill::default());
        Self { command, timeout_ms, bill, share_core: false, inputs: None }
    }

    fn timeout_ms() -> u64 {
        1000
    }

    /// Refuses a spec that cannot be run.
    pub(crate) fn check(&self, method: &str) -> Result<()> {
        let wrong = |problem, key: &str| Error::new(format!("method {method}"), problem).at(key);
        if self.command.first().is_none_or(String::is_empty) {
            let error = wrong("names no program", "key \"command\"");
            return Err(error.allowed("[\"python3\", \"my_policy.py\"], say"));
        }
        if !(1..=3_600_000).contains(&self.timeout_ms) {
            let error = wrong("out of range", "key \"timeout_ms\"").found(self.timeout_ms);
            return Err(error.allowed("1 to 3600000"));
        }
        self.files().map(|_| ())
    }
}

/// The policy; see the module.
#[derive(Debug)]
pub(crate) struct External {
    method: String,
    menu: Menu,
    process: Process,
    ready: Ready,
    bill: Bill,
    apps: Vec<String>,
    datasets: Vec<String>,
    line: Vec<u8>,
    /// What the last decision took, or why there is none.
    last: Result<Option<Duration>>,
}

impl External {
    /// Starts the program and shakes hands.
    pub(crate) fn new(
        spec: &ExternalSpec,
        name: &str,
        menu: Menu,
        [apps, datasets]: [&[String]; 2],
        seed: u64,
    ) -> Result<Self> {
        spec.check(name)?;
        let program = |error| {
            Error::new(format!("method {name}"), "policy cannot be started")
                .at(format!("command {:?}", spec.command.join(" ")))
                .caused_by(error)
        };
        let mut process = Process::start(&spec.command, spec.share_core).map_err(program)?;
        process.set_timeout(HANDSHAKE_TIMEOUT).map_err(program)?;
        let line = encode(&Message::Hello(hello(name, &menu, [apps, datasets], seed)));
        let wrong = |found: String| {
            Error::new(format!("method {name}"), "policy did not shake hands")
                .at(format!("command {:?}", spec.command.join(" ")))
                .found(found)
                .allowed(format!("{{\"type\": \"ready\", \"protocol\": {PROTOCOL}}}"))
        };
        let (said, _) = match process.ask(&line) {
            Ok(answer) => answer,
            Err(failure) => return Err(after(wrong(failure.to_string()), &mut process)),
        };
        let ready: Ready = serde_json::from_slice(said).map_err(|_| wrong(shown(said)))?;
        if ready.protocol != PROTOCOL {
            return Err(wrong(format!("protocol {}", ready.protocol)));
        }
        process.set_timeout(Duration::from_millis(spec.timeout_ms)).map_err(program)?;
        Ok(Self {
            method: name.to_owned(),
            menu,
            process,
            ready,
            bill: spec.bill,
            apps: apps.to_vec(),
            datasets: datasets.to_vec(),
            line: Vec::new(),
            last: Ok(None),
        })
    }

    fn decide(
        &mut self,
        request: RequestView<'_>,
        service: ServiceView,
    ) -> Result<(Plan, Duration)> {
        let choices = self.menu.choices(request, service.resident);
        let names = [
            &self.apps[usize::from(request.app().0)],
            &self.datasets[usize::from(request.dataset().0)],
        ];
        let seen = Seen::new(request, service, choices.output_tokens(), names.map(String::as_str));
        let forecast = |candidate| protocol::forecast_ms(choices.forecast(candidate));
        let forecasts = || choices.candidates().iter().map(forecast).collect();
        let energies = || -> Option<Vec<f64>> {
            let energy = |one| Some(choices.forecast(one).energy()?.as_millijoules_f64());
            choices.candidates().iter().map(energy).collect()
        };
        let has_energies = self.ready.forecasts && self.menu.power_differs();
        let energies_mj = has_energies.then(energies).flatten();
        let forecasts = self.ready.forecasts.then(forecasts);
        let question = Question { seen, forecasts, energies_mj };
        self.line.clear();
        encode_into(&mut self.line, &Message::Plan(question));
        let wrong = |problem: &str, found: String| {
            Error::new(format!("method {}", self.method), problem)
                .at(format!("request {}", request.id()))
                .found(found)
        };
        let (said, took) = match self.process.ask(&self.line) {
            Ok(answer) => answer,
            Err(failure) => {
                let error = wrong("policy did not decide", failure.to_string());
                return Err(after(error, &mut self.process));
            }
        };
        let form = "{\"id\": …, \"level\": …, \"prompt_ratio\": …}, shares from 0 to 1, of 3 \
            decimals at most";
        let answer: Answer = serde_json::from_slice(said).map_err(|cause| {
            wrong("policy answered nonsense", shown(said)).allowed(form).caused_by(cause)
        })?;
        if answer.id != request.id() {
            let error = wrong("policy answered another request", answer.id.to_string());
            return Err(error.allowed(request.id()));
        }
        let plan = protocol::candidate(&answer, choices.candidates());
        let plan = plan.ok_or_else(|| {
            wrong("policy chose a plan that is no candidate", shown(said))
                .allowed("the candidates of the handshake")
        })?;
        Ok((plan, took))
    }
}

impl Policy for External {
    fn plan(&mut self, request: RequestView<'_>, service: ServiceView) -> Plan {
        match self.decide(request, service) {
            Ok((plan, took)) => {
                if self.last.is_ok() {
                    self.last = Ok((self.bill == Bill::Measured).then_some(took));
                }
                plan
            }
            Err(error) => {
                self.last = Err(error);
                Plan::FULL
            }
        }
    }

    fn settle(&mut self) -> Result<Option<Duration>> {
        std::mem::replace(&mut self.last, Ok(None))
    }

    fn observe(&mut self, outcome: &Outcome) {
        if !self.ready.observe || self.last.is_err() {
            return;
        }
        self.line.clear();
        encode_into(&mut self.line, &Message::Outcome(Observed::of(outcome)));
        if let Err(failure) = self.process.tell(&self.line) {
            let error = Error::new(format!("method {}", self.method), "policy does not listen")
                .at(format!("outcome of request {}", outcome.request.id))
                .found(failure);
            self.last = Err(after(error, &mut self.process));
        }
    }
}

fn hello<'a>(
    method: &'a str,
    menu: &Menu,
    [apps, datasets]: [&'a [String]; 2],
    seed: u64,
) -> Hello<'a> {
    let (candidates, power) = (menu.candidates(), menu.power());
    let expected = |dataset| {
        let of = |candidate| menu.expected_accuracy(candidate, dataset);
        candidates.iter().map(of).collect()
    };
    Hello {
        protocol: PROTOCOL,
        method,
        seed,
        apps,
        datasets,
        power_mw: power.map(|power| power.energy(Duration::from_secs(1)).as_millijoules_f64()),
        candidates: candidates.iter().map(|candidate| candidate.plan).collect(),
        expected_accuracy: (0..menu.groups()).map(expected).collect(),
    }
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    encode_into(&mut line, message);
    line
}

fn encode_into(line: &mut Vec<u8>, message: &Message<'_>) {
    serde_json::to_writer(&mut *line, message).expect("a message is plain data");
    line.push(b'\n');
}

/// `error` with what the program said of its end.
fn after(error: Error, process: &mut Process) -> Error {
    match process.last_words() {
        Some(words) => error.caused_by(words),
        None => error,
    }
}

/// The start of what a policy said.
fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}
