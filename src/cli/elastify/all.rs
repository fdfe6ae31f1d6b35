//! `pliant elastify all`: the whole offline stage, from nothing to an elastic model with measured
//! profiles and both heads of the tiny language model.
//!
//! Each stage is a command of this program that can be run by hand; they are run one after the
//! other, as processes of their own, in the folder that everything is written to. A ledger says
//! which are finished; the others resume where they stopped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use pliant::elastify::offline_cost::Meter;
use pliant::profile::Profiles;
use pliant::{Error, Result, files, origin};

use super::super::base_model::BaseModelName;
use super::super::output::Form;

/// Finished stages, in the folder.
const LEDGER: &str = "elastify-all.json";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    of: BaseModelName,
    /// Folder to write to: device-profiles/elastic, device-profiles/quality and
    /// device-profiles/DEVICE in it
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// What this machine is called
    #[arg(long, default_value = "this-machine")]
    device: String,
    /// Items per dataset that answers are measured on, at every level and prompt ratio; half of
    /// them teach the decision-head. More in a later run are added to the table
    #[arg(long, default_value_t = 30)]
    items: usize,
    /// Passages whose spans are labelled for the score-head
    #[arg(long, default_value_t = 100)]
    label_items: usize,
    /// Print the commands, run none
    #[arg(long)]
    dry_run: bool,
}

/// One command of the offline stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Stage {
    /// What it is for.
    purpose: &'static str,
    /// Arguments of `pliant`.
    arguments: Vec<String>,
}

/// A finished stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    /// Arguments of `pliant`, with spaces between.
    command: String,
    /// Day, `YYYY-MM-DD`.
    date: String,
    /// Seconds on the clock, of the last attempt.
    wall_s: f64,
}

pub fn run(args: &Args, form: Form) -> Result<()> {
    let stages = stages(args);
    if args.dry_run {
        let mut rows = form.rows();
        for stage in &stages {
            rows.add(stage, format!("pliant {}", stage.arguments.join(" ")))?;
        }
        return rows.end();
    }
    let root = &args.root;
    std::fs::create_dir_all(root).map_err(|error| Error::io(root, "cannot create", error))?;
    let program = crate::cli::this_program()?;
    let mut start = |stage: &Stage| {
        let mut command = Command::new(&program);
        command.args(&stage.arguments).current_dir(root);
        if form == Form::Json {
            // What a stage says for itself is no part of the document.
            command.stdout(Stdio::null());
        }
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::new("pliant elastify all", "a stage stopped")
                .at(format!("pliant {}", stage.arguments.join(" ")))
                .found(status)
                .allowed("run `pliant elastify all` again to go on there")),
            Err(error) => Err(Error::new("pliant", "cannot be started").caused_by(error)),
        }
    };
    let _lock = files::Lock::acquire(&root.join(LEDGER), "the offline stage")?;
    run_stages(&stages, &root.join(LEDGER), form, &mut start)
}

/// Runs the stages that the ledger does not name, in order, and enters each when it is finished.
fn run_stages(
    stages: &[Stage],
    ledger: &Path,
    form: Form,
    start: &mut dyn FnMut(&Stage) -> Result<()>,
) -> Result<()> {
    let mut finished = read_ledger(ledger)?;
    for (nth, stage) in stages.iter().enumerate() {
        let command = stage.arguments.join(" ");
        let place = format!("[{}/{}] {}", nth + 1, stages.len(), stage.purpose);
        if let Some(known) = finished.iter().find(|known| known.command == command) {
            form.text(format!("{place}: finished on {}, {:.0} s", known.date, known.wall_s))?;
            continue;
        }
        form.text(format!("{place}: pliant {command}"))?;
        let meter = Meter::start();
        start(stage)?;
        let wall_s = (meter.spent().wall_s * 10.0).round() / 10.0;
        finished.push(Finished { command, date: origin::today(), wall_s });
        let json = serde_json::to_vec_pretty(&finished).expect("a ledger is plain data");
        files::write_whole(ledger, &json)?;
    }
    finished.retain(|known| stages.iter().any(|s| s.arguments.join(" ") == known.command));
    let wall_s: f64 = finished.iter().map(|known| known.wall_s).sum();
    let text = format!("all {} stages finished: {:.1} minutes", stages.len(), wall_s / 60.0);
    form.one(&finished, text)
}

fn read_ledger(path: &Path) -> Result<Vec<Finished>> {
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|error| Error::file(path, "not a ledger of finished stages").caused_by(error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(path, "cannot read", error)),
    }
}

