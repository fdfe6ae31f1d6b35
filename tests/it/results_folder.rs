//! A results folder is of one run, whole, and nobody's work is lost to it: whatever kills a run,
//! whoever else writes, whatever `--out` names.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pliant::experiment::{
    Backend, Experiment, Measured, RealRun, Results, RunOptions, Silent, run,
};
use pliant::files::{Lock, read_by_name, write_by_name};
use pliant::method::Method;
use pliant::results::Manifest;
use pliant::trace::Trace;

use crate::bench_files::{self, EXPERIMENT};
use crate::support::{bench_experiment, files_below, pliant};

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    folder
}

/// Runs the bench's experiment into `out` with more `arguments`.
fn run_into(folder: &Path, out: &str, arguments: &[&str]) {
    let args = ["run", "experiment.toml", "--threads", "1", "--out", out];
    pliant(folder).args(args).args(arguments).assert().success();
}

/// Asserts that a run into `out` is refused with `message` and changes nothing in `folder`.
#[track_caller]
fn assert_refused(folder: &Path, out: &str, message: &str) {
    let before = files_below(folder);
    let refused = pliant(folder).args(["run", "experiment.toml", "--out", out]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("pliant: {message}\n"));
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
    assert!(files_below(folder) == before, "something changed");
}

/// Puts `to` where `from` stands in a file of `folder`.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_an_interrupted_run_left_is_in_no_later_one() {
    let folder = bench();
    run_into(folder.path(), "clean", &[]);
    let stale = folder.path().join("out.partial/outcomes/full");
    fs::create_dir_all(folder.path().join("out.partial/unfinished")).unwrap();
    fs::create_dir_all(&stale).unwrap();
    fs::write(stale.join("bench_large_tiny_alpha0_seed7.csv"), "of a run that was killed").unwrap();
    run_into(folder.path(), "out", &[]);
    let (clean, out) = (folder.path().join("clean"), folder.path().join("out"));
    assert!(files_below(&out) == files_below(&clean));
    let expected = ["bench", "clean", "experiment.toml", "out", "quality"];
    assert_eq!(names(folder.path()), expected, "nothing is left beside the folder");
}

#[test]
fn a_method_or_figure_that_was_taken_out_leaves_nothing() {
    let folder = bench();
    let figure = "\n[[figures]]\nkind = \"oracle-share\"\n";
    fs::write(folder.path().join("experiment.toml"), format!("{EXPERIMENT}{figure}")).unwrap();
    run_into(folder.path(), "out", &[]);
    let out = folder.path().join("out");
    assert!(out.join("outcomes/full").exists() && out.join("oracle-share.csv").exists());
    let (before, rest) = EXPERIMENT.split_once("[[methods]]\nname = \"full\"").unwrap();
    let (_, after) = rest.split_once("[[methods]]").unwrap();
    let without = format!("{before}[[methods]]{after}");
    fs::write(folder.path().join("experiment.toml"), without).unwrap();
    run_into(folder.path(), "out", &[]);
    assert!(!out.join("outcomes/full").exists() && !out.join("oracle-share.csv").exists());
    run_into(folder.path(), "clean", &[]);
    assert!(files_below(&out) == files_below(&folder.path().join("clean")));
}

#[test]
fn a_folder_of_somebody_elses_is_refused_and_stays_as_it_is() {
    let folder = bench();
    for file in
        ["mine/outcomes/full/notes.csv", "mine/predictions/weather.txt", "other/manifest.toml"]
    {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "title = 'my work'\n").unwrap();
    }
    let problem = "holds files and is no results folder of Pliant; allowed: a new or empty folder, \
                   or one with results";
    let cause = "mine/manifest.toml: cannot read: No such file or directory (os error 2)";
    assert_refused(folder.path(), "mine", &format!("mine: {problem}: {cause}"));
    let cause = "other/manifest.toml, line 1: missing field `experiment`";
    assert_refused(folder.path(), "other", &format!("other: {problem}: {cause}"));
}

