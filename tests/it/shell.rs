//! Completions and manual pages, made from the arguments.

use std::fs;

use crate::support::pliant;

#[test]
fn completions_are_made_for_each_shell_and_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = pliant(folder.path()).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for command in ["run", "sweep", "peak", "trace", "report", "check", "policy", "assets"] {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
    pliant(folder.path()).args(["completions", "tcsh"]).assert().code(2);
}

#[test]
#[cfg(unix)]
fn bash_reads_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    let script = pliant(folder.path()).args(["completions", "bash"]).output().unwrap().stdout;
    let path = folder.path().join("pliant.bash");
    fs::write(&path, script).unwrap();
    let Ok(status) = std::process::Command::new("bash").arg("-n").arg(&path).status() else {
        return crate::support::skipped("bash");
    };
    assert!(status.success());
}

#[test]
fn a_manual_page_is_printed_or_one_written_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let page = pliant(folder.path()).arg("man").output().unwrap().stdout;
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(".TH pliant 1") && page.contains("pliant\\-sweep"), "{page}");
    pliant(folder.path()).args(["man", "--out", "man"]).assert().success().stderr_eq("");
    for name in ["pliant.1", "pliant-peak.1", "pliant-trace-synth.1"] {
        let page = fs::read_to_string(folder.path().join("man").join(name)).unwrap();
        assert!(page.contains("SYNOPSIS"), "{name}");
    }
    let peak = fs::read_to_string(folder.path().join("man/pliant-peak.1")).unwrap();
    assert!(peak.contains("attainment") && peak.contains("pliant peak"), "{peak}");
}
