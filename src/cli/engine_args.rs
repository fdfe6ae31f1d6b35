//! Arguments that every command on the real engine takes.

use std::ffi::OsString;
use std::path::PathBuf;

use pliant::Result;
use pliant::engine::EngineOptions;
use pliant::model::manifest::Manifest;
use pliant::model::{ElasticModel, ElasticSource, manifest_folder};
use pliant::profile::Profiles;
use pliant::profiler::this_machine::ThisMachine;

use super::base_model::BaseModelArgs;
use super::output::say;

/// Folder of the device that the project was measured on.
pub fn measured_device() -> PathBuf {
    Profiles::default().device("epyc-zen5-2core")
}

#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    #[command(flatten)]
    pub base: BaseModelArgs,
    /// Folder of what `pliant elastify` made of it, FAMILY.json each; default:
    /// device-profiles/elastic/BASE_MODEL
    #[arg(long, value_name = "DIR")]
    pub elastic: Option<PathBuf>,
    /// Threads of the engine; default: all cores
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub threads: Option<usize>,
}

impl EngineArgs {
    /// The same arguments, of the base model called `name` where they say nothing of any.
    pub fn or_of(&self, name: &str) -> Self {
        if self.elastic.is_some() || !self.base.is_default() {
            return self.clone();
        }
        Self { base: BaseModelArgs::named(name), ..self.clone() }
    }

    /// Opens the elastic model of `family`.
    pub fn open(&self, family: &str, options: EngineOptions) -> Result<ElasticModel> {
        let (manifest, gguf) = self.sources(family)?;
        ElasticModel::open(&ElasticSource { manifest, gguf, threads: self.threads(), options })
    }

    /// The name of the base model of `family`.
    pub fn base_model(&self, family: &str) -> Result<String> {
        Ok(Manifest::load(&self.sources(family)?.0)?.identity().base_model)
    }

    /// The manifest of `family`, and the base model's file unless the manifest says which it is.
    fn sources(&self, family: &str) -> Result<(PathBuf, Option<PathBuf>)> {
        let (folder, gguf) = self.base.with_made(self.elastic.as_ref(), manifest_folder)?;
        Ok((folder.join(format!("{family}.json")), gguf))
    }

    /// The same arguments, for a command line.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = self.base.to_args();
        let mut add = |name: &str, value: Option<OsString>| {
            args.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        };
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
