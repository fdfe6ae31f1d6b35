//! Inputs however they come, and outputs that cannot be written: pipes, packed files, full devices,
//! names that are commands, and files made to exhaust the machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use pliant::digest::sha256;
use pliant::trace::Trace;

use crate::bench_files;
use crate::support::{pliant, write_lengths};

const TRACE: &str = "id,arrival_ms,app,dataset,item,prompt_tokens,output_tokens,ttft_ratio,tpot_ratio\n\
    0,1,GMail,piqa,1,10,16,0.8,0.9\n1,391,GMail,piqa,2,12,16,0.8,0.9\n";

const CALLS: &str = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,104,10\n2.0,205,30\n";

/// A folder with a trace, calls of another project and items to draw for them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let datasets = ["arc-easy", "openbookqa", "piqa", "sciq"];
    write_lengths(folder.path(), datasets.map(|dataset| (dataset, 100)));
    fs::write(folder.path().join("trace.csv"), TRACE).unwrap();
    fs::write(folder.path().join("calls.csv"), CALLS).unwrap();
    folder
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ')
}

const IMPORT: &str = "--format vidur --items structured.tokens.csv --out out.csv";

/// The hash of the imported file that the header of `out.csv` names.
#[track_caller]
fn assert_imported_from(folder: &Path, name: &str, bytes: &[u8]) {
    let trace = Trace::read(&folder.join("out.csv")).unwrap();
    let said = format!("from {name} (vidur, sha256 {})", sha256(bytes));
    assert!(trace.provenance[0].ends_with(&said), "{:?}", trace.provenance);
    assert_eq!(trace.requests.len(), 2);
}

#[test]
fn standard_input_is_a_file_like_others() {
    let folder = folder();
    let run =
        |line: &str, input: &str| pliant(folder.path()).args(words(line)).stdin(input).assert();
    run("trace show -", TRACE).success().stdout_eq(snapbox::str![[r"
requests       2
span           390 ms
mean gap       390 ms
...
"]]);
    run(&format!("trace import - {IMPORT}"), CALLS).success();
    assert_imported_from(folder.path(), "standard input", CALLS.as_bytes());
}

#[test]
fn standard_input_is_in_the_place_of_one_file() {
    let folder = folder();
    let items = fs::read(folder.path().join("structured.tokens.csv")).unwrap();
    let line = "trace synth --items - --requests 8 --out -";
    let made = pliant(folder.path()).args(words(line)).stdin(items).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let line = "trace import - --format vidur --items - --out out.csv";
    pliant(folder.path()).args(words(line)).stdin("").assert().code(2).stderr_eq(
        "pliant: standard input, line 1: no columns; found an empty file; allowed: [..]\n",
    );
}

/// An experiment from a pipe: its manifest names the bytes that were run.
#[test]
fn an_experiment_may_have_apps_of_its_own_and_come_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    bench_files::write(folder.path());
    let apps = "[[trace.apps]]\nname = \"Reader\"\nslo = { e2e_ms = 90000 }\ndatasets = [\"sciq\"]\n\
                weight = 3\n[[trace.apps]]\nname = \"Keys\"\ndatasets = [\"piqa\"]\n\
                slo = { ttft_ratio = 0.5, tpot_ratio = 0.5 }\n";
    let text = format!("{}{apps}", bench_files::EXPERIMENT);
    let run = pliant(folder.path()).args(["run", "-", "--out", "out"]).stdin(text.clone());
    let run = run.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let out = folder.path().join("out");
    let manifest = fs::read_to_string(out.join("manifest.toml")).unwrap();
    assert!(manifest.contains(&sha256(text.as_bytes())), "{manifest}");
    let outcomes = walk(&out.join("outcomes"));
    assert_eq!(outcomes.len(), 18, "three methods, two skews, three seeds");
    for rows in outcomes {
        let of = |app: &str| rows.matches(app).count();
        assert_eq!(of(",Reader,sciq,") + of(",Keys,piqa,"), 60);
        assert!(of(",Reader,sciq,") >= 45, "three in four without skew");
    }
}

/// The texts of all files below `folder`.
fn walk(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(walk(&path));
        } else {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}

/// A pipe can be read once; what is hashed is what was read.
#[test]
#[cfg(unix)]
fn a_named_pipe_is_opened_once() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    let Ok(made) = Command::new("mkfifo").arg(&fifo).status() else {
        return crate::support::skipped("mkfifo");
    };
    assert!(made.success());
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || fs::write(fifo, CALLS).unwrap())
    };
    let line = format!("trace import fifo {IMPORT}");
    pliant(folder.path()).args(words(&line)).assert().success();
    writer.join().unwrap();
    assert_imported_from(folder.path(), "fifo", CALLS.as_bytes());
    assert!(fs::metadata(&fifo).is_ok(), "and is left where it is");
}

