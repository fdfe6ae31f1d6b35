//! A comparison as Markdown: for a comment or a step summary.

use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{ContentArrangement, Table};

use super::comparison::Comparison;
use super::words::{HEADER, cells, headline, moved, notes};

/// A headline, a table of what moved, and the notes.
#[must_use]
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let mark = if comparison.passed() { "passed" } else { "FAILED" };
    let mut text = format!("### Curves {mark}\n\n{}\n", headline(comparison));
    let grows = "a string can always grow";
    let moved = moved(comparison);
    if !moved.is_empty() {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(HEADER);
        for change in moved {
            table.add_row(cells(change).map(|cell| cell.replace('|', "\\|")));
        }
        write!(text, "\n{table}\n").expect(grows);
    }
    text.push('\n');
    for note in notes(comparison) {
        writeln!(text, "- {note}").expect(grows);
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
