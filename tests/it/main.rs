//! Integration tests: one binary, one module per area.

mod assets;
mod profiles;
mod prompt;
mod queueing;
mod support;
mod trace;
