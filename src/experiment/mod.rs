//! From an experiment file to a grid of runs, run in parallel.

mod items;

pub use items::item_pools;
