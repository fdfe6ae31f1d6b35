//! The regression gate: does a results folder fall behind a baseline?
//!
//! Two results folders of one experiment are compared point by point, a point being a cell of the
//! experiment: a method at a skew on a device. Where both ran a seed, its two values are
//! subtracted, so that what the seed brings to both cancels; without common seeds the runs are
//! compared as independent samples. A point is **worse** if a one-sided t test finds that it fell
//! by more than its tolerance, with p-values adjusted by Holm's method over all points and
//! measures: one false alarm or more in a whole comparison has a chance of at most `significance`.
//! `docs/statistics.md` gives the formulas.
//!
//! One file per output: text, Markdown, JUnit, GitHub annotations.

mod baseline;
mod causes;
mod change;
mod claims;
mod comparison;
mod github;
mod junit;
mod markdown;
mod page;
mod results;
mod tolerances;
mod words;

pub use baseline::Baseline;
pub use causes::{Cause, explain};
pub use change::{Change, Verdict};
pub use claims::{Claim, Claims, Finding, findings_text};
pub use comparison::{Comparison, compare};
pub use github::github_annotations;
pub use junit::junit_xml;
pub use markdown::comparison_markdown;
pub use page::with_results;
pub use results::{Point, PointResults, RunResults};
pub use tolerances::Tolerances;
pub use words::comparison_text;

#[cfg(test)]
mod testing;
