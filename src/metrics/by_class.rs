//! What requests come to by app and by dataset: where a change of accuracy@SLO comes from.

use std::collections::BTreeMap;
use std::fmt;

use super::measures::RunMeasures;
use crate::trace::Trace;

/// Requests that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The app that asks.
    App(String),
    /// The dataset that they are from.
    Dataset(String),
}

impl Class {
    /// `app` or `dataset`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::App(_) => "app",
            Self::Dataset(_) => "dataset",
        }
    }

    /// Which.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::App(name) | Self::Dataset(name) => name,
        }
    }

    /// The class that columns name so: `app_NAME` or `dataset_NAME`.
    pub(super) fn of_column(column: &str) -> Option<Self> {
        let app = column.strip_prefix("app_").map(|name| Self::App(name.to_owned()));
        app.or_else(|| column.strip_prefix("dataset_").map(|name| Self::Dataset(name.to_owned())))
    }
}

/// As columns name it.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.kind(), self.name())
    }
}

/// The answers to the requests of a class, over all replications.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassAnswers {
    /// Those that could be judged.
    pub judged: usize,
    /// Sum of their grades, 0 where a bound was missed.
    pub right_in_time: f64,
}

/// The answers to the requests of every class.
pub type ByClass = BTreeMap<Class, ClassAnswers>;

/// What `runs`, each of the trace beside it, come to by class.
#[must_use]
pub fn by_class<'a>(runs: impl IntoIterator<Item = (&'a Trace, &'a RunMeasures)>) -> ByClass {
    let mut classes = ByClass::new();
    for (trace, run) in runs {
        let mut apps = vec![ClassAnswers::default(); trace.apps.len()];
        let mut datasets = vec![ClassAnswers::default(); trace.datasets.len()];
        for (request, answer) in trace.by_id().into_iter().zip(&run.answers) {
            let Some(grade) = answer else { continue };
            let app = &mut apps[usize::from(request.app.0)];
            for class in [app, &mut datasets[usize::from(request.dataset.0)]] {
                class.judged += 1;
                class.right_in_time += grade;
            }
        }
        let apps = trace.apps.iter().cloned().map(Class::App).zip(apps);
        let datasets = trace.datasets.iter().cloned().map(Class::Dataset).zip(datasets);
        for (class, answers) in apps.chain(datasets).filter(|(_, answers)| answers.judged > 0) {
            let all = classes.entry(class).or_default();
            all.judged += answers.judged;
            all.right_in_time += answers.right_in_time;
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{AppId, DatasetId, Request, Slo, Terms};
    use crate::units::{Ratio, SimTime};

    /// Mail asks requests 0 and 2, Keys 1 and 3, in another order than that of their ids; all of
    /// one dataset.
    fn trace() -> Trace {
        let request = |id: u64| Request {
            id,
            arrival: SimTime::ZERO,
            app: AppId((id % 2) as u16),
            dataset: DatasetId(0),
            item: 0.into(),
            prompt_tokens: 1,
            output_tokens: 1,
            slo: Slo::Relative { ttft: Ratio::ONE, tpot: Ratio::ONE },
            terms: Terms::default(),
        };
        Trace {
            apps: ["Mail", "Keys"].map(str::to_owned).into(),
            datasets: vec!["sciq".to_owned()],
            requests: [2, 0, 3, 1].map(request).into(),
            ..Trace::default()
        }
    }

    #[test]
    fn answers_are_counted_for_their_app_and_their_dataset() {
        let trace = trace();
        let run = |answers: [Option<f64>; 4]| RunMeasures {
            answers: answers.into(),
            ..RunMeasures::default()
        };
        let runs =
            [run([Some(1.0), Some(0.5), None, Some(0.0)]), run([Some(1.0), None, Some(1.0), None])];
        let classes = by_class(runs.iter().map(|run| (&trace, run)));
        let of = |class: Class| (classes[&class].judged, classes[&class].right_in_time);
        assert_eq!(of(Class::App("Mail".to_owned())), (3, 3.0));
        assert_eq!(of(Class::App("Keys".to_owned())), (2, 0.5));
        assert_eq!(of(Class::Dataset("sciq".to_owned())), (5, 3.5));
        assert_eq!(classes.len(), 3);
    }

    #[test]
    fn a_column_names_a_class_whatever_the_class_is_called() {
        for class in [Class::App("dataset_x y".to_owned()), Class::Dataset("a/b".to_owned())] {
            assert_eq!(Class::of_column(&class.to_string()), Some(class));
        }
        assert_eq!(Class::of_column("answers_x"), None);
    }
}