fn stages(args: &Args) -> Vec<Stage> {
    let (profiles, base_model) = (Profiles::default(), &args.of.base_model);
    let of = format!("--base-model {base_model}");
    let elastic = profiles.elastic(base_model).display().to_string();
    let times = profiles.device(&args.device).display().to_string();
    let scores = format!("{elastic}/elastic.scores.json");
    let (device, table) = (&args.device, "width-lora-score-head");
    let (items, label_items) = (args.items, args.label_items);
    let stage = |purpose, command: String| Stage {
        purpose,
        arguments: command.split_whitespace().map(str::to_owned).collect(),
    };
    vec![
        stage("weights and data", "assets fetch".into()),
        stage("base model", format!("assets fetch {base_model}")),
        stage(
            "importance, order and ladder",
            format!("elastify {of} --family width --scores {scores} --out {elastic}/width.json"),
        ),
        stage(
            "ladder of whole layers, for comparison",
            format!(
                "elastify allocate --family layer-removal --scores {scores} --out \
                 {elastic}/layer-removal.json"
            ),
        ),
        stage("recovery", format!("elastify recover {of} --levels 20,30,40,50,60,70,80,90")),
        stage(
            "labels of the score-head",
            format!("elastify tlm label {of} --items {label_items} --shot-items 16"),
        ),
        stage("score-head", format!("elastify tlm train-score {of}")),
        stage(
            "latencies",
            format!(
                "profile latency {of} --device {device} --families width,layer-removal,width-lora"
            ),
        ),
        stage("latencies of both heads", format!("elastify tlm profile {of} --device {device}")),
        stage(
            "answers",
            format!(
                "profile quality {of} --family width-lora --compressor score-head --items {items}"
            ),
        ),
        stage(
            "decision-head",
            format!(
                "elastify tlm train-decision {of} --table {table} --family width-lora --device \
                 {times} --name {table}"
            ),
        ),
        stage("decisions", format!("elastify tlm decide {of} --name {table}")),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::super::Cli;
    use super::*;

    fn args() -> Args {
        let of = BaseModelName { base_model: "qwen2.5-coder-0.5b-instruct".to_owned() };
        let (root, device) = (PathBuf::from("."), "mine".to_owned());
        Args { of, root, device, items: 30, label_items: 100, dry_run: false }
    }

    #[test]
    fn every_stage_is_of_the_base_model_that_was_named() {
        let stages = stages(&args());
        let named = |stage: &&Stage| !stage.arguments.iter().any(|a| a.contains("qwen2.5-coder"));
        let unnamed: Vec<_> = stages.iter().filter(named).map(|stage| stage.purpose).collect();
        assert_eq!(unnamed, ["weights and data"]);
    }

    #[test]
    fn every_stage_is_a_command_of_this_program() {
        for stage in stages(&args()) {
            let command = ["pliant".to_owned()].into_iter().chain(stage.arguments.clone());
            let parsed = Cli::try_parse_from(command);
            assert!(parsed.is_ok(), "{:?}: {}", stage.arguments, parsed.unwrap_err());
        }
    }

    /// Of five stages the third stops: the first two are not run again.
    #[test]
    fn a_broken_run_goes_on_at_the_stage_that_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join(LEDGER);
        let stages = &stages(&args())[..5];
        let mut started = Vec::new();
        let broken = run_stages(stages, &ledger, Form::Text, &mut |stage| {
            started.push(stage.purpose);
            if started.len() == 3 { Err(Error::new("stage", "killed")) } else { Ok(()) }
        });
        assert!(broken.unwrap_err().to_string().contains("killed"));
        run_stages(stages, &ledger, Form::Text, &mut |stage| {
            started.push(stage.purpose);
            Ok(())
        })
        .unwrap();
        let purposes: Vec<_> = stages.iter().map(|stage| stage.purpose).collect();
        let expected: Vec<_> = purposes[..3].iter().chain(&purposes[2..]).copied().collect();
        assert_eq!(started, expected);
        assert_eq!(read_ledger(&ledger).unwrap().len(), 5);
        run_stages(stages, &ledger, Form::Text, &mut |_| unreachable!("all are finished")).unwrap();
    }

    #[test]
    fn a_foreign_ledger_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join(LEDGER);
        std::fs::write(&ledger, "{}").unwrap();
        let error = run_stages(&stages(&args()), &ledger, Form::Text, &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("not a ledger of finished stages"), "{error}");
        assert_eq!(std::fs::read_to_string(&ledger).unwrap(), "{}");
    }
}