#[test]
fn files_of_ones_own_in_a_results_folder_survive_its_next_run() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    let own = ["notes.md", "figures/draft.svg", "predictions/weather.csv", "outcomes/full/why.txt"];
    for file in own {
        let path = folder.path().join("out").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    // One that the next run has a file for.
    fs::write(folder.path().join("out/oracle-share.csv"), "mine").unwrap();
    let figure = "\n[[figures]]\nkind = \"oracle-share\"\n";
    fs::write(folder.path().join("experiment.toml"), format!("{EXPERIMENT}{figure}")).unwrap();
    run_into(folder.path(), "out", &["--seed", "5"]);
    for file in own {
        let path = folder.path().join("out").join(file);
        assert_eq!(fs::read_to_string(path).unwrap(), file);
    }
    let kept = folder.path().join("out/oracle-share.csv.kept");
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
}

#[test]
fn results_of_another_executor_or_experiment_are_replaced_on_demand_only() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    edit(folder.path(), "out/manifest.toml", "\"cost-model\"", "\"engine\"");
    assert_refused(
        folder.path(),
        "out",
        "out: holds other results; found results of experiment, executor engine; allowed: results \
         of experiment, executor cost-model; another folder, or --force to replace them",
    );
    run_into(folder.path(), "out", &["--force"]);
    edit(folder.path(), "out/manifest.toml", "\"experiment\"", "\"other\"");
    assert_refused(
        folder.path(),
        "out",
        "out: holds other results; found results of other, executor cost-model; allowed: results \
         of experiment, executor cost-model; another folder, or --force to replace them",
    );
    run_into(folder.path(), "swept", &[]);
    let sweep = ["sweep", "experiment.toml", "--no-cache", "--set", "seeds=1", "--out", "swept"];
    pliant(folder.path()).args(sweep).assert().code(2).stderr_eq(
        "pliant: swept: holds other results; found results of experiment, executor cost-model; \
         allowed: a sweep of experiment, executor cost-model; another folder, or --force to replace \
         them\n",
    );
    pliant(folder.path()).args(sweep).arg("--force").assert().success();
    assert!(!folder.path().join("swept/metrics.csv").exists());
}

#[test]
fn a_run_that_fails_leaves_the_results_of_the_one_before() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    edit(folder.path(), "experiment.toml", "dir = \"bench\"", "dir = \"phone\"");
    assert_refused(
        folder.path(),
        "out",
        "phone/device.toml: cannot read: No such file or directory (os error 2)",
    );
}

/// The shell's limit on the size of files stands in for a disk that fills up in mid-run.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_leaves_the_results_of_the_run_before() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    let before = files_below(folder.path());
    let program = snapbox::cmd::cargo_bin!("pliant");
    let script = format!(
        "ulimit -f 4; trap '' XFSZ; exec {} run experiment.toml --seed 9 --threads 1 --out out",
        program.display()
    );
    snapbox::cmd::Command::new("bash")
        .current_dir(folder.path())
        .args(["-c", &script])
        .assert()
        .code(2)
        .stderr_eq(
            "pliant: out.partial/outcomes/[..].csv.partial: cannot write: File too large (os error \
             27)\n",
        );
    assert!(files_below(folder.path()) == before);
}

#[test]
#[cfg(unix)]
fn a_link_is_followed_and_a_file_or_pipe_is_never_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = bench();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    run_into(folder.path(), "link", &[]);
    assert!(at("link").is_symlink() && at("real/metrics.csv").exists());
    let is_no_folder = |name: &str| {
        let message = "is no folder; allowed: a results folder, or a new name";
        assert_refused(folder.path(), name, &format!("{name}: {message}"));
    };
    is_no_folder("experiment.toml");
    symlink("nowhere", at("dangling")).unwrap();
    let args = ["run", "experiment.toml", "--out", "dangling"];
    pliant(folder.path())
        .args(args)
        .assert()
        .code(2)
        .stderr_eq("pliant: dangling: cannot follow: No such file or directory (os error 2)\n");
    assert!(at("dangling").is_symlink());
    let made = Command::new("mkfifo").arg(at("pipe")).status().is_ok_and(|it| it.success());
    if made {
        // Not read by the comparison of folders: that would wait for a writer.
        let message = "pliant: pipe: is no folder; allowed: a results folder, or a new name\n";
        let args = ["run", "experiment.toml", "--out", "pipe"];
        pliant(folder.path()).args(args).assert().code(2).stderr_eq(message);
        assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
    }
}

