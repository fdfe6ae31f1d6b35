//! Who decides outside and has the plans recorded comes to the bytes of who decides inside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pliant::experiment::{Backend, Experiment, RunOptions, Setting, Silent, run};
use pliant::policy::{RecordedPlans, RecordedSpec, ReplayKey};
use pliant::sim::Steps;

use crate::bench_files;
use crate::support::bench_experiment;

/// The plans that the method's own policy makes when it is asked step by step.
fn plans_of(settings: &[Setting]) -> RecordedPlans {
    let mut recorded = RecordedPlans::default();
    for setting in settings {
        let (mut executor, mut outcomes) = (setting.executor().unwrap(), Vec::new());
        let mut policy = setting.method.policy(&setting.trace, setting.seed).unwrap();
        let begun = Steps::begin(setting.calls(), &mut *executor, setting.service, &mut outcomes);
        let (mut steps, mut plans) = (begun.unwrap(), BTreeMap::new());
        while let Some(asked) = steps.asked() {
            let plan = policy.plan(asked.view(), asked.service);
            plans.insert(asked.request.id, plan);
            steps.answer(plan, setting.calls(), &mut *executor, &mut outcomes).unwrap();
        }
        let (device, trace) = (setting.label.device.clone(), setting.trace.fingerprint());
        recorded.insert(ReplayKey { device, seed: setting.seed, trace }, plans);
    }
    recorded
}

/// What `experiment` leaves of its only method's runs, without the column of its name.
fn outcomes(experiment: &Experiment, out: &Path) -> Vec<String> {
    let progress = &Silent;
    let options =
        RunOptions { out, force: false, draw: false, threads: 1, progress, witness: None };
    run(experiment, Backend::CostModel, &options).unwrap();
    let folder = out.join("outcomes").join(&experiment.spec.methods[0].name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let rest = |line: &str| line.split_once(',').unwrap().1.to_owned();
    let text = |path: &std::path::PathBuf| {
        fs::read_to_string(path).unwrap().lines().map(rest).collect::<Vec<_>>().join("\n")
    };
    files.iter().map(text).collect()
}

#[test]
fn recorded_plans_come_to_the_bytes_of_the_policy_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let mut experiment = bench_experiment(folder.path());
    experiment.spec.methods.truncate(1);
    let expected = outcomes(&experiment, &folder.path().join("own"));
    let like = experiment.spec.methods[0].clone();
    let asked = experiment.spec.methods[0].to_be_asked("mine");
    experiment.spec.methods = vec![asked];
    let plans = folder.path().join("plans.csv");
    fs::write(&plans, plans_of(&Setting::all(&experiment, |_| true).unwrap()).to_csv()).unwrap();
    experiment.spec.methods = vec![like.recorded("mine", RecordedSpec::of(plans))];
    assert_eq!(outcomes(&experiment, &folder.path().join("mine")), expected);
}
