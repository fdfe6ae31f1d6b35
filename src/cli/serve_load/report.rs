//! Real beside simulated: a table for programs, and one for people.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pliant::load::{Played, Totals};
use pliant::metrics::{Measure, MetricsRow};
use pliant::origin::{command, commit, today};
use pliant::{Result, files};
use serde_json::{Map, Value, json};

use super::simulated::Simulated;

/// The table for programs.
const TABLE: &str = "serve-load.csv";

/// A method in a loop.
pub struct Row {
    how: &'static str,
    method: String,
    real: Totals,
    simulated: Simulated,
}

/// All of them.
pub struct Report {
    pub rows: Vec<Row>,
    pub experiment: PathBuf,
    pub seconds: u64,
}

/// A measure as it was, as simulated on the predicted machine, and on the learnt one.
struct Beside {
    name: &'static str,
    real: Option<f64>,
    simulated: Measure,
}

impl Row {
    pub fn of(how: &'static str, method: &str, played: &[Played], simulated: Simulated) -> Self {
        Self { how, method: method.to_owned(), real: Totals::of(played), simulated }
    }

    fn measures(&self) -> [Beside; 9] {
        let Totals { attainment, accuracy_served, accuracy_stored, .. } = self.real;
        let Totals { accuracy_at_slo_served, accuracy_at_slo_stored, .. } = self.real;
        let Totals { ttft_ms_p50, ttft_ms_p95, tpot_ms_p50, tpot_ms_p95, .. } = self.real;
        [
            ("attainment", attainment, Measure::Attainment),
            ("accuracy_served", accuracy_served, Measure::Accuracy),
            ("accuracy_stored", accuracy_stored, Measure::Accuracy),
            ("accuracy_at_slo_served", accuracy_at_slo_served, Measure::AccuracyAtSlo),
            ("accuracy_at_slo_stored", accuracy_at_slo_stored, Measure::AccuracyAtSlo),
            ("ttft_ms_p50", ttft_ms_p50, Measure::TtftP50),
            ("ttft_ms_p95", ttft_ms_p95, Measure::TtftP95),
            ("tpot_ms_p50", tpot_ms_p50, Measure::TpotP50),
            ("tpot_ms_p95", tpot_ms_p95, Measure::TpotP95),
        ]
        .map(|(name, real, simulated)| Beside { name, real, simulated })
    }

    /// Every number of the row by name, in order.
    fn numbers(&self) -> Vec<(String, Option<f64>)> {
        let Simulated { predicted, learnt } = &self.simulated;
        let mean = |row: &MetricsRow, measure| row.values[measure].mean;
        let mut numbers = vec![
            ("requests".to_owned(), Some(self.real.requests as f64)),
            ("finished".to_owned(), Some(self.real.finished as f64)),
            ("requests_simulated".to_owned(), Some(predicted.requests as f64)),
        ];
        for Beside { name, real, simulated } in self.measures() {
            numbers.push((name.to_owned(), real));
            numbers.push((format!("{name}_simulated"), mean(predicted, simulated)));
            numbers.push((format!("{name}_simulated_learnt"), mean(learnt, simulated)));
        }
        numbers.push(("level_mean".to_owned(), self.real.level_mean));
        numbers.push(("prompt_ratio_mean".to_owned(), self.real.prompt_ratio_mean));
        numbers
    }
}

impl Report {
    /// Writes the table and the page that explains it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_whole(&folder.join(TABLE), self.csv().as_bytes())?;
        files::write_whole(&folder.join("README.md"), self.page().as_bytes())
    }

    fn csv(&self) -> String {
        let names: Vec<String> =
            self.rows.iter().take(1).flat_map(Row::numbers).map(|(name, _)| name).collect();
        let mut text = format!("loop,method,{}\n", names.join(","));
        for row in &self.rows {
            let number = |(_, number): (_, Option<f64>)| {
                number.map_or_else(String::new, |number| format!("{number:.4}"))
            };
            let numbers: Vec<String> = row.numbers().into_iter().map(number).collect();
            let _ = writeln!(text, "{},{},{}", row.how, row.method, numbers.join(","));
        }
        text
    }

    /// The rows as JSON.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let mut object = Map::new();
            object.insert("loop".into(), json!(row.how));
            object.insert("method".into(), json!(row.method));
            object.extend(row.numbers().into_iter().map(|(name, number)| (name, json!(number))));
            Value::Object(object)
        };
        self.rows.iter().map(row).collect()
    }

    /// The table for people, in Markdown: real / simulated / simulated on what was learnt.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| loop | method | requests | attainment, % | accuracy, % | accuracy@SLO, % \
             | TTFT p50, ms | TTFT p95, ms | TPOT p50, ms |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.how,
                row.method,
                row.real.requests,
                row.cell(Some("attainment"), "attainment", 100.0),
                row.cell(Some("accuracy_served"), "accuracy_stored", 100.0),
                row.cell(Some("accuracy_at_slo_served"), "accuracy_at_slo_stored", 100.0),
                row.cell(None, "ttft_ms_p50", 1.0),
                row.cell(None, "ttft_ms_p95", 1.0),
                row.cell(None, "tpot_ms_p50", 1.0),
            );
        }
        text
    }

    fn page(&self) -> String {
        let (file, name) = (self.experiment.display(), "serve-load.csv");
        format!(
            "# The service under load, real beside simulated\n\n\
             Made by `{}` on {}, commit {}; {} s of sending for each row.\n\n\
             Each cell: real / simulated on the profile that the first server began with / \
             simulated on the one that\nthis row's server ended with. Real times are the client's. \
             Accuracy is that of the answers of the service, asked once\nthe play was over by the \
             plan of each answer; where it could not be asked, of stored answers.\n\n{}\n\
             All numbers: [{name}]({name}). Requests one by one: `*.played.csv`. Recorded days and \
             the experiments that simulate\nthem: `*.day.csv`, `*.toml`. Methods and trace: \
             `{file}`. Profiles: `machine/`, `learnt-*/`.\n",
            command(),
            today(),
            commit(),
            self.seconds,
            self.table(),
        )
    }
}

impl Row {
    /// Real / simulated / learnt of the measure `first`, or of `other` where that is not known.
    fn cell(&self, first: Option<&str>, other: &str, times: f64) -> String {
        let measures = self.measures();
        let named = |name: &str| measures.iter().find(|beside| beside.name == name);
        let first = first.and_then(named).filter(|beside| beside.real.is_some());
        let Some(Beside { real, simulated, .. }) = first.or_else(|| named(other)) else {
            return String::new();
        };
        let shown = |number: Option<f64>| {
            number.map_or_else(|| "–".to_owned(), |number| format!("{:.1}", number * times))
        };
        let mean = |row: &MetricsRow| row.values[*simulated].mean;
        let Simulated { predicted, learnt } = &self.simulated;
        format!("{} / {} / {}", shown(*real), shown(mean(predicted)), shown(mean(learnt)))
    }
}
