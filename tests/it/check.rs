//! `pliant check`: catches a planted fall, passes noise, refuses what cannot be compared; and the
//! commands of the README and the workflow.

use std::fs;
use std::path::Path;

use pliant::check::RunResults;
use pliant::files::{read_by_name, write_by_name};
use pliant::metrics::{
    AskedItems, CellLabel, Class, Measure, MetricsRow, RunMeasures, SeedRow, read_metrics_csv,
    read_seeds_csv, write_metrics_csv, write_seeds_csv,
};
use snapbox::str;
use tempfile::TempDir;

use crate::bench_files;
use crate::support::pliant;

/// A folder with the bench's experiment and its results in `results/experiment`.
fn baseline() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    run(folder.path(), "results/experiment");
    folder
}

fn run(folder: &Path, out: &str) {
    let args = ["run", "experiment.toml", "--out", out, "--threads", "1"];
    pliant(folder).args(args).assert().success();
}

const CHECK: [&str; 4] = ["check", "fresh", "--baseline", "results/experiment/metrics.csv"];

/// Copies the results to `fresh` with `alter` done to each seed, and the means made anew.
fn replace(folder: &Path, alter: impl Fn(&mut SeedRow)) {
    let (from, to) = (folder.join("results/experiment"), folder.join("fresh"));
    fs::create_dir_all(&to).unwrap();
    fs::copy(from.join("manifest.toml"), to.join("manifest.toml")).unwrap();
    let mut seeds = read_seeds_csv(&from.join("seeds.csv.gz")).unwrap();
    seeds.iter_mut().for_each(alter);
    write_seeds_csv(&to.join("seeds.csv.gz"), &seeds).unwrap();
    let rows = read_metrics_csv(&from.join("metrics.csv")).unwrap();
    let rows: Vec<_> = rows.iter().map(|row| means(row, &seeds)).collect();
    write_metrics_csv(&to.join("metrics.csv"), &rows).unwrap();
}

fn means(row: &MetricsRow, seeds: &[SeedRow]) -> MetricsRow {
    let of_point = seeds.iter().filter(|seed| {
        seed.label.method == row.label.method
            && seed.label.alpha.total_cmp(&row.label.alpha).is_eq()
    });
    let runs: Vec<RunMeasures> = of_point
        .map(|seed| RunMeasures {
            requests: seed.requests,
            values: seed.values,
            ..RunMeasures::default()
        })
        .collect();
    MetricsRow::of(&row.label, &runs, &AskedItems::default())
}

/// Does `change` to a value of `row`.
fn alter(row: &mut SeedRow, measure: Measure, change: impl Fn(f64) -> f64) {
    row.values[measure] = row.values[measure].map(change);
}

