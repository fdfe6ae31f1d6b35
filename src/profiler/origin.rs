//! What a measurement says of itself: the day, the code, the command.

use std::process::Command;

/// Today in UTC, `YYYY-MM-DD`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a measurement records its day")]
pub fn today() -> String {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now());
    now.map_or_else(|_| "unknown".to_owned(), |now| now.strftime("%F").to_string())
}

/// The commit checked out in the current folder, with `-dirty` where files differ from it;
/// `unknown` outside a checkout.
#[must_use]
pub fn commit() -> String {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

/// The command line of this process, without the program's path.
#[must_use]
pub fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("pliant {}", arguments.join(" "))
}
