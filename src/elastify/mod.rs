//! The offline stage: importance, order and allocation of elastic units, and adapters that recover
//! some of what a level lost.
//!
//! Measuring is slow and allocating instant, so they are two steps with a file between them:
//!
//! ```text
//! corpus ─┐
//!         ├─ network ─ importance, removal, ─▶ scores (file) ─ allocation, ─▶ manifest (file)
//! GGUF  ──┘            greedy, influence, merge                 attn_drop
//!
//! manifest ─┐
//!           ├─ lora, recover ─▶ adapters, manifest of family width-lora (files)
//! text ─────┘
//!
//! corpus, GGUF ── network ─ contextual, least_squares ─▶ predictor, ladder of contextual (files)
//! GGUFs ───────── zoo ─▶ manifest of family zoo (file)
//! ```

pub mod adam;
pub mod allocation;
pub mod attn_drop;
pub mod contextual;
pub mod corpus;
pub mod greedy;
pub mod importance;
pub mod influence;
pub mod ladders;
mod least_squares;
pub mod lora;
pub mod merge_search;
pub mod network;
pub mod offline_cost;
pub mod recover;
pub mod removal;
pub mod scores;

#[cfg(test)]
mod tests;
