//! Numbers in the prose of README.md and docs/ are those of the committed results.
//!
//! A number stands between two comments that no reader sees: `<!--{QUERY}-->NUMBER<!--/-->`, where
//! the query says where it comes from (CONTRIBUTING.md lists what a query may ask for).
//! `NUMBERS=overwrite` puts the results' numbers into the pages, in place of what stands there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pliant::metrics;
use pliant::profile::{AnswersOf, DatasetCount, QualityManifest};

/// The study's baselines; `best` is the one with the largest share, of these and their fairer
/// forms.
const BASELINES: [&str; 7] =
    ["pfs", "lpruner", "layer-removal", "lg2-cs", "laco", "shortgpt", "attndrop"];

/// The devices as the sentences call them.
const DEVICES: [(&str, &str); 10] = [
    ("measured", "epyc-zen5-2core"),
    ("k60", "redmi-k60-champion"),
    ("gpu", "redmi-k60-champion-gpu"),
    ("npu", "redmi-k60-champion-npu"),
    ("elite", "snapdragon-8-elite"),
    ("elite-gen5", "snapdragon-8-elite-gen5"),
    ("iphone-npu", "iphone-17-pro-npu"),
    ("iphone-gpu", "iphone-17-pro-gpu"),
    ("s24", "galaxy-s24-ultra"),
    ("in-place", "epyc-zen5-in-place"),
];

/// The base model that numbers are of unless a mark has another `model=`.
const PROJECTS_MODEL: &str = "smollm2-135m-instruct";

/// The panel that is no dataset.
const MEAN: &str = "mean of datasets";

const OPEN: &str = "<!--{";
const OPENED: &str = "}-->";
const CLOSE: &str = "<!--/-->";

type Row = BTreeMap<String, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows(run: &str, file: &str) -> Vec<Row> {
    rows_of(&root().join("results").join(run).join(file))
}

