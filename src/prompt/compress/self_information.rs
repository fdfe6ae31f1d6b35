//! Keeps the tokens that surprise the base model most, as Selective Context does (Li et al.,
//! EMNLP 2023, arXiv 2310.06201), token by token.

/// `budget` tokens of `full`, all from `region` on and the most informative before it.
///
/// # Panics
/// If `information` is not one value per token.
pub(super) fn compress(
    full: &[u32],
    region: usize,
    budget: usize,
    information: &[f32],
) -> Vec<u32> {
    assert_eq!(information.len(), full.len(), "one value of information per token");
    super::keep_highest(full, region, budget, |index| information[index], f32::total_cmp)
}