#[test]
fn packed_files_are_known_by_their_first_bytes() {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let folder = folder();
    let path = folder.path().join("packed");
    let zstd = compress_to_vec(CALLS.as_bytes(), CompressionLevel::Fastest);
    let import = format!("trace import packed {IMPORT}");
    fs::write(&path, &zstd).unwrap();
    pliant(folder.path()).args(words(&import)).assert().success();
    assert_imported_from(folder.path(), "packed", &zstd);

    pliant(folder.path())
        .args(words("trace import trace.csv --format native --out twice.csv.gz"))
        .assert()
        .success();
    let packed = fs::read(folder.path().join("twice.csv.gz")).unwrap();
    assert!(packed.starts_with(&[0x1f, 0x8b]));
    pliant(folder.path()).args(words("trace show twice.csv.gz")).assert().success();

    for bytes in [&packed[..20], &zstd[..20]] {
        fs::write(&path, bytes).unwrap();
        let refused = pliant(folder.path()).args(words("trace show packed")).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.starts_with("pliant: packed: cannot read: "), "{said}");
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::hard_link(path("calls.csv"), path("hard.csv")).unwrap();
    let mut names = vec!["calls.csv", "./calls.csv", "hard.csv", "structured.tokens.csv"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("calls.csv", path("soft.csv")).unwrap();
        names.push("soft.csv");
    }
    let items = fs::read(path("structured.tokens.csv")).unwrap();
    for out in names {
        let line = format!("trace import calls.csv {}", IMPORT.replace("out.csv", out));
        let refused = pliant(folder.path()).args(words(&line)).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{out}: {said}");
        assert!(said.starts_with("pliant: --out: is the file that is read; found "), "{said}");
    }
    assert_eq!(fs::read_to_string(path("calls.csv")).unwrap(), CALLS);
    assert_eq!(fs::read(path("structured.tokens.csv")).unwrap(), items);
    let export = "trace export trace.csv --format mooncake --out trace.csv";
    pliant(folder.path()).args(words(export)).assert().code(2);
    assert_eq!(fs::read_to_string(path("trace.csv")).unwrap(), TRACE);
}

