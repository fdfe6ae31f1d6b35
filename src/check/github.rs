//! A comparison as GitHub annotations: workflow commands on standard output.

use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::words::{headline, notes, sentence};

/// One `::error` for each point that got worse, at its line of the baseline, the surest first
/// (GitHub shows ten of a kind a step), a `::notice` for what got better, and one that sums up.
#[must_use]
pub fn github_annotations(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (kind, verdict) in [("error", Verdict::Worse), ("notice", Verdict::Better)] {
        for change in comparison.of(verdict) {
            text += &annotation(kind, comparison, change);
        }
    }
    let kind = if comparison.passed() { "notice" } else { "error" };
    let mut lines = vec![headline(comparison)];
    lines.extend(notes(comparison));
    text + &format!("::{kind} title=pliant check::{}\n", data(&lines.join("\n")))
}

fn annotation(kind: &str, comparison: &Comparison, change: &Change) -> String {
    let title = format!("{} {}", change.measure.column(), super::words::verdict(change.verdict));
    format!(
        "::{kind} file={},line={},title={}::{}\n",
        property(&comparison.baseline),
        change.baseline_line,
        property(&title),
        data(&sentence(change))
    )
}

/// Escapes the text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of one.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::fallen;

    #[test]
    fn a_fall_is_an_error_at_its_line_of_the_baseline() {
        insta::assert_snapshot!(github_annotations(&fallen()));
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(data("5 %\nnext"), "5 %25%0Anext");
        assert_eq!(property("C:\\a,b"), "C%3A\\a%2Cb");
    }
}
