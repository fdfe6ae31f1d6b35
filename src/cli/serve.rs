//! `pliant serve`: the service over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use pliant::demo;
#[cfg(feature = "engine")]
use pliant::engine::EngineOptions;
use pliant::experiment::item_pools;
use pliant::method::one_prompt::{PromptPlanner, answers_when_cut};
use pliant::origin::today;
use pliant::profile::{DeviceProfile, Profiles};
use pliant::serve::{Access, Limits, Log, Recorder, ServeOptions, Server, Token};
#[cfg(feature = "engine")]
use pliant::service::EngineModel;
use pliant::service::apps::ServiceApps;
use pliant::service::{CannedModel, Clock, Loaded, Options, Service};
use pliant::units::Ratio;
use pliant::{Error, Result};
use serde_json::json;

#[cfg(feature = "engine")]
use super::engine_args::{EngineArgs, this_machine};
use super::output::{print_json, print_line, say};

/// Most tokens of prompt and answer where no model says.
const CANNED_CONTEXT: u32 = 2048;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What answers
    #[arg(long, value_enum, default_value_t = Executor::default())]
    executor: Executor,
    /// Port on this machine; 0: any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// Address that others reach, with or without a port; needs a token
    #[arg(long, value_name = "ADDR", requires = "token")]
    listen: Option<String>,
    /// File with the token that all who call have to send
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Apps with their objectives, classes, quotas and keys; the study's six otherwise. Read again
    /// on SIGHUP
    #[arg(long, value_name = "FILE")]
    apps: Option<PathBuf>,
    /// Where the day is recorded as a trace, which `pliant run` replays
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Prompt lengths of the items that recorded prompts stand for
    #[arg(long, value_name = "FILE", requires = "record")]
    items: Option<PathBuf>,
    /// Origin whose pages may call from a browser; `*`: all
    #[arg(long, value_name = "ORIGIN")]
    cors: Option<String>,
    /// Memory for what the last conversations were read to; 0: none is kept
    #[cfg(feature = "engine")]
    #[arg(long, value_name = "N", default_value_t = 64)]
    cache_mib: u64,
    #[cfg(feature = "engine")]
    #[command(flatten)]
    engine: EngineArgs,
    /// With engine: family of sub-models: width, width-lora, layer-removal
    #[cfg(feature = "engine")]
    #[arg(long, default_value = FAMILY)]
    family: String,
    /// Share of every bound that plans leave free, for times that vary
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = margin)]
    margin: Ratio,
    /// With cost-model: how many times as fast as predicted
    #[arg(long, value_name = "N", default_value_t = 1)]
    speed: u32,
    /// Print the address as JSON
    #[arg(long)]
    json: bool,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Executor {
    /// The real model
    #[cfg(feature = "engine")]
    Engine,
    /// Canned text at the times that a device profile predicts
    CostModel,
}

impl Default for Executor {
    #[cfg(feature = "engine")]
    fn default() -> Self {
        Self::Engine
    }

    #[cfg(not(feature = "engine"))]
    fn default() -> Self {
        Self::CostModel
    }
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    let limits = Limits::default();
    let mut options = Options::default();
    options.schedule.timeout_ms = Some(limits.answer.as_millis() as u64);
    let apps = args.apps.as_deref().map(ServiceApps::load).transpose()?.unwrap_or_default();
    let (address, access) = (args.address()?, args.access()?);
    let recorder = args.recorder()?;
    let service = Service::start(options, apps, args.loader())?;
    let server = Server::bind(
        service,
        ServeOptions {
            address,
            access,
            limits,
            recorder,
            log: Log::to(|line| say(line)),
            apps: args.apps.clone(),
        },
    )?;
    args.greet(server.address()?)?;
    let answered = server.run()?;
    if !answered {
        say("pliant: some calls were not answered when the server had to end");
    }
    Ok(ExitCode::SUCCESS)
}

type Loader = Box<dyn FnOnce(Arc<dyn Clock>) -> Result<Loaded> + Send>;

impl Args {
    fn loader(&self) -> Loader {
        match self.executor {
            Executor::CostModel => {
                let (speed, margin) = (self.speed, self.margin);
                Box::new(move |clock| {
                    let planner = planner()?.with_margin(margin);
                    CannedModel::new(planner, CANNED_CONTEXT)?.sped_up(speed).load(clock)
                })
            }
            #[cfg(feature = "engine")]
            Executor::Engine => {
                let (engine, family) = (self.engine.clone(), self.family.clone());
                let cache_bytes = self.cache_mib.saturating_mul(1 << 20);
                let margin = self.margin;
                Box::new(move |clock| {
                    let model = real_model(&engine, &family, cache_bytes)?;
                    let planner = model.planner.with_margin(margin);
                    EngineModel { planner, ..model }.load(clock)
                })
            }
        }
    }

