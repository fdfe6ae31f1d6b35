//! Compressors that see a prompt as tokens, without its shots and sentences. All keep what stands
//! from `region` on, the question.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The last tokens of `full`, nearest to the question, `budget` of them or, if that is more, all
/// from `region` on.
pub(super) fn truncate(full: &[u32], region: usize, budget: usize) -> Vec<u32> {
    let start = full.len().saturating_sub(budget).min(region);
    full[start..].to_vec()
}

/// `budget` tokens of `full`, all from `region` on and a random subset before it: what any cleverer
/// choice has to beat.
///
/// Each token draws its rank once, so that the tokens kept at a smaller budget are among those
/// kept at a larger one.
pub(super) fn random(
    full: &[u32],
    region: usize,
    budget: usize,
    stream: &mut ChaCha8Rng,
) -> Vec<u32> {
    let ranks: Vec<u64> = (0..region).map(|_| stream.random()).collect();
    keep_highest(full, region, budget, |index| ranks[index], u64::cmp)
}

/// `budget` tokens of `full`, all from `region` on and before it those that surprise the base model
/// most, as Selective Context does (Li et al., EMNLP 2023, arXiv 2310.06201), token by token.
///
/// # Panics
/// If `information` is not one value per token.
pub(super) fn self_information(
    full: &[u32],
    region: usize,
    budget: usize,
    information: &[f32],
) -> Vec<u32> {
    assert_eq!(information.len(), full.len(), "one value of information per token");
    keep_highest(full, region, budget, |index| information[index], f32::total_cmp)
}

/// The `keep` tokens of `full[..region]` with the highest `rank`, in order, then all the others.
///
/// Of equal ranks the earlier token is kept.
fn keep_highest<R: Copy>(
    full: &[u32],
    region: usize,
    budget: usize,
    rank: impl Fn(usize) -> R,
    compare: impl Fn(&R, &R) -> std::cmp::Ordering,
) -> Vec<u32> {
    let keep = budget.saturating_sub(full.len() - region).min(region);
    let mut order: Vec<usize> = (0..region).collect();
    order.sort_by(|&a, &b| compare(&rank(b), &rank(a)));
    order.truncate(keep);
    order.sort_unstable();
    order.into_iter().chain(region..full.len()).map(|index| full[index]).collect()
}
