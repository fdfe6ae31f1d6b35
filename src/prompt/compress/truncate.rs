//! Keeps the tail: what stands nearest to the question stays.

/// The last tokens of `full`, `budget` of them or, if that is more, all from `region` on.
pub(super) fn compress(full: &[u32], region: usize, budget: usize) -> Vec<u32> {
    let start = full.len().saturating_sub(budget).min(region);
    full[start..].to_vec()
}