#[test]
fn a_trace_may_go_to_standard_output() {
    let folder = folder();
    let output = pliant(folder.path())
        .args(words("trace import trace.csv --format native --out -"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with(TRACE), "{text}");
    assert!(output.stderr.is_empty() && !folder.path().join("-").exists());
}

/// The program with `folder` as its own, to give it streams that snapbox does not.
fn bare(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pliant"));
    command.current_dir(folder).args(words(line)).stdin(Stdio::null());
    command
}

/// Nothing that prints panics, whoever reads it.
#[test]
#[cfg(unix)]
fn a_reader_that_has_gone_ends_a_command_quietly_and_keeps_its_exit_code() {
    let folder = folder();
    for (line, code) in [
        ("trace show trace.csv", 0),
        ("trace apps", 0),
        ("policy list", 0),
        ("completions bash", 0),
        ("man", 0),
        ("--help", 0),
        ("--version", 0),
        ("trace show absent.csv", 2),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bare(folder.path(), line).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(code == 2 || said.is_empty(), "{line}: {said}");
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_device_is_an_error_on_either_stream() {
    let folder = folder();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for line in
        ["trace show trace.csv", "policy list", "man", "completions zsh", "--help", "--version"]
    {
        let output = bare(folder.path(), line).stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert_eq!(
            said,
            "pliant: standard output: cannot be written: No space left on device (os error 28)\n",
            "{line}"
        );
    }
    for line in ["trace show absent.csv", "nonsense"] {
        let output = bare(folder.path(), line).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
    let warned = format!("trace import calls.csv {IMPORT}").replace("calls", "late");
    let late = format!("{CALLS}1.0,5,5\n");
    fs::write(folder.path().join("late.csv"), late).unwrap();
    let output = bare(folder.path(), &warned).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a warning that nobody can read");
}

/// A title, a colour and text that runs backwards.
#[test]
fn names_cannot_command_a_terminal() {
    let folder = folder();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[31m\u{202e}app\u{9b}2J";
    let text = TRACE.replacen("GMail", hostile, 1);
    fs::write(folder.path().join("hostile.csv"), &text).unwrap();
    fs::write(folder.path().join("bad.csv"), text.replacen("0.8", hostile, 1)).unwrap();
    for line in ["trace show hostile.csv", "trace show --json hostile.csv", "trace show bad.csv"] {
        let output = pliant(folder.path()).args(words(line)).output().unwrap();
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            let is_command = |c: &char| c.is_control() && *c != '\n' || *c == '\u{202e}';
            assert_eq!(text.chars().find(is_command), None, "{line}: {text:?}");
        }
    }
    let output = pliant(folder.path()).args(["trace", "show", "--json", "hostile.csv"]).output();
    let summary: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(summary["groups"][0]["app"], hostile, "JSON keeps the name");
    let output = pliant(folder.path()).arg(hostile).output().unwrap();
    assert!(!output.stderr.contains(&0x1b), "nor does what is typed");
}

/// One row of 200,000 commas among 5000 others once took 11 GB: each later row kept its room.
#[test]
fn a_row_of_commas_is_refused_and_costs_nothing() {
    let folder = folder();
    let wide = ",".repeat(200_000);
    let (head, rows) = TRACE.split_once('\n').unwrap();
    let rows = rows.repeat(5000);
    for (name, text) in [
        ("trace.csv", format!("{head}\n{wide}\n{rows}")),
        ("header.csv", format!("{wide}\n{rows}")),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        let line = format!("trace show {name}");
        pliant(folder.path()).args(words(&line)).assert().code(2).stderr_eq(format!(
            "pliant: {name}, line {}: too many cells; found 200001; allowed: at most 10000\n",
            if name == "trace.csv" { 2 } else { 1 }
        ));
    }
    let items = folder.path().join("structured.tokens.csv");
    let (head, rows) = fs::read_to_string(&items)
        .map(|text| {
            let (head, rows) = text.split_once('\n').unwrap();
            (head.to_owned(), rows.repeat(50))
        })
        .unwrap();
    fs::write(&items, format!("{head}\n{wide}\n{rows}")).unwrap();
    let synth = "trace synth --items structured.tokens.csv --out out.csv";
    let refused = pliant(folder.path()).args(words(synth)).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("line 2: too many cells; found 200001"), "{said}");
}

#[test]
fn what_no_memory_holds_is_refused_at_once() {
    let folder = folder();
    let refused = |line: &str, message: &str| {
        let line = format!("trace synth --items structured.tokens.csv --out out.csv {line}");
        pliant(folder.path())
            .args(words(&line))
            .assert()
            .code(2)
            .stderr_eq(format!("pliant: {message}\n"));
    };
    refused(
        "--requests 4294967295",
        "trace synth, requests: out of range; found 4294967295; allowed: 1 to 10000000",
    );
    refused(
        "--output-tokens 4294967295",
        "trace synth, output_tokens: out of range; found 4294967295; allowed: 1 to 10000000",
    );
}

#[test]
fn public_data_that_failed_is_read() {
    let Some(faults) = crate::support::shared_data(Path::new("faults")) else { return };
    let folder = folder();
    for (name, format, said) in [
        ("az.csv.gz", "azure", ""),
        ("bg_emptytotal.csv", "burstgpt", ""),
        ("guidellm_seconds.jsonl", "mooncake", "--time-unit s"),
        ("mc_bom.jsonl", "mooncake", ""),
        ("mooncake_epoch_ms.jsonl", "mooncake", "times count from 1970"),
    ] {
        let output = pliant(folder.path())
            .args(["trace", "import"])
            .arg(faults.join(name))
            .args(words(&IMPORT.replace("vidur", format)))
            .output()
            .unwrap();
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && warnings.contains(said), "{name}: {warnings}");
        let trace = Trace::read(&folder.path().join("out.csv")).unwrap();
        let first = trace.requests[0].arrival.as_millis_f64();
        assert!(first < 1e9, "{name} starts at {first} ms");
    }
}