fn rows_of(path: &Path) -> Vec<Row> {
    let mut reader =
        csv::Reader::from_path(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// What a mark asks for: `KIND RUN [METHOD [AGAINST]] [DEVICE] [key=value …]`.
struct Query<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) =
            text.split_whitespace().partition(|word| word.contains('='));
        let options = options.iter().filter_map(|option| option.split_once('=')).collect();
        Self { words, options }
    }

    fn option(&self, key: &str, default: &'a str) -> &'a str {
        self.options.get(key).copied().unwrap_or(default)
    }

    fn cell_is(&self, row: &Row, device: &str) -> bool {
        let device = DEVICES.iter().find(|(short, _)| *short == device).expect("a device's name").1;
        let alpha: f64 = self.option("alpha", "0").parse().unwrap();
        row["device"] == device && row["alpha"].parse() == Ok(alpha)
    }

    /// A column of the run's metrics, by default accuracy within the SLO.
    fn share(&self, method: &str, device: &str) -> f64 {
        let is = |row: &&Row| self.cell_is(row, device) && row["method"] == method;
        let rows = self.metrics();
        let row = rows.iter().find(is).unwrap_or_else(|| panic!("{:?}: no such row", self.words));
        share(row, self.option("of", "accuracy_at_slo"))
    }

    /// The run's rows: those of its metrics or, of a sweep over arrival rates, of the one it is `at`.
    fn metrics(&self) -> Vec<Row> {
        let Some(rate) = self.options.get("at") else { return rows(self.words[1], "metrics.csv") };
        let rate: f64 = rate.parse().unwrap();
        let mut rows = rows(self.words[1], "sweep.csv");
        rows.retain(|row| row["trace.arrivals_per_hour"].parse() == Ok(rate));
        rows
    }

    fn best(&self, device: &str) -> String {
        let baseline = |method: &str| BASELINES.iter().any(|name| method.starts_with(name));
        let share = |row: &Row| share(row, "accuracy_at_slo");
        rows(self.words[1], "metrics.csv")
            .into_iter()
            .filter(|row| self.cell_is(row, device) && baseline(&row["method"]))
            .max_by(|a, b| share(a).total_cmp(&share(b)))
            .expect("baselines")["method"]
            .clone()
    }

    /// The row that compares the method with `against`.
    fn paired(&self) -> Row {
        let [_, run, method, against, device] = self.words[..] else {
            panic!("{:?}: allowed: KIND RUN METHOD AGAINST DEVICE", self.words)
        };
        let against = if against == "best" { self.best(device) } else { against.to_owned() };
        let is = |row: &Row| {
            self.cell_is(row, device) && row["method"] == method && row["against"] == against
        };
        rows(run, "paired.csv")
            .into_iter()
            .find(is)
            .unwrap_or_else(|| panic!("{:?}: no such row", self.words))
    }

    fn value(&self) -> String {
        let w = &self.words;
        match w[0] {
            "share" => format!("{:.1}", 100.0 * self.share(w[2], w[3])),
            "best" => self.best(w[2]),
            "lead" => points(share(&self.paired(), "gain")),
            "gain" => self.gain("gain_items", "over items "),
            "interval" => self.gain("gain_items", ""),
            "seeds" => self.gain("gain", ""),
            "items" => rows(w[1], "paired.csv")[0]["items"].clone(),
            "answers" => self.answers(),
            "ratio" => format!("{:.2}", self.ratio(0.5)),
            "ratios" => format!("{:.2} to {:.2}", self.ratio(0.05), self.ratio(0.95)),
            "estimate-items" => estimate_items(w[1]).to_string(),
            "table-items" => table_items(w[1]).to_string(),
            "of-oracle" => {
                format!("{:.0}", 100.0 * self.share(w[2], w[3]) / self.share("oracle", w[3]))
            }
            "right" => self.right(),
            "recall" => self.recall(),
            "list-order" => self.list_order(),
            "switch-ms" => switch_ms(w[1], w[2]),
            "panel-items" => self.panel_items(),
            "cell" => self.cell(),
            "cells" => self.cells(),
            "row" => self.row(),
            kind => panic!("{kind}: no such kind of number"),
        }
    }

    /// The column `words[2]` of the one row of `results/words[1]` whose cells are those of the
    /// options, `_` for a space.
    fn row(&self) -> String {
        let is = |row: &&Row| {
            self.options.iter().all(|(column, cell)| row[*column] == cell.replace('_', " "))
        };
        let rows = rows_of(&root().join("results").join(self.words[1]));
        let found: Vec<_> = rows.iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{:?} {:?}: rows", self.words, self.options);
        let number: f64 = found[0][self.words[2]].parse().expect("a number");
        format!("{number:.1}").replace('-', "−")
    }

    /// Answers of a real run that are the stored ones, to prompts of the stored length.
    fn answers(&self) -> String {
        let rows = predictions(self.words[1]);
        let same = |row: &&Row, what: &str| {
            row[&format!("{what}_predicted")] == row[&format!("{what}_measured")]
        };
        let alike = rows.iter().filter(|row| same(row, "correct") && same(row, "kept_tokens"));
        format!("{} of {}", alike.count(), rows.len())
    }

    /// A quantile of measured / predicted times of a real run.
    fn ratio(&self, quantile: f64) -> f64 {
        let time = |row: &Row, what: &str| {
            row[&format!("{}_ms_{what}", self.words[2])].parse::<f64>().ok().filter(|&ms| ms > 0.0)
        };
        let ratio = |row: &Row| Some(time(row, "measured")? / time(row, "predicted")?);
        let mut ratios: Vec<f64> = predictions(self.words[1]).iter().filter_map(ratio).collect();
        metrics::quantile(&mut ratios, quantile).expect("requests")
    }

    /// Mean grade of a dataset's items, of those with answers to every plan, at a level and prompt
    /// ratio in percent.
    fn right(&self) -> String {
        let [_, family, compressor, dataset, level, ratio] = self.words[..] else {
            panic!("{:?}: allowed: right FAMILY COMPRESSOR DATASET LEVEL RATIO", self.words)
        };
        let folder = quality_of(self.option("model", PROJECTS_MODEL));
        let mut rows = rows_of(&folder.join(format!("{compressor}.csv")));
        let wanted = [("family", family), ("dataset", dataset), ("ratio", ratio), ("asked", "")];
        rows.retain(|row| wanted.iter().all(|(column, value)| row[*column] == **value));
        let sum: f64 = rows.iter().map(|row| share(row, &format!("grade_{level}"))).sum();
        format!("{:.0}", 100.0 * sum / rows.len() as f64)
    }

    /// Share of a dataset's lists, in percent, whose right entry is among so many that a ranking
    /// keeps.
    fn recall(&self) -> String {
        let [_, dataset, ranking, kept] = self.words[..] else {
            panic!("{:?}: allowed: recall DATASET RANKING KEPT", self.words)
        };
        let is = |row: &&Row| row["dataset"] == dataset && row["ranking"] == ranking;
        let rows = rows("list-recall", "recall.csv");
        let row = rows.iter().find(is).unwrap_or_else(|| panic!("{:?}: no such row", self.words));
        row[&format!("kept_{kept}_percent")].clone()
    }

    /// Answers of the full model that are right, in percent, and their mean ln p, with so many
    /// entries kept while there are shots.
    fn list_order(&self) -> String {
        let [_, dataset, kept] = self.words[..] else {
            panic!("{:?}: allowed: list-order DATASET KEPT", self.words)
        };
        let folder = root().join("device-profiles/elastic/smollm2-135m-instruct/tlm");
        let text = std::fs::read_to_string(folder.join("lists.json")).unwrap();
        let orders: serde_json::Value = serde_json::from_str(&text).unwrap();
        let tried = orders["datasets"][dataset]["tried"].as_array().expect("what was tried");
        let is = |row: &&serde_json::Value| row["kept"].as_u64() == kept.parse().ok();
        let row = tried.iter().find(is).unwrap_or_else(|| panic!("{:?}: no such row", self.words));
        let number = |key: &str| row[key].as_f64().expect("a number");
        format!("{:.0}, {:.2}", 100.0 * number("right"), number("gold")).replace('-', "−")
    }

    /// Items of one panel of a figure by dataset and SLO, or of its smallest and largest dataset.
    fn panel_items(&self) -> String {
        let rows = rows(self.words[1], "standalone.csv");
        let of = |row: &Row| row["items"].parse::<u32>().expect("a count");
        if let Some(panel) = self.words.get(2) {
            return of(rows.iter().find(|row| row["panel"] == **panel).expect("a panel"))
                .to_string();
        }
        let datasets = rows.iter().filter(|row| row["panel"] != MEAN);
        let (least, most) = (datasets.clone().map(of).min(), datasets.map(of).max());
        format!("{} to {}", least.expect("a panel"), most.expect("a panel"))
    }

    /// The gain with its interval, `over` what it is.
    fn gain(&self, interval: &str, over: &str) -> String {
        let row = self.paired();
        let bound = |end: &str| points(share(&row, &format!("{interval}_{end}")));
        format!("{} ({over}{} – {})", points(share(&row, "gain")), bound("lo"), bound("hi"))
    }

    /// Points by which a method is ahead of another in one cell of a figure by dataset and SLO.
    fn cell(&self) -> String {
        let [_, run, method, against, panel, slo] = self.words[..] else {
            panic!("{:?}: allowed: cell RUN METHOD AGAINST PANEL SLO", self.words)
        };
        let cell = (if panel == "mean" { MEAN } else { panel }.to_owned(), slo.to_owned());
        points(cells(run, method)[&cell] - cells(run, against)[&cell])
    }

    /// Of the cells of Figure 15, how many the method is ahead of each baseline in, and behind.
    fn cells(&self) -> String {
        let cells = |method: &str| {
            let mut cells = cells(self.words[1], method);
            cells.retain(|(panel, _), _| panel != MEAN);
            cells
        };
        let own = cells(self.words[2]);
        let mut text = format!("of {} cells ahead and behind: ", own.len());
        for (index, baseline) in BASELINES.iter().enumerate() {
            let other = cells(baseline);
            let ahead = own.iter().filter(|(cell, share)| **share > other[cell]).count();
            let behind = own.iter().filter(|(cell, share)| **share < other[cell]).count();
            let after = if index == 0 { "" } else { "; " };
            write!(text, "{after}{baseline} {ahead}, {behind}").unwrap();
        }
        text
    }
}

