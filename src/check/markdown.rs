//! A comparison as Markdown: for a comment or a step summary.

use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{ContentArrangement, Table};

use super::comparison::Comparison;
use super::words::{HEADER, causes, cells, headline, moved, notes};
use crate::escape::markdown;

/// A headline, a table of what moved, and the notes.
#[must_use]
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let mark = if comparison.passed() { "passed" } else { "FAILED" };
    let mut text = format!("### Curves {mark}\n\n{}\n", markdown(&headline(comparison)));
    let grows = "a string can always grow";
    let moved = moved(comparison);
    if !moved.is_empty() {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(HEADER);
        for change in moved {
            let mut cells = cells(change);
            for name in [1, 3] {
                cells[name] = markdown(&cells[name]);
            }
            table.add_row(cells);
        }
        write!(text, "\n{table}\n").expect(grows);
    }
    text.push('\n');
    for note in [causes(comparison), notes(comparison)].concat() {
        writeln!(text, "- {}", markdown(&note)).expect(grows);
    }
    for (what, command) in &comparison.steps {
        writeln!(text, "- {what}: `{}`", command.replace('`', "'")).expect(grows);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::fallen;

    #[test]
    fn a_fall_is_a_row_of_a_markdown_table() {
        insta::assert_snapshot!(comparison_markdown(&fallen()));
    }
}
