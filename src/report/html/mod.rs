//! A results folder as one HTML file that needs nothing else: no network, no other file.
//!
//! The page is three hand-written files, `page.html`, `style.css` and `page.js`, and the folder's
//! data as JSON, which the script turns into tables and charts. Figures are embedded as images, so
//! that nothing inside them can run; a content security policy forbids every request.

mod provenance;
mod timeline;

use std::collections::BTreeMap;
use std::path::Path;

use plotters::style::RGBColor;
use serde::Serialize;

use super::figure::colours;
use super::goodput::{GoodputRow, goodput};
use crate::error::{Error, Result};
use crate::escape;
use crate::metrics::{Measure, MetricsRow, PairedRow, Unit};
use crate::results::{Failure, Manifest, ResultsFolder};

use provenance::Provenances;
use timeline::Scene;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// What the script reads.
#[derive(Serialize)]
struct PageData<'a> {
    manifest: &'a Manifest,
    manifest_text: String,
    /// `#rrggbb` by method.
    colours: BTreeMap<&'a str, String>,
    /// Of every measure: column, name, and what its values are.
    measures: Vec<[&'static str; 3]>,
    metrics: &'a [MetricsRow],
    paired: &'a [PairedRow],
    failures: &'a [Failure],
    goodput: Vec<GoodputRow>,
    timeline: Vec<Scene>,
    provenance: Provenances,
}

/// The page of `folder`, with the figures that are in it.
///
/// # Errors
/// If a file of outcomes, a figure or a profile that the manifest names cannot be read.
///
/// # Panics
/// Never: results are plain values.
pub fn report_html(folder: &ResultsFolder) -> Result<String> {
    let runs = folder.runs()?;
    let colours = folder.rows.iter().map(|row| {
        let RGBColor(red, green, blue) = colours::of_method(&row.label.method).colour;
        (row.label.method.as_str(), format!("#{red:02x}{green:02x}{blue:02x}"))
    });
    let data = PageData {
        manifest: &folder.manifest,
        manifest_text: folder.manifest_text()?,
        colours: colours.collect(),
        measures: Measure::ALL.map(measure).into(),
        metrics: &folder.rows,
        paired: &folder.pairs,
        failures: &folder.failures,
        goodput: goodput(&runs),
        timeline: timeline::scenes(&runs)?,
        provenance: Provenances::of(&folder.manifest)?,
    };
    let data = serde_json::to_string(&data).expect("results are plain values");
    let figures = figures(&folder.path)?;
    Ok(fill(PAGE, |place| match place {
        "title" => escape::html(&folder.manifest.experiment),
        "style" => STYLE.to_owned(),
        "script" => SCRIPT.to_owned(),
        "figures" => figures.clone(),
        "data" => in_script(&data),
        _ => unreachable!("the page has no place {place}"),
    }))
}

fn measure(measure: Measure) -> [&'static str; 3] {
    let unit = match measure.unit() {
        Unit::Share => "share",
        Unit::Ms => "ms",
        Unit::Mj => "mJ",
        Unit::Count => "count",
    };
    [measure.column(), measure.name(), unit]
}

/// Every SVG file of `folder` as a figure, by name, the first one open.
fn figures(folder: &Path) -> Result<String> {
    let unreadable = |error| Error::io(folder, "cannot read", error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        paths.extend(path.extension().is_some_and(|ending| ending == "svg").then_some(path));
    }
    paths.sort();
    let figures: String = paths.iter().map(|path| figure(path)).collect::<Result<_>>()?;
    Ok(figures.replacen("<details", "<details open", 1))
}

fn figure(path: &Path) -> Result<String> {
    let svg =
        std::fs::read_to_string(path).map_err(|error| Error::io(path, "cannot read", error))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let title =
        title_of(&svg).map_or_else(|| escape::html(&name), |text| text.replace('"', "&quot;"));
    Ok(format!(
        "<details class=\"figure\"><summary>{title}</summary><figure><img loading=\"lazy\" \
         alt=\"{title}\" src=\"data:image/svg+xml,{}\"><figcaption>{}.svg</figcaption></figure>\
         </details>\n",
        in_data_url(&svg),
        escape::html(&name),
    ))
}

/// The title that a figure states of itself, as escaped there.
fn title_of(svg: &str) -> Option<&str> {
    let (_, rest) = svg.split_once("<title>")?;
    let (text, _) = rest.split_once('<')?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// `svg` in a URL between double quotes.
fn in_data_url(svg: &str) -> String {
    let mut url = String::with_capacity(svg.len() + svg.len() / 8);
    for letter in svg.chars() {
        match letter {
            '%' => url.push_str("%25"),
            '#' => url.push_str("%23"),
            '<' => url.push_str("%3C"),
            '>' => url.push_str("%3E"),
            '&' => url.push_str("%26"),
            '"' => url.push_str("%22"),
            '\n' => url.push(' '),
            letter => url.push(letter),
        }
    }
    url
}

/// Replaces every `{{place}}` of `page`; what is put in is not looked at again.
fn fill(page: &str, mut put: impl FnMut(&str) -> String) -> String {
    let mut parts = page.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (place, rest) = part.split_once("}}").expect("places are closed");
        text.push_str(&put(place));
        text.push_str(rest);
    }
    text
}

/// JSON inside a script element: no `<` in it can end the element or open a comment.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_the_page_is_not_looked_at_again() {
        let put = |place: &str| if place == "a" { "{{b}}".to_owned() } else { "B".to_owned() };
        assert_eq!(fill("<{{a}} {{b}}>", put), "<{{b}} B>");
    }

    #[test]
    fn nothing_in_the_data_can_end_its_element() {
        assert_eq!(in_script("[\"</script><!--\"]"), "[\"\\u003c/script>\\u003c!--\"]");
    }

    #[test]
    fn a_figure_is_an_image_named_by_its_title() {
        let folder = tempfile::tempdir().unwrap();
        let svg = "<svg width=\"9\"><title>\nA &lt; \"B\"\n</title><text>C</text></svg>";
        std::fs::write(folder.path().join("f.svg"), svg).unwrap();
        let html = figures(folder.path()).unwrap();
        assert!(html.contains("<summary>A &lt; &quot;B&quot;</summary>"), "{html}");
        assert!(html.contains("src=\"data:image/svg+xml,%3Csvg width=%229%22%3E"), "{html}");
        assert!(!html.contains("<svg"), "{html}");
    }
}
