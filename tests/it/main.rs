//! Integration tests: one binary, one module per area.

mod asked;
mod assets;
#[cfg(feature = "engine")]
mod base_models;
mod bench_files;
mod check;
mod claims;
mod demo;
mod device;
mod docs;
#[cfg(feature = "engine")]
mod elastify;
#[cfg(feature = "engine")]
mod engine;
mod examples;
mod experiment;
mod explain;
mod external;
mod inputs;
mod json;
mod kill;
#[cfg(feature = "serve")]
mod load;
mod numbers;
mod policy;
mod profiles;
mod prompt;
mod queueing;
mod recorded;
mod report;
mod results_folder;
mod scheduling;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod shards;
mod shell;
mod support;
mod tidy;
mod trace;
mod trace_import;