#[test]
fn the_same_program_passes_with_every_value_equal() {
    let folder = baseline();
    run(folder.path(), "fresh");
    pliant(folder.path()).args(CHECK).assert().code(0).stderr_eq("").stdout_eq(str![[r"
experiment against results/experiment/metrics.csv: 0 worse, 0 better, 36 within tolerance (36 of them equal under every seed)
nothing moved by more than its tolerance
...
"]]);
}

/// Two points of 36 tests on three seeds: a fall is only found because noise is small.
#[test]
fn a_planted_fall_of_two_points_is_caught_and_named() {
    let folder = baseline();
    replace(folder.path(), |row| {
        if row.label.method == "elastic-profile" && row.label.alpha > 0.0 {
            let wobble = (row.seed as f64 - 1.0) * 1e-5;
            alter(row, Measure::AccuracyAtSlo, |share| share - 0.02 + wobble);
        }
    });
    pliant(folder.path()).args(CHECK).assert().code(1).stderr_eq("").stdout_eq(str![[r"
experiment against results/experiment/metrics.csv: 1 worse, 0 better, 35 within tolerance (35 of them equal under every seed)
...
 worse   elastic-profile   0.25   bench (large)   accuracy_at_slo   [..]   -2.0 points (-2.0 – -2.0)   p [..], 3 seeds paired, 180 requests 
...
smallest change for the worse of accuracy_at_slo found 80 times in 100: 0.50 points (median point), [..] points (worst), of 3 seeds paired; [..] points if both sides were 180 independent requests
...
"]]);
    let annotations = pliant(folder.path()).args(CHECK).args(["--format", "github"]);
    annotations.assert().code(1).stdout_eq(str![[r"
::error title=pliant check::experiment against results/experiment/metrics.csv: 1 worse[..]
::error file=results/experiment/metrics.csv,line=5,title=accuracy_at_slo worse::elastic-profile at α 0.25 on bench (large, tiny): accuracy_at_slo [..], -2.0 points [..]
to reproduce: pliant run experiment.toml --out fresh && pliant check fresh --baseline results/experiment/metrics.csv
to accept: pliant run experiment.toml --out results/experiment && git add results/experiment && git commit

"]]);
    let output = pliant(folder.path()).args(CHECK).arg("--json").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let worse = json["changes"].as_array().unwrap().iter().filter(|c| c["verdict"] == "worse");
    assert_eq!(worse.count(), 1);
}

/// Every accuracy moves by up to 3 points to either side from seed to seed.
#[test]
fn planted_noise_passes() {
    let folder = baseline();
    replace(folder.path(), |row| {
        let side = [0.03, -0.02, -0.01][row.seed as usize % 3];
        alter(row, Measure::AccuracyAtSlo, |share| (share + side).clamp(0.0, 1.0));
    });
    pliant(folder.path()).args(CHECK).assert().code(0);
}

/// The program itself made worse: the phone takes twice as long for every token.
#[test]
fn a_slower_device_is_caught_through_a_whole_run() {
    let folder = baseline();
    let device = folder.path().join("bench/device.toml");
    let text = fs::read_to_string(&device).unwrap();
    let slower = text.replace("per_token = 20,", "per_token = 40,");
    assert_ne!(text, slower);
    fs::write(&device, slower).unwrap();
    run(folder.path(), "fresh");
    let output = pliant(folder.path()).args(CHECK).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("worse   full") && text.contains("ttft_ms_p50"), "{text}");
    assert!(text.contains("inputs that changed: bench/device.toml"), "{text}");
}

#[test]
fn other_seeds_are_compared_as_independent_samples() {
    let folder = baseline();
    let args = ["run", "experiment.toml", "--out", "fresh", "--seed", "100"];
    pliant(folder.path()).args(args).assert().success();
    let output = pliant(folder.path()).args(CHECK).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("of 3 seeds unpaired"), "{text}");
}

/// Asserts that the check of `fresh` is refused with `message`.
#[track_caller]
fn assert_refused(folder: &Path, message: &str) {
    let check = pliant(folder).args(CHECK).assert().code(2).stdout_eq("");
    check.stderr_eq(format!("pliant: {message}\n"));
}

/// The text of a file, packed or not.
fn text_of(path: &Path) -> String {
    String::from_utf8(read_by_name(path).unwrap()).unwrap()
}

/// Replaces `from` by `to`, once, in the file `name` of `fresh`.
fn edit(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join("fresh").join(name);
    let text = text_of(&path);
    assert!(text.contains(from), "{from} in {text}");
    write_by_name(&path, text.replacen(from, to, 1).as_bytes()).unwrap();
}

#[test]
fn files_that_are_missing_or_bad_are_named() {
    let folder = baseline();
    assert_refused(
        folder.path(),
        "fresh/metrics.csv: cannot read: No such file or directory (os error 2)",
    );
    replace(folder.path(), |_| {});
    edit(folder.path(), "seeds.csv.gz", "alpha,", "skew,");
    let output = pliant(folder.path()).args(CHECK).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let start = "pliant: fresh/seeds.csv.gz, line 1: unknown columns skew; allowed: method,alpha,";
    assert!(output.status.code() == Some(2) && message.starts_with(start), "{message}");
    replace(folder.path(), |row| row.values[Measure::Attainment] = Some(f64::NAN));
    assert_refused(
        folder.path(),
        "fresh/metrics.csv, line 2, column \"attainment\": out of range; found NaN; allowed: a \
         number from 0 to 1, or nothing",
    );
    replace(folder.path(), |_| {});
    fs::remove_file(folder.path().join("fresh/seeds.csv.gz")).unwrap();
    assert_refused(
        folder.path(),
        "fresh/seeds.csv.gz: cannot read: No such file or directory (os error 2)",
    );
}

#[test]
fn another_experiment_and_strange_seeds_are_refused_and_other_points_are_told() {
    let folder = baseline();
    replace(folder.path(), |_| {});
    edit(folder.path(), "manifest.toml", "experiment = \"experiment\"", "experiment = \"other\"");
    assert_refused(
        folder.path(),
        "fresh/manifest.toml, key \"experiment\": another experiment than the baseline's; found \
         \"other\"; allowed: \"experiment\", as in results/experiment/manifest.toml",
    );
    replace(folder.path(), |row| {
        if row.label.method == "oracle" {
            row.label.method = "clairvoyant".to_owned();
        }
    });
    assert_refused(
        folder.path(),
        "fresh/seeds.csv.gz, line 8: no such point in metrics.csv; found clairvoyant at α 0 on bench \
         (large, tiny)",
    );
    let metrics = fs::read_to_string(folder.path().join("fresh/metrics.csv")).unwrap();
    let kept = metrics.lines().filter(|line| !line.starts_with("oracle")).collect::<Vec<_>>();
    fs::write(folder.path().join("fresh/metrics.csv"), kept.join("\n") + "\n").unwrap();
    let path = folder.path().join("fresh/seeds.csv.gz");
    let seeds = text_of(&path);
    let seeds = seeds.lines().filter(|line| !line.starts_with("clair")).collect::<Vec<_>>();
    write_by_name(&path, (seeds.join("\n") + "\n").as_bytes()).unwrap();
    let fewer = pliant(folder.path()).args(CHECK).assert().code(0);
    let text = String::from_utf8(fewer.get_output().stdout.clone()).unwrap();
    let removed =
        "removed, not compared: 2 points: oracle at α 0 on bench (large, tiny), oracle at";
    assert!(text.contains(removed), "{text}");
    let empty = metrics.lines().next().unwrap_or_default().to_owned() + "\n";
    fs::write(folder.path().join("fresh/metrics.csv"), empty).unwrap();
    assert_refused(
        folder.path(),
        "fresh/metrics.csv: has no rows, so that nothing could be compared",
    );
    replace(folder.path(), |_| {});
    fs::copy(
        folder.path().join("results/experiment/metrics.csv"),
        folder.path().join("fresh/metrics.csv"),
    )
    .unwrap();
    edit(folder.path(), "seeds.csv.gz", ",tiny,1,", ",tiny,0,");
    assert_refused(
        folder.path(),
        "fresh/seeds.csv.gz, line 3: seed appears twice; found seed 0 of elastic-profile at α 0 on \
         bench (large, tiny)",
    );
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"];
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(identity)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The baseline is what a commit holds, whatever the working tree has by now.
#[test]
fn a_baseline_is_read_from_a_commit_and_what_git_lacks_is_named() {
    let folder = baseline();
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "results"]);
    git(folder.path(), &["commit", "--quiet", "-m", "baseline"]);
    git(folder.path(), &["tag", "before"]);
    run(folder.path(), "fresh");
    fs::write(folder.path().join("results/experiment/metrics.csv"), "no longer\n").unwrap();
    let check = |baseline: &str| {
        pliant(folder.path()).args(["check", "fresh", "--baseline", baseline]).assert()
    };
    let output = check("git:before").code(0).get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    let start =
        "experiment against git:before:results/experiment/metrics.csv: 0 worse, 0 better, 36";
    assert!(text.starts_with(start), "{text}");
    check("git:HEAD:results/experiment").code(0);
    check("git:after").code(2).stderr_eq(str![[r"
pliant: --baseline: no such commit; found git:after; allowed: a commit, branch or tag that this clone has; a shallow one gets it by `git fetch --depth 1 origin REF`

"]]);
    check("git:before:elsewhere").code(2).stderr_eq(str![[r"
pliant: --baseline: path 'elsewhere/metrics.csv' does not exist in 'before'; found git:before:elsewhere/metrics.csv

"]]);
}

/// The phone takes twice as long for every token: the outcomes that are kept say whose.
#[test]
fn a_fall_is_explained_by_app_and_dataset_where_outcomes_are_kept() {
    let folder = baseline();
    let device = folder.path().join("bench/device.toml");
    let text = fs::read_to_string(&device).unwrap();
    fs::write(&device, text.replace("per_token = 20,", "per_token = 40,")).unwrap();
    run(folder.path(), "fresh");
    let is_explained = |arguments: &[&str]| {
        let output = pliant(folder.path()).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let known = text.contains(", by app: ") && text.contains("; by dataset: ");
        assert_eq!(known, !text.contains("others where both sides keep outcomes/"), "{text}");
        known
    };
    assert!(is_explained(&CHECK));

    // A commit may keep the outcomes, or the working tree those of the very run.
    let outcomes = folder.path().join("results/experiment/outcomes");
    let at = |tag: &str| is_explained(&["check", "fresh", "--baseline", &format!("git:{tag}")]);
    git(folder.path(), &["init", "--quiet"]);
    for (tag, paths) in [("bare", ":(glob)results/experiment/*"), ("kept", "results")] {
        git(folder.path(), &["add", paths]);
        git(folder.path(), &["commit", "--quiet", "-m", tag]);
        git(folder.path(), &["tag", tag]);
    }
    assert!(at("bare"));
    fs::remove_dir_all(&outcomes).unwrap();
    assert!(at("kept") && !at("bare"));
    fs::rename(folder.path().join("fresh/outcomes"), &outcomes).unwrap();
    run(folder.path(), "fresh");
    assert!(!at("bare"), "outcomes of another run explain nothing");
}

/// Two points less, all of one app, whose requests are of one dataset: the tables of both runs tell,
/// one of them in a commit that keeps no outcomes.
#[test]
fn a_fall_of_accuracy_is_explained_by_app_and_dataset_from_the_tables_alone() {
    let folder = baseline();
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", ":(glob)results/experiment/*"]);
    git(folder.path(), &["commit", "--quiet", "-m", "baseline"]);
    let is_worse = |label: &CellLabel| {
        label.method == "elastic-profile" && label.alpha.total_cmp(&0.0).is_eq()
    };
    replace(folder.path(), |row| {
        if is_worse(&row.label) {
            let wobble = (row.seed as f64 - 1.0) * 1e-5;
            alter(row, Measure::AccuracyAtSlo, |share| share - 0.02 + wobble);
        }
    });
    let metrics = folder.path().join("fresh/metrics.csv");
    let committed = folder.path().join("results/experiment/metrics.csv");
    let mut rows = read_metrics_csv(&metrics).unwrap();
    for (row, old) in rows.iter_mut().zip(read_metrics_csv(&committed).unwrap()) {
        row.by_class = old.by_class;
        for class in [Class::App("XiaoAi".to_owned()), Class::Dataset("sciq".to_owned())] {
            let answers = row.by_class.get_mut(&class).unwrap();
            answers.right_in_time -= if is_worse(&row.label) { 3.6 } else { 0.0 };
        }
    }
    write_metrics_csv(&metrics, &rows).unwrap();
    fs::remove_dir_all(folder.path().join("results/experiment/outcomes")).unwrap();
    let args = ["check", "fresh", "--baseline", "git:HEAD"];
    let check = || pliant(folder.path()).args(args).assert().code(1);
    check().stdout_eq(str![[r"
...
elastic-profile at α 0 on bench (large, tiny): accuracy_at_slo, by app: XiaoAi [..] → [..] ([..] requests); by dataset: sciq [..] → [..] ([..] requests)
...
"]]);
    // The table of an older program does not tell.
    without_columns(&metrics, |column| column.contains("_app_") || column.contains("_dataset_"));
    check().stdout_eq(str![[r"
...
falls by app and dataset: those of accuracy_at_slo are told by metrics.csv, unless it is older, [..]
...
"]]);
}

/// Takes the columns `gone` out of a CSV file.
fn without_columns(path: &Path, gone: impl Fn(&str) -> bool) {
    let text = text_of(path);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let kept: Vec<usize> = (0..header.len()).filter(|&at| !gone(&header[at])).collect();
    assert!(kept.len() < header.len(), "{} has none of the columns", path.display());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(kept.iter().map(|&at| &header[at])).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        writer.write_record(kept.iter().map(|&at| &record[at])).unwrap();
    }
    write_by_name(path, &writer.into_inner().unwrap()).unwrap();
}

/// Seeds of an older program have no fallbacks, which its means have, and neither has a p99; and
/// they are not packed.
#[test]
fn a_baseline_from_before_measures_were_added_is_compared_in_the_others() {
    let folder = baseline();
    run(folder.path(), "fresh");
    let older = folder.path().join("results/experiment");
    without_columns(&older.join("seeds.csv.gz"), |name| {
        name == "fallbacks" || name.ends_with("p99")
    });
    fs::write(older.join("seeds.csv"), text_of(&older.join("seeds.csv.gz"))).unwrap();
    fs::remove_file(older.join("seeds.csv.gz")).unwrap();
    without_columns(&older.join("metrics.csv"), |name| name.contains("p99"));
    let gate = "[points]\naccuracy = 1\n[percent]\nttft_ms_p99 = 5\n";
    fs::write(folder.path().join("gate.toml"), gate).unwrap();
    let check = pliant(folder.path()).args(CHECK).args(["--tolerances", "gate.toml"]);
    let text = String::from_utf8(check.assert().code(0).get_output().stdout.clone()).unwrap();
    assert!(text.contains("0 worse, 0 better, 6 within tolerance"), "{text}");
    assert!(text.contains("on one side alone, not compared: ttft_ms_p99\n"), "{text}");
}

#[test]
fn every_committed_folder_can_be_a_baseline() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    for entry in fs::read_dir(results).unwrap() {
        let metrics = entry.unwrap().path().join("metrics.csv");
        let lines = fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        if lines > 1 {
            RunResults::load(&metrics).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn means_that_are_not_those_of_the_seeds_are_refused() {
    let folder = baseline();
    replace(folder.path(), |_| {});
    let path = folder.path().join("fresh/metrics.csv");
    let mut rows = read_metrics_csv(&path).unwrap();
    rows[1].values[Measure::Attainment].mean = Some(0.125);
    write_metrics_csv(&path, &rows).unwrap();
    let output = pliant(folder.path()).args(CHECK).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    let start = "pliant: fresh/metrics.csv, line 3, column \"attainment\": not the mean of its seeds; \
        found 0.125; allowed: ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.ends_with(", from fresh/seeds.csv.gz\n"), "{message}");
}

#[test]
fn a_tolerances_file_with_a_stray_key_is_refused() {
    let folder = baseline();
    replace(folder.path(), |_| {});
    fs::write(folder.path().join("gate.toml"), "[points]\naccuracy_at_slo = 1\nspeed = 2\n")
        .unwrap();
    let check = pliant(folder.path()).args(CHECK).args(["--tolerances", "gate.toml"]);
    check.assert().code(2).stdout_eq("").stderr_eq(str![[r"
pliant: gate.toml, line [..]: unknown measure `speed`, expected one of accuracy, accuracy_at_slo, [..]

"]]);
}

/// The arguments of every line of a workflow that calls `pliant`.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- run: "));
    let calls = lines.filter_map(|line| line.strip_prefix("pliant "));
    let arguments = calls.map(|call| {
        let words = call.split_whitespace();
        words.take_while(|word| ![">", ">>", "||"].contains(word)).collect()
    });
    arguments.collect()
}

/// The bench's experiment stands in for the one that the workflow names.
#[test]
fn every_command_of_the_workflow_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let tolerances = "docs/ci/tolerances.toml";
    fs::create_dir_all(folder.path().join("docs/ci")).unwrap();
    fs::copy(root.join(tolerances), folder.path().join(tolerances)).unwrap();
    let experiment = "experiments/paper-e2e.toml";
    fs::create_dir(folder.path().join("experiments")).unwrap();
    fs::rename(folder.path().join("experiment.toml"), folder.path().join(experiment)).unwrap();
    pliant(folder.path()).args(["run", experiment]).assert().success();
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "results"]);
    git(folder.path(), &["commit", "--quiet", "-m", "baseline"]);
    git(folder.path(), &["update-ref", "refs/remotes/origin/base", "HEAD"]);
    let workflow = fs::read_to_string(root.join("docs/ci/curves.yml")).unwrap();
    let commands = commands(&workflow);
    assert_eq!(commands.len(), 4);
    for arguments in commands {
        pliant(folder.path()).args(arguments).assert().code(0);
    }
}