    fn address(&self) -> Result<SocketAddr> {
        let Some(text) = &self.listen else {
            return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), self.port).into());
        };
        let with_port = text.parse::<SocketAddr>().ok();
        let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port));
        with_port.or_else(alone).ok_or_else(|| {
            Error::new("argument --listen", "not an address")
                .found(text)
                .allowed("an IP address, with or without a port: 0.0.0.0, 0.0.0.0:8080, [::]:8080")
        })
    }

    fn access(&self) -> Result<Access> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|cause| Error::io(path, "cannot read", cause))?;
            Token::of(&path.display().to_string(), &text)
        };
        Ok(Access { token: self.token.as_ref().map(read).transpose()?, cors: self.cors.clone() })
    }

    /// Whose tokens prompts are counted in.
    fn base_model(&self) -> Result<String> {
        match self.executor {
            Executor::CostModel => Ok(MODEL.to_owned()),
            #[cfg(feature = "engine")]
            Executor::Engine => self.engine.base_model(&self.family),
        }
    }

    fn recorder(&self) -> Result<Option<Recorder>> {
        let Some(path) = &self.record else { return Ok(None) };
        let base_model = self.base_model()?;
        let of = |profiles: &Profiles| {
            item_pools(&profiles.answers(&base_model).join("score-head.tokens.csv"))
        };
        let items = match &self.items {
            Some(path) => item_pools(path)?,
            None => with_profiles(of)?,
        };
        let provenance = [
            format!("recorded by pliant serve on {}", today()),
            "each prompt stands for an item nearest in length: its answers are the item's".into(),
        ];
        Recorder::create(path, &items, &provenance).map(Some)
    }

    /// Says where the server is, and how to call it.
    fn greet(&self, address: SocketAddr) -> Result<()> {
        let host = if address.ip().is_unspecified() {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        } else {
            address
        };
        let url = format!("http://{host}");
        if self.json {
            return print_json(&json!({ "url": url, "process": std::process::id() }));
        }
        let token = self.token.as_ref().map_or_else(String::new, |path| {
            format!(" -H \"authorization: Bearer $(cat {})\"", path.display())
        });
        print_line(format!(
            "serving on {url}: open it in a browser, or paste\n\n\
             curl {url}/v1/chat/completions{token} -d '{{\"messages\": [{{\"role\": \"user\", \
             \"content\": \"What is the capital of France?\"}}], \
             \"slo\": {{\"ttft\": 0.4, \"tpot\": 0.7}}}}'\n\n\
             Ctrl-C ends it."
        ))
    }
}

/// The real model, and what plans for it on this machine.
#[cfg(feature = "engine")]
fn real_model(engine: &EngineArgs, family: &str, cache_bytes: u64) -> Result<EngineModel> {
    let mut model = engine.open(family, EngineOptions::default())?;
    let base_model = model.identity().base_model;
    let table = answers_when_cut(&Profiles::default().answers(&base_model), family)?;
    let machine = this_machine(&mut model, family)?;
    let planner = PromptPlanner::new(machine.profile, &table, &base_model, family)?;
    Ok(EngineModel { model, planner, cache_bytes, learnt: machine.scales })
}

/// Reads a share that leaves something.
fn margin(text: &str) -> Result<Ratio, String> {
    let share = text.parse().ok().and_then(Ratio::new).filter(|share| *share < Ratio::ONE);
    share.ok_or_else(|| "not a share; allowed: a number from 0 to below 1".to_owned())
}

/// What plans the canned text.
fn planner() -> Result<PromptPlanner> {
    with_profiles(|profiles| {
        let table = answers_when_cut(&profiles.answers(MODEL), FAMILY)?;
        PromptPlanner::new(DeviceProfile::load(&profiles.device(DEVICE))?, &table, MODEL, FAMILY)
    })
}

/// Reads profiles of the working directory or, outside of a project, those in the program itself.
fn with_profiles<T>(read: impl FnOnce(&Profiles) -> Result<T>) -> Result<T> {
    let here = Profiles::default();
    if here.quality().exists() {
        return read(&here);
    }
    let folder = tempfile::tempdir()
        .map_err(|cause| Error::new("temporary folder", "cannot be made").caused_by(cause))?;
    demo::lay_out(folder.path())?;
    read(&Profiles::at(folder.path().join("device-profiles")))
}

/// Whose times canned text has.
const DEVICE: &str = "epyc-zen5-2core";
const MODEL: &str = "smollm2-135m-instruct";
const FAMILY: &str = "width-lora";
