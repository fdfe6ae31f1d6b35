//! What a result says of its making: the day, the code, the command.

use std::process::Command;

/// Today in UTC, `YYYY-MM-DD`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a measurement records its day")]
pub fn today() -> String {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now());
    now.map_or_else(|_| "unknown".to_owned(), |now| now.strftime("%F").to_string())
}

/// A commit of the sources this program was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its full name, in hexadecimal.
    pub id: String,
    /// Whether sources differ from it. Data and results may: they change as they are measured.
    pub sources_modified: bool,
}

impl Commit {
    /// The commit checked out where this program was built; `None` outside a checkout.
    #[must_use]
    pub fn current() -> Option<Self> {
        let changes = git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"])?;
        Some(Self { id: git(&["rev-parse", "HEAD"])?, sources_modified: !changes.is_empty() })
    }
}

/// [`Commit::current`] in short: 12 digits, `-dirty` where sources differ; `unknown` without one.
#[must_use]
pub fn commit() -> String {
    Commit::current().map_or_else(
        || "unknown".to_owned(),
        |commit| {
            let mark = if commit.sources_modified { "-dirty" } else { "" };
            format!("{}{mark}", &commit.id[..12])
        },
    )
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The command line of this process, without the program's path.
#[must_use]
pub fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("pliant {}", arguments.join(" "))
}
