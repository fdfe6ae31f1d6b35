//! From outcomes to measures with intervals.
