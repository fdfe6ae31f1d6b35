//! A results folder: what a run leaves, and the one reader of it.
//!
//! ```text
//! DIR/metrics.csv       one row per method, skew, device and base model, over seeds
//! DIR/seeds.csv.gz      the same for each seed, for `pliant check`; older folders have seeds.csv
//! DIR/paired.csv        the first method against each other one, paired by seed and by request
//! DIR/standalone.csv    each item asked alone, where a figure of that kind is asked for
//! DIR/outcomes/         one file per run, one row per request, streamed
//! DIR/predictions.csv   of measured runs, one row per request: predicted beside measured
//! DIR/failures.csv      runs that an external policy ended, if any; their methods have no rows
//! DIR/manifest.toml     what it was made from
//! DIR/*.svg, *.csv      figures and their numbers
//! ```
//!
//! A folder is written as a [`Draft`] beside its place and put there whole, so that what is read
//! from it is always of one run.

mod draft;
mod failures;
mod figures;
mod folder;
mod manifest;
mod outcomes;
mod predictions;
mod rows;
mod service_rows;
mod stored_run;

pub(crate) use draft::OLDER_SEEDS_FILE;
pub use draft::{Draft, SEEDS_FILE};
pub use failures::{Failure, failed_in_words};
pub(crate) use failures::{NOT_RUN, write_failures_csv};
pub use figures::{
    FamiliesSpec, FigureInputs, FigureSpec, FigureStyle, LatencyInput, OverTimeSpec, QualityInput,
    SeriesSpec, StandaloneSpec, Whiskers, check_figures,
};
pub use folder::{ResultsFolder, add_figures, seeds_file};
pub use manifest::{AnsweredItems, InputNow, Manifest, SIMULATED};
pub use outcomes::OutcomeCsv;
pub(crate) use predictions::write_predictions_csv;
pub use predictions::{
    AnswerCount, Compared, Prediction, PredictionErrors, RatioSummary, read_predictions,
};
pub use stored_run::StoredRun;
