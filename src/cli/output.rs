//! Standard output: where results go. Progress and errors go to standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use pliant::{Error, Result};

/// Prints one line, or a text of several.
///
/// A reader that has read enough and gone (`pliant … | head`) is no error. Why not `println!`?
/// It panics then, and on a full disk.
///
/// # Errors
/// If standard output is a file that cannot be written.
pub fn print_line(text: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new("standard output", "cannot be written").caused_by(error))
        }
        _ => Ok(()),
    }
}
