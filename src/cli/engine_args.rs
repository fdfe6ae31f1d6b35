//! Arguments that every command on the real engine takes.

use std::ffi::OsString;
use std::path::PathBuf;

use pliant::Result;
use pliant::engine::EngineOptions;
use pliant::model::{ElasticModel, ElasticSource, manifest_folder};
use pliant::profile::Profiles;
use pliant::profiler::this_machine::ThisMachine;

use super::output::say;

/// The base model whose files are in the project.
pub const BASE_MODEL: &str = "smollm2-135m-instruct";

/// Folder of the device that the project was measured on.
pub fn measured_device() -> PathBuf {
    Profiles::default().device("epyc-zen5-2core")
}

#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// The base model; default: SmolLM2, as `pliant assets fetch` leaves it
    #[arg(long, value_name = "FILE.gguf")]
    pub model: Option<PathBuf>,
    /// Folder of what `pliant elastify` made of it, FAMILY.json each; default: the project's
    #[arg(long, value_name = "DIR")]
    pub elastic: Option<PathBuf>,
    /// Threads of the engine; default: all cores
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub threads: Option<usize>,
}

impl EngineArgs {
    /// Opens the elastic model of `family`.
    pub fn open(&self, family: &str, options: EngineOptions) -> Result<ElasticModel> {
        let folder = self.elastic.clone().unwrap_or_else(|| manifest_folder(BASE_MODEL));
        ElasticModel::open(&ElasticSource {
            manifest: folder.join(format!("{family}.json")),
            gguf: self.model.clone(),
            threads: self.threads(),
            options,
        })
    }

    /// The same arguments, for a command line.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut add = |name: &str, value: Option<OsString>| {
            args.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        };
        add("--model", self.model.clone().map(Into::into));
        add("--elastic", self.elastic.clone().map(Into::into));
        add("--threads", self.threads.map(|threads| threads.to_string().into()));
        args
    }

    /// Threads of the engine.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or_else(cores)
    }
}

/// The times of this machine, taken now if they are not known; says so, and why they are not kept
/// if they are not.
pub fn this_machine(model: &mut ElasticModel, family: &str) -> Result<ThisMachine> {
    let mut said = false;
    let mut report = |_: usize, visits: usize| {
        if !std::mem::replace(&mut said, true) {
            let levels = "the levels on this machine, in 20 s at most";
            say(format!("pliant: timing {levels}: up to {visits} visits"));
        }
    };
    let machine = ThisMachine::of(model, family, &mut report)?;
    if let Some(why) = &machine.disturbed {
        say(format!("pliant: the machine is busy ({why}): its times serve this start, no other"));
    }
    Ok(machine)
}
