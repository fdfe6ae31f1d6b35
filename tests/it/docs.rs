//! Every command of the README and of docs/ is tried: run where it is cheap, parsed by the program
//! where it is not. One that no rule below names fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{pliant, python, skipped};

/// What is done about a command that starts like this; the longest start counts.
const RULES: [(&str, How); 44] = [
    ("make ", How::Target),
    ("cargo build", How::Leave("builds what the test runs")),
    ("cargo install", How::Leave("installs what the test runs")),
    ("pip install ./python", How::Leave("builds for minutes; `make test-python` does it")),
    ("python -m pliant.ray", How::Leave("is run by a test of the Python package")),
    ("snakemake ", How::Leave("is run by another of them")),
    ("cp ", How::Shell),
    ("pliant run --demo", How::Run),
    ("pliant run experiments/real-e2e.toml", How::Parse("runs the real model on an idle machine")),
    ("pliant check target/mine", How::Run),
    ("pliant check target/curves --baseline git:", How::Parse("needs a commit to compare with")),
    ("cargo run --release --example", How::Leave("is run by tests of its own")),
    ("pliant run experiments/", How::Run),
    ("pliant run own.toml", How::Leave("is run by a test of its own")),
    ("pliant run cut.toml", How::Leave("is run by the same test")),
    ("pliant run experiments/own-policy.toml", How::Python),
    ("pliant sweep experiments/", How::Run),
    ("pliant peak experiments/", How::Run),
    ("pliant report results/", How::Run),
    ("pliant check target/curves", How::Run),
    ("pliant trace synth", How::Run),
    ("pliant trace show", How::Run),
    ("pliant trace import", How::Run),
    ("pliant trace export", How::Run),
    ("pliant plan", How::Run),
    ("pliant merge", How::Run),
    ("pliant device import", How::Parse("reads a benchmark of the reader's")),
    ("pliant policy list", How::Run),
    ("pliant policy describe", How::Run),
    ("pliant policy explain results/own-policy", How::Python),
    ("pliant completions", How::Run),
    ("pliant man", How::Run),
    ("pliant assets list", How::Run),
    ("pliant assets fetch", How::Parse("fetches some 340 MB")),
    ("pliant elastify", How::Engine("measures or trains with the real model")),
    ("pliant profile", How::Engine("measures this machine")),
    ("pliant ask", How::Engine("answers with the real model")),
    ("cargo run --release --features engine,serve", How::Leave("is what tests start, and stays")),
    ("pliant serve", How::Leave("is served to clients by tests of its own")),
    ("pliant load", How::Leave("is played against a server by a test of its own")),
    ("pliant serve-load", How::Leave("takes minutes; a short one is a test of its own")),
    ("pliant run day.toml", How::Leave("is run by one of them")),
    ("curl ", How::Leave("is run by one of them")),
    ("git ", How::Leave("changes the reader's own repository")),
];

#[derive(Debug, Clone, Copy)]
enum How {
    /// Run in a copy of the repository's files; it must succeed.
    Run,
    /// The same, where there is a Python.
    Python,
    /// Run by a shell there.
    Shell,
    /// Only parsed, because it …
    Parse(&'static str),
    /// Only parsed, and only by a program built with the engine, because it …
    Engine(&'static str),
    /// A target that the Makefile must have.
    Target,
    /// Not looked at, because it …
    Leave(&'static str),
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of the `sh` blocks of a Markdown text, continued lines joined, without comments.
fn commands(markdown: &str) -> Vec<String> {
    let (mut commands, mut inside, mut pending) = (Vec::new(), false, String::new());
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside && line.trim() == "```sh";
            continue;
        }
        if !inside {
            continue;
        }
        let command = line.split(" #").next().unwrap_or_default().trim();
        match command.strip_suffix('\\') {
            Some(start) => pending += start,
            None if command.is_empty() || command.starts_with('#') => {}
            None => commands.push(std::mem::take(&mut pending) + command),
        }
    }
    commands.into_iter().map(|command| command.replace("target/release/pliant", "pliant")).collect()
}

/// The README and every page of docs/, by name, with its commands.
fn pages() -> BTreeMap<String, Vec<String>> {
    let mut files = vec![root().join("README.md")];
    let entries = fs::read_dir(root().join("docs")).unwrap();
    files.extend(entries.map(|entry| entry.unwrap().path()));
    files.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    let page = |path: PathBuf| (name(&path), commands(&fs::read_to_string(&path).unwrap()));
    files.into_iter().map(page).collect()
}

fn rule(command: &str) -> Option<How> {
    let fits = RULES.iter().filter(|(start, _)| command.starts_with(start));
    fits.max_by_key(|(start, _)| start.len()).map(|(_, how)| *how)
}

/// What commands of the pages take for granted: the repository's inputs, experiments made small,
/// one results folder, and files of the reader.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for name in ["device-profiles", "traces", "docs", "examples", "experiments"] {
        copy(&root().join(name), &place(name));
    }
    for entry in fs::read_dir(place("experiments")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let small = text.replace("seeds = 20", "seeds = 2");
        fs::write(&path, small.replace("requests = 600", "requests = 24")).unwrap();
    }
    fs::copy(place("experiments/paper-e2e.toml"), place("experiments/mine.toml")).unwrap();
    let calls = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                 2023-11-16 18:01:51.1632340,374,44\n2023-11-16 18:01:52.3000000,396,109\n";
    fs::write(place("AzureLLMInferenceTrace_conv.csv"), calls).unwrap();
    let lengths = "quality/smollm2-135m-instruct/structured.tokens.csv";
    let lengths = root().join("device-profiles").join(lengths);
    fs::copy(lengths, place("structured.tokens.csv")).unwrap();
    pliant(folder.path()).args(["run", "experiments/paper-e2e.toml"]).assert().success();
    folder
}

