//! A comparison as GitHub annotations: workflow commands on standard output.

use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::words::{causes, headline, notes, sentence, steps};

/// Annotations of a kind that GitHub shows of a step.
const SHOWN: usize = 10;

/// One annotation that sums up, then an `::error` for each point that got worse, at its line of the
/// baseline, the surest first, and a `::notice` for what got better: as many as GitHub shows. The
/// last lines say how to reproduce and to accept it.
#[must_use]
pub fn github_annotations(comparison: &Comparison) -> String {
    let passed = comparison.passed();
    let kind = if passed { "notice" } else { "error" };
    let (worse, better) = (comparison.of(Verdict::Worse), comparison.of(Verdict::Better));
    let of_summary = |kind_of: &str| usize::from(kind == kind_of);
    let mut lines = vec![headline(comparison)];
    let more = worse.len().saturating_sub(SHOWN - of_summary("error"));
    if more > 0 {
        lines.push(format!("{more} falls have no annotation of their own: see the summary"));
    }
    lines.extend([causes(comparison), notes(comparison), steps(comparison)].concat());
    let mut text = format!("::{kind} title=pliant check::{}\n", data(&lines.join("\n")));
    for (kind, changes) in [("error", worse), ("notice", better)] {
        let shown = changes.into_iter().take(SHOWN - of_summary(kind));
        text.extend(shown.map(|change| annotation(kind, comparison, change)));
    }
    text.extend(steps(comparison).iter().map(|step| step.replace('\n', " ") + "\n"));
    text
}

fn annotation(kind: &str, comparison: &Comparison, change: &Change) -> String {
    let title = format!("{} {}", change.measure.column(), super::words::verdict(change.verdict));
    format!(
        "::{kind} file={},line={},title={}::{}\n",
        property(&comparison.baseline_file.display().to_string()),
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
    use crate::check::testing::{alter, comparison, fallen};
    use crate::metrics::Measure;

    #[test]
    fn a_fall_is_an_error_at_its_line_of_the_baseline() {
        insta::assert_snapshot!(github_annotations(&fallen()));
    }

    /// 24 falls: the summary and nine of them are within the ten that GitHub shows.
    #[test]
    fn the_summary_comes_first_and_no_more_follow_than_are_shown() {
        let fallen = comparison(|_, run| {
            for measure in [Measure::Accuracy, Measure::AccuracyAtSlo, Measure::Attainment] {
                alter(run, measure, |share| share - 0.2);
            }
            for measure in [Measure::TtftP50, Measure::TtftP95, Measure::TpotP50] {
                alter(run, measure, |time| time * 2.0);
            }
        });
        let text = github_annotations(&fallen);
        assert!(text.starts_with("::error title=pliant check::curve against "), "{text}");
        assert_eq!(text.matches("::error ").count(), SHOWN);
        assert!(text.contains("15 falls have no annotation of their own"), "{text}");
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert!(last[0].starts_with("to accept: pliant run experiments/curve.toml"), "{text}");
        assert!(last[1].starts_with("to reproduce: pliant run experiments/curve.toml"), "{text}");
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(data("5 %\nnext"), "5 %25%0Anext");
        assert_eq!(property("C:\\a,b"), "C%3A\\a%2Cb");
    }
}
