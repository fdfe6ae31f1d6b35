//! A comparison as JUnit XML: one test case for each measure at each point.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::words::sentence;

/// One suite per method and device; what got worse is a failure.
///
/// # Panics
/// Never: names and numbers are text.
#[must_use]
pub fn junit_xml(comparison: &Comparison) -> String {
    let mut report = Report::new(format!("pliant check {}", comparison.experiment));
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    for change in &comparison.changes {
        let point = &change.point;
        let name = [&point.method, &point.device, &point.latency_of, &point.base_model]
            .map(String::as_str)
            .join("/");
        let place = suites.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
            suites.push((name.clone(), TestSuite::new(name.as_str())));
            suites.len() - 1
        });
        suites[place].1.add_test_case(case(change, &name));
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report.to_string().expect("names and numbers are text")
}

fn case(change: &Change, suite: &str) -> TestCase {
    let status = match change.verdict {
        Verdict::Worse => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("worse").set_message(sentence(change));
            status
        }
        Verdict::Better | Verdict::Within => TestCaseStatus::success(),
    };
    let name = format!("{} at α {}", change.measure.name(), change.point.alpha);
    let mut case = TestCase::new(name, status);
    case.set_classname(suite);
    if change.verdict == Verdict::Better {
        case.set_system_out(sentence(change));
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::fallen;

    #[test]
    fn a_fall_is_a_failed_test_case() {
        insta::assert_snapshot!(junit_xml(&fallen()));
    }
}
