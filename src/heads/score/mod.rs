//! The score-head: labels of what each part of a prompt is worth, training on them, and what it
//! costs.

pub mod compare;
pub mod cost;
mod examples;
pub mod items;
pub mod labels;
pub mod list_order;
pub mod recall;
pub mod shots;
pub mod targets;
pub mod train;
