//! From an experiment file to a grid of runs, run in parallel.
//!
//! A run replays one trace for one method on one device under one seed. It depends on nothing but
//! its inputs and its seed, so a results folder ([`crate::results`]) has the same bytes at any
//! number of threads.

mod alternatives;
mod asked;
mod explain;
mod explanation;
mod grid;
mod items;
mod manifest;
mod over_time;
mod recorded;
mod replays;
mod runner;
mod served;
mod setting;
mod shards;
mod spec;
mod standalone;
mod tolerance;
mod witness;

pub use alternatives::{Alternative, Alternatives};
pub use asked::{Unanswered, unanswered};
pub use explain::{Which, explain};
pub use explanation::{ExplainWarning, Explanation, Happened, Source};
pub(crate) use grid::{Cell, Grid};
pub use items::{drawn_from, item_pools};
pub(crate) use manifest::{answer_files, manifest};
pub(crate) use replays::{Replay, Replays};
pub use runner::{Backend, MakeRun, Measured, Progress, RealRun, Results, RunOptions, Silent, run};
pub(crate) use runner::{each_by_itself, pool, without_failed};
pub use setting::Setting;
pub use shards::{
    Merging, Shard, ShardDone, ShardPlan, ShardSize, Working, merge, run_shard, shard_plan,
    unfinished,
};
pub use spec::{
    DeviceSpec, Experiment, ExperimentSpec, FileSource, KeptOutcomes, SynthSource, TraceSource,
};
pub(crate) use tolerance::{RunResult, Tolerance};
pub use witness::{Witness, Witnessed};
