//! Names that people choose and that become parts of file names: of methods, devices and models.

use crate::error::Error;

/// Most bytes of a name: four of them and a seed fit the name of a file.
const BYTES_MAX: usize = 50;

/// Refuses `name` if no file can be called like it, on any system, with `error`, which says whose
/// name it is.
///
/// # Errors
/// As said.
pub fn check(name: &str, error: impl FnOnce() -> Error) -> Result<(), Error> {
    let is_edge = |edge: Option<char>| edge.is_none_or(|edge| edge == '.' || edge == ' ');
    let is_barred = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
    let is_good = name.len() <= BYTES_MAX
        && !is_edge(name.chars().next())
        && !is_edge(name.chars().next_back())
        && !name.contains(is_barred);
    if is_good {
        return Ok(());
    }
    Err(error().found(format!("{name:?}")).allowed(format!(
        "1 to {BYTES_MAX} characters that can name a file: no slash, backslash or any of : * ? \" \
         < > |, no dot or space at an end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(name: &str) -> bool {
        check(name, || Error::new("device", "name cannot be part of a file name")).is_ok()
    }

    #[test]
    fn names_that_every_system_can_give_a_file_are_allowed() {
        for name in
            ["my_laptop", "elastilm+margin", "phone, old", "Köln-7.1", "-x", &"a".repeat(50)]
        {
            assert!(is_allowed(name), "{name}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_that_some_system_refuses_are_not() {
        for name in ["", ".", "..", ".a", "a.", " a", "a ", "a/b", "a\\b", "a|b", "a\u{1b}b", "<b>"]
        {
            assert!(!is_allowed(name), "{name}");
        }
        assert!(!is_allowed(&"a".repeat(51)));
    }
}