/// Accuracy within the SLO of a method by panel and SLO.
fn cells(run: &str, method: &str) -> BTreeMap<(String, String), f64> {
    rows(run, "standalone.csv")
        .into_iter()
        .filter(|row| row["method"] == method)
        .map(|row| ((row["panel"].clone(), row["slo"].clone()), share(&row, "accuracy_at_slo")))
        .collect()
}

/// The `mean` or `max` time of a family's switches on the measured machine.
fn switch_ms(family: &str, column: &str) -> String {
    let rows = rows("switching", "switching.csv");
    let own = |row: &&Row| row["family"] == family && row["device"] == DEVICES[0].1;
    let row = rows.iter().find(own).expect("a family");
    format!("{:.0}", share(row, &format!("switch_{column}_ms")))
}

/// How many items per dataset a quality table has, all alike.
fn table_items(table: &str) -> u32 {
    let counts: Vec<u32> =
        counts(table).iter().map(|count| count.estimate + count.replay).collect();
    assert!(counts.iter().all(|&count| count == counts[0]), "{table}: {counts:?}");
    counts[0]
}

/// Items of a quality table that policies and heads may learn from.
fn estimate_items(table: &str) -> u32 {
    counts(table).iter().map(|count| count.estimate).sum()
}

fn quality_folder() -> PathBuf {
    quality_of(PROJECTS_MODEL)
}

fn quality_of(base_model: &str) -> PathBuf {
    root().join("device-profiles/quality").join(base_model)
}

