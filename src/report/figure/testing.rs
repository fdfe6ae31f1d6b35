//! What the tests of figures share.

use std::path::Path;

use super::sheet::{Form, Press};
use crate::results::FigureStyle;

/// A press that writes SVG into `folder`.
pub fn press(folder: &Path, style: FigureStyle) -> Press<'_> {
    Press { results: folder, folder, form: Form::Svg, style, about: "what it shows".to_owned() }
}

/// Adds `rows` of the family `table` to the answers to whole shots: dataset, item, level, ratio,
/// grade.
pub fn write_table(folder: &Path, table: &str, rows: &str) {
    let path = folder.join("structured.csv");
    let header = "family,dataset,item,level,ratio,grade\n";
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|_| header.to_owned());
    text.extend(rows.lines().map(|row| format!("{table},{row}\n")));
    std::fs::write(path, text).unwrap();
}
