//! A table inside a hand-written document, between two marks, so that its numbers cannot drift.

use crate::error::{Error, Result};

const BEGIN: &str = "<!-- results:begin -->";
const END: &str = "<!-- results:end -->";

/// `document` with what stands between its marks `<!-- results:begin -->` and
/// `<!-- results:end -->` replaced by `table`.
///
/// # Errors
/// If a mark is missing, or they stand in the wrong order. `name` is the document's, for the
/// message.
pub fn with_results(name: &str, document: &str, table: &str) -> Result<String> {
    let missing = |mark: &str| Error::new(name, "mark missing").allowed(mark);
    let (before, rest) = document.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    let table = match table.trim_end() {
        "" => String::new(),
        table => format!("\n{table}\n\n"),
    };
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let document = "a\n<!-- results:begin -->\nold\n<!-- results:end -->\nb\n";
        let expected = "a\n<!-- results:begin -->\n\nnew\n\n<!-- results:end -->\nb\n";
        assert_eq!(with_results("page.md", document, "new\n").unwrap(), expected);
        assert_eq!(with_results("page.md", expected, "new\n").unwrap(), expected);
        let empty = "a\n<!-- results:begin -->\n<!-- results:end -->\nb\n";
        assert_eq!(with_results("page.md", document, "").unwrap(), empty);
    }

    #[test]
    fn a_document_without_marks_is_refused() {
        let message = with_results("page.md", "text", "new").unwrap_err().to_string();
        assert_eq!(message, "page.md: mark missing; allowed: <!-- results:begin -->");
    }
}