#[test]
fn the_current_folder_cannot_be_replaced_as_a_whole() {
    let folder = bench();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let args = ["run", "../experiment.toml", "--out", "."];
    let refused = pliant(&inside).args(args).assert().code(2);
    let message = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(
        message.ends_with(
            "inside: cannot be replaced as a whole; found the current folder, or above it; allowed: \
             a folder inside it\n"
        ),
        "{message}"
    );
}

#[test]
fn a_second_writer_is_refused_with_the_name_of_the_first() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    let lock = Lock::acquire(&folder.path().join("out"), "the results folder").unwrap();
    let before = files_below(&folder.path().join("out"));
    pliant(folder.path())
        .args(["run", "experiment.toml", "--out", "out", "--seed", "9"])
        .assert()
        .code(2)
        .stderr_eq(format!(
            "pliant: out: the results folder is being written by another process; found process {} \
             [..]; allowed: one writer at a time; wait until it ends\n",
            std::process::id()
        ));
    assert!(files_below(&folder.path().join("out")) == before);
    drop(lock);
    run_into(folder.path(), "out", &["--seed", "9"]);
}

/// `pliant run` of the bench's experiment under `seed` into `out`, under way.
fn spawned(folder: &Path, out: &str, seed: u64) -> Child {
    Command::new(snapbox::cmd::cargo_bin!("pliant"))
        .current_dir(folder)
        .args(["run", "experiment.toml", "--threads", "1", "--out", out])
        .args(["--seed", &seed.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What runs under seeds 0 and 50 leave.
fn whole(folder: &Path) -> [Files; 2] {
    [("a", 0), ("b", 50)].map(|(name, seed)| {
        assert!(spawned(folder, name, seed).wait().unwrap().success());
        files_below(&folder.join(name))
    })
}

#[test]
fn of_writers_at_once_one_is_served_and_the_folder_is_all_its_own() {
    let folder = bench();
    let whole = whole(folder.path());
    let mut refused = 0;
    for _ in 0..3 {
        let mut writers = [0, 50, 0, 50].map(|seed| spawned(folder.path(), "out", seed));
        for writer in &mut writers {
            match writer.wait().unwrap().code() {
                Some(0) => {}
                Some(2) => refused += 1,
                code => panic!("{code:?}"),
            }
        }
        let out = files_below(&folder.path().join("out"));
        assert!(whole.contains(&out), "mixed: {:?}", out.keys());
    }
    assert!(refused > 0, "no two runs ever met");
}

/// Runs are killed at random moments; the folder is always all of one or all of the other.
/// `PLIANT_KILLS` says how many, for `make soak`.
#[test]
#[expect(clippy::disallowed_methods, reason = "kills are spread over the time that a run takes")]
fn a_killed_run_leaves_the_folder_whole() {
    let kills = std::env::var("PLIANT_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: u64 = kills.unwrap_or(12);
    let folder = bench();
    let whole = whole(folder.path());
    let out = folder.path().join("out");
    assert!(spawned(folder.path(), "out", 0).wait().unwrap().success());
    fs::write(out.join("notes.md"), "mine").unwrap();
    let started = std::time::Instant::now();
    assert!(spawned(folder.path(), "out", 50).wait().unwrap().success());
    let takes = started.elapsed().as_micros() as u64;
    let (mut changed, mut killed) = (0, 0);
    let mut before = 1;
    for nth in 0..kills {
        let mut writer = spawned(folder.path(), "out", if nth % 2 == 0 { 0 } else { 50 });
        // Spread over the run, the more finely the more kills there are.
        let moment = takes * (2 * ((nth * 7919) % kills) + 1) / (2 * kills);
        std::thread::sleep(Duration::from_micros(moment));
        writer.kill().unwrap();
        killed += u32::from(!writer.wait().unwrap().success());
        let mut found = files_below(&out);
        assert_eq!(found.remove(Path::new("notes.md")).as_deref(), Some(&b"mine"[..]), "lost");
        let now = whole.iter().position(|whole| *whole == found);
        let now = now.unwrap_or_else(|| panic!("mixed after {moment} µs: {:?}", found.keys()));
        changed += u32::from(now != before);
        before = now;
    }
    eprintln!("{killed} of {kills} runs killed, {changed} times after their folder was in place");
    assert!(spawned(folder.path(), "out", 50).wait().unwrap().success());
    let mut found = files_below(&out);
    found.remove(Path::new("notes.md"));
    assert!(found == whole[1]);
    let beside = names(folder.path());
    assert_eq!(beside, ["a", "b", "bench", "experiment.toml", "out", "quality"], "swept");
}

/// A real run of the bench's experiment whose engine fails when it is asked for the `last` run.
fn measure(experiment: &Experiment, out: &Path, last: u32) -> pliant::Result<Results> {
    let started = Cell::new(0);
    // The cost model stands in for an engine that takes exactly as long as predicted.
    let mut make = |method: &Method, trace: &Trace| {
        started.set(started.get() + 1);
        if started.get() == last {
            return Err(pliant::Error::new("engine", "out of memory"));
        }
        Ok(RealRun { executor: Box::new(method.cost_model(trace)?), head: None })
    };
    let measured = Measured { name: "engine", runtime: BTreeMap::new(), make: &mut make };
    let options =
        RunOptions { out, force: false, draw: false, threads: 1, progress: &Silent, witness: None };
    run(experiment, Backend::Measured(measured), &options)
}

#[test]
fn a_measured_run_that_ended_early_goes_on_where_it_stopped() {
    let folder = bench();
    let mut experiment = bench_experiment(folder.path());
    let (out, whole) = (folder.path().join("out"), folder.path().join("whole"));
    assert!(measure(&experiment, &out, 11).is_err());
    assert!(!out.exists() && folder.path().join("out.partial").exists());
    let again = measure(&experiment, &out, 0).unwrap();
    assert_eq!((again.resumed, again.place.as_path()), (10, out.as_path()));
    let in_one_go = measure(&experiment, &whole, 0).unwrap();
    assert_eq!((&again.rows, &again.predictions), (&in_one_go.rows, &in_one_go.predictions));
    assert!(files_below(&out) == files_below(&whole));
    assert!(!folder.path().join("out.partial").exists());
    // What another program or other inputs measured is no part of it, and is not thrown away.
    assert!(measure(&experiment, &out, 5).is_err());
    experiment.spec.first_seed = 9;
    let message = measure(&experiment, &out, 0).unwrap_err().to_string();
    let expected = "the rest of another measured run is in the way; found results of experiment, \
                    executor engine, with other inputs or another program; allowed: the same run \
                    again, to finish it; or --force to drop it";
    assert!(message.ends_with(expected), "{message}");
    assert!(files_below(&out) == files_below(&whole));
}

#[test]
fn a_folder_is_reported_from_anywhere_with_what_is_there() {
    let folder = bench();
    let experiment = folder.path().join("experiment.toml");
    let text = fs::read_to_string(&experiment).unwrap();
    fs::write(&experiment, text.replace("seeds = 3", "seeds = 3\ndraw_profiles = true")).unwrap();
    run_into(folder.path(), "deep/out", &[]);
    let out = folder.path().join("deep/out");
    let elsewhere = tempfile::tempdir().unwrap();
    let report = |arguments: &[&str]| {
        let printed = pliant(elsewhere.path()).arg("report").arg(&out).args(arguments);
        String::from_utf8(printed.assert().success().get_output().stdout.clone()).unwrap()
    };
    let drawn = files_below(&out);
    let text = report(&[]);
    assert!(text.contains("elastic-profile") && !text.contains("absent"), "{text}");
    assert!(files_below(&out) == drawn, "the same figures");
    assert!(report(&["--format", "csv", "--by", "app"]).contains("GMail"));
    let moved = elsewhere.path().join("moved");
    fs::rename(&out, &moved).unwrap();
    let printed = pliant(elsewhere.path()).args(["report", "moved"]).assert().success();
    let text = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    let absent = "absent: bench/device.toml is not there, its figure is not drawn\n";
    assert!(text.contains("elastic-profile") && text.contains(absent), "{text}");
}

#[test]
fn an_outcome_of_another_run_is_refused() {
    let folder = bench();
    run_into(folder.path(), "out", &[]);
    let file = |seed| format!("out/outcomes/full/bench_large_tiny_alpha0_seed{seed}.csv");
    fs::copy(folder.path().join(file(2)), folder.path().join(file(1))).unwrap();
    let args = ["report", "out", "--format", "json", "--by", "app"];
    pliant(folder.path()).args(args).assert().code(2).stderr_eq(format!(
        "pliant: {}, line 2: row of another run; found full at α 0 on bench, seed 2; allowed: full \
         at α 0 on bench, seed 1\n",
        file(1)
    ));
}

#[test]
fn an_input_of_a_figure_that_is_not_there_is_found_before_anything_runs() {
    let folder = bench();
    let figure = "\n[[figures]]\nkind = \"memory\"\nof = [{ device = \"phone\", base_model = \
                  \"large\", families = [\"width\"] }]\n";
    fs::write(folder.path().join("experiment.toml"), format!("{EXPERIMENT}{figure}")).unwrap();
    assert_refused(
        folder.path(),
        "out",
        "phone/device.toml: is not there, and a figure is drawn from it",
    );
}

#[test]
fn an_experiment_of_figures_alone_has_no_rows_and_nothing_to_compare() {
    let folder = bench();
    let text = "description = \"a\"\nseeds = 1\n[[figures]]\nkind = \"memory\"\nof = [{ device = \
                \"bench\", base_model = \"large\", families = [\"width\"] }]\n";
    fs::write(folder.path().join("experiment.toml"), text).unwrap();
    run_into(folder.path(), "out", &[]);
    let out = folder.path().join("out");
    assert!(!out.join("metrics.csv").exists() && out.join("manifest.toml").exists());
    pliant(folder.path()).args(["report", "out"]).assert().success();
    // Headers alone, as older folders have them.
    run_into(folder.path(), "a", &[]);
    let bench_of = bench();
    run_into(bench_of.path(), "rows", &[]);
    for file in ["metrics.csv", "seeds.csv.gz", "paired.csv"] {
        let text = read_by_name(&bench_of.path().join("rows").join(file)).unwrap();
        let header = text.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        write_by_name(&out.join(file), header).unwrap();
    }
    let args = ["check", "out", "--baseline", "out/metrics.csv"];
    pliant(folder.path())
        .args(args)
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq("pliant: out/metrics.csv: has no rows, so that nothing could be compared\n");
}

#[test]
fn names_that_no_file_can_have_are_refused_where_they_are_read() {
    let allowed = "1 to 50 characters that can name a file: no slash, backslash or any of : * ? \" < \
                   > |, no dot or space at an end";
    for name in [".", "..", "a|b"] {
        let folder = bench();
        edit(folder.path(), "experiment.toml", "name = \"full\"", &format!("name = \"{name}\""));
        let message = "experiment.toml, key \"methods\": name cannot be part of a file name";
        let message = format!("{message}; found \"{name}\"; allowed: {allowed}");
        assert_refused(folder.path(), "out", &message);
        let folder = bench();
        edit(folder.path(), "bench/device.toml", "\"bench\"", &format!("\"{name}\""));
        let message = "bench/device.toml, key \"name\": name cannot be part of a file name";
        let message = format!("{message}; found \"{name}\"; allowed: {allowed}");
        assert_refused(folder.path(), "out", &message);
    }
    let folder = bench();
    edit(folder.path(), "bench/device.toml", "\"bench\"", "\"my_laptop\"");
    run_into(folder.path(), "out", &[]);
    assert!(Manifest::load(&folder.path().join("out")).is_ok());
    let file = "out/outcomes/full/my_laptop_large_tiny_alpha0_seed0.csv";
    assert!(folder.path().join(file).exists());
}
