//! From the engine to profiles: latency samples and quality tables, streamed to disk and resumable.

pub mod adapters;
pub mod asked;
pub mod asked_run;
mod busy;
pub mod compression;
pub mod device;
pub mod latency;
pub mod layouts;
pub mod memory;
pub mod pairs;
pub mod pauses;
mod prompted;
pub mod quality;
pub mod quality_run;
mod quick;
mod taken_over;
pub mod this_machine;
pub mod tlm;
