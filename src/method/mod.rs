//! Methods: what an experiment file states of them, and what comes of it on a device.
//!
//! This is the one place that knows every policy, and the only one where a policy's menu and the
//! answers that it must not see come from the same files: [`Method`] hands the menu to policies,
//! the answers to the cost model, and tells an oracle what is right.

mod assemble;
pub mod contract;
mod described;
mod expected;
mod inputs;
mod needs;
pub mod one_prompt;
mod spec;
mod standard;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use assemble::{Method, Varied};
pub use described::Description;
pub use expected::{Expect, pooled};
pub use inputs::Replayed;
pub use spec::{MethodSpec, PolicySpec};
pub use standard::standard_methods;
