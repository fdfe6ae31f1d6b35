//! Test suites as JUnit XML, and a results folder as one.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::metrics_table::shown;
use crate::metrics::MetricsRow;
use crate::results::{Failure, ResultsFolder};

/// `cases`, each with the name of its suite, as one document; suites in order of first appearance.
///
/// # Panics
/// Never: names and numbers are text.
pub(crate) fn junit_document(name: &str, cases: Vec<(String, TestCase)>) -> String {
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    for (suite, mut case) in cases {
        case.set_classname(suite.as_str());
        let place = suites.iter().position(|(other, _)| *other == suite).unwrap_or_else(|| {
            suites.push((suite.clone(), TestSuite::new(suite)));
            suites.len() - 1
        });
        suites[place].1.add_test_case(case);
    }
    let mut report = Report::new(name);
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report.to_string().expect("names and numbers are text")
}

/// One suite per device, one test case per method and skew with its measures as output; a run that
/// an external policy ended is an error. Whether numbers are good enough is `pliant check`'s to
/// say.
#[must_use]
pub fn report_junit(folder: &ResultsFolder) -> String {
    let measured = folder.rows.iter().map(|row| {
        let suite = row.label.scene().join("/");
        let name = format!("{} at α {}", row.label.method, row.label.alpha);
        let mut case = TestCase::new(name, TestCaseStatus::success());
        case.set_system_out(measures(row));
        (suite, case)
    });
    let failed = folder.failures.iter().map(|run| {
        let Failure { method, alpha, device, seed, error } = run;
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("run ended").set_message(error);
        (device.clone(), TestCase::new(format!("{method} at α {alpha}, seed {seed}"), status))
    });
    let name = format!("pliant report {}", folder.manifest.experiment);
    junit_document(&name, measured.chain(failed).collect())
}

/// One measure a line.
fn measures(row: &MetricsRow) -> String {
    let mut text = String::new();
    for (measure, &estimate) in row.values.iter().filter(|(_, estimate)| estimate.mean.is_some()) {
        let unit = if measure.is_share() { " %" } else { "" };
        let value = shown(measure.unit(), estimate, " (", ")");
        writeln!(text, "{}: {value}{unit}", measure.name()).expect("a string can grow");
    }
    let provenance = &row.label.provenance;
    text + &format!("{} seeds, {} requests; {provenance}", row.replications, row.requests)
}
