//! Cuts a text into what can be left out of it: sentences, phrases, words.
//!
//! Spans are byte ranges without the white space around them, in order, none empty.

use std::ops::Range;

/// Ends after a full stop, question or exclamation mark that is followed by white space; a text of
/// several lines is a list, one entry a line, whatever marks are in it.
#[must_use]
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    if text.contains('\n') {
        let lines = text.split('\n').map(|line| offset(text, line));
        return lines.filter_map(|bytes| trimmed(text, bytes)).collect();
    }
    split_after(text, &['.', '?', '!'])
}

/// What stands between two sentences of `text` that are kept: a space, a line end in a list.
#[must_use]
pub fn between(text: &str) -> &'static str {
    if text.contains('\n') { "\n" } else { " " }
}

/// Ends also after a comma, semicolon, colon or dash that is followed by white space.
#[must_use]
pub fn phrases(text: &str) -> Vec<Range<usize>> {
    split_after(text, &['.', '?', '!', ',', ';', ':', '–', '—'])
}

/// Runs of other letters than white space.
#[must_use]
pub fn words(text: &str) -> Vec<Range<usize>> {
    text.split_whitespace().map(|word| offset(text, word)).collect()
}

/// The bytes of `text` that `part`, a slice of it, is.
fn offset(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn split_after(text: &str, marks: &[char]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for (at, mark) in text.match_indices(marks) {
        let end = at + mark.len();
        if text[end..].starts_with(char::is_whitespace) {
            spans.extend(trimmed(text, start..end));
            start = end;
        }
    }
    spans.extend(trimmed(text, start..text.len()));
    spans
}

fn trimmed(text: &str, bytes: Range<usize>) -> Option<Range<usize>> {
    let part = &text[bytes.clone()];
    let start = bytes.start + part.len() - part.trim_start().len();
    let length = part.trim().len();
    (length > 0).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, cut: fn(&str) -> Vec<Range<usize>>) -> Vec<&str> {
        cut(text).into_iter().map(|bytes| &text[bytes]).collect()
    }

    #[test]
    fn sentences_end_at_a_mark_followed_by_white_space() {
        let text = "Ions move. Is pH 7.4 high? Yes! see fig.";
        assert_eq!(texts(text, sentences), ["Ions move.", "Is pH 7.4 high?", "Yes!", "see fig."]);
        assert_eq!(texts("no mark", sentences), ["no mark"]);
        assert!(sentences("  ").is_empty());
    }

    #[test]
    fn the_lines_of_a_list_are_its_sentences() {
        let text = "get: Gives. All of it.\n\n put: Takes\n";
        assert_eq!(texts(text, sentences), ["get: Gives. All of it.", "put: Takes"]);
        assert_eq!((between(text), between("One. Two.")), ("\n", " "));
    }

    #[test]
    fn phrases_end_at_commas_too_and_words_at_white_space() {
        let text = "Heat, at 1,000 K, melts ice: fast. Yes";
        assert_eq!(texts(text, phrases), ["Heat,", "at 1,000 K,", "melts ice:", "fast.", "Yes"]);
        assert_eq!(texts(" a  bé\nc. ", words), ["a", "bé", "c."]);
    }
}