fn counts(table: &str) -> Vec<DatasetCount> {
    let (folder, of) = (quality_folder(), AnswersOf::named(&quality_folder(), table));
    let manifest = QualityManifest::load(&folder, &of, false).unwrap().expect("a measured table");
    manifest.datasets.into_values().collect()
}

/// The requests of a real run of every method, as predicted and as measured.
fn predictions(run: &str) -> Vec<Row> {
    let file = root().join("results").join(run).join("predictions.csv");
    let reader = csv::Reader::from_path(file).expect("a real run");
    reader.into_deserialize().map(Result::unwrap).collect()
}

fn share(row: &Row, column: &str) -> f64 {
    row[column].parse().expect("a share")
}

/// A share of 1 as signed points.
fn points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share).replace('-', "−")
}

/// One number of a page.
struct Mark {
    query: String,
    /// Where the number stands.
    range: Range<usize>,
}

/// The marks of a page; an error names a comment that opens or closes nothing.
fn marks(text: &str) -> Result<Vec<Mark>, String> {
    let (mut marks, mut at) = (Vec::new(), 0);
    while let Some(open) = text[at..].find(OPEN).map(|from| at + from) {
        let line = 1 + text[..open].matches('\n').count();
        let query_at = open + OPEN.len();
        let opened = text[query_at..].find(OPENED).ok_or(format!("line {line}: no `{OPENED}`"))?;
        let start = query_at + opened + OPENED.len();
        let length = text[start..].find(CLOSE).ok_or(format!("line {line}: no `{CLOSE}`"))?;
        let query = text[query_at..query_at + opened].to_owned();
        let range = start..start + length;
        if text[range.clone()].contains("<!--") {
            return Err(format!("line {line}: a mark within a mark"));
        }
        at = range.end + CLOSE.len();
        marks.push(Mark { query, range });
    }
    let closed = text.matches(CLOSE).count();
    if closed == marks.len() {
        Ok(marks)
    } else {
        Err(format!("{} marks, {closed} times `{CLOSE}`", marks.len()))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// README.md and every page of docs/.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.push(root().join("README.md"));
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    pages
}

/// The page as the results have it, and what is wrong with it as it stands.
fn checked(text: &str) -> Result<(String, Vec<String>), String> {
    let marks = marks(text)?;
    let (mut fresh, mut wrong, mut at) = (String::new(), Vec::new(), 0);
    for Mark { query, range } in &marks {
        let value = Query::parse(query).value();
        let found = one_line(&text[range.clone()]);
        let line = 1 + text[..range.start].matches('\n').count();
        if found != value {
            wrong.push(format!("line {line}: {found}, in the results {value}"));
        }
        fresh += &text[at..range.start];
        fresh += &value;
        at = range.end;
    }
    fresh += &text[at..];
    let vouched = |at: usize| marks.iter().any(|mark| mark.range.contains(&at));
    for (at, _) in text.match_indices("(over items ").filter(|&(at, _)| !vouched(at)) {
        let line = 1 + text[..at].matches('\n').count();
        wrong.push(format!("line {line}: an interval over items without a mark"));
    }
    Ok((fresh, wrong))
}

#[test]
fn the_prose_has_the_numbers_of_the_committed_results() {
    let overwrite = std::env::var_os("NUMBERS").is_some_and(|mode| mode == "overwrite");
    let (mut report, mut count) = (String::new(), 0);
    for path in pages() {
        let name = path.strip_prefix(root()).unwrap().display();
        let text = fs::read_to_string(&path).unwrap();
        count += text.matches(OPEN).count();
        let (fresh, wrong) = checked(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        if overwrite && fresh != text {
            fs::write(&path, fresh).unwrap();
        } else if !overwrite {
            for problem in &wrong {
                writeln!(report, "{name}: {problem}").unwrap();
            }
        }
    }
    assert!(count > 100, "{count} marks were found");
    assert!(report.is_empty(), "not the results' numbers: run `make readme`\n{report}");
}

#[test]
fn a_mark_is_found_across_lines_and_an_unclosed_one_is_named() {
    let text = "So x gains <!--{gain a b c d}-->+1.5 (over\n  items)<!--/--> points.";
    let found = marks(text).unwrap();
    assert_eq!(found[0].query, "gain a b c d");
    assert_eq!(one_line(&text[found[0].range.clone()]), "+1.5 (over items)");
    let problem = |text: &str| marks(text).err().unwrap();
    assert_eq!(problem("a\n<!--{items a}-->1"), "line 2: no `<!--/-->`");
    assert_eq!(problem("1<!--/-->"), "0 marks, 1 times `<!--/-->`");
    assert_eq!(problem("<!--{a}-->1<!--{b}-->2<!--/-->"), "line 1: a mark within a mark");
}
