//! Search over experiments: what changes with a key ([`sweep`]), and the largest load that a method
//! carries ([`peak`]).
//!
//! Both simulate, keep measures and no outcomes, and store every finished run in a [`RunCache`], so
//! that a search that was killed goes on where it stopped. `docs/search.md` is the manual.

mod cache;
mod crossing;
mod keys;
mod peak;
mod runs;
mod settings;
mod sweep;

pub use cache::{RunCache, RunCounts};
pub use peak::{PeakSpec, Peaks, peak};
pub use runs::SearchOptions;
pub use settings::{Combine, Swept};
pub use sweep::{SweepSpec, Sweeps, sweep};