/// Files small enough to matter, folders and all.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// What is wrong with `command`, if anything.
fn attempt(command: &str, folder: &Path) -> Option<String> {
    let words = command.split_whitespace().skip(1);
    let arguments: Vec<&str> = words.take_while(|word| ![">", "<"].contains(word)).collect();
    let report = |output: std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then_some(said)
    };
    let parse = || {
        let parsed = pliant(folder).args(&arguments).arg("--help").output().unwrap();
        report(parsed).or_else(|| missing_file(&arguments))
    };
    match rule(command) {
        None => Some("no rule says whether it can be run".to_owned()),
        Some(How::Python) if !python() => None,
        Some(How::Run | How::Python) => {
            let cache = folder.join("cache");
            report(pliant(folder).args(&arguments).env("PLIANT_CACHE", cache).output().unwrap())
        }
        Some(How::Shell) => {
            let mut shell = std::process::Command::new("sh");
            report(shell.arg("-c").arg(command).current_dir(folder).output().unwrap())
        }
        Some(How::Engine(_)) if !cfg!(feature = "engine") => {
            skipped(&format!("feature engine, to parse `{command}`"));
            None
        }
        Some(How::Parse(why) | How::Engine(why)) => {
            said(&format!("parsed, not run: `{command}` {why}"));
            parse()
        }
        Some(How::Target) => {
            let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
            let known = |target: &&&str| makefile.contains(&format!(".PHONY: {target}\n"));
            let unknown = arguments.iter().find(|target| !known(target));
            unknown.map(|target| format!("the Makefile has no target {target}"))
        }
        Some(How::Leave(why)) => {
            said(&format!("not tried: `{command}` {why}"));
            None
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a failed test shows of what it left out")]
fn said(line: &str) {
    println!("{line}");
}

/// The first argument that names a file of the repository which is not there.
fn missing_file(arguments: &[&str]) -> Option<String> {
    let ours = |argument: &&&str| {
        let own = ["experiments/", "device-profiles/", "docs/", "examples/", "results/"];
        let is_the_readers = argument.contains("mine") || argument.contains("/my-");
        own.iter().any(|folder| argument.starts_with(folder)) && !is_the_readers
    };
    let missing = arguments.iter().filter(ours).find(|path| !root().join(path).exists());
    missing.map(|path| format!("{path} is not there"))
}

#[test]
fn every_command_of_the_readme_and_the_docs_works() {
    let folder = workplace();
    let mut failures = Vec::new();
    let mut count = 0;
    for (page, commands) in pages() {
        for command in commands {
            count += 1;
            if let Some(problem) = attempt(&command, folder.path()) {
                failures.push(format!("{page}: `{command}`\n{problem}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 30, "{count} commands were found");
}

#[test]
fn every_figure_of_the_index_has_its_files() {
    let index = fs::read_to_string(root().join("docs/figures.md")).unwrap();
    let links = index.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files: Vec<_> = links.map(|(path, _)| path).filter(|path| !path.contains("://")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let file = file.split('#').next().unwrap_or_default();
        assert!(root().join("docs").join(file).exists(), "docs/figures.md links to {file}");
    }
}

#[test]
fn commands_are_found_in_shell_blocks_only_and_joined() {
    let page = "a `pliant x`\n```sh\npliant run \\\n  a.toml   # note\n\n# alone\nmake test\n```\n\
                ```toml\npliant = 1\n```\n";
    assert_eq!(commands(page), ["pliant run a.toml", "make test"]);
}

/// The files of a page: blocks whose first line names one after the language.
fn files_of(page: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((_, name)) = line.strip_prefix("```").and_then(|info| info.split_once(' ')) else {
            continue;
        };
        let text = lines.by_ref().take_while(|line| *line != "```");
        files.insert(name.to_owned(), text.flat_map(|line| [line, "\n"]).collect());
    }
    files
}

#[test]
fn a_model_measured_elsewhere_is_compared_as_its_page_says() {
    let page = fs::read_to_string(root().join("docs/own-measurements.md")).unwrap();
    let (folder, files) = (tempfile::tempdir().unwrap(), files_of(&page));
    assert_eq!(files.len(), 8, "{:?}", files.keys());
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for command in commands(&page) {
        let arguments = command.split_whitespace().skip(1);
        pliant(folder.path()).args(arguments).assert().success();
    }
    let columns = ["method", "accuracy", "attainment"];
    let shown = |file: &str, columns: &[&str]| -> Vec<String> {
        let mut rows = csv::Reader::from_path(folder.path().join(file)).unwrap();
        let rows = rows.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
        rows.map(|row| columns.iter().map(|&column| &*row[column]).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let whole = ["elastic-profile 0.5625 1.0", "full 0.875 0.5"];
    assert_eq!(shown("results/metrics.csv", &columns), whole);
    let cut = ["elastic-profile 0.75 1.0", "full 0.8333333333333334 0.0"];
    assert_eq!(shown("cut-results/metrics.csv", &columns), cut);
    let plan = ["prompt_ratio", "kept_tokens"];
    let third = ["0.333 34", "0.333 34", "0.333 67"];
    let runs = "cut-results/outcomes/elastic-profile";
    assert_eq!(shown(&format!("{runs}/phone_my-llm_my-llm_alpha0_seed0.csv"), &plan), third);
}

/// The tutorials are followed by hand, one after the other: commands typed, lines pasted where they say.
#[test]
fn the_tutorials_lead_a_new_reader_to_results_of_their_own() {
    if !python() {
        return skipped("a Python, to follow the tutorial for policies");
    }
    let folder = workplace();
    let page = |name: &str| fs::read_to_string(root().join("docs").join(name)).unwrap();
    let follow = |page: &str, starts: &[&str]| {
        for command in commands(page) {
            if starts.iter().any(|start| command.starts_with(start)) {
                assert_eq!(attempt(&command, folder.path()), None, "{command}");
            }
        }
    };
    let mine = folder.path().join("experiments/mine.toml");
    let methods = || {
        let metrics = fs::read(folder.path().join("results/mine/metrics.csv")).unwrap();
        let mut rows = csv::Reader::from_reader(&metrics[..]);
        let rows = rows.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
        rows.map(|row| row["method"].clone()).collect::<Vec<_>>()
    };

    let policy = page("tutorial-policy.md");
    follow(&policy, &["cp "]);
    let text = fs::read_to_string(&mine).unwrap();
    fs::write(&mine, text + "\n" + &files_of(&policy)["method"]).unwrap();
    follow(&policy, &["pliant run experiments/mine.toml"]);
    assert!(methods().contains(&"mine".to_owned()), "{:?}", methods());

    let researcher = page("tutorial-researcher.md");
    follow(&researcher, &["cp ", "pliant trace "]);
    let text = fs::read_to_string(&mine).unwrap().replace("answers = \"asked\"\n", "");
    let (before, rest) = text.split_once("[trace]\n").unwrap();
    let (_, after) = rest.split_once("\n[").unwrap();
    let trace = &files_of(&researcher)["trace"];
    fs::write(&mine, format!("{before}{trace}\n[{after}")).unwrap();
    fs::remove_dir_all(folder.path().join("results/mine")).unwrap();
    follow(&researcher, &["pliant run experiments/mine.toml"]);
    assert!(methods().contains(&"elastilm".to_owned()), "{:?}", methods());
}
