//! From an experiment file to a grid of runs, run in parallel.
//!
//! A run replays one trace for one method on one device under one seed. It depends on nothing but
//! its inputs and its seed, so a results folder has the same bytes at any number of threads:
//!
//! ```text
//! DIR/metrics.csv       one row per method, skew, device and base model, over seeds
//! DIR/seeds.csv         the same for each seed, for `pliant check`
//! DIR/paired.csv        the first method against each other one, paired by seed and by request
//! DIR/outcomes/         one file per run, one row per request, streamed
//! DIR/predictions/      the same for measured runs: predicted beside measured
//! DIR/failures.csv      runs that an external policy ended, if any; their methods have no rows
//! DIR/manifest.toml     what it was made from; written last, so its presence means completeness
//! ```

mod asked;
mod explain;
mod explanation;
mod failures;
mod grid;
mod items;
mod manifest;
mod predictions;
mod recorded;
mod runner;
mod spec;

pub use asked::{Unanswered, unanswered};
pub use explain::{Which, explain};
pub use explanation::{ExplainWarning, Explanation, Happened, Source};
pub use failures::Failure;
pub(crate) use failures::{RunResult, Tolerance};
pub(crate) use grid::{Cell, Grid};
pub use items::item_pools;
pub use manifest::Manifest;
pub(crate) use manifest::answer_files;
pub use predictions::{AnswerCount, Compared, PredictionErrors, RatioSummary};
pub use runner::{Backend, MakeRun, Measured, Progress, RealRun, Results, RunOptions, Silent, run};
pub(crate) use runner::{simulate_run, without_failed};
pub use spec::{
    AnsweredItems, DeviceSpec, Experiment, ExperimentSpec, FileSource, KeptOutcomes, SynthSource,
    TraceSource,
};
