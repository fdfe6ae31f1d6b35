//! A comparison as JUnit XML: one test case for each measure at each point.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus};

use super::change::{Change, Verdict};
use super::comparison::Comparison;
use super::words::sentence;
use crate::report::junit_document;

/// One suite per method and device; what got worse is a failure.
#[must_use]
pub fn junit_xml(comparison: &Comparison) -> String {
    let cases = comparison.changes.iter().map(|change| {
        let point = &change.point;
        let suite = [&point.method, &point.device, &point.latency_of, &point.base_model]
            .map(String::as_str)
            .join("/");
        (suite, case(change))
    });
    junit_document(&format!("pliant check {}", comparison.experiment), cases.collect())
}

fn case(change: &Change) -> TestCase {
    let status = match change.verdict {
        Verdict::Worse => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("worse").set_message(sentence(change));
            status
        }
        Verdict::Better | Verdict::Within => TestCaseStatus::success(),
    };
    let name = format!("{} at α {}", change.measure.column(), change.point.alpha);
    let mut case = TestCase::new(name, status);
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
