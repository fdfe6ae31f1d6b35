//! Names of other people in texts of ours: what a reader of each form would take for a command.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` as a terminal may be given it: characters that move the cursor, change colours or turn
/// the direction of writing stand as `\u001b`; new lines and tabs remain.
///
/// Text without such characters is returned as it is. JSON stays JSON of the same value.
#[must_use]
pub fn terminal(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_command(character) {
            write!(safe, "\\u{:04x}", u32::from(character)).expect("a string can always grow");
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_command(character: char) -> bool {
    let turns_direction = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns_direction || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// `text` in a cell of a Markdown table, and shown as it is: on one line, neither HTML nor markup.
#[must_use]
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in terminal(text).chars() {
        match character {
            '\n' | '\t' => safe.push(' '),
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '|' | '*' | '`' | '[' | ']' | '\\' => safe.extend(['\\', character]),
            _ => safe.push(character),
        }
    }
    safe
}

/// `text` in an element or an attribute of HTML or SVG.
#[must_use]
pub fn html(text: &str) -> String {
    let text = terminal(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_shown_instead() {
        assert_eq!(terminal("a\tb\nc"), "a\tb\nc");
        assert!(matches!(terminal("µ ⟨ζ⟩"), Cow::Borrowed(_)));
        assert_eq!(terminal("\u{1b}[2Jgone\r"), "\\u001b[2Jgone\\u000d");
        assert_eq!(terminal("\u{9b}31m\u{7f}"), "\\u009b31m\\u007f");
        assert_eq!(terminal("abc\u{202e}vsc"), "abc\\u202evsc");
    }

    #[test]
    fn json_keeps_its_value() {
        let name = "\u{1b}]0;x\u{7}\u{9b}\u{2066}";
        let json = serde_json::to_string(name).unwrap();
        assert_eq!(serde_json::from_str::<String>(&terminal(&json)).unwrap(), name);
    }

    #[test]
    fn markdown_keeps_a_name_in_its_cell() {
        assert_eq!(markdown("a|b\nc"), "a\\|b c");
        assert_eq!(markdown("<img src=x> & [b](c)"), "&lt;img src=x&gt; &amp; \\[b\\](c)");
        assert_eq!(markdown("layer-removal_2 (x)"), "layer-removal_2 (x)");
    }

    #[test]
    fn html_shows_the_name() {
        assert_eq!(html("<b class=\"x\"> & c"), "&lt;b class=&quot;x&quot;&gt; &amp; c");
    }
}
