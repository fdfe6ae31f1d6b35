//! From an experiment file to a grid of runs, run in parallel.
